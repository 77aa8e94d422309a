//! The contract's words as databases keep them, and back.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
#[cfg(feature = "postgres")]
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{State, Verdict};
use sha2::Sha256;

/// Microseconds since 1970 UTC.
pub(crate) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// The time so many microseconds after 1970 UTC.
pub(crate) fn time(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// A duration in microseconds; three thousand years at most, so that it can be added to any time.
pub(crate) fn span(duration: Duration) -> i64 {
    const LONGEST: i64 = 100_000_000_000_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

pub(crate) fn state_number(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Running => 1,
        State::Done => 2,
        State::Dead => 3,
        State::Held => 4,
        State::Quarantined => 5,
    }
}

pub(crate) fn state(number: i64) -> State {
    match number {
        0 => State::Ready,
        1 => State::Running,
        2 => State::Done,
        3 => State::Dead,
        4 => State::Held,
        _ => State::Quarantined,
    }
}

pub(crate) fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::First => 0,
        Verdict::Duplicate => 1,
        Verdict::Variant => 2,
        Verdict::Conflict => 3,
        Verdict::Quarantined => 4,
    }
}

pub(crate) fn verdict(number: i64) -> Verdict {
    match number {
        0 => Verdict::First,
        1 => Verdict::Duplicate,
        2 => Verdict::Variant,
        3 => Verdict::Conflict,
        _ => Verdict::Quarantined,
    }
}

pub(crate) fn peer(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
}

/// What stands in a purged key's place.
pub(crate) fn pseudonym(hmac_key: &[u8], kind: &str, key: &str) -> String {
    let mut text = String::from("hmac:");
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(hmac_key) {
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(key.as_bytes());
        HEXLOWER.encode_append(&mac.finalize().into_bytes(), &mut text);
    }
    text
}

/// A fingerprint, when it is one.
#[cfg(feature = "postgres")]
pub(crate) fn digest(bytes: Vec<u8>) -> Option<Digest> {
    <[u8; 32]>::try_from(bytes).ok().map(Digest::from)
}
