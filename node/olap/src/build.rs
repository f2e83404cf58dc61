//! Runs the steps of a build.
//!
//! A step knows nothing but the job, the results of the steps before it and its attempt's directory, so any node can
//! run the next one after any other wrote the last, under whatever path. It writes only below its attempt's
//! directory, makes its files durable before it reports, and trusts no file it did not check: the source files are
//! pinned by *Detect Source* (a changed one fails the build rather than mixing two states), and index files carry
//! checksums.
//!
//! Partial aggregates merge exactly: COUNT, MIN, MAX, SUM of integers (of BIGINT as a wide DECIMAL) and of
//! decimals; a sum that does not fit is an error. A SUM of floats depends on the order of summation, so two builds may differ in the last digits.

use crate::conservation::{Broken, Tally, Totals};
use crate::engine::{Engine, EngineInner};
use crate::error::{Error, Result};
use crate::exact::exact;
use crate::index_files::{self, IndexTable, Owner};
use crate::model::{Cuboid, JoinKind};
use crate::plan::{BuildJob, StepKind, StepPlan, plan};
use crate::segment::{DataFile, LayoutData, MANIFEST_MAX, Manifest, SegmentRange};
use crate::source::{self, RawTable, SourceFile};
use crate::sql_type::SqlType;
use crate::star::{LookupKey, Partial, PartialKind, Star, StarColumn};
use crate::stopwatch::Stopwatch;
use crate::table::{Column, Table};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column as ExprColumn, ScalarValue, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, cast, lit};
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

/// How far a step is. Called often and from several threads; keep it cheap.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows written (or files checked) so far.
    pub done: u64,
    /// Rows or files in all, where that is known.
    pub total: Option<u64>,
}

/// Asks running work to stop. Clones ask together.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<watch::Sender<bool>>);

impl Default for Cancel {
    fn default() -> Self {
        Cancel(Arc::new(watch::Sender::new(false)))
    }
}

impl Cancel {
    /// Asks; cannot be taken back.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }

    async fn cancelled(&self) {
        // The sender lives as long as `self`, so waiting can only end by the value.
        let _ = self.0.subscribe().wait_for(|asked| *asked).await;
    }
}

/// What a finished step leaves behind: all that a later step, on any node, needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// Position in the plan.
    pub step: usize,
    /// Name of the step.
    pub name: String,
    /// Files that it wrote.
    pub files: Vec<DataFile>,
    /// Rows that it found or wrote.
    pub rows: u64,
    /// Bytes that it found or wrote.
    pub bytes: u64,
    /// How long it took.
    pub millis: u64,
    /// What the next steps build on.
    pub outcome: StepOutcome,
    /// Of the *Flat Table* step: what every index must have in common with the flat table. Absent in results of older
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

/// A build under way. It reads the results of earlier steps and the model once, so the time for each index does not grow
/// with the number of indexes.
#[derive(Clone, Debug)]
pub struct Building {
    engine: Weak<EngineInner>,
    range: SegmentRange,
    star: Arc<Star>,
    steps: Arc<Vec<StepPlan>>,
    prior: Arc<Prior>,
}

/// What builds have done so far, in numbers that depend on the work alone and not on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Results of earlier steps that were parsed.
    pub results_read: u64,
    /// Models whose indexes were enumerated and whose columns were resolved.
    pub models_resolved: u64,
    /// Indexes whose columns were compared to find out whether another index can be made from them.
    pub layouts_compared: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Efforts {
    results_read: AtomicU64,
    models_resolved: AtomicU64,
    layouts_compared: AtomicU64,
}

impl Engine {
    /// Begins a build, or goes on with one after the steps whose results are given, in any order.
    ///
    /// # Errors
    /// If the job is not well defined, or a result does not belong to it.
    pub fn building(&self, job: &BuildJob, prior: &[serde_json::Value]) -> Result<Building> {
        Building::new(&self.inner, job, prior)
    }

    /// What this engine's builds have done so far.
    pub fn effort(&self) -> Effort {
        let Efforts { results_read, models_resolved, layouts_compared } = &self.inner.efforts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Effort {
            results_read: read(results_read),
            models_resolved: read(models_resolved),
            layouts_compared: read(layouts_compared),
        }
    }

