//! Reconciling: the result of a query takes the place of the callback that did not arrive.

use super::engine::Inbox;
use super::expectations::{ExpectError, find_expected};
use crate::Kind;
use crate::payload::{self, Expectation, Reconciliation};
use crate::record::{Answers, delivery_of};
use crate::store::{Lookup, Recorded, Verdict};

impl Inbox {
    /// Records the result of a query for a request whose callback did not arrive. It is handled
    /// like the missing callback and answers the expectation. If the callback arrives later, it is
    /// a duplicate or a conflict.
    ///
    /// The success of a push whose id is unknown, because Daraja's answer was lost, is handled like the
    /// C2B confirmation of its receipt: by `#[payment]`, or by `#[c2b_confirmation]`.
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
    /// [`ExpectError::MissingReceipt`], [`ExpectError::UnsupportedKind`], [`ExpectError::StillProcessing`], or an error of the
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
        if !found.is_complete(&expected) {
            return Err(ExpectError::MissingReceipt);
        }
        let confirmations = engine.receiver.routes.of(&Kind::C2bConfirmation);
        if expected.kind == Kind::Stk && expected.id.is_none() && found.is_success() && confirmations.is_some() {
            expected.kind = Kind::C2bConfirmation;
            self.expect_confirmation(&expected).await?;
            let recorded = self.record_found(&expected, found).await?;
            if recorded.verdict != Verdict::Conflict {
                self.withdraw_expectation(kind, reference).await?;
            }
            return Ok(recorded);
        }
        self.record_found(&expected, found).await
    }

    /// Records what was found as the callback that is expected.
    async fn record_found(&self, expected: &Expectation, found: &Reconciliation) -> Result<Recorded, ExpectError> {
        let (engine, kind) = (self.engine(), &expected.kind);
        let body = found.to_body(expected).ok_or(ExpectError::MissingRequestId)?;
        let key = engine.receiver.routes.of(kind).and_then(|route| route.key.as_deref());
        let parsed = payload::parse_bytes(kind, &body, key, None).map_err(|_| ExpectError::MissingReceipt)?;
        let known = engine.recorder.store.find(&[Lookup::Key(kind.clone(), parsed.key.clone())]).await?;
        let plain = delivery_of(&parsed, body, engine.recorder.clock.now(), &engine.receiver.routes);
        if let Some(told) = known.iter().find(|entry| entry.content_digest == Some(plain.content_digest)) {
            // It arrived at the plain URL, perhaps before it was expected.
            engine.recorder.release_expected(told, expected, &self.handle()).await?;
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

    /// Where unexpected confirmations are held, this one is expected.
    async fn expect_confirmation(&self, expected: &Expectation) -> Result<(), ExpectError> {
        let expecting = self.engine().recorder.expecting.as_ref();
        if !expecting.is_some_and(|expecting| expecting.required.contains(&expected.kind)) {
            return Ok(());
        }
        let known = find_expected(&*self.engine().recorder.store, &expected.kind, expected.reference.as_str()).await?;
        if known.is_none() {
            self.record_expected(expected, expected.key(), None).await?;
        }
        Ok(())
    }
}
