//! Times and durations in the form that users write and read. All times are UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

const WRONG: &str =
    "write a time as 2013, 2013-01, 2013-01-31, 2013-01-31T06:00[:00] (UTC), or milliseconds since 1970";

/// A time in milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// Reads a year `2013`, a month `2013-01`, a day `2013-01-31`, a time `2013-01-31T06:00` or `2013-01-31 06:00:30`, each at its
/// beginning; or milliseconds since 1970, with a sign or more than four digits.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // chrono also reads `2013-1-1`; a date has fixed widths here, so that a typing error is not another date.
        let is_fixed = |form: &str| {
            text.len() == form.len()
                && text.bytes().zip(form.bytes()).all(|(is, form)| match form {
                    b'0' => is.is_ascii_digit(),
                    b'T' => is == b'T' || is == b' ',
                    form => is == form,
                })
        };
        let date = |rest: &str| NaiveDate::parse_from_str(&format!("{text}{rest}"), "%Y-%m-%d").ok();
        let time = |rest: &str| {
            let text = format!("{}{rest}", text.trim_end_matches('Z').replacen(' ', "T", 1));
            NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S").ok()
        };
        let at_midnight = |date: Option<NaiveDate>| date.map(|date| date.and_time(NaiveTime::MIN));
        let moment = match text {
            _ if is_fixed("0000") => at_midnight(date("-01-01")),
            _ if is_fixed("0000-00") => at_midnight(date("-01")),
            _ if is_fixed("0000-00-00") => at_midnight(date("")),
            _ if is_fixed("0000-00-00T00:00") || is_fixed("0000-00-00T00:00Z") => time(":00"),
            _ if is_fixed("0000-00-00T00:00:00") || is_fixed("0000-00-00T00:00:00Z") => time(""),
            text => return text.parse().map(Self).map_err(|_| WRONG.to_owned()),
        };
        // chrono reads a 61st second, which would be a moment of the next day.
        let moment = moment.filter(|moment| moment.year() >= 1 && moment.nanosecond() < 1_000_000_000);
        moment.map(|moment| Self(moment.and_utc().timestamp_millis())).ok_or_else(|| WRONG.to_owned())
    }
}

/// `2013-01-31 06:00:00`, without milliseconds; plain milliseconds for a time that no date has.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_millis(self.0) {
            Some(moment) if (1..=9_999).contains(&moment.year()) => write!(f, "{}", moment.format("%Y-%m-%d %H:%M:%S")),
            _ => write!(f, "{} ms", self.0),
        }
    }
}

/// Parses a duration: `500ms`, `3s`, `30min`, `2h`; a plain number is in seconds.
///
/// # Errors
/// If the text is not a duration within the limits.
pub fn span(text: &str) -> Result<Duration, String> {
    use kirin_config::kind::{Kind, Unit, Value};
    let kind = Kind::Span { unit: Unit::Secs, min: Duration::ZERO, max: Duration::from_secs(366 * 86_400) };
    match kind.parse(text) {
        Ok(Value::Span(span)) => Ok(span),
        Ok(other) => Err(format!("{other:?} is not a duration")),
        Err(why) => Err(format!("{why}; allowed: {kind}")),
    }
}

/// A readable duration: `4 ms`, `1.2 s`, `3m 12s`, `2h 05m`, `3d 04h`.
pub fn readable(ms: u64) -> String {
    let seconds = (ms + 500) / 1_000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..59_950 => format!("{:.1} s", ms as f64 / 1_000.0),
        59_950..3_599_500 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_599_500..86_400_000 => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_parsed_and_formatted() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2013-01-01", 1_356_998_400_000),
            ("2013", 1_356_998_400_000),
            ("2013-02", 1_359_676_800_000),
            ("2013-01-01T00:00Z", 1_356_998_400_000),
            ("+2013", 2_013),
            ("-1", -1),
            ("2000-02-29T12:30", 951_827_400_000),
            ("2024-12-31 23:59:59", 1_735_689_599_000),
            ("2013-01-01T00:00:00Z", 1_356_998_400_000),
            ("1356998400000", 1_356_998_400_000),
        ] {
            assert_eq!(text.parse(), Ok(Moment(ms)), "{text}");
        }
        assert_eq!(Moment(951_827_400_999).to_string(), "2000-02-29 12:30:00");
        assert_eq!(Moment(-1).to_string(), "1969-12-31 23:59:59");
        assert_eq!(Moment(i64::MAX).to_string(), "9223372036854775807 ms");
        for bad in [
            "",
            "0000",
            "2013-13",
            "2013-13-01",
            "2013-02-29",
            "2013-1-1",
            "2013-01-01T25:00",
            "2013-01-01T1",
            "yesterday",
            "2013-01-01-01",
            "2013-01-01TZ",
            "2016-12-31T23:59:60",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}: {:?}", bad.parse::<Moment>());
        }
    }

    #[test]
    fn durations_are_formatted() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_234, "1.2 s"),
            (59_949, "59.9 s"),
            (59_950, "1m 00s"),
            (192_000, "3m 12s"),
            (3_599_600, "1h 00m"),
            (7_500_000, "2h 05m"),
            (273_600_000, "3d 04h"),
        ] {
            assert_eq!(readable(ms), text);
        }
    }

    proptest! {
        #[test]
        fn every_formatted_time_parses_to_itself(seconds in -62_135_596_800_i64..253_402_300_800) {
            let moment = Moment(seconds * 1_000);
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
        }
    }
}
