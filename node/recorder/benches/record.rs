//! The cost of recording: CPU time at a steady 1,000 events a second, and events a second at full speed.
//!
//! `cargo bench -p kirin-recorder`

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and prints")]

use std::time::{Duration, Instant};

use kirin_core::{Event, Node, Role, Settings, Time};
use kirin_recorder::{Limits, Recorder};

const SECONDS: u64 = 20;
const RATE: u64 = 1_000;

fn main() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let idle = paced(|_| {});
    let core = Node::start(Settings::new(Role::All), 1, Time::ZERO);
    let mut recorder = Recorder::begin(dir.path(), "bench", "paced", "0", Limits::default()).expect("it begins");
    let busy = paced(|at| recorder.record(&core, at, 0, &Event::ListsChanged));
    drop(recorder);
    println!("{RATE} events a second, one by one: {:.2} % of one core", (busy - idle) * 100.0);

    let events = 1_000_000_u64;
    let mut recorder = Recorder::begin(dir.path(), "bench", "full", "0", Limits::default()).expect("it begins");
    let begun = Instant::now();
    for n in 0..events {
        recorder.record(&core, Time::from_micros(n), 0, &Event::ListsChanged);
    }
    let recorded = begun.elapsed();
    drop(recorder);
    let written = begun.elapsed();
    let per_s = |took: Duration| events as f64 / took.as_secs_f64();
    println!("full speed: {:.0} events a second recorded, {:.0} written", per_s(recorded), per_s(written));
}

/// Calls at a steady rate and returns the share of one core that the process used.
fn paced(mut call: impl FnMut(Time)) -> f64 {
    let (begun, before) = (Instant::now(), cpu());
    for n in 0..SECONDS * RATE {
        let due = begun + Duration::from_micros(n * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        call(Time::from_micros(n));
    }
    (cpu() - before) / begun.elapsed().as_secs_f64()
}

/// CPU seconds of this process, in steps of 0.01 s.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc/self/stat is readable");
    let fields: Vec<f64> =
        stat.rsplit(") ").next().unwrap_or("").split(' ').map(|n| n.parse().unwrap_or(0.0)).collect();
    (fields[11] + fields[12]) / 100.0
}
