//! Correlated subqueries that the engine would answer wrongly are refused.
//!
//! An aggregate without GROUP BY returns one row, also where it finds none. DataFusion turns EXISTS and IN into joins and
//! knows this only for subqueries that stand for a value. So EXISTS and IN over such an aggregate are refused, if it reads
//! rows that depend on the outer query.

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
                            "EXISTS over an aggregate without GROUP BY is not supported: it returns a row in any case; \
                             compare the value, as in (SELECT COUNT(*) …) > 0",
                        );
                    }
                    Expr::InSubquery(InSubquery { subquery, .. }) if has_lone_aggregate(&subquery.subquery)? => {
                        wrong = Some(
                            "IN over an aggregate without GROUP BY is not supported where it depends on the outer query; \
                             compare the value, as in x = (SELECT COUNT(*) …)",
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

/// Whether there is an aggregate without GROUP BY over rows that depend on the outer query.
fn has_lone_aggregate(subquery: &LogicalPlan) -> DfResult<bool> {
    subquery.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
            Ok(!aggregate.input.all_out_ref_exprs().is_empty())
        }
        _ => Ok(false),
    })
}
