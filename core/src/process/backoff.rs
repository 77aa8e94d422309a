//! When to try again.

use std::time::Duration;

/// When a callback that failed is tried again: full jitter, a random time between nothing and a bound that doubles with
/// every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// The bound after the first attempt, and the one that it never exceeds.
    pub const fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff { base, cap }
    }

    /// How long to wait after this attempt, from 1.
    pub(crate) fn after(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| self.base.checked_mul(factor));
        doubled.unwrap_or(self.cap).min(self.cap).mul_f64(fastrand::f64())
    }
}

impl Default for Backoff {
    /// From 2 seconds to 15 minutes: with 11 retries, an hour or so before a callback is dead.
    fn default() -> Backoff {
        Backoff::new(Duration::from_secs(2), Duration::from_secs(15 * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_bound_that_doubles_up_to_the_cap() {
        let backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
        for (attempt, bound) in [(1, 2), (2, 4), (5, 32), (6, 60), (40, 60), (u32::MAX, 60)] {
            for _ in 0..100 {
                assert!(backoff.after(attempt) <= Duration::from_secs(bound));
            }
        }
    }
}
