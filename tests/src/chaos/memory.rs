//! Workers that get no more memory: what they have they keep, but whatever asks the system for more is told that there is none.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::servers::process::Server;

/// For how long workers are waited for: users never rest, but they work at all nodes.
const PATIENCE: Duration = Duration::from_secs(6);
/// Often, so that most are hit while they start or begin to work.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Takes the memory from so many of a node's workers, each as soon as it is there, and tells how many there were. Those that are
/// started in their place get what they want.
///
/// # Errors
/// If prlimit can't be started.
pub fn take_from_workers(node: &Server, most: usize) -> anyhow::Result<usize> {
    let mut hit = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    while hit.len() < most && Instant::now() < until {
        for worker in node.children() {
            if hit.len() < most && !hit.contains(&worker) && take(worker)? {
                hit.insert(worker);
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(hit.len())
}

/// False if it is gone.
fn take(process: i32) -> anyhow::Result<bool> {
    let done = Command::new("prlimit").args(["--pid", &process.to_string(), "--as=1:"]).output();
    Ok(done.context("prlimit can't be started")?.status.success())
}
