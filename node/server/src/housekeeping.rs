//! The leader's housekeeping: deletes old rows, and files that are provably garbage.
//!
//! Old jobs, old history and old members are deleted in small transactions with pauses in between, so that no request waits
//! for housekeeping.
//!
//! An attempt writes below its own path, and its files are visible only after the publication of a manifest that names them.
//! An ended job cannot publish. So files of an ended job that no segment's manifest names are garbage. The manifests are read
//! *after* the job was seen to be ended. Nothing else is deleted.
//!
//! Leadership owns nothing: a former leader can at worst repeat a deletion.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kirin_config::{Retention, Schedule};
use kirin_core::ask::{Epoch, Target};
use kirin_metastore::{Old, Store, wall_ms};
use kirin_olap::Engine;
use kirin_service::verification;
use serde_json::Value;
use tokio::task::JoinHandle;

/// The longest pause between two rounds.
const ROUND_MAX: Duration = Duration::from_secs(600);
/// The pause before a new leader's first round; short, so that rounds also happen where leaders change often.
const FIRST_ROUND: Duration = Duration::from_secs(10);

/// The pause between two deleting transactions.
const FORGET_PAUSE: Duration = Duration::from_millis(200);

/// The housekeeping of one node, which runs while it leads.
#[derive(Clone)]
pub struct Housekeeping {
    store: Store,
    retention: Retention,
    verification: Option<(Engine, Schedule)>,
    working_dir: Arc<Path>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Housekeeping {
    /// Housekeeping that has not started.
    pub fn new(store: Store, working_dir: &Path, retention: Retention) -> Self {
        Self { store, retention, verification: None, working_dir: working_dir.into(), task: Arc::default() }
    }

    /// Also verifies published segments, according to the schedule.
    #[must_use]
    pub fn verifying(mut self, engine: Engine, schedule: Schedule) -> Self {
        self.verification = Some((engine, schedule)).filter(|(_, schedule)| !schedule.every.is_zero());
        self
    }

    /// Starts when this member acquires the leadership.
    pub fn lead(&self, target: Target, epoch: Epoch) {
        if target != Target::Leader {
            return;
        }
        tracing::info!(epoch = epoch.0, "this node is the leader");
        let housekeeping = self.clone();
        let task = tokio::spawn(async move {
            let mut pause = FIRST_ROUND;
            loop {
                tokio::time::sleep(pause).await;
                pause = housekeeping.every();
                let done = async { anyhow::Ok((housekeeping.forget().await?, housekeeping.sweep().await?)) };
                match done.await {
                    Ok((0, 0)) => {}
                    Ok((rows, files)) => {
                        tracing::info!(rows, files, "deleted old rows and unreferenced files")
                    }
                    Err(error) => tracing::warn!(%error, "housekeeping failed; retrying in the next round"),
                }
                let Some((engine, schedule)) = &housekeeping.verification else { continue };
                match verification::verify_all(&housekeeping.store, engine, *schedule).await {
                    Ok(None) => {}
                    Ok(Some(wrong)) => tracing::info!(wrong, "verified all segments"),
                    Err(error) => tracing::warn!(%error, "cannot verify the segments; retrying in the next round"),
                }
            }
        });
        self.replace(Some(task));
    }

    /// Stops when this member loses the leadership.
    pub fn resign(&self, target: Target) {
        if target == Target::Leader {
            tracing::info!("this node has stopped being the leader");
            self.replace(None);
        }
    }

    fn replace(&self, task: Option<JoinHandle<()>>) {
        let before = std::mem::replace(&mut *self.task.lock().unwrap_or_else(PoisonError::into_inner), task);
        if let Some(before) = before {
            before.abort();
        }
    }

    /// The pause between two rounds: a tenth of the shortest retention, within bounds.
    fn every(&self) -> Duration {
        let verify = self.verification.as_ref().map_or(Duration::ZERO, |(_, schedule)| schedule.every);
        let spans = [self.retention.jobs, self.retention.history, verify];
        spans
            .into_iter()
            .filter(|span| !span.is_zero())
            .min()
            .map_or(ROUND_MAX, |span| span / 10)
            .clamp(FIRST_ROUND, ROUND_MAX)
    }

    /// Deletes rows older than their retention. Returns how many.
    ///
    /// # Errors
    /// If the metastore does not respond. Rows that were deleted before stay deleted.
    pub async fn forget(&self) -> anyhow::Result<u64> {
        let before =
            |kept: Duration| Some(wall_ms() - i64::try_from(kept.as_millis()).ok()?).filter(|_| !kept.is_zero());
        let mut rows = 0;
        for old in [Old::Jobs, Old::History, Old::Members] {
            let kept = if old == Old::Jobs { self.retention.jobs } else { self.retention.history };
            let Some(before_ms) = before(kept) else { continue };
            loop {
                let some = self.store.forget(old, before_ms).await?;
                if some == 0 {
                    break;
                }
                rows += some;
                tokio::time::sleep(FORGET_PAUSE).await;
            }
        }
        self.store.sum_up().await?;
        Ok(rows)
    }

    /// Deletes files of ended jobs that no manifest names. Returns how many.
    ///
    /// # Errors
    /// If the metastore does not respond. No file of that project is deleted then.
    pub async fn sweep(&self) -> anyhow::Result<u64> {
        let mut swept = 0;
        // Directories are listed before projects, because a project exists before its directory.
        let dirs = children(&self.working_dir);
        let projects = self.store.projects().await?;
        for dir in dirs {
            let project =
                projects.iter().find(|project| dir.file_name().is_some_and(|name| name == project.name.as_str()));
            let jobs = dir.join("jobs");
            let mut over = Vec::new();
            for dir in children(&jobs) {
                let Some(uuid) = dir.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
                match self.store.job_by_uuid(uuid).await? {
                    // The job's row is gone, so its logs are deleted, too.
                    None => over.push(dir),
                    Some(job) if job.row.state.is_final() && job.row.holder.is_none() => over.extend(attempts(&dir)),
                    Some(_) => {}
                }
            }
            let mut named = BTreeSet::new();
            if let Some(project) = project {
                for segment in self.store.segments(project.id, None).await? {
                    paths(segment.manifest.as_ref().unwrap_or(&Value::Null), &mut named);
                }
            }
            swept +=
                tokio::task::spawn_blocking(move || over.iter().map(|dir| sweep_dir(dir, &named)).sum::<u64>()).await?;
        }
        Ok(swept)
    }
}

/// All strings in a manifest. Its paths are among them, whatever its structure.
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

/// The directories of a job's attempts.
fn attempts(job: &Path) -> impl Iterator<Item = PathBuf> {
    children(job)
        .into_iter()
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("attempt=")))
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
    // Fails while files are left in it, which is intended.
    let _ = std::fs::remove_dir(dir);
    swept
}

