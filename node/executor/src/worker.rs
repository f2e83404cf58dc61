//! The node's side of worker processes: one per attempt, so that memory and crashes stay there.
//!
//! The worker is this same program, started as `kirin worker`. It is told what to do in JSON lines on its standard input and
//! answers in JSON lines on its standard output; whatever it or its children write to standard error is the step's log.
//!
//! It dies with its parent, however that ends: its standard input is closed then, upon which it ends itself and takes its
//! children along; a build, which has none, is also killed by the kernel. The attempt is over only when the process has been
//! waited for.
//!
//! A worker whose side effects the metastore can't refuse does not rely on its node to stop it, which may be frozen: it knows
//! until when the node trusts itself, is told so with every beat that succeeds, and ends itself at that moment.

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

/// A node that can't start a worker keeps the job for so long before it hands it back, and may take it again.
const START_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How long the last lines of the log may take after the worker has ended. A process that it left behind may hold its standard
/// error open.
const LOG_WITHIN: std::time::Duration = std::time::Duration::from_millis(500);

/// Runs attempts at jobs of one kind in worker processes.
#[derive(Clone)]
pub struct Worker {
    kind: &'static Kind,
    memory: u64,
    access: Access,
    /// What no worker may find in its environment.
    secrets: Arc<[Secret]>,
}

impl Worker {
    /// Worker processes that may take so many bytes of memory, may read these sources, and find none of these secrets in
    /// their environment.
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

/// Whether a variable of the node's environment is no business of its workers: it holds a secret of the node's
/// configuration, or its name says that it is one. Builds read tables in S3, with credentials from the environment.
fn is_withheld(name: &str, value: &str, kind: &Kind, secrets: &[Secret]) -> bool {
    // A short password may be a part of anything.
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
            // That is this node's trouble, not the job's: it is handed back, for whoever can.
            tracing::warn!(%error, job = %attempt.job.uuid, "no worker process can be started; the job is handed back");
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
    step: tokio::sync::watch::Sender<u32>,
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
        // A worker that has children of its own must have the time to take them along: it ends when its input is closed,
        // and the program that it runs dies with it.
        if !kind.has_children {
            crate::children::die_with_parent(&mut command);
        }
        let mut child = command.spawn()?;
        let gone = || std::io::Error::other("a pipe to the worker is missing");
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
        Ok(Self { kind, child, to: sender, from, step: tokio::sync::watch::Sender::new(0), log: None })
    }

    /// Copies the worker's standard error to the log of the step that runs.
    fn drain_log(&mut self, attempt: &Attempt, first: u32) {
        let Some(errors) = self.child.stderr.take() else { return };
        let (log, step) = (attempt.log.clone(), self.step.subscribe());
        self.step.send_replace(first);
        self.log = Some(tokio::spawn(async move {
            let mut reader = BufReader::new(errors);
            let mut line = Vec::new();
            // Bytes, not lines of text: a program may print anything, and never a newline.
            while let Ok(n) =
                tokio::io::AsyncReadExt::take(&mut reader, super::log::LOG_BYTES / 2).read_until(b'\n', &mut line).await
            {
                if n == 0 {
                    break;
                }
                log.line(*step.borrow(), String::from_utf8_lossy(&line).trim_end());
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
                Err(error) => return Ended::Failed(format!("the worker can't be read: {error}")),
            };
            match serde_json::from_str(&line) {
                Ok(FromWorker::Progress(per_mille)) => attempt.progress(per_mille),
                Ok(FromWorker::Step { step, name, result, started_ms, ended_ms }) if step == expected => {
                    let report = StepReport { name, result, started_ms, ended_ms };
                    // A directory that was unmounted meanwhile: what the step wrote is seen by this node alone.
                    if self.kind.dir == DirNeed::Shares && !attempt.dir_suits(self.kind).await {
                        return Ended::Stopped;
                    }
                    if attempt.commit(step, report).await == Go::Stop {
                        return Ended::Stopped;
                    }
                    expected += 1;
                    self.step.send_replace(expected);
                    // One that doesn't listen any more has ended, which its output tells.
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
                        Err(error) => Ended::Failed(format!("the job names no segment: {error}")),
                    };
                }
                Ok(FromWorker::Failed(text)) => return Ended::Failed(text),
                Ok(FromWorker::Vanished(text)) => return Ended::Vanished(text),
                Err(error) => return Ended::Failed(format!("the worker said something strange: {error}")),
            }
        }
    }

    async fn how_it_ended(&mut self) -> Ended {
        match self.child.wait().await {
            // The core stops the attempt as well, or has handed it back already.
            Ok(status) if status.code() == Some(crate::entry::TRUST_ENDED) => Ended::Stopped,
            Ok(status) => {
                Ended::Failed(format!("the worker process ended unexpectedly ({status}); see the step's log"))
            }
            Err(error) => Ended::Failed(format!("the worker process is lost: {error}")),
        }
    }

    /// Makes sure that nothing runs any more.
    async fn end(mut self, ended: Ended) -> Ended {
        // A closed input tells the worker to end and to take its own children along.
        drop(self.to);
        let grace = std::time::Duration::from_millis(if matches!(ended, Ended::Stopped) { 100 } else { 1000 });
        if tokio::time::timeout(grace, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "a worker process could not be killed");
        }
        // A job that has ended has its whole log, as far as that does not depend on what the worker left behind.
        if let Some(log) = self.log
            && tokio::time::timeout(LOG_WITHIN, log).await.is_err()
        {
            tracing::debug!("the log of a worker that has ended is still open");
        }
        ended
    }
}

/// Tells the worker what it is to be told, and until when its node trusts itself. Its input is closed at the end.
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
            assert!(withheld("DB_PASSWORD", "of another database", kind), "{of}");
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
            "short passwords are parts of anything"
        );
        assert!(is_withheld("P", "k", &command::KIND, &[Secret::new("k")]));
    }
}
