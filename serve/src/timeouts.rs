//! The timeouts of a connection, and their defaults.

use std::time::Duration;

/// Timeouts for slow clients, per phase of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// Timeout for the head of a request.
    pub(super) head: Duration,
    /// Timeout for the next request.
    pub(super) idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { head: Duration::from_secs(10), idle: Duration::from_secs(75) }
    }
}
