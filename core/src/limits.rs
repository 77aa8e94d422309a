//! Limits and timeouts of an inbox, with their defaults.

use std::time::Duration;

use crate::access::InFlightLimits;
use crate::process::{Backoff, RETRIES};
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
            max_retries: RETRIES,
            backoff: Backoff::default(),
            lease: Duration::from_secs(30),
            lease_check_interval: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(2 * 60),
            retention: None,
            counterpart_timeout: Duration::from_secs(3),
        }
    }
}
