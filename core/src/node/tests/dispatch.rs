//! Rows, homes, heirs, and who is next.

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

fn leader(nodes: u32) -> Mind {
    let mut mind = Mind::of(nodes);
    mind.claims[0].holder = Some(ME);
    mind.reads_lists();
    mind
}

/// Lets it read all jobs, and shows it these.
fn lists_jobs(mind: &mut Mind, rows: &[JobRow]) -> Effects {
    mind.node.poll_at = mind.now;
    mind.step(Event::Woke);
    mind.answer(|ask| *ask == Ask::ListJobs, Answer::Jobs(rows.to_vec()))
}

#[test]
fn how_an_orphan_was_found_is_known_until_somebody_holds_it() {
    let mut mind = Mind::of(3);
    mind.step(Event::Inherited(Orphans { of: m(9), found: found(), jobs: vec![orphan(1)] }));
    let known = |mind: &Mind| mind.node.inherited.get(&JobId(1)).and_then(|it| it.found);
    assert_eq!(known(&mind), Some(found()));
    mind.step(Event::Heard(vec![orphan(1)]));
    assert_eq!(known(&mind), Some(found()));
    for over in [running(1, 3, 2), JobRow { state: JobState::Paused, holder: None, ..orphan(1) }] {
        let mut mind = mind.clone();
        mind.step(Event::Heard(vec![over]));
        assert_eq!(known(&mind), None);
    }
}

#[test]
fn a_row_that_is_older_than_what_is_known_says_nothing() {
    let mut mind = Mind::of(3);
    mind.step(Event::Heard(vec![running(1, 2, 3)]));
    let shown = |asked_before: u64, row: JobRow| {
        let mut node = mind.clone().node;
        let asked_at = Time::from_micros(mind.now.micros() - asked_before);
        node.jobs_read(mind.now, asked_at, &[row.id], &[row]);
        node.queue.row(JobId(1)).copied()
    };
    let paused = JobRow { state: JobState::Paused, ..running(1, 2, 3) };
    assert_eq!(shown(0, paused), Some(paused));
    assert_eq!(shown(1, paused), Some(running(1, 2, 3)), "the question is older");
    assert_eq!(shown(0, JobRow { epoch: Epoch(2), ..paused }), Some(running(1, 2, 3)), "the holding is older");
    let later = JobRow { epoch: Epoch(4), ..paused };
    assert_eq!(shown(1, later), Some(later));
    mind.step(Event::Heard(vec![JobRow { epoch: Epoch(2), ..paused }]));
    assert_eq!(mind.node.queue.row(JobId(1)), Some(&running(1, 2, 3)));
}

#[test]
fn what_this_node_has_ended_is_not_begun_again_by_a_list_of_before() {
    let mut mind = Mind::of(3);
    let fence = mind.holds(1);
    mind.step(Event::AttemptEnded { fence, end: crate::event::End::Ran(Outcome::Succeeded) });
    mind.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    let begins = |asked_before: i64| {
        let mut node = mind.clone().node;
        let asked_at = Time::from_micros((mind.now.micros() as i64 - asked_before) as u64);
        node.jobs_read(mind.now, asked_at, &[JobId(1)], &[running(1, 1, 1)]);
        node.out.iter().any(|order| matches!(order, Effect::Begin { .. }))
    };
    assert!(!begins(1) && !begins(0));
    assert!(begins(-1), "the metastore says so afterwards");
}

#[test]
fn many_are_told_of_a_place_that_is_free_and_few_of_everything() {
    let mut mind = Mind::of(20);
    mind.projects[0].limit = 1;
    mind.step(Event::Heard(vec![running(1, 3, 1)]));
    mind.reads_lists();
    let told = |mind: &Mind, row: JobRow| {
        let nudges = nudged(&mind.clone().step(Event::Told(vec![row])));
        assert!(nudges.iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![row])), "{nudges:?}");
        nudges.into_iter().map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(told(&mind, elsewhere(2)), [2]);
    assert_eq!(told(&mind, running(1, 3, 1)), [3]);
    assert_eq!(told(&mind, JobRow { state: JobState::Paused, holder: None, ..running(1, 3, 1) }).len(), 19);
    mind.projects[0].limit = 2;
    mind.reads_lists();
    assert_eq!(told(&mind, JobRow { state: JobState::Paused, ..running(1, 3, 1) }), [3], "its holder is to stop it");
    assert_eq!(told(&Mind::of(3), elsewhere(2)), [2, 3]);
}

