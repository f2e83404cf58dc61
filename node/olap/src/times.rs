//! Timestamps of this family: microseconds, and text with a space.
//!
//! DataFusion compares timestamps with text, and with the results of its functions, in nanoseconds, which end in the year
//! 2262. It writes a timestamp as text with a `T`. After the analysis of a plan, all timestamps are therefore converted to
//! microseconds, and a cast of a timestamp to text writes the same text as an answer.

use crate::expressions::under_their_names;
use datafusion::arrow::array::{Array, ArrayRef, StringArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
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
