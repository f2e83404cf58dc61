//! Runs the steps of a build.
//!
//! The input of a step is the job, the results of the steps before it, and the directory of its attempt. Any node can
//! therefore run the next step, whichever node ran the last one and wherever that wrote its files. A step writes only
//! below the directory of its attempt, and makes its files durable before it reports. It checks every file that it reads:
//!
//! - *Detect Source* pins the source files. A file that changed fails the build, so a build never mixes two states.
//! - Index files have checksums.
//!
//! Partial aggregates merge exactly: COUNT, MIN, MAX, and SUM of integers (of BIGINT as a wide DECIMAL) and of decimals. A
//! sum that does not fit is an error. A SUM of floats depends on the order of summation, so two builds may differ in the
//! last digits.

use crate::conservation::{Broken, Tally, Totals};
use crate::effort::{Effort, Efforts};
use crate::engine::{Engine, EngineInner};
use crate::error::{Error, Result};
use crate::exact::exact;
use crate::index_files::{self, Owner};
use crate::index_table::IndexTable;
use crate::model::{Cuboid, JoinKind};
use crate::plan::{BuildJob, StepKind, StepPlan, plan};
use crate::relation::{column, scan};
use crate::segment::{DataFile, LayoutData, MANIFEST_MAX, MAX_FILES, Manifest, SegmentRange};
use crate::source::{self, RawTable, SourceFile};
use crate::star::{LookupKey, Star};
use crate::star_plan::{Input, aggregate, count, join_star};
use crate::stopwatch::Stopwatch;
use crate::table::Table;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::Column as ExprColumn;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    EmptyRecordBatchStream, SendableRecordBatchStream, collect, execute_stream_partitioned,
};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Receives the progress of a step. Called often and from several threads, so it must be cheap.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// The progress of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows written (or files checked) so far.
    pub done: u64,
    /// Total number of rows or files, if known.
    pub total: Option<u64>,
}

/// Asks running work to stop. Clones share the request.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Default for Cancel {
    fn default() -> Self {
        Cancel(Arc::new(watch::Sender::new(false)))
    }
}

impl Cancel {
    /// Asks the work to stop. Cannot be undone.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether the work was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    async fn cancelled(&self) {
        // The sender lives as long as `self`, so the wait ends only with the value.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

/// The result of a finished step: everything that a later step, on any node, needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// Position in the plan.
    pub step: usize,
    /// Name of the step.
    pub name: String,
    /// Files that it wrote.
    pub files: Vec<DataFile>,
    /// Rows found or written.
    pub rows: u64,
    /// Bytes found or written.
    pub bytes: u64,
    /// How long it took.
    pub millis: u64,
    /// The part that depends on the kind of step.
    pub outcome: StepOutcome,
    /// Totals that every index must share with the flat table, from the *Flat Table* step. Absent in results of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
}

impl StepResult {
    /// The manifest to commit, if this was the *Publish* step.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.outcome {
            StepOutcome::Published(manifest) => Some(manifest),
            _ => None,
        }
    }
}

/// The part of a [`StepResult`] that depends on the kind of step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// Files of each table, by alias.
    Detected(BTreeMap<String, Vec<SourceFile>>),
    /// Signature of the star that was joined.
    Joined(String),
    /// An index.
    Indexed {
        /// What was built.
        data: LayoutData,
        /// From which layout; `None` means the flat table.
        parent: Option<u64>,
        /// Whether its totals were compared with those of the flat table. Older versions did not.
        #[serde(default)]
        conserved: bool,
    },
    /// The segment's manifest.
    Published(Manifest),
}

/// A build in progress. It reads the results of earlier steps and the model once, so the time for each index does not grow
/// with the number of indexes.
#[derive(Clone, Debug)]
pub struct Building {
    engine: Weak<EngineInner>,
    range: SegmentRange,
    star: Arc<Star>,
    steps: Arc<Vec<StepPlan>>,
    prior: Arc<Prior>,
}

