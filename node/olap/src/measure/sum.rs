//! SUM: exact for integers and decimals, or an error if it does not fit.

use super::kind::{Call, Index, Kind, PartialKind, Stored};
use super::total::Running;
use super::widen::{self, Widened};
use crate::error::Reason;
use crate::sql_type::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::functions_aggregate::expr_fn;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{Expr, cast};

/// The measure.
pub(super) struct Sum;

/// The sum of the values that are not NULL.
pub(crate) const SUM: PartialKind = PartialKind(&Summed);

impl Kind for Sum {
    fn aggregate(&self) -> &'static str {
        "sum"
    }

    fn partials(&self, column: &str, sql_type: SqlType) -> Result<Vec<(PartialKind, SqlType)>, Reason> {
        let not_a_number = || format!("cannot sum \"{column}\": it is {}, not a number", sql_type.full_name());
        Ok(vec![(SUM, sql_type.sum().ok_or_else(not_a_number)?)])
    }

    fn answer(&self, call: &Call<'_>, index: &mut dyn Index) -> Result<Expr, Reason> {
        if call.distinct {
            return index.over_dimensions(call);
        }
        let arg = call.only_argument()?;
        summed(arg, call, index)?.ok_or_else(|| index.lacks(call, "SUM", arg))
    }

    fn widened(&self, arg: &Expr, data_type: &DataType, schema: &DFSchema) -> Option<Widened> {
        match data_type {
            DataType::Float32 | DataType::Float64 => Some(Widened::float(arg)),
            DataType::Int64 if !widen::is_narrow(arg, schema) => {
                Some(Widened::cast(arg, DataType::Decimal128(19, 0), DataType::Int64))
            }
            DataType::Decimal128(precision, scale) => {
                widen::decimal(arg, *precision, *scale, DataType::Decimal128((precision + 10).min(38), *scale))
            }
            _ => None,
        }
    }
}

/// SUM of an argument: a stored sum, or an expression over dimensions weighted with the number of rows.
pub(super) fn summed(arg: &Expr, call: &Call<'_>, index: &mut dyn Index) -> Result<Option<Expr>, Reason> {
    if let Some(stored) = index.stored(arg, SUM) {
        return Ok(Some(index.merge(sum_udaf(), stored, call)));
    }
    let Ok(resolved) = index.resolve(arg) else {
        return Ok(None);
    };
    let wide = match index.type_of(&resolved)? {
        // The product of two BIGINTs may not fit in one.
        t if t.is_integer() => DataType::Decimal128(19, 0),
        t if t.is_floating() => DataType::Float64,
        _ => return Ok(None),
    };
    let Some(rows) = index.rows() else {
        return Ok(None);
    };
    let weighted = cast(resolved, wide.clone()) * cast(rows, wide);
    Ok(Some(index.merge(sum_udaf(), weighted, call)))
}

struct Summed;

impl Stored for Summed {
    fn name(&self) -> &'static str {
        "sum"
    }

    /// In the type that is stored: the sum of many BIGINTs does not fit in one.
    fn build(&self, value: Expr, stored: DataType) -> Expr {
        expr_fn::sum(cast(value, stored))
    }

    fn merge(&self, partial: Expr) -> Expr {
        expr_fn::sum(partial)
    }

    fn of_row(&self, value: Expr, stored: DataType) -> DfResult<Expr> {
        Ok(cast(value, stored))
    }

    fn total(&self, stored: &DataType) -> DfResult<Running> {
        Ok(Running::sum(stored))
    }
}
