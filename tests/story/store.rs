//! A metastore that loses replies, hangs, fails over or rolls back.

use kirin_core::{Action, Ask, Effect, JobState, Note, Span};
use kirin_sim::act::{Act, Host, Outage, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

#[test]
fn one_failed_beat_is_harmless() {
    let mut c = Cluster::of(3).seed(1);
    let job = c.post_with(Work { steps: 4, step: TIMEOUT, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    for _ in 0..5 {
        c.run(TIMEOUT.scaled(9, 20));
        c.outage(Outage::Fails, Span::from_secs(3));
    }
    c.expect(job).tried_by([holder]).ended_once();
    assert!(!c.notes().iter().any(|(_, note)| *note == Note::TrustEnded));
}

#[test]
fn a_submit_with_a_lost_reply_creates_one_job() {
    let mut c = Cluster::of(2).seed(2);
    c.run(Span::from_secs(1));
    c.acts("mute n1\nmute n2");
    let job = c.post("nightly");
    c.run(Span::from_secs(3));
    c.acts("heal n1 store\nheal n2 store");
    c.expect(job).ended_once();
    assert!(c.times("submitted twice, accepted once") > 0);
    assert_eq!(c.world().store().jobs().count(), 1);
}

#[test]
fn a_commit_with_a_lost_reply_is_not_repeated() {
    let mut c = Cluster::of(1).seed(3);
    let job = c.post_with(Work { steps: 2, step: Span::from_secs(5), ..Work::named("nightly") });
    let holder = c.until_running(job);
    c.run(Span::from_millis(3_000));
    c.act(&Act::Mute(holder));
    c.run(Span::from_secs(4));
    c.act(&Act::HealStore(holder));
    c.expect(job).tried_by([holder]).ended_once();
    assert_eq!(c.ordered(holder, |e| matches!(e, Effect::Proceed { .. })), 2);
}

#[test]
fn writes_that_break_at_once_are_repeated_with_pauses() {
    let commits = |e: &Effect| matches!(e, Effect::Ask { ask: Ask::CommitStep { .. }, .. });
    let takes = |e: &Effect| matches!(e, Effect::Ask { ask: Ask::Take { .. }, .. });
    let mut c = Cluster::of(1).seed(7);
    let job = c.post_with(Work { steps: 2, ..Work::named("nightly") });
    let holder = c.until_running(job);
    c.act(&Act::Reset(holder));
    let later = c.post("later");
    let (had, asked) = (c.ordered(holder, commits), c.ordered(holder, takes));
    c.run(Span::from_secs(10));
    for (what, before) in [(c.ordered(holder, commits), had), (c.ordered(holder, takes), asked)] {
        let sent = what - before;
        assert!((2..15).contains(&sent), "{sent} writes in ten seconds");
    }
    c.act(&Act::HealStore(holder));
    c.expect(job).tried_by([holder]).ended_once();
    c.expect(later).ended_once();
}

#[test]
fn a_request_that_lands_after_an_outage_is_harmless() {
    let mut c = Cluster::of(3).seed(4).with(|setup| setup.weather.hung_lands_ppm = 1_000_000);
    let jobs: Vec<_> =
        (0..4).map(|n| c.post_with(Work { step: Span::from_secs(4), ..Work::named(&format!("j{n}")) })).collect();
    c.run(Span::from_secs(3));
    c.outage(Outage::Hangs, TIMEOUT);
    for job in jobs {
        c.expect(job).ended_once();
    }
    assert!(c.times("hung request landed") > 0);
}

#[test]
fn deadlock_victims_are_retried() {
    let mut c = Cluster::of(3).seed(5).with(|setup| setup.weather.rollback_ppm = 300_000);
    let jobs: Vec<_> = (0..6).map(|n| c.post(&format!("j{n}"))).collect();
    for job in jobs {
        c.expect(job).ended_once();
    }
}

#[test]
fn a_node_that_lost_the_metastore_has_no_effect_on_others() {
    let mut c = Cluster::of(3).seed(6);
    let jobs: Vec<_> =
        (0..3).map(|n| c.post_with(Work { steps: 3, step: TIMEOUT, ..Work::named(&format!("j{n}")) })).collect();
    c.run(Span::from_secs(2));
    let holders: Vec<_> = jobs.iter().map(|job| c.until_running(*job)).collect();
    c.act(&Act::CutStore(holders[0]));
    c.run(TIMEOUT.scaled(3, 1));
    for (job, holder) in jobs.iter().zip(&holders).filter(|(_, holder)| **holder != holders[0]) {
        c.expect(*job).tried_by([*holder]).ended_once();
    }
}

#[test]
fn a_node_can_start_during_an_outage_of_the_metastore() {
    let mut c = Cluster::of(2).seed(7);
    c.kill(Host(2));
    c.act(&Act::Outage(Outage::Fails));
    c.start(Host(2));
    c.run(TIMEOUT);
    c.act(&Act::OutageOver);
    c.run(Span::from_secs(3));
    assert!(c.world().node(Host(2)).is_some_and(|node| node.me().is_some()));
}

#[test]
fn an_action_takes_effect_once_despite_lost_replies() {
    let mut c = Cluster::of(2).seed(8).with(|setup| setup.weather.lose_reply_ppm = 400_000);
    let job = c.post_with(Work { steps: 4, step: Span::from_secs(5), ..Work::named("nightly") });
    c.until_running(job);
    c.does(Action::Discard, job);
    c.until_state(job, JobState::Discarded);
    c.does(Action::Resume, job);
    c.run(TIMEOUT);
    assert_eq!(c.row(job).unwrap().state, JobState::Discarded, "the state is final");
}

#[test]
fn five_hundred_projects_on_a_slow_metastore_end_no_trust() {
    let mut c = Cluster::of(3).seed(9).limits(vec![2; 500]).with(|setup| setup.weather.store_us = (200_000, 900_000));
    c.run(TIMEOUT.scaled(5, 1));
    let job = c.post_with(Work { project: 500, ..Work::named("nightly") });
    c.expect(job).ended_once();
    let lost = |note: &Note| matches!(note, Note::TrustEnded | Note::WasFenced(_) | Note::Fenced { .. });
    assert!(!c.notes().iter().any(|(_, note)| lost(note)), "{:?}", c.notes());
}