    /// Runs one step of a build alone. `prior` holds the results of the finished steps, in any order; `attempt_dir` is
    /// made if it is not there. It reads all of them, so a build of many indexes is a [`Building`].
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
    fn new(engine: &Arc<EngineInner>, job: &BuildJob, prior: &[serde_json::Value]) -> Result<Building> {
        let star = Star::resolve(&job.model, &job.tables)?;
        engine.efforts.models_resolved.fetch_add(1, Ordering::Relaxed);
        job.range.validate()?;
        if star.partition.is_none() && job.range != SegmentRange::Full {
            return Err(job.model.invalid("partition", "is missing, so the model can only be built in full"));
        }
        let steps = plan(&job.model)?.steps;
        let prior = Prior::parse(prior, &steps)?;
        engine.efforts.results_read.fetch_add(prior.results, Ordering::Relaxed);
        let engine = Arc::downgrade(engine);
        Ok(Building { engine, range: job.range, star: Arc::new(star), steps: Arc::new(steps), prior: Arc::new(prior) })
    }

    /// Runs one step and keeps its result for the next ones. `attempt_dir` is made if it is not there.
    ///
    /// # Errors
    /// If the step fails, or was cancelled. The build can go on from the steps before it.
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

/// What a step has done.
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

    /// A lookup row that is found twice would count fact rows twice.
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
                "the lookup key ({}) must be unique, but ({key}) is there {copies} times, so rows of \"{}\" would \
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
        // Unique keys were checked, so a LEFT JOIN keeps the number of rows, and only INNER JOINs need to be counted.
        let inner = self.star.lookups.iter().filter(|l| l.join == JoinKind::Inner).map(|l| l.alias.as_str());
        let inner: Vec<&str> = inner.collect();
        let expected = match prior.source_rows(self.range).filter(|_| inner.is_empty()) {
            Some(rows) => rows,
            None => count(&state, join_star(self.star, &inner, in_range, provider)?).await?,
        };
        for (alias, files) in sources {
            if let Some(table) = self.star.table(alias) {
                // A source replaced while it was read would be half old and half new.
                source::verify(&state, table, files).await?;
            }
        }
        if rows != expected {
            let broken = Broken { quantity: "rows".into(), expected: expected.to_string(), found: rows.to_string() };
            return Err(Error::not_conserved("the flat table", broken));
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
        // Where an older version made the flat table, *Publish* takes its totals.
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

    /// Runs a plan into files below the attempt's directory. Their number is bounded: [`MAX_FILES`] for all indexes
    /// together, and at most one of them has fewer than [`FEW_ROWS`] rows.
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
            |e: std::io::Error| Error::build_file(dir.display().to_string(), format!("cannot make it: {e}"));
        std::fs::create_dir_all(&dir).map_err(unwritable)?;
        let physical = state.create_physical_plan(&exact(plan)?).await?;
        let written = Arc::new(AtomicU64::new(0));
        let (done, on_progress) = (written.clone(), self.on_progress.clone());
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

/// Batches, then a stream.
fn chained(first: Vec<RecordBatch>, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = rest.schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(first.into_iter().map(Ok)).chain(rest)))
}

/// The streams as at most so many; which rows share one does not matter.
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
        // All of a share are read at the same time: an exchange waits until each of its outputs is read.
        let schema = share[0].schema();
        Box::pin(RecordBatchStreamAdapter::new(schema, stream::select_all(share)))
    };
    shares.into_iter().map(joined).collect()
}

/// An index has no more groups than what it was made from has rows.
fn check_groups(data: &LayoutData, most: u64) -> Result<()> {
    if data.rows <= most {
        return Ok(());
    }
    let (expected, found) = (format!("at most {most}"), data.rows.to_string());
    let broken = Broken { quantity: "groups".into(), expected, found };
    Err(Error::not_conserved(format!("index {}", data.layout), broken))
}

/// An index has the totals of its flat table.
fn check_totals(data: &LayoutData, flat: &Totals, index: &Totals) -> Result<()> {
    match flat.broken_by(index) {
        None => Ok(()),
        Some(broken) => Err(Error::not_conserved(format!("index {}", data.layout), broken)),
    }
}

