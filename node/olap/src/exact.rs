//! Aggregates that are exact or fail.
//!
//! DataFusion adds integers and decimals with wrapping arithmetic, and its smallest and largest floats depend on the
//! order of rows once NaN or an infinity is among them. So sums are taken in a wider type and narrowed with a check:
//! the right value, or an error. MIN and MAX of floats compare integers that have the order of PostgreSQL: NaN is the
//! largest value. A plan is changed after the rewrite to indexes, so queries of both kinds and builds are treated alike.

use crate::arithmetic::canonical_of;
use crate::floats::canonical;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Float64Type, Int64Type};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Projection, ScalarUDF, Volatility, Window,
    WindowFunctionDefinition, cast, create_udf,
};
use std::sync::{Arc, LazyLock};

/// Digits of a DECIMAL whose sums an `i128` holds, whatever the number of rows.
const SAFE_DIGITS: u8 = 28;

/// The plan with exact aggregates.
pub(crate) fn exact(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => aggregated(aggregate),
        LogicalPlan::Window(window) => windowed(window),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn aggregated(aggregate: Aggregate) -> DfResult<Transformed<LogicalPlan>> {
    let schema = aggregate.input.schema().clone();
    let mut restored = vec![];
    let mut expressions = vec![];
    for (i, expr) in aggregate.aggr_expr.iter().enumerate() {
        let plain = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &plain else {
            restored.push(None);
            expressions.push(expr.clone());
            continue;
        };
        let Some((arg, back)) = widened(func.name(), &params.args, &schema)? else {
            restored.push(None);
            expressions.push(expr.clone());
            continue;
        };
        let mut params = params.clone();
        params.args[0] = arg;
        let name = format!("exact{i}");
        expressions.push(Expr::AggregateFunction(AggregateFunction { func: func.clone(), params }).alias(&name));
        restored.push(Some(back.over(Expr::Column(Column::new_unqualified(name)))));
    }
    if restored.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let inner = Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), expressions)?;
    let groups = aggregate.schema.fields().len() - restored.len();
    let restored = std::iter::repeat_n(None, groups).chain(restored);
    projected(LogicalPlan::Aggregate(inner), &aggregate.schema, restored).map(Transformed::yes)
}

fn windowed(window: Window) -> DfResult<Transformed<LogicalPlan>> {
    let schema = window.input.schema().clone();
    let mut restored = vec![];
    let mut expressions = vec![];
    for (i, expr) in window.window_expr.iter().enumerate() {
        let plain = expr.clone().unalias_nested().data;
        let Expr::WindowFunction(function) = &plain else {
            restored.push(None);
            expressions.push(expr.clone());
            continue;
        };
        let WindowFunction { fun, params } = function.as_ref();
        let WindowFunctionDefinition::AggregateUDF(func) = fun else {
            restored.push(None);
            expressions.push(expr.clone());
            continue;
        };
        let Some((arg, back)) = widened(func.name(), &params.args, &schema)? else {
            restored.push(None);
            expressions.push(expr.clone());
            continue;
        };
        let mut params = params.clone();
        params.args[0] = arg;
        let name = format!("exact{i}");
        let function = WindowFunction { fun: fun.clone(), params };
        expressions.push(Expr::WindowFunction(Box::new(function)).alias(&name));
        restored.push(Some(back.over(Expr::Column(Column::new_unqualified(name)))));
    }
    if restored.iter().all(Option::is_none) {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let inner = Window::try_new(expressions, window.input.clone())?;
    let input = schema.fields().len();
    let restored = std::iter::repeat_n(None, input).chain(restored);
    projected(LogicalPlan::Window(inner), &window.schema, restored).map(Transformed::yes)
}

/// The columns of `inner` under the names of `schema`, the widened ones narrowed again.
fn projected(
    inner: LogicalPlan,
    schema: &DFSchema,
    restored: impl Iterator<Item = Option<Expr>>,
) -> DfResult<LogicalPlan> {
    let columns = inner.schema().columns();
    let output =
        restored.zip(schema.iter()).zip(columns).map(|((restored, (qualifier, field)), column)| match restored {
            None => Expr::Column(column),
            Some(expr) => expr.alias_qualified(qualifier.cloned(), field.name()),
        });
    Ok(LogicalPlan::Projection(Projection::try_new(output.collect(), Arc::new(inner))?))
}

/// How the result of a widened aggregate becomes what was asked for.
enum Back {
    Cast(DataType),
    Float(DataType),
    /// The sum of both infinities is a NaN of any sign.
    Canonical,
}

impl Back {
    fn over(self, expr: Expr) -> Expr {
        match self {
            Back::Cast(to) => cast(expr, to),
            Back::Float(to) => cast(OF_ORDER.call(vec![expr]), to),
            Back::Canonical => canonical_of(expr).data,
        }
    }
}

/// The argument in a wider type, and the way back; `None` if the aggregate is exact as it is.
fn widened(function: &str, args: &[Expr], schema: &DFSchema) -> DfResult<Option<(Expr, Back)>> {
    let [arg] = args else {
        return Ok(None);
    };
    let data_type = arg.get_type(schema)?;
    let wide = |precision: u8, scale: i8| DataType::Decimal256(precision.min(DECIMAL256_MAX_PRECISION), scale);
    Ok(match (function, &data_type) {
        ("min" | "max", DataType::Float32 | DataType::Float64) => {
            let key = ORDER.call(vec![cast(arg.clone(), DataType::Float64)]);
            Some((key, Back::Float(data_type)))
        }
        ("sum" | "avg", DataType::Float32 | DataType::Float64) => Some((arg.clone(), Back::Canonical)),
        ("sum", DataType::Int64) if !is_narrow(arg, schema) => {
            Some((cast(arg.clone(), DataType::Decimal128(19, 0)), Back::Cast(DataType::Int64)))
        }
        ("sum", DataType::Decimal128(p, s)) if *p > SAFE_DIGITS => {
            let back = DataType::Decimal128((p + 10).min(38), *s);
            Some((cast(arg.clone(), wide(*p, *s)), Back::Cast(back)))
        }
        ("avg", DataType::Decimal128(p, s)) if *p > SAFE_DIGITS => {
            let back = DataType::Decimal128((p + 4).min(38), (s + 4).min(38));
            Some((cast(arg.clone(), wide(*p, *s)), Back::Cast(back)))
        }
        _ => None,
    })
}

/// Whether an integer is a cast of a smaller one: 2³² rows cannot overflow its sum.
fn is_narrow(expr: &Expr, schema: &DFSchema) -> bool {
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
        // Counting by SUM(CASE … THEN 1 …) and SUM(1).
        Expr::Literal(value, _) => value.cast_to(&DataType::Int32).is_ok(),
        Expr::Case(case) => {
            case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr).all(|e| is_narrow(e, schema))
        }
        _ => false,
    }
}

/// Integers in the order of floats.
static ORDER: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let order = |values: &ArrayRef| -> ArrayRef {
        let values = canonical(values);
        Arc::new(values.as_primitive::<Float64Type>().unary::<_, Int64Type>(|v| ordered(v.to_bits() as i64)))
    };
    udf("float_order", DataType::Float64, DataType::Int64, order)
});

/// The float of such an integer.
static OF_ORDER: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let float = |values: &ArrayRef| -> ArrayRef {
        let keys = values.as_primitive::<Int64Type>();
        Arc::new(keys.unary::<_, Float64Type>(|key| f64::from_bits(ordered(key) as u64)))
    };
    udf("float_of_order", DataType::Int64, DataType::Float64, float)
});

/// Negative floats have the order of their bits reversed. It is its own inverse.
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
