//! Limits what one per-payment URL can store: a URL that leaks through a log must not fill the
//! disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Kind;
use crate::payload::Digest;

/// Budget per reference; it renews within [`RENEWAL`].
const CALLBACKS: f64 = 20.0;
const BYTES: f64 = 256.0 * 1024.0;
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// Maximum number of references that are tracked. References with a full budget are forgotten.
const REFERENCES: usize = 50_000;

/// Minimum interval between two removals of full budgets.
const FORGETTING: Duration = Duration::from_secs(60);

/// Budgets of references that were used recently.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    budgets: HashMap<Digest, Budget>,
    looked_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Budget {
    callbacks: f64,
    bytes: f64,
    at: Instant,
}

impl Budgets {
    /// Returns whether the URL of this kind and reference may store one more callback of this size.
    pub(super) fn admits(&self, kind: &Kind, reference: &str, bytes: usize) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(budget) = known.budgets.get_mut(&name(kind, reference)) else { return true };
        budget.renew(Instant::now());
        budget.callbacks >= 1.0 && budget.bytes >= size(bytes)
    }

    /// Charges a stored callback. Duplicates and failures are free.
    pub(super) fn charge(&self, kind: &Kind, reference: &str, bytes: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.budgets.len() >= REFERENCES
            && known.looked_at.is_none_or(|looked_at| now.duration_since(looked_at) >= FORGETTING)
        {
            known.budgets.retain(|_, budget| now.duration_since(budget.at) < RENEWAL);
            known.looked_at = Some(now);
        }
        let is_full = known.budgets.len() >= REFERENCES;
        let whole = Budget { callbacks: CALLBACKS, bytes: BYTES, at: now };
        let budget = match known.budgets.entry(name(kind, reference)) {
            Entry::Occupied(budget) => budget.into_mut(),
            // This many URLs did not leak; refusing them would gain nothing.
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(vacant) => vacant.insert(whole),
        };
        budget.renew(now);
        budget.callbacks -= 1.0;
        budget.bytes -= size(bytes);
    }
}

impl Budget {
    fn renew(&mut self, now: Instant) {
        let renewed = now.duration_since(self.at).as_secs_f64() / RENEWAL.as_secs_f64();
        self.callbacks = (self.callbacks + renewed * CALLBACKS).min(CALLBACKS);
        self.bytes = (self.bytes + renewed * BYTES).min(BYTES);
        self.at = now;
    }
}

fn name(kind: &Kind, reference: &str) -> Digest {
    Digest::of(format!("{}\0{reference}", kind.name()).as_bytes())
}

#[allow(clippy::cast_precision_loss, reason = "bodies are limited far below 2^53 bytes")]
fn size(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_reference_brings_some_callbacks_and_then_some_an_hour() {
        let budgets = Budgets::default();
        let bring = |reference: &str, bytes| {
            let admitted = (0..1000).take_while(|_| budgets.admits(&Kind::Stk, reference, bytes));
            admitted.map(|_| budgets.charge(&Kind::Stk, reference, bytes)).count()
        };
        assert_eq!(bring("leaked", 1000), 20);
        assert_eq!(bring("large", 60 * 1024), 4);
        assert_eq!(bring("another", 1000), 20);
        assert!(budgets.admits(&Kind::B2cResult, "another", 1000), "another kind");
        tokio::time::advance(RENEWAL / 2).await;
        assert_eq!(bring("leaked", 1000), 10);
        tokio::time::advance(RENEWAL * 24).await;
        assert_eq!(bring("leaked", 1000), 20);
    }
}
