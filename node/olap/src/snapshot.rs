//! Queries against one revision of the catalog.
//!
//! DataFusion parses and plans the SQL. The rewrite then replaces aggregations with reads of indexes. What still reads raw
//! tables is push-down, which is either allowed or an error that says why no index fits. Names match in any case: quoted
//! identifiers are folded like unquoted ones before planning. The labels of the answer are as written in the query.

use crate::answer::{self, AHEAD, Answer, ColumnMeta, Cost, Done, Head};
use crate::arithmetic::checked;
use crate::correlated;
use crate::decimals;
use crate::engine::{CATALOG, Engine, EngineInner};
use crate::error::{Error, Result, meant};
use crate::exact::exact;
use crate::nulls::kept;
use crate::plan_cache::{PlanCache, Ready, is_timeless};
use crate::query::{AggregationExplain, Explain, QueryOptions, Realization, RejectedIndex};
use crate::rewrite::{Chosen, LACKING, Realizable, Rejected, Rewriter, Verdict, raw_tables};
use crate::segment::Catalog;
use crate::source::RawTable;
use crate::sql;
use crate::star::Star;
use crate::stopwatch::Stopwatch;
use crate::table::{DEFAULT_SCHEMA, Table, fold, table_key};
use crate::texts::{batch_bytes, bound_operators, check_constants};
use crate::times;
use crate::turns::in_turns;
use datafusion::arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::TryStreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A stored table or model that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// `table` or `model`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The reason.
    pub problem: String,
}

/// One revision of the catalog, ready for queries. Share it between queries; it is immutable.
///
/// A definition that does not open is left out and reported as [`Broken`]. It does not affect others.
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

impl Engine {
    /// Prepares a revision of the catalog for queries. Reads no file, so it is cheap enough for every revision.
    pub fn open(&self, catalog: Catalog) -> Result<Arc<Snapshot>> {
        Snapshot::open(self.inner.clone(), catalog)
    }
}

impl Snapshot {
    fn open(engine: Arc<EngineInner>, catalog: Catalog) -> Result<Arc<Snapshot>> {
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

    /// Answers a query. The future ends when the first batch is made.
    pub fn query(self: &Arc<Self>, sql: &str, options: QueryOptions) -> BoxFuture<'static, Result<Answer>> {
        let (snapshot, sql) = (self.clone(), sql.to_string());
        let (head, opened) = oneshot::channel();
        let (batches, made) = mpsc::channel(AHEAD);
        let work = self.engine.run(async move {
            let timeout = options.timeout_ms;
            let answer = snapshot.answer((sql, options), head, batches);
            match timeout {
                None => answer.await,
                Some(most) => match tokio::time::timeout(Duration::from_millis(most), answer).await {
                    Ok(done) => done,
                    Err(_) => Err(Error::Timeout { millis: most }),
                },
            }
        });
        Box::pin(Answer::open(opened, made, work))
    }

    /// Explains how a query would be answered, without running it.
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

    /// Runs a query: sends the head, then the batches. Ends if the answer is dropped.
    async fn answer(
        &self,
        query: (String, QueryOptions),
        head: oneshot::Sender<Head>,
        batches: mpsc::Sender<RecordBatch>,
    ) -> Result<Done> {
        let began = Stopwatch::start();
        let ready = match self.plans.get(&query)? {
            Some(ready) => ready,
            None => self.prepare(query).await?,
        };
        let taken = self.engine.texts.answer();
        let mut stream = execute_stream(ready.plan.clone(), ready.context.clone())?;
        let mut next = stream.try_next().await?;
        let opened = head.send(Head {
            columns: ready.columns,
            schema: stream.schema(),
            realizations: ready.realizations,
            push_down: ready.push_down,
        });
        opened.map_err(|_| Error::Cancelled)?;
        while let Some(batch) = next {
            taken.try_grow(batch_bytes(&batch))?;
            batches.send(batch).await.map_err(|_| Error::Cancelled)?;
            next = stream.try_next().await?;
        }
        let mut scanned = Scanned::default();
        scanned.add(&ready.plan);
        let cost = Cost {
            scanned_rows: scanned.rows,
            scanned_bytes: scanned.bytes + ready.index_bytes,
            millis: began.millis(),
        };
        Ok(Done { cost, _taken: taken })
    }

