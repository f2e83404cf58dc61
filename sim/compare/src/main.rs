//! The same heart-beats under four simulators: five nodes each send a beat to one server every 30 s (and every second)
//! and wait for the reply. The output is the simulated time per second of one core.
//!
//! Kirin's own world does more than the others: it runs the real core with joins, watches, lists and claims, and a
//! judge checks every event.

use std::time::{Duration, Instant};

mod heap;
mod kirin;
mod on_madsim;
mod on_turmoil;

const NODES: u64 = 5;

/// The result of a run: the simulated time, and the number of answered beats.
struct Ran {
    simulated: Duration,
    beats: u64,
}

fn main() {
    println!("{:<44} {:>10} {:>18} {:>14}", "five nodes", "beat every", "x real time", "beats/s");
    for (interval, scale) in [(30, 1), (1, 30)] {
        let every = Duration::from_secs(interval);
        let most = |seconds: u64| Duration::from_secs(seconds / scale);
        row("a bare heap", every, || heap::run(every, most(30_000_000)));
        row("Kirin's world: real core, judge", every, || kirin::run(every, most(6_000_000)));
        row("madsim, messages", every, || on_madsim::run(every, most(600_000)));
        row("turmoil, TCP, ticks of 1 ms (default)", every, || {
            on_turmoil::run(every, Duration::from_millis(1), most(9_000))
        });
        row("turmoil, TCP, ticks of 100 ms", every, || {
            on_turmoil::run(every, Duration::from_millis(100), most(90_000))
        });
    }
}

fn row(what: &str, every: Duration, run: impl FnOnce() -> Ran) {
    let started = Instant::now();
    let ran = run();
    let took = started.elapsed().as_secs_f64();
    let times = ran.simulated.as_secs_f64() / took;
    println!("{what:<44} {:>8} s {times:>18.0} {:>14.0}", every.as_secs(), ran.beats as f64 / took);
}
