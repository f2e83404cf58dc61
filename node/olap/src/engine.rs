//! The engine: DataFusion behind a narrow, boxed surface.
//!
//! It owns a memory pool, a spill directory, the cache of decoded index files and a thread pool. Because of the thread pool,
//! a heavy query or build never blocks the caller's event loop. Every future that it returns is boxed and runs on that
//! pool. Dropping the future stops the work. Dropping the last handle stops the pool.

use crate::access::Access;
use crate::effort::Efforts;
use crate::error::{Error, Result};
use crate::grouping::ForgetEqualities;
use crate::index_files::IndexCache;
use crate::plant::Plant;
use crate::source::{self, Described, RawTable};
use crate::stores::Stores;
use crate::table::{DEFAULT_SCHEMA, Source, Table};
use crate::texts::{Limit, bound_functions};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider, TableProvider,
};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// The name of the only catalog. Queries do not need it.
pub(crate) const CATALOG: &str = "kirin";

/// Bytes of stack for each thread. Planning recurses as deep as a query is nested, up to [`crate::sql::MAX_DEPTH`]. Only
/// used pages take memory.
const STACK: usize = 128 << 20;

/// The resources of an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Bytes that running queries and builds may hold together. Beyond it they spill, then fail.
    pub memory_limit: usize,
    /// Threads of the pool, and partitions of parallel plans.
    pub threads: usize,
    /// Bytes of decoded index files kept for the next query.
    pub cache_bytes: usize,
    /// The spill directory; the system's temporary directory if missing.
    pub spill_dir: Option<PathBuf>,
    /// What may be read as a source.
    pub access: Access,
    /// A fault planted in builds of indexes. [`Plant::None`] except in tests that prove its detection.
    pub plant: Plant,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            memory_limit: 1 << 30,
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            cache_bytes: 256 << 20,
            spill_dir: None,
            access: Access::default(),
            plant: Plant::None,
        }
    }
}

impl EngineConfig {
    /// The default, with every local file allowed as a source, for programs that choose the sources themselves.
    pub fn anywhere() -> Self {
        EngineConfig { access: Access::anywhere(), ..EngineConfig::default() }
    }
}

/// Runs builds and queries. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

pub(crate) struct EngineInner {
    runtime: Option<tokio::runtime::Runtime>,
    base: SessionState,
    pub(crate) texts: Limit,
    pub(crate) cache: Arc<IndexCache>,
    pub(crate) threads: usize,
    pub(crate) plant: Plant,
    pub(crate) efforts: Efforts,
}

impl Drop for EngineInner {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The handle may be dropped inside an async task, where a blocking shutdown would panic.
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("threads", &self.inner.threads).finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts an engine.
    pub fn new(config: EngineConfig) -> Result<Engine> {
        let threads = config.threads.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("olap")
            .thread_stack_size(STACK)
            .enable_all()
            .build()
            .map_err(|e| Error::Execution(format!("cannot start the engine's threads: {e}")))?;
        let mode = match config.spill_dir {
            Some(dir) => DiskManagerMode::Directories(vec![dir]),
            None => DiskManagerMode::OsTmpDirectory,
        };
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(config.memory_limit)))
            .with_object_store_registry(Arc::new(Stores::new(config.access.s3_instance_role)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
            // A cached listing would hide files that were added to a source later.
            .with_object_list_cache_limit(0)
            // A cached footer could describe a replaced file of the same length and time.
            .with_metadata_cache_limit(0)
            .build_arc()?;
        let mut session = SessionConfig::new()
            .with_target_partitions(threads)
            .with_default_catalog_and_schema(CATALOG, DEFAULT_SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_extension(Arc::new(config.access.clone()));
        session.options_mut().execution.parquet.schema_force_view_types = true;
        // Nanoseconds end in the year 2262.
        session.options_mut().execution.parquet.coerce_int96 = Some("us".into());
        // Its table of the first groups panics on floats.
        session.options_mut().optimizer.enable_topk_aggregation = false;
        // A plan whose logical schema knows less about NULL than its physical one is not an error.
        session.options_mut().execution.skip_physical_aggregate_schema_check = true;
        let mut rules = PhysicalOptimizer::new().rules;
        rules.insert(0, Arc::new(ForgetEqualities));
        let mut base = SessionStateBuilder::new_with_default_features()
            .with_config(session)
            .with_runtime_env(environment)
            .with_physical_optimizer_rules(rules)
            .build();
        let texts = Limit::new(config.memory_limit, base.runtime_env().memory_pool.clone());
        bound_functions(&mut base, &texts)?;
        let cache = Arc::new(IndexCache::new(config.cache_bytes));
        let plant = config.plant;
        let efforts = Efforts::default();
        Ok(Engine {
            inner: Arc::new(EngineInner { runtime: Some(runtime), base, texts, cache, threads, plant, efforts }),
        })
    }

    /// Whether the location of a source may be read, as far as that is known without accessing it.
    pub fn may_read(&self, source: &Source) -> Result<(), String> {
        let access = self.inner.base.config().get_extension::<Access>().unwrap_or_default();
        source.check_place(&access)
    }

    /// Describes a source: the columns for a table definition.
    pub fn describe(&self, source: &Source) -> BoxFuture<'static, Result<Described>> {
        let source = source.clone();
        let state = self.inner.session(&[]);
        self.inner.run(async move { source::describe(&state?, &source).await })
    }

    /// Checks a table definition against its files. They must exist and have the declared columns, with types that can be
    /// cast to the declared ones.
    pub fn check(&self, table: &Table) -> BoxFuture<'static, Result<()>> {
        let table = table.clone();
        let state = self.inner.session(&[]);
        self.inner.run(async move {
            table.validate()?;
            source::check(&state?, &table).await.map(|_| ())
        })
    }
}

impl EngineInner {
    /// Runs work on the engine's pool; dropping the returned future aborts it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);
        impl<T> Drop for AbortOnDrop<T> {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let runtime = self.runtime.as_ref().expect("taken only by drop");
        let mut task = AbortOnDrop(runtime.spawn(work));
        Box::pin(async move {
            match (&mut task.0).await {
                Ok(result) => result,
                Err(e) if e.is_cancelled() => Err(Error::Cancelled),
                Err(e) => Err(Error::Execution(format!("the engine failed: {e}"))),
            }
        })
    }

    /// A session that sees these tables.
    pub(crate) fn session(&self, tables: &[Arc<RawTable>]) -> Result<SessionState> {
        let catalog = Arc::new(MemoryCatalogProvider::new());
        catalog.register_schema(DEFAULT_SCHEMA, Arc::new(MemorySchemaProvider::new()))?;
        for table in tables {
            let name = table.table().schema_name();
            let schema = match catalog.schema(&name) {
                Some(schema) => schema,
                None => {
                    let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
                    catalog.register_schema(&name, schema.clone())?;
                    schema
                }
            };
            let provider: Arc<dyn TableProvider> = table.clone();
            schema.register_table(table.table().bare_name(), provider)?;
        }
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.into(), catalog);
        let mut state = self.base.clone();
        state.register_catalog_list(Arc::new(list));
        Ok(state)
    }
}
