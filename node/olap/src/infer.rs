//! The types of delimited text, from samples of every file.
//!
//! A source up to a certain size is read whole. Of a larger one, samples are taken at the beginning, in the middle and at
//! the end of each file. A type is chosen only if it preserves every sampled value as written: numbers with leading zeros
//! stay text, numbers with more digits than a DOUBLE holds become DECIMAL, and a column without values is text. Users can
//! declare types instead.

use crate::csv::{Dialect, content};
use crate::listing::Opened;
use crate::sql_type::SqlType;
use chrono::{NaiveDate, NaiveDateTime};

/// The largest source that is read whole, in bytes.
const WHOLE: u64 = 64 << 20;
/// Bytes of one sample of a larger source.
const SAMPLE: usize = 2 << 20;
/// Digits that a DOUBLE always preserves.
const DOUBLE_DIGITS: usize = 15;
/// Digits of the DECIMAL that is suggested for amounts.
const AMOUNT_DIGITS: usize = 19;
/// Digits that a DECIMAL holds.
const DECIMAL_DIGITS: usize = 38;

/// The values of a column, counted by what they could be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Guess {
    values: u64,
    /// Values that can only be text.
    texts: u64,
    zeros: bool,
    booleans: u64,
    integers: u64,
    /// With a point or an exponent.
    fractions: u64,
    exponents: bool,
    whole_digits: usize,
    fraction_digits: usize,
    /// The fewest digits after the point; `None` before the first number.
    fraction_digits_min: Option<usize>,
    /// Texts such as `31.12.2023` and `12/31/2023`.
    local_dates: u64,
    /// Texts such as `1.234,50`.
    comma_numbers: u64,
    too_large: bool,
    dates: u64,
    times: u64,
}

impl Guess {
    pub(crate) fn see(&mut self, value: &str) {
        self.values += 1;
        if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
            self.booleans += 1;
        } else if NaiveDate::parse_from_str(value, "%Y-%m-%d").is_ok() && value.len() == 10 {
            self.dates += 1;
        } else if is_time(value) {
            self.times += 1;
        } else {
            self.number(value);
        }
    }

    fn number(&mut self, value: &str) {
        let unsigned = value.strip_prefix('-').unwrap_or(value);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_number = digits(whole)
            && digits(fraction)
            && !(whole.is_empty() && fraction.is_empty())
            && exponent.is_none_or(|e| e.parse::<i16>().is_ok());
        if !is_number {
            let special = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
            if special {
                self.fractions += 1
            } else {
                self.texts += 1;
                self.local_dates += u64::from(is_local_date(value));
                self.comma_numbers += u64::from(is_comma_number(unsigned));
            }
            self.exponents |= special;
            return;
        }
        if whole.len() > 1 && whole.starts_with('0') {
            self.zeros = true;
            self.texts += 1;
            return;
        }
        self.whole_digits = self.whole_digits.max(whole.len());
        self.fraction_digits = self.fraction_digits.max(fraction.len());
        self.fraction_digits_min = Some(self.fraction_digits_min.map_or(fraction.len(), |n| n.min(fraction.len())));
        if mantissa.contains('.') || exponent.is_some() {
            self.fractions += 1;
            self.exponents |= exponent.is_some();
        } else {
            self.integers += 1;
            self.too_large |= value.parse::<i64>().is_err();
        }
    }

    /// The type, and the reason if the choice may surprise.
    pub(crate) fn decide(&self) -> (SqlType, Option<&'static str>) {
        let all = |n: u64| n == self.values;
        let digits = self.whole_digits + self.fraction_digits;
        if self.values == 0 {
            (SqlType::Varchar, Some("it has no value"))
        } else if self.zeros && all(self.texts + self.integers + self.fractions) {
            (SqlType::Varchar, Some("its numbers have leading zeros"))
        } else if all(self.booleans) {
            (SqlType::Boolean, None)
        } else if all(self.dates) {
            (SqlType::Date, None)
        } else if all(self.dates + self.times) {
            (SqlType::Timestamp, None)
        } else if all(self.integers) && !self.too_large {
            (SqlType::BigInt, None)
        } else if all(self.integers + self.fractions) && self.integers + self.fractions > 0 {
            if digits <= DOUBLE_DIGITS {
                (SqlType::Double, None)
            } else if self.exponents {
                (SqlType::Varchar, Some("a DOUBLE would not keep all digits of its numbers"))
            } else if digits <= DECIMAL_DIGITS {
                let scale = self.fraction_digits as i8;
                (
                    SqlType::Decimal(DECIMAL_DIGITS as u8, scale),
                    Some("a DOUBLE would not keep all digits of its numbers"),
                )
            } else {
                (SqlType::Varchar, Some("its numbers have more than 38 digits"))
            }
        } else if all(self.local_dates) {
            (SqlType::Varchar, Some("its values look like dates; only dates such as 2023-12-31 are recognised"))
        } else if self.comma_numbers > 0 && all(self.comma_numbers + self.integers + self.fractions) {
            (
                SqlType::Varchar,
                Some(
                    "its values look like numbers with a decimal comma; only a point such as in 1234.50 is recognised",
                ),
            )
        } else {
            (SqlType::Varchar, None)
        }
    }

    /// The DECIMAL that would hold the values exactly, if they look like amounts: a DOUBLE whose values all have the same
    /// number of decimals.
    pub(crate) fn exact(&self) -> Option<SqlType> {
        let fixed = self.fraction_digits_min == Some(self.fraction_digits) && self.fraction_digits > 0;
        let is_amount = self.decide().0 == SqlType::Double && fixed && !self.exponents;
        let precision = (self.whole_digits + self.fraction_digits).max(AMOUNT_DIGITS);
        is_amount.then_some(SqlType::Decimal(precision as u8, self.fraction_digits as i8))
    }
}

