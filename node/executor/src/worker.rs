//! The node's side of worker processes: one per attempt, so that memory and crashes stay there.
//!
//! The worker is this same program, started as `kirin worker`. It is told what to do in JSON lines on its standard input and
//! answers in JSON lines on its standard output; whatever it or its children write to standard error is the step's log.
//!
//! It dies with its parent, however that ends: its standard input is closed then, upon which it ends itself and takes its
//! children along; a build, which has none, is also killed by the kernel. The attempt is over only when the process has been
//! waited for.

use std::process::Stdio;

use futures::future::BoxFuture;
use kirin_core::Capabilities;
use kirin_metastore::{EndReport, JobInfo, Publish, StepReport, Store};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::{Attempt, Ended, Executor, Go, OwnEndpoint};
use crate::kind::Kind;
use crate::protocol::{FromWorker, ToWorker, Work};

/// A node that can't start a worker keeps the job for so long before it hands it back, and may take it again.
const START_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

/// How long the last lines of the log may take after the worker has ended. A process that it left behind may hold its standard
/// error open.
const LOG_WITHIN: std::time::Duration = std::time::Duration::from_millis(500);

/// Runs attempts at jobs of one kind in worker processes.
pub struct Worker {
    kind: &'static Kind,
    memory: u64,
}

impl Worker {
    /// Worker processes that may take so many bytes of memory.
    pub fn new(kind: &'static Kind, memory: u64) -> Self {
        Self { kind, memory }
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

    fn precondition<'a>(&'a self, store: &'a Store, job: &'a JobInfo) -> BoxFuture<'a, Result<(), String>> {
        (self.kind.precondition)(store, job)
    }

    fn run(&self, attempt: Attempt) -> BoxFuture<'static, Ended> {
        let (kind, memory) = (self.kind, self.memory);
        Box::pin(async move { run(attempt, kind, memory).await })
    }
}

async fn run(mut attempt: Attempt, kind: &Kind, memory: u64) -> Ended {
    loop {
        let ended = run_once(&mut attempt, kind, memory).await;
        match &ended {
            Ended::Failed(failure) if attempt.try_again(failure).await => {}
            _ => return ended,
        }
    }
}

async fn run_once(attempt: &mut Attempt, kind: &Kind, memory: u64) -> Ended {
    let mut process = match Process::start(attempt, kind, memory).await {
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
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    step: tokio::sync::watch::Sender<u32>,
    /// Copies the log.
    log: Option<JoinHandle<()>>,
}

impl Process {
    async fn start(attempt: &Attempt, kind: &Kind, memory: u64) -> std::io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A worker that has children of its own must have the time to take them along: it ends when its input is closed,
        // and the program that it runs dies with it.
        if !kind.has_children {
            crate::children::die_with_parent(&mut command);
        }
        let mut child = command.spawn()?;
        let gone = || std::io::Error::other("a pipe to the worker is missing");
        let mut to = child.stdin.take().ok_or_else(gone)?;
        let from = BufReader::new(child.stdout.take().ok_or_else(gone)?).lines();
        let work = ToWorker::Work(Box::new(Work {
            kind: kind.name.to_owned(),
            spec: attempt.job.spec.clone(),
            done: attempt.done.iter().map(|step| step.result.clone()).collect(),
            dir: attempt.dir.clone(),
            job: attempt.job.uuid.to_string(),
            epoch: attempt.fence.epoch.0,
            memory,
        }));
        tell(&mut to, &work).await?;
        Ok(Self { child, to, from, step: tokio::sync::watch::Sender::new(0), log: None })
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
                Ok(None) => return Ended::Failed(self.how_it_ended().await),
                Err(error) => return Ended::Failed(format!("the worker can't be read: {error}")),
            };
            match serde_json::from_str(&line) {
                Ok(FromWorker::Progress(per_mille)) => attempt.progress(per_mille),
                Ok(FromWorker::Step { step, name, result, started_ms, ended_ms }) if step == expected => {
                    let report = StepReport { name, result, started_ms, ended_ms };
                    if attempt.commit(step, report).await == Go::Stop {
                        return Ended::Stopped;
                    }
                    expected += 1;
                    self.step.send_replace(expected);
                    if let Err(error) = tell(&mut self.to, &ToWorker::Proceed).await {
                        return Ended::Failed(format!("the worker does not listen: {error}"));
                    }
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

    async fn how_it_ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => format!("the worker process ended unexpectedly ({status}); see the step's log"),
            Err(error) => format!("the worker process is lost: {error}"),
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

async fn tell(to: &mut ChildStdin, what: &ToWorker) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}
