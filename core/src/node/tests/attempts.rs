//! From the grant to the end of an attempt.

use super::*;
use crate::event::End;

fn read(id: u64) -> Ask {
    Ask::ReadJobs(vec![JobId(id)])
}

fn commit(fence: Fence) -> Ask {
    Ask::CommitStep { fence, by: ME, step: 0 }
}

fn cancel(fence: Fence, why: Why) -> Effect {
    Effect::Cancel { fence, why }
}

fn ended(fence: Fence, end: End) -> Event {
    Event::AttemptEnded { fence, end }
}

/// A mind that alone may run a job that the dead node 3 held, and asks for it.
fn heir() -> Mind {
    let mut mind = Mind::of(2);
    mind.members[1].role = Role::Query;
    mind.reads_lists();
    let orders = mind.step(Event::Heard(vec![running(5, 3, 4)]));
    assert_eq!(asks(&orders), [Ask::Take { fence: fence(5, 4), by: ME, in_order: false }]);
    mind
}

#[test]
fn what_is_granted_is_known_as_if_it_had_been_read() {
    let mut mind = heir();
    let orders = mind.answer(is_take, Answer::Granted { epoch: Epoch(5), steps: 2 });
    assert_eq!(others(orders), [Effect::Begin { fence: fence(5, 5), step: 2 }]);
    assert_eq!(mind.node.queue.row(JobId(5)), Some(&JobRow { steps: 2, ..running(5, 1, 5) }));
}

#[test]
fn a_limit_stands_against_a_fresh_job_and_against_no_other() {
    let mut mind = Mind::of(2);
    mind.step(Event::Heard(vec![pending(1)]));
    assert_eq!(mind.answer(is_take, Answer::Full), []);
    assert!(mind.node.queue.is_full(ProjectId(1)));
    assert_eq!(mind.node.queue.home(JobId(1)), Some(ME.node), "it waits");
    let mut mind = heir();
    assert_eq!(asks(&mind.answer(is_take, Answer::Full)), [read(5), Ask::List], "it does not run any more");
    assert!(!mind.node.queue.is_full(ProjectId(1)));
    assert_eq!(mind.node.queue.row(JobId(5)), None);
}

#[test]
fn a_request_that_failed_is_followed_by_a_read_after_a_pause() {
    let mut mind = Mind::of(2);
    let later = Span::from_millis(400);
    mind.step(Event::Heard(vec![pending(1)]));
    assert_eq!(mind.answer(is_take, Answer::Failed), []);
    mind.now += later;
    mind.step(Event::Heard(vec![pending(2)]));
    assert_eq!(mind.answer(is_take, Answer::Failed), []);
    assert_eq!(mind.wake_after(PAUSE - later - Span::from_micros(1)), []);
    assert_eq!(mind.node.deadline(), (mind.now + Span::from_micros(1), Timer::Retry));
    assert_eq!(asks(&mind.wake_after(Span::from_micros(1))), [read(1)]);
    assert_eq!(mind.node.deadline(), (mind.now + later, Timer::Retry));
    assert_eq!(asks(&mind.wake_after(later)), [read(2)]);
}

#[test]
fn a_job_that_is_refused_twice_can_wait_for_a_moment() {
    let mut mind = Mind::of(2);
    mind.step(Event::Heard(vec![pending(1)]));
    assert_eq!(asks(&mind.answer(is_take, Answer::Refused)), [read(1), Ask::List]);
    mind.reads_lists();
    assert_eq!(
        asks(&mind.answer(is_read, Answer::Jobs(vec![pending(1)]))),
        [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]
    );
    assert_eq!(asks(&mind.answer(is_take, Answer::Refused)), [Ask::List]);
    mind.reads_lists();
    assert_eq!(asks(&mind.wake_after(PAUSE)), [read(1)]);
}

