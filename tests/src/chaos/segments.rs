//! Watches the files of published segments from outside: a file that a commit has named must not change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kirin_metastore::Store;
use kirin_olap::{DataFile, Manifest};
use kirin_store::StoreConfig;
use tokio::task::JoinHandle;

use super::flights::PROJECT;

/// The interval between checks.
const EVERY: Duration = Duration::from_millis(500);

/// A running watch.
pub struct Watch {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Seen>,
}

/// The results of a watch.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The number of intact files read.
    pub sound: u64,
    /// Descriptions of damaged files.
    pub damaged: Vec<String>,
}

impl Watch {
    /// Starts a watch with a connection of its own to the metastore.
    pub fn begin(runtime: &tokio::runtime::Handle, metastore: StoreConfig) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = runtime.spawn(watch(metastore, Arc::clone(&stop)));
        Self { stop, task }
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// If its task panicked.
    pub fn end(self, runtime: &tokio::runtime::Handle) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(runtime.block_on(self.task)?)
    }
}

async fn watch(metastore: StoreConfig, stop: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut store = None;
    let mut written = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(EVERY).await;
        if store.is_none() {
            store = Store::open(&metastore).await.ok();
        }
        let Some(open) = &store else { continue };
        for (id, manifest) in published(open).await {
            let files = manifest.layouts.iter().flat_map(|layout| &layout.files);
            for file in files {
                match unchanged(file, &mut written) {
                    Ok(()) => seen.sound += 1,
                    // The segment was dropped meanwhile, so its files may be deleted.
                    Err(_) if !published(open).await.iter().any(|(other, _)| *other == id) => break,
                    Err(what) => seen.damaged.push(format!("segment {id}: {what}")),
                }
            }
        }
    }
    seen
}

/// Checks that the file has the published content and has not been written again.
fn unchanged(file: &DataFile, written: &mut BTreeMap<String, SystemTime>) -> Result<(), String> {
    file.verify()?;
    let at = std::fs::metadata(&file.path).and_then(|meta| meta.modified()).map_err(|error| error.to_string())?;
    if *written.entry(file.path.clone()).or_insert(at) == at {
        return Ok(());
    }
    Err(format!("{} was written again after it was published", file.path))
}

/// The published files; none while the metastore does not answer.
async fn published(store: &Store) -> Vec<(uuid::Uuid, Manifest)> {
    let Ok(Some(project)) = store.project(PROJECT).await else { return Vec::new() };
    let segments = store.segments(project.id, None).await.unwrap_or_default();
    let manifest = |manifest| serde_json::from_value(manifest).ok();
    segments.into_iter().filter_map(|segment| Some((segment.id, manifest(segment.manifest?)?))).collect()
}