impl Engine {
    /// Begins a build, or continues one after the steps whose results are given, in any order.
    ///
    /// # Errors
    /// If the job is not well defined, or a result does not belong to it.
    pub fn building(&self, job: &BuildJob, prior: &[serde_json::Value]) -> Result<Building> {
        Building::new(&self.inner, job, prior)
    }

    /// What this engine's builds have done so far.
    pub fn effort(&self) -> Effort {
        self.inner.efforts.so_far()
    }

    /// Runs one step of a build. `prior` holds the results of the finished steps, in any order. `attempt_dir` is created if
    /// it does not exist. Each call reads all of `prior`, so use [`Engine::building`] for a build of many indexes.
    pub fn run_step(
        &self,
        job: &BuildJob,
        step: usize,
        prior: &[serde_json::Value],
        attempt_dir: &Path,
        on_progress: ProgressFn,
        cancel: &Cancel,
    ) -> BoxFuture<'static, Result<StepResult>> {
        let engine = Arc::downgrade(&self.inner);
        let (job, prior, dir, cancel) = (job.clone(), prior.to_vec(), attempt_dir.to_path_buf(), cancel.clone());
        self.inner.run(async move {
            let engine = engine.upgrade().ok_or(Error::Cancelled)?;
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let building = Building::new(&engine, &job, &prior)?;
            building.run(&engine, step, &dir, on_progress, &cancel).await
        })
    }
}

impl Building {
    fn new(engine: &Arc<EngineInner>, job: &BuildJob, values: &[serde_json::Value]) -> Result<Building> {
        let star = Star::resolve(&job.model, &job.tables)?;
        job.range.validate()?;
        if star.partition.is_none() && job.range != SegmentRange::Full {
            return Err(job.model.invalid("partition", "is missing, so the model can only be built in full"));
        }
        let steps = plan(&job.model)?.steps;
        let prior = Prior::parse(values, &steps)?;
        engine.efforts.began(values.len());
        let engine = Arc::downgrade(engine);
        Ok(Building { engine, range: job.range, star: Arc::new(star), steps: Arc::new(steps), prior: Arc::new(prior) })
    }

    /// Runs one step and keeps its result for the next ones. `attempt_dir` is created if it does not exist.
    ///
    /// # Errors
    /// If the step fails or was cancelled. The build can continue from the steps before it.
    pub async fn step(
        &mut self,
        step: usize,
        attempt_dir: &Path,
        on_progress: ProgressFn,
        cancel: &Cancel,
    ) -> Result<StepResult> {
        let pool = self.engine.upgrade().ok_or(Error::Cancelled)?;
        let (same, dir, cancel) = (self.clone(), attempt_dir.to_path_buf(), cancel.clone());
        let result = pool.run(async move {
            let engine = same.engine.upgrade().ok_or(Error::Cancelled)?;
            same.run(&engine, step, &dir, on_progress, &cancel).await
        });
        let result = result.await?;
        Arc::make_mut(&mut self.prior).add(result.clone());
        Ok(result)
    }

    async fn run(
        &self,
        engine: &Arc<EngineInner>,
        step: usize,
        dir: &Path,
        on_progress: ProgressFn,
        cancel: &Cancel,
    ) -> Result<StepResult> {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        tokio::select! {
            result = self.run_to_its_end(engine, step, dir, on_progress) => result,
            () = cancel.cancelled() => Err(Error::Cancelled),
        }
    }

    async fn run_to_its_end(
        &self,
        engine: &Arc<EngineInner>,
        step: usize,
        dir: &Path,
        on_progress: ProgressFn,
    ) -> Result<StepResult> {
        let began = Stopwatch::start();
        let (star, prior) = (self.star.as_ref(), self.prior.as_ref());
        let Some(plan) = self.steps.get(step) else {
            let steps = self.steps.len();
            return Err(Error::invalid("step", format!("{step} is not one of the {steps} steps of the build")));
        };
        let build = Build { engine, star, range: self.range, dir, on_progress };
        let done = match plan.kind {
            StepKind::DetectSource => build.detect_source().await?,
            StepKind::FlatTable => build.flat_table(prior).await?,
            StepKind::Index => build.index(Cuboid(plan.layout.expect("an index step has a layout")), prior).await?,
            StepKind::Publish => build.publish(prior).await?,
        };
        let Done { files, rows, bytes, outcome, totals } = done;
        let millis = began.millis();
        Ok(StepResult { step, name: plan.name.clone(), files, rows, bytes, millis, outcome, totals })
    }
}