/// `31.12.2023`, `31/12/2023`, `12-31-2023`, also with two digits of the year or with a time of day.
fn is_local_date(value: &str) -> bool {
    let day = value.split(' ').next().unwrap_or_default();
    ['.', '/', '-'].iter().any(|separator| {
        let parts: Vec<&str> = day.split(*separator).collect();
        let is_number =
            |text: &str, lengths: [usize; 2]| lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        matches!(parts.as_slice(), [a, b, year]
            if is_number(a, [1, 2]) && is_number(b, [1, 2]) && is_number(year, [2, 4]))
    })
}

/// `1234,5` and `1.234,50`, without the sign.
fn is_comma_number(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    value.split_once(',').is_some_and(|(whole, fraction)| {
        let mut groups = whole.split('.');
        groups.next().is_some_and(digits) && groups.all(|g| g.len() == 3 && digits(g)) && digits(fraction)
    })
}

fn is_time(value: &str) -> bool {
    let value = value.strip_suffix('Z').unwrap_or(value);
    let fraction = value.split_once('.').map_or("", |(_, fraction)| fraction);
    // Digits beyond microseconds would be lost.
    fraction.len() <= 6
        && value.len() >= 16
        && ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
            .iter()
            .any(|format| NaiveDateTime::parse_from_str(value, format).is_ok())
}

/// Samples a file's records; `guesses` has one entry per field. Returns whether the whole file was read.
pub(crate) async fn look(
    opened: &Opened,
    dialect: &Dialect,
    total_bytes: u64,
    guesses: &mut [Guess],
) -> Result<bool, String> {
    let size = opened.meta.size;
    let whole = total_bytes <= WHOLE;
    let most = if whole { WHOLE as usize } else { SAMPLE };
    let head = content(opened, dialect, 0, most).await?;
    let is_all = if dialect.gzip { head.len() < most } else { size <= most as u64 };
    let mut sample = Sample { dialect, is_start: true, is_end: is_all };
    sample.read(&head, guesses)?;
    if is_all || dialect.gzip {
        return Ok(is_all);
    }
    for from in [size / 2, size.saturating_sub(SAMPLE as u64)] {
        let part = content(opened, dialect, from.max(SAMPLE as u64), SAMPLE).await?;
        let is_end = from + SAMPLE as u64 >= size;
        sample = Sample { dialect, is_start: false, is_end };
        sample.read(&part, guesses)?;
    }
    Ok(false)
}

struct Sample<'a> {
    dialect: &'a Dialect,
    is_start: bool,
    is_end: bool,
}

impl Sample<'_> {
    fn read(&self, content: &[u8], guesses: &mut [Guess]) -> Result<(), String> {
        if self.is_start {
            return self.records(content, guesses);
        }
        // The start of a record is unknown, since a newline may be between quotes. The first start from which every record
        // has the right number of fields is taken. If there is none, the sample is ignored.
        let newlines = content.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1);
        for from in newlines.take(20) {
            let mut tried = guesses.to_vec();
            if self.records(&content[from..], &mut tried).is_ok() {
                guesses.clone_from_slice(&tried);
                return Ok(());
            }
        }
        Ok(())
    }

    fn records(&self, content: &[u8], guesses: &mut [Guess]) -> Result<(), String> {
        // The last record may be incomplete.
        let content = match content.iter().rposition(|b| *b == b'\n') {
            Some(end) if !self.is_end => &content[..=end],
            _ => content,
        };
        let mut reader = self.dialect.reader(content);
        let mut record = csv::ByteRecord::new();
        let mut next = csv::ByteRecord::new();
        let mut more = reader.read_byte_record(&mut next).map_err(|e| e.to_string())?;
        let mut number = 0;
        while more {
            std::mem::swap(&mut record, &mut next);
            more = reader.read_byte_record(&mut next).map_err(|e| e.to_string())?;
            if !more && !self.is_end {
                break;
            }
            number += 1;
            if record.len() != guesses.len() {
                return Err(format!("record {number} has {} fields, not {}", record.len(), guesses.len()));
            }
            if number == 1 && self.is_start && self.dialect.header {
                continue;
            }
            for (guess, field) in guesses.iter_mut().zip(&record) {
                let field = std::str::from_utf8(field).map_err(|_| format!("record {number} is not UTF-8"))?;
                if !field.is_empty() && self.dialect.null_value.as_deref() != Some(field) {
                    guess.see(field);
                }
            }
        }
        Ok(())
    }
}

