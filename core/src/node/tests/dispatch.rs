//! Job rows, homes, heirs, and which job starts next.

use super::*;
use crate::effect::Orphans;
use crate::placement;
use crate::queue::{Blocked, NOWHERE};

const STEAL_AFTER: Span = Span::from_millis(500);

fn found() -> Found {
    let (confirmed, fenced, listed) = (Span::from_millis(1), Span::from_millis(2), Span::from_millis(3));
    Found { evidence: Evidence::Exited, confirmed, fenced, listed }
}

/// A job on the queue of node 2.
fn elsewhere(id: u64) -> JobRow {
    JobRow { placed: Some(n(2)), ..pending(id) }
}

/// A job of node 9, which is dead; its heir is node 2.
fn orphan(id: u64) -> JobRow {
    JobRow { placed: Some(n(2)), ..running(id, 9, 1) }
}

fn leader(nodes: u32) -> TestNode {
    let mut test = TestNode::of(nodes);
    test.claims[0].holder = Some(ME);
    test.reads_lists();
    test
}

/// Answers the read of all jobs with these rows.
fn lists_jobs(test: &mut TestNode, rows: &[JobRow]) -> Effects {
    test.node.poll_at = test.now;
    test.step(Event::Woke);
    test.answer(|ask| *ask == Ask::ListJobs, Answer::Jobs(rows.to_vec()))
}

#[test]
fn the_discovery_of_an_orphan_is_kept_until_a_member_holds_the_job() {
    let mut test = TestNode::of(3);
    test.step(Event::Inherited(Orphans { of: m(9), found: found(), jobs: vec![orphan(1)] }));
    let known = |test: &TestNode| test.node.inherited.get(&JobId(1)).and_then(|it| it.found);
    assert_eq!(known(&test), Some(found()));
    test.step(Event::Heard(vec![orphan(1)]));
    assert_eq!(known(&test), Some(found()));
    for over in [running(1, 3, 2), JobRow { state: JobState::Paused, holder: None, ..orphan(1) }] {
        let mut test = test.clone();
        test.step(Event::Heard(vec![over]));
        assert_eq!(known(&test), None);
    }
}

#[test]
fn an_outdated_row_is_ignored() {
    let mut test = TestNode::of(3);
    test.step(Event::Heard(vec![running(1, 2, 3)]));
    let shown = |asked_before: u64, row: JobRow| {
        let mut node = test.clone().node;
        let asked_at = Time::from_micros(test.now.micros() - asked_before);
        node.jobs_read(test.now, asked_at, &[row.id], &[row]);
        node.queue.row(JobId(1)).copied()
    };
    let paused = JobRow { state: JobState::Paused, ..running(1, 2, 3) };
    assert_eq!(shown(0, paused), Some(paused));
    assert_eq!(shown(1, paused), Some(running(1, 2, 3)), "the request is older");
    assert_eq!(shown(0, JobRow { epoch: Epoch(2), ..paused }), Some(running(1, 2, 3)), "the holding is older");
    let later = JobRow { epoch: Epoch(4), ..paused };
    assert_eq!(shown(1, later), Some(later));
    test.step(Event::Heard(vec![JobRow { epoch: Epoch(2), ..paused }]));
    assert_eq!(test.node.queue.row(JobId(1)), Some(&running(1, 2, 3)));
}

#[test]
fn an_outdated_list_does_not_restart_an_ended_attempt() {
    let mut test = TestNode::of(3);
    let fence = test.holds(1);
    test.step(Event::AttemptEnded { fence, end: crate::event::End::Ran(Outcome::Succeeded) });
    test.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    let begins = |asked_before: i64| {
        let mut node = test.clone().node;
        let asked_at = Time::from_micros((test.now.micros() as i64 - asked_before) as u64);
        node.jobs_read(test.now, asked_at, &[JobId(1)], &[running(1, 1, 1)]);
        node.out.iter().any(|effect| matches!(effect, Effect::Begin { .. }))
    };
    assert!(!begins(1) && !begins(0));
    assert!(begins(-1), "the list was read after the end");
}

