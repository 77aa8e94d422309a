//! Delays between the attempts of a handler.

use std::time::Duration;

/// Delays between retries: exponential back-off with equal jitter. A delay is between half of a
/// bound and the bound, and the bound doubles with every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Bounds of the first delay and of all delays.
    pub const fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff { base, cap }
    }

    /// Returns the delay after this attempt, from 1.
    pub(crate) fn after(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.checked_pow(attempt.saturating_sub(1)).and_then(|factor| self.base.checked_mul(factor));
        doubled.unwrap_or(self.cap).min(self.cap).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl Default for Backoff {
    /// From 2 s to 1 h. With the default of 60 retries, a callback is retried for at least 25 hours
    /// before it is dead: 38 on average, 50 at most. The tenth retry comes after 17 to 34 minutes.
    fn default() -> Backoff {
        Backoff::new(Duration::from_secs(2), Duration::from_secs(60 * 60))
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
                let after = backoff.after(attempt);
                assert!(after <= Duration::from_secs(bound) && after >= Duration::from_secs(bound) / 2);
            }
        }
    }
}
