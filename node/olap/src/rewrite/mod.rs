//! Rewrites the plan of a query so that indexes answer its aggregations.
//!
//! Each aggregation of the analysed plan is rewritten on its own, innermost first:
//!
//! 1. Its input is brought into a normal form (`flatten`).
//! 2. The normal form is compared with the star of each model (`matching`).
//! 3. The aggregation is translated to each cuboid (`fit`).
//! 4. Of all indexes that fit, the one with the fewest rows is chosen. The aggregation is replaced by one over the files of
//!    that index, with the same columns under the same names. The operators above it (HAVING, ORDER BY, expressions, joins,
//!    outer aggregations) do not change.
//!
//! An index answers for READY segments only. A condition on the partition column selects segments. Where it cuts through a
//! segment, the index must have that column as a dimension. With `mix`, rows of ranges that are not built are read from the
//! raw tables, each as an index row of its own, and added to the rows of the index.

mod fit;
mod flatten;
mod matching;
mod time;

use crate::error::{Error, Reason};
use crate::index_files::{IndexCache, Owner};
use crate::index_table::IndexTable;
use crate::model::{Cuboid, JoinKind};
use crate::partition::Tick;
use crate::relation::{StarColumn, column, scan};
use crate::segment::{LayoutData, Segment, SegmentRange};
use crate::source::RawTable;
use crate::star::{Star, StarLookup, StarPartition};
use crate::star_plan::join_star;
use crate::table::Column;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::Result as DfResult;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::utils::{conjunction, disjunction, grouping_set_to_exprlist};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, not};
use fit::{Fit, INDEX, Wanted, fit};
use flatten::{Flat, flatten, inline};
use matching::StarQuery;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use time::TimeFilter;

pub(crate) use flatten::raw_table;

/// How the reason begins that a model does not answer because a partial answer is not accepted.
pub(crate) const LACKING: &str = "its segments lack ";

/// A model with its READY segments.
#[derive(Debug)]
pub(crate) struct Realizable {
    pub(crate) star: Star,
    segments: Vec<Segment>,
    /// READY segments that verification found wrong. No query uses them.
    wrong: Vec<Segment>,
    /// The reason why none of its segments can be used, if there is one.
    unusable: Option<Reason>,
    /// What was built, for each cuboid of the star and each segment.
    built: Vec<Vec<Built>>,
}

/// A cuboid in a segment: its position in the manifest, and the partials that cannot be read, with the reasons.
#[derive(Debug)]
enum Built {
    At { layout: usize, unreadable: Vec<(String, Reason)> },
    Missing(Reason),
}

impl Realizable {
    pub(crate) fn new(star: Star, segments: Vec<Segment>, wrong: Vec<Segment>, unusable: Option<Reason>) -> Self {
        let built = star
            .cuboids
            .iter()
            .map(|cuboid| segments.iter().map(|segment| built(&star, segment, *cuboid)).collect())
            .collect();
        Realizable { star, segments, wrong, unusable, built }
    }

    /// The files of a cuboid in a segment, if they hold these partials.
    fn files(&self, cuboid: usize, segment: usize, partials: &[String]) -> Result<&LayoutData, Reason> {
        match &self.built[cuboid][segment] {
            Built::Missing(reason) => Err(reason.clone()),
            Built::At { layout, unreadable } => match unreadable.iter().find(|(name, _)| partials.contains(name)) {
                Some((_, reason)) => Err(reason.clone()),
                None => Ok(&self.segments[segment].manifest.layouts[*layout]),
            },
        }
    }
}

/// What the rewrite uses.
pub(crate) struct Rewriter<'a> {
    pub(crate) models: &'a [Realizable],
    pub(crate) tables: &'a BTreeMap<String, Arc<RawTable>>,
    pub(crate) cache: &'a Arc<IndexCache>,
    pub(crate) state: &'a SessionState,
    /// Whether ranges that are not built may be read from the raw tables.
    pub(crate) mix: bool,
    /// Whether an answer may lack rows of ranges that are not built.
    pub(crate) partial: bool,
}

