//! Expectations: callbacks that your application waits for.

use std::time::Duration;

use super::engine::Inbox;
use crate::Kind;
use crate::access::{LONGEST_REFERENCE, is_reference};
use crate::payload::{self, Expectation, Reconciliation, Sensitive};
use crate::record::{Answers, delivery_of};
use crate::store::{Delivery, DeliveryId, Disposition, Lookup, Recorded, Store, StoreError, Verdict};

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
    /// Another expectation has this reference. Use one reference per request.
    #[error("something else is expected under this reference; each request needs a reference of its own")]
    AlreadyExpected,
    /// There is no expectation with this reference.
    #[error("nothing of kind `{kind}` is expected under this reference")]
    NotExpected {
        /// The kind that was given.
        kind: Kind,
    },
    /// Daraja's request id is unknown, or the receipt or amount of money that came in is missing.
    #[error(
        "Daraja's id is unknown (call `link_request_id` first), or the receipt or amount of incoming money is missing"
    )]
    MissingRequestId,
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
    /// changes nothing.
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

    /// Records the result of a query for a request whose callback did not arrive. It is handled
    /// like the missing callback and answers the expectation. If the callback arrives later, it is
    /// a duplicate or a conflict.
    ///
    /// ```no_run
    /// # use mpesa_callbacks_core::{ExpectError, Inbox, Kind};
    /// # async fn example(inbox: &Inbox) -> Result<(), ExpectError> {
    /// use mpesa_callbacks_core::payload::Reconciliation;
    ///
    /// // A status query told that it was paid:
    /// inbox.reconcile(&Kind::Stk, "order-123", &Reconciliation::success("NLJ7RT61SV")).await?;
    /// // Or that the customer cancelled:
    /// inbox.reconcile(&Kind::Stk, "order-124", &Reconciliation::result_code("1032")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ExpectError::NotExpected`], [`ExpectError::MissingRequestId`],
    /// [`ExpectError::UnsupportedKind`], [`ExpectError::StillProcessing`], or an error of the
    /// store.
    pub async fn reconcile(
        &self,
        kind: &Kind,
        reference: &str,
        found: &Reconciliation,
    ) -> Result<Recorded, ExpectError> {
        let engine = self.engine();
        let expected = find_expected(&*engine.recorder.store, kind, reference).await?;
        let mut expected = expected.ok_or_else(|| ExpectError::NotExpected { kind: kind.clone() })?;
        expected.id = Answers(&*engine.recorder.store).id_of(&expected).await?;
        if matches!(kind, Kind::B2bExpress | Kind::Ratiba | Kind::Lipia) {
            return Err(ExpectError::UnsupportedKind { kind: kind.clone() });
        }
        if found.is_under_way() {
            return Err(ExpectError::StillProcessing { code: found.code.clone() });
        }
        let body = found.to_body(&expected).ok_or(ExpectError::MissingRequestId)?;
        let key = engine.receiver.routes.of(kind).and_then(|route| route.key.as_deref());
        let parsed = payload::parse_bytes(kind, &body, key, None).map_err(|_| ExpectError::MissingRequestId)?;
        let known = engine.recorder.store.find(&[Lookup::Key(kind.clone(), parsed.key.clone())]).await?;
        let plain = delivery_of(&parsed, body, engine.recorder.clock.now(), &engine.receiver.routes);
        if let Some(told) = known.iter().find(|entry| entry.content_digest == Some(plain.content_digest)) {
            // It arrived at the plain URL, perhaps before it was expected.
            engine.recorder.release_expected(told, &expected, &self.handle()).await?;
            return Ok(Recorded::new(told.id, Verdict::Duplicate, None, None));
        }
        // As if it had arrived at the URL of this reference.
        let mut delivery = match kind.is_registered_once() {
            true => plain,
            false => plain.under(Some(expected.reference.clone())),
        };
        if let Some(payment) = &mut delivery.payment {
            payment.reference.get_or_insert_with(|| expected.reference.clone());
        }
        let (delivery, recorded) =
            engine.recorder.queue.record(delivery).await.map_err(|_| ExpectError::NotRecorded)?;
        engine.recorder.after_record(&delivery, &recorded, &self.handle());
        Ok(recorded)
    }

    async fn record_expected(
        &self,
        expected: &Expectation,
        key: Sensitive,
        due_after: Option<Duration>,
    ) -> Result<Recorded, ExpectError> {
        let engine = self.engine();
        let is_asked_after = due_after.is_some() && engine.receiver.routes.of(&Kind::Overdue).is_some();
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
async fn find_expected(store: &dyn Store, kind: &Kind, reference: &str) -> Result<Option<Expectation>, StoreError> {
    let found = store.find(&[Lookup::Key(Kind::Overdue, Expectation::key_of(kind, reference))]).await?;
    let first = found.into_iter().find(|entry| entry.verdict == Verdict::First);
    Ok(first.and_then(|entry| Expectation::parse(entry.body?.as_bytes()).ok()))
}
