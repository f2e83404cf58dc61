//! Workers that get no more memory: they keep what they have, but every further allocation from the system fails.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::servers::process::Server;

/// How long to wait for workers; users submit all the time, but to all nodes.
const PATIENCE: Duration = Duration::from_secs(6);
/// The polling interval; short, so that most workers are hit while they start.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Limits the memory of up to this many of a node's workers, each as soon as it exists. Returns how many there were. Workers
/// that are started in their place are not limited.
///
/// # Errors
/// If prlimit cannot be started.
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

/// Returns false if the process is gone.
fn take(process: i32) -> anyhow::Result<bool> {
    let done = Command::new("prlimit").args(["--pid", &process.to_string(), "--as=1:"]).output();
    Ok(done.context("cannot start prlimit")?.status.success())
}
