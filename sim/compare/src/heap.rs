//! A heap of events and nothing else: the upper bound for any simulator.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::{NODES, Ran};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Upcoming {
    Beat(u64),
    AtServer(u64),
    Reply(u64),
}

pub fn run(every: Duration, span: Duration) -> Ran {
    let (every, until) = (every.as_micros() as u64, span.as_micros() as u64);
    let mut heap: BinaryHeap<_> = (0..NODES).map(|node| Reverse((node, node, Upcoming::Beat(node)))).collect();
    let (mut seq, mut beats, mut counts) = (NODES, 0, [0_u64; NODES as usize]);
    while let Some(Reverse((now, _, coming))) = heap.pop() {
        if now > until {
            break;
        }
        seq += 1;
        match coming {
            Upcoming::Beat(node) => heap.push(Reverse((now + 1_000, seq, Upcoming::AtServer(node)))),
            Upcoming::AtServer(node) => {
                counts[node as usize] += 1;
                heap.push(Reverse((now + 1_000, seq, Upcoming::Reply(node))));
            }
            Upcoming::Reply(node) => {
                beats += 1;
                heap.push(Reverse((now - 2_000 + every, seq, Upcoming::Beat(node))));
            }
        }
    }
    assert_eq!(counts.iter().sum::<u64>() - beats, 0);
    Ran { simulated: span, beats }
}
