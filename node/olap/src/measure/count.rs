//! COUNT: the number of rows, or of values that are not NULL.

use super::kind::{Call, Index, Kind, Partial, PartialKind, Stored};
use super::total::{Reads, Running};
use crate::error::Reason;
use crate::sql_type::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result as DfResult;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::{Expr, lit, when};

/// The measure.
pub(super) struct Count;

/// COUNT(*).
pub(crate) const ROWS: PartialKind = PartialKind(&Rows);
/// The number of values that are not NULL.
pub(crate) const COUNT: PartialKind = PartialKind(&Values);

impl Kind for Count {
    fn aggregate(&self) -> &'static str {
        "count"
    }

    fn needs_column(&self) -> bool {
        false
    }

    fn partials(&self, _: &str, _: SqlType) -> Result<Vec<(PartialKind, SqlType)>, Reason> {
        Ok(vec![(COUNT, SqlType::BigInt)])
    }

    fn answer(&self, call: &Call<'_>, index: &mut dyn Index) -> Result<Expr, Reason> {
        if call.distinct {
            return index.over_dimensions(call);
        }
        let arg = call.only_argument()?;
        counted(arg, call, index).ok_or_else(|| index.lacks(call, "COUNT", arg))
    }
}

/// COUNT of an argument: all rows if it is a constant, a stored count, or the number of rows whose dimensions make it
/// not NULL.
pub(super) fn counted(arg: &Expr, call: &Call<'_>, index: &mut dyn Index) -> Option<Expr> {
    let counted = match arg {
        Expr::Literal(value, _) if !value.is_null() => index.rows()?,
        _ => match index.stored(arg, COUNT) {
            Some(stored) => stored,
            None => {
                let resolved = index.resolve(arg).ok()?;
                let rows = index.rows()?;
                when(resolved.is_not_null(), rows).otherwise(lit(0i64)).ok()?
            }
        },
    };
    let sum = index.merge(sum_udaf(), counted, call);
    // COUNT is never NULL, and what stands above may rely on that. A SUM of no rows is NULL.
    Some(coalesce(vec![sum, lit(0i64)]))
}

impl Partial {
    /// COUNT(*), which every index stores.
    pub(crate) fn rows() -> Partial {
        Partial { kind: ROWS, column: None, sql_type: SqlType::BigInt }
    }
}

struct Rows;

impl Stored for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    fn column_name(&self, _: &str) -> String {
        "count(*)".into()
    }

    fn build(&self, value: Expr, _: DataType) -> Expr {
        expr_fn::count(value)
    }

    fn merge(&self, partial: Expr) -> Expr {
        expr_fn::sum(partial)
    }

    fn of_row(&self, _: Expr, _: DataType) -> DfResult<Expr> {
        Ok(lit(1i64))
    }

    fn reads(&self, _: String, _: DataType) -> Reads {
        Reads::EachRow
    }

    fn total(&self, _: &DataType) -> DfResult<Running> {
        Ok(Running::exact())
    }
}

struct Values;

impl Stored for Values {
    fn name(&self) -> &'static str {
        "count"
    }

    fn build(&self, value: Expr, _: DataType) -> Expr {
        expr_fn::count(value)
    }

    fn merge(&self, partial: Expr) -> Expr {
        expr_fn::sum(partial)
    }

    fn of_row(&self, value: Expr, _: DataType) -> DfResult<Expr> {
        when(value.is_null(), lit(0i64)).otherwise(lit(1i64))
    }

    fn reads(&self, column: String, _: DataType) -> Reads {
        Reads::EachValue(column)
    }

    fn total(&self, _: &DataType) -> DfResult<Running> {
        Ok(Running::exact())
    }
}
