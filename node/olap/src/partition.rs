//! How the values of a fact table's partition column stand for time.
//!
//! A segment is a half-open range of milliseconds since 1970 (UTC). The column has an order of its own: days,
//! microseconds, `yyyyMMdd` numbers or text. [`PartitionKind::tick`] maps a millisecond to the *smallest column value that
//! is not earlier*. The map is monotone. A range of time therefore becomes a half-open range of column values, and
//! adjacent segments neither share nor lose a row. Rows whose partition column is NULL belong to no time range.

use crate::sql_type::SqlType;
use chrono::{DateTime, Datelike, NaiveDate};
use datafusion::common::ScalarValue;

const DAY_MS: i64 = 86_400_000;

/// A value of the partition column in its own order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tick {
    Int(i128),
    Text(String),
}

impl Tick {
    /// The next value after this one.
    pub(crate) fn successor(self) -> Tick {
        match self {
            Tick::Int(v) => Tick::Int(v + 1),
            Tick::Text(mut s) => {
                s.push('\0');
                Tick::Text(s)
            }
        }
    }
}

/// A half-open interval of ticks; `None` is unbounded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TickRange {
    pub(crate) from: Option<Tick>,
    pub(crate) until: Option<Tick>,
}

impl TickRange {
    pub(crate) fn at_least(&mut self, tick: Tick) {
        if self.from.as_ref().is_none_or(|f| *f < tick) {
            self.from = Some(tick);
        }
    }

    pub(crate) fn below(&mut self, tick: Tick) {
        if self.until.as_ref().is_none_or(|u| *u > tick) {
            self.until = Some(tick);
        }
    }

    pub(crate) fn contains(&self, from: &Tick, until: &Tick) -> bool {
        self.from.as_ref().is_none_or(|f| f <= from) && self.until.as_ref().is_none_or(|u| until <= u)
    }

    pub(crate) fn is_disjoint(&self, from: &Tick, until: &Tick) -> bool {
        self.from.as_ref().is_some_and(|f| f >= until) || self.until.as_ref().is_some_and(|u| u <= from)
    }

    /// Whether it contains no value.
    pub(crate) fn is_empty(&self) -> bool {
        matches!((&self.from, &self.until), (Some(f), Some(u)) if f >= u)
    }
}

/// What the values of the partition column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartitionKind {
    Date,
    Timestamp,
    EpochMillis(SqlType),
    EpochSeconds(SqlType),
    EpochDays(SqlType),
    DayNumber(SqlType),
    DayText,
    CompactDayText,
    SecondText,
}

impl PartitionKind {
    /// Finds the kind for a type and format. The error lists the possible formats.
    pub(crate) fn of(sql_type: SqlType, format: Option<&str>) -> Result<Self, String> {
        match (sql_type, format) {
            (SqlType::Date, None) => Ok(PartitionKind::Date),
            (SqlType::Timestamp, None) => Ok(PartitionKind::Timestamp),
            (SqlType::Date | SqlType::Timestamp, Some(_)) => {
                Err("a DATE or TIMESTAMP column needs no format; leave it out".into())
            }
            (t, Some("epoch_millis")) if t.is_integer() => Ok(PartitionKind::EpochMillis(t)),
            (t, Some("epoch_seconds")) if t.is_integer() => Ok(PartitionKind::EpochSeconds(t)),
            (t, Some("epoch_days")) if t.is_integer() => Ok(PartitionKind::EpochDays(t)),
            (t, Some("yyyyMMdd")) if t.is_integer() => Ok(PartitionKind::DayNumber(t)),
            (t, _) if t.is_integer() => {
                Err("an integer column needs one of epoch_millis, epoch_seconds, epoch_days, yyyyMMdd".into())
            }
            (SqlType::Varchar, Some("yyyy-MM-dd")) => Ok(PartitionKind::DayText),
            (SqlType::Varchar, Some("yyyyMMdd")) => Ok(PartitionKind::CompactDayText),
            (SqlType::Varchar, Some("yyyy-MM-dd HH:mm:ss")) => Ok(PartitionKind::SecondText),
            (SqlType::Varchar, _) => Err("a text column needs one of yyyy-MM-dd, yyyyMMdd, yyyy-MM-dd HH:mm:ss".into()),
            (t, _) => Err(format!(
                "a {} column cannot divide a model by time; use DATE, TIMESTAMP, an integer or text",
                t.name()
            )),
        }
    }

    /// The smallest column value that is not earlier than `ms`.
    pub(crate) fn tick(self, ms: i64) -> Tick {
        match self {
            PartitionKind::Date | PartitionKind::EpochDays(_) => Tick::Int(ceil_div(ms, DAY_MS).into()),
            PartitionKind::Timestamp => Tick::Int(i128::from(ms) * 1000),
            PartitionKind::EpochMillis(_) => Tick::Int(ms.into()),
            PartitionKind::EpochSeconds(_) => Tick::Int(ceil_div(ms, 1000).into()),
            PartitionKind::DayNumber(_) => {
                let d = day(ms);
                Tick::Int(i128::from(d.year()) * 10_000 + i128::from(d.month() * 100 + d.day()))
            }
            PartitionKind::DayText => Tick::Text(day(ms).format("%Y-%m-%d").to_string()),
            PartitionKind::CompactDayText => Tick::Text(day(ms).format("%Y%m%d").to_string()),
            PartitionKind::SecondText => {
                let at = DateTime::from_timestamp(ceil_div(ms, 1000), 0).unwrap_or_default();
                Tick::Text(at.format("%Y-%m-%d %H:%M:%S").to_string())
            }
        }
    }

