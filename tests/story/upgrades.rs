//! Nodes that are restarted one after another, with another version or another role.

use kirin_core::{Note, Role, Span};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

#[test]
fn a_rolling_upgrade_fails_no_job_and_fences_no_member() {
    let mut c = Cluster::of(3).seed(1);
    let jobs: Vec<_> = (0..6)
        .map(|n| c.post_with(Work { steps: 20, step: Span::from_secs(2), ..Work::named(&format!("j{n}")) }))
        .collect();
    c.run(Span::from_secs(3));
    for host in c.world().hosts() {
        c.act(&Act::Upgrade(host));
        c.drain(host, Span::from_secs(10), true);
        c.until("it has left", |c| c.world().node(host).is_none());
        c.start(host);
        c.run(Span::from_secs(2));
    }
    for job in jobs {
        c.expect(job).ended_once();
    }
    assert!(!c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. })));
}

#[test]
fn two_versions_take_over_jobs_from_each_other() {
    let mut c = Cluster::of(4).seed(2).with(|setup| setup.versions = vec![1, 2, 1, 2]);
    let jobs: Vec<_> = (0..4)
        .map(|n| c.post_with(Work { steps: 2, step: Span::from_secs(10), ..Work::named(&format!("j{n}")) }))
        .collect();
    c.run(Span::from_secs(1));
    c.kill(Host(1));
    c.run(Span::from_secs(1));
    for job in &jobs {
        assert_ne!(c.holder(*job), Some(Host(1)));
    }
    c.kill(Host(2));
    c.run(Span::from_secs(1));
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_node_restarted_as_a_query_node_runs_no_jobs() {
    let mut c = Cluster::of(2).seed(3);
    c.act(&Act::Become(Host(1), Role::Query));
    c.drain(Host(1), Span::from_secs(1), true);
    c.run(Span::from_secs(2));
    c.start(Host(1));
    c.run(Span::from_secs(2));
    for n in 0..5 {
        let job = c.post_with(Work { via: Some(Host(1)), ..Work::named(&format!("j{n}")) });
        c.expect(job).tried_by([Host(2)]).ended_once();
    }
}

#[test]
fn jobs_survive_a_shutdown_of_the_whole_cluster() {
    let mut c = Cluster::of(3).seed(4);
    let jobs: Vec<_> = (0..6)
        .map(|n| c.post_with(Work { steps: 3, step: Span::from_secs(10), ..Work::named(&format!("j{n}")) }))
        .collect();
    c.run(Span::from_secs(15));
    for host in c.world().hosts() {
        c.lose(host);
    }
    c.run(TIMEOUT);
    for host in c.world().hosts() {
        c.start(host);
    }
    c.run(Span::from_secs(20));
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_node_that_restarts_repeatedly_does_not_disturb_others() {
    let mut c = Cluster::of(3).seed(5);
    let job = c.post_with(Work { steps: 10, step: Span::from_secs(2), ..Work::named("nightly") });
    c.until_running(job);
    for _ in 0..20 {
        c.kill(Host(1));
        c.run(Span::from_millis(300));
        c.start(Host(1));
        c.run(Span::from_millis(700));
    }
    c.expect(job).ended_once();
    let again = c.times("joined again");
    assert!(again >= 10, "{again}");
}

#[test]
fn after_a_storm_of_restarts_all_places_are_free() {
    let mut c = Cluster::of(3).seed(6).limits([2]);
    let jobs: Vec<_> = (0..6)
        .map(|n| c.post_with(Work { steps: 2, step: Span::from_secs(4), ..Work::named(&format!("j{n}")) }))
        .collect();
    for _ in 0..5 {
        c.run(Span::from_secs(1));
        for host in c.world().hosts() {
            c.kill(host);
            c.start(host);
        }
    }
    for job in jobs {
        c.expect(job).ended_once();
    }
    assert_eq!(c.running(1), 0);
    let two: Vec<_> =
        (0..2).map(|n| c.post_with(Work { step: TIMEOUT, ..Work::named(&format!("after{n}")) })).collect();
    c.run(Span::from_millis(200));
    assert!(two.iter().all(|job| c.holder(*job).is_some()), "the limit is two, and two run");
}
