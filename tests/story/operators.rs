//! Operators: drains, limits, slots, claims.

use kirin_core::{Note, Span, Target};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

#[test]
fn a_drained_node_hands_over_at_the_next_step_boundary() {
    let mut c = Cluster::of(2).seed(1);
    let job = c.post_with(Work { steps: 3, step: Span::from_secs(2), ..Work::named("nightly") });
    let old = c.until_running(job);
    c.drain(old, Span::from_secs(10), true);
    c.until_steps(job, 1);
    c.run(Span::from_millis(200));
    let heir = c.until_running(job);
    assert_ne!(heir, old);
    c.expect(job).tried_by([old, heir]).from_step(1, 1).ended_once();
    assert!(c.world().node(old).is_none(), "it left");
    let fenced = c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. }));
    assert!(!fenced, "a member that left is not fenced");
}

#[test]
fn a_drain_stops_attempts_without_a_step_boundary_at_its_deadline() {
    let mut c = Cluster::of(2).seed(2);
    let job = c.post_with(Work { steps: 1, step: Span::from_secs(50), ..Work::named("nightly") });
    let old = c.until_running(job);
    c.drain(old, Span::from_secs(2), false);
    c.run(Span::from_millis(2_500));
    let heir = c.until_running(job);
    assert_ne!(heir, old);
    c.expect(job).tried_by([old, heir]).ended_once();
}

#[test]
fn jobs_that_wait_on_a_draining_node_move_to_other_nodes() {
    let mut c = Cluster::of(2).seed(3).slots(1);
    let long = |name: String| Work { steps: 4, step: Span::from_secs(1), ..Work::named(&name) };
    let jobs: Vec<_> = (0..6).map(|n| c.post_with(long(format!("j{n}")))).collect();
    c.run(Span::from_secs(1));
    c.drain(Host(1), Span::from_secs(1), true);
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_node_takes_jobs_again_after_its_drain_is_undone() {
    let mut c = Cluster::of(1).seed(4);
    c.drain(Host(1), Span::from_secs(1), false);
    let job = c.post("nightly");
    c.run(TIMEOUT);
    assert_eq!(c.holder(job), None);
    c.act(&Act::Undrain(Host(1)));
    c.run(Span::from_secs(2));
    c.expect(job).ended_once();
}

#[test]
fn a_drain_survives_a_fence() {
    let mut c = Cluster::of(2).seed(5);
    c.drain(Host(1), Span::from_secs(1), false);
    c.run(Span::from_secs(2));
    c.freeze(Host(1));
    c.run(TIMEOUT.scaled(2, 1));
    c.thaw(Host(1));
    c.run(Span::from_secs(5));
    let jobs: Vec<_> = (0..6).map(|n| c.post(&format!("j{n}"))).collect();
    c.run(Span::from_secs(1));
    for job in jobs {
        assert_ne!(c.holder(job), Some(Host(1)));
        c.expect(job).ended_once();
    }
}

#[test]
fn limits_and_slots_can_be_changed_at_run_time_even_to_zero() {
    let mut c = Cluster::of(1).seed(6).limits([0]);
    let job = c.post("nightly");
    c.run(TIMEOUT);
    assert_eq!(c.holder(job), None);
    c.act(&Act::Slots(Host(1), 0));
    c.act(&Act::Limit(1, 3));
    c.run(TIMEOUT);
    assert_eq!(c.holder(job), None);
    c.act(&Act::Slots(Host(1), 1));
    c.run(Span::from_millis(100));
    assert_eq!(c.holder(job), Some(Host(1)));
    c.expect(job).ended_once();
}

#[test]
fn leadership_moves_on_request() {
    let mut c = Cluster::of(3).seed(7);
    let leader = c.leader();
    let other = c.another(&[leader]);
    c.act(&Act::Claim { host: other, target: Target::Leader, force: false });
    c.run(Span::from_secs(1));
    assert_eq!(c.leader(), leader, "a living holder keeps its claim");
    c.act(&Act::Claim { host: other, target: Target::Leader, force: true });
    c.run(Span::from_secs(1));
    assert_eq!(c.leader(), other);
    c.run(TIMEOUT);
    assert_eq!(c.leader(), other);
    let world = c.world();
    let leads = world.hosts().into_iter().filter(|h| world.node(*h).is_some_and(|n| n.leads(Target::Leader)));
    assert_eq!(leads.collect::<Vec<_>>(), [other], "the old leader has resigned");
}

#[test]
fn a_draining_leader_gives_up_its_claims() {
    let mut c = Cluster::of(3).seed(8);
    let leader = c.leader();
    c.drain(leader, Span::from_secs(1), false);
    c.run(Span::from_secs(3));
    assert_ne!(c.leader(), leader);
}
