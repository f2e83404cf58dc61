//! Cluster-wide chores of the leader: sweeping what provably is garbage.
//!
//! An attempt writes below its own path, and its files count only once a manifest that names them is published. When a job
//! is over, no attempt at it can publish any more. So the files of a job that is over, which no segment's manifest names,
//! are garbage; the manifests are read *after* the job was seen to be over. Nothing else is ever deleted.
//!
//! Leadership owns nothing: a leader that is not one any more at worst does a chore twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::metastore::Store;
use kirin_core::ask::{Epoch, Target};
use serde_json::Value;
use tokio::task::JoinHandle;

/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// The chores of one node, done while it leads.
#[derive(Clone)]
pub struct Chores {
    store: Store,
    working_dir: Arc<Path>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Chores {
    /// Nothing to do yet.
    pub fn new(store: Store, working_dir: &Path) -> Self {
        Self { store, working_dir: working_dir.into(), task: Arc::default() }
    }

    /// This member holds the claim.
    pub fn lead(&self, target: Target, epoch: Epoch) {
        if target != Target::Leader {
            return;
        }
        tracing::info!(epoch = epoch.0, "this node leads");
        let chores = self.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                match chores.sweep().await {
                    Ok(0) => {}
                    Ok(files) => tracing::info!(files, "swept files that nothing refers to"),
                    Err(error) => tracing::warn!(%error, "the sweep is left for the next time"),
                }
            }
        });
        self.replace(Some(task));
    }

    /// This member does not hold the claim any more.
    pub fn resign(&self, target: Target) {
        if target == Target::Leader {
            tracing::info!("this node does not lead any more");
            self.replace(None);
        }
    }

    fn replace(&self, task: Option<JoinHandle<()>>) {
        let before = std::mem::replace(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner), task);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Deletes the files of jobs that are over and that no manifest names. Returns how many.
    ///
    /// # Errors
    /// If the metastore does not answer; nothing is deleted then.
    pub async fn sweep(&self) -> anyhow::Result<u64> {
        let mut swept = 0;
        for project in self.store.projects().await? {
            let jobs = self.working_dir.join(&project.name).join("jobs");
            let mut over = Vec::new();
            for dir in children(&jobs) {
                let Some(uuid) = dir.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
                let job = self.store.job_by_uuid(uuid).await?;
                if job.is_none_or(|job| job.row.state.is_final() && job.row.holder.is_none()) {
                    over.push(dir);
                }
            }
            let mut named = BTreeSet::new();
            for segment in self.store.segments(project.id, None).await? {
                paths(segment.manifest.as_ref().unwrap_or(&Value::Null), &mut named);
            }
            swept += tokio::task::spawn_blocking(move || sweep_jobs(&over, &named)).await?;
        }
        Ok(swept)
    }
}

/// All texts in a manifest: its paths are among them, whatever its shape.
fn paths(value: &Value, into: &mut BTreeSet<PathBuf>) {
    match value {
        Value::String(text) => drop(into.insert(PathBuf::from(text.strip_prefix("file://").unwrap_or(text)))),
        Value::Array(values) => values.iter().for_each(|value| paths(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| paths(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn sweep_jobs(over: &[PathBuf], named: &BTreeSet<PathBuf>) -> u64 {
    let mut swept = 0;
    for job in over {
        for attempt in children(job) {
            let is_attempt = attempt.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("attempt="));
            if is_attempt {
                swept += sweep_dir(&attempt, named);
            }
        }
    }
    swept
}

fn sweep_dir(dir: &Path, named: &BTreeSet<PathBuf>) -> u64 {
    let mut swept = 0;
    for path in children(dir) {
        if path.is_dir() {
            swept += sweep_dir(&path, named);
        } else if !named.contains(&path) && std::fs::remove_file(&path).is_ok() {
            swept += 1;
        }
    }
    // Fails as long as something is left in it, and may.
    let _ = std::fs::remove_dir(dir);
    swept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_manifest_names_is_swept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let attempt = dir.path().join("job/attempt=2/index");
        std::fs::create_dir_all(&attempt).expect("made");
        std::fs::create_dir_all(dir.path().join("job/log")).expect("made");
        let (kept, lost, log) = (attempt.join("a"), attempt.join("b"), dir.path().join("job/log/step_000.log"));
        for file in [&kept, &lost, &log] {
            std::fs::write(file, "x").expect("written");
        }
        let manifest = serde_json::json!({ "layouts": [{ "files": [{ "path": kept.to_str() }] }] });
        let mut named = BTreeSet::new();
        paths(&manifest, &mut named);
        assert_eq!(sweep_jobs(&[dir.path().join("job")], &named), 1);
        assert!(kept.exists() && !lost.exists() && log.exists());
    }
}
