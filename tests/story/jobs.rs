//! Jobs that are submitted, queued, stopped and resumed.

use kirin_core::{Action, JobState, Role, Span};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

#[test]
fn a_job_accepted_by_any_node_starts_within_milliseconds() {
    let mut c = Cluster::of(3).seed(1);
    let job = c.post("nightly");
    c.run(Span::from_millis(50));
    assert!(c.holder(job).is_some());
    c.expect(job).ended_once();
}

#[test]
fn a_paused_job_continues_after_its_last_committed_step() {
    let mut c = Cluster::of(2).seed(2);
    let job = c.post_with(Work { steps: 4, ..Work::named("nightly") });
    c.until_steps(job, 2);
    c.does(Action::Pause, job);
    c.until_state(job, JobState::Paused);
    c.run(TIMEOUT);
    assert_eq!(c.row(job).unwrap().state, JobState::Paused);
    c.does(Action::Resume, job);
    c.expect(job).from_step(1, 2).ended_once();
}

#[test]
fn a_restarted_job_forgets_its_steps() {
    let mut c = Cluster::of(2).seed(3);
    let job = c.post_with(Work { steps: 3, ..Work::named("nightly") });
    c.until_steps(job, 2);
    c.does(Action::Restart, job);
    c.run(Span::from_secs(1));
    c.expect(job).from_step(1, 0).ended_once();
}

#[test]
fn a_discarded_job_stays_discarded_while_its_holder_is_frozen() {
    let mut c = Cluster::of(3).seed(4);
    let job = c.post_with(Work { steps: 3, ..Work::named("nightly") });
    let holder = c.until_running(job);
    c.freeze(holder);
    c.does(Action::Discard, job);
    c.run(TIMEOUT.scaled(3, 1));
    c.thaw(holder);
    c.until_state(job, JobState::Discarded);
    c.run(TIMEOUT);
    assert_eq!(c.row(job).unwrap().state, JobState::Discarded);
}

#[test]
fn a_job_of_a_dead_node_can_be_discarded() {
    let mut c = Cluster::of(2).seed(5).with(|setup| setup.roles = vec![Role::All, Role::Query]);
    let job = c.post("nightly");
    let holder = c.until_running(job);
    c.kill(holder);
    c.run(Span::from_secs(2));
    c.does(Action::Discard, job);
    c.until_state(job, JobState::Discarded);
}

#[test]
fn a_failed_job_waits_for_resume() {
    let mut c = Cluster::of(2).seed(6);
    let job = c.post_with(Work { fails: 1, ..Work::named("nightly") });
    c.until_state(job, JobState::Error);
    c.run(TIMEOUT);
    c.does(Action::Resume, job);
    c.expect(job).ended_once();
}

#[test]
fn a_full_project_starves_no_other_project() {
    let mut c = Cluster::of(2).seed(7).limits([1, 5]);
    let long = |name: &str| Work { steps: 1, step: TIMEOUT, ..Work::named(name) };
    let first = c.post_with(long("a1"));
    c.until_running(first);
    let second = c.post_with(long("a2"));
    let other = c.post_with(Work { project: 2, ..Work::named("b1") });
    c.expect(other).ended_once();
    assert_eq!(c.running(1), 1);
    c.expect(first).ended_once();
    c.run(Span::from_millis(100));
    assert!(c.holder(second).is_some(), "the place is taken at once");
    c.expect(second).ended_once();
}

#[test]
fn jobs_start_by_priority_and_then_in_order() {
    let mut c = Cluster::of(1).seed(8).slots(1);
    let blocker = c.post("blocker");
    c.until_running(blocker);
    let low = c.post_with(Work { prio: 4, ..Work::named("low") });
    let a = c.post("a");
    c.run(Span::from_millis(20));
    let b = c.post("b");
    let high = c.post_with(Work { prio: 0, ..Work::named("high") });
    for job in [high, a, b, low] {
        c.expect(job).ended_once();
    }
    assert_eq!(c.began(), [blocker, high, a, b, low]);
}

#[test]
fn strict_order_holds_across_all_nodes() {
    let mut c = Cluster::of(3).seed(9).slots(1).in_order();
    let jobs: Vec<_> = (0..9).map(|n| c.post(&format!("j{n}"))).collect();
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_takeover_in_strict_order_does_not_wait() {
    let mut c = Cluster::of(2).seed(10).slots(2).in_order();
    let low = c.post_with(Work { prio: 4, steps: 2, step: Span::from_secs(20), ..Work::named("low") });
    let holder = c.until_running(low);
    let fill: Vec<_> = (0..3)
        .map(|n| c.post_with(Work { prio: 0, steps: 1, step: Span::from_secs(5), ..Work::named(&format!("j{n}")) }))
        .collect();
    c.run(Span::from_secs(1));
    let urgent = c.post_with(Work { prio: 0, steps: 1, step: Span::from_secs(5), ..Work::named("urgent") });
    c.run(Span::from_secs(1));
    c.kill(holder);
    for job in fill.into_iter().chain([urgent, low]) {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_lost_reply_to_a_take_costs_only_time() {
    let mut c = Cluster::of(1).seed(11);
    c.run(Span::from_secs(1));
    c.act(&Act::Mute(Host(1)));
    let job = c.post("nightly");
    c.run(Span::from_secs(6));
    c.act(&Act::HealStore(Host(1)));
    c.expect(job).ended_once();
}

#[test]
fn query_nodes_accept_jobs_but_run_none() {
    let mut c = Cluster::of(3).seed(12).roles([Role::Query, Role::Query, Role::Job]);
    let job = c.post_with(Work { via: Some(Host(1)), ..Work::named("nightly") });
    c.expect(job).tried_by([Host(3)]).ended_once();
}

#[test]
fn a_job_waits_for_the_first_job_node() {
    let mut c = Cluster::of(2).seed(13).roles([Role::Query, Role::All]);
    c.kill(Host(2));
    c.run(Span::from_secs(5));
    let job = c.post("nightly");
    c.run(TIMEOUT);
    assert_eq!(c.holder(job), None);
    c.start(Host(2));
    c.run(Span::from_millis(300));
    assert_eq!(c.holder(job), Some(Host(2)));
    c.expect(job).ended_once();
}

#[test]
fn a_node_with_free_slots_takes_jobs_that_wait_on_other_nodes() {
    let mut c = Cluster::of(2).seed(14).slots(1);
    let jobs: Vec<_> = (0..4).map(|n| c.post(&format!("j{n}"))).collect();
    c.run(Span::from_secs(2));
    let busy = c.world().hosts().into_iter().filter(|h| {
        let h = *h;
        jobs.iter().any(|job| c.holder(*job) == Some(h))
    });
    assert_eq!(busy.count(), 2, "no node is idle while a job waits");
    for job in jobs {
        c.expect(job).ended_once();
    }
}
