//! Decides whether a flattened query is (part of) a model's star, and translates it into the star's columns.
//!
//! The joined star of the model and the joined tables of the query must have the same rows, each once:
//!
//! - A lookup that the query does not join must be a LEFT join in the model. Its keys are unique, so it neither drops nor
//!   repeats rows.
//! - A lookup that the query joins INNER and the model LEFT adds the filter `lookup key IS NOT NULL`.
//! - Everything else is refused, with the reason.

use super::flatten::{Flat, Occurrence};
use crate::error::Reason;
use crate::model::JoinKind;
use crate::relation::{StarColumn, column};
use crate::star::{LookupKey, Star, StarLookup};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use std::collections::BTreeMap;

/// A query in terms of a star: columns are `alias.column` of the star.
#[derive(Debug, Clone)]
pub(crate) struct StarQuery {
    /// Filters, without the join conditions.
    pub(crate) predicates: Vec<Expr>,
    /// Aliases of lookups that the query joins INNER and the model LEFT. Rows without a match must be excluded.
    pub(crate) matched: Vec<String>,
    /// Aliases of lookups whose key equals the fact key in every row of the query.
    pub(crate) equated: Vec<String>,
    /// Occurrence name to star alias.
    aliases: BTreeMap<String, String>,
}

impl StarQuery {
    /// Maps the tables of the query to the star.
    pub(crate) fn find(flat: &Flat, star: &Star) -> Result<StarQuery, Reason> {
        let facts: Vec<&Occurrence> = flat.inner.iter().filter(|o| o.table == star.fact.key()).collect();
        if facts.is_empty() {
            return Err(format!("the query does not read the fact table {}", star.fact.name));
        }
        let mut reason = String::new();
        for fact in facts {
            match Self::with_fact(flat, star, fact) {
                Ok(found) => return Ok(found),
                Err(why) => reason = why,
            }
        }
        Err(reason)
    }

    fn with_fact(flat: &Flat, star: &Star, fact: &Occurrence) -> Result<StarQuery, Reason> {
        let mut aliases = BTreeMap::from([(fact.name.clone(), star.alias.clone())]);
        let mut free: Vec<&StarLookup> = star.lookups.iter().collect();
        let mut predicates: Vec<Option<Expr>> = flat.predicates.iter().cloned().map(Some).collect();
        let mut equated = vec![];
        let mut matched = vec![];
        for occurrence in flat.inner.iter().filter(|o| o.name != fact.name) {
            let found =
                free.iter().enumerate().filter(|(_, l)| l.table.key() == occurrence.table).find_map(|(i, l)| {
                    let keys: Option<Vec<usize>> = l
                        .keys
                        .iter()
                        .map(|key| {
                            predicates.iter().position(|p| p.as_ref().is_some_and(|p| is_key(p, fact, occurrence, key)))
                        })
                        .collect();
                    keys.map(|keys| (i, keys))
                });
            let Some((i, keys)) = found else {
                return Err(format!(
                    "the join of {} does not match the model",
                    occurrence.table.strip_prefix("default.").unwrap_or(&occurrence.table)
                ));
            };
            let lookup = free.remove(i);
            for key in keys {
                predicates[key] = None;
            }
            if lookup.join == JoinKind::Left {
                matched.push(lookup.alias.clone());
            }
            equated.push(lookup.alias.clone());
            aliases.insert(occurrence.name.clone(), lookup.alias.clone());
        }
        for join in &flat.left {
            let table = &join.right.table;
            let found = free.iter().position(|l| {
                l.table.key() == *table
                    && l.keys.len() == join.on.len()
                    && l.keys.iter().all(|key| join.on.iter().any(|p| is_key(p, fact, &join.right, key)))
            });
            let table = table.strip_prefix("default.").unwrap_or(table);
            let Some(i) = found else {
                return Err(format!("the join of {table} does not match the model"));
            };
            let lookup = free.remove(i);
            if lookup.join == JoinKind::Inner {
                return Err(format!("the query LEFT joins {table}; the model joins it INNER and has dropped rows"));
            }
            aliases.insert(join.right.name.clone(), lookup.alias.clone());
        }
        if let Some(lookup) = free.iter().find(|l| l.join == JoinKind::Inner) {
            return Err(format!(
                "the model joins {} INNER, which may drop rows, and the query does not join it",
                lookup.table.name
            ));
        }
        let mut query = StarQuery { predicates: vec![], matched, equated, aliases };
        let kept: Vec<Expr> = predicates.into_iter().flatten().map(|p| query.translate(&p)).collect();
        query.predicates = kept;
        Ok(query)
    }

    /// Translates an expression over occurrences to one over the star.
    pub(crate) fn translate(&self, expr: &Expr) -> Expr {
        let rename = |e: Expr| {
            Ok(match &e {
                Expr::Column(Column { relation: Some(relation), name, .. }) => {
                    match self.aliases.get(relation.table()) {
                        Some(alias) => Transformed::yes(column(alias, name)),
                        None => Transformed::no(e),
                    }
                }
                _ => Transformed::no(e),
            })
        };
        expr.clone().transform(rename).expect("renaming cannot fail").data
    }
}

/// Whether a predicate says `fact.key = lookup.key`.
fn is_key(predicate: &Expr, fact: &Occurrence, lookup: &Occurrence, key: &LookupKey) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = predicate else {
        return false;
    };
    let is = |e: &Expr, occurrence: &Occurrence, name: &str| {
        // Correct between integers only: as text, '1' and '01' differ.
        let e = if key.integers { without_widening(e) } else { e };
        matches!(e, Expr::Column(c)
            if c.relation == Some(TableReference::bare(occurrence.name.as_str())) && c.name == name)
    };
    (is(left, fact, &key.fact) && is(right, lookup, &key.lookup))
        || (is(right, fact, &key.fact) && is(left, lookup, &key.lookup))
}

/// Removes the cast to a wider integer, which the analyser adds to comparisons of integers of different width.
fn without_widening(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) if cast.field.data_type().is_integer() => cast.expr.as_ref(),
        other => other,
    }
}

/// The star column, if the expression is one.
pub(crate) fn star_column(expr: &Expr) -> Option<StarColumn> {
    match expr {
        Expr::Column(Column { relation: Some(relation), name, .. }) => {
            Some(StarColumn { alias: relation.table().to_string(), column: name.clone() })
        }
        _ => None,
    }
}