/// The result of a step, before it is timed.
struct Done {
    files: Vec<DataFile>,
    rows: u64,
    bytes: u64,
    outcome: StepOutcome,
    totals: Option<Totals>,
}

struct Build<'a> {
    engine: &'a Arc<EngineInner>,
    star: &'a Star,
    range: SegmentRange,
    dir: &'a Path,
    on_progress: ProgressFn,
}

impl Build<'_> {
    async fn detect_source(&self) -> Result<Done> {
        let mut found = BTreeMap::new();
        let (mut rows, mut bytes) = (0, 0);
        let aliases = std::iter::once((&self.star.alias, &self.star.fact))
            .chain(self.star.lookups.iter().map(|l| (&l.alias, &l.table)));
        let state = self.engine.session(&[])?;
        for (alias, table) in aliases {
            let checked = source::check(&state, table).await?;
            bytes += checked.files.iter().map(|f| f.bytes).sum::<u64>();
            if *alias == self.star.alias {
                rows = checked.rows.unwrap_or(0);
            }
            found.insert(alias.clone(), checked.files);
        }
        for lookup in &self.star.lookups {
            let files = found.get(&lookup.alias).cloned().unwrap_or_default();
            self.check_unique(&state, &lookup.alias, &lookup.table, files, &lookup.keys).await?;
        }
        Ok(Done { files: vec![], rows, bytes, outcome: StepOutcome::Detected(found), totals: None })
    }

    /// Refuses duplicate lookup keys, which would count fact rows more than once.
    async fn check_unique(
        &self,
        state: &SessionState,
        alias: &str,
        table: &Arc<Table>,
        files: Vec<SourceFile>,
        keys: &[LookupKey],
    ) -> Result<()> {
        let columns: Vec<Expr> = keys.iter().map(|k| column(alias, &k.lookup)).collect();
        let known = columns.iter().map(|c| c.clone().is_not_null());
        let copies = expr_fn::count(lit(1i64)).alias("copies");
        let plan = scan(alias, Arc::new(RawTable::pinned(table.clone(), files)))?
            .filter(conjunction(known).expect("a lookup has keys"))?
            .aggregate(columns, [copies])?
            .filter(Expr::Column(ExprColumn::new_unqualified("copies")).gt(lit(1i64)))?
            .limit(0, Some(1))?
            .build()?;
        let batches = collect(state.create_physical_plan(&plan).await?, state.task_ctx()).await?;
        let Some(batch) = batches.iter().find(|b| b.num_rows() > 0) else {
            return Ok(());
        };
        let shown = batch.columns().iter().map(|c| array_value_to_string(c, 0).unwrap_or_default());
        let shown: Vec<String> = shown.collect();
        let (copies, key) = shown.split_last().map(|(c, k)| (c.clone(), k.join(", "))).unwrap_or_default();
        let names: Vec<_> = keys.iter().map(|k| k.lookup.as_str()).collect();
        Err(Error::source(
            &table.name,
            format!(
                "the lookup key ({}) must be unique, but ({key}) occurs {copies} times, so rows of \"{}\" would \
                 count more than once; remove the duplicates or join by more columns",
                names.join(", "),
                self.star.fact.name
            ),
        ))
    }

    async fn flat_table(&self, prior: &Prior) -> Result<Done> {
        let sources = prior.detected()?;
        let mut providers = BTreeMap::new();
        let state = self.engine.session(&[])?;
        for (alias, files) in sources {
            if let Some(table) = self.star.table(alias) {
                source::verify(&state, table, files).await?;
                providers.insert(alias.clone(), Arc::new(RawTable::pinned(table.clone(), files.clone())));
            }
        }
        let in_range = self.star.in_range(self.range);
        let provider = |alias: &str| {
            providers.get(alias).cloned().map(|p| p as Arc<dyn TableProvider>).ok_or_else(|| {
                Error::invalid(
                    "prior",
                    format!("Detect Source did not report the files of \"{alias}\"; restart the job"),
                )
            })
        };
        let lookups: Vec<&str> = self.star.lookups.iter().map(|l| l.alias.as_str()).collect();
        let columns = self.star.flat_columns();
        let output = columns.iter().map(|c| column(&c.alias, &c.column).alias(c.to_string()));
        let plan = join_star(self.star, &lookups, in_range.clone(), provider)?.project(output)?.build()?;
        let schema = self.star.flat_schema();
        let tally = || self.star.flat_tally();
        let (files, totals) =
            self.write(&state, plan, schema, "flat", prior.source_rows(self.range), tally, false).await?;
        let (rows, bytes) = totals_of(&files);
        // The keys are unique, so a LEFT JOIN keeps the number of rows. Only INNER JOINs need to be counted.
        let inner = self.star.lookups.iter().filter(|l| l.join == JoinKind::Inner).map(|l| l.alias.as_str());
        let inner: Vec<&str> = inner.collect();
        let expected = match prior.source_rows(self.range).filter(|_| inner.is_empty()) {
            Some(rows) => rows,
            None => count(&state, join_star(self.star, &inner, in_range, provider)?).await?,
        };
        for (alias, files) in sources {
            if let Some(table) = self.star.table(alias) {
                // A source that was replaced while it was read would be a mix of two states.
                source::verify(&state, table, files).await?;
            }
        }
        if rows != expected {
            let broken = Broken { quantity: "rows".into(), expected: expected.to_string(), found: rows.to_string() };
            return Err(broken.error("the flat table"));
        }
        let outcome = StepOutcome::Joined(self.star.signature());
        Ok(Done { files, rows, bytes, outcome, totals: Some(totals) })
    }

    async fn index(&self, cuboid: Cuboid, prior: &Prior) -> Result<Done> {
        let (flat, flat_rows) = prior.joined(self.star)?;
        let parent = prior.smallest_parent(cuboid, self.star, &self.engine.efforts);
        let (files, from_schema) = match parent {
            Some(data) => (&data.files, self.star.layout_schema(Cuboid(data.layout))),
            None => (flat, self.star.flat_schema()),
        };
        let input_rows: u64 = files.iter().map(|f| f.rows).sum();
        let table = IndexTable {
            schema: from_schema,
            files: files.iter().map(|f| (Owner::Build, f.clone())).collect(),
            cache: self.engine.cache.clone(),
        };
        let of = |name: &str| column("input", name);
        let groups = cuboid.dimensions().map(|i| &self.star.dimensions[i].0);
        let groups = groups.map(|c| (of(&c.to_string()), c.to_string())).collect();
        let input = scan("input", Arc::new(table))?;
        let plan = match parent {
            Some(_) => aggregate(input, groups, &self.star.partials, Input::Partials(&of))?,
            None => aggregate(input, groups, &self.star.partials, Input::Rows(&|c| of(&c.to_string())))?,
        };
        let schema = self.star.layout_schema(cuboid);
        let plan = plan.build()?;
        let mut state = self.engine.session(&[])?;
        let wide = (input_rows / ROWS_PER_THREAD).clamp(1, self.engine.threads as u64);
        state.config_mut().options_mut().execution.target_partitions = wide as usize;
        let tally = || self.star.index_tally(cuboid);
        let name = format!("layout-{}", cuboid.0);
        let (written, found) = self.write(&state, plan, schema.clone(), &name, None, tally, true).await?;
        let (rows, bytes) = totals_of(&written);
        let data = LayoutData {
            layout: cuboid.0,
            columns: self.star.layout_columns(cuboid),
            dimensions: cuboid.len() as usize,
            files: written.clone(),
            rows,
            bytes,
        };
        let most = parent.map_or(flat_rows, |p| p.rows);
        check_groups(&data, most)?;
        // If an older version made the flat table, *Publish* computes its totals.
        let conserved = prior.totals.as_ref().map(|totals| check_totals(&data, totals, &found)).transpose()?.is_some();
        let outcome = StepOutcome::Indexed { data, parent: parent.map(|p| p.layout), conserved };
        Ok(Done { files: written, rows, bytes, outcome, totals: None })
    }

    async fn publish(&self, prior: &Prior) -> Result<Done> {
        let (flat, source_rows) = prior.joined(self.star)?;
        let mut layouts = vec![];
        for cuboid in &self.star.cuboids {
            match prior.indexes.get(&cuboid.0) {
                Some(index) => layouts.push(index.data.clone()),
                None => {
                    return Err(Error::invalid("prior", format!("index {} was not built; restart the job", cuboid.0)));
                }
            }
        }
        let files: Vec<&DataFile> = layouts.iter().flat_map(|l| &l.files).collect();
        for (done, file) in files.iter().enumerate() {
            index_files::verify(file).map_err(|problem| Error::build_file(&file.path, problem))?;
            (self.on_progress)(Progress { done: done as u64 + 1, total: Some(files.len() as u64) });
        }
        let totals = match &prior.totals {
            Some(totals) => totals.clone(),
            None => tallied(flat, &self.star.flat_schema(), self.star.flat_tally()?, &Owner::Build).await?,
        };
        for data in layouts.iter().filter(|data| !prior.is_conserved(data.layout)) {
            let cuboid = Cuboid(data.layout);
            let (schema, tally) = (self.star.layout_schema(cuboid), self.star.index_tally(cuboid)?);
            check_totals(data, &totals, &tallied(&data.files, &schema, tally, &Owner::Build).await?)?;
        }
        let (rows, bytes) = (layouts.iter().map(|l| l.rows).sum(), layouts.iter().map(|l| l.bytes).sum());
        let signature = self.star.signature();
        let manifest = Manifest { signature, layouts, source_rows, bytes, totals: Some(totals), wrong: None };
        let size = serde_json::to_string(&manifest).map_or(0, |text| text.len());
        if size > MANIFEST_MAX {
            let problem = format!(
                "has {size} bytes, at most {MANIFEST_MAX} are allowed; use fewer indexes or a shorter working directory"
            );
            return Err(Error::invalid("the segment's manifest", problem));
        }
        Ok(Done { files: vec![], rows, bytes, outcome: StepOutcome::Published(manifest), totals: None })
    }

    /// Writes the result of a plan to files below the attempt's directory. Their number is bounded: [`MAX_FILES`] for all
    /// indexes together, and at most one file of an index has fewer than [`FEW_ROWS`] rows.
    #[expect(clippy::too_many_arguments, reason = "one caller for the flat table and one for indexes")]
    async fn write(
        &self,
        state: &SessionState,
        plan: LogicalPlan,
        schema: SchemaRef,
        name: &str,
        total: Option<u64>,
        tally: impl Fn() -> Result<Tally>,
        index: bool,
    ) -> Result<(Vec<DataFile>, Totals)> {
        let dir = self.dir.join(name);
        let unwritable =
            |e: std::io::Error| Error::build_file(dir.display().to_string(), format!("cannot create it: {e}"));
        std::fs::create_dir_all(&dir).map_err(unwritable)?;
        let physical = state.create_physical_plan(&exact(plan)?).await?;
        let (done, on_progress) = (AtomicU64::new(0), self.on_progress.clone());
        let on_rows = Arc::new(move |rows: u64| {
            let done = done.fetch_add(rows, Ordering::Relaxed) + rows;
            on_progress(Progress { done, total });
        });
        let path = |i: usize| -> PathBuf { dir.join(format!("part-{i}.parquet")) };
        let streams = execute_stream_partitioned(physical, state.task_ctx())?.into_iter().enumerate();
        let streams = streams.map(|(i, stream)| if index { self.engine.plant.spoil(i, stream) } else { stream });
        let shares = shared_out(streams.collect(), MAX_FILES / self.star.cuboids.len().max(1));
        let mut tasks = JoinSet::new();
        for (i, mut stream) in shares.into_iter().enumerate() {
            let (path, schema, cache, on_rows) = (path(i), schema.clone(), self.engine.cache.clone(), on_rows.clone());
            let mut tally = tally()?;
            tasks.spawn(async move {
                let mut few = vec![];
                let mut rows = 0;
                while rows < FEW_ROWS {
                    let Some(batch) = stream.try_next().await? else { break };
                    rows += batch.num_rows();
                    few.push(batch);
                }
                if rows < FEW_ROWS {
                    return Ok((i, None, few, tally));
                }
                let stream = chained(few, stream);
                let file = index_files::write(&path, &schema, stream, Some(&cache), &mut tally, &*on_rows).await?;
                Ok::<_, Error>((i, file, vec![], tally))
            });
        }
        let (mut files, mut rest, mut all) = (vec![], vec![], tally()?);
        while let Some(done) = tasks.join_next().await {
            let (i, file, few, tally) = done.map_err(|e| Error::Execution(format!("a build task failed: {e}")))??;
            files.extend(file.map(|file| (i, file)));
            rest.push((i, few));
            all.merge(tally)?;
        }
        rest.retain(|(_, few)| !few.is_empty());
        rest.sort_by_key(|(i, _)| *i);
        if let Some((i, few)) = rest.first() {
            let nothing = Box::pin(EmptyRecordBatchStream::new(few[0].schema()));
            let stream = chained(rest.iter().flat_map(|(_, few)| few.clone()).collect(), nothing);
            let cache = &self.engine.cache;
            let file = index_files::write(&path(*i), &schema, stream, Some(cache), &mut all, &*on_rows).await?;
            files.extend(file.map(|file| (*i, file)));
        }
        files.sort_by_key(|(i, _)| *i);
        index_files::sync_dir(&dir)?;
        index_files::sync_dir(self.dir)?;
        Ok((files.into_iter().map(|(_, file)| file).collect(), all.totals()?))
    }
}

