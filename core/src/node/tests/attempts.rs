//! Attempts, from the grant to the end.

use super::*;
use crate::event::End;

fn read(id: u64) -> Ask {
    Ask::ReadJobs(vec![JobId(id)])
}

fn commit(fence: Fence) -> Ask {
    commit_of(fence, 0)
}

fn commit_of(fence: Fence, step: u32) -> Ask {
    Ask::CommitStep { fence, by: ME, step }
}

fn cancel(fence: Fence, why: Why) -> Effect {
    Effect::Cancel { fence, why }
}

fn ended(fence: Fence, end: End) -> Event {
    Event::AttemptEnded { fence, end }
}

/// The only node that may run a job that the dead node 3 held; it asks for the job.
fn heir() -> TestNode {
    let mut test = TestNode::of(2);
    test.members[1].role = Role::Query;
    test.reads_lists();
    let effects = test.step(Event::Heard(vec![running(5, 3, 4)]));
    assert_eq!(asks(&effects), [Ask::Take { fence: fence(5, 4), by: ME, in_order: false }]);
    test
}

#[test]
fn a_grant_updates_the_row_like_a_read() {
    let mut test = heir();
    let effects = test.answer(is_take, Answer::Granted { epoch: Epoch(5), steps: 2 });
    assert_eq!(others(effects), [Effect::Begin { fence: fence(5, 5), step: 2 }]);
    assert_eq!(test.node.queue.row(JobId(5)), Some(&JobRow { steps: 2, ..running(5, 1, 5) }));
}

#[test]
fn a_project_limit_blocks_only_jobs_that_were_not_started() {
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![pending(1)]));
    assert_eq!(test.answer(is_take, Answer::Full), []);
    assert!(test.node.queue.is_full(ProjectId(1)));
    assert_eq!(test.node.queue.home(JobId(1)), Some(ME.node), "it waits");
    let mut test = heir();
    assert_eq!(asks(&test.answer(is_take, Answer::Full)), [read(5), Ask::List], "it is not running any more");
    assert!(!test.node.queue.is_full(ProjectId(1)));
    assert_eq!(test.node.queue.row(JobId(5)), None);
}

#[test]
fn after_a_failed_take_the_row_is_read_after_a_pause() {
    let mut test = TestNode::of(2);
    let later = Span::from_millis(400);
    test.step(Event::Heard(vec![pending(1)]));
    assert_eq!(test.answer(is_take, Answer::Failed), []);
    test.now += later;
    test.step(Event::Heard(vec![pending(2)]));
    assert_eq!(test.answer(is_take, Answer::Failed), []);
    assert_eq!(test.wake_after(PAUSE - later - Span::from_micros(1)), []);
    assert_eq!(test.node.deadline(), (test.now + Span::from_micros(1), Timer::Retry));
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [read(1)]);
    assert_eq!(test.node.deadline(), (test.now + later, Timer::Retry));
    assert_eq!(asks(&test.wake_after(later)), [read(2)]);
}

#[test]
fn after_two_refusals_a_job_is_read_only_after_a_pause() {
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![pending(1)]));
    assert_eq!(asks(&test.answer(is_take, Answer::Refused)), [read(1), Ask::List]);
    test.reads_lists();
    assert_eq!(
        asks(&test.answer(is_read, Answer::Jobs(vec![pending(1)]))),
        [Ask::Take { fence: fence(1, 0), by: ME, in_order: false }]
    );
    assert_eq!(asks(&test.answer(is_take, Answer::Refused)), [Ask::List]);
    test.reads_lists();
    assert_eq!(asks(&test.wake_after(PAUSE)), [read(1)]);
}

#[test]
fn after_two_takes_of_unknown_outcome_a_job_is_read_only_after_a_pause() {
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![pending(1)]));
    assert_eq!(asks(&test.answer(is_take, Answer::Unknown)), [read(1)]);
    let take = Ask::Take { fence: fence(1, 0), by: ME, in_order: false };
    assert_eq!(asks(&test.answer(is_read, Answer::Jobs(vec![pending(1)]))), [take]);
    assert_eq!(test.answer(is_take, Answer::Unknown), []);
    assert_eq!(test.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [read(1)]);
}

