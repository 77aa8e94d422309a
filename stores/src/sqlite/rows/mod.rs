//! The statements. All of them run inside a transaction of the writing thread, or on a reading connection.

mod record;

mod work;

mod look;

mod purge;

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mpesa_callbacks_core::store::{State, Verdict};

pub(super) use self::look::{depth, get, list};
pub(super) use self::purge::{excess_quarantined, purge, purgeable, trim_quarantine};
pub(super) use self::record::{decision, record_all};
pub(super) use self::work::{claim, dismiss, is_due, is_expired, renew, reopen, settle_all, sweep};

/// Microseconds since 1970 UTC.
pub(super) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

fn time(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

fn state_number(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Running => 1,
        State::Done => 2,
        State::Dead => 3,
        State::Held => 4,
        State::Quarantined => 5,
    }
}

fn state(number: i64) -> State {
    match number {
        0 => State::Ready,
        1 => State::Running,
        2 => State::Done,
        3 => State::Dead,
        4 => State::Held,
        _ => State::Quarantined,
    }
}

fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::First => 0,
        Verdict::Duplicate => 1,
        Verdict::Variant => 2,
        Verdict::Conflict => 3,
        Verdict::Quarantined => 4,
    }
}

fn verdict(number: i64) -> Verdict {
    match number {
        0 => Verdict::First,
        1 => Verdict::Duplicate,
        2 => Verdict::Variant,
        3 => Verdict::Conflict,
        _ => Verdict::Quarantined,
    }
}

fn peer(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
}
