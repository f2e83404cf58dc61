//! MIN: the smallest value.

use super::kind::{Call, Index, Kind, PartialKind, Stored};
use super::total::Running;
use super::widen::Widened;
use crate::error::Reason;
use crate::sql_type::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::Expr;

/// The measure.
pub(super) struct Min;

/// The smallest value.
const MIN: PartialKind = PartialKind(&Smallest);

impl Kind for Min {
    fn aggregate(&self) -> &'static str {
        "min"
    }

    fn partials(&self, _: &str, sql_type: SqlType) -> Result<Vec<(PartialKind, SqlType)>, Reason> {
        Ok(vec![(MIN, sql_type)])
    }

    /// From the stored partial, or over dimensions: the number of equal rows makes no difference.
    fn answer(&self, call: &Call<'_>, index: &mut dyn Index) -> Result<Expr, Reason> {
        match call.args {
            [arg] => match index.stored(arg, MIN) {
                Some(stored) => Ok(index.merge(call.function.clone(), stored, call)),
                None => index.over_dimensions(call),
            },
            _ => index.over_dimensions(call),
        }
    }

    fn widened(&self, arg: &Expr, data_type: &DataType, _: &DFSchema) -> Option<Widened> {
        data_type.is_floating().then(|| Widened::ordered(arg, data_type.clone()))
    }
}

struct Smallest;

impl Stored for Smallest {
    fn name(&self) -> &'static str {
        "min"
    }

    fn build(&self, value: Expr, _: DataType) -> Expr {
        expr_fn::min(value)
    }

    fn merge(&self, partial: Expr) -> Expr {
        expr_fn::min(partial)
    }

    fn of_row(&self, value: Expr, _: DataType) -> DfResult<Expr> {
        Ok(value)
    }

    fn total(&self, stored: &DataType) -> DfResult<Running> {
        Running::least(stored)
    }
}