    /// The literal of the column's type for a tick, clamped to the type.
    pub(crate) fn literal(self, tick: &Tick) -> ScalarValue {
        match (self, tick) {
            (_, Tick::Text(text)) => ScalarValue::Utf8View(Some(text.clone())),
            (PartitionKind::Date, Tick::Int(v)) => ScalarValue::Date32(Some(clamp(*v))),
            (PartitionKind::Timestamp, Tick::Int(v)) => ScalarValue::TimestampMicrosecond(Some(clamp(*v)), None),
            // Integers compare as BIGINT, so that a bound outside the column's type keeps its meaning.
            (_, Tick::Int(v)) => ScalarValue::Int64(Some(clamp(*v))),
        }
    }

    /// Whether a literal must be compared with the column cast to BIGINT.
    pub(crate) fn compares_as_bigint(self) -> bool {
        matches!(
            self,
            PartitionKind::EpochMillis(t)
                | PartitionKind::EpochSeconds(t)
                | PartitionKind::EpochDays(t)
                | PartitionKind::DayNumber(t)
                if t != SqlType::BigInt
        )
    }

    /// The tick of a literal that a query compares the column with; `None` if it has none.
    pub(crate) fn tick_of(self, value: &ScalarValue) -> Option<Tick> {
        Some(match value {
            ScalarValue::Date32(Some(v)) if self == PartitionKind::Date => Tick::Int((*v).into()),
            ScalarValue::TimestampMicrosecond(Some(v), None) if self == PartitionKind::Timestamp => {
                Tick::Int((*v).into())
            }
            ScalarValue::Int8(Some(v)) if self.is_integer() => Tick::Int((*v).into()),
            ScalarValue::Int16(Some(v)) if self.is_integer() => Tick::Int((*v).into()),
            ScalarValue::Int32(Some(v)) if self.is_integer() => Tick::Int((*v).into()),
            ScalarValue::Int64(Some(v)) if self.is_integer() => Tick::Int((*v).into()),
            ScalarValue::Utf8(Some(s)) | ScalarValue::Utf8View(Some(s)) | ScalarValue::LargeUtf8(Some(s))
                if self.is_text() =>
            {
                Tick::Text(s.clone())
            }
            _ => return None,
        })
    }

    fn is_integer(self) -> bool {
        !matches!(self, PartitionKind::Date | PartitionKind::Timestamp) && !self.is_text()
    }

    fn is_text(self) -> bool {
        matches!(self, PartitionKind::DayText | PartitionKind::CompactDayText | PartitionKind::SecondText)
    }
}

fn clamp<T: TryFrom<i128> + Bounds>(value: i128) -> T {
    T::try_from(value).unwrap_or(if value < 0 { T::LEAST } else { T::MOST })
}

trait Bounds {
    const LEAST: Self;
    const MOST: Self;
}

impl Bounds for i32 {
    const LEAST: i32 = i32::MIN;
    const MOST: i32 = i32::MAX;
}

impl Bounds for i64 {
    const LEAST: i64 = i64::MIN;
    const MOST: i64 = i64::MAX;
}

fn ceil_div(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}

/// The first day that does not begin before `ms`.
fn day(ms: i64) -> NaiveDate {
    DateTime::from_timestamp(ceil_div(ms, DAY_MS) * (DAY_MS / 1000), 0).unwrap_or_default().date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_357_041_600_000; // 2013-01-01T12:00Z

    #[test]
    fn a_start_inside_a_day_excludes_that_day() {
        let midnight = NOON - 43_200_000;
        assert_eq!(PartitionKind::Date.tick(midnight), Tick::Int(15_706));
        assert_eq!(PartitionKind::Date.tick(NOON), Tick::Int(15_707));
        assert_eq!(PartitionKind::DayText.tick(NOON), Tick::Text("2013-01-02".into()));
        assert_eq!(PartitionKind::CompactDayText.tick(midnight), Tick::Text("20130101".into()));
        assert_eq!(PartitionKind::DayNumber(SqlType::Integer).tick(NOON), Tick::Int(20_130_102));
        assert_eq!(PartitionKind::SecondText.tick(NOON + 1), Tick::Text("2013-01-01 12:00:01".into()));
        assert_eq!(PartitionKind::EpochSeconds(SqlType::BigInt).tick(-1), Tick::Int(0));
        assert_eq!(PartitionKind::Timestamp.tick(1), Tick::Int(1000));
    }

    #[test]
    fn ticks_are_monotone() {
        for kind in [PartitionKind::Date, PartitionKind::DayText, PartitionKind::SecondText, PartitionKind::Timestamp] {
            let mut last = kind.tick(0);
            for ms in (0..400 * DAY_MS).step_by(7_654_321) {
                let next = kind.tick(ms);
                assert!(last <= next);
                last = next;
            }
        }
    }

    #[test]
    fn ranges_intersect() {
        let mut range = TickRange::default();
        let t = Tick::Int;
        assert!(range.contains(&t(0), &t(10)) && !range.is_disjoint(&t(0), &t(10)));
        range.at_least(t(3));
        range.below(t(9));
        assert!(!range.contains(&t(0), &t(10)));
        assert!(range.contains(&t(3), &t(9)));
        assert!(range.is_disjoint(&t(9), &t(12)) && range.is_disjoint(&t(0), &t(3)));
        range.below(t(3));
        assert!(range.is_empty());
    }

    #[test]
    fn an_unsuitable_column_is_refused_with_the_possible_formats() {
        assert!(PartitionKind::of(SqlType::Varchar, None).unwrap_err().contains("yyyy-MM-dd"));
        assert!(PartitionKind::of(SqlType::BigInt, Some("yyyy")).unwrap_err().contains("epoch_millis"));
        assert!(PartitionKind::of(SqlType::Double, None).unwrap_err().contains("DOUBLE"));
        assert!(PartitionKind::of(SqlType::Date, Some("x")).is_err());
    }
}