#[test]
fn what_comes_too_late_is_given_back_untouched() {
    let surprise = |mind: &mut Mind, row: JobRow| {
        assert!(asks(&mind.step(Event::Heard(vec![row]))).contains(&read(row.id.0)), "a hint is not enough");
        let orders = mind.answer(|ask| *ask == read(row.id.0), Answer::Jobs(vec![row]));
        let released =
            asks(&orders).iter().any(|ask| matches!(ask, Ask::Release { fence, .. } if *fence == row.fence()));
        let begun = orders.contains(&Effect::Begin { fence: row.fence(), step: row.steps });
        assert_ne!(begun, released);
        begun
    };
    let row = JobRow { steps: 3, ..running(9, 1, 2) };
    assert!(surprise(&mut Mind::of(2), row), "granted, but the answer was lost");
    assert!(!surprise(&mut Mind::of(2), JobRow { state: JobState::Paused, ..row }), "not wanted");

    let mut draining = Mind::of(2);
    draining.drains(false);
    assert!(!surprise(&mut draining, row), "it takes nothing");

    let mut full = Mind::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    full.holds(1);
    assert!(!surprise(&mut full, row), "no slot is free");

    let mut distrustful = Mind::of(2);
    distrustful.wake_after(Span::from_secs(54));
    assert!(!surprise(&mut distrustful, row), "it does not trust itself");
}

#[test]
fn a_step_is_committed_in_its_turn_and_while_it_is_wanted() {
    let mut mind = Mind::of(2);
    let fence = mind.holds(1);
    assert_eq!(mind.step(Event::StepEnded { fence, step: 1 }), [], "it is not its turn");
    assert_eq!(asks(&mind.step(Event::StepEnded { fence, step: 0 })), [commit(fence)]);
    assert_eq!(mind.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 1 }]);
    assert_eq!(mind.node.queue.row(JobId(1)).map(|row| row.steps), Some(1));
    mind.step(Event::StepEnded { fence, step: 1 });
    assert_eq!(mind.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 2 }]);
    assert_eq!(mind.node.queue.row(JobId(1)).map(|row| row.steps), Some(2));
    let paused = JobRow { state: JobState::Paused, steps: 2, ..running(1, 1, 1) };
    assert_eq!(mind.step(Event::Heard(vec![paused])), [cancel(fence, Why::Acted)]);
    assert_eq!(mind.step(Event::StepEnded { fence, step: 2 }), [], "it is not wanted any more");
    let stale = Fence { epoch: Epoch(0), ..fence };
    assert_eq!(mind.step(Event::StepEnded { fence: stale, step: 2 }), [cancel(stale, Why::Lost)]);
}

#[test]
fn a_commit_that_did_not_happen_is_asked_again_and_one_that_may_have_is_looked_up() {
    let mut mind = Mind::of(2);
    let fence = mind.commits(1);
    assert_eq!(mind.answer(is_commit, Answer::Failed), []);
    assert_eq!(mind.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(mind.node.deadline(), (mind.now + Span::from_micros(1), Timer::Retry));
    assert_eq!(asks(&mind.wake_after(Span::from_micros(1))), [commit(fence)]);
    assert_eq!(mind.answer(is_commit, Answer::Unknown), []);
    assert_eq!(asks(&mind.wake_after(PAUSE)), [read(1)]);
    mind.answer(is_read, Answer::Jobs(vec![running(1, 1, 1)]));
    let orders = mind.answer(is_commit, Answer::Refused);
    assert_eq!(orders[0], Effect::Note(Note::Refused(fence)));
    assert_eq!(asks(&orders), [read(1)]);
}

#[test]
fn what_ends_while_a_commit_is_under_way_does_not_go_on() {
    let mut mind = Mind::of(2);
    let fence = mind.commits(1);
    let outcome = Outcome::Succeeded;
    assert_eq!(mind.clone().step(ended(fence, End::Ran(outcome))), []);
    let mut finishing = mind.clone();
    finishing.step(ended(fence, End::Ran(outcome)));
    let orders = finishing.answer(is_commit, Answer::Done);
    assert_eq!((asks(&orders), orders.len()), (vec![Ask::Finish { fence, by: ME, outcome }], 1));

    let mut paused = mind.clone();
    let row = JobRow { state: JobState::Paused, ..running(1, 1, 1) };
    assert_eq!(paused.step(Event::Heard(vec![row])), [cancel(fence, Why::Acted)]);
    assert_eq!(paused.answer(is_commit, Answer::Done), []);

    mind.drains(false);
    let orders = mind.answer(is_commit, Answer::Done);
    assert_eq!(others(orders), [cancel(fence, Why::Drained)]);
    let orders = mind.step(ended(fence, End::Stopped));
    assert_eq!(asks(&orders), [Ask::Release { fence, by: ME, placed: Some(n(2)) }]);
    let orders = mind.answer(|ask| matches!(ask, Ask::Release { .. }), Answer::Refused);
    assert!(asks(&orders).contains(&read(1)) && mind.node.attempts.is_empty(), "it was not its own any more");
}

#[test]
fn others_hear_of_an_end_if_they_are_few_or_if_they_may_have_waited_for_it() {
    let told = |nodes: u32, limit: u32| {
        let mut mind = Mind::of(nodes);
        mind.projects[0].limit = limit;
        mind.reads_lists();
        let fence = mind.holds(1);
        mind.step(ended(fence, End::Ran(Outcome::Succeeded)));
        let orders = mind.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
        let over = JobRow { state: JobState::Succeed, holder: None, ..running(1, 1, 1) };
        assert!(nudged(&orders).iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![over])), "{orders:?}");
        nudged(&orders).len()
    };
    assert_eq!([told(3, 100), told(16, 100)], [2, 15]);
    assert_eq!([told(17, 100), told(17, 1)], [0, 16]);
}

