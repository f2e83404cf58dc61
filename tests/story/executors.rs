//! Executors that hang, fail, outlive their process, or report late.

use kirin_core::{Action, JobState, Span};
use kirin_sim::act::{Act, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

#[test]
fn a_hanging_attempt_is_stopped_by_pause_and_completed_after_resume() {
    let mut c = Cluster::of(2).seed(1);
    let job = c.post_with(Work { stuck: 1, ..Work::named("nightly") });
    c.until_running(job);
    c.run(TIMEOUT);
    assert_eq!(c.row(job).unwrap().steps, 0);
    c.does(Action::Pause, job);
    c.until_state(job, JobState::Paused);
    c.does(Action::Resume, job);
    c.expect(job).ended_once();
}

#[test]
fn an_external_attempt_that_outlives_its_node_is_refused() {
    let mut c = Cluster::of(2).seed(2).with(|setup| setup.weather.orphan_ppm = 1_000_000);
    let job = c.post_with(Work { steps: 3, step: Span::from_secs(10), external: true, ..Work::named("spark") });
    let old = c.until_running(job);
    c.kill(old);
    let heir = c.another(&[old]);
    c.expect(job).tried_by([old, heir]).ended_once();
    c.run(TIMEOUT);
    assert!(c.times("orphan refused") > 0);
    assert_eq!(c.times("published"), 1);
}

#[test]
fn a_full_disk_fails_the_job_but_not_the_node() {
    let mut c = Cluster::of(1).seed(3);
    let job = c.post("nightly");
    let host = c.until_running(job);
    c.act(&Act::Fill(host));
    c.until_state(job, JobState::Error);
    c.run(TIMEOUT);
    c.act(&Act::Free(host));
    c.does(Action::Resume, job);
    c.expect(job).ended_once();
}

#[test]
fn a_slow_host_loses_no_work() {
    let mut c = Cluster::of(2).seed(4);
    let job = c.post_with(Work { steps: 4, step: Span::from_secs(5), ..Work::named("nightly") });
    let host = c.until_running(job);
    c.act(&Act::Crawl(host, Span::from_secs(8)));
    c.run(TIMEOUT);
    c.act(&Act::Crawl(host, Span::ZERO));
    c.expect(job).ended_once();
}

#[test]
fn rapid_pause_resume_and_restart_end_in_one_attempt() {
    let mut c = Cluster::of(3).seed(5);
    let job = c.post_with(Work { steps: 4, step: Span::from_secs(2), ..Work::named("nightly") });
    c.until_steps(job, 1);
    for _ in 0..5 {
        for action in [Action::Pause, Action::Resume, Action::Restart] {
            c.does(action, job);
            c.run(Span::from_millis(3));
        }
    }
    // The last of them may have needed another attempt.
    c.run(Span::from_secs(5));
    c.does(Action::Resume, job);
    c.expect(job).ended_once();
}

#[test]
fn a_discarded_spark_job_stops_before_its_place_is_free() {
    let mut c = Cluster::of(2).seed(6).limits([1]).with(|setup| setup.weather.stop_us = (3_000_000, 3_000_000));
    let job = c.post_with(Work { steps: 1, step: TIMEOUT, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    let fence = c.row(job).unwrap().fence();
    c.does(Action::Discard, job);
    c.run(Span::from_secs(1));
    let row = c.row(job).unwrap();
    assert_eq!(
        (row.state, row.holder.is_some()),
        (JobState::Discarded, true),
        "it is discarded, but its attempt still runs"
    );
    assert!(c.world().runs(fence));
    c.until_state(job, JobState::Discarded);
    assert!(!c.world().runs(fence), "its attempt has ended at {holder}");
}

#[test]
fn a_job_killed_at_each_step_boundary_does_each_step_once() {
    let mut c = Cluster::of(5).seed(7);
    let job = c.post_with(Work { steps: 4, step: Span::from_secs(3), ..Work::named("nightly") });
    for step in 1..=3 {
        let holder = c.until_running(job);
        c.until_steps(job, step);
        c.kill(holder);
    }
    c.expect(job).from_step(1, 1).from_step(2, 2).from_step(3, 3).ended_once();
}
