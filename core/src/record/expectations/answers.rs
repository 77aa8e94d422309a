//! Whether an expectation was answered.

use super::payers::{has_paid, was_taken};
use crate::Kind;
use crate::payload::{Expectation, Outcome, Sensitive};
use crate::store::{CallbackId, Entry, Filter, Lookup, Store, StoreError, Verdict};

/// Maximum number of callbacks that are read per reference; there are a few.
const MAX_PER_REFERENCE: usize = 1000;

/// Reads the outcome of a request from the stored callbacks.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a>(pub(crate) &'a dyn Store);

impl Answers<'_> {
    /// Returns whether a callback with a definite outcome answers the expectation with this number. What failed before
    /// the request was made anew does not answer it; what paid it does.
    pub(crate) async fn is_answered(&self, expected: &Expectation, number: u32) -> Result<bool, StoreError> {
        let candidates = self.candidates(expected).await?;
        let withdrawn = match number.checked_sub(1) {
            Some(before) => self.changes(expected).await?.into_iter().find(|change| change.number == before),
            None => None,
        };
        let is_of_before = |entry: &Entry| withdrawn.is_some_and(|withdrawn| entry.id < withdrawn.id);
        Ok(candidates.iter().any(|entry| tells_the_outcome(entry) && (has_paid(entry) || !is_of_before(entry))))
    }

    /// Callbacks under Daraja's ids and under the reference, without those at the URL of another
    /// request, and without those with an id that Daraja did not give to this one.
    pub(crate) async fn candidates(&self, expected: &Expectation) -> Result<Vec<Entry>, StoreError> {
        let ids = self.ids_of(expected).await?;
        let mut lookups: Vec<_> = ids.iter().map(|id| Lookup::Key(expected.kind.clone(), id.clone())).collect();
        lookups.push(Lookup::Reference(expected.kind.clone(), expected.reference.clone()));
        let mut candidates = self.0.find(&lookups).await?;
        candidates.retain(|entry| entry.reference.as_ref().is_none_or(|reference| *reference == expected.reference));
        // The key of a kind with a registered URL is its receipt, which is not known before.
        if !ids.is_empty() && !expected.kind.is_registered_once() {
            // A conflict counts if a person released it, and a purged key cannot be compared.
            let may_answer = |entry: &Entry| !entry.verdict.is_news() || entry.body.is_none();
            candidates.retain(|entry| ids.contains(&entry.key) || may_answer(entry));
        }
        Ok(candidates)
    }

    /// Returns Daraja's latest id of the request.
    pub(crate) async fn id_of(&self, expected: &Expectation) -> Result<Option<Sensitive>, StoreError> {
        Ok(self.ids_of(expected).await?.into_iter().next())
    }

    /// Returns the number of the latest change of the expectation; 0 if it stands as it was recorded.
    pub(crate) async fn last_change(&self, expected: &Expectation) -> Result<u32, StoreError> {
        Ok(self.changes(expected).await?.into_iter().map(|change| change.number).max().unwrap_or_default())
    }

    async fn changes(&self, expected: &Expectation) -> Result<Vec<Change>, StoreError> {
        let change = |row: &Entry| {
            Some(Change { number: Expectation::change_in(&expected.kind, row.key.as_str())?, id: row.id })
        };
        Ok(self.rows_of(expected).await?.iter().filter_map(change).collect())
    }

    /// Returns Daraja's ids of the request, newest first.
    async fn ids_of(&self, expected: &Expectation) -> Result<Vec<Sensitive>, StoreError> {
        let id = |row: &Entry| Expectation::id_in(&expected.kind, row.key.as_str()).map(Sensitive::from);
        Ok(self.rows_of(expected).await?.iter().filter_map(id).collect())
    }

    /// Returns the rows of a request, newest first.
    async fn rows_of(&self, expected: &Expectation) -> Result<Vec<Entry>, StoreError> {
        let filter =
            Filter::default().kind(Kind::Overdue).reference(expected.reference.as_str()).limit(MAX_PER_REFERENCE);
        let mut rows = self.0.list(&filter).await?;
        rows.retain(|row| row.verdict == Verdict::First);
        Ok(rows)
    }
}

/// A change of an expectation after it was recorded.
#[derive(Clone, Copy)]
struct Change {
    number: u32,
    /// Of its row: ids grow in the order of recording.
    id: CallbackId,
}

/// Returns whether a change withdraws what is expected. Otherwise the same is expected again.
pub(crate) fn is_withdrawal(number: u32) -> bool {
    number % 2 == 1
}

/// Returns whether a callback settles the question: not while it is held, and not with an unknown
/// outcome.
pub(crate) fn tells_the_outcome(entry: &Entry) -> bool {
    // A callback that was purged was done.
    was_taken(entry) && (entry.body.is_none() || entry.outcome != Some(Outcome::Unknown))
}
