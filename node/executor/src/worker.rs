//! The node's side of worker processes. Each attempt has its own process, which isolates its memory and crashes.
//!
//! The worker is the same program, started as `kirin worker`. It receives JSON lines on standard input and sends JSON
//! lines on standard output. Standard error of the worker and its children is the step's log.
//!
//! The worker ends with its parent: when its standard input is closed, it kills its children and exits. A build has no
//! children and is also killed by the kernel. An attempt ends only after its process has exited.
//!
//! The node may be frozen. So a worker whose side effects the metastore cannot refuse has its own deadline, the end of
//! the node's trust. The node extends it with every successful beat, and the worker exits when it passes.

use std::process::Stdio;
use std::sync::Arc;

use futures::future::BoxFuture;
use kirin_config::Secret;
use kirin_config::keys::looks_secret;
use kirin_core::Capabilities;
use kirin_metastore::{EndReport, JobInfo, Publish, StepReport, Store};
use kirin_olap::Access;
use kirin_plant::Defence;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Attempt, Covers, Ended, Executor, Go, OwnEndpoint, Trust};
use crate::kind::{DirNeed, Kind};
use crate::protocol::{FromWorker, ToWorker, Work};
use crate::work::STEP_ENDS;

/// How long a node that cannot start a worker keeps the job before it releases it.
const START_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How long the node waits for the end of the log after the worker has exited. A process that the worker left behind
/// may keep standard error open.
const LOG_WITHIN: std::time::Duration = std::time::Duration::from_millis(500);

/// Runs attempts at jobs of one kind in worker processes.
#[derive(Clone)]
pub struct Worker {
    kind: &'static Kind,
    memory: u64,
    access: Access,
    /// The secrets that are removed from the environment.
    secrets: Arc<[Secret]>,
}

impl Worker {
    /// Worker processes with this memory limit in bytes, access to these sources, and an environment without these
    /// secrets.
    pub fn new(kind: &'static Kind, memory: u64, access: Access, secrets: Vec<Secret>) -> Self {
        Self { kind, memory, access, secrets: secrets.into() }
    }
}

impl Executor for Worker {
    fn kind(&self) -> &'static str {
        self.kind.name
    }

    fn job_type(&self, spec: &Value) -> &'static str {
        (self.kind.job_type)(spec)
    }

    fn own_endpoint(&self) -> Option<OwnEndpoint> {
        self.kind.own_endpoint
    }

    fn is_external(&self) -> bool {
        self.kind.external
    }

    fn needs(&self) -> Capabilities {
        self.kind.needs
    }

    fn steps(&self, spec: &Value) -> Result<Vec<String>, String> {
        (self.kind.steps)(spec)
    }

    fn covers(&self, spec: &Value) -> Option<Covers> {
        (self.kind.covers)(spec)
    }

    fn precondition<'a>(&'a self, store: &'a Store, job: &'a JobInfo) -> BoxFuture<'a, Result<(), String>> {
        (self.kind.precondition)(store, job)
    }

    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Ended> {
        let worker = self.clone();
        Box::pin(async move { run(attempt, &worker).await })
    }
}

async fn run(mut attempt: Attempt, worker: &Worker) -> Ended {
    loop {
        let ended = run_once(&mut attempt, worker).await;
        match &ended {
            Ended::Failed(failure) if attempt.try_again(worker.kind, failure).await => {}
            _ => return ended,
        }
    }
}

/// Whether a variable is removed from the environment of workers: it contains a secret of the node's configuration, or
/// its name indicates a secret. Builds read tables in S3, with credentials from the environment.
fn is_withheld(name: &str, value: &str, kind: &Kind, secrets: &[Secret]) -> bool {
    // A short password may be part of an unrelated value.
    let is_in = |secret: &str| value == secret || secret.len() >= 6 && value.contains(secret);
    let holds = secrets.iter().map(Secret::reveal).any(|secret| !secret.is_empty() && is_in(secret));
    let name = name.to_ascii_uppercase();
    let is_for_tables = kind.reads_tables && name.starts_with("AWS_");
    holds || !is_for_tables && (looks_secret(&name.replace('_', ".")) || looks_secret(&name))
}

