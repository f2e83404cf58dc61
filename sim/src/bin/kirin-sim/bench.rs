//! Measures the speed of the simulator on one core.

use std::fs;
use std::time::Instant;

use kirin_core::Span;
use kirin_sim::act::{Act, Work};
use kirin_sim::search::Script;
use kirin_sim::{Setup, World};

/// Prints the table.
pub(crate) fn run(quick: bool) {
    println!("{:<52} {:>14} {:>16} {:>10}", "one core", "x real time", "events/s", "memory");
    let day = Span::from_secs(if quick { 3_600 } else { 86_400 });
    five_nodes("five nodes, usual heart-beats, no jobs", day, false);
    five_nodes("five nodes, usual heart-beats, a job a second", day, true);
    seeds(if quick { 50 } else { 500 });
    let (nodes, jobs) = if quick { (200, 5_000) } else { (1_000, 100_000) };
    many(nodes, jobs);
}

fn print(what: &str, simulated: Span, events: u64, started: Instant) {
    let took = started.elapsed().as_secs_f64().max(1e-6);
    let times = simulated.micros() as f64 / 1e6 / took;
    println!("{what:<52} {times:>14.0} {:>16.0} {:>6} MiB", events as f64 / took, memory_mib());
}

/// Runs five nodes on one core, with the judge.
fn five_nodes(what: &str, span: Span, with_jobs: bool) {
    let mut world = World::new(Setup { slots: 30, limits: vec![1_000], ..Setup::of(5) }, None);
    let started = Instant::now();
    for n in 0..span.micros() / 1_000_000 {
        if with_jobs {
            let work = Work { steps: 1, step: Span::from_millis(500), ..Work::named(&format!("j{n}")) };
            world.act(&Act::Post(work));
        }
        world.run(Span::from_secs(1));
    }
    held(&world);
    print(what, world.now(), world.events(), started);
}

/// Runs what a hunt runs: clusters of two to six nodes under faults.
fn seeds(count: u64) {
    let started = Instant::now();
    let (mut simulated, mut events) = (Span::ZERO, 0);
    for seed in 1..=count {
        let verdict = Script::of_seed(seed).run(None);
        simulated = simulated + verdict.simulated;
        events += verdict.events;
    }
    let rate = count as f64 / started.elapsed().as_secs_f64().max(1e-6);
    print(&format!("{count} seeds of the swarm ({rate:.0} seeds/s)"), simulated, events, started);
}

/// Many nodes start one after the other; then there are many jobs, first long ones and then short ones.
fn many(nodes: u32, jobs: u32) {
    let started = Instant::now();
    let mut world = World::new(Setup { slots: 30, limits: vec![nodes * 30], ..Setup::of(nodes) }, None);
    world.run(Span::from_secs(120));
    held(&world);
    print(&format!("{nodes} nodes start and join"), world.now(), world.events(), started);
    for (each, per_second, step) in [("a minute", nodes / 50, 30), ("4 s", nodes / 5, 2)] {
        let (from, before, started) = (world.now(), world.events(), Instant::now());
        let work = Work { steps: 2, step: Span::from_secs(step), ..Work::named("") };
        post(&mut world, jobs, per_second.max(1), &work);
        held(&world);
        print(
            &format!("{nodes} nodes, {jobs} jobs of {each}, {per_second} a second"),
            world.now() - from,
            world.events() - before,
            started,
        );
    }
}

/// Posts this many jobs at this rate, and waits until all have ended.
fn post(world: &mut World, jobs: u32, per_second: u32, work: &Work) {
    let mut posted = 0;
    while posted < jobs {
        for _ in 0..per_second.min(jobs - posted) {
            posted += 1;
            world.act(&Act::Post(Work { name: format!("{}s-{posted}", work.step.millis() / 1_000), ..work.clone() }));
        }
        world.run(Span::from_secs(1));
    }
    while !world.all_over() && world.violation().is_none() {
        world.run(Span::from_secs(1));
    }
}

fn held(world: &World) {
    if let Some(violation) = world.violation() {
        println!("FAILED {violation}");
    }
}

/// The peak memory of this process so far.
fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1_024
}
