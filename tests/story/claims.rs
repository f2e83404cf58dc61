//! Leadership and the job engines of projects own nothing that is not in the metastore.

use kirin_core::ask::ProjectId;
use kirin_core::{Effect, Role, Span, Target};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

const PROJECT: Target = Target::Project(ProjectId(1));

#[test]
fn a_project_gets_a_new_job_engine_soon_after_the_last_one_dies() {
    let mut c = Cluster::of(3).seed(1);
    c.until("the project has an engine", |c| c.holds(PROJECT).is_some());
    let engine = c.holds(PROJECT).unwrap();
    c.kill(engine);
    c.run(Span::from_secs(6));
    assert!(c.holds(PROJECT).is_some_and(|other| other != engine));
}

#[test]
fn a_frozen_leader_that_wakes_up_resigns() {
    let mut c = Cluster::of(3).seed(2);
    let old = c.leader();
    c.freeze(old);
    c.run(TIMEOUT.scaled(2, 1));
    assert_ne!(c.leader(), old);
    c.thaw(old);
    c.run(Span::from_secs(5));
    assert!(c.ordered(old, |e| matches!(e, Effect::Resign(Target::Leader))) > 0);
}

#[test]
fn after_repeated_changes_the_leader_is_the_one_in_the_metastore() {
    let mut c = Cluster::of(2).seed(3);
    c.leader();
    for _ in 0..10 {
        for host in [Host(1), Host(2)] {
            c.act(&Act::Claim { host, target: Target::Leader, force: true });
            c.run(Span::from_millis(70));
        }
    }
    c.run(TIMEOUT);
    let leader = c.leader();
    let world = c.world();
    let leads = world.hosts().into_iter().filter(|h| world.node(*h).is_some_and(|n| n.leads(Target::Leader)));
    assert_eq!(leads.collect::<Vec<_>>(), [leader]);
}

#[test]
fn query_nodes_never_lead() {
    let mut c = Cluster::of(3).seed(4).roles([Role::Query, Role::Query, Role::Job]);
    assert_eq!(c.leader(), Host(3));
    c.act(&Act::Claim { host: Host(1), target: Target::Leader, force: true });
    c.run(TIMEOUT);
    assert_eq!(c.leader(), Host(3));
}

#[test]
fn with_leader_only_the_next_leader_runs_all_jobs() {
    let mut c = Cluster::of(3).seed(5).with(|setup| setup.leader_only = true);
    let leader = c.leader();
    let jobs: Vec<_> = (0..3)
        .map(|n| c.post_with(Work { steps: 2, step: Span::from_secs(10), ..Work::named(&format!("j{n}")) }))
        .collect();
    for job in &jobs {
        assert_eq!(c.until_running(*job), leader);
    }
    c.kill(leader);
    c.run(Span::from_secs(8));
    let heir = c.leader();
    assert_ne!(heir, leader);
    for job in jobs {
        c.expect(job).tried_by([leader, heir]).ended_once();
    }
}

#[test]
fn jobs_wait_while_the_last_job_node_is_away() {
    let mut c = Cluster::of(2).seed(6).roles([Role::Query, Role::All]);
    assert_eq!(c.leader(), Host(2));
    c.drain(Host(2), Span::from_secs(1), true);
    c.run(TIMEOUT);
    assert_eq!(c.holds(Target::Leader), None);
    let job = c.post("nightly");
    c.run(Span::from_secs(5));
    c.start(Host(2));
    c.expect(job).tried_by([Host(2)]).ended_once();
    assert_eq!(c.leader(), Host(2));
}

#[test]
fn a_deleted_leader_row_is_recreated_within_a_minute() {
    let mut c = Cluster::of(3).seed(7);
    c.leader();
    c.run(TIMEOUT);
    c.act(&Act::Forget(Target::Leader));
    assert_eq!(c.holds(Target::Leader), None);
    c.run(Span::from_secs(60));
    let leader = c.holds(Target::Leader).expect("the row was recreated");
    c.kill(leader);
    c.run(Span::from_secs(8));
    assert!(c.holds(Target::Leader).is_some_and(|heir| heir != leader));
}
