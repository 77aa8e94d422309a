//! Times in JSON: RFC 3339 in UTC, to the microsecond.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// `2026-01-31T09:30:00.000000Z`; `null` for a time that is out of the calendar's range.
pub(super) fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    text(*time).serialize(serializer)
}

/// Returns the same for an optional time.
#[allow(clippy::ref_option, reason = "serde calls it so")]
pub(super) fn optional<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.and_then(text).serialize(serializer)
}

fn text(time: SystemTime) -> Option<String> {
    let micros = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).ok()?,
        Err(before) => -i64::try_from(before.duration().as_micros()).ok()?,
    };
    let time: DateTime<Utc> = DateTime::from_timestamp_micros(micros)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(text(UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        let later = UNIX_EPOCH + Duration::from_micros(1_767_225_600_123_456);
        assert_eq!(text(later).as_deref(), Some("2026-01-01T00:00:00.123456Z"));
        assert_eq!(text(UNIX_EPOCH - Duration::from_secs(1)).as_deref(), Some("1969-12-31T23:59:59.000000Z"));
        assert_eq!(text(UNIX_EPOCH + Duration::from_secs(1 << 43)), None);
    }
}
