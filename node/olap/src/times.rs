//! Timestamps of this family: microseconds, and text with a space.
//!
//! DataFusion compares timestamps with text, and with the results of its functions, in nanoseconds, which end in the year
//! 2262. It writes a timestamp as text with a `T`. After the analysis of a plan, all timestamps are therefore converted to
//! microseconds, and a cast of a timestamp to text writes the same text as an answer. Its DATE_TRUNC also counts in
//! nanoseconds, so it is replaced.

use crate::expressions::under_their_names;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarUDF, Volatility, cast, create_udf,
};
use std::sync::{Arc, LazyLock};

const MICROSECONDS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The text form of a timestamp.
pub(crate) const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";

/// The analysed plan without nanoseconds.
pub(crate) fn mended(plan: LogicalPlan, state: &SessionState) -> DfResult<LogicalPlan> {
    let mended = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        let node = under_their_names(node, &|expr| expr.transform_up(|e| one(e, &schema)))?;
        if node.transformed { node.map_data(LogicalPlan::recompute_schema) } else { Ok(node) }
    })?;
    match mended.transformed {
        // The types have changed, so comparisons need new casts.
        true => state.analyzer().execute_and_check(mended.data, state.config_options(), |_, _| {}),
        false => Ok(mended.data),
    }
}

fn one(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    let nanoseconds = |t: &DataType| matches!(t, DataType::Timestamp(TimeUnit::Nanosecond, None));
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) if nanoseconds(field.data_type()) => {
            let is_there = expr.get_type(schema).is_ok_and(|t| t == MICROSECONDS);
            Transformed::yes(if is_there { *expr } else { cast(*expr, MICROSECONDS) })
        }
        Expr::Cast(Cast { expr, field })
            if matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
                && expr.get_type(schema).is_ok_and(|t| matches!(t, DataType::Timestamp(_, None))) =>
        {
            let text = TEXT.call(vec![cast(*expr, MICROSECONDS)]);
            Transformed::yes(cast(text, field.data_type().clone()))
        }
        Expr::Literal(ScalarValue::TimestampNanosecond(value, None), metadata) => {
            let value = ScalarValue::TimestampMicrosecond(value.map(|v| v.div_euclid(1000)), None);
            Transformed::yes(Expr::Literal(value, metadata))
        }
        Expr::ScalarFunction(mut function) if function.func.name() == "date_trunc" => {
            let is_micros = |e: &Expr| e.get_type(schema).is_ok_and(|t| t == MICROSECONDS);
            match function.args.as_slice() {
                [Expr::Literal(unit, _), value]
                    if is_micros(value) && unit.try_as_str().flatten().and_then(Unit::named).is_some() =>
                {
                    let value = function.args.pop().expect("it has two arguments");
                    Transformed::yes(TRUNCATED.call(vec![cast(function.args.remove(0), DataType::Utf8), value]))
                }
                _ => Transformed::no(Expr::ScalarFunction(function)),
            }
        }
        Expr::ScalarFunction(function) => {
            let call = Expr::ScalarFunction(function);
            match call.get_type(schema) {
                Ok(t) if nanoseconds(&t) => Transformed::yes(cast(call, MICROSECONDS)),
                _ => Transformed::no(call),
            }
        }
        other => Transformed::no(other),
    })
}

/// A unit of DATE_TRUNC.
#[derive(Clone, Copy)]
enum Unit {
    /// So many microseconds.
    Micros(i64),
    Week,
    /// So many months.
    Months(i32),
}

impl Unit {
    fn named(name: &str) -> Option<Unit> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" => Unit::Micros(1),
            "millisecond" => Unit::Micros(1_000),
            "second" => Unit::Micros(1_000_000),
            "minute" => Unit::Micros(60_000_000),
            "hour" => Unit::Micros(3_600_000_000),
            "day" => Unit::Micros(DAY),
            "week" => Unit::Week,
            "month" => Unit::Months(1),
            "quarter" => Unit::Months(3),
            "year" => Unit::Months(12),
            _ => return None,
        })
    }

    /// The start of the unit that contains this moment; none if it is out of range.
    fn start(self, micros: i64) -> Option<i64> {
        let whole = |unit: i64| micros.checked_sub(micros.rem_euclid(unit));
        match self {
            Unit::Micros(unit) => whole(unit),
            Unit::Week => {
                // 1970-01-01 was a Thursday, and weeks start on Monday.
                let into = (micros.div_euclid(DAY) + 3).rem_euclid(7) * DAY + micros.rem_euclid(DAY);
                micros.checked_sub(into)
            }
            Unit::Months(months) => {
                let date = DateTime::from_timestamp_micros(micros)?.date_naive();
                let month = date.year() * 12 + date.month0() as i32;
                let month = month - month.rem_euclid(months);
                let first = NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1)?;
                Some(first.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
            }
        }
    }
}

const DAY: i64 = 86_400_000_000;

/// DATE_TRUNC of microseconds.
static TRUNCATED: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let run = |args: &[ColumnarValue]| {
        let [ColumnarValue::Scalar(unit), value] = args else {
            return Err(DataFusionError::Execution("the unit of date_trunc must be a constant".into()));
        };
        let Some(unit) = unit.try_as_str().flatten().and_then(Unit::named) else {
            return Err(DataFusionError::Execution(format!("date_trunc knows no unit {unit}")));
        };
        let of = |values: &ArrayRef| -> DfResult<ArrayRef> {
            let values = values.as_primitive::<TimestampMicrosecondType>();
            let out_of_range = |v: i64| ArrowError::ComputeError(format!("the timestamp {v} µs is out of range"));
            let starts =
                values.try_unary::<_, TimestampMicrosecondType, _>(|v| unit.start(v).ok_or_else(|| out_of_range(v)))?;
            Ok(Arc::new(starts))
        };
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(of(values)?),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&of(&value.to_array()?)?, 0)?)
            }
        })
    };
    create_udf("date_trunc", vec![DataType::Utf8, MICROSECONDS], MICROSECONDS, Volatility::Immutable, Arc::new(run))
});

static TEXT: LazyLock<ScalarUDF> = LazyLock::new(|| {
    let run = |args: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(args)?;
        let texts = texts(&arrays[0])?;
        Ok(match args {
            [ColumnarValue::Scalar(_)] if texts.len() == 1 => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&texts, 0)?)
            }
            _ => ColumnarValue::Array(texts),
        })
    };
    create_udf("timestamp_text", vec![MICROSECONDS], DataType::Utf8, Volatility::Immutable, Arc::new(run))
});

fn texts(times: &ArrayRef) -> DfResult<ArrayRef> {
    let options = FormatOptions::default().with_timestamp_format(Some(TIMESTAMP));
    let formatter = ArrayFormatter::try_new(times.as_ref(), &options)?;
    let texts = (0..times.len())
        .map(|i| match times.is_null(i) {
            true => Ok(None),
            false => formatter.value(i).try_to_string().map(Some),
        })
        .collect::<Result<StringArray, _>>()?;
    Ok(Arc::new(texts))
}
