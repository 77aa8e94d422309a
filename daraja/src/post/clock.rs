//! Time of the simulator: it stands still until it is told, or it is the machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// 1 January 2026, 08:00 in Nairobi: where virtual time begins.
const BEGINNING: i64 = 1_767_243_600;

/// The time since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Moves when it is told.
    Virtual(Duration),
    /// Moves with the machine's clock.
    Real(Instant, i64),
}

impl Clock {
    pub(crate) fn standing() -> Clock {
        Clock::Virtual(Duration::ZERO)
    }

    pub(crate) fn running() -> Clock {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(BEGINNING, seconds);
        Clock::Real(Instant::now(), now)
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::Virtual(now) => *now,
            Clock::Real(start, _) => start.elapsed(),
        }
    }

    /// The time of day of a moment, in seconds since 1970.
    pub(crate) fn unix(&self, at: Duration) -> i64 {
        let beginning = match self {
            Clock::Virtual(_) => BEGINNING,
            Clock::Real(_, beginning) => *beginning,
        };
        beginning + seconds(at)
    }

    /// Moves virtual time forward to this moment.
    pub(crate) fn move_to(&mut self, at: Duration) {
        if let Clock::Virtual(now) = self {
            *now = (*now).max(at);
        }
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
