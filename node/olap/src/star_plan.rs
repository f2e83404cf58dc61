//! Plans over a star: its join, the rows of a range, groups of rows, and merged groups.

use crate::error::Result;
use crate::measure::Partial;
use crate::model::JoinKind;
use crate::relation::{StarColumn, column, scan};
use crate::segment::SegmentRange;
use crate::sql_type::SqlType;
use crate::star::{Star, StarPartition};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::collect;
use std::sync::Arc;

/// The fact table joined with the named lookups, under the star's aliases.
pub(crate) fn join_star(
    star: &Star,
    lookups: &[&str],
    fact_filter: Option<Expr>,
    provider: impl Fn(&str) -> Result<Arc<dyn TableProvider>>,
) -> Result<LogicalPlanBuilder> {
    let mut plan = scan(&star.alias, provider(&star.alias)?)?;
    if let Some(filter) = fact_filter {
        plan = plan.filter(filter)?;
    }
    for lookup in star.lookups.iter().filter(|l| lookups.contains(&l.alias.as_str())) {
        let right = scan(&lookup.alias, provider(&lookup.alias)?)?.build()?;
        let keys = lookup.keys.iter().map(|k| column(&star.alias, &k.fact).eq(column(&lookup.alias, &k.lookup)));
        let kind = match lookup.join {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
        };
        plan = plan.join_on(right, kind, keys)?;
    }
    Ok(plan)
}

impl StarPartition {
    /// The partition column in the type of its bounds.
    fn comparable(&self) -> Expr {
        let column = column(&self.column.alias, &self.column.column);
        if self.kind.compares_as_bigint() { cast(column, SqlType::BigInt.arrow()) } else { column }
    }

    /// The condition of the rows of a range of time.
    pub(crate) fn in_range(&self, start_ms: i64, end_ms: i64) -> Expr {
        let literal = |ms| -> Expr {
            let value: ScalarValue = self.kind.literal(&self.kind.tick(ms));
            Expr::Literal(value, None)
        };
        self.comparable().gt_eq(literal(start_ms)).and(self.comparable().lt(literal(end_ms)))
    }

    /// Whether a star column is the partition column.
    pub(crate) fn is(&self, column: &StarColumn) -> bool {
        self.column == *column
    }
}

impl Star {
    /// The condition of the rows of a range; `None` if it contains every row.
    pub(crate) fn in_range(&self, range: SegmentRange) -> Option<Expr> {
        match range {
            SegmentRange::Full => None,
            SegmentRange::Time { start_ms, end_ms } => {
                self.partition.as_ref().map(|partition| partition.in_range(start_ms, end_ms))
            }
        }
    }
}

/// The input of an aggregation.
pub(crate) enum Input<'a> {
    /// Rows of the star, by column.
    Rows(&'a dyn Fn(&StarColumn) -> Expr),
    /// Groups of an index, by the name of the partial.
    Partials(&'a dyn Fn(&str) -> Expr),
}

/// Groups rows, or merges groups. The output has the groups, then the partials, each under its name.
pub(crate) fn aggregate(
    plan: LogicalPlanBuilder,
    groups: Vec<(Expr, String)>,
    partials: &[Partial],
    input: Input<'_>,
) -> Result<LogicalPlanBuilder> {
    let mut aggregates = vec![];
    let mut output: Vec<Expr> = groups.iter().map(|(e, name)| e.clone().alias(name)).collect();
    for partial in partials {
        let stored = partial.name();
        let aggregate = match &input {
            Input::Rows(of) => partial.build(of),
            Input::Partials(of) => partial.merge(of(&stored)),
        };
        let merged = format!("{stored}'");
        aggregates.push(aggregate.alias(&merged));
        output.push(Expr::Column(Column::new_unqualified(merged)).alias(stored));
    }
    Ok(plan.aggregate(groups.into_iter().map(|(e, _)| e).collect::<Vec<_>>(), aggregates)?.project(output)?)
}

/// The number of rows of a plan.
pub(crate) async fn count(state: &SessionState, plan: LogicalPlanBuilder) -> Result<u64> {
    let plan = plan.aggregate(Vec::<Expr>::new(), [expr_fn::count(lit(1i64))])?.build()?;
    let batches = collect(state.create_physical_plan(&plan).await?, state.task_ctx()).await?;
    let counts = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec());
    Ok(counts.sum::<i64>() as u64)
}