/// An index that answers an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) model: String,
    pub(crate) layout: u64,
    pub(crate) segments: Vec<String>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Whether raw rows are added.
    pub(crate) mixed: bool,
    /// Rows that the query asks for and no segment has, for display; empty if raw rows are added.
    pub(crate) missing: Vec<String>,
}

/// The reason why an index, or a whole model, does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) model: String,
    pub(crate) layout: Option<u64>,
    pub(crate) reason: Reason,
}

/// How one aggregation of the query is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) aggregation: String,
    pub(crate) chosen: Option<Chosen>,
    pub(crate) rejected: Vec<Rejected>,
}

struct Candidate<'a> {
    realizable: &'a Realizable,
    cuboid: Cuboid,
    fit: Fit,
    /// The segments that are read, each with its files of this cuboid.
    parts: Vec<(&'a Segment, &'a LayoutData)>,
    /// Whether the query asks for rows that no segment has.
    incomplete: bool,
    /// Those rows, for display; empty if raw rows are added.
    missing: Vec<String>,
    /// The condition of the raw rows that are added.
    unbuilt: Option<Expr>,
}

impl Candidate<'_> {
    /// The candidate with the least cost is chosen: one with all rows, else the one with most rows, then the smallest index.
    fn cost(&self) -> impl Ord {
        let source_rows: u64 = self.parts.iter().map(|(s, _)| s.manifest.source_rows).sum();
        let missing = self.incomplete.then_some(std::cmp::Reverse(source_rows));
        (missing, self.rows(), self.cuboid.len(), self.cuboid.0)
    }

    fn rows(&self) -> u64 {
        self.parts.iter().map(|(_, data)| data.rows).sum()
    }
}