#[test]
fn an_unusable_grant_is_handed_back_without_starting() {
    let surprise = |test: &mut TestNode, row: JobRow| {
        assert!(asks(&test.step(Event::Heard(vec![row]))).contains(&read(row.id.0)), "a hint is not enough");
        let effects = test.answer(|ask| *ask == read(row.id.0), Answer::Jobs(vec![row]));
        let released =
            asks(&effects).iter().any(|ask| matches!(ask, Ask::Release { fence, .. } if *fence == row.fence()));
        let begun = effects.contains(&Effect::Begin { fence: row.fence(), step: row.steps });
        assert_ne!(begun, released);
        begun
    };
    let row = JobRow { steps: 3, ..running(9, 1, 2) };
    assert!(surprise(&mut TestNode::of(2), row), "granted, but the answer was lost");
    assert!(!surprise(&mut TestNode::of(2), JobRow { state: JobState::Paused, ..row }), "it must not run");

    let mut draining = TestNode::of(2);
    draining.drains(false);
    assert!(!surprise(&mut draining, row), "it drains");

    let mut full = TestNode::with(Settings { slots: 1, ..Settings::new(Role::All) }, 2);
    full.holds(1);
    assert!(!surprise(&mut full, row), "no slot is free");

    let mut distrustful = TestNode::of(2);
    distrustful.wake_after(Span::from_secs(54));
    assert!(!surprise(&mut distrustful, row), "it has no trust");
}

#[test]
fn a_step_is_committed_in_order_even_if_the_attempt_was_told_to_stop() {
    let mut test = TestNode::of(2);
    let fence = test.holds(1);
    assert_eq!(test.step(Event::StepEnded { fence, step: 1 }), [], "it is not its turn");
    assert_eq!(asks(&test.step(Event::StepEnded { fence, step: 0 })), [commit(fence)]);
    assert_eq!(test.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 1 }]);
    assert_eq!(test.node.queue.row(JobId(1)).map(|row| row.steps), Some(1));
    test.step(Event::StepEnded { fence, step: 1 });
    assert_eq!(test.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 2 }]);
    assert_eq!(test.node.queue.row(JobId(1)).map(|row| row.steps), Some(2));
    let paused = JobRow { state: JobState::Paused, steps: 2, ..running(1, 1, 1) };
    assert_eq!(test.step(Event::Heard(vec![paused])), [cancel(fence, Why::Acted)]);
    assert_eq!(asks(&test.step(Event::StepEnded { fence, step: 2 })), [commit_of(fence, 2)], "its work is done");
    test.answer(is_commit, Answer::Done);
    assert_eq!(test.step(Event::StepEnded { fence, step: 2 }), [], "it is committed");
    let stale = Fence { epoch: Epoch(0), ..fence };
    assert_eq!(test.step(Event::StepEnded { fence: stale, step: 2 }), [cancel(stale, Why::Lost)]);
}

#[test]
fn a_failed_commit_is_retried_and_an_unknown_one_is_looked_up() {
    let mut test = TestNode::of(2);
    let fence = test.commits(1);
    assert_eq!(test.answer(is_commit, Answer::Failed), []);
    assert_eq!(test.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(test.node.deadline(), (test.now + Span::from_micros(1), Timer::Retry));
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [commit(fence)]);
    assert_eq!(test.answer(is_commit, Answer::Unknown), []);
    assert_eq!(asks(&test.wake_after(PAUSE)), [read(1)]);
    test.answer(is_read, Answer::Jobs(vec![running(1, 1, 1)]));
    let effects = test.answer(is_commit, Answer::Refused);
    assert_eq!(effects[0], Effect::Note(Note::Refused(fence)));
    assert_eq!(asks(&effects), [read(1)]);
}

#[test]
fn an_attempt_that_ends_during_a_commit_does_not_proceed() {
    let mut test = TestNode::of(2);
    let fence = test.commits(1);
    let outcome = Outcome::Succeeded;
    assert_eq!(test.clone().step(ended(fence, End::Ran(outcome))), []);
    let mut finishing = test.clone();
    finishing.step(ended(fence, End::Ran(outcome)));
    let effects = finishing.answer(is_commit, Answer::Done);
    assert_eq!((asks(&effects), effects.len()), (vec![Ask::Finish { fence, by: ME, outcome }], 1));

    let mut paused = test.clone();
    let row = JobRow { state: JobState::Paused, ..running(1, 1, 1) };
    assert_eq!(paused.step(Event::Heard(vec![row])), [cancel(fence, Why::Acted)]);
    assert_eq!(paused.answer(is_commit, Answer::Done), []);

    test.drains(false);
    let effects = test.answer(is_commit, Answer::Done);
    assert_eq!(others(effects), [cancel(fence, Why::Drained)]);
    let effects = test.step(ended(fence, End::Stopped));
    assert_eq!(asks(&effects), [Ask::Release { fence, by: ME, placed: Some(n(2)) }]);
    let effects = test.answer(|ask| matches!(ask, Ask::Release { .. }), Answer::Refused);
    assert!(asks(&effects).contains(&read(1)) && test.node.attempts.is_empty(), "another member holds it");
}

