//! Comparing deliveries with expectations.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::again::LookAgain;
use super::{ANOTHER, ANOTHER_ID, PAID_BEFORE, UNEXPECTED};
use crate::Kind;
use crate::payload::{Expectation, Outcome, RequestFacts, Sensitive};
use crate::receive::RecordError;
use crate::store::{Delivery, Disposition, Entry, Lookup, Recorded, Requeue, State, Store, StoreError, Verdict};

/// Compares deliveries with expectations.
#[derive(Clone, Debug)]
pub(crate) struct Expecting {
    /// Kinds whose unexpected successes are held.
    pub(crate) required: Vec<Kind>,
    /// What must be compared again.
    pub(crate) look_again: Arc<LookAgain>,
}

impl Expecting {
    /// Compares a batch before it is recorded: contradictions become conflicts, unexpected money is
    /// held, and expected callbacks get their reference.
    pub(crate) async fn judge(&self, store: &dyn Store, batch: &mut [Delivery]) -> Result<(), StoreError> {
        let known = Asked::look(store, batch).await?;
        let mut attributed = Vec::new();
        let mut paid = Paid::find(store, batch, &known).await?;
        for (at, delivery) in batch.iter_mut().enumerate().filter(|(_, delivery)| can_be_judged(delivery)) {
            let found: Vec<&Expectation> = names(delivery).iter().filter_map(|name| known.expected.get(name)).collect();
            let Some(expected) = found.first() else {
                if delivery.facts.is_success && self.required.contains(&delivery.kind) {
                    hold(delivery, Disposition::Hold(UNEXPECTED.into()));
                }
                continue;
            };
            if found.iter().any(|other| other.reference != expected.reference) {
                hold(delivery, Disposition::Contradict(ANOTHER.into()));
                continue;
            }
            let contradiction = contradiction(&delivery.facts, expected)
                .or_else(|| known.is_another_id(delivery, expected).then_some(ANOTHER_ID))
                .or_else(|| paid.is_second(delivery, expected).then_some(PAID_BEFORE));
            if let Some(reason) = contradiction {
                hold(delivery, Disposition::Contradict(reason.into()));
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
        recognise(store, batch, &attributed).await
    }

    /// Compares again after recording: an expectation or a request id that was recorded at the same
    /// moment did not see this batch, and this batch did not see it.
    pub(crate) async fn judge_again(
        &self,
        store: &dyn Store,
        batch: &[Delivery],
        payments: &[Option<Box<Delivery>>],
        recorded: &[Result<Recorded, RecordError>],
    ) -> Result<(), StoreError> {
        let is_held = |delivery: &Delivery| delivery.disposition == Disposition::Hold(UNEXPECTED.into());
        let is_nobodys = |delivery: &Delivery| {
            delivery.kind.can_be_expected()
                && delivery.payment.as_ref().is_some_and(|payment| payment.reference.is_none())
        };
        report_second_payers(store, batch, recorded).await?;
        if !batch.iter().any(|delivery| is_held(delivery) || is_nobodys(delivery)) {
            return Ok(());
        }
        let known = Asked::look(store, batch).await?;
        for ((delivery, payment), recorded) in batch.iter().zip(payments).zip(recorded) {
            let news = recorded.as_ref().ok().filter(|recorded| recorded.verdict.is_news());
            let expected = names(delivery).iter().find_map(|name| known.expected.get(name));
            if let (Some(news), Some(expected)) = (news, expected)
                && (is_held(delivery) || is_nobodys(delivery))
                && contradiction(&delivery.facts, expected).is_none()
                && !known.is_another_id(delivery, expected)
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
                    }
                }
            }
        }
        Ok(())
    }
}

