//! Comparing deliveries with expectations.

use std::sync::Arc;
use std::time::Duration;

use super::again::LookAgain;
use super::asked::{Asked, UNEXPECTED, can_be_judged, contradiction, names};
use super::payers::{Paid, Payer, Places, can_pay_once, report_second_payers};
use crate::Kind;
use crate::payload::{Expectation, RequestFacts, Sensitive};
use crate::record::error::RecordError;
use crate::store::{
    CallbackId, Delivery, Disposition, Entry, Lookup, Recorded, Requeue, State, Store, StoreError, Verdict,
};

/// Why a callback is held.
const ANOTHER: &str = "it came to the URL of one request, and answers another";
pub(crate) const ANOTHER_ID: &str = "it came to the URL of a request to which Daraja gave another id";
const PAID_BEFORE: &str = "another callback has already paid its request";

/// Compares deliveries with expectations.
#[derive(Clone, Debug)]
pub(crate) struct Expecting {
    /// Kinds whose unexpected successes are held.
    pub(crate) required: Vec<Kind>,
    /// The callbacks that must be compared again.
    pub(crate) look_again: Arc<LookAgain>,
}

impl Expecting {
    /// Compares a batch before it is recorded: contradictions become conflicts, unexpected money is
    /// held, and expected callbacks get their reference.
    pub(crate) async fn judge(&self, store: &dyn Store, batch: &mut [Delivery]) -> Result<Judged, StoreError> {
        let payments = batch.iter().map(|delivery| delivery.payment.clone()).collect();
        let known = Asked::look(store, batch).await?;
        let (mut attributed, mut payers) = (Vec::new(), Vec::new());
        let places = Places::of_batch(store, batch, &known).await?;
        let mut paid = Paid::find(store, &places).await?;
        for (at, delivery) in batch.iter_mut().enumerate().filter(|(_, delivery)| can_be_judged(delivery)) {
            let found: Vec<&Expectation> = names(delivery).iter().filter_map(|name| known.expected.get(name)).collect();
            let Some(expected) = found.first() else {
                if delivery.facts.is_success && self.required.contains(&delivery.kind) {
                    hold(delivery, Disposition::Hold(UNEXPECTED.into()));
                }
                continue;
            };
            match objection(delivery, expected, &known, &mut paid) {
                Some(ANOTHER) => {
                    hold(delivery, Disposition::Contradict(ANOTHER.into()));
                    continue;
                }
                Some(reason) => hold(delivery, Disposition::Contradict(reason.into())),
                None if can_pay_once(delivery) => payers.push(Payer { at, reference: expected.reference.clone() }),
                None => {}
            }
            if delivery.reference.is_none() {
                delivery.reference = Some(expected.reference.clone());
                attributed.push(at);
            }
            if let Some(payment) = &mut delivery.payment {
                payment.reference.get_or_insert_with(|| expected.reference.clone());
                // Its order is known, so it need not wait for a counterpart.
                payment.due_after = Duration::ZERO;
            }
        }
        recognise(store, batch, &attributed).await?;
        Ok(Judged { payments, payers, places })
    }