impl Rewriter<'_> {
    /// Replaces aggregations that indexes can answer. Returns a verdict for every aggregation over raw tables.
    pub(crate) fn rewrite(&self, plan: LogicalPlan) -> DfResult<(LogicalPlan, Vec<Verdict>)> {
        let mut verdicts = vec![];
        let plan = plan.transform_up_with_subqueries(|node| {
            let aggregate = match &node {
                LogicalPlan::Aggregate(aggregate) => aggregate.clone(),
                LogicalPlan::Distinct(Distinct::All(input)) => {
                    let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
                    Aggregate::try_new(input.clone(), columns, vec![])?
                }
                _ => return Ok(Transformed::no(node)),
            };
            if !reads_raw(&aggregate.input)? {
                return Ok(Transformed::no(node));
            }
            let (replaced, verdict) = self.answer(&aggregate)?;
            verdicts.push(verdict);
            Ok(match replaced {
                Some(plan) => Transformed::yes(plan),
                None => Transformed::no(node),
            })
        })?;
        Ok((plan.data, verdicts))
    }

    fn answer(&self, aggregate: &Aggregate) -> DfResult<(Option<LogicalPlan>, Verdict)> {
        let shown = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).map(|e| e.schema_name().to_string());
        let mut verdict = Verdict { aggregation: shown.collect::<Vec<_>>().join(", "), chosen: None, rejected: vec![] };
        let mut reject = |model: &str, layout: Option<u64>, reason: Reason| {
            verdict.rejected.push(Rejected { model: model.to_string(), layout, reason });
        };
        let flat = match Input::of(aggregate) {
            Ok(input) => input,
            Err(reason) => {
                for realizable in self.models {
                    reject(&realizable.star.model.name, None, reason.clone());
                }
                return Ok((None, verdict));
            }
        };
        let mut candidates: Vec<Candidate<'_>> = vec![];
        for realizable in self.models {
            let model = &realizable.star.model.name;
            let layouts = match self.candidates(realizable, &flat) {
                Ok(layouts) => layouts,
                Err(reason) => {
                    reject(model, None, reason);
                    continue;
                }
            };
            for (cuboid, found) in layouts {
                match found {
                    Ok(candidate) => candidates.push(candidate),
                    Err(reason) => reject(model, Some(cuboid.0), reason),
                }
            }
        }
        let smallest = candidates.iter().enumerate().min_by_key(|(_, c)| c.cost()).map(|(i, _)| i);
        let Some(smallest) = smallest else {
            return Ok((None, verdict));
        };
        let winner = candidates.swap_remove(smallest);
        for other in &candidates {
            let reason = format!("covers the query with {} rows; a smaller index does too", other.rows());
            reject(&other.realizable.star.model.name, Some(other.cuboid.0), reason);
        }
        let plan = self.plan(aggregate, &winner)?;
        verdict.chosen = Some(Chosen {
            model: winner.realizable.star.model.name.clone(),
            layout: winner.cuboid.0,
            segments: winner.parts.iter().map(|(s, _)| s.name()).collect(),
            rows: winner.rows(),
            bytes: winner.parts.iter().map(|(_, d)| d.bytes).sum(),
            mixed: winner.unbuilt.is_some(),
            missing: winner.missing.clone(),
        });
        Ok((Some(plan), verdict))
    }

    /// Tries every cuboid of a model.
    #[expect(clippy::type_complexity, reason = "one result per cuboid, inside the result for the model")]
    fn candidates<'m>(
        &self,
        realizable: &'m Realizable,
        input: &Input,
    ) -> Result<Vec<(Cuboid, Result<Candidate<'m>, Reason>)>, Reason> {
        let star = &realizable.star;
        let query = StarQuery::find(&input.flat, star)?;
        if let Some(reason) = &realizable.unusable {
            return Err(reason.clone());
        }
        let wanted = Wanted {
            groups: input.groups.iter().map(|e| query.translate(e)).collect(),
            aggregates: input.aggregates.iter().map(|e| query.translate(e)).collect(),
            predicates: query.predicates.clone(),
        };
        let time = star.partition.as_ref().and_then(|p| {
            let sql_type = star.column_type(&p.column)?;
            Some((p, TimeFilter::of(&wanted.predicates, p, sql_type, self.state)))
        });
        for segment in &realizable.wrong {
            let wanted = match (segment.range, &time) {
                (SegmentRange::Time { start_ms, end_ms }, Some((partition, filter))) => {
                    let (from, until) = (partition.kind.tick(start_ms), partition.kind.tick(end_ms));
                    !filter.range.is_empty() && !filter.range.is_disjoint(&from, &until)
                }
                _ => true,
            };
            // With `mix`, its range is read from the raw tables like a range that is not built.
            if wanted && !(self.mix && time.is_some() && segment.range != SegmentRange::Full) {
                let why = segment.manifest.wrong.as_deref().unwrap_or_default();
                return Err(format!("segment {} was found wrong ({why}); refresh it", segment.name()));
            }
        }
        if realizable.segments.is_empty() {
            return Err("it has no READY segment; build one".into());
        }
        let unbuilt = match &time {
            Some((partition, filter)) => unbuilt(&realizable.segments, partition, filter, &wanted.predicates),
            _ => None,
        };
        let missing = match &time {
            Some((partition, filter)) if unbuilt.is_some() && !self.mix => {
                missing(&realizable.segments, partition, filter)
            }
            _ => vec![],
        };
        if !self.partial && !missing.is_empty() {
            return Err(format!("{LACKING}{}", missing.join(", ")));
        }
        let tried = star.cuboids.iter().enumerate().map(|(i, cuboid)| {
            let candidate = self.candidate(realizable, &query, i, &wanted, time.as_ref().map(|(p, f)| (*p, f)));
            let mixed = unbuilt.clone().filter(|_| self.mix);
            let missing = missing.clone();
            (*cuboid, candidate.map(|c| Candidate { incomplete: unbuilt.is_some(), missing, unbuilt: mixed, ..c }))
        });
        Ok(tried.collect())
    }

    fn candidate<'m>(
        &self,
        realizable: &'m Realizable,
        query: &StarQuery,
        position: usize,
        wanted: &Wanted,
        time: Option<(&StarPartition, &TimeFilter)>,
    ) -> Result<Candidate<'m>, Reason> {
        let star = &realizable.star;
        let cuboid = star.cuboids[position];
        let empty = TimeFilter::default();
        let (partition, filter) = match time {
            Some((partition, filter)) => (Some(partition), filter),
            None => (None, &empty),
        };
        let has_time = partition.is_some_and(|p| cuboid.dimensions().any(|i| p.is(&star.dimensions[i].0)));
        let absorbed: &[usize] = if has_time { &[] } else { &filter.predicates };
        let mut parts = vec![];
        let fit = fit(star, query, cuboid, wanted, absorbed)?;
        for (i, segment) in realizable.segments.iter().enumerate() {
            match (segment.range, partition) {
                (SegmentRange::Time { start_ms, end_ms }, Some(partition)) => {
                    let (from, until) = (partition.kind.tick(start_ms), partition.kind.tick(end_ms));
                    if filter.range.is_empty() || filter.range.is_disjoint(&from, &until) {
                        continue;
                    }
                    if !has_time && !filter.range.contains(&from, &until) {
                        return Err(format!(
                            "the query's time range cuts through segment {}, and it lacks the dimension {}",
                            segment.name(),
                            partition.column
                        ));
                    }
                }
                _ if !has_time && !filter.predicates.is_empty() => {
                    let column = partition.map(|p| p.column.to_string()).unwrap_or_default();
                    return Err(format!("the query filters by {column}, which is not a dimension of the index"));
                }
                _ => {}
            }
            parts.push((segment, realizable.files(position, i, &fit.partials)?));
        }
        Ok(Candidate { realizable, cuboid, fit, parts, incomplete: false, missing: vec![], unbuilt: None })
    }

    fn plan(&self, aggregate: &Aggregate, winner: &Candidate<'_>) -> DfResult<LogicalPlan> {
        let star = &winner.realizable.star;
        let schema = read_schema(star, winner.cuboid, &winner.fit.partials);
        let mut files = vec![];
        for (segment, data) in &winner.parts {
            let owner =
                Owner::Segment { model: star.model.name.clone(), segment: segment.name(), layout: winner.cuboid.0 };
            files.extend(data.files.iter().map(|f| (owner.clone(), f.clone())));
        }
        let table = IndexTable { schema: schema.clone(), files, cache: self.cache.clone() };
        let mut input = scan(INDEX, Arc::new(table)).map_err(Error::through)?;
        if let Some(unbuilt) = &winner.unbuilt {
            let raw = self.raw_rows(star, winner.cuboid, &winner.fit.partials, unbuilt)?;
            input = input.union(raw)?.alias(INDEX)?;
        }
        if let Some(filter) = conjunction(winner.fit.predicates.clone()) {
            input = input.filter(filter)?;
        }
        // Two groups may have become one (both sides of an equality), so the position of each is recorded.
        let mut groups: Vec<Expr> = vec![];
        let mut positions = vec![];
        for group in &winner.fit.groups {
            let known = groups.iter().position(|g| g == group);
            positions.push(known.unwrap_or_else(|| {
                groups.push(group.clone());
                groups.len() - 1
            }));
        }
        let has_sets = groups.iter().any(|g| matches!(g, Expr::GroupingSet(_)));
        let inner = Aggregate::try_new(Arc::new(input.build()?), groups, winner.fit.merges.clone())?;
        if has_sets {
            let wide = inner.schema.fields().len() - winner.fit.merges.len();
            positions = (0..wide).collect();
        }
        let columns = inner.schema.columns();
        let values = positions
            .iter()
            .map(|i| Expr::Column(columns[*i].clone()))
            .chain(winner.fit.outputs.iter().cloned())
            .collect::<Vec<_>>();
        let inner = Arc::new(LogicalPlan::Aggregate(inner));
        let output = values
            .into_iter()
            .zip(aggregate.schema.iter())
            .map(|(value, (qualifier, field))| {
                use datafusion::logical_expr::ExprSchemable;
                let value = value.cast_to(field.data_type(), inner.schema())?;
                Ok(value.alias_qualified(qualifier.cloned(), field.name()))
            })
            .collect::<DfResult<Vec<_>>>()?;
        Ok(LogicalPlan::Projection(Projection::try_new(output, inner)?))
    }

    /// The raw rows of ranges that are not built, in the form of the index: each row is a group of its own.
    fn raw_rows(&self, star: &Star, cuboid: Cuboid, partials: &[String], unbuilt: &Expr) -> DfResult<LogicalPlan> {
        let mut output = vec![];
        let mut aliases: Vec<&str> = vec![];
        for (dimension, _) in cuboid.dimensions().map(|i| &star.dimensions[i]) {
            aliases.push(&dimension.alias);
            output.push(column(&dimension.alias, &dimension.column).alias(dimension.to_string()));
        }
        for partial in star.partials.iter().filter(|p| partials.contains(&p.name())) {
            aliases.extend(partial.column.iter().map(|c| c.alias.as_str()));
            output.push(partial.of_row(StarColumn::expr)?.alias(partial.name()));
        }
        let needed = |l: &&StarLookup| l.join == JoinKind::Inner || aliases.contains(&l.alias.as_str());
        let lookups: Vec<&str> = star.lookups.iter().filter(needed).map(|l| l.alias.as_str()).collect();
        let provider = |alias: &str| {
            let key = star.table(alias).map(|t| t.key()).unwrap_or_default();
            let raw = self.tables.get(&key).cloned().map(|t| t as Arc<dyn TableProvider>);
            raw.ok_or_else(|| Error::Sql(format!("there is no table \"{key}\"")))
        };
        let plan: LogicalPlanBuilder =
            join_star(star, &lookups, Some(unbuilt.clone()), provider).map_err(Error::through)?;
        let plan = plan.project(output)?.build()?;
        // The comparisons made here still need the analyser.
        self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})
    }
}

