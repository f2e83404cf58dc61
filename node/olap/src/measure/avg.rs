//! AVG: stored as SUM and COUNT.

use super::count::{COUNT, counted};
use super::kind::{Call, Index, Kind, PartialKind};
use super::sum::{Sum, summed};
use super::widen::{self, Widened};
use crate::error::Reason;
use crate::sql_type::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, cast};

/// The measure.
pub(super) struct Avg;

impl Kind for Avg {
    fn aggregate(&self) -> &'static str {
        "avg"
    }

    fn partials(&self, column: &str, sql_type: SqlType) -> Result<Vec<(PartialKind, SqlType)>, Reason> {
        let mut partials = Sum.partials(column, sql_type)?;
        partials.push((COUNT, SqlType::BigInt));
        Ok(partials)
    }

    fn answer(&self, call: &Call<'_>, index: &mut dyn Index) -> Result<Expr, Reason> {
        if call.distinct {
            return index.over_dimensions(call);
        }
        let arg = call.only_argument()?;
        if !index.type_of_argument(arg)?.is_floating() {
            return Err(format!("{} of DECIMAL is not answered from indexes; use SUM and COUNT", call.shown));
        }
        // The analysis makes a DOUBLE of an integer, which loses digits.
        let exact = match arg {
            Expr::Cast(cast) if index.type_of_argument(&cast.expr).is_ok_and(|t| t.is_integer()) => &cast.expr,
            _ => arg,
        };
        let sum = summed(exact, call, index)?.ok_or_else(|| index.lacks(call, "AVG", arg))?;
        let count = counted(arg, call, index).ok_or_else(|| index.lacks(call, "AVG", arg))?;
        Ok(cast(sum, DataType::Float64) / cast(count, DataType::Float64))
    }

    fn widened(&self, arg: &Expr, data_type: &DataType, schema: &DFSchema) -> Option<Widened> {
        match data_type {
            DataType::Float32 | DataType::Float64 => Some(match arg {
                // The analysis makes a DOUBLE of a BIGINT, which loses digits. The index adds up exactly.
                Expr::Cast(cast) if widen::is_wide_integer(&cast.expr, schema) => Widened::mean(&cast.expr),
                _ => Widened::float(arg),
            }),
            DataType::Decimal128(precision, scale) => {
                let back = DataType::Decimal128((precision + 4).min(38), (scale + 4).min(38));
                widen::decimal(arg, *precision, *scale, back)
            }
            _ => None,
        }
    }
}