/// A stream of these batches, then of the rest.
fn chained(first: Vec<RecordBatch>, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rest.schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(first.into_iter().map(Ok)).chain(rest)))
}

/// The streams, joined to at most so many. Which rows share a stream does not matter.
fn shared_out(streams: Vec<SendableRecordBatchStream>, most: usize) -> Vec<SendableRecordBatchStream> {
    if streams.len() <= most.max(1) {
        return streams;
    }
    let mut shares: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(most.max(1)).collect();
    for (i, stream) in streams.into_iter().enumerate() {
        let share = i % shares.len();
        shares[share].push(stream);
    }
    let joined = |share: Vec<SendableRecordBatchStream>| -> SendableRecordBatchStream {
        // All streams of a share are read at the same time: an exchange waits until each of its outputs is read.
        let schema = share[0].schema();
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::select_all(share)))
    };
    shares.into_iter().map(joined).collect()
}

/// Checks that an index has no more groups than its input has rows.
fn check_groups(data: &LayoutData, most: u64) -> Result<()> {
    if data.rows <= most {
        return Ok(());
    }
    let (expected, found) = (format!("at most {most}"), data.rows.to_string());
    let broken = Broken { quantity: "groups".into(), expected, found };
    Err(broken.error(format!("index {}", data.layout)))
}

