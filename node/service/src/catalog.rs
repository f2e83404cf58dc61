//! Catalogs: the tables, models and published segments of a project that queries see.
//!
//! The metastore maintains a revision of each project's catalog. A node reads the revision before each query, so that
//! every node answers from the state that was committed before the query. A catalog is read and opened again only when
//! its revision has changed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kirin_core::ask::ProjectId;
use kirin_metastore::{DocKind, SegmentState, Store, StoreError};
use kirin_olap::{Broken, Catalog, Engine, Model, Segment, SegmentRange, Snapshot, Table};
use serde_json::Value;

use crate::error::{Error, Result};

/// The catalogs of one node.
#[derive(Clone)]
pub struct Catalogs {
    engine: Engine,
    open: Arc<Mutex<BTreeMap<ProjectId, Opened>>>,
    /// Serializes the opening of a catalog.
    opening: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Opened {
    revision: u64,
    catalog: Arc<Catalog>,
    snapshot: Arc<Snapshot>,
    /// Unusable stored definitions with reasons.
    broken: Arc<Vec<Broken>>,
}

impl Catalogs {
    /// Catalogs for this engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, open: Arc::default(), opening: Arc::default() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The project's current catalog.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn catalog(&self, store: &Store, project: &str) -> Result<Arc<Catalog>> {
        Ok(self.opened(store, project).await?.catalog)
    }

    /// The same, with its revision, for writes that are conditional on the catalog.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn at_revision(&self, store: &Store, project: &str) -> Result<(Arc<Catalog>, u64)> {
        let opened = self.opened(store, project).await?;
        Ok((opened.catalog, opened.revision))
    }

    /// The same, opened for queries.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn snapshot(&self, store: &Store, project: &str) -> Result<Arc<Snapshot>> {
        Ok(self.opened(store, project).await?.snapshot)
    }

    /// Unusable stored definitions with reasons. They do not affect others and can be dropped.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn broken(&self, store: &Store, project: &str) -> Result<Arc<Vec<Broken>>> {
        Ok(self.opened(store, project).await?.broken)
    }

    async fn opened(&self, store: &Store, project: &str) -> Result<Opened> {
        let Some((id, revision)) = store.catalog_revision(project).await? else {
            return Err(Error::NoProject(project.to_owned()));
        };
        if let Some(opened) = self.cached(id).filter(|opened| opened.revision == revision) {
            return Ok(opened);
        }
        let turn = self.opening.try_lock();
        if turn.is_err() {
            // A node that has just started receives many queries at once. One of them opens the catalog for all.
            drop(self.opening.lock().await);
            if let Some(opened) = self.cached(id).filter(|opened| opened.revision == revision) {
                return Ok(opened);
            }
        }
        // Read after the revision. If the content is newer than the revision, it is read once more later.
        let (catalog, mut broken) = read(store, id).await?;
        let snapshot = self.engine.open(catalog.clone())?;
        broken.extend_from_slice(snapshot.broken());
        let opened = Opened { revision, catalog: Arc::new(catalog), snapshot, broken: Arc::new(broken) };
        // Revisions change rarely, so dropped projects are removed here.
        let living = if self.cached(id).is_none() { Some(store.projects().await?) } else { None };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(living) = living {
            open.retain(|id, _| living.iter().any(|project| project.id == *id));
        }
        open.insert(id, opened.clone());
        Ok(opened)
    }

    fn cached(&self, project: ProjectId) -> Option<Opened> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&project).cloned()
    }
}

/// Reads a catalog. A damaged document or manifest is skipped with a log message, and the others are usable.
///
/// # Errors
/// If the metastore does not respond.
pub async fn read(store: &Store, project: ProjectId) -> std::result::Result<(Catalog, Vec<Broken>), StoreError> {
    let mut catalog = Catalog::default();
    let mut broken = Vec::new();
    for doc in store.docs(project).await? {
        let (kind, problem) = match doc.kind {
            DocKind::Table => ("table", parsed::<Table>("table", &doc.name, doc.value).map(|t| catalog.tables.push(t))),
            DocKind::Model => ("model", parsed::<Model>("model", &doc.name, doc.value).map(|m| catalog.models.push(m))),
        };
        if let Err(problem) = problem {
            broken.push(Broken { kind: kind.to_owned(), name: doc.name, problem });
        }
    }
    for row in store.segments(project, None).await? {
        let Some(manifest) = row.manifest.filter(|_| row.state == SegmentState::Ready) else { continue };
        let range = range(row.start_ms, row.end_ms);
        let id = row.id.to_string();
        let manifest = parsed("segment", &id, manifest).ok();
        catalog.segments.extend(manifest.map(|manifest| Segment { id, model: row.model, range, manifest }));
    }
    Ok((catalog, broken))
}

/// The range of a segment's row.
pub fn range(start_ms: i64, end_ms: i64) -> SegmentRange {
    if (start_ms, end_ms) == FULL { SegmentRange::Full } else { SegmentRange::Time { start_ms, end_ms } }
}

/// The ends of a range.
pub fn ends(range: &SegmentRange) -> (i64, i64) {
    match range {
        SegmentRange::Full => FULL,
        SegmentRange::Time { start_ms, end_ms } => (*start_ms, *end_ms),
    }
}

/// The ends of a segment that covers everything.
pub const FULL: (i64, i64) = kirin_wire::FULL_RANGE;

fn parsed<T: serde::de::DeserializeOwned>(what: &str, name: &str, value: Value) -> std::result::Result<T, String> {
    serde_json::from_value(value).map_err(|error| {
        tracing::error!(%error, "skipped {what} '{name}', which is damaged in the metastore");
        error.to_string()
    })
}
