//! The worker process: the other end of [`crate::worker`].
//!
//! It reads what to do from standard input, does one step after the other, and waits after each until its result is
//! committed. It ends when its input is closed, whatever it is doing: nobody would commit the result.

use std::time::Duration;

use crate::KINDS;
use crate::children::{ORPHANED, kill_children};
use crate::deadline;
use crate::protocol::{FromWorker, ToWorker};
use crate::work::{Reporter, Stop, say};
use kirin_plant::Defence;

/// Exit code of a worker that ended itself because its node did not tell it to go on.
pub(crate) const TRUST_ENDED: i32 = 76;
/// Exit code of a worker that panicked: Rust's own.
const PANICKED: i32 = 101;
/// Exit code of a worker that can't go on.
const STOOD_STILL: i32 = 71;
/// How often a worker looks whether it can go on.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long it may seem that it can't.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Makes a panic of any thread the end of this process, before it has threads. Without memory a runtime may panic half built,
/// and wait for ever for the threads that it has; or a task ends and others wait for it.
pub fn end_with_a_panic() {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        kill_children();
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
    if let Some(until) = work.trusted_until {
        deadline::keep(until);
    }
    let (proceeded, proceed) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own: however busy the work is, the end of the input is noticed.
    std::thread::spawn(move || listen(&proceeded));
    tokio::spawn(async {
        standstill(LOOK_AGAIN, STANDSTILL_MAX).await;
        eprintln!("no thread can be started: is memory or the number of processes limited?");
        kill_children();
        std::process::exit(STOOD_STILL);
    });
    let mut reporter = Reporter { proceed };
    let done = match KINDS.iter().find(|kind| kind.name == work.kind) {
        Some(kind) => (kind.work)(*work, &mut reporter).await,
        None => Err(Stop::Failed(format!("this worker does not know the kind '{}'", work.kind))),
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
