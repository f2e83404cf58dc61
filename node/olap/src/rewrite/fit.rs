//! Translates an aggregation over the star into one over the rows of an index.
//!
//! Each row of an index stands for `count(*)` rows of the star with the same dimensions. Therefore
//!
//! - expressions over dimensions (groups, filters, MIN or COUNT DISTINCT of a dimension) read them directly,
//! - a stored partial aggregate is merged,
//! - an aggregate of an expression over dimensions is weighted with `count(*)`.
//!
//! The measures decide between the last two (see [`crate::measure`]). Everything else is refused, and the reason names the
//! missing column or function.

use super::matching::{StarQuery, star_column};
use crate::error::Reason;
use crate::measure::{Call, Index, MeasureFunction, Partial, PartialKind};
use crate::model::Cuboid;
use crate::relation::{StarColumn, column};
use crate::star::Star;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{AggregateUDF, Expr, ExprSchemable};
use std::collections::HashSet;
use std::sync::Arc;

/// The qualifier of an index's columns in a rewritten plan.
pub(crate) const INDEX: &str = "index";

/// An aggregation in terms of the star.
pub(crate) struct Wanted {
    /// Group expressions, or a single grouping set.
    pub(crate) groups: Vec<Expr>,
    pub(crate) aggregates: Vec<Expr>,
    pub(crate) predicates: Vec<Expr>,
}

/// An aggregation in terms of an index.
pub(crate) struct Fit {
    pub(crate) groups: Vec<Expr>,
    /// Aggregates over the index, aliased `m0`, `m1`, …
    pub(crate) merges: Vec<Expr>,
    /// One expression per wanted aggregate, over the merges.
    pub(crate) outputs: Vec<Expr>,
    pub(crate) predicates: Vec<Expr>,
    /// Names of the stored partials that it reads.
    pub(crate) partials: Vec<String>,
}

/// Fits a wanted aggregation to a cuboid. The selection of segments covers the `absorbed` predicates.
pub(crate) fn fit(
    star: &Star,
    query: &StarQuery,
    cuboid: Cuboid,
    wanted: &Wanted,
    absorbed: &[usize],
) -> Result<Fit, Reason> {
    let mut fitting =
        Fitting { star, query, cuboid, schema: star.layout_schema(cuboid), merges: vec![], partials: vec![] };
    let mut predicates = query.matched.iter().map(|alias| fitting.matched(alias)).collect::<Result<Vec<_>, _>>()?;
    let filters = wanted
        .predicates
        .iter()
        .enumerate()
        .filter(|(i, _)| !absorbed.contains(i))
        .map(|(_, p)| fitting.resolve(p))
        .collect::<Result<Vec<_>, _>>()?;
    predicates.extend(filters);
    let groups = wanted.groups.iter().map(|g| fitting.resolve(g)).collect::<Result<Vec<_>, _>>()?;
    if groups.iter().any(|g| matches!(g, Expr::GroupingSet(_))) {
        let columns = |groups: &[Expr]| -> Result<usize, Reason> {
            let all = grouping_set_to_exprlist(groups).map_err(|e| e.strip_backtrace())?;
            Ok(all.into_iter().collect::<HashSet<_>>().len())
        };
        if columns(&groups)? != columns(&wanted.groups)? {
            // The sets could not be told apart.
            return Err("two columns of its grouping sets are one column of the index".into());
        }
    }
    let outputs = wanted.aggregates.iter().map(|a| fitting.aggregate(a)).collect::<Result<Vec<_>, _>>()?;
    Ok(Fit { groups, merges: fitting.merges, outputs, predicates, partials: fitting.partials })
}

struct Fitting<'a> {
    star: &'a Star,
    query: &'a StarQuery,
    cuboid: Cuboid,
    schema: SchemaRef,
    merges: Vec<Expr>,
    partials: Vec<String>,
}