/// An aggregation with its flattened input.
struct Input {
    flat: Flat,
    groups: Vec<Expr>,
    aggregates: Vec<Expr>,
}

impl Input {
    fn of(aggregate: &Aggregate) -> Result<Input, Reason> {
        let flat = flatten(&aggregate.input, &AtomicUsize::new(0))?;
        let schema = aggregate.input.schema();
        let inlined = |e: &Expr| inline(e, schema, &flat.output);
        // The engine leaves out a group that is there twice.
        let groups = match aggregate.group_expr.as_slice() {
            sets @ [Expr::GroupingSet(_)] => sets.iter().collect(),
            plain => grouping_set_to_exprlist(plain).map_err(|e| e.strip_backtrace())?,
        };
        let groups = groups.into_iter().map(inlined).collect::<Result<Vec<_>, _>>()?;
        let aggregates = aggregate.aggr_expr.iter().map(inlined).collect::<Result<Vec<_>, _>>()?;
        if groups.iter().any(|g| matches!(g, Expr::GroupingSet(_))) {
            let before = grouping_set_to_exprlist(&aggregate.group_expr).map_err(|e| e.strip_backtrace())?.len();
            let after = grouping_set_to_exprlist(&groups).map_err(|e| e.strip_backtrace())?.len();
            if before != after {
                return Err("two of its grouping columns are one".into());
            }
        }
        Ok(Input { flat, groups, aggregates })
    }
}

