//! The kinds of values, and their parsing.
//!
//! A [`Kind`] both parses values and describes what is allowed. So error messages and the reference always match what is
//! accepted.

use std::fmt;
use std::time::Duration;

/// The unit of a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Secs,
}

/// The kind of a value.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`, ignoring case.
    Flag,
    /// An integer within bounds.
    Count {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// A duration: a number with `us`, `ms`, `s`, `m`, `min`, `h` or `d`, or a plain number in `unit`.
    Span {
        /// The unit of a plain number.
        unit: Unit,
        /// The minimum.
        min: Duration,
        /// The maximum.
        max: Duration,
    },
    /// A percentage of the machine's memory (`50%`), or bytes (`512m`, `4g`).
    Memory,
    /// One of these words, ignoring case.
    Word(&'static [&'static str]),
    /// A text that another module parses, with a description of what is allowed.
    Text(&'static str),
}

/// A value that its [`Kind`] accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Count`].
    Count(u64),
    /// Of [`Kind::Span`].
    Span(Duration),
    /// Of [`Kind::Memory`].
    Memory(Memory),
    /// Of [`Kind::Word`], spelled as declared.
    Word(&'static str),
    /// Of [`Kind::Text`].
    Text(&'a str),
}

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A number of bytes.
    Bytes(u64),
    /// A percentage of the machine's memory.
    Percent(u8),
}

impl Memory {
    /// The amount in bytes on a machine with `physical` bytes of memory.
    pub fn of(self, physical: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => physical / 100 * u64::from(percent),
        }
    }
}

impl Kind {
    /// Parses `text`, ignoring blanks at both ends.
    ///
    /// # Errors
    /// A short reason without the value, for use after a colon.
    pub fn parse<'a>(&self, text: &'a str) -> Result<Value<'a>, String> {
        let text = text.trim();
        match *self {
            Self::Flag if text.eq_ignore_ascii_case("true") => Ok(Value::Flag(true)),
            Self::Flag if text.eq_ignore_ascii_case("false") => Ok(Value::Flag(false)),
            Self::Flag => Err("not a boolean".into()),
            Self::Count { min, max } => match text.parse() {
                Ok(n) if n < min => Err("too small".into()),
                Ok(n) if n > max => Err("too large".into()),
                Ok(n) => Ok(Value::Count(n)),
                Err(_) => Err("not an integer".into()),
            },
            Self::Span { unit, min, max } => match span(text, unit)? {
                n if n < min => Err("too short".into()),
                n if n > max => Err("too long".into()),
                n => Ok(Value::Span(n)),
            },
            Self::Memory => memory(text).map(Value::Memory),
            Self::Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                Some(word) => Ok(Value::Word(word)),
                None => Err("not one of the allowed words".into()),
            },
            Self::Text(_) => Ok(Value::Text(text)),
        }
    }
}

/// A description of the allowed values.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flag => f.write_str("true, false"),
            Self::Count { min, max: u64::MAX } => write!(f, "an integer from {min}"),
            Self::Count { min, max } => write!(f, "an integer from {min} to {max}"),
            Self::Span { unit, min, max } => {
                let bare = match unit {
                    Unit::Millis => "milliseconds",
                    Unit::Secs => "seconds",
                };
                write!(
                    f,
                    "{} to {}, for example 500ms, 3s, 30min, 2h; a plain number is in {bare}",
                    short(min),
                    short(max)
                )
            }
            Self::Memory => {
                f.write_str("bytes, for example 512m or 4g, or a percentage of the machine's memory, for example 50%")
            }
            Self::Word(words) => f.write_str(&words.join(", ")),
            Self::Text(allowed) => f.write_str(allowed),
        }
    }
}

