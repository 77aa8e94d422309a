//! Whether an expectation was answered.

use std::time::SystemTime;

use super::payers::was_taken;
use crate::Kind;
use crate::payload::{Expectation, Outcome, Sensitive};
use crate::store::{Entry, Filter, Lookup, Store, StoreError, Verdict};

/// Maximum number of callbacks that are read per reference; there are a few.
const MAX_PER_REFERENCE: usize = 1000;

/// Reads the outcome of a request from the stored callbacks.
#[derive(Clone, Copy)]
pub(crate) struct Answers<'a>(pub(crate) &'a dyn Store);

impl Answers<'_> {
    /// Returns whether a callback with a definite outcome answers this expectation.
    pub(crate) async fn is_answered(&self, expected: &Expectation) -> Result<bool, StoreError> {
        Ok(self.candidates(expected).await?.iter().any(tells_the_outcome))
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

    /// Returns the latest change of the expectation; `None` if it stands as it was recorded.
    pub(crate) async fn last_change(&self, expected: &Expectation) -> Result<Option<Change>, StoreError> {
        let rows = self.rows_of(expected).await?;
        let changes = rows.iter().filter_map(|row| {
            let number = Expectation::change_in(&expected.kind, row.key.as_str())?;
            Some(Change { number, at: row.received_at })
        });
        Ok(changes.max_by_key(|change| change.number))
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// From 1, for each expectation.
    pub(crate) number: u32,
    pub(crate) at: SystemTime,
}

impl Change {
    /// Whether nothing is expected any more. Otherwise the same is expected again.
    pub(crate) fn is_withdrawal(self) -> bool {
        self.number % 2 == 1
    }
}

/// Returns whether a callback settles the question: not while it is held, and not with an unknown
/// outcome.
pub(crate) fn tells_the_outcome(entry: &Entry) -> bool {
    // A callback that was purged was done.
    was_taken(entry) && (entry.body.is_none() || entry.outcome != Some(Outcome::Unknown))
}