async fn run_once(attempt: &mut Attempt, worker: &Worker) -> Ended {
    let mut process = match Process::start(attempt, worker).await {
        Ok(process) => process,
        Err(error) => {
            // The node is at fault, not the job, so the job is released for other nodes.
            tracing::warn!(%error, job = %attempt.job.uuid, "cannot start a worker process; the job is released");
            let _ = tokio::time::timeout(START_AGAIN, attempt.stop()).await;
            return Ended::Stopped;
        }
    };
    let first = u32::try_from(attempt.done.len()).unwrap_or(u32::MAX);
    process.drain_log(attempt, first);
    let ended = process.attend(attempt, first).await;
    process.end(ended).await
}

struct Process {
    kind: &'static Kind,
    child: Child,
    to: mpsc::UnboundedSender<ToWorker>,
    from: Lines<BufReader<ChildStdout>>,
    /// Copies the log.
    log: Option<JoinHandle<()>>,
}

impl Process {
    async fn start(attempt: &Attempt, worker: &Worker) -> std::io::Result<Self> {
        let Worker { kind, memory, ref access, ref secrets } = *worker;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        for (name, value) in std::env::vars_os() {
            if is_withheld(&name.to_string_lossy(), &value.to_string_lossy(), kind, secrets) {
                command.env_remove(name);
            }
        }
        // A worker with children needs time to kill them. It exits when its input is closed,
        // and kills its program.
        if !kind.has_children {
            crate::children::die_with_parent(&mut command);
        }
        let mut child = command.spawn()?;
        let gone = || std::io::Error::other("the worker has no pipe");
        let mut to = child.stdin.take().ok_or_else(gone)?;
        let from = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
        let without = Defence::WorkerDeadlines.is_missing();
        let mut trust = (kind.external && !without).then(|| attempt.trust());
        let work = ToWorker::Work(Box::new(Work {
            kind: kind.name.to_owned(),
            spec: attempt.job.spec.clone(),
            done: attempt.done.iter().map(|step| step.result.clone()).collect(),
            dir: attempt.dir.clone(),
            job: attempt.job.uuid.to_string(),
            epoch: attempt.fence.epoch.0,
            memory,
            access: access.clone(),
            trusted_until: trust.as_mut().map(Trust::until_us),
        }));
        tell(&mut to, &work).await?;
        let (sender, inbox) = mpsc::unbounded_channel();
        tokio::spawn(talk(to, inbox, trust));
        Ok(Self { kind, child, to: sender, from, log: None })
    }

    /// Copies the worker's standard error to the logs of the steps. The worker marks the end of each step.
    fn drain_log(&mut self, attempt: &Attempt, first: u32) {
        let Some(errors) = self.child.stderr.take() else { return };
        let log = attempt.log.clone();
        self.log = Some(tokio::spawn(async move {
            let mut reader = BufReader::new(errors);
            let mut line = Vec::new();
            let mut step = first;
            // Reads bytes, not lines, because a program may print binary data without newlines.
            while let Ok(n) =
                tokio::io::AsyncReadExt::take(&mut reader, super::log::LOG_BYTES / 2).read_until(b'\n', &mut line).await
            {
                if n == 0 {
                    break;
                }
                let (text, ends) = match line.strip_suffix(STEP_ENDS) {
                    Some(text) => (text, true),
                    None => (line.as_slice(), false),
                };
                if !text.is_empty() {
                    log.line(step, String::from_utf8_lossy(text).trim_end());
                }
                step += u32::from(ends);
                line.clear();
            }
        }));
    }

