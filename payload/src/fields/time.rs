//! Daraja's times: East Africa Time without a zone.

use std::fmt;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde::{Serialize, Serializer};

use crate::json;

/// A time in Daraja's notation, in Africa/Nairobi (always +03:00), to the second.
///
/// Daraja writes times without a zone, in half a dozen formats (`20191219102115`, `19.12.2019
/// 11:45:50`, …). Do not order events by them: a confirmation can be stamped a second before its
/// push.
///
/// ```
/// use mpesa_callbacks_payload::DarajaTime;
///
/// let time = DarajaTime::parse("20191219102115").unwrap();
/// assert_eq!(time.to_string(), "2019-12-19T10:21:15+03:00");
/// assert_eq!(time, DarajaTime::parse("19.12.2019 10:21:15").unwrap());
/// assert_eq!(time.unix_seconds(), 1_576_740_075);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DarajaTime(NaiveDateTime);

/// Kenya has used +03:00 all year since 1960, so no time zone database is needed.
const NAIROBI: FixedOffset = FixedOffset::east_opt(3 * 60 * 60).unwrap();

impl DarajaTime {
    /// Parses any of the known formats: `YYYYMMDDHHmmss` (14 digits, also as a float such as
    /// `2.0251003030427E13`), `DD.MM.YYYY HH:mm:ss`, `YYYY-MM-DD HH:mm:ss`, ISO 8601 with `T` and
    /// an optional offset, and a date alone, which is its midnight.
    pub fn parse(text: &str) -> Option<DarajaTime> {
        let text = text.trim();
        let digits = json::whole(text);
        let text = digits.as_deref().unwrap_or(text);
        if text.len() == 14 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return DarajaTime::new(
                &text[0..4],
                &text[4..6],
                &text[6..8],
                [&text[8..10], &text[10..12], &text[12..14]],
            );
        }
        if let Some((date, time)) = text.split_once(' ')
            && let [day, month, year] = date.split('.').collect::<Vec<_>>()[..]
            && let [hour, minute, second] = time.split(':').collect::<Vec<_>>()[..]
        {
            return DarajaTime::new(year, month, day, [hour, minute, second]);
        }
        let elsewhere = |format| {
            // At the ends of the calendar there is no such time in Nairobi.
            let time = DateTime::parse_from_str(text, format).ok()?.naive_utc();
            time.checked_add_offset(NAIROBI)
        };
        let here = |format| NaiveDateTime::parse_from_str(text, format).ok();
        elsewhere("%Y-%m-%dT%H:%M:%S%.f%#z")
            .or_else(|| elsewhere("%Y-%m-%d %H:%M:%S%.f%#z"))
            .or_else(|| here("%Y-%m-%dT%H:%M:%S%.f"))
            .or_else(|| here("%Y-%m-%d %H:%M:%S%.f"))
            .or_else(|| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)))
            .and_then(DarajaTime::to_the_second)
    }

    fn new(year: &str, month: &str, day: &str, time: [&str; 3]) -> Option<DarajaTime> {
        let number = |text: &str| text.parse::<u32>().ok();
        let date = NaiveDate::from_ymd_opt(year.parse().ok()?, number(month)?, number(day)?)?;
        DarajaTime::to_the_second(date.and_hms_opt(number(time[0])?, number(time[1])?, number(time[2])?)?)
    }

    fn to_the_second(time: NaiveDateTime) -> Option<DarajaTime> {
        // RFC 3339 has years of four digits.
        time.with_nanosecond(0).filter(|time| (0..=9999).contains(&time.year())).map(DarajaTime)
    }

    /// Returns the year of the local date in Nairobi.
    pub fn year(self) -> i16 {
        // 0 to 9999.
        i16::try_from(self.0.year()).unwrap_or_default()
    }

    /// Returns the month of the local date, 1 to 12.
    pub fn month(self) -> i8 {
        two_digits(self.0.month())
    }

    /// Returns the day of the month, 1 to 31.
    pub fn day(self) -> i8 {
        two_digits(self.0.day())
    }

    /// Returns the hour in Nairobi, 0 to 23.
    pub fn hour(self) -> i8 {
        two_digits(self.0.hour())
    }

    /// Returns the minute of the local time, 0 to 59.
    pub fn minute(self) -> i8 {
        two_digits(self.0.minute())
    }

    /// Returns the second of the local time, 0 to 59.
    pub fn second(self) -> i8 {
        two_digits(self.0.second())
    }

    /// Returns the Unix time: seconds since 1970-01-01 00:00 UTC.
    pub fn unix_seconds(self) -> i64 {
        self.0.and_utc().timestamp() - i64::from(NAIROBI.local_minus_utc())
    }
}

impl From<DarajaTime> for SystemTime {
    fn from(time: DarajaTime) -> SystemTime {
        let seconds = time.unix_seconds();
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
    }
}

/// Feature `chrono`.
///
/// ```
/// use mpesa_callbacks_payload::DarajaTime;
///
/// let paid = DarajaTime::parse("20191219102115").unwrap();
/// assert_eq!(chrono::DateTime::from(paid).to_rfc3339(), "2019-12-19T10:21:15+03:00");
/// ```
#[cfg(feature = "chrono")]
impl From<DarajaTime> for DateTime<FixedOffset> {
    fn from(time: DarajaTime) -> DateTime<FixedOffset> {
        DateTime::from_naive_utc_and_offset(time.0 - NAIROBI, NAIROBI)
    }
}

fn two_digits(number: u32) -> i8 {
    i8::try_from(number).unwrap_or_default()
}

/// RFC 3339, with the offset that Daraja omits.
impl fmt::Display for DarajaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+03:00", self.0.format("%Y-%m-%dT%H:%M:%S"))
    }
}

impl Serialize for DarajaTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        DarajaTime::parse(text).map(|time| time.to_string())
    }

    #[test]
    fn every_form_seen_is_read() {
        for text in [
            "20230823143000",
            "23.08.2023 14:30:00",
            "2023-08-23 14:30:00",
            "2023-08-23T14:30:00",
            "2023-08-23T14:30:00+03:00",
            "2023-08-23T11:30:00Z",
            "2023-08-23T13:30:00.250+0200",
            "2023-08-23 11:30:00+00",
        ] {
            assert_eq!(shown(text).as_deref(), Some("2023-08-23T14:30:00+03:00"), "{text}");
        }
        assert_eq!(shown("2021-09-15").as_deref(), Some("2021-09-15T00:00:00+03:00"));
    }

    #[test]
    fn fractions_of_a_second_are_left_out() {
        assert_eq!(shown("2023-08-23 14:30:00.5").as_deref(), Some("2023-08-23T14:30:00+03:00"));
    }

    #[test]
    fn thirteen_digits_and_other_noise_are_no_time() {
        for text in [
            "",
            "2019121910211",
            "201912191021155",
            "20191319102115",
            "19.12.2019",
            "31.02.2019 10:00:00",
            "1e13",
            "-1.-1.2019 1:1:1",
            "19.12.10000 10:00:00",
            "+262142-12-31T23:59:59Z",
            "-262143-01-01T00:00:00+14:00",
            "2019-12-19T10:00",
            "2019-12-19T10:00:00 EAT",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
