//! How many events one node's mind takes in, and how fast it finds a home.
//!
//! `cargo bench -p kirin-core`

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kirin_core::placement::{Candidate, choose};
use kirin_core::{Answer, Event, NodeId, Span};

mod mind;

const NODES: u32 = 100;
const JOBS: u64 = 10_000;
/// Facts between two beats.
const BATCH: usize = 1_000;

/// 1,000 events: one answer to a beat, the rest jobs (accepted, started, finished elsewhere; steps of this node that end,
/// with the answer to each commit).
fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("100 nodes, 10,000 open jobs, 1,000 events", |bench| {
        let (mut node, mut now) = mind::mind(NODES, JOBS);
        let mut stream = mind::Stream::new(NODES, JOBS);
        stream.take_some(&mut node, now);
        let mut beat = 1;
        bench.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                // The next beat is asked for; its answer is the first of the events.
                now += Span::from_secs(30);
                let orders = node.step(now, Event::Woke);
                for order in orders {
                    if let kirin_core::Effect::Ask { id, ask } = order {
                        let answer = match ask {
                            kirin_core::Ask::Beat { .. } => mind::lists(NODES, beat),
                            _ => Answer::Failed,
                        };
                        let started = Instant::now();
                        black_box(node.step(now, Event::Answered { id, answer }));
                        took += started.elapsed();
                    }
                }
                beat += 1;
                let mut events: Vec<_> = (0..BATCH * 4 / 5).map(|_| stream.next()).collect();
                let started = Instant::now();
                for event in events.drain(..) {
                    let orders = node.step(now, event);
                    if let Some((id, _)) = mind::asked(&orders) {
                        black_box(node.step(now, Event::Answered { id, answer: Answer::Done }));
                    }
                    black_box(orders);
                }
                took += started.elapsed();
            }
            took
        });
        assert!(node.queue().len() as u64 > JOBS / 2, "the jobs are still there");
    });
    group.finish();
}

fn place(c: &mut Criterion) {
    let mut group = c.benchmark_group("place");
    let on: Vec<_> = (1..=1_000)
        .map(|node| Candidate {
            node: NodeId(node),
            slots: 30,
            can: kirin_core::Capabilities::ALL,
            load: 7 + node % 3,
            running: 0,
        })
        .collect();
    let mut key = 0;
    group.bench_function("one job on 1,000 nodes", |bench| {
        bench.iter(|| {
            key += 1;
            choose(black_box(key), &on)
        });
    });
    group.finish();
}

criterion_group!(benches, step, place);
criterion_main!(benches);