/// The totals of written files.
pub(crate) async fn tallied(files: &[DataFile], schema: &SchemaRef, mut tally: Tally, owner: &Owner) -> Result<Totals> {
    for file in files {
        for batch in index_files::batches(file).map_err(|problem| owner.error(file, problem))? {
            let batch = batch.map_err(|problem| owner.error(file, problem))?;
            tally.add(&index_files::conform(&batch, schema)?)?;
            // Reading blocks; others get their turn between two batches.
            tokio::task::yield_now().await;
        }
    }
    tally.totals()
}

/// The number of rows of a plan.
pub(crate) async fn count(state: &SessionState, plan: LogicalPlanBuilder) -> Result<u64> {
    let plan = plan.aggregate(Vec::<Expr>::new(), [expr_fn::count(lit(1i64))])?.build()?;
    let batches = collect(state.create_physical_plan(&plan).await?, state.task_ctx()).await?;
    let counts = batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec());
    Ok(counts.sum::<i64>() as u64)
}

/// Input rows that are worth one more thread.
const ROWS_PER_THREAD: u64 = 32_768;

/// Files that the indexes of one segment may have together, so that its manifest fits in one row of the metastore.
pub(crate) const MAX_FILES: usize = 8_192;

/// A part of an index with fewer rows gets no file of its own.
const FEW_ROWS: usize = 16_384;

/// Rows and bytes.
fn totals_of(files: &[DataFile]) -> (u64, u64) {
    (files.iter().map(|f| f.rows).sum(), files.iter().map(|f| f.bytes).sum())
}