/// Two minds whose commit, or whose end, nobody knows of.
fn in_doubt() -> (Mind, Mind) {
    let mut commits = Mind::of(2);
    commits.commits(1);
    commits.answer(is_commit, Answer::Unknown);
    commits.now += PAUSE;
    let mut finishes = Mind::of(2);
    let fence = finishes.holds(1);
    finishes.step(ended(fence, End::Ran(Outcome::Succeeded)));
    finishes.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Unknown);
    finishes.now += PAUSE;
    (commits, finishes)
}

#[test]
fn the_row_tells_what_became_of_a_commit_in_doubt() {
    let (mind, _) = in_doubt();
    let at = fence(1, 1);
    let told = |asked_before: Span, row: Option<JobRow>| {
        let mut node = mind.clone().node;
        let asked_at = Time::from_micros(mind.now.micros() - asked_before.micros());
        node.resolve(mind.now, asked_at, JobId(1), row.as_ref());
        (others(node.out.clone()), asks(&node.out), node.attempts[&JobId(1)].doubt.is_some())
    };
    let row = running(1, 1, 1);
    let (proceed, no) = (Effect::Proceed { fence: at, step: 1 }, Span::ZERO);
    assert_eq!(told(PAUSE, Some(JobRow { steps: 1, ..row })), (vec![proceed], vec![], false), "asked at that moment");
    assert_eq!(told(PAUSE + Span::from_micros(1), Some(row)), (vec![], vec![], true), "too old to tell");
    assert_eq!(told(no, Some(row)), (vec![], vec![commit(at)], false), "it did not happen");
    let lost = (vec![cancel(at, Why::Lost)], vec![], false);
    assert_eq!(told(no, None), lost);
    assert_eq!(told(no, Some(running(1, 2, 2))), lost);
    assert_eq!(told(no, Some(JobRow { steps: 1, ..running(1, 2, 2) })), lost, "somebody else's step");
    assert_eq!(told(no, Some(JobRow { epoch: Epoch(2), ..row })), lost);
    assert_eq!(told(no, Some(JobRow { holder: None, ..row })), lost);
    let acted = (vec![cancel(at, Why::Acted)], vec![], false);
    assert_eq!(told(no, Some(JobRow { state: JobState::Paused, ..row })), acted);
}

#[test]
fn the_row_tells_what_became_of_an_end_in_doubt() {
    let (_, mind) = in_doubt();
    let told = |row: Option<JobRow>| {
        let mut node = mind.clone().node;
        node.resolve(mind.now, mind.now, JobId(1), row.as_ref());
        let state = node.queue.row(JobId(1)).map(|row| row.state);
        (node.attempts.is_empty(), asks(&node.out), state)
    };
    let row = running(1, 1, 1);
    let finish = Ask::Finish { fence: fence(1, 1), by: ME, outcome: Outcome::Succeeded };
    assert_eq!(told(Some(row)), (false, vec![finish], Some(JobState::Running)));
    let over = JobRow { state: JobState::Succeed, holder: None, ..row };
    assert_eq!(told(Some(over)), (true, vec![], None));
    let failed = JobRow { state: JobState::Error, holder: None, ..row };
    assert_eq!(told(Some(failed)), (true, vec![], Some(JobState::Error)));
    let later = JobRow { state: JobState::Error, holder: None, epoch: Epoch(2), ..row };
    assert_eq!(told(Some(later)), (true, vec![], Some(JobState::Running)), "not by this attempt");
    let release = Ask::Release { fence: fence(1, 1), by: ME, placed: Some(ME.node) };
    let paused = JobRow { state: JobState::Paused, ..row };
    assert_eq!(told(Some(paused)), (false, vec![release], Some(JobState::Running)), "it is to be handed back");
}

