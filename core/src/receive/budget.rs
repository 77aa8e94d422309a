//! How much the URL of one payment may bring: what leaks by a log is one URL, and must not fill a disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::payload::Digest;

/// What one reference may bring at once, and again in the course of [`RENEWAL`].
const CALLBACKS: f64 = 20.0;
const BYTES: f64 = 256.0 * 1024.0;
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// How many references are kept in mind at most. Those whose budget is whole again are forgotten.
const REFERENCES: usize = 50_000;

/// The budgets of references that brought something lately.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<HashMap<Digest, Budget>>);

#[derive(Clone, Copy, Debug)]
struct Budget {
    callbacks: f64,
    bytes: f64,
    at: Instant,
}

impl Budgets {
    /// Whether this reference may bring one more callback of this size.
    pub(super) fn admits(&self, reference: &str, bytes: usize) -> bool {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if budgets.len() >= REFERENCES {
            budgets.retain(|_, budget| now.duration_since(budget.at) < RENEWAL);
        }
        if budgets.len() >= REFERENCES {
            // So many URLs did not leak; nothing is gained by refusing what they bring.
            return true;
        }
        let whole = Budget { callbacks: CALLBACKS, bytes: BYTES, at: now };
        let budget = budgets.entry(Digest::of(reference.as_bytes())).or_insert(whole);
        let renewed = now.duration_since(budget.at).as_secs_f64() / RENEWAL.as_secs_f64();
        budget.callbacks = (budget.callbacks + renewed * CALLBACKS).min(CALLBACKS);
        budget.bytes = (budget.bytes + renewed * BYTES).min(BYTES);
        budget.at = now;
        #[allow(clippy::cast_precision_loss, reason = "bodies are limited far below 2^53 bytes")]
        let bytes = bytes as f64;
        if budget.callbacks < 1.0 || budget.bytes < bytes {
            return false;
        }
        budget.callbacks -= 1.0;
        budget.bytes -= bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_reference_brings_some_callbacks_and_then_some_an_hour() {
        let budgets = Budgets::default();
        let bring = |reference: &str, bytes| (0..1000).filter(|_| budgets.admits(reference, bytes)).count();
        assert_eq!(bring("leaked", 1000), 20);
        assert_eq!(bring("large", 60 * 1024), 4);
        assert_eq!(bring("another", 1000), 20);
        tokio::time::advance(RENEWAL / 2).await;
        assert_eq!(bring("leaked", 1000), 10);
        tokio::time::advance(RENEWAL * 24).await;
        assert_eq!(bring("leaked", 1000), 20);
    }
}