    /// Compares again after recording: an expectation or a request id that was recorded at the same
    /// moment did not see this batch, and this batch did not see it. What is released is a batch like any other.
    pub(crate) async fn judge_again(
        &self,
        store: &dyn Store,
        batch: &mut [Delivery],
        before: &Judged,
        recorded: &[Result<Recorded, RecordError>],
    ) -> Result<(), StoreError> {
        // For a reason that an expectation, or another id of its request, takes away.
        let has_another_id = |delivery: &Delivery| delivery.disposition == Disposition::Contradict(ANOTHER_ID.into());
        let is_held = |delivery: &Delivery| {
            delivery.disposition == Disposition::Hold(UNEXPECTED.into()) || has_another_id(delivery)
        };
        let is_nobodys = |delivery: &Delivery| {
            delivery.kind.can_be_expected()
                && delivery.payment.as_ref().is_some_and(|payment| payment.reference.is_none())
        };
        report_second_payers(store, batch, &before.payers, &before.places, recorded).await?;
        if !batch.iter().any(|delivery| is_held(delivery) || is_nobodys(delivery)) {
            return Ok(());
        }
        let known = Asked::look(store, batch).await?;
        for ((delivery, payment), recorded) in batch.iter_mut().zip(&before.payments).zip(recorded) {
            let news = match recorded {
                Ok(recorded) if recorded.verdict.is_news() => Some(recorded),
                Ok(recorded) if recorded.verdict == Verdict::Conflict && has_another_id(delivery) => {
                    is_alone(store, &delivery.kind, &delivery.key, recorded.id).await?.then_some(recorded)
                }
                _ => None,
            };
            let expected = names(delivery).iter().find_map(|name| known.expected.get(name));
            if let (Some(news), Some(expected)) = (news, expected)
                && (is_held(delivery) || is_nobodys(delivery))
                && objection_now(store, delivery, expected).await?.is_none()
            {
                let mut payment = payment.clone();
                if let Some(payment) = &mut payment {
                    payment.reference.get_or_insert_with(|| expected.reference.clone());
                }
                match payment {
                    Some(payment) if is_nobodys(delivery) => drop(store.record(&[*payment]).await?),
                    payment => {
                        let reference = Some(&expected.reference);
                        let reopening =
                            Requeue { payment: payment.as_deref(), reference, ..Requeue::from(State::Held) };
                        store.requeue(news.id, &reopening).await?;
                        // No hook need be called for it.
                        delivery.disposition = Disposition::Handle;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A batch before it is recorded.
pub(crate) struct Judged {
    /// The payments of the deliveries; those of held ones are removed.
    payments: Vec<Option<Box<Delivery>>>,
    /// The deliveries that pay a request.
    payers: Vec<Payer>,
    /// Where the other payers of their requests would be.
    places: Places,
}

/// Returns why a delivery does not answer this expectation; `None` if it does. Every way in which a
/// callback and an expectation meet asks this.
fn objection(delivery: &Delivery, expected: &Expectation, known: &Asked, paid: &mut Paid) -> Option<&'static str> {
    let found = names(delivery);
    let mut others = found.iter().filter_map(|name| known.expected.get(name));
    if others.any(|other| other.reference != expected.reference) {
        return Some(ANOTHER);
    }
    contradiction(&delivery.facts, expected)
        .or_else(|| known.is_another_id(delivery, expected).then_some(ANOTHER_ID))
        .or_else(|| paid.is_second(delivery, expected).then_some(PAID_BEFORE))
}

/// Returns why a callback that is recorded does not answer this expectation.
pub(crate) async fn objection_now(
    store: &dyn Store,
    delivery: &Delivery,
    expected: &Expectation,
) -> Result<Option<&'static str>, StoreError> {
    // Also under the reference of the request, for Daraja's ids of it.
    let under_request = Delivery { reference: Some(expected.reference.clone()), ..delivery.clone() };
    let known = Asked::look(store, &[delivery.clone(), under_request]).await?;
    let requests = [(delivery.kind.clone(), expected.reference.clone())];
    let requests = if can_pay_once(delivery) { &requests[..] } else { &[] };
    let mut paid = Paid::find(store, &Places::of(store, requests).await?).await?;
    Ok(objection(delivery, expected, &known, &mut paid))
}

/// Returns why the payment of a request that is reconciled without Daraja's id does not pay it: another amount, or the
/// request is paid.
pub(crate) async fn objection_to_payment(
    store: &dyn Store,
    facts: &RequestFacts,
    receipt: &str,
    expected: &Expectation,
) -> Result<Option<&'static str>, StoreError> {
    let request = (expected.kind.clone(), expected.reference.clone());
    let paid = Paid::find(store, &Places::of(store, std::slice::from_ref(&request)).await?).await?;
    Ok(contradiction(facts, expected).or_else(|| paid.by_another_receipt(&request, receipt).then_some(PAID_BEFORE)))
}

/// Returns whether a callback is the only one under its key that says what it says. Of several that differ, a person
/// decides.
pub(crate) async fn is_alone(
    store: &dyn Store,
    kind: &Kind,
    key: &Sensitive,
    id: CallbackId,
) -> Result<bool, StoreError> {
    let all = store.find(&[Lookup::Key(kind.clone(), key.clone())]).await?;
    let own = all.iter().find(|entry| entry.id == id).and_then(|entry| entry.content_digest);
    Ok(all.iter().all(|other| other.id == id || other.content_digest == own))
}

/// Gives a callback from the plain URL the content digest that it has at the URL of its reference,
/// if that one is stored. The digests differ by the reference, which is known only now.
async fn recognise(store: &dyn Store, batch: &mut [Delivery], attributed: &[usize]) -> Result<(), StoreError> {
    if attributed.is_empty() {
        return Ok(());
    }
    let lookup = |at: &usize| Lookup::Key(batch[*at].kind.clone(), batch[*at].key.clone());
    let known = store.find(&attributed.iter().map(lookup).collect::<Vec<_>>()).await?;
    for at in attributed {
        let delivery = &mut batch[*at];
        let content_digest = delivery.content_digest.under(delivery.reference.as_ref());
        let says_so = |entry: &Entry| {
            entry.kind == delivery.kind && entry.key == delivery.key && entry.content_digest == Some(content_digest)
        };
        if known.iter().any(says_so) {
            delivery.content_digest = content_digest;
        }
    }
    Ok(())
}

fn hold(delivery: &mut Delivery, disposition: Disposition) {
    delivery.disposition = disposition;
    // Releasing it adds it again.
    delivery.payment = None;
}
