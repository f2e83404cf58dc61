//! Times and durations in the form that users write and read. All times are UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;

/// A time in milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// Reads `2013-01-31`, `2013-01-31T06:00`, `2013-01-31 06:00:30` or plain milliseconds.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a time as 2013-01-31, 2013-01-31T06:00[:00] (UTC) or milliseconds since 1970".to_owned();
        let text = text.trim();
        if let Ok(ms) = text.parse() {
            return Ok(Self(ms));
        }
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
        let [year, month, day] = numbers(date, '-').ok_or_else(wrong)?;
        let time = time.strip_suffix('Z').unwrap_or(time);
        let [hour, minute, second] = numbers(time, ':')
            .or_else(|| numbers(time, ':').map(|[hour, minute]| [hour, minute, 0]))
            .ok_or_else(wrong)?;
        let date_exists = (1..=9_999).contains(&year) && date_of(day_number(year, month, day)) == (year, month, day);
        if !date_exists || hour > 23 || minute > 59 || second > 59 {
            return Err(wrong());
        }
        Ok(Self(day_number(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000))
    }
}

/// `2013-01-31 06:00:00`, without milliseconds.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_of(self.0.div_euclid(DAY_MS));
        let seconds = self.0.rem_euclid(DAY_MS) / 1_000;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
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

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut all = [0; N];
    let mut parts = text.split(separator);
    for slot in &mut all {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 4 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(all)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar (Howard Hinnant, "chrono-compatible date algorithms").
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`day_number`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
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
            ("2000-02-29T12:30", 951_827_400_000),
            ("2024-12-31 23:59:59", 1_735_689_599_000),
            ("2013-01-01T00:00:00Z", 1_356_998_400_000),
            ("1356998400000", 1_356_998_400_000),
        ] {
            assert_eq!(text.parse(), Ok(Moment(ms)), "{text}");
        }
        assert_eq!(Moment(951_827_400_999).to_string(), "2000-02-29 12:30:00");
        assert_eq!(Moment(-1).to_string(), "1969-12-31 23:59:59");
        for bad in
            ["", "2013", "2013-13-01", "2013-02-29", "2013-1-1T25:00", "2013-01-01T1", "yesterday", "2013-01-01-01"]
        {
            assert!(bad.parse::<Moment>().is_err() || bad == "2013", "{bad}");
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

        #[test]
        fn day_numbers_are_consecutive(days in -700_000_i64..2_900_000) {
            let (year, month, day) = date_of(days);
            prop_assert_eq!(day_number(year, month, day), days);
            prop_assert!(date_of(days + 1) > (year, month, day));
        }
    }
}
