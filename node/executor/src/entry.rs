//! The worker process: the other end of [`crate::worker`].
//!
//! It reads its work from standard input, runs one step after the other, and waits after each until the result is
//! committed. It exits when its input is closed, because the results could not be committed.

use std::time::Duration;

use crate::KINDS;
use crate::children::{ORPHANED, kill_children};
use crate::deadline;
use crate::protocol::{FromWorker, ToWorker};
use crate::work::{Reporter, Stop, send};
use kirin_plant::Defence;

/// The exit code of a worker that exited at its deadline.
pub(crate) const TRUST_ENDED: i32 = 76;
/// The exit code of a worker that panicked, which is Rust's.
const PANICKED: i32 = 101;
/// The exit code of a worker that cannot make progress.
const STOOD_STILL: i32 = 71;
/// The interval between checks of a worker's progress.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long a worker may appear to be stuck.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Exits on a panic of any thread; must be called before threads exist. Without memory, a runtime may panic during its
/// construction and wait forever for its threads, or a task may end while others wait for it.
pub fn end_with_a_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        kill_children();
        std::process::exit(PANICKED);
    }));
}

/// Runs the work of one attempt, for the whole life of the process.
pub async fn run() -> anyhow::Result<()> {
    let mut first = String::new();
    if std::io::stdin().read_line(&mut first)? == 0 {
        return Ok(());
    }
    let ToWorker::Work(work) = serde_json::from_str(&first)? else {
        anyhow::bail!("workers are started by nodes, not by users");
    };
    if let Some(until) = work.trusted_until {
        deadline::keep(until);
    }
    let (proceeded, proceed) = tokio::sync::mpsc::unbounded_channel();
    // A separate thread, so that busy work cannot delay the detection of the end of the input.
    std::thread::spawn(move || listen(&proceeded));
    tokio::spawn(async {
        standstill(LOOK_AGAIN, STANDSTILL_MAX).await;
        eprintln!("cannot start a thread; check the limits of memory and processes");
        kill_children();
        std::process::exit(STOOD_STILL);
    });
    let mut reporter = Reporter { proceed };
    let done = match KINDS.iter().find(|kind| kind.name == work.kind) {
        Some(kind) => (kind.work)(*work, &mut reporter).await,
        None => Err(Stop::Failed(format!("unknown kind of job '{}'", work.kind))),
    };
    send(&match done {
        Ok(publish) => FromWorker::Done { publish },
        Err(Stop::Failed(text)) => FromWorker::Failed(text),
        Err(Stop::Vanished(text)) => FromWorker::Vanished(text),
    });
    Ok(())
}

fn listen(proceeded: &tokio::sync::mpsc::UnboundedSender<()>) {
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(ToWorker::Proceed) if proceeded.send(()).is_err() => return,
            Ok(ToWorker::TrustedUntil(until)) => deadline::extend(until),
            _ => {}
        }
    }
    if Defence::WorkersEnd.is_missing() {
        return;
    }
    kill_children();
    std::process::exit(ORPHANED);
}

/// Returns when blocking work no longer gets a thread. Without memory for another thread, tokio leaves such work to the
/// existing threads. Threads that run tasks never take it, so the work and the job would wait forever.
async fn standstill(look_again: Duration, most: Duration) {
    loop {
        tokio::time::sleep(look_again).await;
        if tokio::time::timeout(most, tokio::task::spawn_blocking(|| ())).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_standstill_is_detected() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let looks = || standstill(Duration::from_millis(5), Duration::from_secs(2));
            let fair = tokio::time::timeout(Duration::from_millis(200), looks()).await;
            assert!(fair.is_err(), "blocking work gets a thread");
            let (go_on, told) = std::sync::mpsc::channel::<()>();
            let held = tokio::task::spawn_blocking(move || told.recv());
            let stuck = tokio::time::timeout(Duration::from_secs(20), looks()).await;
            assert!(stuck.is_ok(), "the only thread is busy");
            drop(go_on);
            assert!(held.await.unwrap().is_err());
        });
    }
}