impl Fitting<'_> {
    /// An expression over the star as one over the index's dimensions.
    fn resolve(&self, expr: &Expr) -> Result<Expr, Reason> {
        let mut missing = None;
        let resolved = expr.clone().transform(|e| {
            let Some(wanted) = star_column(&e) else {
                return Ok(Transformed::no(e));
            };
            Ok(match self.dimension(&wanted) {
                Some(name) => Transformed::yes(column(INDEX, &name)),
                None => {
                    missing = Some(wanted);
                    Transformed::new(e, false, TreeNodeRecursion::Stop)
                }
            })
        });
        let resolved = resolved.map_err(|e| e.strip_backtrace())?;
        match missing {
            Some(c) if self.star.dimensions.iter().any(|(d, _)| *d == c) => Err(format!("it lacks the dimension {c}")),
            Some(c) => Err(format!("{c} is not a dimension of the model")),
            None => Ok(resolved.data),
        }
    }

    /// The condition that a lookup matched: one of its own keys is not NULL. The fact's key is not enough, since rows without
    /// a match have it, too.
    fn matched(&self, alias: &str) -> Result<Expr, Reason> {
        let lookup = self.star.lookups.iter().find(|l| l.alias == alias);
        let keys = lookup
            .into_iter()
            .flat_map(|l| &l.keys)
            .map(|k| StarColumn { alias: alias.into(), column: k.lookup.clone() });
        match keys.clone().find(|c| self.has(c)) {
            Some(key) => Ok(column(INDEX, &key.to_string()).is_not_null()),
            None => {
                let in_model = keys.clone().find(|c| self.star.dimensions.iter().any(|(d, _)| d == c));
                let remedy = match (in_model, keys.clone().next()) {
                    (Some(key), _) => {
                        format!("the index lacks the dimension {key}; write LEFT JOIN, or add it to the index")
                    }
                    (None, Some(key)) => format!("add {key} as a dimension of the model, or write LEFT JOIN"),
                    (None, None) => "write LEFT JOIN".to_owned(),
                };
                Err(format!("the query joins {alias} INNER, the model LEFT; {remedy}"))
            }
        }
    }

    /// Whether a star column is one of the index's dimensions.
    fn has(&self, column: &StarColumn) -> bool {
        self.cuboid.dimensions().any(|i| self.star.dimensions[i].0 == *column)
    }

    /// The name of the index's column that holds a star column.
    fn dimension(&self, wanted: &StarColumn) -> Option<String> {
        let has = |c: &StarColumn| self.has(c);
        if has(wanted) {
            return Some(wanted.to_string());
        }
        // In rows where a lookup matched, its key equals the fact's key, so either can be read.
        for lookup in self.star.lookups.iter().filter(|l| self.query.equated.contains(&l.alias)) {
            for key in lookup.keys.iter().filter(|k| k.same_type) {
                let fact = StarColumn { alias: self.star.alias.clone(), column: key.fact.clone() };
                let other = StarColumn { alias: lookup.alias.clone(), column: key.lookup.clone() };
                if *wanted == fact && has(&other) {
                    return Some(other.to_string());
                }
                if *wanted == other && has(&fact) {
                    return Some(fact.to_string());
                }
            }
        }
        None
    }

    /// An aggregate over the star as one over what the index has merged.
    fn aggregate(&mut self, expr: &Expr) -> Result<Expr, Reason> {
        let expr = expr.clone().unalias_nested().data;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = &expr else {
            return Err(format!("{} is not a plain aggregate", expr.schema_name()));
        };
        let shown = expr.schema_name().to_string();
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(format!("{shown} depends on the order of rows"));
        }
        let filter = params.filter.as_ref().map(|f| self.resolve(f).map(Box::new)).transpose()?;
        let call = Call { function: func, args: &params.args, distinct: params.distinct, filter, shown: &shown };
        match MeasureFunction::of_aggregate(func.name()) {
            Some(measure) => measure.answer(&call, self),
            None if COPIES_MAKE_NO_DIFFERENCE.contains(&func.name()) => self.over_dimensions(&call),
            None => Err(call.refused()),
        }
    }

    fn index_schema(&self) -> Result<DFSchema, Reason> {
        DFSchema::try_from_qualified_schema(TableReference::bare(INDEX), &self.schema).map_err(|e| e.strip_backtrace())
    }

    /// The column of an argument, through casts that do not change the result of an aggregate.
    fn measured(&self, arg: &Expr) -> Option<(StarColumn, DataType)> {
        if let Some(column) = star_column(arg) {
            let data_type = self.star.column_type(&column)?.arrow();
            return Some((column, data_type));
        }
        let Expr::Cast(cast) = arg else {
            return None;
        };
        let (column, from) = self.measured(&cast.expr)?;
        let to = cast.field.data_type().clone();
        let lossless = match (&from, &to) {
            (from, to) if from == to => true,
            (from, DataType::Float64) => from.is_numeric(),
            (from, to) if from.is_signed_integer() && to.is_signed_integer() => {
                from.primitive_width() <= to.primitive_width()
            }
            (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) => s == t && p <= q,
            _ => false,
        };
        lossless.then_some((column, to))
    }

    /// The index's column of a partial.
    fn read(&mut self, is_wanted: impl Fn(&Partial) -> bool) -> Option<Expr> {
        let name = self.star.partials.iter().find(|p| is_wanted(p))?.name();
        let expr = column(INDEX, &name);
        if !self.partials.contains(&name) {
            self.partials.push(name);
        }
        Some(expr)
    }

    /// Adds an aggregate over the index, once, and refers to its result.
    fn add(&mut self, func: Arc<AggregateUDF>, args: Vec<Expr>, distinct: bool, filter: Option<Box<Expr>>) -> Expr {
        let params = AggregateFunctionParams { args, distinct, filter, order_by: vec![], null_treatment: None };
        let merge = Expr::AggregateFunction(AggregateFunction { func, params });
        let position = self.merges.iter().position(|m| matches!(m, Expr::Alias(a) if *a.expr == merge));
        let i = position.unwrap_or_else(|| {
            self.merges.push(merge.alias(format!("m{}", self.merges.len())));
            self.merges.len() - 1
        });
        Expr::Column(Column::new_unqualified(format!("m{i}")))
    }
}

