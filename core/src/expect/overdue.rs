//! Whether a callback came for what was expected.

use crate::engine::Engine;
use crate::kind::Kind;
use crate::payload::{self, Expected, Outcome, Private};
use crate::store::{Entry, Filter, State, StoreError, Verdict, caught};

/// How many callbacks of one reference are looked at; there are a few.
const MANY: usize = 1000;

impl Engine {
    /// Whether there is nothing to ask after; otherwise Daraja's id is told, to ask with.
    pub(crate) async fn ask_after(&self, expected: &mut Expected) -> Result<bool, StoreError> {
        expected.id = self.id_of(expected).await?;
        let candidates = self.candidates(expected).await?;
        // Held because nobody had asked for it yet, and whoever asked was not there when it was looked at.
        let mut is_released = false;
        for early in &candidates {
            is_released |= self.release_expected(early, expected).await?;
        }
        Ok(is_released || candidates.iter().any(|entry| self.tells_the_outcome(entry)))
    }

    /// Whether a callback that tells the outcome was taken for this expectation.
    pub(crate) async fn is_answered(&self, expected: &Expected) -> Result<bool, StoreError> {
        Ok(self.candidates(expected).await?.iter().any(|entry| self.tells_the_outcome(entry)))
    }

    /// What came for this expectation: by Daraja's ids, and by its reference. What came to the URL of another request is none.
    async fn candidates(&self, expected: &Expected) -> Result<Vec<Entry>, StoreError> {
        let ids: Vec<_> = self.ids_of(expected).await?.into_iter().map(|id| (expected.kind.clone(), id)).collect();
        let mut candidates = caught(self.store.find(&ids)).await?;
        let by_reference = Filter::default().kind(expected.kind.clone()).reference(expected.reference.as_str());
        for entry in caught(self.store.list(&by_reference.limit(MANY))).await? {
            candidates.extend(caught(self.store.get(entry.id)).await?);
        }
        candidates.retain(|entry| entry.reference.as_ref().is_none_or(|reference| *reference == expected.reference));
        Ok(candidates)
    }

    /// Daraja's id of the request, the one that was told last.
    pub(crate) async fn id_of(&self, expected: &Expected) -> Result<Option<Private>, StoreError> {
        Ok(self.ids_of(expected).await?.into_iter().next())
    }

    /// Newest first.
    async fn ids_of(&self, expected: &Expected) -> Result<Vec<Private>, StoreError> {
        let filter = Filter::default().kind(Kind::Overdue).reference(expected.reference.as_str()).limit(MANY);
        let known = caught(self.store.list(&filter)).await?;
        let id = |entry: &Entry| Expected::id_in(&expected.kind, entry.key.as_str()).map(Private::from);
        Ok(known.iter().filter(|entry| entry.verdict == Verdict::First).filter_map(id).collect())
    }

    /// What is held tells nothing yet, and some result codes say that nobody knows.
    fn tells_the_outcome(&self, entry: &Entry) -> bool {
        let was_taken = entry.verdict == Verdict::First || entry.attempts > 0;
        // What was held and then dismissed keeps the reason.
        let was_dismissed = entry.state == State::Done && entry.error.is_some();
        if entry.state == State::Held || was_dismissed || !was_taken {
            return false;
        }
        // What was purged was done with.
        let Some(body) = &entry.body else { return true };
        let key = self.routes.of(&entry.kind).and_then(|route| route.key.as_deref());
        let parsed = payload::parse_bytes(&entry.kind, &body.0, key);
        parsed.is_ok_and(|parsed| parsed.callback.outcome().is_none_or(|outcome| outcome != Outcome::Unknown))
    }
}
