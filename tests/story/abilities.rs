//! Nodes with different capabilities, and nodes that lose a capability while they run.

use kirin_core::{Capabilities, Span};
use kirin_sim::act::{Act, Host, Work};
use kirin_sim::cluster::{Cluster, TIMEOUT};

const FIRST: Capabilities = Capabilities(1);
const SECOND: Capabilities = Capabilities(2);

#[test]
fn a_job_that_no_node_can_run_waits_and_blocks_no_other_job() {
    let mut c = Cluster::of(3).seed(1).with(|setup| setup.can = vec![FIRST; 3]);
    let job = c.post_with(Work { needs: SECOND, ..Work::named("special") });
    let plain = c.post("plain");
    c.expect(plain).ended_once();
    c.run(TIMEOUT);
    assert!(c.row(job).is_some_and(|row| row.state.is_waiting()));
    c.act(&Act::Can(Host(3), FIRST.or(SECOND)));
    c.expect(job).tried_by([Host(3)]).ended_once();
}

#[test]
fn a_job_that_fails_after_a_lost_capability_runs_on_another_node() {
    let mut c = Cluster::of(2).seed(2);
    let job = c.post_with(Work { needs: FIRST, steps: 2, step: Span::from_secs(5), ..Work::named("nightly") });
    let first = c.until_running(job);
    c.act(&Act::Fill(first));
    c.act(&Act::Can(first, SECOND));
    let second = c.another(&[first]);
    c.expect(job).tried_by([first, second]).ended_once();
}

#[test]
fn an_orphan_is_inherited_by_a_node_that_can_run_it() {
    let mut c = Cluster::of(4).seed(3).with(|setup| setup.can = vec![FIRST, SECOND, SECOND, FIRST]);
    let job = c.post_with(Work { needs: FIRST, step: Span::from_secs(5), ..Work::named("nightly") });
    let first = c.until_running(job);
    c.kill(first);
    let heir = if first == Host(1) { Host(4) } else { Host(1) };
    c.expect(job).tried_by([first, heir]).ended_once();
}