#[test]
fn a_row_stops_an_attempt_that_it_does_not_want() {
    let mut mind = Mind::of(2);
    mind.step(Event::Heard(vec![pending(1)]));
    mind.answer(is_take, Answer::Granted { epoch: Epoch(3), steps: 0 });
    let shown = |row: JobRow| {
        let mut node = mind.clone().node;
        node.compare(&row);
        match &node.out[..] {
            [] => None,
            [Effect::Cancel { why, .. }] => Some(*why),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(shown(running(1, 1, 3)), None);
    assert_eq!(shown(JobRow { state: JobState::Paused, ..running(1, 1, 2) }), None, "of an earlier life");
    assert_eq!(shown(running(1, 2, 2)), None, "of an earlier life");
    assert_eq!(shown(JobRow { state: JobState::Paused, ..running(1, 1, 3) }), Some(Why::Acted));
    assert_eq!(shown(running(1, 2, 3)), Some(Why::Lost));
    assert_eq!(shown(running(1, 1, 4)), Some(Why::Lost));
}

#[test]
fn a_takeover_is_noted_when_its_first_step_is_committed() {
    let mut mind = heir();
    mind.now += Span::from_millis(3);
    mind.answer(is_take, Answer::Granted { epoch: Epoch(5), steps: 2 });
    mind.now += Span::from_millis(7);
    let fence = fence(5, 5);
    mind.step(Event::StepEnded { fence, step: 2 });
    let orders = mind.answer(is_commit, Answer::Done);
    let (taken, first_step) = (Span::from_millis(3), Span::from_millis(7));
    let note = Note::TookOver { fence, from: m(3), found: None, taken, first_step, from_step: 2 };
    assert_eq!(orders, [Effect::Note(note), Effect::Proceed { fence, step: 3 }]);
    mind.step(Event::StepEnded { fence, step: 3 });
    assert_eq!(mind.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 4 }], "noted once");
}

#[test]
fn an_order_to_stop_is_given_once_and_being_fenced_outweighs_all() {
    let mut mind = Mind::of(2);
    let fence = mind.holds(1);
    let attempt = mind.node.attempts.get_mut(&fence.job).expect("it runs");
    let mut over = Attempt { ended: Some(End::Stopped), ..attempt.clone() };
    assert_eq!((attempt.cancel(Why::Acted), attempt.stopping), (Some(fence), Some(Why::Acted)));
    assert_eq!((attempt.cancel(Why::Lost), attempt.stopping), (None, Some(Why::Acted)));
    assert_eq!((attempt.cancel(Why::Fenced), attempt.stopping), (None, Some(Why::Fenced)));
    assert_eq!((over.cancel(Why::Lost), over.stopping), (None, Some(Why::Lost)), "nothing of it runs");
}

#[test]
fn what_is_due_is_done_also_by_who_wakes_too_late() {
    let mut mind = Mind::of(2);
    let fence = mind.commits(1);
    mind.answer(is_commit, Answer::Failed);
    assert_eq!(asks(&mind.wake_after(PAUSE + PAUSE)), [commit(fence)]);
}

#[test]
fn rows_that_could_not_be_read_are_read_again_after_a_pause() {
    let (mut mind, _) = in_doubt();
    assert_eq!(asks(&mind.step(Event::Woke)), [read(1)]);
    assert_eq!(mind.answer(is_read, Answer::Failed), []);
    assert_eq!(mind.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&mind.wake_after(Span::from_micros(1))), [read(1)]);
    let mut mind = Mind::of(2);
    mind.step(Event::Heard(vec![running(9, 1, 2)]));
    assert_eq!(mind.answer(is_read, Answer::Unknown), []);
    assert_eq!(asks(&mind.wake_after(PAUSE)), [read(9)]);
}

/// A mind that drains and has handed its job over.
fn handed_over(nodes: u32, limit: u32) -> (Mind, Effects) {
    let mut mind = Mind::of(nodes);
    mind.projects[0].limit = limit;
    mind.reads_lists();
    let fence = mind.commits(1);
    mind.drains(false);
    mind.answer(is_commit, Answer::Done);
    mind.step(ended(fence, End::Stopped));
    let orders = mind.answer(is_release, Answer::Done);
    (mind, orders)
}