    async fn attend(&mut self, attempt: &mut Attempt, first: u32) -> Ended {
        let mut expected = first;
        loop {
            let line = tokio::select! {
                biased;
                _ = attempt.stop() => return Ended::Stopped,
                line = self.from.next_line() => line,
            };
            let line = match line {
                Ok(Some(line)) => line,
                Ok(None) => return self.how_it_ended().await,
                Err(error) => return Ended::Failed(format!("cannot read from the worker: {error}")),
            };
            match serde_json::from_str(&line) {
                Ok(FromWorker::Progress(per_mille)) => attempt.progress(per_mille),
                Ok(FromWorker::Step { step, name, result, started_ms, ended_ms }) if step == expected => {
                    let report = StepReport { name, result, started_ms, ended_ms };
                    // If the directory has been unmounted, only this node can read the step's files.
                    if self.kind.dir == DirNeed::Shares && !attempt.dir_suits(self.kind).await {
                        return Ended::Stopped;
                    }
                    if attempt.commit(step, report).await == Go::Stop {
                        return Ended::Stopped;
                    }
                    expected += 1;
                    // A worker that no longer reads has exited, which its output shows.
                    let _ = self.to.send(ToWorker::Proceed);
                }
                Ok(FromWorker::Step { step, .. }) => {
                    return Ended::Failed(format!("the worker reported step {step} instead of {expected}"));
                }
                Ok(FromWorker::Done { publish }) => {
                    let publish = publish
                        .into_iter()
                        .map(|(segment, manifest)| segment.parse().map(|segment| Publish { segment, manifest }));
                    return match publish.collect() {
                        Ok(publish) => Ended::Done(EndReport { failure: None, publish }),
                        Err(error) => Ended::Failed(format!("the job's result has no valid segment id: {error}")),
                    };
                }
                Ok(FromWorker::Failed(text)) => return Ended::Failed(text),
                Ok(FromWorker::Vanished(text)) => return Ended::Vanished(text),
                Err(error) => return Ended::Failed(format!("malformed message from the worker: {error}")),
            }
        }
    }

    async fn how_it_ended(&mut self) -> Ended {
        match self.child.wait().await {
            // The core also stops the attempt, or has already released it.
            Ok(status) if status.code() == Some(crate::entry::TRUST_ENDED) => Ended::Stopped,
            Ok(status) => {
                Ended::Failed(format!("the worker process exited unexpectedly ({status}); see the step's log"))
            }
            Err(error) => Ended::Failed(format!("cannot wait for the worker process: {error}")),
        }
    }

    /// Waits until all processes of the attempt have ended.
    async fn end(mut self, ended: Ended) -> Ended {
        // A closed input makes the worker kill its children and exit.
        drop(self.to);
        let grace = std::time::Duration::from_millis(if matches!(ended, Ended::Stopped) { 100 } else { 1000 });
        if tokio::time::timeout(grace, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "cannot kill a worker process");
        }
        // An ended job has its complete log, unless a process that the worker left behind still writes.
        if let Some(log) = self.log
            && tokio::time::timeout(LOG_WITHIN, log).await.is_err()
        {
            tracing::debug!("the log of an exited worker is still open");
        }
        ended
    }
}

/// Sends messages and new deadlines to the worker, and closes its input at the end.
async fn talk(mut to: ChildStdin, mut inbox: mpsc::UnboundedReceiver<ToWorker>, mut trust: Option<Trust>) {
    let renewed = async |trust: &mut Option<Trust>| match trust {
        Some(trust) => trust.renewed_us().await,
        None => None,
    };
    loop {
        let what = tokio::select! {
            what = inbox.recv() => what,
            Some(until) = renewed(&mut trust) => Some(ToWorker::TrustedUntil(until)),
        };
        let Some(what) = what else { return };
        if tell(&mut to, &what).await.is_err() {
            return;
        }
    }
}

async fn tell(to: &mut ChildStdin, what: &ToWorker) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{build, command};

    #[test]
    fn workers_do_not_inherit_the_secrets_of_their_node() {
        let secrets = [Secret::new("hunter2"), Secret::new("")];
        let withheld = |name: &str, value: &str, kind: &Kind| is_withheld(name, value, kind, &secrets);
        for kind in [&build::KIND, &command::KIND] {
            let of = kind.name;
            assert!(withheld("META", "hunter2", kind), "{of}");
            assert!(withheld("URL", "postgres://u:hunter2@h/d", kind), "{of}");
            assert!(withheld("DB_PASSWORD", "for another database", kind), "{of}");
            assert!(withheld("PGPASSWORD", "x", kind), "{of}");
            assert!(withheld("API_ACCESS_KEY", "x", kind), "{of}");
            for name in ["PATH", "HOME", "JAVA_HOME", "LANG", "TMPDIR", "AWS_REGION"] {
                assert!(!withheld(name, "/usr", kind), "{name} {of}");
            }
        }
        assert!(withheld("AWS_SECRET_ACCESS_KEY", "x", &command::KIND));
        assert!(!withheld("AWS_SECRET_ACCESS_KEY", "x", &build::KIND), "tables may be in S3");
        assert!(
            !is_withheld("PATH", "/bin:k", &command::KIND, &[Secret::new("k")]),
            "short passwords may be part of unrelated values"
        );
        assert!(is_withheld("P", "k", &command::KIND, &[Secret::new("k")]));
    }
}
