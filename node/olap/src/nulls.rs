//! Protects conditions whose NULL the engine would lose.
//!
//! DataFusion's simplifier merges lists of the same value: `a IN (1) AND a IN (2)` becomes FALSE, and `a NOT IN (1) OR a NOT
//! IN (2)` becomes TRUE, also if `a` is NULL. It does the same with chains such as `a = 1 OR a = 2`. It compares the members
//! of two lists by their text, so `a IN (b) AND a IN (c)` becomes FALSE, and treats NULL in `a NOT IN (1, NULL)` as an
//! ordinary value. Lists are therefore hidden behind a function that returns its argument. A list of constants stays as it
//! is if it is a condition of a filter joined by AND, where FALSE and NULL are the same. `~ '.*'` and `^` have similar rules.

use crate::expressions::under_their_names;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::{Arc, LazyLock};

/// The plan with conditions that the simplifier does not change wrongly.
pub(crate) fn kept(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let mut lists = 0;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                let found = is_list(expr);
                lists += usize::from(found);
                Ok(if found { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    let several = lists > 1;
    let kept = plan.transform_up_with_subqueries(|node| {
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        under_their_names(node, &|expr| if is_filter { conditions(expr, several) } else { hidden(expr, several) })
    })?;
    Ok(kept.data)
}

/// The conditions of a filter.
fn conditions(expr: Expr, several: bool) -> DfResult<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            let (left, right) = (conditions(*left, several)?, conditions(*right, several)?);
            let transformed = left.transformed || right.transformed;
            let both = BinaryExpr::new(Box::new(left.data), Operator::And, Box::new(right.data));
            Ok(Transformed::new_transformed(Expr::BinaryExpr(both), transformed))
        }
        expr if is_list(&expr) && !is_odd(&expr) => Ok(Transformed::no(expr)),
        other => hidden(other, several),
    }
}

/// Other expressions: lists are hidden if there are several that could be merged.
fn hidden(expr: Expr, several: bool) -> DfResult<Transformed<Expr>> {
    expr.transform_down(|expr| {
        Ok(match expr {
            expr if is_list(&expr) => {
                let hide = several || is_odd(&expr);
                let expr = if hide { hide_one(expr) } else { expr };
                Transformed::new(expr, hide, TreeNodeRecursion::Jump)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_any(&op, &right) => {
                let op = match op {
                    Operator::RegexMatch | Operator::RegexIMatch => Operator::Eq,
                    _ => Operator::NotEq,
                };
                Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(left.clone(), op, left)))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::BitwiseXor, right }) => {
                let right = Box::new(hide_one(*right));
                Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: Operator::BitwiseXor, right }))
            }
            other => Transformed::no(other),
        })
    })
}

fn hide_one(expr: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(KEPT.clone(), vec![expr]))
}

/// IN with a list, or a chain of comparisons of columns with constants, which the simplifier turns into a list.
fn is_list(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => is_equality(left) && is_equality(right),
        _ => false,
    }
}

fn is_equality(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => is_equality(left) && is_equality(right),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            matches!((&**left, &**right), (Expr::Column(_), Expr::Literal(..)) | (Expr::Literal(..), Expr::Column(_)))
        }
        other => matches!(other, Expr::InList(InList { negated: false, .. })),
    }
}

/// Whether a list has NULL or a member that is not a constant.
fn is_odd(expr: &Expr) -> bool {
    match expr {
        Expr::InList(InList { list, .. }) => {
            list.iter().any(|member| !matches!(member, Expr::Literal(value, _) if !value.is_null()))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => is_odd(left) || is_odd(right),
        _ => false,
    }
}

/// Whether it is a match with `.*`, which every text matches.
fn is_any(op: &Operator, pattern: &Expr) -> bool {
    let is_match =
        matches!(op, Operator::RegexMatch | Operator::RegexIMatch | Operator::RegexNotMatch | Operator::RegexNotIMatch);
    is_match && is_text(pattern, ".*")
}

/// Whether it is this text, of any type.
fn is_text(expr: &Expr, text: &str) -> bool {
    match expr {
        Expr::Literal(value, _) => value.try_as_str() == Some(Some(text)),
        Expr::Cast(cast) => is_text(&cast.expr, text),
        _ => false,
    }
}

static KEPT: LazyLock<Arc<ScalarUDF>> =
    LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(Kept { signature: Signature::any(1, Volatility::Immutable) })));

/// Returns its argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kept {
    signature: Signature,
}

impl ScalarUDFImpl for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    // Like the argument's, so that no schema changes.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(args.arg_fields[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args.into_iter().next().unwrap_or(ColumnarValue::Scalar(ScalarValue::Null)))
    }
}
