//! Payers of a request: one callback may pay it, another is a conflict.

use std::collections::HashMap;

use super::asked::{Asked, can_be_judged, names};
use crate::Kind;
use crate::payload::{Expectation, Outcome, Sensitive};
use crate::record::error::RecordError;
use crate::store::{Delivery, Entry, Lookup, Recorded, State, Store, StoreError};

/// Requests that are already paid, and the keys of the callbacks that paid them.
pub(super) struct Paid(HashMap<(Kind, Sensitive), Vec<Sensitive>>);

impl Paid {
    /// Looks up the callbacks under the references of the successful deliveries in a batch.
    pub(super) async fn find(store: &dyn Store, batch: &[Delivery], asked: &Asked) -> Result<Paid, StoreError> {
        let is_asked = |delivery: &&Delivery| {
            delivery.facts.is_success && !delivery.kind.is_registered_once() && can_be_judged(delivery)
        };
        let mut lookups: Vec<_> = batch
            .iter()
            .filter(is_asked)
            .filter_map(|delivery| {
                let expected = names(delivery).iter().find_map(|name| asked.expected.get(name))?;
                Some(Lookup::Reference(delivery.kind.clone(), expected.reference.clone()))
            })
            .collect();
        let mut paid = HashMap::<_, Vec<_>>::new();
        lookups.dedup();
        if lookups.is_empty() {
            return Ok(Paid(paid));
        }
        for entry in store.find(&lookups).await? {
            let is_paid = was_paid_by(&entry);
            if let Some(reference) = entry.reference.filter(|_| is_paid) {
                paid.entry((entry.kind, reference)).or_default().push(entry.key);
            }
        }
        Ok(Paid(paid))
    }

    /// Returns whether another callback paid the request. If not, records this one as the payer.
    pub(super) fn is_second(&mut self, delivery: &Delivery, expected: &Expectation) -> bool {
        if !delivery.facts.is_success || delivery.kind.is_registered_once() {
            return false;
        }
        let payers = self.0.entry((delivery.kind.clone(), expected.reference.clone())).or_default();
        let is_second = payers.iter().any(|payer| *payer != delivery.key);
        payers.push(delivery.key.clone());
        is_second
    }
}

/// Logs an error if another success was recorded for the same request at the same moment: the comparison
/// before recording saw neither. One of the two is forged, or the customer paid twice.
pub(super) async fn report_second_payers(
    store: &dyn Store,
    batch: &[Delivery],
    recorded: &[Result<Recorded, RecordError>],
) -> Result<(), StoreError> {
    let paid: Vec<(&Delivery, &Sensitive)> = batch
        .iter()
        .zip(recorded)
        .filter(|(delivery, recorded)| {
            let is_news = recorded.as_ref().is_ok_and(|recorded| recorded.verdict.is_news());
            is_news && delivery.facts.is_success && !delivery.kind.is_registered_once() && can_be_judged(delivery)
        })
        .filter_map(|(delivery, _)| Some((delivery, delivery.reference.as_ref()?)))
        .collect();
    let lookup = |(delivery, reference): &(&Delivery, &Sensitive)| {
        Lookup::Reference(delivery.kind.clone(), (*reference).clone())
    };
    let lookups: Vec<Lookup> = paid.iter().map(lookup).collect();
    if lookups.is_empty() {
        return Ok(());
    }
    let known = store.find(&lookups).await?;
    for (delivery, reference) in paid {
        let is_other = |entry: &&Entry| {
            entry.kind == delivery.kind
                && entry.reference.as_ref() == Some(reference)
                && entry.key != delivery.key
                && was_paid_by(entry)
        };
        if let Some(other) = known.iter().find(is_other) {
            tracing::error!(
                callback = %other.id,
                kind = %other.kind,
                "two callbacks with different ids paid one request at the same moment, and both are handled: is one forged?"
            );
        }
    }
    Ok(())
}

/// Returns whether a callback has paid, and was taken: not while it is held, and not if it was
/// dismissed.
fn was_paid_by(entry: &Entry) -> bool {
    let was_taken = entry.state != State::Held && !(entry.state == State::Done && entry.error.is_some());
    entry.outcome == Some(Outcome::Success) && entry.verdict.is_news() && was_taken
}
