//! Aggregates that are exact or fail.
//!
//! Every aggregate of a plan that a measure knows is computed in the type that makes it exact, and brought back with a
//! check (see `measure/widen.rs`). A plan is changed after the rewrite to indexes, so queries of both kinds and builds
//! are treated alike.

use crate::measure::{Back, MeasureFunction};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result as DfResult};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, ExprSchemable, LogicalPlan, Projection, Window, WindowFunctionDefinition,
};
use std::sync::Arc;

/// The plan with exact aggregates.
pub(crate) fn exact(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(plain) => {
            let Some(Exact { calls, restored }) = Exact::of(&plain.aggr_expr, plain.input.schema())? else {
                return Ok(Transformed::no(LogicalPlan::Aggregate(plain)));
            };
            let inner = Aggregate::try_new(plain.input.clone(), plain.group_expr.clone(), calls)?;
            projected(LogicalPlan::Aggregate(inner), &plain.schema, restored)
        }
        LogicalPlan::Window(plain) => {
            let Some(Exact { calls, restored }) = Exact::of(&plain.window_expr, plain.input.schema())? else {
                return Ok(Transformed::no(LogicalPlan::Window(plain)));
            };
            let inner = Window::try_new(calls, plain.input.clone())?;
            projected(LogicalPlan::Window(inner), &plain.schema, restored)
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

/// The calls of an aggregation or window, some of them widened.
struct Exact {
    /// The calls of the plan, then the counts that averages need.
    calls: Vec<Expr>,
    /// For each widened call, the value that was asked for, over its result.
    restored: Vec<Option<Expr>>,
}

impl Exact {
    /// `None` if every call is exact as it is.
    fn of(plain: &[Expr], schema: &DFSchema) -> DfResult<Option<Exact>> {
        let mut exact = Exact { calls: vec![], restored: vec![] };
        let mut counts = vec![];
        for (i, call) in plain.iter().enumerate() {
            match widened(call, schema)? {
                Some(Wide { call, count, back }) => {
                    let (name, counted) = (format!("exact{i}"), format!("count{i}"));
                    exact.calls.push(call.alias(&name));
                    counts.extend(count.map(|count| count.alias(&counted)));
                    let [result, counted] = [name, counted].map(|name| Expr::Column(Column::new_unqualified(name)));
                    exact.restored.push(Some(back.over(result, counted)));
                }
                None => {
                    exact.calls.push(call.clone());
                    exact.restored.push(None);
                }
            }
        }
        exact.calls.extend(counts);
        Ok(exact.restored.iter().any(Option::is_some).then_some(exact))
    }
}

/// A call with a wider argument.
struct Wide {
    call: Expr,
    /// The number of its values, if the way back needs it.
    count: Option<Expr>,
    back: Back,
}

/// The function and the arguments of an aggregate, also over a window.
fn parts(call: &mut Expr) -> Option<(&mut Arc<AggregateUDF>, &mut Vec<Expr>)> {
    match call {
        Expr::AggregateFunction(AggregateFunction { func, params }) => Some((func, &mut params.args)),
        Expr::WindowFunction(window) => match window.as_mut() {
            WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(func), params } => {
                Some((func, &mut params.args))
            }
            _ => None,
        },
        _ => None,
    }
}

/// A call with a wider argument, and the way back; `None` if it is exact as it is.
fn widened(call: &Expr, schema: &DFSchema) -> DfResult<Option<Wide>> {
    let mut call = call.clone().unalias_nested().data;
    let Some((function, args)) = parts(&mut call) else { return Ok(None) };
    let ([arg], Some(measure)) = (args.as_mut_slice(), MeasureFunction::of_aggregate(function.name())) else {
        return Ok(None);
    };
    let Some(wide) = measure.widened(arg, &arg.get_type(schema)?, schema) else {
        return Ok(None);
    };
    *arg = wide.arg;
    let mut count = None;
    if matches!(wide.back, Back::Mean) {
        *function = sum_udaf();
        let mut counted = call.clone();
        if let Some((function, _)) = parts(&mut counted) {
            *function = count_udaf();
        }
        count = Some(counted);
    }
    Ok(Some(Wide { call, count, back: wide.back }))
}

/// The columns of `inner` under the names of `schema`, the widened ones narrowed again. The results of the calls of `schema`
/// are its last columns; `inner` has counts after them.
fn projected(inner: LogicalPlan, schema: &DFSchema, restored: Vec<Option<Expr>>) -> DfResult<Transformed<LogicalPlan>> {
    let columns = inner.schema().columns();
    let kept = schema.fields().len() - restored.len();
    let restored = std::iter::repeat_n(None, kept).chain(restored);
    let output =
        restored.zip(schema.iter()).zip(columns).map(|((restored, (qualifier, field)), column)| match restored {
            None => Expr::Column(column),
            Some(expr) => expr.alias_qualified(qualifier.cloned(), field.name()),
        });
    let output = output.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(output, Arc::new(inner))?)))
}
