//! Reconciling: the result of a query takes the place of the callback that did not arrive.

use bytes::Bytes;

use super::engine::Inbox;
use super::expectations::{ExpectError, find_expected};
use crate::Kind;
use crate::payload::{self, Expectation, Reconciliation};
use crate::record::{Answers, delivery_of, objection_to_payment, was_taken};
use crate::store::{Disposition, Entry, Lookup, Recorded, Verdict};

impl Inbox {
    /// Records the result of a query for a request whose callback did not arrive. It is handled
    /// like the missing callback and answers the expectation. If the callback arrives later, it is
    /// a duplicate or a conflict.
    ///
    /// The success of a push whose id is unknown, because Daraja's answer was lost, has no callback that it
    /// could take the place of: `#[payment]` alone runs for it.
    ///
    /// ```no_run
    /// # use mpesa_callbacks_core::{ExpectError, Inbox, Kind};
    /// # async fn example(inbox: &Inbox) -> Result<(), ExpectError> {
    /// use mpesa_callbacks_core::payload::Reconciliation;
    ///
    /// // A status query says that it was paid:
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
        let is_push = expected.kind == Kind::Stk && expected.id.is_none();
        if is_push && found.is_success() && engine.receiver.routes.of(&Kind::Payment).is_some() {
            return self.record_payment(&expected, found).await;
        }
        let body = found.to_body(&expected).ok_or(ExpectError::MissingRequestId)?;
        self.record_found(&expected, body).await
    }

    /// Records what was found as the callback that is expected.
    async fn record_found(&self, expected: &Expectation, body: Bytes) -> Result<Recorded, ExpectError> {
        let (engine, kind) = (self.engine(), &expected.kind);
        let key = engine.receiver.routes.of(kind).and_then(|route| route.key.as_deref());
        let parsed = payload::parse_bytes(kind, &body, key, None).map_err(|_| ExpectError::MissingReceipt)?;
        let known = engine.recorder.store.find(&[Lookup::Key(kind.clone(), parsed.key.clone())]).await?;
        let plain = delivery_of(&parsed, body, engine.recorder.clock.now(), &engine.receiver.routes);
        if let Some(same) = known.iter().find(|entry| entry.content_digest == Some(plain.content_digest)) {
            // It arrived at the plain URL, perhaps before it was expected.
            engine.recorder.release_expected(same, expected, &self.handle()).await?;
            return Ok(Recorded::new(same.id, Verdict::Duplicate, None, None));
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

    /// Records the payment of a push alone: without Daraja's id there is no key for its callback, and the account number
    /// of its C2B confirmation may be another than the reference.
    async fn record_payment(&self, push: &Expectation, found: &Reconciliation) -> Result<Recorded, ExpectError> {
        let engine = self.engine();
        let recorder = &engine.recorder;
        let mut expected = push.clone();
        expected.kind = Kind::C2bConfirmation;
        let body = found.to_body(&expected).ok_or(ExpectError::MissingReceipt)?;
        let parsed =
            payload::parse_bytes(&expected.kind, &body, None, None).map_err(|_| ExpectError::MissingReceipt)?;
        // Its confirmation is expected, whenever it comes, and not held if it came before.
        let receipt = Expectation::key_of_id(&expected.kind, parsed.key.as_str());
        self.record_expected(&expected, receipt, None).await?;
        for early in recorder.store.find(&[Lookup::Key(expected.kind.clone(), parsed.key.clone())]).await? {
            recorder.release_expected(&early, &expected, &self.handle()).await?;
        }
        let delivery = delivery_of(&parsed, body, recorder.clock.now(), &engine.receiver.routes);
        let objection = objection_to_payment(&*recorder.store, &delivery.facts, parsed.key.as_str(), push).await?;
        let mut payment = delivery.payment.ok_or(ExpectError::MissingReceipt)?;
        payment.reference = Some(push.reference.clone());
        if let Some(reason) = objection {
            payment.disposition = Disposition::Contradict(reason.into());
        }
        let (payment, recorded) = recorder.queue.record(*payment).await.map_err(|_| ExpectError::NotRecorded)?;
        recorder.after_record_one(&payment, recorded.id, recorded.verdict, &self.handle());
        // Held, or refused by a person: then the request is asked after as before.
        let known = recorder.store.find(&[Lookup::Key(Kind::Payment, payment.key.clone())]).await?;
        let is_taken = |entry: &Entry| entry.content_digest == Some(payment.content_digest) && was_taken(entry);
        if known.iter().any(is_taken) {
            let paid = Expectation::key_of_receipt(&push.kind, push.reference.as_str());
            self.record_expected(&push.clone().with_id(parsed.key.as_str()), paid, None).await?;
            self.withdraw_expectation(&push.kind, push.reference.as_str()).await?;
        }
        Ok(recorded)
    }
}
