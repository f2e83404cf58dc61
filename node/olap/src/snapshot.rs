//! Queries against one revision of the catalog.
//!
//! SQL is parsed and planned by DataFusion; the rewrite then answers what it can from indexes. What is left on raw
//! tables is push-down: allowed, or an error that says why no index fits. Names are matched in any case: quoted
//! identifiers are folded like unquoted ones before planning, and the labels of the answer are what the user wrote.

use crate::answer::{self, ColumnMeta, QueryAnswer};
use crate::arithmetic::checked;
use crate::engine::EngineInner;
use crate::error::{Error, Result};
use crate::exact::exact;
use crate::plan_cache::{PlanCache, Ready, is_timeless};
use crate::rewrite::{Chosen, Realizable, Rejected, Rewriter, Verdict, raw_tables};
use crate::segment::Catalog;
use crate::source::RawTable;
use crate::sql;
use crate::star::Star;
use crate::stopwatch::Stopwatch;
use crate::table::{DEFAULT_SCHEMA, Table, fold, table_key};
use crate::texts::{bound_operators, check_constants, collected};
use crate::times;
use crate::turns::in_turns;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::ExecutionPlan;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a query is to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// At most this many rows.
    pub limit: Option<usize>,
    /// Skip this many rows.
    pub offset: usize,
    /// Whether raw tables may be read: for ranges that are not built, and for what no index covers. Off, answers
    /// reflect READY segments only.
    pub push_down: bool,
    /// Whether indexes may be used.
    pub use_index: bool,
    /// Whether an answer may lack rows of ranges that are not built; [`Realization::missing`] tells which. Off, such a
    /// query is refused.
    pub partial: bool,
    /// The query ends with an error after this time, in milliseconds; none means that it may take for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions { limit: None, offset: 0, push_down: false, use_index: true, partial: true, timeout_ms: None }
    }
}

/// An index that took part in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realization {
    /// Name of the model.
    pub model: String,
    /// Layout id.
    pub layout: u64,
    /// Names of the segments that were read.
    pub segments: Vec<String>,
    /// Whether raw rows of ranges that are not built were added.
    pub mixed: bool,
    /// What the query wants and no segment has, for people. If there is any, the answer is partial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// How a query is (or would be) answered, and why not otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The indexes that answer.
    pub realizations: Vec<Realization>,
    /// Raw tables that are read.
    pub raw_tables: Vec<String>,
    /// One entry per aggregation of the query, innermost first.
    pub aggregations: Vec<AggregationExplain>,
    /// The optimised logical plan, one operator a line.
    pub plan: String,
}

/// What became of one aggregation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationExplain {
    /// Its groups and aggregates.
    pub aggregation: String,
    /// The index that answers it; none means raw tables.
    pub chosen: Option<Realization>,
    /// Every other index and model, with the reason why not.
    pub rejected: Vec<RejectedIndex>,
}

/// An index (or a whole model) that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedIndex {
    /// Name of the model.
    pub model: String,
    /// Layout id; none means every index of the model.
    pub layout: Option<u64>,
    /// Names of the layout's dimensions.
    pub dimensions: Vec<String>,
    /// Why not.
    pub reason: String,
}

/// A table or model that is stored and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// `table` or `model`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why not.
    pub problem: String,
}

/// One revision of the catalog, ready for queries. Share it between queries; it is immutable.
///
/// A definition that does not open is left out and kept as [`Broken`]: it disturbs no other.
pub struct Snapshot {
    engine: Arc<EngineInner>,
    broken: Vec<Broken>,
    tables: BTreeMap<String, Arc<RawTable>>,
    models: Vec<Realizable>,
    state: SessionState,
    plans: PlanCache,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("tables", &self.tables.len()).field("models", &self.models.len()).finish()
    }
}

struct Planned {
    state: SessionState,
    plan: LogicalPlan,
    verdicts: Vec<Verdict>,
    raw: Vec<String>,
    columns: Vec<ColumnMeta>,
}

