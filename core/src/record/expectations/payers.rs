//! Payers of a request: one callback may pay it, another is a conflict.

use std::collections::HashMap;

use super::asked::{Asked, can_be_judged, names};
use crate::Kind;
use crate::payload::{Expectation, Outcome, Sensitive};
use crate::record::error::RecordError;
use crate::store::{Delivery, Entry, Lookup, Recorded, State, Store, StoreError, Verdict};

/// A request: its kind and reference.
pub(super) type Request = (Kind, Sensitive);

/// Where to look for the payers of requests: under their references, and under Daraja's ids, for those
/// that came to a plain URL before their order was known.
#[derive(Default)]
pub(crate) struct Places {
    lookups: Vec<Lookup>,
    request_of: HashMap<(Kind, Sensitive), Request>,
}

/// Requests that are already paid, and what paid them.
pub(super) struct Paid(HashMap<Request, Vec<PaidBy>>);

/// What paid a request.
enum PaidBy {
    /// The callback with this key, and its receipt.
    Callback(Sensitive, Option<String>),
    /// A receipt that was reconciled without Daraja's id.
    Receipt(String),
}

/// A delivery of a batch that pays a request, as far as is known before it is recorded.
pub(crate) struct Payer {
    /// Its position in the batch.
    pub(super) at: usize,
    pub(super) reference: Sensitive,
}

impl Places {
    /// The requests that the successful deliveries of a batch pay.
    pub(super) async fn of_batch(store: &dyn Store, batch: &[Delivery], asked: &Asked) -> Result<Places, StoreError> {
        let mut places = Places::default();
        let mut unknown: Vec<Request> = Vec::new();
        for delivery in batch.iter().filter(|delivery| can_be_judged(delivery) && can_pay_once(delivery)) {
            let Some(expected) = names(delivery).iter().find_map(|name| asked.expected.get(name)) else { continue };
            let request = (delivery.kind.clone(), expected.reference.clone());
            let ids = Expectation::key_of_ids(&request.0, request.1.as_str());
            match asked.ids.get(&ids) {
                Some(ids) => places.add(&request, ids.iter().cloned()),
                // At the URL of the request its ids were looked up, and there are none.
                None if delivery.reference.is_some() => places.add(&request, []),
                None => unknown.push(request),
            }
        }
        places.add_unknown(store, &unknown).await?;
        Ok(places)
    }

    /// These requests.
    pub(super) async fn of(store: &dyn Store, requests: &[Request]) -> Result<Places, StoreError> {
        let mut places = Places::default();
        places.add_unknown(store, requests).await?;
        Ok(places)
    }

    fn add(&mut self, request: &Request, ids: impl IntoIterator<Item = Sensitive>) {
        let (kind, reference) = request;
        self.lookups.push(Lookup::Reference(kind.clone(), reference.clone()));
        self.lookups.push(Lookup::Key(Kind::Overdue, Expectation::key_of_receipt(kind, reference.as_str())));
        for id in ids {
            self.lookups.push(Lookup::Key(kind.clone(), id.clone()));
            self.request_of.insert((kind.clone(), id), request.clone());
        }
    }

    /// Adds requests whose ids are not known yet.
    async fn add_unknown(&mut self, store: &dyn Store, requests: &[Request]) -> Result<(), StoreError> {
        if requests.is_empty() {
            return Ok(());
        }
        let key = |(kind, reference): &Request| Expectation::key_of_ids(kind, reference.as_str());
        let lookups: Vec<_> = requests.iter().map(|request| Lookup::Key(Kind::Overdue, key(request))).collect();
        let mut ids = HashMap::<Request, Vec<Sensitive>>::new();
        for entry in store.find(&lookups).await? {
            let parsed = entry.body.as_ref().and_then(|body| Expectation::parse(body.as_bytes()).ok());
            if let Some(Expectation { kind, reference, id: Some(id), .. }) = parsed {
                ids.entry((kind, reference)).or_default().push(id);
            }
        }
        for request in requests {
            self.add(request, ids.remove(request).unwrap_or_default());
        }
        Ok(())
    }
}