#[test]
fn a_job_that_was_read_is_told_to_its_home_if_it_waits_there() {
    let read = |row: JobRow| {
        let mut mind = Mind::of(3);
        mind.node.read_jobs(mind.now, vec![row.id]);
        let orders = mind.step(Event::Woke);
        assert_eq!(asks(&orders), [Ask::ReadJobs(vec![row.id])]);
        nudged(&mind.answer(is_read, Answer::Jobs(vec![row])))
    };
    assert_eq!(read(elsewhere(1)), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    assert_eq!(read(orphan(1)), [], "who found it tells its heir");
    assert_eq!(read(pending(1)), []);
}

#[test]
fn a_job_that_the_list_of_all_does_not_show_is_over() {
    let mut mind = Mind::of(3);
    mind.holds(1);
    mind.step(Event::Heard(vec![running(2, 2, 1), running(3, 2, 1)]));
    mind.step(Event::Heard(vec![pending(4)]));
    assert_eq!(mind.node.queue.blocked(JobId(4), ME.node, 1), Some(Blocked::Taking));
    mind.now += PAUSE;
    mind.step(Event::Heard(vec![running(5, 2, 1)]));
    let known = |asked_at: Time| {
        let mut node = mind.clone().node;
        node.jobs_listed(mind.now, asked_at, &[running(3, 2, 1)]);
        node.queue.ids().into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(known(mind.now), [1, 3, 4, 5], "what was heard at that moment may be newer");
    assert_eq!(known(mind.now + Span::from_micros(1)), [1, 3, 4]);
    let before = Time::from_micros(mind.now.micros() - PAUSE.micros());
    assert_eq!(known(before), [1, 2, 3, 4, 5]);
}

#[test]
fn an_end_is_remembered_while_an_older_answer_may_come() {
    let mut mind = Mind::of(3);
    let fence = mind.holds(1);
    mind.step(Event::AttemptEnded { fence, end: crate::event::End::Ran(Outcome::Succeeded) });
    mind.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    let mut asking = mind.clone();
    asking.step(Event::ListsChanged);
    mind.now += PAUSE;
    mind.step(Event::ListsChanged);
    let remembers = |mut mind: Mind| {
        mind.node.jobs_listed(mind.now, mind.now, &[]);
        !mind.node.settled.is_empty()
    };
    assert!(remembers(asking));
    assert!(!remembers(mind), "whatever is under way was asked later");
}

#[test]
fn the_leader_writes_down_where_waiting_jobs_stand() {
    let unplaced = JobRow { placed: None, state: JobState::Ready, ..pending(2) };
    let rows = [elsewhere(1), unplaced, JobRow { placed: Some(n(9)), ..running(3, 9, 1) }];
    let places = |mind: &mut Mind| {
        let orders = lists_jobs(mind, &rows);
        let is_place = |ask: &Ask| matches!(ask, Ask::Place { .. });
        asks(&orders).into_iter().filter(is_place).collect::<Vec<_>>()
    };
    assert_eq!(places(&mut Mind::with(Settings::new(Role::Job), 3)), [], "only the leader");
    let mut mind = leader(3);
    // What stands on its own queue it takes at once.
    mind.node.settings.slots = 0;
    let node = places(&mut mind);
    let home = mind.node.queue.home(JobId(2)).expect("it waits");
    assert_eq!(node, [Ask::Place { fence: fence(2, 0), node: home }]);
    let mut mind = leader(3);
    mind.members.iter_mut().for_each(|row| row.slots = 0);
    mind.reads_lists();
    assert_eq!(places(&mut mind), [], "there is no place");
    assert_eq!(mind.node.queue.home(JobId(2)), Some(NOWHERE));
}

#[test]
fn a_place_that_is_written_down_is_told_to_its_node() {
    let unplaced = JobRow { placed: None, state: JobState::Ready, ..pending(1) };
    let told = |known: JobRow, answer: Answer| {
        let mut mind = Mind::of(3);
        mind.step(Event::Heard(vec![known]));
        mind.node.placed(mind.now, fence(1, 0), n(2), &answer);
        (mind.node.queue.row(JobId(1)).copied(), mind.step(Event::Woke))
    };
    let (known, orders) = told(elsewhere(1), Answer::Done);
    assert_eq!((known, nudged(&orders)), (Some(elsewhere(1)), vec![(2, Nudge::Jobs(vec![elsewhere(1)]))]));
    let mut mind = Mind::with(Settings { slots: 0, ..Settings::new(Role::All) }, 3);
    mind.members[1].slots = 4;
    mind.reads_lists();
    mind.step(Event::Heard(vec![unplaced]));
    mind.node.placed(mind.now, fence(1, 0), n(2), &Answer::Done);
    assert_eq!(mind.node.queue.row(JobId(1)), Some(&elsewhere(1)));
    assert_eq!(asks(&told(unplaced, Answer::Refused).1)[0], Ask::ReadJobs(vec![JobId(1)]));
    assert_eq!(nudged(&told(unplaced, Answer::Failed).1), []);
    for started in [running(1, 2, 1), JobRow { epoch: Epoch(1), ..elsewhere(1) }] {
        let (known, orders) = told(started, Answer::Done);
        assert_eq!((known, nudged(&orders)), (Some(started), vec![]), "it is not the job of then");
    }
}

#[test]
fn what_a_dead_member_left_is_told_to_its_heirs() {
    let listed = |found: Option<Found>, rows: &[JobRow]| {
        let mut mind = Mind::of(3);
        mind.node.node_listed(mind.now, mind.now, m(9), found, rows);
        nudged(&mind.node.out)
    };
    let orphans = |jobs: Vec<JobRow>| Nudge::Orphans(Orphans { of: m(9), found: found(), jobs });
    assert_eq!(listed(Some(found()), &[orphan(1)]), [(2, orphans(vec![orphan(1)]))]);
    assert_eq!(listed(Some(found()), &[elsewhere(1)]), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    let both = [(2, orphans(vec![orphan(1)])), (2, Nudge::Jobs(vec![elsewhere(2)]))];
    assert_eq!(listed(Some(found()), &[orphan(1), elsewhere(2)]), both);
    assert_eq!(listed(None, &[orphan(1)]), [(2, Nudge::Lists), (2, Nudge::Jobs(vec![orphan(1)]))]);
    assert_eq!(listed(None, &[elsewhere(1)]), [(2, Nudge::Jobs(vec![elsewhere(1)]))]);
    let moved = JobRow { placed: Some(n(9)), ..orphan(1) };
    let mut alone = Mind::of(2);
    alone.drains(false);
    alone.node.node_listed(alone.now, alone.now, m(9), Some(found()), &[moved]);
    assert_eq!(nudged(&alone.node.out), [(2, orphans(vec![orphan(1)]))], "where it stands from then on");
}

#[test]
fn a_draining_node_gives_its_queue_away() {
    let mut mind = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    mind.holds(1);
    mind.step(Event::Heard(vec![pending(2), elsewhere(3), pending(4)]));
    let place = |id| Ask::Place { fence: fence(id, 0), node: n(2) };
    let mut blind = mind.clone();
    assert_eq!(asks(&mind.drains(false)), [Ask::Drain { by: ME }, place(2), place(4)]);
    blind.wake_after(Timing::kylin().trust_for());
    assert_eq!(asks(&blind.drains(false)), [Ask::Drain { by: ME }], "the jobs may have been moved meanwhile");
    let mut last = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    last.members[1].role = Role::Query;
    last.reads_lists();
    last.holds(1);
    last.step(Event::Heard(vec![pending(2)]));
    assert_eq!(asks(&last.drains(false)), [Ask::Drain { by: ME }], "there is nobody else");
}

#[test]
fn what_waits_elsewhere_is_looked_at_only_by_who_could_take_it() {
    let steals = |mind: &mut Mind| {
        mind.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
        mind.wake_after(STEAL_AFTER - Span::from_micros(1));
        mind.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
        asks(&mind.wake_after(Span::from_micros(1)))
    };
    let take = |id| Ask::Take { fence: fence(id, 0), by: ME, in_order: false };
    assert_eq!(steals(&mut Mind::of(3)), [take(7), take(8)]);
    let mut draining = Mind::of(3);
    draining.drains(false);
    assert_eq!(steals(&mut draining), []);
    let mut busy = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 3);
    busy.holds(1);
    assert_eq!(steals(&mut busy), []);
    assert_eq!(busy.node.steal_at, Time::NEVER, "it has no use for a timer");
    let mut query = Mind::with(Settings::new(Role::Query), 3);
    query.members[1].role = Role::All;
    query.members[2].role = Role::All;
    query.reads_lists();
    assert_eq!(steals(&mut query), []);
}

#[test]
fn of_what_was_not_heard_for_long_so_much_is_read_as_could_be_taken() {
    let mut mind = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 3);
    mind.step(Event::Heard(vec![elsewhere(7), JobRow { placed: Some(n(3)), ..pending(8) }]));
    assert_eq!(asks(&mind.wake_after(STEAL_AFTER)), [Ask::ReadJobs(vec![JobId(7)])]);
    mind.wake_after(STEAL_AFTER);
    assert_eq!(mind.open.iter().filter(|(_, ask)| is_read(ask)).count(), 1, "one look at a time");
}

#[test]
fn in_strict_order_what_was_started_has_its_turn_behind_it() {
    let strict = Settings { in_order: true, ..Settings::new(Role::All) };
    let mut mind = Mind::with(strict, 2);
    let take = |id, epoch, in_order| [Ask::Take { fence: fence(id, epoch), by: ME, in_order }];
    assert_eq!(asks(&mind.clone().step(Event::Heard(vec![pending(2), pending(1)]))), take(1, 0, true));
    assert_eq!(asks(&mind.step(Event::Heard(vec![pending(1), running(2, 9, 1)]))), take(2, 1, false));
}

#[test]
fn the_reason_for_which_a_job_waits_is_the_nearest_one() {
    let mut mind = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    let why = |mind: &Mind, id| mind.node.why(mind.now, JobId(id));
    mind.holds(1);
    let stopping = JobRow { state: JobState::Paused, ..running(4, 2, 1) };
    mind.step(Event::Heard(vec![pending(2), elsewhere(3), stopping]));
    let check = |mind: &Mind, here: Blocked, there: Blocked| {
        assert_eq!(why(mind, 1), Some(Blocked::State { state: JobState::Running }));
        assert_eq!(why(mind, 4), Some(Blocked::Stopping { holder: m(2) }));
        assert_eq!(why(mind, 2), Some(here));
        assert_eq!(why(mind, 3), Some(there));
    };
    check(&mind, Blocked::NodeFull { node: n(1), slots: 1 }, Blocked::Elsewhere { node: n(2) });
    let mut distrustful = mind.clone();
    distrustful.now += Span::from_secs(54);
    check(&distrustful, Blocked::NoTrust, Blocked::NoTrust);

    let mut last = mind.clone();
    last.members[1].role = Role::Query;
    last.reads_lists();
    assert_eq!(why(&last, 3), Some(Blocked::Behind { next: JobId(2) }), "it has moved here");
    last.drains(false);
    assert_eq!(why(&last, 2), Some(Blocked::NoJobNode), "nobody else can take it, and nobody does");

    let mut waiting = Mind::of(2);
    waiting.step(Event::Heard(vec![elsewhere(3)]));
    assert_eq!(waiting.node.waiting(waiting.now), [(JobId(3), Some(Blocked::Elsewhere { node: n(2) }))]);
}

#[test]
fn heirs_are_ordered_by_how_much_they_would_inherit() {
    let mut mind = Mind::of(5);
    let jobs: Vec<_> = (1..40).map(|id| running(id, 3, 1)).chain((40..60).map(|id| running(id, 4, 1))).collect();
    mind.step(Event::Heard(jobs));
    let inherits = |heir: u32| {
        let first = |id: u64| placement::heirs(placement::key(JobId(id)), [1, 2, 4, 5].map(n).into_iter())[0];
        (1..40).filter(|id| first(*id) == n(heir)).count()
    };
    let mut expected = [1, 2, 4, 5];
    expected.sort_by_key(|heir| core::cmp::Reverse(inherits(*heir)));
    assert_eq!(mind.node.heirs_of(n(3)), expected.map(n));
}

#[test]
fn no_more_is_taken_than_there_are_slots() {
    let takes =
        |mind: &mut Mind, rows: Vec<JobRow>| asks(&mind.step(Event::Heard(rows))).into_iter().filter(is_take).count();
    let settings = Settings { slots: 2, ..Settings::new(Role::All) };
    let mut mind = Mind::with(settings.clone(), 2);
    assert_eq!(takes(&mut mind, (1..6).map(pending).collect()), 2);
    let mut strict = Mind::with(Settings { in_order: true, ..settings }, 2);
    assert_eq!(takes(&mut strict, (1..6).map(pending).collect()), 1, "the next is known when this one is");
    strict.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    let orders = strict.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    assert!(!asks(&orders).iter().any(is_take), "no slot is free");
}

#[test]
fn where_the_leader_alone_runs_jobs_the_others_stand_by() {
    let alone = Settings { leader_only: true, ..Settings::new(Role::All) };
    let mut mind = Mind::with(alone, 2);
    let job = JobRow { placed: None, state: JobState::Ready, ..pending(1) };
    mind.step(Event::Heard(vec![job]));
    assert_eq!(mind.node.queue.home(JobId(1)), Some(n(2)));
    mind.wake_after(STEAL_AFTER);
    mind.step(Event::Heard(vec![job]));
    assert!(!mind.open.iter().any(|(_, ask)| is_take(ask)));
    mind.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(2), ..mind.claims[0] };
    assert!(asks(&mind.reads_lists()).iter().any(is_take));
}

