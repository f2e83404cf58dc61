//! Measures how many events one node processes, and how fast it places a job.
//!
//! `cargo bench -p kirin-core`

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kirin_core::placement::{Candidate, choose};
use kirin_core::{Answer, Event, NodeId, Span};

mod cluster;

const NODES: u32 = 100;
const JOBS: u64 = 10_000;
/// Events between two beats.
const BATCH: usize = 1_000;

/// Processes 1,000 events: one answer to a beat, and job events (accepted, started or finished on other nodes; steps of
/// this node's attempts, each with the answer to its commit).
fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("100 nodes, 10,000 open jobs, 1,000 events", |bench| {
        let (mut node, mut now) = cluster::node(NODES, JOBS);
        let mut stream = cluster::Stream::new(NODES, JOBS);
        stream.take_some(&mut node, now);
        let mut beat = 1;
        bench.iter_custom(|rounds| {
            let mut took = Duration::ZERO;
            for _ in 0..rounds {
                // This asks for the next beat. Its answer is the first event.
                now += Span::from_secs(30);
                let effects = node.step(now, Event::Woke);
                for effect in effects {
                    if let kirin_core::Effect::Ask { id, ask } = effect {
                        let answer = match ask {
                            kirin_core::Ask::Beat { .. } => cluster::lists(NODES, beat),
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
                    let effects = node.step(now, event);
                    if let Some((id, _)) = cluster::asked(&effects) {
                        black_box(node.step(now, Event::Answered { id, answer: Answer::Done }));
                    }
                    black_box(effects);
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
