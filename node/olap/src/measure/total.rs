//! Totals of partials, which the conservation laws compare.

use crate::error::{Error, Result};
use datafusion::arrow::array::types::{
    ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::functions_aggregate::min_max::{MaxAccumulator, MinAccumulator};
use datafusion::logical_expr::Accumulator;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One partial aggregate over everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Total {
    /// A count, or a sum of integers or unscaled decimals, in decimal digits.
    Exact(String),
    /// A sum of floats.
    Float {
        /// The sum.
        sum: f64,
        /// The sum of the absolute values. Rounding errors are proportional to it.
        magnitude: f64,
    },
    /// The least or greatest value as text; `None` if every value is NULL.
    Extreme(Option<String>),
    /// Not finite, so not compared.
    NotFinite,
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Total::Exact(digits) => f.write_str(digits),
            Total::Float { sum, .. } => write!(f, "{sum}"),
            Total::Extreme(Some(text)) => f.write_str(text),
            Total::Extreme(None) => f.write_str("NULL"),
            Total::NotFinite => f.write_str("not finite"),
        }
    }
}

impl Total {
    /// Whether both are the total of the same values.
    pub(crate) fn agrees(&self, other: &Total) -> bool {
        match (self, other) {
            (Total::NotFinite, _) | (_, Total::NotFinite) => true,
            (Total::Float { sum: a, magnitude }, Total::Float { sum: b, magnitude: other }) => {
                (a - b).abs() <= ROUNDING * magnitude.max(*other)
            }
            (a, b) => a == b,
        }
    }
}

/// Floats are added in another order. The sums of a billion values differ by far less than this part of them.
const ROUNDING: f64 = 1e-6;

/// What a total is computed from.
#[derive(Debug, Clone)]
pub(crate) enum Reads {
    /// One for each row.
    EachRow,
    /// One for each value that is not NULL, of this column.
    EachValue(String),
    /// The values of this column, cast to a type.
    Values(String, DataType),
}

/// A total while values are added.
#[derive(Debug)]
pub(crate) enum Running {
    /// A sum modulo 2^128, so that the order does not matter even if sums of wide decimals are larger.
    Exact(i128),
    Float {
        sum: f64,
        magnitude: f64,
    },
    /// The least or greatest value of any type.
    Extreme(Box<dyn Accumulator>),
    /// The least or greatest integer.
    Integer {
        least: bool,
        value: Option<i64>,
    },
    /// The least or greatest float in the total order of IEEE 754, where NaN is beyond the infinities.
    FloatExtreme {
        least: bool,
        value: Option<f64>,
    },
}

impl Running {
    /// Of a count.
    pub(super) fn exact() -> Running {
        Running::Exact(0)
    }

    /// Of sums of this type.
    pub(super) fn sum(data_type: &DataType) -> Running {
        match data_type.is_floating() {
            true => Running::Float { sum: 0.0, magnitude: 0.0 },
            false => Running::Exact(0),
        }
    }

    /// Of smallest values of this type.
    pub(super) fn least(data_type: &DataType) -> DfResult<Running> {
        Ok(match Running::extreme(data_type, true) {
            Some(running) => running,
            None => Running::Extreme(Box::new(MinAccumulator::try_new(data_type)?)),
        })
    }

    /// Of largest values of this type.
    pub(super) fn greatest(data_type: &DataType) -> DfResult<Running> {
        Ok(match Running::extreme(data_type, false) {
            Some(running) => running,
            None => Running::Extreme(Box::new(MaxAccumulator::try_new(data_type)?)),
        })
    }

    /// Of types with a loop of their own.
    fn extreme(data_type: &DataType, least: bool) -> Option<Running> {
        match data_type {
            t if t.is_floating() => Some(Running::FloatExtreme { least, value: None }),
            t if t.is_signed_integer() => Some(Running::Integer { least, value: None }),
            _ => None,
        }
    }

    /// Whether it reads this type without a cast.
    pub(crate) fn reads(&self, data_type: &DataType) -> bool {
        matches!(self, Running::Exact(_) | Running::Integer { .. }) && data_type.is_signed_integer()
    }

