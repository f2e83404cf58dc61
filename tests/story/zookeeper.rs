//! ZooKeeper is advice: its faults stop nothing and fence no member.

use kirin_core::{Effect, Evidence, Note, Span};
use kirin_sim::act::{Act, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

const SESSION: Span = Span::from_secs(10);

#[test]
fn an_outage_of_zookeeper_has_no_effect() {
    let mut c = Cluster::of(3).seed(1).zookeeper(SESSION);
    let long = c.post_with(Work { steps: 3, step: TIMEOUT, external: true, ..Work::named("long") });
    let holder = c.until_running(long);
    c.act(&Act::ZooKeeperDown);
    c.run(TIMEOUT);
    let fresh = c.post("fresh");
    c.expect(fresh).ended_once();
    c.expect(long).tried_by([holder]).ended_once();
    c.act(&Act::ZooKeeperUp);
    c.run(TIMEOUT);
    assert!(c.notes().is_empty(), "{:?}", c.notes());
}

#[test]
fn a_takeover_without_zookeeper_is_equally_fast() {
    let mut c = Cluster::of(3).seed(2).zookeeper(SESSION);
    c.act(&Act::ZooKeeperDown);
    let job = c.post_with(Work { steps: 2, step: Span::from_secs(20), ..Work::named("nightly") });
    let old = c.until_running(job);
    c.kill(old);
    c.run(Span::from_millis(500));
    let heir = c.until_running(job);
    assert_ne!(heir, old);
    c.expect(job).tried_by([old, heir]).ended_once();
}

#[test]
fn an_expired_session_fences_no_member() {
    let mut c = Cluster::of(3).seed(3).zookeeper(SESSION);
    let job = c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named("nightly") });
    let holder = c.until_running(job);
    c.act(&Act::Expire(holder));
    c.run(TIMEOUT);
    assert!(c.times("session of a living member expired") > 0);
    let probed = c.world().hosts().into_iter().map(|h| c.ordered(h, |e| matches!(e, Effect::Probe(_)))).sum::<usize>();
    assert!(probed > 0, "its neighbours sent probes");
    c.expect(job).tried_by([holder]).ended_once();
    assert!(c.notes().is_empty(), "{:?}", c.notes());
}

#[test]
fn a_node_cut_off_from_zookeeper_keeps_working() {
    let mut c = Cluster::of(2).seed(4).zookeeper(SESSION);
    let job = c.post_with(Work { steps: 4, step: TIMEOUT, ..Work::named("nightly") });
    let holder = c.until_running(job);
    c.act(&Act::CutZooKeeper(holder));
    c.run(TIMEOUT.scaled(2, 1));
    c.act(&Act::HealZooKeeper(holder));
    c.expect(job).tried_by([holder]).ended_once();
}

#[test]
fn lost_watches_do_no_harm() {
    let mut c = Cluster::of(3).seed(5).zookeeper(SESSION).with(|setup| setup.weather.lose_watch_ppm = 1_000_000);
    let job = c.post_with(Work { steps: 2, step: TIMEOUT, ..Work::named("nightly") });
    let old = c.until_running(job);
    c.kill(old);
    c.run(Span::from_secs(1));
    let heir = c.until_running(job);
    c.expect(job).tried_by([old, heir]).ended_once();
    let exited = |note: &Note| matches!(note, Note::Fenced { found, .. } if found.evidence == Evidence::Exited);
    assert!(c.notes().iter().any(|(_, note)| exited(note)));
}
