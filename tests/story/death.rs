//! Nodes that die, freeze, or lose the metastore or their host.

use kirin_core::{Evidence, Note, Span};
use kirin_sim::act::{Act, Outage, Work};
use kirin_sim::cluster::{Cluster, INTERVAL, TIMEOUT};

#[test]
fn a_job_of_a_frozen_holder_is_taken_over() {
    let mut c = Cluster::of(3).seed(7);
    let job = c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.freeze(old);
    c.run(TIMEOUT + INTERVAL + Span::from_secs(5));
    let heir = c.until_running(job);
    c.thaw(old);
    c.run(TIMEOUT);
    c.expect(job).tried_by([old, heir]).ended_once();
    c.expect_refused(old);
}

#[test]
fn the_jobs_of_a_killed_holder_are_taken_over_within_a_second() {
    let mut c = Cluster::of(4).seed(1);
    let job = c.post_with(Work { steps: 3, step: Span::from_secs(4), ..Work::named("nightly") });
    let old = c.until_running(job);
    c.until_steps(job, 1);
    c.kill(old);
    c.run(Span::from_millis(500));
    let heir = c.until_running(job);
    assert_ne!(heir, old);
    c.expect(job).tried_by([old, heir]).from_step(1, 1).ended_once();
    let found = c.notes().into_iter().find_map(|(_, note)| match note {
        Note::TookOver { found, .. } => found,
        _ => None,
    });
    assert_eq!(found.map(|f| f.evidence), Some(Evidence::Exited));
}

#[test]
fn the_jobs_of_a_lost_host_are_taken_over_after_the_timeout_and_one_interval() {
    let mut c = Cluster::of(3).seed(2);
    let job = c.post_with(Work { steps: 1, step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.lose(old);
    c.run(TIMEOUT + INTERVAL + Span::from_secs(2));
    let heir = c.until_running(job);
    c.expect(job).tried_by([old, heir]).ended_once();
}

#[test]
fn a_node_that_restarts_at_once_takes_over_its_own_jobs() {
    let mut c = Cluster::of(3).seed(3);
    let job = c.post_with(Work { steps: 2, step: Span::from_secs(10), ..Work::named("nightly") });
    let old = c.until_running(job);
    c.until_steps(job, 1);
    c.kill(old);
    c.start(old);
    c.run(Span::from_secs(2));
    c.until_running(job);
    c.expect(job).from_step(1, 1).ended_once();
}

#[test]
fn an_outage_of_the_metastore_loses_no_work() {
    for kind in [Outage::Fails, Outage::Hangs] {
        let mut c = Cluster::of(3).seed(4);
        let job = c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named("nightly") });
        let holder = c.until_running(job);
        c.outage(kind, TIMEOUT.scaled(10, 1));
        c.expect(job).tried_by([holder]).ended_once();
        assert!(!c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. })), "no member was fenced");
    }
}

#[test]
fn an_external_attempt_stops_when_trust_ends() {
    let mut c = Cluster::of(2).seed(5);
    let job = c.post_with(Work { steps: 1, step: TIMEOUT + TIMEOUT, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    c.act(&Act::CutStore(holder));
    c.run(TIMEOUT + INTERVAL + Span::from_secs(10));
    let heir = c.until_running(job);
    assert_ne!(heir, holder);
    let ended = c.notes().iter().any(|(at, note)| *at == holder && *note == Note::TrustEnded);
    assert!(ended, "it ended before the fence");
    c.act(&Act::HealStore(holder));
    c.expect(job).tried_by([holder, heir]).ended_once();
}

#[test]
fn a_broken_link_is_only_a_hint() {
    let mut c = Cluster::of(3).seed(6);
    let job = c.post_with(Work { steps: 2, step: Span::from_secs(5), ..Work::named("nightly") });
    let holder = c.until_running(job);
    for other in [c.another(&[holder]), c.another(&[holder]), holder] {
        c.act(&Act::Break(holder, other));
    }
    let other = c.another(&[holder]);
    c.act(&Act::Cut(holder, other));
    c.run(TIMEOUT + TIMEOUT);
    c.act(&Act::Heal(holder, other));
    c.expect(job).tried_by([holder]).ended_once();
    assert!(!c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. })));
}

#[test]
fn clock_errors_within_the_bound_fence_no_member() {
    let mut c = Cluster::of(3).seed(7).with(|setup| {
        setup.clocks[0].ppm = 50_000;
        setup.clocks[1].ppm = -50_000;
        setup.clocks[2].offset_us = 1 << 60;
    });
    let job = c.post_with(Work { steps: 1, step: TIMEOUT.scaled(10, 1), external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    c.expect(job).tried_by([holder]).ended_once();
    assert!(c.notes().is_empty(), "{:?}", c.notes());
}

#[test]
fn the_rest_takes_over_everything_when_most_nodes_die() {
    let mut c = Cluster::of(5).seed(8).slots(8);
    let jobs: Vec<_> =
        (0..8).map(|n| c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named(&format!("j{n}")) })).collect();
    c.run(Span::from_secs(5));
    let survivor = c.another(&[]);
    for host in c.world().hosts() {
        if host != survivor {
            c.kill(host);
        }
    }
    c.run(TIMEOUT + INTERVAL + Span::from_secs(10));
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_change_of_leader_does_not_affect_jobs() {
    let mut c = Cluster::of(3).seed(9);
    let leader = c.leader();
    let mut job = c.post_with(Work { steps: 2, step: Span::from_secs(3), ..Work::named("j0") });
    let mut n = 0;
    while c.until_running(job) == leader {
        n += 1;
        job = c.post_with(Work { steps: 2, step: Span::from_secs(3), ..Work::named(&format!("j{n}")) });
    }
    let holder = c.until_running(job);
    c.kill(leader);
    c.run(Span::from_secs(3));
    assert_ne!(c.leader(), leader);
    c.expect(job).tried_by([holder]).ended_once();
}