#[cfg(test)]
mod tests {
    use kirin_core::ask::Priority;
    use kirin_core::{Action, Answer, Ask};
    use kirin_store::StoreConfig;

    use super::*;
    use kirin_metastore::{Extra, SubmitInfo};

    #[test]
    fn only_files_that_no_manifest_names_are_swept() {
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
        let job = dir.path().join("job");
        let swept: u64 = attempts(&job).map(|attempt| sweep_dir(&attempt, &named)).sum();
        assert_eq!(swept, 1);
        assert!(kept.exists() && !lost.exists() && log.exists());
        assert_eq!(sweep_dir(&job, &named), 1, "the log is deleted with the job's row");
        assert!(kept.exists() && !log.exists());
    }

    #[tokio::test]
    async fn rows_older_than_the_retention_are_deleted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().join("metastore.db").display());
        let store = Store::open(&StoreConfig::new(url.parse().expect("a URL"))).await.expect("it opens");
        store.create_project("p", "", kirin_wire::ADMIN, kirin_metastore::ProjectLimit::Own(10)).await.expect("made");
        let project = store.project("p").await.expect("read").expect("there").id;
        let mut jobs = Vec::new();
        for key in 1..=2 {
            let submit = Ask::Submit {
                project,
                priority: Priority(3),
                placed: None,
                external: false,
                needs: kirin_core::Capabilities::NONE,
                key,
            };
            let answer = store.ask(&submit, Extra::Submit(SubmitInfo::default())).await;
            let Answer::Accepted { row, .. } = answer else { panic!("{answer:?}") };
            let logs = dir.path().join("p/jobs").join(uuid::Uuid::from_u128(key).to_string()).join("log");
            std::fs::create_dir_all(&logs).expect("made");
            std::fs::write(logs.join("step_000.log"), "x").expect("written");
            jobs.push((row, logs));
        }
        let (over, logs) = &jobs[0];
        let discard = Ask::Act { fence: over.fence(), state: over.state, action: Action::Discard };
        assert_eq!(store.ask(&discard, Extra::None).await, Answer::Done);

        let kept = Retention { jobs: Duration::from_secs(3600), history: Duration::ZERO };
        assert_eq!(
            Housekeeping::new(store.clone(), dir.path(), kept).forget().await.expect("done"),
            0,
            "the history is too recent"
        );
        let kept = Retention { jobs: Duration::from_millis(1), history: Duration::ZERO };
        let housekeeping = Housekeeping::new(store.clone(), dir.path(), kept);
        let forgotten = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                match housekeeping.forget().await.expect("done") {
                    0 => tokio::task::yield_now().await,
                    rows => return rows,
                }
            }
        });
        assert_eq!(forgotten.await.expect("in time"), 1, "a waiting job is never deleted");
        assert_eq!(housekeeping.sweep().await.expect("done"), 1);
        assert!(!logs.exists() && jobs[1].1.exists(), "the logs of the other job stay");
    }
}