#[test]
fn what_waits_behind_a_full_node_is_taken_before_it_has_waited_for_long() {
    let takes = |full: bool| {
        let mut mind = Mind::of(2);
        mind.members[1].slots = 1;
        mind.reads_lists();
        if full {
            mind.step(Event::Heard(vec![running(9, 2, 1)]));
        }
        mind.step(Event::Heard(vec![elsewhere(7)]));
        mind.wake_after(STEAL_AFTER.scaled(4, 5));
        mind.step(Event::Heard(vec![elsewhere(7), elsewhere(8)]));
        asks(&mind.wake_after(STEAL_AFTER.scaled(1, 5)))
    };
    let take = |id| Ask::Take { fence: fence(id, 0), by: ME, in_order: false };
    assert_eq!(takes(false), [take(7)]);
    assert_eq!(takes(true), [take(7), take(8)]);
}

/// What the next polls read, one poll after the other; nothing is ever found.
fn polls(mind: &mut Mind, count: usize) -> Vec<Ask> {
    let is_poll = |ask: &Ask| matches!(ask, Ask::ListJobs | Ask::ListNode(_));
    let poll = |_| {
        while mind.open.iter().all(|(_, ask)| !is_poll(ask)) {
            mind.beats_but(&[]);
        }
        let (_, asked) = mind.open.iter().find(|(_, ask)| is_poll(ask)).cloned().expect("it is there now");
        mind.answer(is_poll, Answer::Jobs(Vec::new()));
        asked
    };
    (0..count).map(poll).collect()
}