#[test]
fn a_free_place_is_announced_to_all_and_other_changes_to_the_members_concerned() {
    let mut test = TestNode::of(20);
    test.projects[0].limit = 1;
    test.step(Event::Heard(vec![running(1, 3, 1)]));
    test.reads_lists();
    let told = |test: &TestNode, row: JobRow| {
        let nudges = nudged(&test.clone().step(Event::Told(vec![row])));
        assert!(nudges.iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![row])), "{nudges:?}");
        nudges.into_iter().map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(told(&test, elsewhere(2)), [2]);
    assert_eq!(told(&test, running(1, 3, 1)), [3]);
    assert_eq!(told(&test, JobRow { state: JobState::Paused, holder: None, ..running(1, 3, 1) }).len(), 19);
    test.projects[0].limit = 2;
    test.reads_lists();
    assert_eq!(told(&test, JobRow { state: JobState::Paused, ..running(1, 3, 1) }), [3], "its holder must stop it");
    assert_eq!(told(&TestNode::of(3), elsewhere(2)), [2, 3]);
}

#[test]
fn a_job_read_as_waiting_is_announced_to_its_home() {
    let read = |row: JobRow| {
        let mut test = TestNode::of(3);
        test.node.read_jobs(test.now, vec![row.id]);
        let effects = test.step(Event::Woke);
        assert_eq!(asks(&effects), [Ask::ReadJobs(vec![row.id])]);
        nudged(&test.answer(is_read, Answer::Jobs(vec![row])))
    };
    assert_eq!(read(elsewhere(1)), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    assert_eq!(read(orphan(1)), [], "the member that found it tells the heir");
    assert_eq!(read(pending(1)), []);
}

#[test]
fn a_job_missing_from_the_full_list_has_ended() {
    let mut test = TestNode::of(3);
    test.holds(1);
    test.step(Event::Heard(vec![running(2, 2, 1), running(3, 2, 1)]));
    test.step(Event::Heard(vec![pending(4)]));
    assert_eq!(test.node.queue.blocked(JobId(4), ME.node, 1), Some(Blocked::Taking));
    test.now += PAUSE;
    test.step(Event::Heard(vec![running(5, 2, 1)]));
    let known = |asked_at: Time| {
        let mut node = test.clone().node;
        node.jobs_listed(test.now, asked_at, &[running(3, 2, 1)]);
        node.queue.ids().into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(known(test.now), [1, 3, 4, 5], "a row heard at that moment may be newer");
    assert_eq!(known(test.now + Span::from_micros(1)), [1, 3, 4]);
    let before = Time::from_micros(test.now.micros() - PAUSE.micros());
    assert_eq!(known(before), [1, 2, 3, 4, 5]);
}

#[test]
fn an_end_is_remembered_while_older_answers_are_in_flight() {
    let mut test = TestNode::of(3);
    let fence = test.holds(1);
    test.step(Event::AttemptEnded { fence, end: crate::event::End::Ran(Outcome::Succeeded) });
    test.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    let mut asking = test.clone();
    asking.step(Event::ListsChanged);
    test.now += PAUSE;
    test.step(Event::ListsChanged);
    let remembers = |mut test: TestNode| {
        test.node.jobs_listed(test.now, test.now, &[]);
        !test.node.settled.is_empty()
    };
    assert!(remembers(asking));
    assert!(!remembers(test), "every request in flight was sent later");
}

#[test]
fn the_leader_writes_the_placement_of_waiting_jobs() {
    let unplaced = JobRow { placed: None, state: JobState::Ready, ..pending(2) };
    let rows = [elsewhere(1), unplaced, JobRow { placed: Some(n(9)), ..running(3, 9, 1) }];
    let places = |test: &mut TestNode| {
        let effects = lists_jobs(test, &rows);
        let is_place = |ask: &Ask| matches!(ask, Ask::Place { .. });
        asks(&effects).into_iter().filter(is_place).collect::<Vec<_>>()
    };
    assert_eq!(places(&mut TestNode::with(Settings::new(Role::Job), 3)), [], "only the leader");
    let mut test = leader(3);
    // Otherwise it would immediately take the jobs on its own queue.
    test.node.settings.slots = 0;
    let node = places(&mut test);
    let home = test.node.queue.home(JobId(2)).expect("it waits");
    assert_eq!(node, [Ask::Place { fence: fence(2, 0), node: home }]);
    let mut test = leader(3);
    test.members.iter_mut().for_each(|row| row.slots = 0);
    test.reads_lists();
    assert_eq!(places(&mut test), [], "no node can be a home");
    assert_eq!(test.node.queue.home(JobId(2)), Some(NOWHERE));
}

#[test]
fn a_written_placement_is_announced_to_its_node() {
    let unplaced = JobRow { placed: None, state: JobState::Ready, ..pending(1) };
    let told = |known: JobRow, answer: Answer| {
        let mut test = TestNode::of(3);
        test.step(Event::Heard(vec![known]));
        test.node.placed(test.now, fence(1, 0), n(2), &answer);
        (test.node.queue.row(JobId(1)).copied(), test.step(Event::Woke))
    };
    let (known, effects) = told(elsewhere(1), Answer::Done);
    assert_eq!((known, nudged(&effects)), (Some(elsewhere(1)), vec![(2, Nudge::Jobs(vec![elsewhere(1)]))]));
    let mut test = TestNode::with(Settings { slots: 0, ..Settings::new(Role::All) }, 3);
    test.members[1].slots = 4;
    test.reads_lists();
    test.step(Event::Heard(vec![unplaced]));
    test.node.placed(test.now, fence(1, 0), n(2), &Answer::Done);
    assert_eq!(test.node.queue.row(JobId(1)), Some(&elsewhere(1)));
    assert_eq!(asks(&told(unplaced, Answer::Refused).1)[0], Ask::ReadJobs(vec![JobId(1)]));
    assert_eq!(nudged(&told(unplaced, Answer::Failed).1), []);
    for started in [running(1, 2, 1), JobRow { epoch: Epoch(1), ..elsewhere(1) }] {
        let (known, effects) = told(started, Answer::Done);
        assert_eq!((known, nudged(&effects)), (Some(started), vec![]), "the job has been started");
    }
}

#[test]
fn the_jobs_of_a_dead_member_are_announced_to_its_heirs() {
    let listed = |found: Option<Found>, rows: &[JobRow]| {
        let mut test = TestNode::of(3);
        test.node.node_listed(test.now, test.now, m(9), found, rows);
        nudged(&test.node.out)
    };
    let orphans = |jobs: Vec<JobRow>| Nudge::Orphans(Orphans { of: m(9), found: found(), jobs });
    assert_eq!(listed(Some(found()), &[orphan(1)]), [(2, orphans(vec![orphan(1)]))]);
    assert_eq!(listed(Some(found()), &[elsewhere(1)]), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    let both = [(2, orphans(vec![orphan(1)])), (2, Nudge::Jobs(vec![elsewhere(2)]))];
    assert_eq!(listed(Some(found()), &[orphan(1), elsewhere(2)]), both);
    assert_eq!(listed(None, &[orphan(1)]), [(2, Nudge::Lists), (2, Nudge::Jobs(vec![orphan(1)]))]);
    assert_eq!(listed(None, &[elsewhere(1)]), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    let moved = JobRow { placed: Some(n(9)), ..orphan(1) };
    let mut alone = TestNode::of(2);
    alone.drains(false);
    alone.node.node_listed(alone.now, alone.now, m(9), Some(found()), &[moved]);
    assert_eq!(nudged(&alone.node.out), [(2, orphans(vec![orphan(1)]))], "its new home");
}

#[test]
fn a_draining_node_moves_its_queue_to_other_nodes() {
    let mut test = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    test.holds(1);
    test.step(Event::Heard(vec![pending(2), elsewhere(3), pending(4)]));
    let place = |id| Ask::Place { fence: fence(id, 0), node: n(2) };
    let mut blind = test.clone();
    assert_eq!(asks(&test.drains(false)), [Ask::Drain { by: ME }, place(2), place(4)]);
    blind.wake_after(Timing::kylin().trust_for());
    assert_eq!(asks(&blind.drains(false)), [Ask::Drain { by: ME }], "without trust, the jobs may have been moved");
    let mut last = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    last.members[1].role = Role::Query;
    last.reads_lists();
    last.holds(1);
    last.step(Event::Heard(vec![pending(2)]));
    assert_eq!(asks(&last.drains(false)), [Ask::Drain { by: ME }], "there is no other node");
}

#[test]
fn only_a_node_that_could_take_jobs_checks_other_queues() {
    let steals = |test: &mut TestNode| {
        test.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
        test.wake_after(STEAL_AFTER - Span::from_micros(1));
        test.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
        asks(&test.wake_after(Span::from_micros(1)))
    };
    let take = |id| Ask::Take { fence: fence(id, 0), by: ME, in_order: false };
    assert_eq!(steals(&mut TestNode::of(3)), [take(7), take(8)]);
    let mut draining = TestNode::of(3);
    draining.drains(false);
    assert_eq!(steals(&mut draining), []);
    let mut busy = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 3);
    busy.holds(1);
    assert_eq!(steals(&mut busy), []);
    assert_eq!(busy.node.steal_at, Time::NEVER, "no timer is set");
    let mut query = TestNode::with(Settings::new(Role::Query), 3);
    query.members[1].role = Role::All;
    query.members[2].role = Role::All;
    query.reads_lists();
    assert_eq!(steals(&mut query), []);
}

#[test]
fn stale_rows_are_read_only_as_many_as_could_be_taken() {
    let mut test = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 3);
    test.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
    assert_eq!(asks(&test.wake_after(STEAL_AFTER)), [Ask::ReadJobs(vec![JobId(7)])]);
    test.wake_after(STEAL_AFTER);
    assert_eq!(test.open.iter().filter(|(_, ask)| is_read(ask)).count(), 1, "one read at a time");
}

#[test]
fn in_strict_order_a_started_job_needs_no_turn() {
    let strict = Settings { in_order: true, ..Settings::new(Role::All) };
    let mut test = TestNode::with(strict, 2);
    let take = |id, epoch, in_order| [Ask::Take { fence: fence(id, epoch), by: ME, in_order }];
    assert_eq!(asks(&test.clone().step(Event::Heard(vec![pending(2), pending(1)]))), take(1, 0, true));
    assert_eq!(asks(&test.step(Event::Heard(vec![pending(1), running(2, 9, 1)]))), take(2, 1, false));
}

#[test]
fn why_reports_the_first_rule_that_blocks_a_job() {
    let mut test = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    let why = |test: &TestNode, id| test.node.why(test.now, JobId(id));
    test.holds(1);
    let stopping = JobRow { state: JobState::Paused, ..running(4, 2, 1) };
    test.step(Event::Heard(vec![pending(2), elsewhere(3), stopping]));
    let check = |test: &TestNode, here: Blocked, there: Blocked| {
        assert_eq!(why(test, 1), Some(Blocked::State { state: JobState::Running }));
        assert_eq!(why(test, 4), Some(Blocked::Stopping { holder: m(2) }));
        assert_eq!(why(test, 2), Some(here));
        assert_eq!(why(test, 3), Some(there));
    };
    check(&test, Blocked::NodeFull { node: n(1), slots: 1 }, Blocked::Elsewhere { node: n(2) });
    let mut distrustful = test.clone();
    distrustful.now += Span::from_secs(54);
    check(&distrustful, Blocked::NoTrust, Blocked::NoTrust);

    let mut last = test.clone();
    last.members[1].role = Role::Query;
    last.reads_lists();
    assert_eq!(why(&last, 3), Some(Blocked::Behind { next: JobId(2) }), "it has moved here");
    last.drains(false);
    assert_eq!(why(&last, 2), Some(Blocked::NoJobNode), "no node can take it");

    let mut waiting = TestNode::of(2);
    waiting.step(Event::Heard(vec![elsewhere(3)]));
    assert_eq!(waiting.node.waiting(waiting.now), [(JobId(3), Some(Blocked::Elsewhere { node: n(2) }))]);
}

#[test]
fn heirs_are_ordered_by_the_number_of_jobs_they_would_inherit() {
    let mut test = TestNode::of(5);
    let jobs: Vec<_> = (1..40).map(|id| running(id, 3, 1)).chain((40..60).map(|id| running(id, 4, 1))).collect();
    test.step(Event::Heard(jobs));
    let inherits = |heir: u32| {
        let first = |id: u64| placement::heirs(placement::key(JobId(id)), [1, 2, 4, 5].map(n).into_iter())[0];
        (1..40).filter(|id| first(*id) == n(heir)).count()
    };
    let mut expected = [1, 2, 4, 5];
    expected.sort_by_key(|heir| core::cmp::Reverse(inherits(*heir)));
    assert_eq!(test.node.heirs_of(n(3)), expected.map(n));
}

#[test]
fn a_node_takes_at_most_as_many_jobs_as_it_has_slots() {
    let takes = |test: &mut TestNode, rows: Vec<JobRow>| {
        asks(&test.step(Event::Heard(rows))).into_iter().filter(is_take).count()
    };
    let settings = Settings { slots: 2, ..Settings::new(Role::All) };
    let mut test = TestNode::with(settings.clone(), 2);
    assert_eq!(takes(&mut test, (1..6).map(pending).collect()), 2);
    let mut strict = TestNode::with(Settings { in_order: true, ..settings }, 2);
    assert_eq!(takes(&mut strict, (1..6).map(pending).collect()), 1, "the next is known after the answer");
    strict.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    let effects = strict.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    assert!(!asks(&effects).iter().any(is_take), "no slot is free");
}

#[test]
fn with_leader_only_the_other_nodes_stand_by() {
    let alone = Settings { leader_only: true, ..Settings::new(Role::All) };
    let mut test = TestNode::with(alone, 2);
    let job = JobRow { placed: None, state: JobState::Ready, ..pending(1) };
    test.step(Event::Heard(vec![job]));
    assert_eq!(test.node.queue.home(JobId(1)), Some(n(2)));
    test.wake_after(STEAL_AFTER);
    test.step(Event::Heard(vec![job]));
    assert!(!test.open.iter().any(|(_, ask)| is_take(ask)));
    test.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(2), ..test.claims[0] };
    assert!(asks(&test.reads_lists()).iter().any(is_take));
}

#[test]
fn a_job_behind_a_full_node_is_taken_early() {
    let takes = |full: bool| {
        let mut test = TestNode::of(2);
        test.members[1].slots = 1;
        test.reads_lists();
        if full {
            test.step(Event::Heard(vec![running(9, 2, 1)]));
        }
        test.step(Event::Heard(vec![elsewhere(7)]));
        test.wake_after(STEAL_AFTER.scaled(4, 5));
        test.step(Event::Heard(vec![elsewhere(7), elsewhere(8)]));
        asks(&test.wake_after(STEAL_AFTER.scaled(1, 5)))
    };
    let take = |id| Ask::Take { fence: fence(id, 0), by: ME, in_order: false };
    assert_eq!(takes(false), [take(7)]);
    assert_eq!(takes(true), [take(7), take(8)]);
}

/// What the next polls read, one after the other. Each answer is empty.
fn polls(test: &mut TestNode, count: usize) -> Vec<Ask> {
    let is_poll = |ask: &Ask| matches!(ask, Ask::ListJobs | Ask::ListNode(_));
    let poll = |_| {
        while test.open.iter().all(|(_, ask)| !is_poll(ask)) {
            test.beats_but(&[]);
        }
        let (_, asked) = test.open.iter().find(|(_, ask)| is_poll(ask)).cloned().expect("a poll is open");
        test.answer(is_poll, Answer::Jobs(Vec::new()));
        asked
    };
    (0..count).map(poll).collect()
}

#[test]
fn the_nodes_of_a_large_cluster_share_the_list_of_all_jobs() {
    for nodes in [1, 16] {
        assert!(polls(&mut TestNode::of(nodes), 20).iter().all(|ask| *ask == Ask::ListJobs), "{nodes}");
    }
    for (nodes, sharers) in [(17, 2), (32, 2), (33, 3)] {
        let polls = polls(&mut TestNode::of(nodes), 600);
        assert!(polls.iter().all(|ask| [Ask::ListJobs, Ask::ListNode(ME.node)].contains(ask)));
        let own: Vec<_> = polls.split(|ask| *ask == Ask::ListJobs).map(<[Ask]>::len).collect();
        let all = own.len() - 1;
        assert_eq!((own[..all].iter().min(), own[..all].iter().max()), (Some(&0), Some(&(2 * sharers - 2))), "{nodes}");
        assert!((600 / sharers).abs_diff(all) < 60, "{nodes}: {all} of 600");
    }
}

#[test]
fn the_leader_and_strictly_ordered_nodes_always_list_all_jobs() {
    let in_order = Settings { in_order: true, ..Settings::new(Role::All) };
    assert!(polls(&mut TestNode::with(in_order, 40), 20).iter().all(|ask| *ask == Ask::ListJobs));
    let mut leader = TestNode::of(40);
    leader.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(2), ..leader.claims[0] };
    leader.reads_lists();
    assert!(leader.node.leads(Target::Leader));
    polls(&mut leader, 1);
    assert!(polls(&mut leader, 20).iter().all(|ask| *ask == Ask::ListJobs));
}

