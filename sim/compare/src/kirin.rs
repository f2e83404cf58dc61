//! Kirin's own world, calm and without jobs.

use std::time::Duration;

use kirin_core::{Span, Timing};
use kirin_sim::{Setup, World};

use crate::{NODES, Ran};

pub fn run(every: Duration, span: Duration) -> Ran {
    let interval = Span::from_secs(every.as_secs());
    let timing = Timing::new(interval + interval, interval).expect("a safe pair");
    let mut world = World::new(Setup { timing, ..Setup::of(NODES as u32) }, None);
    world.run(Span::from_secs(span.as_secs()));
    assert!(world.violation().is_none());
    let beats = world.store().living().map(|member| member.beat).sum();
    Ran { simulated: span, beats }
}