/// The type of partition keys, from all their values.
pub(crate) fn of_keys<'a>(values: impl Iterator<Item = &'a str>) -> SqlType {
    let mut guess = Guess::default();
    values.for_each(|v| guess.see(v));
    match guess.decide().0 {
        exact @ (SqlType::Date | SqlType::BigInt) => exact,
        _ => SqlType::Varchar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> String {
        let mut guess = Guess::default();
        values.iter().for_each(|v| guess.see(v));
        guess.decide().0.full_name()
    }

    #[test]
    fn an_inferred_type_preserves_every_value_as_written() {
        assert_eq!(of(&[]), "VARCHAR");
        assert_eq!(of(&["1", "-2", "0"]), "BIGINT");
        assert_eq!(of(&["01234", "5"]), "VARCHAR");
        assert_eq!(of(&["-007"]), "VARCHAR");
        assert_eq!(of(&["+5"]), "VARCHAR");
        assert_eq!(of(&["0.5", "10", "1e3", "NaN"]), "DOUBLE");
        assert_eq!(of(&["9223372036854775808"]), "DECIMAL(38,0)");
        assert_eq!(of(&["12345678901234.25", "1"]), "DECIMAL(38,2)");
        assert_eq!(of(&["1", "n/a"]), "VARCHAR");
        assert_eq!(of(&["true", "FALSE"]), "BOOLEAN");
        assert_eq!(of(&["true", "1"]), "VARCHAR");
        assert_eq!(of(&["2024-02-29"]), "DATE");
        assert_eq!(of(&["2023-02-29"]), "VARCHAR");
        assert_eq!(of(&["2024-02-29", "2024-02-29 10:11:12.5"]), "TIMESTAMP");
        assert_eq!(of(&["2024-02-29 10:11:12.1234567"]), "VARCHAR");
        assert_eq!(of(&["2024-02-29", "1"]), "VARCHAR");
    }

    fn guess(values: &[&str]) -> Guess {
        let mut guess = Guess::default();
        values.iter().for_each(|v| guess.see(v));
        guess
    }

    #[test]
    fn amounts_are_doubles_for_which_an_exact_type_is_suggested() {
        let exact = |values: &[&str]| guess(values).exact().map(SqlType::full_name);
        assert_eq!(exact(&["4.50", "-1234.25"]), Some("DECIMAL(19,2)".to_owned()));
        assert_eq!(exact(&["0.125"]), Some("DECIMAL(19,3)".to_owned()));
        for other in [&["4.50", "7.2"][..], &["4.50", "7"], &["4.50", "NaN"], &["4.50", "1.25e3"], &["4", "7"], &[]] {
            assert_eq!(exact(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_note_says_why_local_dates_and_numbers_are_text() {
        let why = |values: &[&str]| match guess(values).decide() {
            (SqlType::Varchar, why) => why.unwrap_or("none"),
            (other, _) => panic!("{values:?} is {other:?}"),
        };
        for dates in [&["31.12.2023", "1.1.24"][..], &["12/31/2023"], &["31.12.2023 10:15"], &["31-12-2023"]] {
            assert!(why(dates).contains("look like dates"), "{dates:?}");
        }
        for numbers in [&["1.234,50", "-7,5"][..], &["1234,50", "12"]] {
            assert!(why(numbers).contains("decimal comma"), "{numbers:?}");
        }
        for text in [&["31.12.2023", "soon"][..], &["1,2,3"], &["a,5"], &["1.2.3.4"], &["12,3x"]] {
            assert_eq!(why(text), "none", "{text:?}");
        }
    }

    #[test]
    fn partition_keys_are_inferred_as_dates_numbers_or_text() {
        assert_eq!(of_keys(["2024-02-28", "2024-02-29"].into_iter()), SqlType::Date);
        assert_eq!(of_keys(["1", "12"].into_iter()), SqlType::BigInt);
        assert_eq!(of_keys(["01", "12"].into_iter()), SqlType::Varchar);
    }
}