#[test]
fn the_nodes_of_a_large_cluster_share_the_list_of_all_jobs() {
    for nodes in [1, 16] {
        assert!(polls(&mut Mind::of(nodes), 20).iter().all(|ask| *ask == Ask::ListJobs), "{nodes}");
    }
    for (nodes, sharers) in [(17, 2), (32, 2), (33, 3)] {
        let polls = polls(&mut Mind::of(nodes), 600);
        assert!(polls.iter().all(|ask| [Ask::ListJobs, Ask::ListNode(ME.node)].contains(ask)));
        let own: Vec<_> = polls.split(|ask| *ask == Ask::ListJobs).map(<[Ask]>::len).collect();
        let all = own.len() - 1;
        assert_eq!((own[..all].iter().min(), own[..all].iter().max()), (Some(&0), Some(&(2 * sharers - 2))), "{nodes}");
        assert!((600 / sharers).abs_diff(all) < 60, "{nodes}: {all} of 600");
    }
}

#[test]
fn whoever_needs_to_know_all_jobs_lists_them_each_time() {
    let in_order = Settings { in_order: true, ..Settings::new(Role::All) };
    assert!(polls(&mut Mind::with(in_order, 40), 20).iter().all(|ask| *ask == Ask::ListJobs));
    let mut leader = Mind::of(40);
    leader.claims[0] = ClaimRow { holder: Some(ME), epoch: Epoch(2), ..leader.claims[0] };
    leader.reads_lists();
    assert!(leader.node.leads(Target::Leader));
    polls(&mut leader, 1);
    assert!(polls(&mut leader, 20).iter().all(|ask| *ask == Ask::ListJobs));
}

