//! Comparisons of decimals with floats.
//!
//! DataFusion compares a decimal with a float as DECIMAL(30,15). It reads `99999999.99` as a float, which then is
//! 99999999.989999994635582, and no decimal equals it. Before the analysis of a plan, a constant that is compared with a decimal
//! therefore becomes the decimal that the query names. A decimal that is compared with another float becomes a float, as in
//! PostgreSQL.

use crate::expressions::each_expression;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result as DfResult, ScalarValue};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, cast, lit};

/// The plan whose decimals are compared by value.
pub(crate) fn compared(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    each_expression(plan, &|expr, schema| Ok(one(expr, schema)))
}

fn one(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            let of = |sides: Vec<Expr>| {
                let [left, right] = <[Expr; 2]>::try_from(sides).expect("both sides");
                Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
            };
            alike(vec![*left, *right], schema, of)
        }
        Expr::Between(Between { expr, negated, low, high }) => alike(vec![*expr, *low, *high], schema, |sides| {
            let [expr, low, high] = <[Expr; 3]>::try_from(sides).expect("three sides").map(Box::new);
            Expr::Between(Between { expr, negated, low, high })
        }),
        Expr::InList(InList { expr, list, negated }) => {
            let sides = std::iter::once(*expr).chain(list).collect();
            alike(sides, schema, |mut sides| {
                let expr = Box::new(sides.remove(0));
                Expr::InList(InList { expr, list: sides, negated })
            })
        }
        other => Transformed::no(other),
    }
}

/// Values that are compared with each other, either without floats or without decimals.
fn alike(sides: Vec<Expr>, schema: &DFSchema, of: impl FnOnce(Vec<Expr>) -> Expr) -> Transformed<Expr> {
    let types: Vec<_> = sides.iter().map(|side| side.get_type(schema).ok()).collect();
    let is_decimal = |of: &Option<DataType>| matches!(of, Some(DataType::Decimal128(..) | DataType::Decimal256(..)));
    let is_float = |of: &Option<DataType>| of.as_ref().is_some_and(DataType::is_floating);
    if !types.iter().any(is_decimal) || !types.iter().any(is_float) {
        return Transformed::no(of(sides));
    }
    let exact: Option<Vec<Expr>> = sides
        .iter()
        .zip(&types)
        .map(|(side, data_type)| if is_float(data_type) { constant(side) } else { Some(side.clone()) })
        .collect();
    let floats = || {
        let float = |(side, data_type): (Expr, &Option<DataType>)| match is_decimal(data_type) {
            true => cast(side, DataType::Float64),
            false => side,
        };
        sides.clone().into_iter().zip(&types).map(float).collect()
    };
    Transformed::yes(of(exact.unwrap_or_else(floats)))
}

/// The decimal that a constant float is written as; `None` if it has none.
fn constant(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Negative(inner) => Some(Expr::Negative(Box::new(constant(inner)?))),
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => {
            // The shortest text that is this float. An `f64` has at most 17 digits that are certain.
            let text = value.abs().to_string();
            let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
            let digits = format!("{whole}{part}");
            if digits.len() > 38 || !digits.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let unscaled: i128 = digits.parse().ok()?;
            let unscaled = if value.is_sign_negative() { -unscaled } else { unscaled };
            let precision = u8::try_from(digits.len()).ok()?;
            Some(lit(ScalarValue::Decimal128(Some(unscaled), precision, i8::try_from(part.len()).ok()?)))
        }
        _ => None,
    }
}
