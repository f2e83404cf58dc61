//! Changes the expressions of a plan and keeps the names of its columns.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// The plan with each expression changed from the leaves up, under its name. `change` also receives the schema of the
/// columns that the expression names.
pub(crate) fn each_expression(
    plan: LogicalPlan,
    change: &dyn Fn(Expr, &DFSchema) -> DfResult<Transformed<Expr>>,
) -> DfResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let schema = merge_schema(&node.inputs());
        under_their_names(node, &|expr| expr.transform_up(|e| change(e, &schema)))
    })?;
    Ok(changed.data)
}

/// The node with its whole expressions changed, each under its name.
pub(crate) fn under_their_names(
    node: LogicalPlan,
    change: &dyn Fn(Expr) -> DfResult<Transformed<Expr>>,
) -> DfResult<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        if let Expr::GroupingSet(sets) = expr {
            return grouping_sets(sets, &|expr: Expr| {
                let (relation, name) = expr.qualified_name();
                let changed = change(expr)?;
                Ok(match changed.transformed {
                    true => changed.update_data(|e| e.alias_qualified(relation, name)),
                    false => changed,
                })
            });
        }
        let name = names.save(&expr);
        let changed = change(expr)?;
        Ok(if changed.transformed { changed.update_data(|e| name.restore(e)) } else { changed })
    })
}

/// Changes the members of grouping sets. A grouping set has no name, but its members have.
fn grouping_sets(
    sets: GroupingSet,
    change: &dyn Fn(Expr) -> DfResult<Transformed<Expr>>,
) -> DfResult<Transformed<Expr>> {
    let mut transformed = false;
    let mut each = |list: Vec<Expr>| -> DfResult<Vec<Expr>> {
        let changed = list.into_iter().map(change).collect::<DfResult<Vec<_>>>()?;
        transformed |= changed.iter().any(|c| c.transformed);
        Ok(changed.into_iter().map(|c| c.data).collect())
    };
    let sets = match sets {
        GroupingSet::Rollup(list) => GroupingSet::Rollup(each(list)?),
        GroupingSet::Cube(list) => GroupingSet::Cube(each(list)?),
        GroupingSet::GroupingSets(lists) => {
            GroupingSet::GroupingSets(lists.into_iter().map(each).collect::<DfResult<_>>()?)
        }
    };
    let expr = Expr::GroupingSet(sets);
    Ok(if transformed { Transformed::yes(expr) } else { Transformed::no(expr) })
}
