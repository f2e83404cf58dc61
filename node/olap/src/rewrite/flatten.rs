//! Brings the input of an aggregation into a normal form: scans, joins, predicates, output expressions.
//!
//! SQL can express the same star in many ways: joins in any order, comma joins with conditions in WHERE, derived tables,
//! CTEs, views, renamed columns. Inlining every projection and collecting every predicate leaves one form, which the
//! matcher compares with a model. The input is the analysed plan before optimisation, which still has the structure of the
//! SQL. Other operators (LIMIT, UNION, windows, nested aggregations, correlated subqueries) are refused.

use crate::error::Reason;
use crate::source::RawTable;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, TableReference};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, LogicalPlan};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A scan of a raw table. Two scans of one table are two occurrences.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    /// The qualifier of its columns in the expressions of a [`Flat`].
    pub(crate) name: String,
    /// Key of the table.
    pub(crate) table: String,
}

/// A LEFT join of one occurrence to the rest.
#[derive(Debug, Clone)]
pub(crate) struct LeftJoin {
    pub(crate) right: Occurrence,
    /// Conjuncts of the condition.
    pub(crate) on: Vec<Expr>,
}

/// Select, project, join in normal form. Columns in all expressions are qualified by occurrence.
#[derive(Debug)]
pub(crate) struct Flat {
    /// Inner-joined occurrences.
    pub(crate) inner: Vec<Occurrence>,
    pub(crate) left: Vec<LeftJoin>,
    /// Join conditions of inner joins and filters.
    pub(crate) predicates: Vec<Expr>,
    /// One expression per column of the plan's schema.
    pub(crate) output: Vec<Expr>,
}

/// The raw table that a scan reads, if it reads one.
pub(crate) fn raw_table(plan: &LogicalPlan) -> Option<String> {
    let LogicalPlan::TableScan(scan) = plan else {
        return None;
    };
    let provider = source_as_provider(&scan.source).ok()?;
    provider.downcast_ref::<RawTable>().map(|raw| raw.table().key())
}

pub(crate) fn flatten(plan: &LogicalPlan, next: &AtomicUsize) -> Result<Flat, Reason> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = raw_table(plan).ok_or("it reads something that is not a table")?;
            if !scan.filters.is_empty() || scan.fetch.is_some() {
                return Err("its scan already has a filter".into());
            }
            let name = format!("#{}", next.fetch_add(1, Ordering::Relaxed));
            let output = scan
                .projected_schema
                .fields()
                .iter()
                .map(|f| Expr::Column(Column::new(Some(TableReference::bare(name.as_str())), f.name())))
                .collect();
            Ok(Flat { inner: vec![Occurrence { name, table }], left: vec![], predicates: vec![], output })
        }
        LogicalPlan::SubqueryAlias(alias) => flatten(&alias.input, next),
        LogicalPlan::Projection(projection) => {
            let mut flat = flatten(&projection.input, next)?;
            let output = projection.expr.iter().map(|e| inline(e, projection.input.schema(), &flat.output));
            flat.output = output.collect::<Result<_, _>>()?;
            Ok(flat)
        }
        LogicalPlan::Filter(filter) => {
            let mut flat = flatten(&filter.input, next)?;
            let predicate = inline(&filter.predicate, filter.input.schema(), &flat.output)?;
            flat.predicates.extend(split_conjunction_owned(predicate));
            Ok(flat)
        }
        // The order of rows does not change an aggregation that an index can answer.
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => flatten(&sort.input, next),
        LogicalPlan::Join(join) => {
            if join.null_equality != NullEquality::NullEqualsNothing {
                return Err("it joins NULL keys".into());
            }
            let left = flatten(&join.left, next)?;
            let right = flatten(&join.right, next)?;
            let wide: Vec<Expr> = left.output.iter().chain(&right.output).cloned().collect();
            let mut on = vec![];
            for (l, r) in &join.on {
                let l = inline(l, join.left.schema(), &left.output)?;
                on.push(l.eq(inline(r, join.right.schema(), &right.output)?));
            }
            if let Some(filter) = &join.filter {
                let schema = join.left.schema().join(join.right.schema()).map_err(|e| e.strip_backtrace())?;
                on.extend(split_conjunction_owned(inline(filter, &schema, &wide)?));
            }
            match join.join_type {
                JoinType::Inner => Ok(Flat {
                    inner: left.inner.into_iter().chain(right.inner).collect(),
                    left: left.left.into_iter().chain(right.left).collect(),
                    predicates: left.predicates.into_iter().chain(right.predicates).chain(on).collect(),
                    output: wide,
                }),
                JoinType::Left => left_join(left, right, on, wide),
                JoinType::Right => left_join(right, left, on, wide),
                other => Err(format!("{other} joins are not answered from indexes")),
            }
        }
        other => Err(format!("it aggregates over {}", kind(other))),
    }
}

fn left_join(kept: Flat, optional: Flat, on: Vec<Expr>, output: Vec<Expr>) -> Result<Flat, Reason> {
    let [right] = optional.inner.as_slice() else {
        return Err("it LEFT joins something that is not one table".into());
    };
    if !optional.left.is_empty() || !optional.predicates.is_empty() {
        return Err(format!("it LEFT joins a filtered {}", right.table));
    }
    if let Some(computed) = optional.output.iter().find(|e| !matches!(e, Expr::Column(_))) {
        // Above the join, such an expression is NULL for rows without a match. Inlined, it might not be.
        return Err(format!("it LEFT joins a table with a computed column ({})", computed.schema_name()));
    }
    let mut left = kept.left;
    left.push(LeftJoin { right: right.clone(), on });
    Ok(Flat { inner: kept.inner, left, predicates: kept.predicates, output })
}

/// Rewrites an expression over the output of a plan as one over occurrences.
pub(crate) fn inline(expr: &Expr, schema: &DFSchema, output: &[Expr]) -> Result<Expr, Reason> {
    if expr.is_volatile() {
        return Err(format!("{} is volatile", expr.schema_name()));
    }
    let mut refused = None;
    let inlined = expr
        .clone()
        .unalias_nested()
        .data
        .transform(|e| {
            Ok(match &e {
                Expr::Column(c) => Transformed::yes(output[schema.index_of_column(c)?].clone()),
                Expr::OuterReferenceColumn(_, c) => {
                    refused = Some(format!("it refers to {c} of an outer query"));
                    Transformed::no(e)
                }
                Expr::ScalarSubquery(s) | Expr::Exists(datafusion::logical_expr::expr::Exists { subquery: s, .. })
                    if !s.outer_ref_columns.is_empty() =>
                {
                    refused = Some("it has a correlated subquery".into());
                    Transformed::no(e)
                }
                Expr::InSubquery(i) if !i.subquery.outer_ref_columns.is_empty() => {
                    refused = Some("it has a correlated subquery".into());
                    Transformed::no(e)
                }
                Expr::SetComparison(_) => {
                    refused = Some("it compares with a set of rows".into());
                    Transformed::no(e)
                }
                _ => Transformed::no(e),
            })
        })
        .map_err(|e| e.strip_backtrace())?;
    match refused {
        Some(reason) => Err(reason),
        None => Ok(inlined.data),
    }
}

fn kind(plan: &LogicalPlan) -> &'static str {
    match plan {
        LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => "another aggregation",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Limit(_) => "a LIMIT",
        LogicalPlan::Sort(_) => "the first rows of an order",
        LogicalPlan::Union(_) => "a UNION",
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => "values",
        LogicalPlan::RecursiveQuery(_) => "a recursive query",
        _ => "something that is not a join of tables",
    }
}
