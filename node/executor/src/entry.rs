//! The worker process: the other end of [`crate::worker`].
//!
//! It reads what to do from standard input, does one step after the other, and waits after each until its result is
//! committed. It ends when its input is closed, whatever it is doing: nobody would commit the result.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::worker::{FromWorker, ToWorker, Work};
use crate::{build, command};
use kirin_plant::Defence;
use kirin_shell::clock::wall_ms;

/// Exit code of a worker whose node is gone.
const ORPHANED: i32 = 75;
/// Exit code of a worker that panicked: Rust's own.
const PANICKED: i32 = 101;
/// Exit code of a worker that can't go on.
const STOOD_STILL: i32 = 71;
/// How often a worker looks whether it can go on.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long it may seem that it can't.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

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

/// Makes a panic of any thread the end of this process, before it has threads. Without memory a runtime may panic half built,
/// and wait for ever for the threads that it has; or a task ends and others wait for it.
pub fn end_with_a_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        command::kill_children();
        std::process::exit(PANICKED);
    }));
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
    tokio::spawn(async {
        standstill(LOOK_AGAIN, STANDSTILL_MAX).await;
        eprintln!("no thread can be started: is memory or the number of processes limited?");
        command::kill_children();
        std::process::exit(STOOD_STILL);
    });
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

/// Returns when nothing that may block gets a thread any more. Without memory for another thread tokio leaves such work to the
/// threads that are there, and those that run the tasks never take it: it would wait for ever, and the job with it.
async fn standstill(look_again: Duration, most: Duration) {
    loop {
        tokio::time::sleep(look_again).await;
        if tokio::time::timeout(most, tokio::task::spawn_blocking(|| ())).await.is_err() {
            return;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_noticed_and_nothing_else() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let looks = || standstill(Duration::from_millis(5), Duration::from_secs(2));
            let fair = tokio::time::timeout(Duration::from_millis(200), looks()).await;
            assert!(fair.is_err(), "work that may block gets its thread");
            let (go_on, told) = std::sync::mpsc::channel::<()>();
            let held = tokio::task::spawn_blocking(move || told.recv());
            let stuck = tokio::time::timeout(Duration::from_secs(20), looks()).await;
            assert!(stuck.is_ok(), "the only thread is held");
            drop(go_on);
            assert!(held.await.unwrap().is_err());
        });
    }
}