#[test]
fn an_end_is_announced_to_all_in_a_small_cluster_or_if_it_frees_a_place() {
    let told = |nodes: u32, limit: u32| {
        let mut test = TestNode::of(nodes);
        test.projects[0].limit = limit;
        test.reads_lists();
        let fence = test.holds(1);
        test.step(ended(fence, End::Ran(Outcome::Succeeded)));
        let effects = test.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
        let over = JobRow { state: JobState::Succeed, holder: None, ..running(1, 1, 1) };
        assert!(nudged(&effects).iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![over])), "{effects:?}");
        nudged(&effects).len()
    };
    assert_eq!([told(3, 100), told(16, 100)], [2, 15]);
    assert_eq!([told(17, 100), told(17, 1)], [0, 16]);
}

/// Two nodes: the outcome of the first one's commit is unknown, and that of the second one's finish.
fn in_doubt() -> (TestNode, TestNode) {
    let mut commits = TestNode::of(2);
    commits.commits(1);
    commits.answer(is_commit, Answer::Unknown);
    commits.now += PAUSE;
    let mut finishes = TestNode::of(2);
    let fence = finishes.holds(1);
    finishes.step(ended(fence, End::Ran(Outcome::Succeeded)));
    finishes.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Unknown);
    finishes.now += PAUSE;
    (commits, finishes)
}

#[test]
fn the_row_resolves_a_commit_in_doubt() {
    let (test, _) = in_doubt();
    let at = fence(1, 1);
    let told = |asked_before: Span, row: Option<JobRow>| {
        let mut node = test.clone().node;
        let asked_at = Time::from_micros(test.now.micros() - asked_before.micros());
        node.resolve(test.now, asked_at, JobId(1), row.as_ref());
        (others(node.out.clone()), asks(&node.out), node.attempts[&JobId(1)].doubt.is_some())
    };
    let row = running(1, 1, 1);
    let (proceed, no) = (Effect::Proceed { fence: at, step: 1 }, Span::ZERO);
    assert_eq!(
        told(PAUSE, Some(JobRow { steps: 1, ..row })),
        (vec![proceed], vec![], false),
        "requested at that moment"
    );
    assert_eq!(told(PAUSE + Span::from_micros(1), Some(row)), (vec![], vec![], true), "too old to tell");
    assert_eq!(told(no, Some(row)), (vec![], vec![commit(at)], false), "it did not happen");
    let lost = (vec![cancel(at, Why::Lost)], vec![], false);
    assert_eq!(told(no, None), lost);
    assert_eq!(told(no, Some(running(1, 2, 2))), lost);
    assert_eq!(told(no, Some(JobRow { steps: 1, ..running(1, 2, 2) })), lost, "a step of another attempt");
    assert_eq!(told(no, Some(JobRow { epoch: Epoch(2), ..row })), lost);
    assert_eq!(told(no, Some(JobRow { holder: None, ..row })), lost);
    let acted = (vec![cancel(at, Why::Acted)], vec![], false);
    assert_eq!(told(no, Some(JobRow { state: JobState::Paused, ..row })), acted);
}

