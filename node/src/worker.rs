//! The worker process: the other end of [`crate::executor::worker`].
//!
//! It reads what to do from standard input, does one step after the other, and waits after each until its result is
//! committed. It ends when its input is closed, whatever it is doing: nobody would commit the result.

use std::io::Write as _;

use serde_json::Value;
use tokio::process::Command;

use crate::executor::worker::{FromWorker, ToWorker, Work};
use crate::plant::Defence;
use kirin_shell::clock::wall_ms;

pub mod build;
pub mod command;

/// Exit code of a worker whose node is gone.
const ORPHANED: i32 = 75;

/// Why a worker stops before its work is done.
pub enum Stop {
    /// A step failed.
    Failed(String),
    /// What the job was for does not exist any more.
    Vanished(String),
}

/// Makes the kernel kill the child when this process ends, however it ends. The child may have huge pages, which a node does
/// without.
#[expect(unsafe_code, reason = "pre_exec is the only place from which a child can ask for its parent's death signal")]
pub fn die_with_parent(command: &mut Command) {
    if Defence::WorkersEnd.is_missing() {
        return;
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl, getppid and _exit.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // This program's allocator has switched them off, and children inherit that. Not every kernel knows them.
            libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0);
            // The parent may have died before the request was made.
            if u32::try_from(libc::getppid()).ok() != Some(parent) {
                libc::_exit(ORPHANED);
            }
            Ok(())
        });
    }
}

/// The way from the work back to the node.
pub struct Reporter {
    proceed: tokio::sync::mpsc::UnboundedReceiver<()>,
}

impl Reporter {
    /// Reports a step's result and waits until it is committed.
    pub async fn step(&mut self, step: u32, name: &str, result: Value, started_ms: i64) {
        say(&FromWorker::Step { step, name: name.to_owned(), result, started_ms, ended_ms: wall_ms() });
        // A closed channel means that the process is about to end.
        let _ = self.proceed.recv().await;
    }

    /// Reports how far the whole job is, in per mille.
    pub fn progress(per_mille: u32) {
        say(&FromWorker::Progress(per_mille));
    }
}

fn say(what: &FromWorker) {
    let mut out = std::io::stdout().lock();
    // Nobody listens: the node is gone, and so will this process be.
    let said = serde_json::to_writer(&mut out, what).is_ok() && out.write_all(b"\n").is_ok() && out.flush().is_ok();
    if !said {
        std::process::exit(ORPHANED);
    }
}

/// Runs one attempt's work; the whole life of the process.
pub async fn run() -> anyhow::Result<()> {
    let mut first = String::new();
    if std::io::stdin().read_line(&mut first)? == 0 {
        return Ok(());
    }
    let ToWorker::Work(work) = serde_json::from_str(&first)? else {
        anyhow::bail!("a worker is started by a node, not by hand");
    };
    let (proceeded, proceed) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own: however busy the work is, the end of the input is noticed.
    std::thread::spawn(move || listen(&proceeded));
    let mut reporter = Reporter { proceed };
    let done = match work.kind.as_str() {
        "build" => build::run(*work, &mut reporter).await,
        "command" => command::run(*work, &mut reporter).await,
        kind => Err(Stop::Failed(format!("this worker does not know the kind '{kind}'"))),
    };
    say(&match done {
        Ok(publish) => FromWorker::Done { publish },
        Err(Stop::Failed(text)) => FromWorker::Failed(text),
        Err(Stop::Vanished(text)) => FromWorker::Vanished(text),
    });
    Ok(())
}

fn listen(proceeded: &tokio::sync::mpsc::UnboundedSender<()>) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if matches!(serde_json::from_str(&line), Ok(ToWorker::Proceed)) && proceeded.send(()).is_err() {
            return;
        }
    }
    if Defence::WorkersEnd.is_missing() {
        return;
    }
    command::kill_children();
    std::process::exit(ORPHANED);
}

/// What both kinds return: the manifests to publish.
pub type Published = Result<Vec<(String, Value)>, Stop>;

/// Takes the work's specification apart.
///
/// # Errors
/// The job's specification is damaged.
pub fn spec<T: serde::de::DeserializeOwned>(work: &Work) -> Result<T, Stop> {
    T::deserialize(&work.spec).map_err(|e| Stop::Failed(format!("the job's specification can't be read: {e}")))
}
