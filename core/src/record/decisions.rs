//! Decisions of validations that may not be stored yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::payload::{Digest, Sensitive};

/// Decisions that were answered but may not be stored yet: while the store is slow or unavailable,
/// the same request still gets the same answer.
#[derive(Debug, Default)]
pub(crate) struct PendingDecisions(Mutex<Decisions>);

#[derive(Debug, Default)]
struct Decisions {
    by_question: HashMap<(Sensitive, Digest), String>,
    oldest_first: VecDeque<(Sensitive, Digest)>,
}

/// Maximum number of decisions; a merchant has a few at a time.
const MAX_PENDING: usize = 10_000;

impl PendingDecisions {
    pub(crate) fn get(&self, key: &Sensitive, content_digest: &Digest) -> Option<String> {
        let decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.by_question.get(&(key.clone(), *content_digest)).cloned()
    }

    /// Returns the earlier decision of this request, or stores this one.
    pub(super) fn enter(&self, key: &Sensitive, content_digest: &Digest, decision: &str) -> String {
        let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (key.clone(), *content_digest);
        if let Some(earlier) = decisions.by_question.get(&question) {
            return earlier.clone();
        }
        if decisions.oldest_first.len() >= MAX_PENDING
            && let Some(oldest) = decisions.oldest_first.pop_front()
        {
            decisions.by_question.remove(&oldest);
        }
        decisions.by_question.insert(question.clone(), decision.to_owned());
        decisions.oldest_first.push_back(question);
        decision.to_owned()
    }

    /// Removes a decision that is stored now.
    pub(super) fn leave(&self, key: &Sensitive, content_digest: &Digest) {
        let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (key.clone(), *content_digest);
        decisions.by_question.remove(&question);
        decisions.oldest_first.retain(|other| *other != question);
    }
}
