//! What comes, held against what was expected.

use std::collections::HashMap;
use std::time::Duration;

use super::{ANOTHER, ANOTHER_ID, PAID_BEFORE, UNEXPECTED};
use crate::kind::Kind;
use crate::payload::{Expectation, Outcome, RequestFacts, Sensitive};
use crate::receive::RecordError;
use crate::store::{
    Delivery, Disposition, Entry, Lookup, Recorded, Requeue, State, Store, StoreError, Verdict, catch_panic,
};

/// What an inbox does with what it expects, and with what it does not.
#[derive(Clone, Debug)]
pub(crate) struct Expecting {
    /// Money of these kinds that nobody asked for is held.
    pub(crate) required: Vec<Kind>,
}

impl Expecting {
    /// Judges a batch before it is recorded: what contradicts becomes a conflict, what nobody asked for is held, and what
    /// was asked for gets its reference.
    pub(crate) async fn judge(&self, store: &dyn Store, batch: &mut [Delivery]) -> Result<(), StoreError> {
        let known = look(store, batch).await?;
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
                // It knows its order, and need not wait for a counterpart that does.
                payment.due_after = Duration::ZERO;
            }
        }
        recognise(store, batch, &attributed).await
    }

    /// Whoever expected a callback while it was being recorded, or told its id, did not find it there, and it did not find them.
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
        if !batch.iter().any(|delivery| is_held(delivery) || is_nobodys(delivery)) {
            return Ok(());
        }
        let known = look(store, batch).await?;
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
                    Some(payment) if is_nobodys(delivery) => drop(catch_panic(store.record(&[*payment])).await?),
                    payment => {
                        let reopening = Requeue { payment: payment.as_deref(), ..Requeue::from(State::Held) };
                        catch_panic(store.requeue(news.id, &reopening)).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What came to the plain URL says the same as what came to the URL of its reference, or was reconciled under it: the fingerprints
/// differ by the reference, which was not known when it came.
async fn recognise(store: &dyn Store, batch: &mut [Delivery], attributed: &[usize]) -> Result<(), StoreError> {
    if attributed.is_empty() {
        return Ok(());
    }
    let lookup = |at: &usize| Lookup::Key(batch[*at].kind.clone(), batch[*at].key.clone());
    let known = catch_panic(store.find(&attributed.iter().map(lookup).collect::<Vec<_>>())).await?;
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
    // Whoever releases it brings it back.
    delivery.payment = None;
}

fn can_be_judged(delivery: &Delivery) -> bool {
    delivery.kind.can_be_expected() && matches!(delivery.disposition, Disposition::Handle | Disposition::Noted)
}

/// By what an expectation of this callback would be found: its reference or account, and Daraja's id.
fn names(delivery: &Delivery) -> Vec<Sensitive> {
    let kind = &delivery.kind;
    let reference = match kind {
        Kind::C2bConfirmation => delivery.facts.account.as_ref(),
        _ => delivery.reference.as_ref(),
    };
    let by_reference = reference.map(|reference| Expectation::key_of(kind, reference.as_str()));
    by_reference.into_iter().chain([Expectation::key_of_id(kind, delivery.key.as_str())]).collect()
}

/// What is known of what was asked for.
struct Asked {
    expected: HashMap<Sensitive, Expectation>,
    /// Daraja's ids of a request, by the name under which its ids are kept.
    ids: HashMap<Sensitive, Vec<Sensitive>>,
}

impl Asked {
    /// Whether Daraja gave the request other ids than this. (Of a C2B confirmation the id is the receipt, which nobody knows
    /// before it comes.)
    fn is_another_id(&self, delivery: &Delivery, expected: &Expectation) -> bool {
        let name = Expectation::key_of_ids(&delivery.kind, expected.reference.as_str());
        !delivery.kind.is_registered_once()
            && self.ids.get(&name).is_some_and(|ids| !ids.is_empty() && !ids.contains(&delivery.key))
    }
}

async fn look(store: &dyn Store, batch: &[Delivery]) -> Result<Asked, StoreError> {
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
    for entry in catch_panic(store.find(&lookups)).await? {
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

/// Which requests were paid already, and by which callbacks.
struct Paid(HashMap<(Kind, Sensitive), Vec<Sensitive>>);

impl Paid {
    /// Looks up what came under the references of those in the batch that tell of a success.
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
        for entry in catch_panic(store.find(&lookups)).await? {
            let is_success = entry.outcome == Some(Outcome::Success) && entry.verdict.is_news();
            // What is held has not been applied, and what was dismissed never will be.
            let was_taken = entry.state != State::Held && !(entry.state == State::Done && entry.error.is_some());
            if let Some(reference) = entry.reference.filter(|_| is_success && was_taken) {
                paid.entry((entry.kind, reference)).or_default().push(entry.key);
            }
        }
        Ok(Paid(paid))
    }

    /// Whether another callback paid the request; if none did, this one does from now on.
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

/// What contradicts what was expected; never with the figures, because it is logged.
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