/// Checks that an index has the totals of its flat table.
fn check_totals(data: &LayoutData, flat: &Totals, index: &Totals) -> Result<()> {
    match flat.broken_by(index) {
        None => Ok(()),
        Some(broken) => Err(broken.error(format!("index {}", data.layout))),
    }
}

/// The totals of written files.
pub(crate) async fn tallied(files: &[DataFile], schema: &SchemaRef, mut tally: Tally, owner: &Owner) -> Result<Totals> {
    for file in files {
        for batch in index_files::batches(file).map_err(|problem| owner.error(file, problem))? {
            let batch = batch.map_err(|problem| owner.error(file, problem))?;
            tally.add(&index_files::conform(&batch, schema)?)?;
            // Reading blocks the thread, so other tasks run between two batches.
            tokio::task::yield_now().await;
        }
    }
    tally.totals()
}

/// Input rows for each thread.
const ROWS_PER_THREAD: u64 = 32_768;

/// A part of an index with fewer rows gets no file of its own.
const FEW_ROWS: usize = 16_384;

/// Rows and bytes.
fn totals_of(files: &[DataFile]) -> (u64, u64) {
    (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes).sum())
}

impl Star {
    /// A tally of the flat table.
    pub(crate) fn flat_tally(&self) -> Result<Tally> {
        Tally::of_flat(self.dimensions.iter().map(|(c, _)| c.to_string()), &self.partials)
    }