impl Paid {
    /// Looks up the callbacks that paid these requests.
    pub(super) async fn find(store: &dyn Store, places: &Places) -> Result<Paid, StoreError> {
        let mut paid = HashMap::<Request, Vec<PaidBy>>::new();
        if places.lookups.is_empty() {
            return Ok(Paid(paid));
        }
        for entry in store.find(&places.lookups).await? {
            if entry.kind == Kind::Overdue {
                let reconciled = entry.body.as_ref().and_then(|body| Expectation::parse(body.as_bytes()).ok());
                if let Some(Expectation { kind, reference, id: Some(receipt), .. }) = reconciled {
                    let receipt = PaidBy::Receipt(receipt.as_str().to_owned());
                    paid.entry((kind, reference)).or_default().push(receipt);
                }
                continue;
            }
            if !has_paid(&entry) {
                continue;
            }
            let request = match entry.reference {
                Some(reference) => (entry.kind, reference),
                None => match places.request_of.get(&(entry.kind, entry.key.clone())) {
                    Some(request) => request.clone(),
                    None => continue,
                },
            };
            paid.entry(request).or_default().push(PaidBy::Callback(entry.key, entry.receipt));
        }
        Ok(Paid(paid))
    }

    /// Returns whether something else than this receipt paid a request.
    pub(super) fn by_another_receipt(&self, request: &Request, receipt: &str) -> bool {
        let is_another = |payer: &PaidBy| match payer {
            PaidBy::Callback(_, other) => other.as_deref() != Some(receipt),
            PaidBy::Receipt(other) => other != receipt,
        };
        self.0.get(request).is_some_and(|payers| payers.iter().any(is_another))
    }

    /// Returns whether another callback paid the request. If not, records this one as the payer.
    pub(super) fn is_second(&mut self, delivery: &Delivery, expected: &Expectation) -> bool {
        if !can_pay_once(delivery) {
            return false;
        }
        let payers = self.0.entry((delivery.kind.clone(), expected.reference.clone())).or_default();
        let is_second = payers.iter().any(|payer| match payer {
            PaidBy::Callback(key, _) => *key != delivery.key,
            PaidBy::Receipt(receipt) => delivery.receipt.as_ref() != Some(receipt),
        });
        payers.push(PaidBy::Callback(delivery.key.clone(), delivery.receipt.clone()));
        is_second
    }
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
    places: &Places,
    recorded: &[Result<Recorded, RecordError>],
) -> Result<(), StoreError> {
    let is_news = |payer: &&Payer| recorded[payer.at].as_ref().is_ok_and(|recorded| recorded.verdict.is_news());
    let payers: Vec<&Payer> = payers.iter().filter(is_news).collect();
    if payers.is_empty() {
        return Ok(());
    }
    let paid = Paid::find(store, places).await?;
    for payer in payers {
        let Delivery { kind, key, .. } = &batch[payer.at];
        let paid_by = paid.0.get(&(kind.clone(), payer.reference.clone()));
        if paid_by.is_some_and(|payers| {
            payers.iter().any(|payer| matches!(payer, PaidBy::Callback(other, _) if other != key))
        }) && let Ok(recorded) = &recorded[payer.at]
        {
            tracing::error!(
                callback = %recorded.id,
                %kind,
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
/// Not while it is held, and not if it was dismissed from there: it keeps its reason then, and was never attempted.
/// A dead one was attempted, and its money is real, whether it was dismissed or not.
pub(crate) fn was_taken(entry: &Entry) -> bool {
    let was_refused = entry.state == State::Done && entry.error.is_some() && entry.attempts == 0;
    let can_be_taken = entry.verdict.is_news() || entry.verdict == Verdict::Conflict;
    can_be_taken && entry.state != State::Held && !was_refused
}
