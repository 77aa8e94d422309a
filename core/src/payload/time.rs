//! Daraja's times: East Africa Time, without saying so.

use std::fmt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use serde::{Serialize, Serializer};

/// A moment as Daraja tells it, in Nairobi's time (`Africa/Nairobi`, always +03:00), to the second.
///
/// Daraja writes its times without a zone, in half a dozen forms (`20191219102115`, `19.12.2019 11:45:50`, …). They are
/// for people: do not order events by them, a confirmation can be stamped a second before the push that it completes.
///
/// ```
/// use mpesa_callbacks_core::payload::DarajaTime;
///
/// let time = DarajaTime::parse("20191219102115").unwrap();
/// assert_eq!(time.to_string(), "2019-12-19T10:21:15+03:00");
/// assert_eq!(time, DarajaTime::parse("19.12.2019 10:21:15").unwrap());
/// assert_eq!(time.unix_seconds(), 1_576_740_075);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DarajaTime(DateTime);

/// Kenya has kept +03:00 all year round since 1960; no time zone database is needed.
const NAIROBI: Offset = Offset::constant(3);

impl DarajaTime {
    /// Reads any of the forms seen: `YYYYMMDDHHmmss` (exactly 14 digits), `DD.MM.YYYY HH:mm:ss`, `YYYY-MM-DD HH:mm:ss`,
    /// ISO 8601 with `T` and perhaps an offset, and a date alone, which is its midnight.
    pub fn parse(text: &str) -> Option<DarajaTime> {
        let text = text.trim();
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
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return to_the_second(NAIROBI.to_datetime(timestamp));
        }
        if let Ok(datetime) = text.parse::<DateTime>()
            && text.len() > 10
        {
            return to_the_second(datetime);
        }
        text.parse::<Date>().ok().map(|date| DarajaTime(date.at(0, 0, 0, 0)))
    }

    fn new(year: &str, month: &str, day: &str, time: [&str; 3]) -> Option<DarajaTime> {
        let number = |text: &str| text.parse::<i8>().ok().filter(|number| *number >= 0);
        let date = Date::new(year.parse().ok()?, number(month)?, number(day)?).ok()?;
        let time = jiff::civil::Time::new(number(time[0])?, number(time[1])?, number(time[2])?, 0).ok()?;
        Some(DarajaTime(date.to_datetime(time)))
    }

    /// The year, as a calendar in Nairobi shows it.
    pub fn year(self) -> i16 {
        self.0.year()
    }

    /// The month, 1 to 12.
    pub fn month(self) -> i8 {
        self.0.month()
    }

    /// The day of the month, 1 to 31.
    pub fn day(self) -> i8 {
        self.0.day()
    }

    /// The hour, 0 to 23, as a clock in Nairobi shows it.
    pub fn hour(self) -> i8 {
        self.0.hour()
    }

    /// The minute, 0 to 59.
    pub fn minute(self) -> i8 {
        self.0.minute()
    }

    /// The second, 0 to 59.
    pub fn second(self) -> i8 {
        self.0.second()
    }

    /// Seconds since 1970-01-01 00:00 UTC.
    pub fn unix_seconds(self) -> i64 {
        TimeZone::fixed(NAIROBI).to_timestamp(self.0).map_or(0, Timestamp::as_second)
    }
}

impl From<DarajaTime> for SystemTime {
    fn from(time: DarajaTime) -> SystemTime {
        let seconds = time.unix_seconds();
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
    }
}

fn to_the_second(datetime: DateTime) -> Option<DarajaTime> {
    datetime.with().subsec_nanosecond(0).build().ok().map(DarajaTime)
}

/// RFC 3339, with the offset that Daraja leaves out.
impl fmt::Display for DarajaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+03:00", self.0)
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
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