#[test]
fn a_job_that_is_handed_over_is_told_to_its_heir_or_to_all_who_may_take_it() {
    let (_, orders) = handed_over(3, 100);
    assert_eq!(others(orders.clone()), [Effect::Note(Note::HandedOver { fence: fence(1, 1), steps: 1 })]);
    assert_eq!(asks(&orders), [read(1)]);
    let told = |nodes: u32, limit: u32| {
        let (mut mind, _) = handed_over(nodes, limit);
        let row = JobRow { epoch: Epoch(1), steps: 1, placed: Some(n(2)), ..pending(1) };
        let nudges = nudged(&mind.answer(is_read, Answer::Jobs(vec![row])));
        assert!(nudges.iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![row])), "{nudges:?}");
        nudges.into_iter().map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(told(3, 100), [2, 3]);
    assert_eq!(told(16, 100).len(), 15, "few");
    assert_eq!(told(17, 100), [2]);
    assert_eq!(told(17, 1).len(), 16, "they may have waited for the place");
}

#[test]
fn an_answer_of_a_former_life_changes_nothing_about_the_next() {
    let next = running(1, 2, 2);
    let mut mind = Mind::of(2);
    mind.commits(1);
    mind.step(Event::Heard(vec![next]));
    mind.answer(is_commit, Answer::Done);
    assert_eq!(mind.node.queue.row(JobId(1)), Some(&next));

    let resumed = JobRow { state: JobState::Ready, holder: None, ..running(1, 1, 1) };
    for next in [next, resumed] {
        let mut mind = Mind::of(2);
        let fence = mind.holds(1);
        mind.step(ended(fence, End::Ran(Outcome::Failed)));
        mind.step(Event::Heard(vec![next]));
        mind.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
        let known = mind.node.queue.row(JobId(1)).copied();
        assert_eq!(known.map(|row| (row.state, row.epoch)), Some((next.state, next.epoch)));
    }
}

#[test]
fn an_attempt_is_this_nodes_until_nothing_is_left_to_ask() {
    let mut mind = Mind::of(2);
    let at = mind.holds(1);
    assert!(mind.node.attempts_under(at));
    assert!(!mind.node.attempts_under(fence(1, 2)) && !mind.node.attempts_under(fence(2, 1)));
    mind.step(ended(at, End::Ran(Outcome::Succeeded)));
    assert!(mind.node.attempts_under(at), "its end is not told yet");
    mind.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    assert!(!mind.node.attempts_under(at));
}

/// Able to run what requires the first capability, like every node, and what requires the second.
const BOTH: Capabilities = Capabilities(3);
const SECOND: Capabilities = Capabilities(2);

#[test]
fn a_failure_is_not_the_jobs_where_the_node_lost_what_the_job_requires() {
    let ends = |lost: bool, outcome: Outcome| {
        let mut mind = Mind::with(Settings { can: BOTH, ..Settings::new(Role::All) }, 2);
        mind.step(Event::Heard(vec![JobRow { needs: SECOND, ..pending(1) }]));
        mind.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
        if lost {
            mind.step(Event::CanChanged(Capabilities(1)));
            mind.members[0].can = Capabilities(1);
            mind.answer(|ask| matches!(ask, Ask::SetCan { .. }), Answer::Done);
            mind.reads_lists();
        }
        asks(&mind.step(ended(fence(1, 1), End::Ran(outcome))))
    };
    let finish = |outcome| Ask::Finish { fence: fence(1, 1), by: ME, outcome };
    assert_eq!(ends(false, Outcome::Failed), [finish(Outcome::Failed)]);
    assert_eq!(ends(true, Outcome::Succeeded), [finish(Outcome::Succeeded)]);
    assert_eq!(ends(true, Outcome::Vanished), [finish(Outcome::Vanished)]);
    let back = Ask::Release { fence: fence(1, 1), by: ME, placed: Some(n(2)) };
    assert_eq!(ends(true, Outcome::Failed), [back], "to a node that is able to run it");
}

#[test]
fn a_job_that_is_granted_after_the_ability_was_lost_is_given_back_untouched() {
    let mut mind = Mind::with(Settings { can: BOTH, ..Settings::new(Role::All) }, 2);
    mind.step(Event::Heard(vec![JobRow { needs: SECOND, ..pending(1) }]));
    mind.step(Event::CanChanged(Capabilities(1)));
    let orders = mind.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    assert_eq!(others(orders.clone()), []);
    assert_eq!(asks(&orders), [Ask::Release { fence: fence(1, 1), by: ME, placed: Some(n(2)) }]);
}
