//! Conversions for stores, between the contract's values and columns.
//!
//! Times and durations are whole microseconds; states, verdicts, lanes and outcomes are small
//! numbers. Values that must not be readable after a purge become keyed HMACs.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Delivery, Known, Lane, State, Verdict};
use crate::payload::{Digest, Outcome, time_prefix};

/// Returns a time in microseconds since 1970 UTC.
pub fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// Returns the time at this many microseconds since 1970 UTC.
pub fn time(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// Returns a duration in microseconds; at most 3,000 years, so that adding it to a time cannot
/// overflow.
pub fn span(duration: Duration) -> i64 {
    const LONGEST: i64 = 100_000_000_000_000_000;
    i64::try_from(duration.as_micros()).unwrap_or(LONGEST).min(LONGEST)
}

/// Returns the number of a state, from 0.
pub fn state_number(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Running => 1,
        State::Done => 2,
        State::Dead => 3,
        State::Held => 4,
        State::Quarantined => 5,
    }
}

/// Returns the state with this number. An unknown number is [`State::Quarantined`]: shown, and
/// never handled.
pub fn state(number: i64) -> State {
    match number {
        0 => State::Ready,
        1 => State::Running,
        2 => State::Done,
        3 => State::Dead,
        4 => State::Held,
        _ => State::Quarantined,
    }
}

/// Returns the number of a verdict, from 0.
pub fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::First => 0,
        Verdict::Duplicate => 1,
        Verdict::Variant => 2,
        Verdict::Conflict => 3,
        Verdict::Quarantined => 4,
        Verdict::Update => 5,
    }
}

/// Returns the verdict with this number. An unknown number is [`Verdict::Quarantined`]: shown, and
/// never handled.
pub fn verdict(number: i64) -> Verdict {
    match number {
        0 => Verdict::First,
        1 => Verdict::Duplicate,
        2 => Verdict::Variant,
        3 => Verdict::Conflict,
        5 => Verdict::Update,
        _ => Verdict::Quarantined,
    }
}

/// Returns the number of a lane, from 0.
pub fn lane_number(lane: Lane) -> i64 {
    match lane {
        Lane::Main => 0,
        Lane::Suspects => 1,
        Lane::Alone => 2,
    }
}

/// Returns the lane with this number. An unknown number is [`Lane::Alone`], the most careful one.
pub fn lane(number: i64) -> Lane {
    match number {
        0 => Lane::Main,
        1 => Lane::Suspects,
        _ => Lane::Alone,
    }
}

/// Returns the number of an outcome, from 1.
pub fn outcome_number(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Success => 1,
        Outcome::Failed => 2,
        Outcome::Unknown => 3,
    }
}

/// Returns the outcome with this number.
pub fn outcome(number: i64) -> Option<Outcome> {
    match number {
        1 => Some(Outcome::Success),
        2 => Some(Outcome::Failed),
        3 => Some(Outcome::Unknown),
        _ => None,
    }
}

/// Parses an IP address in a text column; `None` if there is none.
pub fn client_ip(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
}

/// Returns the replacement of a purged key: `hmac:`, the time that the key contains, and a keyed
/// HMAC of it. The time keeps rows that are purged together next to each other in indexes; hashes
/// alone would dirty a page each.
pub fn pseudonym(hmac_key: &[u8], kind: &str, key: &str) -> String {
    let mut text = format!("hmac:{}", time_prefix(kind, key));
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(hmac_key) {
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(key.as_bytes());
        HEXLOWER.encode_append(&mac.finalize().into_bytes(), &mut text);
    }
    text
}

/// Returns the replacement of a purged receipt. It equals that of the payment's key.
pub fn hidden_receipt(hmac_key: &[u8], receipt: &str) -> String {
    pseudonym(hmac_key, "payment", receipt)
}

/// Returns the replacement of a purged digest: a keyed HMAC. Amounts and accounts could be guessed
/// from the digest itself.
pub fn hidden_digest(hmac_key: &[u8], body_digest: &[u8]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(hmac_key) {
        Ok(mut mac) => {
            mac.update(b"digest\0");
            mac.update(body_digest);
            mac.finalize().into_bytes().into()
        }
        // HMAC accepts keys of any length.
        Err(_) => [0; 32],
    }
}

/// Restores the digests of a purged callback where they equal those of this delivery, for
/// [`Delivery::judge`].
pub fn shown(mut known: Known, delivery: &Delivery, hmac_key: &[u8]) -> Known {
    let shown = |stored: Digest, theirs: Digest| match *stored.as_bytes() == hidden_digest(hmac_key, theirs.as_bytes())
    {
        true => theirs,
        false => stored,
    };
    known.body_digest = shown(known.body_digest, delivery.body_digest);
    known.content_digest = shown(known.content_digest, delivery.content_digest);
    known.detail = known.detail.map(|stored| delivery.detail.map_or(stored, |theirs| shown(stored, theirs)));
    known
}

/// Returns a digest, if these are 32 bytes.
pub fn digest(bytes: Vec<u8>) -> Option<Digest> {
    <[u8; 32]>::try_from(bytes).ok().map(Digest::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purged_keys_of_one_minute_are_side_by_side_and_tell_nobodys_number() {
        let hidden = |key: &str| pseudonym(b"secret", "stk", key);
        let [one, other] = ["ws_CO_21072024125243250722943992", "ws_CO_21072024125259001712345678"].map(hidden);
        assert!(one.starts_with("hmac:ws_CO_210720241252") && other.starts_with("hmac:ws_CO_210720241252"));
        assert_ne!(one, other);
        assert_eq!(one.len(), "hmac:".len() + 18 + 64);
        for key in [
            "ws_CO_254722943992",
            "ws_CO_0722943992254",
            "ws_CO_DMZ_264695293_11032019122104433",
            "ws_CO_1234",
            "254722943992",
            "ws_CO_é2107202412524325",
        ] {
            assert_eq!(hidden(key).len(), "hmac:".len() + 64, "{key}");
        }
        assert!(pseudonym(b"secret", "payment", "SGL61H6SU0").starts_with("hmac:SGL"));
        // The keys of custom kinds have no known format.
        assert_eq!(pseudonym(b"secret", "payment", "0722943992é").len(), "hmac:".len() + 64);
        assert_eq!(pseudonym(b"secret", "/own", "SGL61H6SU0").len(), "hmac:".len() + 64);
    }
}
