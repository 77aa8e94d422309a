//! Expectations: callbacks that your application waits for.

use std::time::Duration;

use super::engine::Inbox;
use crate::Kind;
use crate::access::{LONGEST_REFERENCE, is_reference};
use crate::payload::{self, Expectation, Sensitive};
use crate::record::{Answers, is_withdrawal};
use crate::store::{Delivery, DeliveryId, Disposition, Lookup, Recorded, State, Store, StoreError, Verdict};

/// Why an expectation cannot be recorded, linked or reconciled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectError {
    /// The inbox has no `#[overdue]` handler and no `require_expected`.
    #[error(
        "the inbox has no expectations: write an `#[overdue]` handler, or call `.require_expected(…)` on the builder"
    )]
    NotEnabled,
    /// Callbacks of this kind answer no request, or cannot be reconciled.
    #[error("`{kind}` cannot be expected or reconciled")]
    UnsupportedKind {
        /// The kind that was given.
        kind: Kind,
    },
    /// The reference is empty or too long.
    #[error("a reference has 1 to {LONGEST_REFERENCE} bytes, and this one has {length}")]
    InvalidReference {
        /// Its length, in bytes.
        length: usize,
    },
    /// Another expectation has this reference, or had it longer ago than the inbox keeps bodies. Use one reference per
    /// request.
    #[error("something else is or was expected under this reference; each request needs a reference of its own")]
    AlreadyExpected,
    /// There is no expectation with this reference.
    #[error("nothing of kind `{kind}` is expected under this reference")]
    NotExpected {
        /// The kind that was given.
        kind: Kind,
    },
    /// Daraja's request id is unknown, so the missing callback has no key.
    #[error(
        "Daraja's id of this request is unknown: call `link_request_id` first, or `withdraw_expectation` if Daraja refused it"
    )]
    MissingRequestId,
    /// Money that came in needs its receipt and amount: the callback would have them.
    #[error("the receipt or the amount of incoming money is missing")]
    MissingReceipt,
    /// The timeout is longer than the inbox keeps bodies.
    #[error(
        "an expectation of {timeout:?} would be purged before it is over: the inbox keeps bodies for {retention:?}"
    )]
    ExceedsRetention {
        /// The timeout of the expectation.
        timeout: Duration,
        /// The retention of the inbox.
        retention: Duration,
    },
    /// The request is still being processed, so there is nothing to reconcile. Query again later.
    #[error("the request is still being processed (`{code}`): ask again later")]
    StillProcessing {
        /// The code that was given.
        code: String,
    },
    /// The store did not record it; the log contains its error. Do not send the request.
    #[error("the store did not record it; the log contains its error")]
    NotRecorded,
    /// The store failed; its error is the source.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl Inbox {
    /// Records an expectation before you send the request to Daraja.
    ///
    /// From then on a callback with this reference (or with Daraja's id, after
    /// [`link_request_id`](Inbox::link_request_id)) and another amount or short code is a conflict.
    /// If no callback arrives in time, `#[overdue]` runs. Recording the same expectation again
    /// changes nothing, unless it was [withdrawn](Inbox::withdraw_expectation): then it counts again, and
    /// its timeout begins anew.
    ///
    /// ```no_run
    /// use mpesa_callbacks_core::{ExpectError, Inbox, Kind};
    /// use mpesa_callbacks_core::payload::{Amount, Expectation};
    ///
    /// # async fn push(_: &str) -> String { String::new() }
    /// async fn pay(inbox: &Inbox, url: &str) -> Result<(), ExpectError> {
    ///     inbox.expect_callback(&Expectation::new(Kind::Stk, "order-123").amount(Amount::from_shillings(1500))).await?;
    ///     let checkout_request_id = push(url).await;
    ///     inbox.link_request_id(&Kind::Stk, "order-123", &checkout_request_id).await
    /// }
    /// ```
    ///
    /// # Errors
    /// [`ExpectError`]. It was not recorded: do not send the request.
    pub async fn expect_callback(&self, expected: &Expectation) -> Result<(), ExpectError> {
        let engine = self.engine();
        if engine.recorder.expecting.is_none() {
            return Err(ExpectError::NotEnabled);
        }
        if !expected.kind.can_be_expected() {
            return Err(ExpectError::UnsupportedKind { kind: expected.kind.clone() });
        }
        let length = expected.reference.as_str().len();
        if !is_reference(expected.reference.as_str()) {
            return Err(ExpectError::InvalidReference { length });
        }
        if let Some(retention) = engine.processor.limits.retention.filter(|retention| *retention <= expected.timeout) {
            return Err(ExpectError::ExceedsRetention { timeout: expected.timeout, retention });
        }
        if let Some(known) = find_expected(&*engine.recorder.store, &expected.kind, expected.reference.as_str()).await?
            && known.content_digest() != expected.content_digest()
        {
            return Err(ExpectError::AlreadyExpected);
        }
        // Recorded again all the same: what a replicated store only reads may be on one disk.
        let recorded = self.record_expected(expected, expected.key(), Some(expected.timeout)).await?;
        if recorded.verdict == Verdict::Conflict {
            // Another process recorded a different expectation at the same moment; that one stands.
            engine.recorder.store.dismiss(recorded.id).await?;
            return Err(ExpectError::AlreadyExpected);
        }
        if recorded.verdict != Verdict::First {
            self.expect_again(expected).await?;
        }
        Ok(())
    }

    /// Expects the same anew, if it was withdrawn.
    async fn expect_again(&self, expected: &Expectation) -> Result<(), ExpectError> {
        let store = &self.engine().recorder.store;
        // Nothing is known of an expectation whose body was purged: no callback would find it.
        if find_expected(&**store, &expected.kind, expected.reference.as_str()).await?.is_none() {
            return Err(ExpectError::AlreadyExpected);
        }
        let change = Answers(&**store).last_change(expected).await?;
        if is_withdrawal(change) {
            let again = Expectation::key_of_change(&expected.kind, expected.reference.as_str(), change + 1);
            self.record_expected(expected, again, Some(expected.timeout)).await?;
        }
        Ok(())
    }

    /// Ends an expectation whose request was not made: Daraja refused it, or you did not send it. `#[overdue]` does
    /// not run for it any more. A callback that arrives all the same is compared with it as before.
    ///
    /// Withdraw nothing because an answer is missing: a push whose answer was lost may ring the phone. After a
    /// connection that broke, and after a status of 500 or more, let `#[overdue]` find out.
    ///
    /// [`expect_callback`](Inbox::expect_callback) with the same expectation makes it count again, for a customer who
    /// corrects the phone number and pays for the same order.
    ///
    /// ```no_run
    /// # use mpesa_callbacks_core::{ExpectError, Inbox, Kind};
    /// # async fn example(inbox: &Inbox, answer: serde_json::Value) -> Result<(), ExpectError> {
    /// // {"requestId":"…","errorCode":"400.002.02","errorMessage":"Bad Request - Invalid PhoneNumber"}
    /// if answer["errorCode"].as_str().is_some_and(|code| code.starts_with("400.")) {
    ///     inbox.withdraw_expectation(&Kind::Stk, "order-123").await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ExpectError::NotExpected`] for an unknown reference, [`ExpectError::NotRecorded`], or an error of the store.
    pub async fn withdraw_expectation(&self, kind: &Kind, reference: &str) -> Result<(), ExpectError> {
        let store = &self.engine().recorder.store;
        let expected = find_expected(&**store, kind, reference).await?;
        let expected = expected.ok_or_else(|| ExpectError::NotExpected { kind: kind.clone() })?;
        let mut number = Answers(&**store).last_change(&expected).await?;
        if !is_withdrawal(number) {
            number += 1;
        }
        let key = |number| Expectation::key_of_change(kind, expected.reference.as_str(), number);
        self.record_expected(&expected, key(number), None).await?;
        // Nobody need look at one that was given up.
        let withdrawn = if number == 1 { expected.key() } else { key(number - 1) };
        for row in store.find(&[Lookup::Key(Kind::Overdue, withdrawn)]).await? {
            if row.state == State::Dead {
                store.dismiss(row.id).await?;
            }
        }
        Ok(())
    }

    /// Links Daraja's request id to an expectation: the `CheckoutRequestID` or
    /// `OriginatorConversationID` of Daraja's response. The callback is then recognised by its id
    /// even if its URL carries no reference, and even if it arrived before this call.
    ///
    /// # Errors
    /// [`ExpectError::NotExpected`] for an unknown reference, else as
    /// [`expect_callback`](Inbox::expect_callback).
    pub async fn link_request_id(&self, kind: &Kind, reference: &str, id: &str) -> Result<(), ExpectError> {
        let engine = self.engine();
        let expected = find_expected(&*engine.recorder.store, kind, reference).await?;
        let expected = expected.ok_or_else(|| ExpectError::NotExpected { kind: kind.clone() })?;
        let recorded = self.record_expected(&expected, Expectation::key_of_id(kind, id), None).await?;
        if recorded.verdict == Verdict::Conflict {
            engine.recorder.store.dismiss(recorded.id).await?;
            return Err(ExpectError::AlreadyExpected);
        }
        // Stored under the reference, too: a callback at its URL with another id does not answer
        // this request.
        let of_ids = Expectation::key_of_ids(kind, reference);
        self.record_expected(&expected.clone().with_id(id), of_ids, None).await?;
        for early in engine.recorder.store.find(&[Lookup::Key(kind.clone(), id.into())]).await? {
            engine.recorder.release_expected(&early, &expected, &self.handle()).await?;
        }
        engine.recorder.warn_about_others(&expected, id).await?;
        Ok(())
    }

    /// Whether there is an `#[overdue]` handler.
    fn is_asked_after(&self) -> bool {
        self.engine().receiver.routes.of(&Kind::Overdue).is_some()
    }

    pub(super) async fn record_expected(
        &self,
        expected: &Expectation,
        key: Sensitive,
        due_after: Option<Duration>,
    ) -> Result<Recorded, ExpectError> {
        let engine = self.engine();
        let is_asked_after = due_after.is_some() && self.is_asked_after();
        let body = expected.to_body();
        let delivery = Delivery {
            delivery_id: DeliveryId::random(),
            kind: Kind::Overdue,
            key,
            body_digest: payload::Digest::of(&body),
            content_digest: expected.content_digest(),
            detail: None,
            outcome: None,
            body: Vec::from(body).into(),
            received_at: engine.recorder.clock.now(),
            client_ip: None,
            reference: Some(expected.reference.clone()),
            receipt: None,
            decision: None,
            disposition: if is_asked_after { Disposition::Handle } else { Disposition::Noted },
            due_after: due_after.unwrap_or_default(),
            facts: payload::RequestFacts::default(),
            payment: None,
        };
        let (_, recorded) = engine.recorder.queue.record(delivery).await.map_err(|_| ExpectError::NotRecorded)?;
        Ok(recorded)
    }
}

/// Returns the expectation with this reference.
pub(super) async fn find_expected(
    store: &dyn Store,
    kind: &Kind,
    reference: &str,
) -> Result<Option<Expectation>, StoreError> {
    let found = store.find(&[Lookup::Key(Kind::Overdue, Expectation::key_of(kind, reference))]).await?;
    let first = found.into_iter().find(|entry| entry.verdict == Verdict::First);
    Ok(first.and_then(|entry| Expectation::parse(entry.body?.as_bytes()).ok()))
}
