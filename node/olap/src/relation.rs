//! Columns named by alias and name, and the expressions and scans that read them.

use crate::error::Result;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use std::fmt;
use std::sync::Arc;

/// A column of the star: `alias.column`, folded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StarColumn {
    pub(crate) alias: String,
    pub(crate) column: String,
}

impl fmt::Display for StarColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.alias, self.column)
    }
}

impl StarColumn {
    /// The column of a relation that has the alias.
    pub(crate) fn expr(&self) -> Expr {
        column(&self.alias, &self.column)
    }
}

/// A column of the relation with this alias.
pub(crate) fn column(alias: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(alias)), name))
}

/// Scans a table under an alias.
pub(crate) fn scan(alias: &str, provider: Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan(TableReference::bare(alias), provider_as_source(provider), None)?)
}