/// Finds a cuboid in a segment by its columns. Layout ids may differ if the model was changed since.
fn built(star: &Star, segment: &Segment, cuboid: Cuboid) -> Built {
    let expected = star.layout_columns(cuboid);
    let (dimensions, partials) = expected.split_at(cuboid.len() as usize);
    let found = segment.manifest.layouts.iter().position(|data| {
        let built = &data.columns[..data.dimensions.min(data.columns.len())];
        built.len() == dimensions.len() && dimensions.iter().all(|d| built.iter().any(|b| b.name == d.name))
    });
    let Some(layout) = found else {
        return Built::Missing(format!("it is not built in segment {}; refresh the segment", segment.name()));
    };
    let problem = |column: &Column| {
        let columns = &segment.manifest.layouts[layout].columns;
        match columns.iter().find(|c| c.name == column.name) {
            Some(built) if built.type_name == column.type_name => None,
            Some(built) => Some(format!(
                "segment {} holds {} as {}, the model as {}; refresh the segment",
                segment.name(),
                column.name,
                built.type_name,
                column.type_name
            )),
            None => Some(format!("segment {} was built without {}; refresh the segment", segment.name(), column.name)),
        }
    };
    if let Some(reason) = dimensions.iter().find_map(problem) {
        return Built::Missing(reason);
    }
    let unreadable = partials.iter().filter_map(|p| Some((p.name.clone(), problem(p)?))).collect();
    Built::At { layout, unreadable }
}

