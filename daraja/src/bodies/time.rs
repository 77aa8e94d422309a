//! Times as Daraja writes them: in Nairobi, without a zone.

use chrono::{DateTime, FixedOffset, NaiveDateTime};

/// Kenya has used +03:00 all year since 1960.
const NAIROBI: FixedOffset = FixedOffset::east_opt(3 * 60 * 60).unwrap();

/// Returns the local time in Nairobi.
pub(super) fn nairobi(unix_seconds: i64) -> DateTime<FixedOffset> {
    DateTime::from_timestamp(unix_seconds, 0).unwrap_or_default().with_timezone(&NAIROBI)
}

/// Returns `20191219102115`.
pub(crate) fn compact(unix_seconds: i64) -> String {
    nairobi(unix_seconds).format("%Y%m%d%H%M%S").to_string()
}

/// Returns `19.12.2019 10:21:15`.
pub(crate) fn dotted(unix_seconds: i64) -> String {
    nairobi(unix_seconds).format("%d.%m.%Y %H:%M:%S").to_string()
}

/// Returns `2019-12-19`.
pub(crate) fn dashed(unix_seconds: i64) -> String {
    nairobi(unix_seconds).format("%Y-%m-%d").to_string()
}

/// Returns `2019-12-19T07:21:15Z`, in UTC.
pub(crate) fn zulu(unix_seconds: i64) -> String {
    DateTime::from_timestamp(unix_seconds, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses `2019-12-19 10:21:15` or `2019-12-19 10:21`, in Nairobi.
pub(crate) fn parse_local(text: &str) -> Option<i64> {
    let read = |form| NaiveDateTime::parse_from_str(text, form);
    let local = read("%Y-%m-%d %H:%M:%S").or_else(|_| read("%Y-%m-%d %H:%M")).ok()?;
    local.and_local_timezone(NAIROBI).single().map(|time| time.timestamp())
}
