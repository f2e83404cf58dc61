//! A heap of events and nothing else: what no simulator can pass.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::{NODES, Ran};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Coming {
    Beat(u64),
    AtServer(u64),
    Reply(u64),
}

pub fn run(every: Duration, span: Duration) -> Ran {
    let (every, until) = (every.as_micros() as u64, span.as_micros() as u64);
    let mut heap: BinaryHeap<_> = (0..NODES).map(|node| Reverse((node, node, Coming::Beat(node)))).collect();
    let (mut seq, mut beats, mut counts) = (NODES, 0, [0_u64; NODES as usize]);
    while let Some(Reverse((now, _, coming))) = heap.pop() {
        if now > until {
            break;
        }
        seq += 1;
        match coming {
            Coming::Beat(node) => heap.push(Reverse((now + 1_000, seq, Coming::AtServer(node)))),
            Coming::AtServer(node) => {
                counts[node as usize] += 1;
                heap.push(Reverse((now + 1_000, seq, Coming::Reply(node))));
            }
            Coming::Reply(node) => {
                beats += 1;
                heap.push(Reverse((now - 2_000 + every, seq, Coming::Beat(node))));
            }
        }
    }
    assert_eq!(counts.iter().sum::<u64>() - beats, 0);
    Ran { simulated: span, beats }
}
