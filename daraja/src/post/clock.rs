//! Time of the simulator: it stands still until it is told, or it is the machine's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// 1 January 2026, 08:00 in Nairobi: where virtual time begins.
const BEGINNING: i64 = 1_767_243_600;

/// The time since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// Moves when it is told. The second is its beginning, in seconds since 1970.
    Virtual(Duration, i64),
    /// Moves with the machine's clock.
    Real(Instant, i64),
}

impl Clock {
    pub(crate) fn standing(beginning: Option<SystemTime>) -> Clock {
        Clock::Virtual(Duration::ZERO, beginning.map_or(BEGINNING, unix))
    }

    pub(crate) fn running() -> Clock {
        Clock::Real(Instant::now(), unix(SystemTime::now()))
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Clock::Virtual(now, _) => *now,
            Clock::Real(start, _) => start.elapsed(),
        }
    }

    /// The time of day of a moment, in seconds since 1970.
    pub(crate) fn unix(&self, at: Duration) -> i64 {
        let (Clock::Virtual(_, beginning) | Clock::Real(_, beginning)) = self;
        beginning.saturating_add(seconds(at))
    }

    /// Moves virtual time forward to this moment.
    pub(crate) fn move_to(&mut self, at: Duration) {
        if let Clock::Virtual(now, _) = self {
            *now = (*now).max(at);
        }
    }
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(BEGINNING, seconds)
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