/// Logs an error if another success was recorded for the same request at the same moment: the comparison
/// before recording saw neither. One of the two is forged, or the customer paid twice.
async fn report_second_payers(
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

/// Whether a callback has paid, and was taken: not while it is held, and not if it was dismissed.
fn was_paid_by(entry: &Entry) -> bool {
    let was_taken = entry.state != State::Held && !(entry.state == State::Done && entry.error.is_some());
    entry.outcome == Some(Outcome::Success) && entry.verdict.is_news() && was_taken
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

fn can_be_judged(delivery: &Delivery) -> bool {
    delivery.kind.can_be_expected() && matches!(delivery.disposition, Disposition::Handle | Disposition::Noted)
}

/// The lookup keys of the expectations that this delivery may answer: by its reference or account,
/// and by Daraja's id.
pub(super) fn names(delivery: &Delivery) -> Vec<Sensitive> {
    let kind = &delivery.kind;
    let reference = match kind {
        Kind::C2bConfirmation => delivery.facts.account.as_ref(),
        _ => delivery.reference.as_ref(),
    };
    let by_reference = reference.map(|reference| Expectation::key_of(kind, reference.as_str()));
    by_reference.into_iter().chain([Expectation::key_of_id(kind, delivery.key.as_str())]).collect()
}

/// Stored expectations that concern a batch.
pub(super) struct Asked {
    pub(super) expected: HashMap<Sensitive, Expectation>,
    /// Daraja's ids per request.
    ids: HashMap<Sensitive, Vec<Sensitive>>,
}

impl Asked {
    /// Looks up the expectations that these may answer.
    pub(super) async fn look(store: &dyn Store, batch: &[Delivery]) -> Result<Asked, StoreError> {
        let mut asked = Asked { expected: HashMap::new(), ids: HashMap::new() };
        let judged = batch.iter().filter(|delivery| delivery.kind.can_be_expected());
        let of_ids = |delivery: &Delivery| {
            let reference = delivery.reference.as_ref()?;
            Some(Expectation::key_of_ids(&delivery.kind, reference.as_str()))
        };
        let names = judged.flat_map(|delivery| names(delivery).into_iter().chain(of_ids(delivery)));
        let lookups: Vec<_> = names.map(|name| Lookup::Key(Kind::Overdue, name)).collect();
        if lookups.is_empty() {
            return Ok(asked);
        }
        for entry in store.find(&lookups).await? {
            let Some(Ok(mut expected)) = entry.body.as_ref().map(|body| Expectation::parse(body.as_bytes())) else {
                continue;
            };
            let of_ids = Expectation::key_of_ids(&expected.kind, expected.reference.as_str());
            if entry.key == of_ids {
                asked.ids.entry(of_ids).or_default().extend(expected.id.take());
            } else if entry.verdict == Verdict::First {
                asked.expected.insert(entry.key, expected);
            }
        }
        Ok(asked)
    }

    /// Whether Daraja gave the request other ids. The id of a C2B confirmation is its receipt,
    /// which is not known before.
    pub(super) fn is_another_id(&self, delivery: &Delivery, expected: &Expectation) -> bool {
        let name = Expectation::key_of_ids(&delivery.kind, expected.reference.as_str());
        !delivery.kind.is_registered_once()
            && self.ids.get(&name).is_some_and(|ids| !ids.is_empty() && !ids.contains(&delivery.key))
    }
}

/// Requests that are already paid, and the keys of the callbacks that paid them.
struct Paid(HashMap<(Kind, Sensitive), Vec<Sensitive>>);

impl Paid {
    /// Looks up the callbacks under the references of the successful deliveries in a batch.
    async fn find(store: &dyn Store, batch: &[Delivery], asked: &Asked) -> Result<Paid, StoreError> {
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

    /// Whether another callback paid the request. If not, records this one as the payer.
    fn is_second(&mut self, delivery: &Delivery, expected: &Expectation) -> bool {
        if !delivery.facts.is_success || delivery.kind.is_registered_once() {
            return false;
        }
        let payers = self.0.entry((delivery.kind.clone(), expected.reference.clone())).or_default();
        let is_second = payers.iter().any(|payer| *payer != delivery.key);
        payers.push(delivery.key.clone());
        is_second
    }
}

/// Returns how a delivery contradicts its expectation. Without amounts, because it is logged.
pub(super) fn contradiction(facts: &RequestFacts, expected: &Expectation) -> Option<&'static str> {
    let differs =
        |one: Option<&str>, other: Option<&str>| matches!((one, other), (Some(one), Some(other)) if one != other);
    if facts.is_success && facts.tells_amounts && expected.amount.is_some() && facts.amount.is_none() {
        return Some("it does not tell its amount");
    }
    if facts.amount.zip(expected.amount).is_some_and(|(facts, expected)| facts != expected) {
        return Some("its amount is not the one that was expected");
    }
    differs(facts.business_short_code.as_deref(), expected.business_short_code.as_deref())
        .then_some("its short code is not the one that was expected")
}
