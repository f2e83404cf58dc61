//! SQL types: the names in definitions and answers, and the Arrow types behind them.
//!
//! A table's declared types are authoritative. A file's physical types are cast to them when it is read, for builds and
//! raw queries alike, so both see the same values. Timestamps are UTC, in microseconds.

use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// The name of a type that answers and messages use, for any name that definitions may use: VARCHAR for STRING. `None` if
/// the type is unknown.
pub fn type_name_of(name: &str) -> Option<String> {
    SqlType::parse(name).map(SqlType::full_name)
}

/// A column type as SQL knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SqlType {
    Boolean,
    TinyInt,
    SmallInt,
    Integer,
    BigInt,
    Float,
    Double,
    Decimal(u8, i8),
    Varchar,
    Date,
    Timestamp,
    Binary,
}

impl SqlType {
    /// Parses a type name of a table definition; `None` if the type is unknown.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let upper = name.trim().to_ascii_uppercase();
        let (base, args) = match upper.split_once('(') {
            Some((base, rest)) => (base.trim(), rest.strip_suffix(')')?),
            None => (upper.as_str(), ""),
        };
        Some(match base {
            "BOOLEAN" | "BOOL" => SqlType::Boolean,
            "TINYINT" => SqlType::TinyInt,
            "SMALLINT" => SqlType::SmallInt,
            "INTEGER" | "INT" => SqlType::Integer,
            "BIGINT" | "LONG" => SqlType::BigInt,
            "FLOAT" | "REAL" => SqlType::Float,
            "DOUBLE" => SqlType::Double,
            "VARCHAR" | "CHAR" | "STRING" | "TEXT" => SqlType::Varchar,
            "DATE" => SqlType::Date,
            "TIMESTAMP" | "DATETIME" => SqlType::Timestamp,
            "BINARY" | "VARBINARY" => SqlType::Binary,
            "DECIMAL" | "NUMERIC" => {
                let mut parts = args.split(',').map(str::trim);
                let precision = match parts.next() {
                    Some("") | None => 38,
                    Some(text) => text.parse().ok()?,
                };
                let scale = match parts.next() {
                    Some(text) => text.parse().ok()?,
                    None => 0,
                };
                if precision == 0 || precision > 38 || scale < 0 || scale as u8 > precision {
                    return None;
                }
                SqlType::Decimal(precision, scale)
            }
            _ => return None,
        })
    }

    /// The SQL type for an Arrow type; `None` if tables do not support it.
    pub(crate) fn of_arrow(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 => SqlType::TinyInt,
            DataType::Int16 | DataType::UInt8 => SqlType::SmallInt,
            DataType::Int32 | DataType::UInt16 => SqlType::Integer,
            DataType::Int64 | DataType::UInt32 => SqlType::BigInt,
            DataType::UInt64 => SqlType::Decimal(20, 0),
            DataType::Float16 | DataType::Float32 => SqlType::Float,
            DataType::Float64 => SqlType::Double,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) if *s >= 0 => {
                SqlType::Decimal(*p, *s)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::Varchar,
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Timestamp(..) => SqlType::Timestamp,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                SqlType::Binary
            }
            DataType::Dictionary(_, value) => return SqlType::of_arrow(value),
            _ => return None,
        })
    }

    /// The Arrow type of its values.
    pub(crate) fn arrow(self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::TinyInt => DataType::Int8,
            SqlType::SmallInt => DataType::Int16,
            SqlType::Integer => DataType::Int32,
            SqlType::BigInt => DataType::Int64,
            SqlType::Float => DataType::Float32,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal(p, s) => DataType::Decimal128(p, s),
            SqlType::Varchar => DataType::Utf8View,
            SqlType::Date => DataType::Date32,
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlType::Binary => DataType::BinaryView,
        }
    }

    /// The name used in definitions, e.g. `DECIMAL(19,4)`.
    pub(crate) fn full_name(self) -> String {
        match self {
            SqlType::Decimal(p, s) => format!("DECIMAL({p},{s})"),
            other => other.name().to_string(),
        }
    }

    /// The bare name, e.g. `DECIMAL`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SqlType::Boolean => "BOOLEAN",
            SqlType::TinyInt => "TINYINT",
            SqlType::SmallInt => "SMALLINT",
            SqlType::Integer => "INTEGER",
            SqlType::BigInt => "BIGINT",
            SqlType::Float => "FLOAT",
            SqlType::Double => "DOUBLE",
            SqlType::Decimal(..) => "DECIMAL",
            SqlType::Varchar => "VARCHAR",
            SqlType::Date => "DATE",
            SqlType::Timestamp => "TIMESTAMP",
            SqlType::Binary => "BINARY",
        }
    }

    /// Precision as JDBC reports it.
    pub(crate) fn precision(self) -> u32 {
        match self {
            SqlType::Boolean => 1,
            SqlType::TinyInt => 3,
            SqlType::SmallInt => 5,
            SqlType::Integer => 10,
            SqlType::BigInt => 19,
            SqlType::Float => 7,
            SqlType::Double => 15,
            SqlType::Decimal(p, _) => u32::from(p),
            SqlType::Varchar | SqlType::Binary => 256,
            SqlType::Date => 10,
            SqlType::Timestamp => 26,
        }
    }

    /// Scale as JDBC reports it.
    pub(crate) fn scale(self) -> u32 {
        match self {
            SqlType::Decimal(_, s) => s.unsigned_abs().into(),
            SqlType::Timestamp => 6,
            _ => 0,
        }
    }

    pub(crate) fn is_integer(self) -> bool {
        matches!(self, SqlType::TinyInt | SqlType::SmallInt | SqlType::Integer | SqlType::BigInt)
    }

    fn digits(self) -> Option<u8> {
        match self {
            SqlType::TinyInt => Some(3),
            SqlType::SmallInt => Some(5),
            SqlType::Integer => Some(10),
            SqlType::BigInt => Some(19),
            _ => None,
        }
    }

    /// The smallest type that holds every value of both without loss; `None` if there is none.
    pub(crate) fn unify(self, other: SqlType) -> Option<SqlType> {
        use SqlType::{Date, Decimal, Double, Float, Integer, SmallInt, Timestamp, TinyInt};
        Some(match (self, other) {
            (a, b) if a == b => a,
            (Decimal(p, s), Decimal(q, t)) => {
                let (scale, whole) = (s.max(t), (p as i8 - s).max(q as i8 - t));
                if whole + scale > 38 {
                    return None;
                }
                Decimal((whole + scale) as u8, scale)
            }
            (Decimal(p, s), integer) | (integer, Decimal(p, s)) if integer.is_integer() => {
                return Decimal(p, s).unify(Decimal(integer.digits()?, 0));
            }
            (a, b) if a.is_integer() && b.is_integer() => {
                if a.digits() > b.digits() {
                    a
                } else {
                    b
                }
            }
            (TinyInt | SmallInt, Float) | (Float, TinyInt | SmallInt) => Float,
            (TinyInt | SmallInt | Integer | Float, Double) | (Double, TinyInt | SmallInt | Integer | Float) => Double,
            (Integer, Float) | (Float, Integer) => Double,
            (Date, Timestamp) | (Timestamp, Date) => Timestamp,
            _ => return None,
        })
    }

    /// Whether values of this type convert to the declared type exactly, or fail where they do not fit. A declared DOUBLE
    /// accepts every number: the user asked for it.
    pub(crate) fn widens_to(self, declared: SqlType) -> bool {
        match (self, declared) {
            (a, b) if a == b => true,
            (SqlType::Varchar, SqlType::Binary) | (SqlType::Binary, _) => false,
            (SqlType::Varchar, _) | (_, SqlType::Varchar) => true,
            (SqlType::Decimal(_, s), SqlType::Decimal(_, t)) => s <= t,
            (from, SqlType::Double) => from.is_integer() || matches!(from, SqlType::Float | SqlType::Decimal(..)),
            (from, to) if from.is_integer() && to.is_integer() => true,
            (from, SqlType::Decimal(..)) => from.is_integer(),
            (SqlType::Decimal(_, 0), to) => to.is_integer(),
            (SqlType::TinyInt | SqlType::SmallInt, SqlType::Float) => true,
            (SqlType::Date, SqlType::Timestamp) => true,
            _ => false,
        }
    }

    /// The type of a stored SUM of such a column. No sum of a table's values overflows it.
    pub(crate) fn sum(self) -> Option<Self> {
        Some(match self {
            SqlType::Decimal(p, s) => SqlType::Decimal((p + 10).min(38), s),
            SqlType::Float | SqlType::Double => SqlType::Double,
            SqlType::BigInt => SqlType::Decimal(38, 0),
            integer if integer.is_integer() => SqlType::BigInt,
            _ => return None,
        })
    }
}

