//! Arguments in a wider type, so that an aggregate is exact or fails.
//!
//! DataFusion adds integers and decimals with wrapping arithmetic. Its MIN and MAX of floats depend on the order of rows if
//! there is a NaN or an infinity. Sums are therefore computed in a wider type and narrowed with a check: the result is the
//! right value, or an error. MIN and MAX of floats compare integers instead, in the order of PostgreSQL, where NaN is the
//! largest value. SUM and AVG of floats get one zero and one NaN.

use crate::arithmetic::canonical_of;
use crate::floats::canonical;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Float64Type, Int64Type};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, ScalarUDF, Volatility, cast, create_udf};
use std::sync::{Arc, LazyLock};

/// Digits of a DECIMAL whose sums an `i128` holds, whatever the number of rows.
const SAFE_DIGITS: u8 = 28;

/// An argument in a wider type, and the way back.
pub(crate) struct Widened {
    pub(crate) arg: Expr,
    pub(crate) back: Back,
}

impl Widened {
    /// Cast to a wider type; the result is cast back with a check.
    pub(super) fn cast(arg: &Expr, wide: DataType, back: DataType) -> Widened {
        Widened { arg: cast(arg.clone(), wide), back: Back::Cast(back) }
    }

    /// A float as an integer of the same order.
    pub(super) fn ordered(arg: &Expr, back: DataType) -> Widened {
        let key = ORDER.call(vec![cast(arg.clone(), DataType::Float64)]);
        Widened { arg: key, back: Back::Float(back) }
    }

    /// A BIGINT whose average is its exact sum divided by its count.
    pub(super) fn mean(arg: &Expr) -> Widened {
        Widened { arg: cast(arg.clone(), DataType::Decimal128(19, 0)), back: Back::Mean }
    }

    /// A float as it is; the sum or average, a DOUBLE, gets one zero and one NaN.
    pub(super) fn float(arg: &Expr) -> Widened {
        Widened { arg: arg.clone(), back: Back::Canonical }
    }
}

/// Whether it is a BIGINT that is not a cast of a smaller integer.
pub(super) fn is_wide_integer(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Int64)) && !is_narrow(expr, schema)
}

/// How the result of a widened aggregate is converted back.
pub(crate) enum Back {
    Cast(DataType),
    Float(DataType),
    /// The sum of both infinities is a NaN with any sign.
    Canonical,
    /// The call becomes a sum, which is divided by a count.
    Mean,
}

impl Back {
    /// `counted` is the column with the number of values, for [`Back::Mean`].
    pub(crate) fn over(self, expr: Expr, counted: Expr) -> Expr {
        match self {
            Back::Cast(to) => cast(expr, to),
            Back::Float(to) => cast(OF_ORDER.call(vec![expr]), to),
            Back::Mean => cast(expr, DataType::Float64) / cast(counted, DataType::Float64),
            Back::Canonical => canonical_of(expr, DataType::Float64),
        }
    }
}

/// A decimal of more digits, if its sums might overflow.
pub(super) fn decimal(arg: &Expr, precision: u8, scale: i8, back: DataType) -> Option<Widened> {
    let wide = DataType::Decimal256(precision.min(DECIMAL256_MAX_PRECISION), scale);
    (precision > SAFE_DIGITS).then(|| Widened::cast(arg, wide, back))
}

/// Whether an integer is a cast of a smaller one: 2³² rows cannot overflow its sum.
pub(super) fn is_narrow(expr: &Expr, schema: &DFSchema) -> bool {
    match expr {
        Expr::Cast(cast) => matches!(
            cast.expr.get_type(schema),
            Ok(DataType::Boolean
                | DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::UInt8
                | DataType::UInt16)
        ),
        // Counts written as SUM(CASE … THEN 1 …) and SUM(1).
        Expr::Literal(value, _) => value.cast_to(&DataType::Int32).is_ok(),
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr).all(|e| is_narrow(e, schema))
        }
        _ => false,
    }
}

/// Maps floats to integers in the same order.
static ORDER: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let order = |values: &ArrayRef| -> ArrayRef {
        let values = canonical(values);
        Arc::new(values.as_primitive::<Float64Type>().unary::<_, Int64Type>(|v| ordered(v.to_bits() as i64)))
    };
    udf("float_order", DataType::Float64, DataType::Int64, order)
});

/// Maps such an integer back to its float.
static OF_ORDER: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let float = |values: &ArrayRef| -> ArrayRef {
        let keys = values.as_primitive::<Int64Type>();
        Arc::new(keys.unary::<_, Float64Type>(|key| f64::from_bits(ordered(key) as u64)))
    };
    udf("float_of_order", DataType::Int64, DataType::Float64, float)
});

/// Reverses the order of the bits of negative floats. It is its own inverse.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn udf(name: &str, from: DataType, to: DataType, map: fn(&ArrayRef) -> ArrayRef) -> ScalarUDF {
    let run = move |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let result = map(&arrays[0]);
        Ok(match args {
            [ColumnarValue::Scalar(_)] if result.len() == 1 => {
                ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?)
            }
            _ => ColumnarValue::Array(result),
        })
    };
    create_udf(name, vec![from], to, Volatility::Immutable, Arc::new(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_the_order_of_floats() {
        let floats =
            [f64::NEG_INFINITY, f64::MIN, -1.5, 0.0, f64::MIN_POSITIVE, 2.5, f64::MAX, f64::INFINITY, f64::NAN];
        let keys: Vec<i64> = floats.iter().map(|v| ordered(v.to_bits() as i64)).collect();
        assert!(keys.is_sorted());
        for (float, key) in floats.iter().zip(&keys) {
            assert_eq!(f64::from_bits(ordered(*key) as u64).to_bits(), float.to_bits());
        }
    }
}