/// Aggregates that no measure stores and whose result does not depend on the number of equal rows.
const COPIES_MAKE_NO_DIFFERENCE: [&str; 5] = ["bool_and", "bool_or", "bit_and", "bit_or", "approx_distinct"];

impl Index for Fitting<'_> {
    fn stored(&mut self, arg: &Expr, kind: PartialKind) -> Option<Expr> {
        let (column, _) = self.measured(arg)?;
        self.read(|p| p.kind == kind && p.column.as_ref() == Some(&column))
    }

    fn rows(&mut self) -> Option<Expr> {
        let rows = Partial::rows();
        self.read(|p| *p == rows)
    }

    fn resolve(&self, expr: &Expr) -> Result<Expr, Reason> {
        Fitting::resolve(self, expr)
    }

    fn type_of(&self, resolved: &Expr) -> Result<DataType, Reason> {
        resolved.get_type(&self.index_schema()?).map_err(|e| e.strip_backtrace())
    }

    fn type_of_argument(&self, arg: &Expr) -> Result<DataType, Reason> {
        if let Expr::Cast(cast) = arg {
            return Ok(cast.field.data_type().clone());
        }
        if let Some(sql_type) = star_column(arg).and_then(|c| self.star.column_type(&c)) {
            return Ok(sql_type.arrow());
        }
        self.type_of(&self.resolve(arg)?)
    }

    fn merge(&mut self, function: Arc<AggregateUDF>, arg: Expr, call: &Call<'_>) -> Expr {
        self.add(function, vec![arg], false, call.filter.clone())
    }

    fn over_dimensions(&mut self, call: &Call<'_>) -> Result<Expr, Reason> {
        let args = call.args.iter().map(|a| self.resolve(a)).collect::<Result<Vec<_>, _>>();
        let args = args.map_err(|why| format!("{}: {why}", call.shown))?;
        Ok(self.add(call.function.clone(), args, call.distinct, call.filter.clone()))
    }

    fn lacks(&self, call: &Call<'_>, measure: &str, arg: &Expr) -> Reason {
        let shown = call.shown;
        match self.measured(arg) {
            Some((column, _)) => format!(
                "{shown}: the model has no measure {measure} of {column}, and it is not a dimension of the index"
            ),
            None => format!("{shown}: it is not a measure, and not an expression over dimensions of the index"),
        }
    }
}
