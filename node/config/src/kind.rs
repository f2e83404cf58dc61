//! What a setting's value may be, and how its text becomes a value.
//!
//! A [`Kind`] both parses and says what is allowed, so that the message of a refusal and the reference can't differ
//! from what is accepted.

use std::fmt;
use std::time::Duration;

/// The unit of a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Secs,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Flag,
    /// A whole number within bounds.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A span of time: a number with `us`, `ms`, `s`, `m`, `min`, `h` or `d`, or a bare number in `unit`.
    Span {
        /// The unit of a bare number.
        unit: Unit,
        /// The least.
        min: Duration,
        /// The greatest.
        max: Duration,
    },
    /// A part of the machine's memory (`50%`), or bytes (`512m`, `4g`).
    Memory,
    /// One of these words, in any case.
    Word(&'static [&'static str]),
    /// A text that its own module reads; the words say what is allowed.
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
    /// So many bytes.
    Bytes(u64),
    /// So many per cent of the machine's memory.
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
    /// The value that `text` (blanks at its ends dropped) stands for; `Err` says what is wrong with it.
    ///
    /// # Errors
    /// A short reason without the value itself, fit to follow "is refused:".
    pub fn parse<'a>(&self, text: &'a str) -> Result<Value<'a>, String> {
        let text = text.trim();
        match *self {
            Self::Flag if text.eq_ignore_ascii_case("true") => Ok(Value::Flag(true)),
            Self::Flag if text.eq_ignore_ascii_case("false") => Ok(Value::Flag(false)),
            Self::Flag => Err("it is neither true nor false".into()),
            Self::Count { min, max } => match text.parse() {
                Ok(n) if n < min => Err("it is too small".into()),
                Ok(n) if n > max => Err("it is too large".into()),
                Ok(n) => Ok(Value::Count(n)),
                Err(_) => Err("it is no whole number".into()),
            },
            Self::Span { unit, min, max } => match span(text, unit)? {
                n if n < min => Err("it is too short".into()),
                n if n > max => Err("it is too long".into()),
                n => Ok(Value::Span(n)),
            },
            Self::Memory => memory(text).map(Value::Memory),
            Self::Word(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                Some(word) => Ok(Value::Word(word)),
                None => Err("it is none of the words allowed".into()),
            },
            Self::Text(_) => Ok(Value::Text(text)),
        }
    }
}

/// What is allowed, in words.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flag => f.write_str("true, false"),
            Self::Count { min, max: u64::MAX } => write!(f, "a whole number from {min}"),
            Self::Count { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Span { unit, min, max } => {
                let bare = match unit {
                    Unit::Millis => "milliseconds",
                    Unit::Secs => "seconds",
                };
                write!(f, "{} to {}, as in 500ms, 3s, 30min, 2h; a bare number is {bare}", short(min), short(max))
            }
            Self::Memory => f.write_str("bytes, as in 512m or 4g, or a part of the machine's memory, as in 50%"),
            Self::Word(words) => f.write_str(&words.join(", ")),
            Self::Text(allowed) => f.write_str(allowed),
        }
    }
}

/// `90s` as `1min 30s` is written nowhere: the largest unit that divides it.
fn short(span: Duration) -> String {
    let millis = span.as_millis();
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

/// A span as Kylin writes it: digits and an optional suffix.
fn span(text: &str, unit: Unit) -> Result<Duration, String> {
    let (number, suffix) = number_and_suffix(text).ok_or("it is no span of time")?;
    let micros_each: u64 = match (suffix.to_ascii_lowercase().as_str(), unit) {
        ("us", _) => 1,
        ("ms", _) | ("", Unit::Millis) => 1_000,
        ("s", _) | ("", Unit::Secs) => 1_000_000,
        ("m" | "min", _) => 60_000_000,
        ("h", _) => 3_600_000_000,
        ("d", _) => 86_400_000_000,
        _ => return Err("its unit is none of us, ms, s, m, min, h, d".into()),
    };
    number.checked_mul(micros_each).map(Duration::from_micros).ok_or_else(|| "it is too long".into())
}

fn memory(text: &str) -> Result<Memory, String> {
    let (number, suffix) = number_and_suffix(text).ok_or("it is no amount of memory")?;
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "%" => {
            return match u8::try_from(number) {
                Ok(percent @ 1..=100) => Ok(Memory::Percent(percent)),
                _ => Err("a part of the machine's memory is from 1% to 100%".into()),
            };
        }
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        _ => return Err("its unit is none of b, k, m, g, t, %".into()),
    };
    match number.checked_mul(1 << shift) {
        Some(0) => Err("it is zero".into()),
        Some(bytes) => Ok(Memory::Bytes(bytes)),
        None => Err("it is too large".into()),
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
    fn spans_take_kylins_suffixes_and_the_keys_own_unit() {
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
        assert_eq!(millis.parse("61s"), Err("it is too long".into()));
        for bad in ["", "s", "-1", "1.5s", "3 weeks", "99999999999999999999", "9999999999999d"] {
            assert!(ANY_SPAN.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn memory_is_bytes_or_a_part() {
        assert_eq!(Kind::Memory.parse("4g"), Ok(Value::Memory(Memory::Bytes(4 << 30))));
        assert_eq!(Kind::Memory.parse("50%").map(|_| Memory::Percent(50).of(1_000)), Ok(500));
        for bad in ["", "0", "0%", "101%", "5x", "99999999t"] {
            assert!(Kind::Memory.parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_and_words_ignore_case_and_counts_keep_their_bounds() {
        assert_eq!(Kind::Flag.parse("TRUE"), Ok(Value::Flag(true)));
        assert!(Kind::Flag.parse("yes").is_err());
        assert_eq!(Kind::Word(&["all", "job"]).parse("All"), Ok(Value::Word("all")));
        let port = Kind::Count { min: 1, max: 65_535 };
        assert_eq!(port.parse("7070"), Ok(Value::Count(7_070)));
        assert_eq!(port.parse("0"), Err("it is too small".into()));
        assert_eq!(port.parse("65536"), Err("it is too large".into()));
        assert!(port.parse("7e3").is_err());
    }

    #[test]
    fn what_is_allowed_is_said_in_words() {
        assert_eq!(Kind::Count { min: 0, max: 9 }.to_string(), "a whole number from 0 to 9");
        let span = Kind::Span { unit: Unit::Secs, min: Duration::from_secs(1), max: Duration::from_secs(5_400) };
        assert_eq!(span.to_string(), "1s to 90min, as in 500ms, 3s, 30min, 2h; a bare number is seconds");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_kind_panic(text in any::<String>()) {
            for kind in [Kind::Flag, ANY_SPAN, Kind::Memory, Kind::Count { min: 0, max: u64::MAX }] {
                let _ = kind.parse(&text);
            }
        }
    }
}
