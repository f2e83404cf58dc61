//! The conditions of a query that use only the partition column.
//!
//! Such a condition can select segments instead of filtering rows. An index without the time dimension can then answer if
//! the bounds are those of segments. Literals may be wrapped in casts and arithmetic, so conditions are simplified first.

use super::matching::star_column;
use crate::partition::{PartitionKind, Tick, TickRange};
use crate::sql_type::SqlType;
use crate::star::StarPartition;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use std::collections::HashMap;
use std::sync::Arc;

/// The conditions of a query on the partition column.
#[derive(Debug, Clone, Default)]
pub(crate) struct TimeFilter {
    /// The conjunction of all conditions.
    pub(crate) range: TickRange,
    /// Their positions among the predicates of the query.
    pub(crate) predicates: Vec<usize>,
}

impl TimeFilter {
    pub(crate) fn of(predicates: &[Expr], partition: &StarPartition, sql_type: SqlType, state: &SessionState) -> Self {
        let mut filter = TimeFilter::default();
        for (i, predicate) in predicates.iter().enumerate() {
            let mut range = filter.range.clone();
            if narrow(predicate, partition, sql_type, state, &mut range).is_some() {
                filter.range = range;
                filter.predicates.push(i);
            }
        }
        filter
    }
}

/// Narrows a range by a predicate; `None` if the predicate is not such a condition.
fn narrow(
    predicate: &Expr,
    partition: &StarPartition,
    sql_type: SqlType,
    state: &SessionState,
    range: &mut TickRange,
) -> Option<()> {
    let columns = predicate.column_refs();
    if columns.len() != 1
        || !columns.iter().all(|c| star_column(&Expr::Column((*c).clone())).is_some_and(|c| partition.is(&c)))
    {
        return None;
    }
    let field = Field::new(&partition.column.column, sql_type.arrow(), true);
    let relation = TableReference::bare(partition.column.alias.as_str());
    let schema = DFSchema::new_with_metadata(vec![(Some(relation), Arc::new(field))], HashMap::new()).ok()?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema))
        .with_config_options(state.config_options().clone())
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simplified = ExprSimplifier::new(context).simplify(predicate.clone()).ok()?;
    for conjunct in split_conjunction(&simplified) {
        let (from, until) = bounds(conjunct, partition)?;
        if let Some(from) = from {
            range.at_least(from);
        }
        if let Some(until) = until {
            range.below(until);
        }
    }
    Some(())
}

type Bounds = (Option<Tick>, Option<Tick>);

fn bounds(expr: &Expr, partition: &StarPartition) -> Option<Bounds> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if is_partition(left, partition) {
                compared(*op, tick(right, partition.kind)?)
            } else if is_partition(right, partition) {
                compared(op.swap()?, tick(left, partition.kind)?)
            } else {
                None
            }
        }
        Expr::Between(between) if !between.negated && is_partition(&between.expr, partition) => {
            let (low, high) = (tick(&between.low, partition.kind)?, tick(&between.high, partition.kind)?);
            Some((Some(low), Some(high.successor())))
        }
        _ => None,
    }
}

fn compared(op: Operator, tick: Tick) -> Option<Bounds> {
    match op {
        Operator::Eq => Some((Some(tick.clone()), Some(tick.successor()))),
        Operator::GtEq => Some((Some(tick), None)),
        Operator::Gt => Some((Some(tick.successor()), None)),
        Operator::Lt => Some((None, Some(tick))),
        Operator::LtEq => Some((None, Some(tick.successor()))),
        _ => None,
    }
}

fn is_partition(expr: &Expr, partition: &StarPartition) -> bool {
    match expr {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 && partition.kind.compares_as_bigint() => {
            is_partition(&cast.expr, partition)
        }
        other => star_column(other).is_some_and(|c| partition.is(&c)),
    }
}

fn tick(expr: &Expr, kind: PartitionKind) -> Option<Tick> {
    match expr {
        Expr::Literal(value, _) => kind.tick_of(value),
        _ => None,
    }
}
