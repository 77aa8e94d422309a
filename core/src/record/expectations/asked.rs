//! The stored expectations that concern a batch.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::Kind;
use crate::payload::{Expectation, RequestFacts, Sensitive};
use crate::store::{Delivery, Disposition, Lookup, Store, StoreError, Verdict};

/// Why a callback is held for which nothing was expected.
pub(crate) const UNEXPECTED: &str = "nothing was expected";

/// Returns whether a delivery may answer an expectation.
pub(super) fn can_be_judged(delivery: &Delivery) -> bool {
    delivery.kind.can_be_expected() && matches!(delivery.disposition, Disposition::Handle | Disposition::Noted)
}

/// Returns the lookup keys of the expectations that this delivery may answer: by its reference or
/// account, and by Daraja's id.
pub(crate) fn names(delivery: &Delivery) -> Vec<Sensitive> {
    let kind = &delivery.kind;
    let reference = match kind {
        Kind::C2bConfirmation => delivery.facts.account.as_ref(),
        _ => delivery.reference.as_ref(),
    };
    let by_reference = reference.map(|reference| Expectation::key_of(kind, reference.as_str()));
    by_reference.into_iter().chain([Expectation::key_of_id(kind, delivery.key.as_str())]).collect()
}

/// Stored expectations that concern a batch.
pub(crate) struct Asked {
    pub(crate) expected: HashMap<Sensitive, Expectation>,
    /// When they were recorded.
    pub(crate) recorded_at: HashMap<Sensitive, SystemTime>,
    /// Daraja's ids per request.
    pub(super) ids: HashMap<Sensitive, Vec<Sensitive>>,
}

impl Asked {
    /// Looks up the expectations that these may answer.
    pub(crate) async fn look(store: &dyn Store, batch: &[Delivery]) -> Result<Asked, StoreError> {
        let mut asked = Asked { expected: HashMap::new(), recorded_at: HashMap::new(), ids: HashMap::new() };
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
                asked.recorded_at.insert(entry.key.clone(), entry.received_at);
                asked.expected.insert(entry.key, expected);
            }
        }
        Ok(asked)
    }

    /// Returns whether Daraja gave the request other ids. The id of a C2B confirmation is its
    /// receipt, which is not known before.
    pub(crate) fn is_another_id(&self, delivery: &Delivery, expected: &Expectation) -> bool {
        let name = Expectation::key_of_ids(&delivery.kind, expected.reference.as_str());
        !delivery.kind.is_registered_once()
            && self.ids.get(&name).is_some_and(|ids| !ids.is_empty() && !ids.contains(&delivery.key))
    }
}

/// Returns how a delivery contradicts its expectation. Without amounts, because it is logged.
pub(crate) fn contradiction(facts: &RequestFacts, expected: &Expectation) -> Option<&'static str> {
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
