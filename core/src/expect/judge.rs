//! What comes, held against what was expected.

use std::collections::HashMap;

use super::{ANOTHER, UNEXPECTED};
use crate::kind::Kind;
use crate::payload::{Expected, Private, Said};
use crate::receive::RecordError;
use crate::store::{Disposition, Entry, Received, Recorded, State, Store, StoreError, Verdict, caught};

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
        let expected = look(store, batch).await?;
        let mut attributed = Vec::new();
        for (at, received) in batch.iter_mut().enumerate().filter(|(_, received)| can_be_judged(received)) {
            let found: Vec<&Expected> = names(received).iter().filter_map(|name| expected.get(name)).collect();
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
            if let Some(reason) = contradiction(&received.said, expected) {
                hold(received, Disposition::Contradict(reason.into()));
            }
            if received.reference.is_none() {
                received.reference = Some(expected.reference.clone());
                attributed.push(at);
            }
            if let Some(payment) = &mut received.payment {
                payment.reference.get_or_insert_with(|| expected.reference.clone());
            }
        }
        recognise(store, batch, &attributed).await
    }

    /// Whoever expected a callback while it was being recorded did not find it there, and it did not find them.
    pub(crate) async fn judge_again(
        &self,
        store: &dyn Store,
        batch: &[Received],
        payments: &[Option<Box<Received>>],
        recorded: &[Result<Recorded, RecordError>],
    ) -> Result<(), StoreError> {
        let is_held = |received: &Received| received.disposition == Disposition::Hold(UNEXPECTED.into());
        if !batch.iter().any(is_held) {
            return Ok(());
        }
        let expected = look(store, batch).await?;
        for ((received, payment), recorded) in batch.iter().zip(payments).zip(recorded) {
            let first =
                recorded.as_ref().ok().filter(|recorded| recorded.verdict == Verdict::First && is_held(received));
            let known = names(received).iter().find_map(|name| expected.get(name));
            if let (Some(first), Some(expected)) = (first, known)
                && contradiction(&received.said, expected).is_none()
            {
                let mut payment = payment.clone();
                if let Some(payment) = &mut payment {
                    payment.reference.get_or_insert_with(|| expected.reference.clone());
                }
                caught(store.reopen(first.id, State::Held, payment.as_deref())).await?;
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
    let names: Vec<_> = attributed.iter().map(|at| (batch[*at].kind.clone(), batch[*at].key.clone())).collect();
    let known = caught(store.find(&names)).await?;
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

async fn look(store: &dyn Store, batch: &[Received]) -> Result<HashMap<Private, Expected>, StoreError> {
    let judged = batch.iter().filter(|received| received.kind.can_be_expected());
    let names: Vec<_> = judged.flat_map(names).map(|name| (Kind::Overdue, name)).collect();
    if names.is_empty() {
        return Ok(HashMap::new());
    }
    let found = caught(store.find(&names)).await?;
    let firsts = found.into_iter().filter(|entry| entry.verdict == Verdict::First);
    Ok(firsts.filter_map(|entry| Some((entry.key, Expected::parse(entry.body?.as_bytes()).ok()?))).collect())
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
