//! The options of an inbox, as the builder gathers them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::start_error::StartError;
use crate::Kind;
use crate::access::{IpAllowlist, TrustedProxies};
use crate::clock::{Clock, SystemClock};
use crate::defaults::Limits;
use crate::environment::Environment;
use crate::store::{Spool, Store};

/// Longer durations are taken for mistakes.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// All options except the handler and the transactor.
pub(crate) struct Options {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) spool: Option<Arc<dyn Spool>>,
    pub(crate) required: Vec<Kind>,
    pub(crate) secrets: Vec<String>,
    pub(crate) allowlist: Option<IpAllowlist>,
    pub(crate) proxies: Option<TrustedProxies>,
    pub(crate) name: Option<String>,
    pub(crate) environment: Environment,
    pub(crate) public_url: Option<String>,
    pub(crate) probe: bool,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            store: None,
            spool: None,
            required: Vec::new(),
            secrets: Vec::new(),
            allowlist: None,
            proxies: None,
            name: None,
            environment: Environment::Production,
            public_url: None,
            probe: true,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// Refuses limits that are 0 or too large.
    pub(super) fn check_limits(&self) -> Result<(), StartError> {
        let limits = &self.limits;
        for (option, is_zero) in [
            ("max_concurrent_handlers", limits.max_concurrent_handlers == 0),
            ("max_body_bytes", limits.max_body_bytes == 0),
            ("ip_allowlist", self.allowlist.as_ref().is_some_and(IpAllowlist::is_empty)),
            ("max_in_flight", limits.in_flight.by_secret == 0 || limits.in_flight.per_source == Some(0)),
            ("lease", limits.lease.is_zero()),
            ("lease_check_interval", limits.lease_check_interval.is_zero()),
            ("handler_timeout", limits.handler_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(StartError::InvalidOption { option, reason: "must not be 0 or empty" });
            }
        }
        for (option, is_too_large) in [
            ("max_concurrent_handlers", limits.max_concurrent_handlers > Semaphore::MAX_PERMITS.min(u32::MAX as usize)),
            ("lease", limits.lease > MAX_DURATION),
            ("lease_check_interval", limits.lease_check_interval > MAX_DURATION),
            ("handler_timeout", limits.handler_timeout > MAX_DURATION),
            ("body_timeout", limits.body_timeout > MAX_DURATION),
            ("recording_timeout", limits.recording_timeout > MAX_DURATION),
            ("counterpart_timeout", limits.counterpart_timeout > MAX_DURATION),
        ] {
            if is_too_large {
                return Err(StartError::InvalidOption { option, reason: "is too large; durations are at most a week" });
            }
        }
        Ok(())
    }
}
