//! Limits and timeouts of an inbox, and the default of each.

use std::time::Duration;

use crate::access::InFlightLimits;
use crate::process::Backoff;
use crate::record::QuarantineLimits;

/// Limits and timeouts of an inbox. The builder documents each.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) max_body_bytes: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) recording_timeout: Duration,
    pub(crate) in_flight: InFlightLimits,
    pub(crate) quarantine: QuarantineLimits,
    pub(crate) max_concurrent_handlers: usize,
    pub(crate) max_retries: u32,
    pub(crate) backoff: Backoff,
    pub(crate) lease: Duration,
    pub(crate) lease_check_interval: Duration,
    pub(crate) handler_timeout: Duration,
    pub(crate) retention: Option<Duration>,
    pub(crate) counterpart_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            // Daraja's bodies are smaller than 2 KiB.
            max_body_bytes: 64 * 1024,
            body_timeout: Duration::from_secs(5),
            recording_timeout: Duration::from_secs(5),
            in_flight: InFlightLimits::new(1024),
            quarantine: QuarantineLimits::default(),
            max_concurrent_handlers: 64,
            max_retries: 60,
            backoff: Backoff::default(),
            lease: Duration::from_secs(30),
            lease_check_interval: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(2 * 60),
            retention: None,
            counterpart_timeout: Duration::from_secs(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures in the documentation.
    #[test]
    fn money_is_kept_alive_for_more_than_a_day() {
        let Limits { backoff, max_retries, .. } = Limits::default();
        let total =
            |max_retries: u32| (1..=max_retries).map(|attempt| backoff.after(attempt).as_secs_f64()).sum::<f64>();
        let runs = || (0..2000).map(|_| total(max_retries) / 3600.0);
        let (shortest, longest) =
            runs().fold((f64::MAX, f64::MIN), |(low, high), hours| (low.min(hours), high.max(hours)));
        let mean = runs().sum::<f64>() / 2000.0;
        assert!(shortest > 25.0 && longest < 50.3, "{shortest} to {longest} hours");
        assert!((37.0..38.5).contains(&mean), "{mean} hours");
        let tenth = (0..2000).map(|_| total(10) / 60.0);
        let (shortest, longest) = tenth.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it)));
        assert!(shortest > 17.0 && longest < 34.2, "{shortest} to {longest} minutes");
    }
}