/// One of many nodes; its next poll reads its own queue.
fn one_of_many() -> TestNode {
    let mut test = TestNode::of(40);
    test.node.own_polls = 3;
    test.wake_after(Span::from_secs(10));
    assert_eq!(test.open.last().map(|(_, ask)| ask), Some(&Ask::ListNode(ME.node)));
    test
}

fn is_own(ask: &Ask) -> bool {
    *ask == Ask::ListNode(ME.node)
}

#[test]
fn a_poll_of_the_own_queue_finds_jobs_of_a_lost_nudge() {
    let mut test = one_of_many();
    let effects = test.answer(is_own, Answer::Jobs(vec![pending(1)]));
    assert_eq!(asks(&effects), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
    assert_eq!(test.node.poll_at, test.now + Span::from_secs(10));
    test.wake_after(Span::from_secs(10));
    assert_eq!(test.node.own_polls, 1);
    let mut test = one_of_many();
    test.answer(is_own, Answer::Failed);
    assert_eq!((test.node.poll_at, test.node.own_polls), (test.now + PAUSE, 2), "polled again soon");
}

#[test]
fn a_full_project_is_retried_with_each_poll() {
    let mut test = TestNode::of(40);
    test.step(Event::Heard(vec![pending(1)]));
    test.answer(is_take, Answer::Full);
    test.node.own_polls = 3;
    test.wake_after(Span::from_secs(10));
    let effects = test.answer(is_own, Answer::Jobs(vec![pending(1)]));
    assert_eq!(asks(&effects), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
}

#[test]
fn if_a_dead_members_jobs_cannot_be_listed_all_jobs_are_listed() {
    let mut test = one_of_many();
    let watched = test.node.watched[0];
    test.members.retain(|row| row.member != watched);
    test.reads_lists();
    test.answer(|ask| *ask == Ask::ListNode(watched.node), Answer::Failed);
    assert_eq!(test.open.last().map(|(_, ask)| ask), Some(&Ask::ListJobs));
}

const FIRST: Capabilities = Capabilities(1);
const SECOND: Capabilities = Capabilities(2);

fn needs(needs: Capabilities, row: JobRow) -> JobRow {
    JobRow { needs, ..row }
}

#[test]
fn a_node_takes_only_jobs_that_it_can_run() {
    let mut test = TestNode::with(Settings { can: FIRST, ..Settings::new(Role::All) }, 2);
    test.members[1].can = SECOND;
    test.reads_lists();
    let effects = test.step(Event::Heard(vec![needs(SECOND, pending(1)), needs(FIRST, pending(2))]));
    assert_eq!(asks(&effects), [Ask::Take { fence: fence(2, 0), by: ME, in_order: false }]);
    assert_eq!(test.node.queue.home(JobId(1)), Some(n(2)), "its recorded home cannot run it");
    test.step(Event::Heard(vec![elsewhere(3)]));
    let effects = test.wake_after(test.node.settings.steal_after);
    assert_eq!(asks(&effects), [Ask::ReadJobs(vec![JobId(3)])], "this node cannot run the first on that queue");
}

#[test]
fn in_strict_order_a_node_starts_the_first_job_that_it_can_run() {
    let mut test = TestNode::with(Settings { can: FIRST, in_order: true, ..Settings::new(Role::All) }, 2);
    test.members[1].can = SECOND;
    test.reads_lists();
    let effects = test.step(Event::Heard(vec![needs(SECOND, pending(1)), needs(FIRST, pending(2))]));
    assert_eq!(asks(&effects), [Ask::Take { fence: fence(2, 0), by: ME, in_order: true }]);
}

#[test]
fn a_node_uses_a_capability_only_after_the_metastore_lists_it() {
    let mut test = TestNode::with(Settings { can: FIRST, ..Settings::new(Role::All) }, 1);
    test.step(Event::Heard(vec![needs(SECOND, pending(1))]));
    let why = |test: &TestNode| test.node.why(test.now, JobId(1));
    assert_eq!(why(&test), Some(Blocked::NoNodeCan { needs: SECOND }));
    let set = |ask: &Ask| matches!(ask, Ask::SetCan { .. });
    assert_eq!(asks(&test.step(Event::CanChanged(FIRST.or(SECOND)))).len(), 1, "it is written first, nothing is taken");
    test.answer(set, Answer::Done);
    test.members[0].can = FIRST.or(SECOND);
    assert_eq!(asks(&test.reads_lists()), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
}

#[test]
fn a_node_that_loses_a_capability_moves_the_jobs_that_require_it() {
    let mut test = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    test.holds(9);
    test.step(Event::Heard(vec![pending(1), needs(SECOND, pending(2))]));
    let effects = test.step(Event::CanChanged(FIRST));
    let placed = Ask::Place { fence: fence(2, 0), node: n(2) };
    assert_eq!(asks(&effects), [placed, Ask::SetCan { member: ME, can: FIRST }]);
    assert_eq!(test.node.queue.home(JobId(1)), Some(n(1)));
}
