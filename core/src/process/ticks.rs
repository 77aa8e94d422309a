//! Intervals of the maintenance.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Ticks now and after every period; a late tick delays the others.
pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
