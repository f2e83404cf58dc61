//! Links that break, in one or both directions; nodes that are cut off from each other but not from the metastore.

use kirin_core::{Note, Span};
use kirin_sim::act::{Act, Work};
use kirin_sim::cluster::{Cluster, INTERVAL, TIMEOUT};

#[test]
fn a_cut_in_one_direction_fences_no_member() {
    let mut c = Cluster::of(3).seed(1);
    let job = c.post_with(Work { steps: 3, step: TIMEOUT, ..Work::named("nightly") });
    let holder = c.until_running(job);
    let other = c.another(&[holder]);
    c.act(&Act::CutWay(holder, other));
    c.run(TIMEOUT);
    c.act(&Act::Heal(holder, other));
    c.act(&Act::CutWay(other, holder));
    c.run(TIMEOUT);
    c.expect(job).tried_by([holder]).ended_once();
    assert!(!c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. })));
}

#[test]
fn a_holder_that_reaches_only_the_metastore_keeps_working() {
    let mut c = Cluster::of(4).seed(2);
    let job = c.post_with(Work { steps: 3, step: TIMEOUT, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    for other in c.world().hosts() {
        c.act(&Act::Cut(holder, other));
    }
    c.expect(job).tried_by([holder]).ended_once();
}

#[test]
fn the_jobs_of_an_isolated_holder_are_taken_over_and_its_commits_are_refused() {
    let mut c = Cluster::of(3).seed(3);
    let job = c.post_with(Work { steps: 3, step: INTERVAL, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.until_steps(job, 1);
    c.act(&Act::CutStore(old));
    for other in c.world().hosts() {
        c.act(&Act::Cut(old, other));
    }
    c.run(TIMEOUT + INTERVAL + Span::from_secs(10));
    let heir = c.until_running(job);
    c.acts("heal all");
    c.expect(job).tried_by([old, heir]).from_step(1, 1).ended_once();
    c.expect_refused(old);
}

#[test]
fn all_jobs_run_without_any_nudge() {
    let mut c = Cluster::of(3).seed(4).with(|setup| setup.weather.lose_nudge_ppm = 1_000_000);
    let jobs: Vec<_> = (0..6).map(|n| c.post(&format!("j{n}"))).collect();
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn repeated_late_and_reordered_nudges_do_no_harm() {
    let mut c = Cluster::of(3).seed(5).with(|setup| {
        setup.weather.double_nudge_ppm = 1_000_000;
        setup.weather.link_us = (100, 3_000_000);
    });
    let jobs: Vec<_> = (0..6).map(|n| c.post(&format!("j{n}"))).collect();
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn an_exit_behind_a_cut_is_detected_by_silence() {
    let mut c = Cluster::of(2).seed(6);
    let job = c.post_with(Work { step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    let other = c.another(&[old]);
    c.act(&Act::Cut(old, other));
    c.kill(old);
    c.run(Span::from_secs(30));
    assert_eq!(c.holder(job), Some(old), "no node can know yet");
    c.run(TIMEOUT + Span::from_secs(2));
    assert_eq!(c.holder(job), Some(other));
    c.expect(job).tried_by([old, other]).ended_once();
}
