//! The source of time.

use std::fmt::Debug;
use std::time::SystemTime;

/// A source of time. A store reads one clock only: its own, or its database's.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The clock of the machine, `SystemTime::now`. The default of an inbox.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
