//! Clocks that are wrong, jump, leap or stop.

use kirin_core::{JobState, Note, Span};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, INTERVAL, TIMEOUT};

#[test]
fn a_wall_clock_jump_causes_no_takeover() {
    let mut c = Cluster::of(3).seed(1);
    let job = c.post_with(Work { steps: 3, step: TIMEOUT, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    c.acts(
        "jump n1 +90s
         jump n2 -90s
         run 60s
         jump n3 +86400s
         jump n1 -7200s",
    );
    c.expect(job).tried_by([holder]).ended_once();
    assert!(c.notes().is_empty(), "{:?}", c.notes());
}

#[test]
fn a_leap_of_the_monotonic_clock_harms_no_result() {
    let mut c = Cluster::of(3).seed(2);
    let job = c.post_with(Work { steps: 3, step: TIMEOUT, ..Work::named("nightly") });
    c.until_running(job);
    for host in [Host(1), Host(2), Host(3)] {
        c.act(&Act::Leap(host, TIMEOUT.scaled(3, 1)));
        c.run(INTERVAL);
    }
    c.expect(job).ended_once();
}

#[test]
fn a_job_of_a_suspended_machine_is_taken_over() {
    let mut c = Cluster::of(3).seed(3);
    let job = c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.act(&Act::Suspend(old));
    c.run(TIMEOUT + INTERVAL + Span::from_secs(5));
    let heir = c.until_running(job);
    c.thaw(old);
    c.run(TIMEOUT);
    c.expect(job).tried_by([old, heir]).ended_once();
    c.expect_refused(old);
}

#[test]
fn a_short_freeze_has_no_effect() {
    let mut c = Cluster::of(3).seed(4);
    let job = c.post_with(Work { steps: 4, step: INTERVAL, external: true, ..Work::named("spark") });
    let holder = c.until_running(job);
    c.freeze(holder);
    c.run(Span::from_secs(15));
    c.thaw(holder);
    c.expect(job).tried_by([holder]).ended_once();
    assert!(!c.notes().iter().any(|(_, note)| matches!(note, Note::Fenced { .. })));
}

#[test]
fn clock_offsets_of_years_have_no_effect() {
    let mut c = Cluster::of(3).seed(5).with(|setup| {
        for (clock, offset_us) in setup.clocks.iter_mut().zip([1, 1 << 40, 1 << 60]) {
            clock.offset_us = offset_us;
        }
    });
    let job = c.post_with(Work { step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.lose(old);
    c.run(TIMEOUT + INTERVAL + Span::from_secs(2));
    let heir = c.until_running(job);
    c.expect(job).tried_by([old, heir]).ended_once();
}

#[test]
fn all_nodes_freeze_at_once_and_continue() {
    let mut c = Cluster::of(3).seed(6);
    let job = c.post_with(Work { steps: 3, step: Span::from_secs(5), ..Work::named("nightly") });
    c.until_steps(job, 1);
    for host in c.world().hosts() {
        c.freeze(host);
    }
    c.run(TIMEOUT.scaled(5, 1));
    for host in c.world().hosts() {
        c.thaw(host);
    }
    c.run(Span::from_secs(1));
    assert_ne!(c.row(job).unwrap().state, JobState::Error);
    c.expect(job).ended_once();
}
