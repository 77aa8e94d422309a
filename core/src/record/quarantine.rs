//! Limits of the quarantine: a sender with the secret or one URL could fill the disk with bodies
//! that cannot be parsed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::store::Delivery;

/// Limits of the quarantine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuarantineLimits {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) per_second: u32,
}

impl Default for QuarantineLimits {
    fn default() -> QuarantineLimits {
        // Large enough for days of a shop's callbacks, in case Safaricom changes a format.
        QuarantineLimits { rows: 10_000, bytes: 64 * 1024 * 1024, per_second: 50 }
    }
}

/// A burst may have this many times the rate.
const BURST_SECONDS: f64 = 10.0;

/// Rate limiters: one for the secret, one for per-payment URLs, so that a leaked URL cannot block
/// the rest.
#[derive(Debug)]
pub(crate) struct Quarantine {
    pub(crate) limits: QuarantineLimits,
    by_secret: Mutex<Bucket>,
    by_token: Mutex<Bucket>,
    /// Whether the quarantine may have grown since it was last trimmed.
    entered: AtomicBool,
}

#[derive(Debug)]
struct Bucket {
    room: f64,
    at: Instant,
}

impl Quarantine {
    pub(crate) fn new(limits: QuarantineLimits) -> Quarantine {
        let bucket = || Mutex::new(Bucket { room: f64::from(limits.per_second) * BURST_SECONDS, at: Instant::now() });
        // An earlier process may have had larger limits.
        Quarantine { limits, by_secret: bucket(), by_token: bucket(), entered: AtomicBool::new(true) }
    }

    /// Returns whether this delivery may enter now.
    pub(crate) fn admits(&self, delivery: &Delivery) -> bool {
        self.admits_one(if delivery.reference.is_some() { &self.by_token } else { &self.by_secret })
    }

    fn admits_one(&self, bucket: &Mutex<Bucket>) -> bool {
        let rate = f64::from(self.limits.per_second);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.at).as_secs_f64() * rate;
        bucket.room = (bucket.room + gained).min(rate * BURST_SECONDS);
        bucket.at = now;
        if bucket.room < 1.0 {
            return false;
        }
        bucket.room -= 1.0;
        self.grew();
        true
    }

    /// Notes that the quarantine has grown.
    pub(crate) fn grew(&self) {
        self.entered.store(true, Ordering::Relaxed);
    }

    /// Returns whether the quarantine has grown; resets the answer.
    pub(crate) fn has_grown(&self) -> bool {
        self.entered.swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_enters_and_then_so_many_a_second() {
        let limits = QuarantineLimits { per_second: 5, ..QuarantineLimits::default() };
        let quarantine = Quarantine::new(limits);
        let enter = |times: usize| (0..times).filter(|_| quarantine.admits_one(&quarantine.by_secret)).count();
        assert_eq!(enter(1000), 50);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(enter(1000), 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(enter(1000), 50);
        assert!(quarantine.admits_one(&quarantine.by_token));
    }
}
