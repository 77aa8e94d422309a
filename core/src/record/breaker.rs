//! The circuit breaker in front of the store.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::observe;

/// Spares callbacks the wait for a store that has failed a few times in a row. It closes when a replay
/// from the spool has shown that the store is back.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: AtomicU32,
}

/// So many failures in a row open it.
const BREAKER_FAILURES: u32 = 3;

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= BREAKER_FAILURES
    }

    /// The store did not take a callback.
    pub(crate) fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 == BREAKER_FAILURES {
            tracing::error!("the store is unavailable: callbacks go to the spool until it is back");
            observe::store_unavailable(true);
        }
    }

    /// The store took a callback.
    pub(crate) fn worked(&self) {
        // Looked at first, because it is nearly always 0 and all callbacks share it.
        if self.failures.load(Ordering::Relaxed) > 0 && self.failures.swap(0, Ordering::Relaxed) >= BREAKER_FAILURES {
            tracing::info!("the store is back");
            observe::store_unavailable(false);
        }
    }

    /// There is nothing to try with: the next callback tries, and opens it again when it fails.
    pub(crate) fn let_one_try(&self) {
        let _ = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| {
            (failures >= BREAKER_FAILURES).then_some(BREAKER_FAILURES - 1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_after_three_failures_in_a_row_and_closes_at_the_first_success() {
        let breaker = Breaker::default();
        breaker.failed();
        breaker.failed();
        breaker.worked();
        breaker.failed();
        breaker.failed();
        assert!(!breaker.is_open());
        breaker.failed();
        breaker.failed();
        assert!(breaker.is_open());
        breaker.let_one_try();
        assert!(!breaker.is_open());
        breaker.failed();
        assert!(breaker.is_open());
        breaker.worked();
        assert!(!breaker.is_open());
    }
}