    /// A tally of an index.
    pub(crate) fn index_tally(&self, cuboid: Cuboid) -> Result<Tally> {
        Tally::of_index(cuboid.dimensions().map(|i| self.dimensions[i].0.to_string()), &self.partials)
    }
}

/// The results of the finished steps, by kind.
#[derive(Clone, Debug, Default)]
struct Prior {
    detected: Option<BTreeMap<String, Vec<SourceFile>>>,
    detected_rows: u64,
    flat: Option<(Vec<DataFile>, u64, String)>,
    /// Totals of the flat table.
    totals: Option<Totals>,
    indexes: BTreeMap<u64, Index>,
    /// Rows and id of each index: the smallest first.
    by_rows: BTreeSet<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Index {
    data: LayoutData,
    conserved: bool,
}

impl Prior {
    fn parse(values: &[serde_json::Value], steps: &[StepPlan]) -> Result<Prior> {
        let mut prior = Prior::default();
        for value in values {
            let result = StepResult::deserialize(value).map_err(|e| {
                Error::invalid("prior", format!("a step's result cannot be read ({e}); restart the job"))
            })?;
            if steps.get(result.step).is_none_or(|s| s.name != result.name) {
                let problem = format!("step {} \"{}\" does not belong to this build", result.step, result.name);
                return Err(Error::invalid("prior", problem));
            }
            prior.add(result);
        }
        Ok(prior)
    }