impl Snapshot {
    pub(crate) fn open(engine: Arc<EngineInner>, catalog: Catalog) -> Result<Arc<Snapshot>> {
        let mut tables: BTreeMap<String, Arc<RawTable>> = BTreeMap::new();
        let mut broken = vec![];
        let mut leave_out = |kind: &str, name: &str, error: Error| {
            broken.push(Broken { kind: kind.into(), name: name.into(), problem: error.to_string() });
        };
        for table in &catalog.tables {
            let twice = || Error::invalid(format!("table \"{}\"", table.name), "is defined twice; drop one");
            let usable = match tables.contains_key(&table.key()) {
                true => Err(twice()),
                false => table.validate(),
            };
            match usable {
                Ok(()) => {
                    tables.insert(table.key(), Arc::new(RawTable::new(Arc::new(table.clone()))));
                }
                Err(error) => leave_out("table", &table.name, error),
            }
        }
        let usable: Vec<Table> = tables.values().map(|raw| raw.table().as_ref().clone()).collect();
        let mut models = vec![];
        for model in &catalog.models {
            let star = match Star::resolve(model, &usable) {
                Ok(star) => star,
                Err(error) => {
                    leave_out("model", &model.name, error);
                    continue;
                }
            };
            let mut segments: Vec<_> =
                catalog.segments.iter().filter(|s| fold(&s.model) == fold(&model.name)).cloned().collect();
            let signature = star.signature();
            let all = segments.len();
            segments.retain(|s| s.manifest.signature == signature);
            let overlap = segments.iter().enumerate().find_map(|(i, a)| {
                segments[..i].iter().find(|b| a.range.overlaps(&b.range)).map(|b| (a.name(), b.name()))
            });
            let unusable = match overlap {
                Some((a, b)) => Some(format!("its segments {a} and {b} overlap; delete one")),
                None if segments.is_empty() && all > 0 => {
                    Some("its tables or joins were changed after its segments were built; refresh them".into())
                }
                None => None,
            };
            let (wrong, segments) = segments.into_iter().partition(|s| s.manifest.wrong.is_some());
            models.push(Realizable::new(star, segments, wrong, unusable));
        }
        let raw: Vec<_> = tables.values().cloned().collect();
        let state = engine.session(&raw)?;
        Ok(Arc::new(Snapshot { engine, broken, tables, models, state, plans: PlanCache::default() }))
    }