#[test]
fn the_row_resolves_a_finish_in_doubt() {
    let (_, test) = in_doubt();
    let told = |row: Option<JobRow>| {
        let mut node = test.clone().node;
        node.resolve(test.now, test.now, JobId(1), row.as_ref());
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
    assert_eq!(told(Some(paused)), (false, vec![release], Some(JobState::Running)), "it must be handed back");
}

#[test]
fn a_row_that_contradicts_an_attempt_stops_it() {
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![pending(1)]));
    test.answer(is_take, Answer::Granted { epoch: Epoch(3), steps: 0 });
    let shown = |row: JobRow| {
        let mut node = test.clone().node;
        node.compare(&row);
        match &node.out[..] {
            [] => None,
            [Effect::Cancel { why, .. }] => Some(*why),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(shown(running(1, 1, 3)), None);
    assert_eq!(shown(JobRow { state: JobState::Paused, ..running(1, 1, 2) }), None, "an earlier epoch");
    assert_eq!(shown(running(1, 2, 2)), None, "an earlier epoch");
    assert_eq!(shown(JobRow { state: JobState::Paused, ..running(1, 1, 3) }), Some(Why::Acted));
    assert_eq!(shown(running(1, 2, 3)), Some(Why::Lost));
    assert_eq!(shown(running(1, 1, 4)), Some(Why::Lost));
}

#[test]
fn a_takeover_is_noted_when_its_first_step_is_committed() {
    let mut test = heir();
    test.now += Span::from_millis(3);
    test.answer(is_take, Answer::Granted { epoch: Epoch(5), steps: 2 });
    test.now += Span::from_millis(7);
    let fence = fence(5, 5);
    test.step(Event::StepEnded { fence, step: 2 });
    let effects = test.answer(is_commit, Answer::Done);
    let (taken, first_step) = (Span::from_millis(3), Span::from_millis(7));
    let note = Note::TookOver { fence, from: m(3), found: None, taken, first_step, from_step: 2 };
    assert_eq!(effects, [Effect::Note(note), Effect::Proceed { fence, step: 3 }]);
    test.step(Event::StepEnded { fence, step: 3 });
    assert_eq!(test.answer(is_commit, Answer::Done), [Effect::Proceed { fence, step: 4 }], "noted once");
}

#[test]
fn a_cancel_is_issued_once_and_fenced_overrides_other_reasons() {
    let mut test = TestNode::of(2);
    let fence = test.holds(1);
    let attempt = test.node.attempts.get_mut(&fence.job).expect("it runs");
    let mut over = Attempt { ended: Some(End::Stopped), ..attempt.clone() };
    assert_eq!((attempt.cancel(Why::Acted), attempt.stopping), (Some(fence), Some(Why::Acted)));
    assert_eq!((attempt.cancel(Why::Lost), attempt.stopping), (None, Some(Why::Acted)));
    assert_eq!((attempt.cancel(Why::Fenced), attempt.stopping), (None, Some(Why::Fenced)));
    assert_eq!((over.cancel(Why::Lost), over.stopping), (None, Some(Why::Lost)), "nothing of it runs");
}

#[test]
fn a_late_wake_still_performs_what_is_due() {
    let mut test = TestNode::of(2);
    let fence = test.commits(1);
    test.answer(is_commit, Answer::Failed);
    assert_eq!(asks(&test.wake_after(PAUSE + PAUSE)), [commit(fence)]);
}

#[test]
fn a_failed_read_of_rows_is_retried_after_a_pause() {
    let (mut test, _) = in_doubt();
    assert_eq!(asks(&test.step(Event::Woke)), [read(1)]);
    assert_eq!(test.answer(is_read, Answer::Failed), []);
    assert_eq!(test.wake_after(PAUSE - Span::from_micros(1)), []);
    assert_eq!(asks(&test.wake_after(Span::from_micros(1))), [read(1)]);
    let mut test = TestNode::of(2);
    test.step(Event::Heard(vec![running(9, 1, 2)]));
    assert_eq!(test.answer(is_read, Answer::Unknown), []);
    assert_eq!(asks(&test.wake_after(PAUSE)), [read(9)]);
}

/// A draining node that has handed its job over.
fn handed_over(nodes: u32, limit: u32) -> (TestNode, Effects) {
    let mut test = TestNode::of(nodes);
    test.projects[0].limit = limit;
    test.reads_lists();
    let fence = test.commits(1);
    test.drains(false);
    test.answer(is_commit, Answer::Done);
    test.step(ended(fence, End::Stopped));
    let effects = test.answer(is_release, Answer::Done);
    (test, effects)
}

#[test]
fn a_handed_over_job_is_announced_to_its_heir_or_to_all_candidates() {
    let (_, effects) = handed_over(3, 100);
    assert_eq!(others(effects.clone()), [Effect::Note(Note::HandedOver { fence: fence(1, 1), steps: 1 })]);
    assert_eq!(asks(&effects), [read(1)]);
    let told = |nodes: u32, limit: u32| {
        let (mut test, _) = handed_over(nodes, limit);
        let row = JobRow { epoch: Epoch(1), steps: 1, placed: Some(n(2)), ..pending(1) };
        let nudges = nudged(&test.answer(is_read, Answer::Jobs(vec![row])));
        assert!(nudges.iter().all(|(_, nudge)| *nudge == Nudge::Jobs(vec![row])), "{nudges:?}");
        nudges.into_iter().map(|(to, _)| to).collect::<Vec<_>>()
    };
    assert_eq!(told(3, 100), [2, 3]);
    assert_eq!(told(16, 100).len(), 15, "few");
    assert_eq!(told(17, 100), [2]);
    assert_eq!(told(17, 1).len(), 16, "they may have waited for the place");
}

#[test]
fn an_answer_to_an_earlier_incarnation_is_ignored() {
    let next = running(1, 2, 2);
    let mut test = TestNode::of(2);
    test.commits(1);
    test.step(Event::Heard(vec![next]));
    test.answer(is_commit, Answer::Done);
    assert_eq!(test.node.queue.row(JobId(1)), Some(&next));

    let resumed = JobRow { state: JobState::Ready, holder: None, ..running(1, 1, 1) };
    for next in [next, resumed] {
        let mut test = TestNode::of(2);
        let fence = test.holds(1);
        test.step(ended(fence, End::Ran(Outcome::Failed)));
        test.step(Event::Heard(vec![next]));
        test.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
        let known = test.node.queue.row(JobId(1)).copied();
        assert_eq!(known.map(|row| (row.state, row.epoch)), Some((next.state, next.epoch)));
    }
}

#[test]
fn an_attempt_belongs_to_the_node_until_its_last_request_is_answered() {
    let mut test = TestNode::of(2);
    let at = test.holds(1);
    assert!(test.node.attempts_under(at));
    assert!(!test.node.attempts_under(fence(1, 2)) && !test.node.attempts_under(fence(2, 1)));
    test.step(ended(at, End::Ran(Outcome::Succeeded)));
    assert!(test.node.attempts_under(at), "its end is not recorded yet");
    test.answer(|ask| matches!(ask, Ask::Finish { .. }), Answer::Done);
    assert!(!test.node.attempts_under(at));
}

/// The first capability, which every node here has, and the second.
const BOTH: Capabilities = Capabilities(3);
const SECOND: Capabilities = Capabilities(2);

#[test]
fn a_failure_after_a_lost_capability_hands_the_job_back() {
    let ends = |lost: bool, outcome: Outcome| {
        let mut test = TestNode::with(Settings { can: BOTH, ..Settings::new(Role::All) }, 2);
        test.step(Event::Heard(vec![JobRow { needs: SECOND, ..pending(1) }]));
        test.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
        if lost {
            test.step(Event::CanChanged(Capabilities(1)));
            test.members[0].can = Capabilities(1);
            test.answer(|ask| matches!(ask, Ask::SetCan { .. }), Answer::Done);
            test.reads_lists();
        }
        asks(&test.step(ended(fence(1, 1), End::Ran(outcome))))
    };
    let finish = |outcome| Ask::Finish { fence: fence(1, 1), by: ME, outcome };
    assert_eq!(ends(false, Outcome::Failed), [finish(Outcome::Failed)]);
    assert_eq!(ends(true, Outcome::Succeeded), [finish(Outcome::Succeeded)]);
    assert_eq!(ends(true, Outcome::Vanished), [finish(Outcome::Vanished)]);
    let back = Ask::Release { fence: fence(1, 1), by: ME, placed: Some(n(2)) };
    assert_eq!(ends(true, Outcome::Failed), [back], "to a node that is able to run it");
}

#[test]
fn a_grant_after_a_lost_capability_is_handed_back_without_starting() {
    let mut test = TestNode::with(Settings { can: BOTH, ..Settings::new(Role::All) }, 2);
    test.step(Event::Heard(vec![JobRow { needs: SECOND, ..pending(1) }]));
    test.step(Event::CanChanged(Capabilities(1)));
    let effects = test.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    assert_eq!(others(effects.clone()), []);
    assert_eq!(asks(&effects), [Ask::Release { fence: fence(1, 1), by: ME, placed: Some(n(2)) }]);
}