    async fn prepare(&self, (sql, options): (String, QueryOptions)) -> Result<Ready> {
        let Planned { state, plan, verdicts, raw, columns } = self.plan(&sql, &options).await?;
        if !raw.is_empty() && !options.push_down {
            let reasons = self.reasons(&verdicts, &options);
            let mut rejected = verdicts.iter().filter(|v| v.chosen.is_none()).flat_map(|v| &v.rejected);
            return Err(match rejected.any(|r| r.reason.starts_with(LACKING)) {
                true => Error::Incomplete { reasons },
                false => Error::NoRealization { reasons },
            });
        }
        // Before the optimiser replaces volatile calls such as now() with their values.
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
        let plan = state.statement_to_plan(statement).await.map_err(|error| self.mistake(error))?;
        let plan = decimals::compared(plan)?;
        let plan = state.analyzer().execute_and_check(plan, &state.config_options().clone(), |_, _| {})?;
        correlated::check(&plan)?;
        let plan = times::mended(plan, &state)?;
        // Taken before the rewrite, so that the columns do not depend on what answers.
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
        let mut plan = bound_operators(kept(checked(exact(plan)?)?)?, &self.engine.texts)?;
        if options.offset > 0 || options.limit.is_some() {
            plan = LogicalPlanBuilder::from(plan).limit(options.offset, options.limit)?.build()?;
        }
        let mut raw = raw_tables(&plan)?;
        raw.sort();
        raw.dedup();
        let indexed: u64 = verdicts.iter().filter_map(|v| v.chosen.as_ref()).map(|c| c.rows).sum();
        if raw.is_empty() && indexed < FEW_ROWS {
            // For few rows, a second thread costs more than it saves.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        if raw.is_empty() {
            // Index scans do not use dynamic filters, and a plan without them can be cached.
            state.config_mut().options_mut().optimizer.enable_dynamic_filter_pushdown = false;
        }
        Ok(Planned { state, plan, verdicts, raw, columns })
    }

    /// The error of a query that cannot be planned. An unknown table gets its own message.
    fn mistake(&self, error: DataFusionError) -> Error {
        let unknown = match error.find_root() {
            DataFusionError::Plan(text) => text
                .strip_prefix(&format!("table '{CATALOG}."))
                .and_then(|rest| rest.split_once("' not found"))
                .map(|(key, _)| key.to_owned()),
            _ => None,
        };
        unknown.map_or_else(|| error.into(), |key| Error::Sql(self.no_table(&key)))
    }

    fn no_table(&self, key: &str) -> String {
        let name = key.strip_prefix(&format!("{DEFAULT_SCHEMA}.")).unwrap_or(key);
        if let Some(model) = self.models.iter().map(|m| &m.star.model).find(|model| fold(&model.name) == name) {
            return format!("'{}' is a model; query its fact table '{}'", model.name, model.fact);
        }
        if let Some(broken) = self.broken.iter().find(|b| b.kind == "model" && fold(&b.name) == name) {
            return format!("'{}' is a model, and it cannot be used: {}", broken.name, broken.problem);
        }
        let known: Vec<String> = self.tables.values().map(|raw| raw.table().name.clone()).collect();
        if known.is_empty() {
            return format!("there is no table '{name}'; the project has no tables");
        }
        format!("there is no table '{name}'{}", meant(name, &known, "tables"))
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

    /// Reasons for display, at most [`MOST_REASONS`].
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
        // One line for all indexes of a model with the same reason.
        let mut grouped: Vec<(&Rejected, Vec<u64>)> = vec![];
        for rejected in unanswered.iter().flat_map(|v| &v.rejected) {
            let alike = |(first, _): &&mut (&Rejected, Vec<u64>)| {
                (&first.model, &first.reason) == (&rejected.model, &rejected.reason)
            };
            match grouped.iter_mut().find(alike) {
                Some((_, layouts)) => layouts.extend(rejected.layout.filter(|layout| !layouts.contains(layout))),
                None => grouped.push((rejected, rejected.layout.into_iter().collect())),
            }
        }
        let mut reasons: Vec<String> = grouped
            .into_iter()
            .map(|(rejected, layouts)| match layouts.as_slice() {
                [] => format!("model \"{}\": {}", rejected.model, rejected.reason),
                [layout] => format!(
                    "model \"{}\", index {layout} ({}): {}",
                    rejected.model,
                    self.dimensions(rejected).join(", "),
                    rejected.reason
                ),
                layouts => {
                    let shown: Vec<_> = layouts.iter().take(5).map(u64::to_string).collect();
                    let more = if layouts.len() > 5 { ", …" } else { "" };
                    format!(
                        "model \"{}\", {} indexes ({}{more}): {}",
                        rejected.model,
                        layouts.len(),
                        shown.join(", "),
                        rejected.reason
                    )
                }
            })
            .collect();
        let more = reasons.len().saturating_sub(MOST_REASONS);
        reasons.truncate(MOST_REASONS);
        if more > 0 {
            reasons.push(format!("… and {more} more; `explain` lists them all"));
        }
        reasons
    }
}

/// Index rows below which one thread is faster than several.
const FEW_ROWS: u64 = 100_000;
/// The most reasons in an error.
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

/// Rows and bytes that the leaves of a finished plan read.
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
