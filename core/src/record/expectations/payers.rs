//! Payers of a request: one callback may pay it, another is a conflict.

use std::collections::HashMap;

use super::asked::{Asked, can_be_judged, names};
use crate::Kind;
use crate::payload::{Expectation, Outcome, Sensitive};
use crate::record::error::RecordError;
use crate::store::{Delivery, Entry, Lookup, Recorded, State, Store, StoreError, Verdict};

/// A request: its kind and reference.
type Request = (Kind, Sensitive);

/// Requests that are already paid, and the keys of the callbacks that paid them.
pub(super) struct Paid(HashMap<Request, Vec<Sensitive>>);

/// A delivery of a batch that pays a request, as far as is known before it is recorded.
pub(crate) struct Payer {
    /// Its position in the batch.
    pub(super) at: usize,
    pub(super) reference: Sensitive,
}

impl Paid {
    /// Looks up the callbacks that paid the requests of the successful deliveries in a batch.
    pub(super) async fn find(store: &dyn Store, batch: &[Delivery], asked: &Asked) -> Result<Paid, StoreError> {
        let paying = batch.iter().filter(|delivery| can_be_judged(delivery) && can_pay_once(delivery));
        let mut requests: Vec<Request> = paying
            .filter_map(|delivery| {
                let expected = names(delivery).iter().find_map(|name| asked.expected.get(name))?;
                Some((delivery.kind.clone(), expected.reference.clone()))
            })
            .collect();
        requests.sort();
        requests.dedup();
        Paid::of(store, &requests).await
    }

    /// Looks up the callbacks that paid these requests: under their references, and under Daraja's ids,
    /// for those that came to a plain URL before their order was known.
    pub(super) async fn of(store: &dyn Store, requests: &[Request]) -> Result<Paid, StoreError> {
        let mut paid = HashMap::<Request, Vec<Sensitive>>::new();
        if requests.is_empty() {
            return Ok(Paid(paid));
        }
        let request_of = requests_of_ids(store, requests).await?;
        let by_id = request_of.keys().map(|(kind, id)| Lookup::Key(kind.clone(), id.clone()));
        let by_reference = requests.iter().map(|(kind, reference)| Lookup::Reference(kind.clone(), reference.clone()));
        for entry in store.find(&by_reference.chain(by_id).collect::<Vec<_>>()).await? {
            if !has_paid(&entry) {
                continue;
            }
            let request = match entry.reference {
                Some(reference) => (entry.kind, reference),
                None => match request_of.get(&(entry.kind, entry.key.clone())) {
                    Some(request) => request.clone(),
                    None => continue,
                },
            };
            paid.entry(request).or_default().push(entry.key);
        }
        Ok(Paid(paid))
    }

    /// Returns whether another callback paid the request. If not, records this one as the payer.
    pub(super) fn is_second(&mut self, delivery: &Delivery, expected: &Expectation) -> bool {
        if !can_pay_once(delivery) {
            return false;
        }
        let payers = self.0.entry((delivery.kind.clone(), expected.reference.clone())).or_default();
        let is_second = payers.iter().any(|payer| *payer != delivery.key);
        payers.push(delivery.key.clone());
        is_second
    }
}

/// Returns the requests by Daraja's ids.
async fn requests_of_ids(
    store: &dyn Store,
    requests: &[Request],
) -> Result<HashMap<(Kind, Sensitive), Request>, StoreError> {
    let key = |(kind, reference): &Request| Expectation::key_of_ids(kind, reference.as_str());
    let lookups: Vec<_> = requests.iter().map(|request| Lookup::Key(Kind::Overdue, key(request))).collect();
    let of_ids = store.find(&lookups).await?;
    let ids = of_ids.iter().filter_map(|entry| {
        let expected = Expectation::parse(entry.body.as_ref()?.as_bytes()).ok()?;
        Some(((expected.kind.clone(), expected.id?), (expected.kind, expected.reference)))
    });
    Ok(ids.collect())
}

/// Returns whether a delivery reports money for one request. An account may be paid again and again.
pub(super) fn can_pay_once(delivery: &Delivery) -> bool {
    delivery.facts.is_success && !delivery.kind.is_registered_once()
}

/// Logs an error if another success was recorded for the same request at the same moment: the comparison
/// before recording saw neither. One of the two is forged, or the customer paid twice.
pub(super) async fn report_second_payers(
    store: &dyn Store,
    batch: &[Delivery],
    payers: &[Payer],
    recorded: &[Result<Recorded, RecordError>],
) -> Result<(), StoreError> {
    let is_news = |payer: &&Payer| recorded[payer.at].as_ref().is_ok_and(|recorded| recorded.verdict.is_news());
    let payers: Vec<&Payer> = payers.iter().filter(is_news).collect();
    let request = |payer: &&Payer| (batch[payer.at].kind.clone(), payer.reference.clone());
    let requests: Vec<Request> = payers.iter().map(request).collect();
    let paid = Paid::of(store, &requests).await?;
    for (payer, request) in payers.iter().zip(&requests) {
        let key = &batch[payer.at].key;
        if paid.0.get(request).is_some_and(|keys| keys.iter().any(|other| other != key))
            && let Ok(recorded) = &recorded[payer.at]
        {
            tracing::error!(
                callback = %recorded.id,
                kind = %request.0,
                "two callbacks with different ids paid one request at the same moment, and both are handled: is one forged?"
            );
        }
    }
    Ok(())
}

/// Returns whether a callback reports money that was taken.
pub(crate) fn has_paid(entry: &Entry) -> bool {
    entry.outcome == Some(Outcome::Success) && was_taken(entry)
}

/// Returns whether a callback was taken for what it says: as news, or because a person released it.
/// Not while it is held, and not if it was dismissed, which keeps its reason.
pub(super) fn was_taken(entry: &Entry) -> bool {
    let was_dismissed = entry.state == State::Done && entry.error.is_some();
    let can_be_taken = entry.verdict.is_news() || entry.verdict == Verdict::Conflict;
    can_be_taken && entry.state != State::Held && !was_dismissed
}