/// The columns of a cuboid's files that are read: its dimensions and these partials.
fn read_schema(star: &Star, cuboid: Cuboid, partials: &[String]) -> SchemaRef {
    let all = star.layout_schema(cuboid);
    let fields = all.fields().iter().enumerate();
    let read =
        fields.filter(|(i, f)| *i < cuboid.len() as usize || partials.contains(f.name())).map(|(_, f)| f.clone());
    Arc::new(Schema::new(read.collect::<Vec<_>>()))
}

/// The condition of fact rows that the query asks for and no segment has; `None` if there are none.
fn unbuilt(segments: &[Segment], partition: &StarPartition, filter: &TimeFilter, predicates: &[Expr]) -> Option<Expr> {
    let mut built: Vec<(Tick, Tick, Expr)> = vec![];
    for segment in segments {
        match segment.range {
            SegmentRange::Full => return None,
            SegmentRange::Time { start_ms, end_ms } => built.push((
                partition.kind.tick(start_ms),
                partition.kind.tick(end_ms),
                partition.in_range(start_ms, end_ms),
            )),
        }
    }
    built.sort_by(|a, b| a.0.cmp(&b.0));
    if filter.range.is_empty() {
        return None;
    }
    if let (Some(from), Some(until)) = (&filter.range.from, &filter.range.until) {
        let mut reached = from.clone();
        for (start, end, _) in &built {
            if *start <= reached && reached < *end {
                reached = end.clone();
            }
        }
        if reached >= *until {
            return None;
        }
    }
    let in_segments = disjunction(built.into_iter().map(|(_, _, e)| e))?;
    let missing = column(&partition.column.alias, &partition.column.column).is_null().or(not(in_segments));
    let wanted = filter.predicates.iter().map(|i| predicates[*i].clone());
    conjunction(wanted.chain([missing]))
}

/// The rows that a query asks for and no segment has, for display.
fn missing(segments: &[Segment], partition: &StarPartition, filter: &TimeFilter) -> Vec<String> {
    let mut built: Vec<(i64, i64)> = segments
        .iter()
        .filter_map(|s| match s.range {
            SegmentRange::Time { start_ms, end_ms } => Some((start_ms, end_ms)),
            SegmentRange::Full => None,
        })
        .collect();
    built.sort_unstable();
    let starts = built.iter().map(|(start, _)| Some(*start)).chain([None]);
    let ends = std::iter::once(None).chain(built.iter().map(|(_, end)| Some(*end)));
    let mut missing = vec![];
    for (from, until) in ends.zip(starts) {
        let (first, last) = (from.map(|ms| partition.kind.tick(ms)), until.map(|ms| partition.kind.tick(ms)));
        let before = |a: &Option<Tick>, b: &Option<Tick>| matches!((a, b), (Some(a), Some(b)) if a >= b);
        if before(&first, &last) || before(&filter.range.from, &last) || before(&first, &filter.range.until) {
            continue;
        }
        missing.push(match (from.map(shown), until.map(shown)) {
            (Some(from), Some(until)) => format!("rows from {from} until {until}"),
            (None, Some(until)) => format!("rows before {until}"),
            (Some(from), None) => format!("rows from {from} on"),
            (None, None) => "all rows".into(),
        });
    }
    if filter.predicates.is_empty() {
        // Whether there are any is not known without reading the source.
        missing.push(format!("rows whose {} is NULL", partition.column));
    }
    missing
}

fn shown(ms: i64) -> String {
    let text = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d %H:%M:%S").to_string();
    text.strip_suffix(" 00:00:00").map(str::to_owned).unwrap_or(text)
}

fn reads_raw(plan: &LogicalPlan) -> DfResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= raw_table(node).is_some();
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Keys of the raw tables that a plan reads, one for each scan.
pub(crate) fn raw_tables(plan: &LogicalPlan) -> DfResult<Vec<String>> {
    let mut tables = vec![];
    plan.apply_with_subqueries(|node| {
        tables.extend(raw_table(node));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}
