//! What comes, held against what was expected.

use std::collections::HashMap;
use std::time::Duration;

use super::{ANOTHER, ANOTHER_ID, PAID_BEFORE, UNEXPECTED};
use crate::kind::Kind;
use crate::payload::{Expected, Outcome, Private, Said};
use crate::receive::RecordError;
use crate::store::{
    Disposition, Entry, Lookup, Received, Recorded, Reopening, State, Store, StoreError, Verdict, caught,
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
    pub(crate) async fn judge(&self, store: &dyn Store, batch: &mut [Received]) -> Result<(), StoreError> {
        let known = look(store, batch).await?;
        let mut attributed = Vec::new();
        let mut paid = Paid::find(store, batch, &known).await?;
        for (at, received) in batch.iter_mut().enumerate().filter(|(_, received)| can_be_judged(received)) {
            let found: Vec<&Expected> = names(received).iter().filter_map(|name| known.expected.get(name)).collect();
            let Some(expected) = found.first() else {
                if received.said.is_success && self.required.contains(&received.kind) {
                    hold(received, Disposition::Hold(UNEXPECTED.into()));
                }
                continue;
            };
            if found.iter().any(|other| other.reference != expected.reference) {
                hold(received, Disposition::Contradict(ANOTHER.into()));
                continue;
            }
            let contradiction = contradiction(&received.said, expected)
                .or_else(|| known.is_another_id(received, expected).then_some(ANOTHER_ID))
                .or_else(|| paid.is_second(received, expected).then_some(PAID_BEFORE));
            if let Some(reason) = contradiction {
                hold(received, Disposition::Contradict(reason.into()));
            }
            if received.reference.is_none() {
                received.reference = Some(expected.reference.clone());
                attributed.push(at);
            }
            if let Some(payment) = &mut received.payment {
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
        batch: &[Received],
        payments: &[Option<Box<Received>>],
        recorded: &[Result<Recorded, RecordError>],
    ) -> Result<(), StoreError> {
        let is_held = |received: &Received| received.disposition == Disposition::Hold(UNEXPECTED.into());
        let is_nobodys = |received: &Received| {
            received.kind.can_be_expected()
                && received.payment.as_ref().is_some_and(|payment| payment.reference.is_none())
        };
        if !batch.iter().any(|received| is_held(received) || is_nobodys(received)) {
            return Ok(());
        }
        let known = look(store, batch).await?;
        for ((received, payment), recorded) in batch.iter().zip(payments).zip(recorded) {
            let news = recorded.as_ref().ok().filter(|recorded| recorded.verdict.is_news());
            let expected = names(received).iter().find_map(|name| known.expected.get(name));
            if let (Some(news), Some(expected)) = (news, expected)
                && (is_held(received) || is_nobodys(received))
                && contradiction(&received.said, expected).is_none()
                && !known.is_another_id(received, expected)
            {
                let mut payment = payment.clone();
                if let Some(payment) = &mut payment {
                    payment.reference.get_or_insert_with(|| expected.reference.clone());
                }
                match payment {
                    Some(payment) if is_nobodys(received) => drop(caught(store.record(&[*payment])).await?),
                    payment => {
                        let reopening = Reopening { payment: payment.as_deref(), ..Reopening::from(State::Held) };
                        caught(store.reopen(news.id, &reopening)).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What came to the plain URL says the same as what came to the URL of its reference, or was reconciled under it: the fingerprints
/// differ by the reference, which was not known when it came.
async fn recognise(store: &dyn Store, batch: &mut [Received], attributed: &[usize]) -> Result<(), StoreError> {
    if attributed.is_empty() {
        return Ok(());
    }
    let lookup = |at: &usize| Lookup::Key(batch[*at].kind.clone(), batch[*at].key.clone());
    let known = caught(store.find(&attributed.iter().map(lookup).collect::<Vec<_>>())).await?;
    for at in attributed {
        let received = &mut batch[*at];
        let meaning = received.meaning.under(received.reference.as_ref());
        let says_so =
            |entry: &Entry| entry.kind == received.kind && entry.key == received.key && entry.meaning == Some(meaning);
        if known.iter().any(says_so) {
            received.meaning = meaning;
        }
    }
    Ok(())
}

fn hold(received: &mut Received, disposition: Disposition) {
    received.disposition = disposition;
    // Whoever releases it brings it back.
    received.payment = None;
}

fn can_be_judged(received: &Received) -> bool {
    received.kind.can_be_expected() && matches!(received.disposition, Disposition::Handle | Disposition::Noted)
}

/// By what an expectation of this callback would be found: its reference or account, and Daraja's id.
fn names(received: &Received) -> Vec<Private> {
    let kind = &received.kind;
    let reference = match kind {
        Kind::C2bConfirmation => received.said.account.as_ref(),
        _ => received.reference.as_ref(),
    };
    let by_reference = reference.map(|reference| Expected::key_of(kind, reference.as_str()));
    by_reference.into_iter().chain([Expected::key_of_id(kind, received.key.as_str())]).collect()
}

/// What is known of what was asked for.
struct Asked {
    expected: HashMap<Private, Expected>,
    /// Daraja's ids of a request, by the name under which its ids are kept.
    ids: HashMap<Private, Vec<Private>>,
}

impl Asked {
    /// Whether Daraja gave the request other ids than this. (Of a C2B confirmation the id is the receipt, which nobody knows
    /// before it comes.)
    fn is_another_id(&self, received: &Received, expected: &Expected) -> bool {
        let name = Expected::key_of_ids(&received.kind, expected.reference.as_str());
        !received.kind.is_registered_once()
            && self.ids.get(&name).is_some_and(|ids| !ids.is_empty() && !ids.contains(&received.key))
    }
}

async fn look(store: &dyn Store, batch: &[Received]) -> Result<Asked, StoreError> {
    let mut asked = Asked { expected: HashMap::new(), ids: HashMap::new() };
    let judged = batch.iter().filter(|received| received.kind.can_be_expected());
    let of_ids = |received: &Received| {
        let reference = received.reference.as_ref()?;
        Some(Expected::key_of_ids(&received.kind, reference.as_str()))
    };
    let names = judged.flat_map(|received| names(received).into_iter().chain(of_ids(received)));
    let lookups: Vec<_> = names.map(|name| Lookup::Key(Kind::Overdue, name)).collect();
    if lookups.is_empty() {
        return Ok(asked);
    }
    for entry in caught(store.find(&lookups)).await? {
        let Some(Ok(mut expected)) = entry.body.as_ref().map(|body| Expected::parse(body.as_bytes())) else { continue };
        let of_ids = Expected::key_of_ids(&expected.kind, expected.reference.as_str());
        if entry.key == of_ids {
            asked.ids.entry(of_ids).or_default().extend(expected.id.take());
        } else if entry.verdict == Verdict::First {
            asked.expected.insert(entry.key, expected);
        }
    }
    Ok(asked)
}

/// Which requests were paid already, and by which callbacks.
struct Paid(HashMap<(Kind, Private), Vec<Private>>);

impl Paid {
    /// Looks up what came under the references of those in the batch that tell of a success.
    async fn find(store: &dyn Store, batch: &[Received], asked: &Asked) -> Result<Paid, StoreError> {
        let is_asked = |received: &&Received| {
            received.said.is_success && !received.kind.is_registered_once() && can_be_judged(received)
        };
        let mut lookups: Vec<_> = batch
            .iter()
            .filter(is_asked)
            .filter_map(|received| {
                let expected = names(received).iter().find_map(|name| asked.expected.get(name))?;
                Some(Lookup::Reference(received.kind.clone(), expected.reference.clone()))
            })
            .collect();
        let mut paid = HashMap::<_, Vec<_>>::new();
        lookups.dedup();
        if lookups.is_empty() {
            return Ok(Paid(paid));
        }
        for entry in caught(store.find(&lookups)).await? {
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
    fn is_second(&mut self, received: &Received, expected: &Expected) -> bool {
        if !received.said.is_success || received.kind.is_registered_once() {
            return false;
        }
        let payers = self.0.entry((received.kind.clone(), expected.reference.clone())).or_default();
        let is_second = payers.iter().any(|payer| *payer != received.key);
        payers.push(received.key.clone());
        is_second
    }
}

/// What contradicts what was expected; never with the figures, because it is logged.
pub(super) fn contradiction(said: &Said, expected: &Expected) -> Option<&'static str> {
    let differs =
        |one: Option<&str>, other: Option<&str>| matches!((one, other), (Some(one), Some(other)) if one != other);
    if said.is_success && said.tells_amounts && expected.amount.is_some() && said.amount.is_none() {
        return Some("it does not tell its amount");
    }
    if said.amount.zip(expected.amount).is_some_and(|(said, expected)| said != expected) {
        return Some("its amount is not the one that was expected");
    }
    differs(said.business_short_code.as_deref(), expected.business_short_code.as_deref())
        .then_some("its short code is not the one that was expected")
}