/// One of many nodes, whose next poll looks at its own queue.
fn one_of_many() -> Mind {
    let mut mind = Mind::of(40);
    mind.node.own_polls = 3;
    mind.wake_after(Span::from_secs(10));
    assert_eq!(mind.open.last().map(|(_, ask)| ask), Some(&Ask::ListNode(ME.node)));
    mind
}

fn is_own(ask: &Ask) -> bool {
    *ask == Ask::ListNode(ME.node)
}

#[test]
fn what_a_nudge_did_not_tell_is_found_on_its_own_queue() {
    let mut mind = one_of_many();
    let orders = mind.answer(is_own, Answer::Jobs(vec![pending(1)]));
    assert_eq!(asks(&orders), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
    assert_eq!(mind.node.poll_at, mind.now + Span::from_secs(10));
    mind.wake_after(Span::from_secs(10));
    assert_eq!(mind.node.own_polls, 1);
    let mut mind = one_of_many();
    mind.answer(is_own, Answer::Failed);
    assert_eq!((mind.node.poll_at, mind.node.own_polls), (mind.now + PAUSE, 2), "looked at again soon");
}

#[test]
fn a_project_that_was_full_is_tried_again_with_each_poll() {
    let mut mind = Mind::of(40);
    mind.step(Event::Heard(vec![pending(1)]));
    mind.answer(is_take, Answer::Full);
    mind.node.own_polls = 3;
    mind.wake_after(Span::from_secs(10));
    let orders = mind.answer(is_own, Answer::Jobs(vec![pending(1)]));
    assert_eq!(asks(&orders), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
}

#[test]
fn a_dead_members_jobs_that_could_not_be_listed_are_looked_for_among_all() {
    let mut mind = one_of_many();
    let watched = mind.node.watched[0];
    mind.members.retain(|row| row.member != watched);
    mind.reads_lists();
    mind.answer(|ask| *ask == Ask::ListNode(watched.node), Answer::Failed);
    assert_eq!(mind.open.last().map(|(_, ask)| ask), Some(&Ask::ListJobs));
}

const FIRST: Capabilities = Capabilities(1);
const SECOND: Capabilities = Capabilities(2);

fn needs(needs: Capabilities, row: JobRow) -> JobRow {
    JobRow { needs, ..row }
}

#[test]
fn a_node_takes_from_its_own_queue_and_from_others_only_what_it_is_able_to_run() {
    let mut mind = Mind::with(Settings { can: FIRST, ..Settings::new(Role::All) }, 2);
    mind.members[1].can = SECOND;
    mind.reads_lists();
    let orders = mind.step(Event::Heard(vec![needs(SECOND, pending(1)), needs(FIRST, pending(2))]));
    assert_eq!(asks(&orders), [Ask::Take { fence: fence(2, 0), by: ME, in_order: false }]);
    assert_eq!(mind.node.queue.home(JobId(1)), Some(n(2)), "where it is said to stand nobody can run it");
    mind.step(Event::Heard(vec![elsewhere(3)]));
    let orders = mind.wake_after(mind.node.settings.steal_after);
    assert_eq!(asks(&orders), [Ask::ReadJobs(vec![JobId(3)])], "the first on that queue is none for this node");
}

#[test]
fn in_strict_order_a_node_starts_the_first_that_it_is_able_to_run() {
    let mut mind = Mind::with(Settings { can: FIRST, in_order: true, ..Settings::new(Role::All) }, 2);
    mind.members[1].can = SECOND;
    mind.reads_lists();
    let orders = mind.step(Event::Heard(vec![needs(SECOND, pending(1)), needs(FIRST, pending(2))]));
    assert_eq!(asks(&orders), [Ask::Take { fence: fence(2, 0), by: ME, in_order: true }]);
}

#[test]
fn a_node_takes_nothing_by_an_ability_of_which_the_metastore_was_not_told() {
    let mut mind = Mind::with(Settings { can: FIRST, ..Settings::new(Role::All) }, 1);
    mind.step(Event::Heard(vec![needs(SECOND, pending(1))]));
    let why = |mind: &Mind| mind.node.why(mind.now, JobId(1));
    assert_eq!(why(&mind), Some(Blocked::NoNodeCan { needs: SECOND }));
    let set = |ask: &Ask| matches!(ask, Ask::SetCan { .. });
    assert_eq!(asks(&mind.step(Event::CanChanged(FIRST.or(SECOND)))).len(), 1, "it is written down, nothing is taken");
    mind.answer(set, Answer::Done);
    mind.members[0].can = FIRST.or(SECOND);
    assert_eq!(asks(&mind.reads_lists()), [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]);
}

#[test]
fn a_node_that_loses_an_ability_gives_away_what_requires_it() {
    let mut mind = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    mind.holds(9);
    mind.step(Event::Heard(vec![pending(1), needs(SECOND, pending(2))]));
    let orders = mind.step(Event::CanChanged(FIRST));
    let placed = Ask::Place { fence: fence(2, 0), node: n(2) };
    assert_eq!(asks(&orders), [placed, Ask::SetCan { member: ME, can: FIRST }]);
    assert_eq!(mind.node.queue.home(JobId(1)), Some(n(1)));
}