    /// Adds values. `weigh` receives the position and the low 64 bits of each value that has a weight.
    pub(crate) fn add(&mut self, values: &ArrayRef, mut weigh: impl FnMut(usize, u64)) -> Result<()> {
        match self {
            Running::Exact(sum) => {
                let mut put = |i: usize, value: i128| {
                    *sum = sum.wrapping_add(value);
                    weigh(i, value as u64);
                };
                match values.data_type() {
                    DataType::Int8 => each::<Int8Type>(values, |i, v| put(i, i128::from(v))),
                    DataType::Int16 => each::<Int16Type>(values, |i, v| put(i, i128::from(v))),
                    DataType::Int32 => each::<Int32Type>(values, |i, v| put(i, i128::from(v))),
                    DataType::Int64 => each::<Int64Type>(values, |i, v| put(i, i128::from(v))),
                    DataType::Decimal128(..) => each::<Decimal128Type>(values, put),
                    other => return Err(Error::Execution(format!("cannot tally a sum of {other}"))),
                }
            }
            Running::Float { sum, magnitude } => each_float(values, |v| {
                *sum += v;
                *magnitude += v.abs();
            })?,
            Running::FloatExtreme { .. } => each_float(values, |v| self.see(v))?,
            Running::Integer { .. } => match values.data_type() {
                DataType::Int8 => each::<Int8Type>(values, |_, v| self.see_integer(v.into())),
                DataType::Int16 => each::<Int16Type>(values, |_, v| self.see_integer(v.into())),
                DataType::Int32 => each::<Int32Type>(values, |_, v| self.see_integer(v.into())),
                DataType::Int64 => each::<Int64Type>(values, |_, v| self.see_integer(v)),
                other => return Err(Error::Execution(format!("{other} is not an integer"))),
            },
            Running::Extreme(value) => value.update_batch(std::slice::from_ref(values))?,
        }
        Ok(())
    }

    /// Adds another total of the same partial.
    pub(crate) fn merge(&mut self, other: Running) -> Result<()> {
        match (self, other) {
            (Running::Exact(sum), Running::Exact(more)) => *sum = sum.wrapping_add(more),
            (Running::Float { sum, magnitude }, Running::Float { sum: more, magnitude: size }) => {
                *sum += more;
                *magnitude += size;
            }
            (sum @ Running::FloatExtreme { .. }, Running::FloatExtreme { value, .. }) => {
                if let Some(value) = value {
                    sum.see(value);
                }
            }
            (sum @ Running::Integer { .. }, Running::Integer { value, .. }) => {
                if let Some(value) = value {
                    sum.see_integer(value);
                }
            }
            (Running::Extreme(value), Running::Extreme(mut more)) => {
                value.update_batch(&[more.evaluate()?.to_array()?])?;
            }
            _ => return Err(Error::Execution("totals of different partials cannot be merged".into())),
        }
        Ok(())
    }

    /// The total of all values.
    pub(crate) fn total(self) -> Result<Total> {
        Ok(match self {
            Running::Exact(sum) => Total::Exact(sum.to_string()),
            Running::Float { sum, magnitude } if sum.is_finite() && magnitude.is_finite() => {
                Total::Float { sum, magnitude }
            }
            Running::FloatExtreme { value: None, .. } => Total::Extreme(None),
            // One zero: the sign of a group's zero depends on its first row.
            Running::FloatExtreme { value: Some(value), .. } if value.is_finite() => {
                Total::Extreme(Some((value + 0.0).to_string()))
            }
            Running::Float { .. } | Running::FloatExtreme { .. } => Total::NotFinite,
            Running::Integer { value, .. } => Total::Extreme(value.map(|value| value.to_string())),
            Running::Extreme(mut value) => {
                let value = value.evaluate()?;
                Total::Extreme((!value.is_null()).then(|| value.to_string()))
            }
        })
    }

    /// Adds an integer.
    fn see_integer(&mut self, found: i64) {
        if let Running::Integer { least, value } = self {
            *value = Some(match (*value, *least) {
                (None, _) => found,
                (Some(value), true) => value.min(found),
                (Some(value), false) => value.max(found),
            });
        }
    }

    /// Adds a float.
    fn see(&mut self, found: f64) {
        if let Running::FloatExtreme { least, value } = self {
            let further = value.is_none_or(|value| match least {
                true => found.total_cmp(&value).is_lt(),
                false => found.total_cmp(&value).is_gt(),
            });
            if further {
                *value = Some(found);
            }
        }
    }
}

/// Calls `f` with the position and value of each value that is not NULL.
pub(crate) fn each<T: ArrowPrimitiveType>(values: &dyn Array, mut f: impl FnMut(usize, T::Native)) {
    let array: &PrimitiveArray<T> = values.as_primitive();
    match array.nulls() {
        None => array.values().iter().enumerate().for_each(|(i, v)| f(i, *v)),
        Some(nulls) => nulls.valid_indices().for_each(|i| f(i, array.value(i))),
    }
}

fn each_float(values: &dyn Array, mut f: impl FnMut(f64)) -> Result<()> {
    match values.data_type() {
        DataType::Float32 => each::<Float32Type>(values, |_, v| f(f64::from(v))),
        DataType::Float64 => each::<Float64Type>(values, |_, v| f(v)),
        other => return Err(Error::Execution(format!("{other} is not a float"))),
    }
    Ok(())
}
