//! Releasing held callbacks: a person decided, or its expectation became known.

use super::delivery::delivery_of;
use super::expectations::{ANOTHER_ID, UNEXPECTED, has_paid, is_alone, objection_now, was_taken};
use super::recorder::Recorder;
use crate::handler::InboxHandle;
use crate::payload::{self, Expectation, Parsed, Sensitive};
use crate::store::{CallbackId, Delivery, Entry, Lookup, Requeue, Requeued, State, StoreError, Verdict};

impl Recorder {
    /// Makes a held callback ready, and records its payment under this reference.
    pub(crate) async fn release(
        &self,
        id: CallbackId,
        reference: Option<&Sensitive>,
        inbox: &InboxHandle,
    ) -> Result<Option<Requeued>, StoreError> {
        let Some(entry) = self.store.get(id).await?.filter(|entry| entry.state == State::Held) else {
            return Ok(None);
        };
        let payment = self.payment_of(&entry, reference);
        let reopening = Requeue { payment: payment.as_deref(), reference, ..Requeue::from(State::Held) };
        let reopened = self.store.requeue(id, &reopening).await?;
        if let (Some(Requeued { payment: Some((id, verdict)) }), Some(payment)) = (&reopened, &payment) {
            self.after_record_one(payment, *id, *verdict, inbox);
        }
        self.ready.wake();
        Ok(reopened)
    }

    /// Returns the payment of a callback as recording would have written it.
    pub(crate) fn payment_of(&self, entry: &Entry, reference: Option<&Sensitive>) -> Option<Box<Delivery>> {
        let parsed = self.parsed(entry).filter(|_| !entry.kind.is_payment())?;
        let delivery = delivery_of(&parsed, entry.body.clone()?.0, entry.received_at, &self.routes);
        delivery.sent_by(entry.client_ip).under(reference.cloned().or(entry.reference.clone())).payment
    }

    /// Releases a callback that was held as unexpected, or because its id was not known to be one of its request,
    /// unless it contradicts the expectation now. Returns whether it was released.
    pub(crate) async fn release_expected(
        &self,
        early: &Entry,
        expected: &Expectation,
        inbox: &InboxHandle,
    ) -> Result<bool, StoreError> {
        let is_held = waits_for_expectation(early);
        let is_nobodys = early.verdict.is_news() && was_taken(early) && early.reference.is_none();
        if !is_held && !is_nobodys {
            return Ok(false);
        }
        if early.verdict == Verdict::Conflict && !is_alone(&*self.store, &early.kind, &early.key, early.id).await? {
            return Ok(false);
        }
        let Some(delivery) = self.delivery_of_entry(early) else { return Ok(false) };
        if let Some(reason) = objection_now(&*self.store, &delivery, expected).await? {
            let (callback, kind) = (early.id, &early.kind);
            if early.error.as_ref().is_some_and(|known| known.as_str() == reason) {
                // It was logged when it was held.
            } else if delivery.facts.is_success {
                tracing::error!(%callback, %kind, reason, "an earlier callback does not answer this expectation");
            } else {
                tracing::warn!(%callback, %kind, reason, "an earlier callback does not answer this expectation");
            }
            return Ok(false);
        }
        if is_nobodys {
            self.tell_whose(early, &expected.reference, inbox).await?;
            return Ok(false);
        }
        Ok(self.release(early.id, Some(&expected.reference), inbox).await?.is_some())
    }

    /// Returns a recorded callback as it was delivered, unless its body was purged.
    pub(crate) fn delivery_of_entry(&self, entry: &Entry) -> Option<Delivery> {
        let parsed = self.parsed(entry)?;
        let delivery = delivery_of(&parsed, entry.body.clone()?.0, entry.received_at, &self.routes);
        Some(delivery.under(entry.reference.clone()))
    }

    /// The callback arrived at the plain URL before its order was known: its payment gets
    /// the reference now.
    async fn tell_whose(&self, early: &Entry, reference: &Sensitive, inbox: &InboxHandle) -> Result<(), StoreError> {
        let Some(payment) = self.payment_of(early, Some(reference)) else { return Ok(()) };
        let recorded = self.queue.record(*payment).await;
        let (payment, recorded) =
            recorded.map_err(|_| StoreError::Unavailable("the payment was not recorded".into()))?;
        self.after_record_one(&payment, recorded.id, recorded.verdict, inbox);
        Ok(())
    }

    /// Logs an error if a callback with another id was handled for this request before its id was
    /// known: one of the two is forged.
    pub(crate) async fn warn_about_others(&self, expected: &Expectation, id: &str) -> Result<(), StoreError> {
        if expected.kind.is_registered_once() {
            return Ok(());
        }
        let lookup = Lookup::Reference(expected.kind.clone(), expected.reference.clone());
        for entry in self.store.find(&[lookup]).await? {
            if entry.key != id && has_paid(&entry) {
                tracing::error!(
                    callback = %entry.id,
                    kind = %entry.kind,
                    "a callback was handled for a request to which Daraja gave another id: was it forged?"
                );
            }
        }
        Ok(())
    }

    /// Parses the body of an entry, unless it was purged.
    pub(crate) fn parsed(&self, entry: &Entry) -> Option<Parsed> {
        let key = self.routes.of(&entry.kind).and_then(|route| route.key.as_deref());
        payload::parse_bytes(&entry.kind, &entry.body.as_ref()?.0, key, entry.reference.as_ref()).ok()
    }
}

/// Returns whether a callback is held for a reason that an expectation, or another id of its request, takes away.
pub(crate) fn waits_for_expectation(entry: &Entry) -> bool {
    let reason = entry.error.as_ref().map(Sensitive::as_str);
    let is_unexpected = entry.verdict.is_news() && reason == Some(UNEXPECTED);
    let has_another_id = entry.verdict == Verdict::Conflict && reason == Some(ANOTHER_ID);
    entry.state == State::Held && (is_unexpected || has_another_id)
}