/// The `java.sql.Types` code of a SQL type name, as in [`crate::ColumnMeta`] and [`crate::Column`].
/// Unknown names are `OTHER` (1111).
pub fn java_sql_type(type_name: &str) -> i32 {
    match SqlType::parse(type_name) {
        Some(SqlType::Boolean) => 16,
        Some(SqlType::TinyInt) => -6,
        Some(SqlType::SmallInt) => 5,
        Some(SqlType::Integer) => 4,
        Some(SqlType::BigInt) => -5,
        Some(SqlType::Float) => 6,
        Some(SqlType::Double) => 8,
        Some(SqlType::Decimal(..)) => 3,
        Some(SqlType::Varchar) => 12,
        Some(SqlType::Date) => 91,
        Some(SqlType::Timestamp) => 93,
        Some(SqlType::Binary) => -2,
        None if type_name.eq_ignore_ascii_case("TIME") => 92,
        None => 1111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_round_trips_through_its_name_and_its_arrow_type() {
        for t in [
            SqlType::Boolean,
            SqlType::TinyInt,
            SqlType::SmallInt,
            SqlType::Integer,
            SqlType::BigInt,
            SqlType::Float,
            SqlType::Double,
            SqlType::Decimal(19, 4),
            SqlType::Varchar,
            SqlType::Date,
            SqlType::Timestamp,
            SqlType::Binary,
        ] {
            assert_eq!(SqlType::parse(&t.full_name()), Some(t));
            assert_eq!(SqlType::of_arrow(&t.arrow()), Some(t));
            assert_ne!(java_sql_type(&t.full_name()), 1111);
        }
    }

    #[test]
    fn types_are_widened_only_without_loss() {
        use SqlType::*;
        assert_eq!(Integer.unify(BigInt), Some(BigInt));
        assert_eq!(Integer.unify(Double), Some(Double));
        assert_eq!(BigInt.unify(Double), None);
        assert_eq!(BigInt.unify(Decimal(10, 2)), Some(Decimal(21, 2)));
        assert_eq!(Decimal(38, 0).unify(Decimal(10, 2)), None);
        assert_eq!(Date.unify(Timestamp), Some(Timestamp));
        assert_eq!(Date.unify(Varchar), None);
        assert!(!Decimal(10, 2).widens_to(Decimal(10, 1)) && !Double.widens_to(BigInt) && Varchar.widens_to(Date));
    }

    #[test]
    fn lengths_and_aliases_are_parsed() {
        assert_eq!(SqlType::parse("varchar(256)"), Some(SqlType::Varchar));
        assert_eq!(SqlType::parse("decimal(10, 2)"), Some(SqlType::Decimal(10, 2)));
        assert_eq!(SqlType::parse("decimal(10,12)"), None);
        assert_eq!(SqlType::parse("geometry"), None);
        assert_eq!(java_sql_type("geometry"), 1111);
    }
}
