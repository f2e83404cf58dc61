//! What a measure and its partials say, and what a measure asks of an index.

use super::total::{Reads, Running};
use super::widen::Widened;
use crate::error::Reason;
use crate::relation::StarColumn;
use crate::sql_type::SqlType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::{AggregateUDF, Expr, lit};
use std::fmt;
use std::sync::Arc;

/// What a measure does.
pub(crate) trait Kind: Sync {
    /// The aggregate of DataFusion that it answers.
    fn aggregate(&self) -> &'static str;

    /// Whether a definition must name a column. Without one, only the count of rows is stored, which every index has.
    fn needs_column(&self) -> bool {
        true
    }

    /// The partials that it stores for a column, each with the type of the stored values, or why it cannot measure the
    /// column. `column` is the name for the error.
    fn partials(&self, column: &str, sql_type: SqlType) -> Result<Vec<(PartialKind, SqlType)>, Reason>;

    /// Answers a call of its aggregate: an expression over what the index has merged.
    fn answer(&self, call: &Call<'_>, index: &mut dyn Index) -> Result<Expr, Reason>;

    /// The argument of its aggregate in a type that makes the aggregate exact; `None` if it is exact as it is.
    fn widened(&self, _arg: &Expr, _data_type: &DataType, _schema: &DFSchema) -> Option<Widened> {
        None
    }
}

/// How a partial is stored.
pub(crate) trait Stored: Sync {
    /// Its name, which tells it from every other partial.
    fn name(&self) -> &'static str;

    /// Its name in index files.
    fn column_name(&self, column: &str) -> String {
        format!("{}({column})", self.name())
    }

    /// The aggregate that makes it from rows. `stored` is its type in index files.
    fn build(&self, value: Expr, stored: DataType) -> Expr;

    /// The aggregate that makes it from partials of the same kind.
    fn merge(&self, partial: Expr) -> Expr;

    /// What it is for a group of one row.
    fn of_row(&self, value: Expr, stored: DataType) -> DfResult<Expr>;

    /// What its total over a flat table is taken from.
    fn reads(&self, column: String, stored: DataType) -> Reads {
        Reads::Values(column, stored)
    }

    /// Its total over nothing.
    fn total(&self, stored: &DataType) -> DfResult<Running>;
}

/// A kind of partials. Kinds are equal if their names are.
#[derive(Clone, Copy)]
pub(crate) struct PartialKind(pub(super) &'static dyn Stored);

impl PartialEq for PartialKind {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for PartialKind {}

impl fmt::Debug for PartialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// One stored partial aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) kind: PartialKind,
    /// `None` for the count of rows only.
    pub(crate) column: Option<StarColumn>,
    pub(crate) sql_type: SqlType,
}

impl Partial {
    /// Its column as text; nothing for the count of rows.
    fn column_text(&self) -> String {
        self.column.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The column's name in index files.
    pub(crate) fn name(&self) -> String {
        self.kind.0.column_name(&self.column_text())
    }

    fn value(&self, of: impl FnOnce(&StarColumn) -> Expr) -> Expr {
        self.column.as_ref().map_or_else(|| lit(1i64), of)
    }

    /// The aggregate that makes it from rows, whose columns `of` names.
    pub(crate) fn build(&self, of: impl FnOnce(&StarColumn) -> Expr) -> Expr {
        self.kind.0.build(self.value(of), self.sql_type.arrow())
    }

    /// The aggregate that makes it from partials of the same kind.
    pub(crate) fn merge(&self, partial: Expr) -> Expr {
        self.kind.0.merge(partial)
    }

    /// What it is for a group of one row, whose columns `of` names.
    pub(crate) fn of_row(&self, of: impl FnOnce(&StarColumn) -> Expr) -> DfResult<Expr> {
        self.kind.0.of_row(self.value(of), self.sql_type.arrow())
    }

    /// What its total over a flat table is taken from.
    pub(crate) fn reads_of_flat(&self) -> Reads {
        self.kind.0.reads(self.column_text(), self.sql_type.arrow())
    }

    /// What its total over an index is taken from.
    pub(crate) fn reads_of_index(&self) -> Reads {
        Reads::Values(self.name(), self.sql_type.arrow())
    }

    /// Its total over nothing.
    pub(crate) fn total(&self) -> DfResult<Running> {
        self.kind.0.total(&self.sql_type.arrow())
    }
}

/// A call of an aggregate in a query. Its columns are columns of the star.
pub(crate) struct Call<'a> {
    pub(crate) function: &'a Arc<AggregateUDF>,
    pub(crate) args: &'a [Expr],
    pub(crate) distinct: bool,
    /// Its FILTER, over the dimensions of the index.
    pub(crate) filter: Option<Box<Expr>>,
    /// The call as text, for errors.
    pub(crate) shown: &'a str,
}

impl Call<'_> {
    /// Its argument, if it has one.
    pub(super) fn only_argument(&self) -> Result<&Expr, Reason> {
        match self.args {
            [arg] => Ok(arg),
            _ => Err(self.refused()),
        }
    }

    /// Why an aggregate that is not stored is not answered.
    pub(crate) fn refused(&self) -> Reason {
        format!("{} cannot be made from stored aggregates", self.shown)
    }
}

/// What a measure asks of an index.
pub(crate) trait Index {
    /// The stored partial of the column that an argument is, if it is one and the index has it.
    fn stored(&mut self, arg: &Expr, kind: PartialKind) -> Option<Expr>;

    /// The stored COUNT(*).
    fn rows(&mut self) -> Option<Expr>;

    /// An expression over the star as one over the dimensions of the index.
    fn resolve(&self, expr: &Expr) -> Result<Expr, Reason>;

    /// The type of an expression over the index.
    fn type_of(&self, resolved: &Expr) -> Result<DataType, Reason>;

    /// The type of an expression over the star.
    fn type_of_argument(&self, arg: &Expr) -> Result<DataType, Reason>;

    /// Adds an aggregate over the index, once, and refers to its result.
    fn merge(&mut self, function: Arc<AggregateUDF>, arg: Expr, call: &Call<'_>) -> Expr;

    /// The same call over the dimensions of the index; right if the number of equal rows makes no difference to it.
    fn over_dimensions(&mut self, call: &Call<'_>) -> Result<Expr, Reason>;

    /// Why the index does not have what `measure` would store of an argument.
    fn lacks(&self, call: &Call<'_>, measure: &str, arg: &Expr) -> Reason;
}
