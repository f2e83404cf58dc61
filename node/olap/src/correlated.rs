//! Refuses correlated subqueries that the engine would answer wrongly.
//!
//! An aggregate without GROUP BY returns one row, also for an empty input. DataFusion turns EXISTS and IN into joins, which
//! lose this row; it handles only scalar subqueries. EXISTS and IN over such an aggregate are therefore refused if its
//! input depends on the outer query.

use crate::error::{Error, Result};
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Fails if the analysed plan has such a subquery.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut wrong = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::Exists(Exists { subquery, .. }) if has_lone_aggregate(&subquery.subquery)? => {
                        wrong = Some(
                            "EXISTS over an aggregate without GROUP BY is not supported, because it always returns a row; \
                             compare the value, for example (SELECT COUNT(*) …) > 0",
                        );
                    }
                    Expr::InSubquery(InSubquery { subquery, .. }) if has_lone_aggregate(&subquery.subquery)? => {
                        wrong = Some(
                            "IN over an aggregate without GROUP BY is not supported if it depends on the outer query; \
                             compare the value, for example x = (SELECT COUNT(*) …)",
                        );
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match wrong {
        Some(problem) => Err(Error::Sql(problem.into())),
        None => Ok(()),
    }
}

/// Whether it has an aggregate without GROUP BY whose input depends on the outer query.
fn has_lone_aggregate(subquery: &LogicalPlan) -> DfResult<bool> {
    subquery.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            Ok(!aggregate.input.all_out_ref_exprs().is_empty())
        }
        _ => Ok(false),
    })
}