/// What an aggregation reads.
pub(crate) enum Input<'a> {
    /// Rows of the star, by column.
    Rows(&'a dyn Fn(&StarColumn) -> Expr),
    /// Groups of an index, by the name of the partial.
    Partials(&'a dyn Fn(&str) -> Expr),
}

/// Groups rows, or merges groups. The output has the groups under their names, then the partials under theirs.
pub(crate) fn aggregate(
    plan: LogicalPlanBuilder,
    groups: Vec<(Expr, String)>,
    partials: &[Partial],
    input: Input<'_>,
) -> Result<LogicalPlanBuilder> {
    let mut aggregates = vec![];
    let mut output: Vec<Expr> = groups.iter().map(|(e, name)| e.clone().alias(name)).collect();
    for partial in partials {
        let stored = partial.name();
        let aggregate = match (&input, partial.kind, &partial.column) {
            (Input::Rows(_), PartialKind::Rows, _) | (Input::Rows(_), _, None) => expr_fn::count(lit(1i64)),
            (Input::Rows(of), PartialKind::Count, Some(c)) => expr_fn::count(of(c)),
            // In the type that is stored: the sum of many BIGINTs does not fit in one.
            (Input::Rows(of), PartialKind::Sum, Some(c)) => expr_fn::sum(cast(of(c), partial.sql_type.arrow())),
            (Input::Rows(of), PartialKind::Min, Some(c)) => expr_fn::min(of(c)),
            (Input::Rows(of), PartialKind::Max, Some(c)) => expr_fn::max(of(c)),
            (Input::Partials(of), PartialKind::Rows | PartialKind::Count | PartialKind::Sum, _) => {
                expr_fn::sum(of(&stored))
            }
            (Input::Partials(of), PartialKind::Min, _) => expr_fn::min(of(&stored)),
            (Input::Partials(of), PartialKind::Max, _) => expr_fn::max(of(&stored)),
        };
        let merged = format!("{stored}'");
        aggregates.push(aggregate.alias(&merged));
        output.push(Expr::Column(ExprColumn::new_unqualified(merged)).alias(stored));
    }
    Ok(plan.aggregate(groups.into_iter().map(|(e, _)| e).collect::<Vec<_>>(), aggregates)?.project(output)?)
}

pub(crate) fn column(alias: &str, name: &str) -> Expr {
    Expr::Column(ExprColumn::new(Some(TableReference::bare(alias)), name))
}

pub(crate) fn scan(alias: &str, provider: Arc<dyn TableProvider>) -> Result<LogicalPlanBuilder> {
    Ok(LogicalPlanBuilder::scan(TableReference::bare(alias), provider_as_source(provider), None)?)
}

/// The fact table joined with the named lookups, under the star's aliases.
pub(crate) fn join_star(
    star: &Star,
    lookups: &[&str],
    fact_filter: Option<Expr>,
    provider: impl Fn(&str) -> Result<Arc<dyn TableProvider>>,
) -> Result<LogicalPlanBuilder> {
    let mut plan = scan(&star.alias, provider(&star.alias)?)?;
    if let Some(filter) = fact_filter {
        plan = plan.filter(filter)?;
    }
    for lookup in star.lookups.iter().filter(|l| lookups.contains(&l.alias.as_str())) {
        let right = scan(&lookup.alias, provider(&lookup.alias)?)?.build()?;
        let keys = lookup.keys.iter().map(|k| column(&star.alias, &k.fact).eq(column(&lookup.alias, &k.lookup)));
        let kind = match lookup.join {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
        };
        plan = plan.join_on(right, kind, keys)?;
    }
    Ok(plan)
}

impl crate::star::StarPartition {
    /// The partition column as something that bounds compare with.
    fn comparable(&self) -> Expr {
        let column = column(&self.column.alias, &self.column.column);
        if self.kind.compares_as_bigint() { cast(column, SqlType::BigInt.arrow()) } else { column }
    }

    /// Rows of a range of time.
    pub(crate) fn in_range(&self, start_ms: i64, end_ms: i64) -> Expr {
        let literal = |ms| -> Expr {
            let value: ScalarValue = self.kind.literal(&self.kind.tick(ms));
            Expr::Literal(value, None)
        };
        self.comparable().gt_eq(literal(start_ms)).and(self.comparable().lt(literal(end_ms)))
    }

    /// The column as a star column.
    pub(crate) fn is(&self, column: &StarColumn) -> bool {
        self.column == *column
    }
}

impl Star {
    /// Columns of the flat table.
    pub(crate) fn flat_schema(&self) -> SchemaRef {
        let fields = self.flat_columns().into_iter().map(|c| {
            let sql_type = self.column_type(&c).unwrap_or(SqlType::Varchar);
            Field::new(c.to_string(), sql_type.arrow(), true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Counts what the flat table holds of every dimension and partial.
    pub(crate) fn flat_tally(&self) -> Result<Tally> {
        Tally::of_flat(self.dimensions.iter().map(|(c, _)| c.to_string()), &self.partials)
    }

    /// Counts what an index holds.
    pub(crate) fn index_tally(&self, cuboid: Cuboid) -> Result<Tally> {
        Tally::of_index(cuboid.dimensions().map(|i| self.dimensions[i].0.to_string()), &self.partials)
    }

    /// The condition of a range's rows; none if it is every row.
    pub(crate) fn in_range(&self, range: SegmentRange) -> Option<Expr> {
        match range {
            SegmentRange::Full => None,
            SegmentRange::Time { start_ms, end_ms } => {
                self.partition.as_ref().map(|partition| partition.in_range(start_ms, end_ms))
            }
        }
    }

    /// The columns of a layout's files as a manifest records them.
    pub(crate) fn layout_columns(&self, cuboid: Cuboid) -> Vec<Column> {
        let dimensions = cuboid.dimensions().map(|i| &self.dimensions[i]);
        dimensions
            .map(|(c, t)| Column { name: c.to_string(), type_name: t.full_name() })
            .chain(self.partials.iter().map(|p| Column { name: p.name(), type_name: p.sql_type.full_name() }))
            .collect()
    }
}

/// The results of the finished steps, sorted out.
#[derive(Clone, Debug, Default)]
struct Prior {
    /// Their number when the build began.
    results: u64,
    detected: Option<BTreeMap<String, Vec<SourceFile>>>,
    detected_rows: u64,
    flat: Option<(Vec<DataFile>, u64, String)>,
    /// Of the flat table.
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
        let mut prior = Prior { results: values.len() as u64, ..Prior::default() };
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

    /// Rows that a full build will read, if the sources tell.
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

    /// The built cuboid with the fewest rows that this one can be made from; `None` means the flat table.
    fn smallest_parent(&self, cuboid: Cuboid, star: &Star, efforts: &Efforts) -> Option<&LayoutData> {
        let others = self.by_rows.iter().map(|(_, layout)| Cuboid(*layout));
        let covering = others.filter(|other| *other != cuboid && other.covers(cuboid));
        covering.filter_map(|other| self.indexes.get(&other.0)).map(|index| &index.data).find(|data| {
            efforts.layouts_compared.fetch_add(1, Ordering::Relaxed);
            star.layout_columns(Cuboid(data.layout)) == data.columns
        })
    }
}