    /// Stored definitions that cannot be used.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// Answers a query.
    pub fn query(self: &Arc<Self>, sql: &str, options: QueryOptions) -> BoxFuture<'static, Result<QueryAnswer>> {
        let (snapshot, sql) = (self.clone(), sql.to_string());
        self.engine.run(async move {
            let answer = snapshot.answer(&sql, &options);
            match options.timeout_ms {
                None => answer.await,
                Some(most) => match tokio::time::timeout(Duration::from_millis(most), answer).await {
                    Ok(answer) => answer,
                    Err(_) => Err(Error::Timeout { millis: most }),
                },
            }
        })
    }

    /// Says how a query would be answered; runs nothing.
    pub fn explain(self: &Arc<Self>, sql: &str, options: QueryOptions) -> BoxFuture<'static, Result<Explain>> {
        let (snapshot, sql) = (self.clone(), sql.to_string());
        self.engine.run(async move {
            let planned = snapshot.plan(&sql, &options).await?;
            let plan = planned.state.optimizer().optimize(planned.plan.clone(), &planned.state, |_, _| {})?;
            Ok(Explain {
                realizations: realizations(&planned.verdicts),
                raw_tables: planned.raw,
                aggregations: planned.verdicts.iter().map(|v| snapshot.explained(v)).collect(),
                plan: plan.display_indent().to_string(),
            })
        })
    }

    async fn answer(&self, sql: &str, options: &QueryOptions) -> Result<QueryAnswer> {
        let began = Stopwatch::start();
        let key = (sql.to_string(), options.clone());
        let ready = match self.plans.get(&key)? {
            Some(ready) => ready,
            None => self.prepare(key).await?,
        };
        let (batches, _taken) = collected(ready.plan.clone(), ready.context.clone(), &self.engine.texts).await?;
        let mut scanned = Scanned::default();
        scanned.add(&ready.plan);
        Ok(QueryAnswer {
            rows: answer::rows(&batches, ready.columns.len())?,
            columns: ready.columns.clone(),
            scanned_rows: scanned.rows,
            scanned_bytes: scanned.bytes + ready.index_bytes,
            realizations: ready.realizations.clone(),
            push_down: ready.push_down,
            millis: began.millis(),
        })
    }

    async fn prepare(&self, (sql, options): (String, QueryOptions)) -> Result<Ready> {
        let Planned { state, plan, verdicts, raw, columns } = self.plan(&sql, &options).await?;
        if !raw.is_empty() && !options.push_down {
            return Err(Error::NoRealization { reasons: self.reasons(&verdicts, &options) });
        }
        // Before the optimiser replaces what depends on the moment (now()) by its value.
        let keep = raw.is_empty() && is_timeless(&plan)?;
        let plan = state.optimizer().optimize(plan, &state, |_, _| {})?;
        check_constants(&plan, &state, &self.engine.texts)?;
        let ready = Ready {
            plan: in_turns(state.query_planner().create_physical_plan(&plan, &state).await?)?,
            context: state.task_ctx(),
            columns,
            realizations: realizations(&verdicts),
            index_bytes: verdicts.iter().filter_map(|v| v.chosen.as_ref()).map(|c| c.bytes).sum(),
            push_down: !raw.is_empty(),
        };
        if keep {
            self.plans.put((sql, options), &ready);
        }
        Ok(ready)
    }

    async fn plan(&self, text: &str, options: &QueryOptions) -> Result<Planned> {
        let (statement, labels) = sql::parse(text)?;
        let mut state = self.state.clone();
        state.mark_start_execution();
        for reference in state.resolve_table_references(&statement)? {
            let name = fold(reference.table());
            let key = format!("{}.{name}", reference.schema().map_or_else(|| DEFAULT_SCHEMA.to_string(), fold));
            let broken = self.broken.iter().find(|b| b.kind == "table" && table_key(&b.name) == key);
            if let Some(broken) = broken.filter(|_| !self.tables.contains_key(&key)) {
                return Err(Error::Sql(format!("table \"{}\" cannot be used: {}", broken.name, broken.problem)));
            }
        }
        let plan = state.statement_to_plan(statement).await?;
        let plan = state.analyzer().execute_and_check(plan, &state.config_options().clone(), |_, _| {})?;
        let plan = times::mended(plan, &state)?;
        // Taken here, so that the answer looks the same whoever gives it.
        let columns = answer::columns(plan.schema(), labels);
        let rewriter = Rewriter {
            models: if options.use_index { &self.models } else { &[] },
            tables: &self.tables,
            cache: &self.engine.cache,
            state: &state,
            mix: options.push_down,
            partial: options.partial,
        };
        let (plan, verdicts) = rewriter.rewrite(plan)?;
        let mut plan = checked(bound_operators(exact(plan)?, &self.engine.texts)?)?;
        if options.offset > 0 || options.limit.is_some() {
            plan = LogicalPlanBuilder::from(plan).limit(options.offset, options.limit)?.build()?;
        }
        let mut raw = raw_tables(&plan)?;
        raw.sort();
        raw.dedup();
        let indexed: u64 = verdicts.iter().filter_map(|v| v.chosen.as_ref()).map(|c| c.rows).sum();
        if raw.is_empty() && indexed < FEW_ROWS {
            // Handing a few rows to another thread costs more than it saves.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        if raw.is_empty() {
            // Index scans have no use for them, and a plan without them can be run again.
            state.config_mut().options_mut().optimizer.enable_dynamic_filter_pushdown = false;
        }
        Ok(Planned { state, plan, verdicts, raw, columns })
    }

    fn explained(&self, verdict: &Verdict) -> AggregationExplain {
        AggregationExplain {
            aggregation: verdict.aggregation.clone(),
            chosen: verdict.chosen.as_ref().map(realization),
            rejected: verdict
                .rejected
                .iter()
                .map(|r| RejectedIndex {
                    model: r.model.clone(),
                    layout: r.layout,
                    dimensions: self.dimensions(r),
                    reason: r.reason.clone(),
                })
                .collect(),
        }
    }

    fn dimensions(&self, rejected: &Rejected) -> Vec<String> {
        let star = self.models.iter().map(|m| &m.star).find(|s| s.model.name == rejected.model);
        match (star, rejected.layout) {
            (Some(star), Some(layout)) => star.model.layout_dimensions(layout),
            _ => vec![],
        }
    }

    /// Reasons for people, at most a screenful.
    fn reasons(&self, verdicts: &[Verdict], options: &QueryOptions) -> Vec<String> {
        if !options.use_index {
            return vec!["indexes are switched off for this query".into()];
        }
        if self.models.is_empty() {
            return vec!["the project has no model".into()];
        }
        let unanswered: Vec<&Verdict> = verdicts.iter().filter(|v| v.chosen.is_none()).collect();
        if unanswered.is_empty() {
            return vec![
                "the query reads rows of a table; indexes answer aggregations (GROUP BY, COUNT, SUM …) only".into(),
            ];
        }
        let mut reasons: Vec<String> = vec![];
        for rejected in unanswered.iter().flat_map(|v| &v.rejected) {
            let reason = match rejected.layout {
                None => format!("model \"{}\": {}", rejected.model, rejected.reason),
                Some(layout) => format!(
                    "model \"{}\", index {layout} ({}): {}",
                    rejected.model,
                    self.dimensions(rejected).join(", "),
                    rejected.reason
                ),
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let more = reasons.len().saturating_sub(MOST_REASONS);
        reasons.truncate(MOST_REASONS);
        if more > 0 {
            reasons.push(format!("… and {more} more; `explain` lists them all"));
        }
        reasons
    }
}

/// Index rows up to which one thread is faster than several.
const FEW_ROWS: u64 = 100_000;
/// Lines of reasons in an error.
const MOST_REASONS: usize = 20;

fn realization(chosen: &Chosen) -> Realization {
    Realization {
        model: chosen.model.clone(),
        layout: chosen.layout,
        segments: chosen.segments.clone(),
        mixed: chosen.mixed,
        missing: chosen.missing.clone(),
    }
}

fn realizations(verdicts: &[Verdict]) -> Vec<Realization> {
    verdicts.iter().filter_map(|v| v.chosen.as_ref()).map(realization).collect()
}

/// What the leaves of a finished plan read.
#[derive(Default)]
struct Scanned {
    rows: u64,
    bytes: u64,
}

impl Scanned {
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>) {
        let children = plan.children();
        if children.is_empty()
            && let Some(metrics) = plan.metrics()
        {
            self.rows += metrics.output_rows().unwrap_or(0) as u64;
            self.bytes += metrics.sum_by_name("bytes_scanned").map_or(0, |b| b.as_usize()) as u64;
        }
        for child in children {
            self.add(child);
        }
    }
}

/// The columns of an answer under the labels that the user wrote, if those are known.
pub(crate) fn labelled(columns: Vec<ColumnMeta>, labels: Option<Vec<String>>) -> Vec<ColumnMeta> {
    match labels {
        Some(labels) if labels.len() == columns.len() => {
            columns.into_iter().zip(labels).map(|(c, name)| ColumnMeta { name, ..c }).collect()
        }
        _ => columns,
    }
}