    fn add(&mut self, result: StepResult) {
        match result.outcome {
            StepOutcome::Detected(files) => {
                self.detected = Some(files);
                self.detected_rows = result.rows;
            }
            StepOutcome::Joined(signature) => {
                self.flat = Some((result.files, result.rows, signature));
                self.totals = result.totals;
            }
            StepOutcome::Indexed { data, conserved, .. } => {
                let (layout, rows) = (data.layout, data.rows);
                if let Some(replaced) = self.indexes.insert(layout, Index { data, conserved }) {
                    self.by_rows.remove(&(replaced.data.rows, layout));
                }
                self.by_rows.insert((rows, layout));
            }
            StepOutcome::Published(_) => {}
        }
    }

    fn detected(&self) -> Result<&BTreeMap<String, Vec<SourceFile>>> {
        self.detected
            .as_ref()
            .ok_or_else(|| Error::invalid("prior", "has no result of \"Detect Source\"; run that step first"))
    }

    /// Rows that a full build will read, if the sources record it.
    fn source_rows(&self, range: SegmentRange) -> Option<u64> {
        (range == SegmentRange::Full && self.detected_rows > 0).then_some(self.detected_rows)
    }

    fn joined(&self, star: &Star) -> Result<(&Vec<DataFile>, u64)> {
        match &self.flat {
            Some((files, rows, signature)) if *signature == star.signature() => Ok((files, *rows)),
            Some(_) => Err(Error::invalid("prior", "the flat table was joined by another definition; restart the job")),
            None => Err(Error::invalid("prior", "has no result of \"Flat Table\"; run that step first")),
        }
    }

    fn is_conserved(&self, layout: u64) -> bool {
        self.indexes.get(&layout).is_some_and(|index| index.conserved)
    }

    /// The built cuboid with the fewest rows that covers this one; `None` means the flat table.
    fn smallest_parent(&self, cuboid: Cuboid, star: &Star, efforts: &Efforts) -> Option<&LayoutData> {
        let others = self.by_rows.iter().map(|(_, layout)| Cuboid(*layout));
        let covering = others.filter(|other| *other != cuboid && other.covers(cuboid));
        covering.filter_map(|other| self.indexes.get(&other.0)).map(|index| &index.data).find(|data| {
            efforts.compared();
            star.layout_columns(Cuboid(data.layout)) == data.columns
        })
    }
}