/// A duration in the largest unit that divides it: `90s`, not `1min 30s`.
fn short(span: Duration) -> String {
    let millis = span.as_millis();
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// Parses a duration in Kylin's format: digits and an optional suffix.
fn span(text: &str, unit: Unit) -> Result<Duration, String> {
    let (number, suffix) = number_and_suffix(text).ok_or("not a duration")?;
    let micros_each: u64 = match (suffix.to_ascii_lowercase().as_str(), unit) {
        ("us", _) => 1,
        ("ms", _) | ("", Unit::Millis) => 1_000,
        ("s", _) | ("", Unit::Secs) => 1_000_000,
        ("m" | "min", _) => 60_000_000,
        ("h", _) => 3_600_000_000,
        ("d", _) => 86_400_000_000,
        _ => return Err("unknown unit; use us, ms, s, m, min, h or d".into()),
    };
    number.checked_mul(micros_each).map(Duration::from_micros).ok_or_else(|| "too long".into())
}

fn memory(text: &str) -> Result<Memory, String> {
    let (number, suffix) = number_and_suffix(text).ok_or("not an amount of memory")?;
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "%" => {
            return match u8::try_from(number) {
                Ok(percent @ 1..=100) => Ok(Memory::Percent(percent)),
                _ => Err("a percentage must be from 1% to 100%".into()),
            };
        }
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err("unknown unit; use b, k, m, g, t or %".into()),
    };
    match number.checked_mul(1 << shift) {
        Some(0) => Err("must not be zero".into()),
        Some(bytes) => Ok(Memory::Bytes(bytes)),
        None => Err("too large".into()),
    }
}

fn number_and_suffix(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    Some((digits.parse().ok()?, suffix.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY_SPAN: Kind = Kind::Span { unit: Unit::Secs, min: Duration::ZERO, max: Duration::MAX };

    #[test]
    fn durations_accept_kylins_suffixes_and_default_to_the_unit_of_the_key() {
        let secs = Duration::from_secs;
        for (text, span) in [
            ("60", secs(60)),
            ("3s", secs(3)),
            ("120000ms", secs(120)),
            ("30min", secs(1_800)),
            ("30m", secs(1_800)),
            ("2 H", secs(7_200)),
            ("1d", secs(86_400)),
            ("250us", Duration::from_micros(250)),
        ] {
            assert_eq!(ANY_SPAN.parse(text), Ok(Value::Span(span)), "{text}");
        }
        let millis = Kind::Span { unit: Unit::Millis, min: Duration::ZERO, max: secs(60) };
        assert_eq!(millis.parse(" 30000 "), Ok(Value::Span(secs(30))));
        assert_eq!(millis.parse("61s"), Err("too long".into()));
        for bad in ["", "s", "-1", "1.5s", "3 weeks", "99999999999999999999", "9999999999999d"] {
            assert!(ANY_SPAN.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_bytes_or_a_percentage() {
        assert_eq!(Kind::Memory.parse("4g"), Ok(Value::Memory(Memory::Bytes(4 << 30))));
        assert_eq!(Kind::Memory.parse("50%").map(|_| Memory::Percent(50).of(1_000)), Ok(500));
        for bad in ["", "0", "0%", "101%", "5x", "99999999t"] {
            assert!(Kind::Memory.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_and_words_ignore_case_and_counts_check_their_bounds() {
        assert_eq!(Kind::Flag.parse("TRUE"), Ok(Value::Flag(true)));
        assert!(Kind::Flag.parse("yes").is_err());
        assert_eq!(Kind::Word(&["all", "job"]).parse("All"), Ok(Value::Word("all")));
        let port = Kind::Count { min: 1, max: 65_535 };
        assert_eq!(port.parse("7070"), Ok(Value::Count(7_070)));
        assert_eq!(port.parse("0"), Err("too small".into()));
        assert_eq!(port.parse("65536"), Err("too large".into()));
        assert!(port.parse("7e3").is_err());
    }

    #[test]
    fn a_kind_describes_what_is_allowed() {
        assert_eq!(Kind::Count { min: 0, max: 9 }.to_string(), "an integer from 0 to 9");
        let span = Kind::Span { unit: Unit::Secs, min: Duration::from_secs(1), max: Duration::from_secs(5_400) };
        assert_eq!(span.to_string(), "1s to 90min, for example 500ms, 3s, 30min, 2h; a plain number is in seconds");
    }

    proptest! {
        #[test]
        fn no_text_causes_a_panic(text in any::<String>()) {
            for kind in [Kind::Flag, ANY_SPAN, Kind::Memory, Kind::Count { min: 0, max: u64::MAX }] {
                let _ = kind.parse(&text);
            }
        }
    }
}
