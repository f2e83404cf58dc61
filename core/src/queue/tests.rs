//! The queue against its definition, and every reason for which a job waits.

use super::*;
use crate::ask::Epoch;
use crate::digest;
use crate::time::Span;

const ANY: Capabilities = Capabilities::ALL;
const NONE: Capabilities = Capabilities::NONE;
const NOW: Time = Time::from_micros(1_000_000);

fn n(node: u32) -> NodeId {
    NodeId(node)
}

fn m(node: u32) -> Member {
    Member::new(node, 1).expect("incarnation 1")
}

fn p(project: u32) -> ProjectId {
    ProjectId(project)
}

/// A job of project 1 that waits on node 1.
fn job(id: u64) -> JobRow {
    JobRow {
        id: JobId(id),
        project: p(1),
        priority: Priority(3),
        state: JobState::Pending,
        epoch: Epoch(0),
        holder: None,
        placed: Some(n(1)),
        steps: 0,
        external: false,
        needs: Capabilities::NONE,
    }
}

fn running(id: u64, on: u32) -> JobRow {
    JobRow { state: JobState::Running, epoch: Epoch(1), holder: Some(m(on)), placed: Some(n(on)), ..job(id) }
}

fn limits(queue: &mut Queue, limits: &[u32]) -> bool {
    let rows: Vec<_> = (1..).zip(limits).map(|(id, limit)| ProjectRow { id: p(id), limit: *limit }).collect();
    queue.set_limits(&rows)
}

/// Two nodes with two slots each; projects 1 and 2 with a limit of ten.
fn queue() -> Queue {
    let mut queue = Queue::default();
    queue.set_candidates([(n(1), 2, ANY), (n(2), 2, ANY)].into_iter());
    assert!(limits(&mut queue, &[10, 10]));
    queue
}

fn hold(queue: &mut Queue, row: JobRow) {
    queue.put(row, NOW, row.holder);
}

fn wait(queue: &mut Queue, row: JobRow) {
    queue.put(row, NOW, None);
}

#[test]
fn the_reason_is_the_first_rule_that_blocks_the_job() {
    let mut queue = queue();
    let why = |queue: &Queue, id: u64| queue.blocked(JobId(id), n(1), 1);
    assert_eq!(why(&queue, 1), None, "it is unknown");
    wait(&mut queue, job(1));
    assert_eq!(why(&queue, 1), None, "it is next");
    assert_eq!(queue.blocked(JobId(1), n(1), 0), Some(Blocked::NodeFull { node: n(1), slots: 2 }));
    wait(&mut queue, job(2));
    assert_eq!(why(&queue, 2), Some(Blocked::Behind { next: JobId(1) }));
    assert_eq!(queue.blocked(JobId(2), n(1), 0), Some(Blocked::Behind { next: JobId(1) }));

    wait(&mut queue, JobRow { placed: Some(n(2)), ..job(3) });
    assert_eq!(why(&queue, 3), Some(Blocked::Elsewhere { node: n(2) }));
    hold(&mut queue, running(4, 2));
    assert_eq!(why(&queue, 3), Some(Blocked::Elsewhere { node: n(2) }), "it has a slot left");
    hold(&mut queue, running(5, 2));
    assert_eq!(why(&queue, 3), Some(Blocked::NodeFull { node: n(2), slots: 2 }));

    assert_eq!(why(&queue, 4), Some(Blocked::State { state: JobState::Running }));
    hold(&mut queue, JobRow { state: JobState::Paused, ..running(5, 2) });
    assert_eq!(why(&queue, 5), Some(Blocked::Stopping { holder: m(2) }));
    wait(&mut queue, JobRow { state: JobState::Error, ..job(6) });
    assert_eq!(why(&queue, 6), Some(Blocked::State { state: JobState::Error }));

    queue.taking(JobId(1));
    assert_eq!(why(&queue, 1), Some(Blocked::Taking));
    queue.not_taken(JobId(1));
    assert_eq!(why(&queue, 1), None);

    assert!(limits(&mut queue, &[1, 10]));
    assert_eq!(why(&queue, 1), Some(Blocked::ProjectFull { limit: 1, running: 1 }));
    queue.put(running(7, 1), NOW, None);
    assert_eq!(why(&queue, 7), None, "it already has its place");
    queue.set_candidates(core::iter::empty());
    assert_eq!(why(&queue, 1), Some(Blocked::NoJobNode));
}

#[test]
fn jobs_are_ordered_by_started_then_priority_then_age() {
    let mut queue = queue();
    wait(&mut queue, job(2));
    wait(&mut queue, job(1));
    assert_eq!(queue.head(n(1), ANY), Some(JobId(1)));
    wait(&mut queue, JobRow { priority: Priority(0), project: p(2), ..job(9) });
    assert_eq!(queue.head(n(1), ANY), Some(JobId(9)));
    wait(&mut queue, JobRow { placed: Some(n(2)), ..running(8, 3) });
    assert_eq!((queue.head(n(1), ANY), queue.head(n(2), ANY)), (Some(JobId(9)), Some(JobId(8))));
    assert_eq!(queue.head_of_all(ANY), Some(JobId(8)));
    assert!(limits(&mut queue, &[10, 0]));
    assert_eq!(queue.head(n(1), ANY), Some(JobId(1)), "the full project is skipped");
}

#[test]
fn a_project_stays_full_until_a_place_may_be_free() {
    let mut queue = queue();
    let mut is_full_after = |what: &dyn Fn(&mut Queue)| {
        wait(&mut queue, JobRow { epoch: Epoch(4), ..job(1) });
        hold(&mut queue, running(2, 1));
        wait(&mut queue, job(3));
        queue.mark_full(p(1));
        assert!(queue.is_full(p(1)) && !queue.is_full(p(2)));
        what(&mut queue);
        let full = queue.is_full(p(1));
        queue.forget_full();
        assert!(!queue.is_full(p(1)), "forgotten");
        full
    };
    let again = |row: JobRow| move |queue: &mut Queue| wait(queue, row);
    assert!(is_full_after(&again(JobRow { epoch: Epoch(4), ..job(1) })), "nothing has changed");
    assert!(is_full_after(&again(JobRow { epoch: Epoch(4), project: p(2), ..job(1) })));
    assert!(is_full_after(&|queue| hold(queue, running(2, 1))));
    assert!(is_full_after(&|queue| hold(queue, running(2, 2))));
    assert!(is_full_after(&|queue| hold(queue, JobRow { epoch: Epoch(9), ..running(2, 2) })), "it still runs");
    assert!(is_full_after(&|queue| queue.remove(JobId(3))), "it had no place");
    assert!(is_full_after(&|queue| queue.taking(JobId(3))));
    assert!(!is_full_after(&again(JobRow { epoch: Epoch(5), ..job(1) })), "it has run meanwhile");
    assert!(!is_full_after(&again(job(77))), "it may have run");
    assert!(!is_full_after(&|queue| queue.remove(JobId(2))));
    assert!(!is_full_after(&|queue| wait(queue, JobRow { state: JobState::Succeed, holder: None, ..running(2, 1) })));
    assert!(!is_full_after(&again(JobRow { state: JobState::Paused, holder: None, ..running(2, 1) })));
    let not_taken = |queue: &mut Queue| {
        queue.taking(JobId(3));
        queue.not_taken(JobId(3));
    };
    assert!(!is_full_after(&not_taken));
}

#[test]
fn limits_follow_the_last_list() {
    let mut queue = queue();
    assert!(!limits(&mut queue, &[10, 10]), "nothing changed");
    assert!(queue.knows_project(p(2)) && !queue.knows_project(p(3)));
    assert!(queue.is_full(p(3)), "its limit is unknown");
    assert!(limits(&mut queue, &[10, 11]));
    assert!(limits(&mut queue, &[10]));
    assert!(!queue.knows_project(p(2)));
    let other = [ProjectRow { id: p(2), limit: 10 }];
    assert!(queue.set_limits(&other) && queue.knows_project(p(2)) && !queue.knows_project(p(1)));
    assert!(!queue.set_limits(&other));
    hold(&mut queue, JobRow { project: p(2), ..running(1, 1) });
    assert!(queue.set_limits(&[ProjectRow { id: p(2), limit: 1 }]) && queue.is_full(p(2)));
    assert!(queue.set_limits(&[ProjectRow { id: p(2), limit: 2 }]) && !queue.is_full(p(2)));
}

#[test]
fn a_job_keeps_its_home_and_its_waiting_time_counts_from_its_arrival_there() {
    let mut queue = queue();
    let later = NOW + Span::from_secs(1);
    let since = |queue: &Queue, id: u64| queue.job(JobId(id)).map(|job| job.waits_since);
    wait(&mut queue, job(1));
    queue.put(job(1), later, None);
    assert_eq!((queue.home(JobId(1)), since(&queue, 1)), (Some(n(1)), Some(NOW)));
    assert_eq!(queue.job(JobId(1)).map(|job| job.known_at), Some(later));
    queue.put(JobRow { placed: None, ..job(1) }, later, None);
    assert_eq!((queue.home(JobId(1)), since(&queue, 1)), (Some(n(1)), Some(NOW)), "it keeps its home");
    queue.put(JobRow { placed: Some(n(9)), ..job(1) }, later, None);
    assert_eq!((queue.home(JobId(1)), since(&queue, 1)), (Some(n(1)), Some(NOW)), "no such node");
    queue.put(JobRow { placed: Some(n(2)), ..job(1) }, later, None);
    assert_eq!((queue.home(JobId(1)), since(&queue, 1)), (Some(n(2)), Some(later)));
    for id in 2..6 {
        queue.put(JobRow { placed: None, ..job(id) }, NOW, None);
    }
    assert_eq!((queue.load(n(1)), queue.load(n(2))), (3, 2), "placed by load");
    hold(&mut queue, running(1, 1));
    assert_eq!(queue.home(JobId(1)), None);
    assert!(queue.may_be_home(n(1), NONE) && !queue.may_be_home(n(9), NONE) && !queue.may_be_home(NOWHERE, NONE));
    queue.set_candidates(core::iter::empty());
    assert!(queue.may_be_home(NOWHERE, NONE) && !queue.may_be_home(n(1), NONE) && !queue.may_be_home(n(9), NONE));
    assert_eq!(queue.place(7, NONE), None);
    wait(&mut queue, JobRow { placed: None, ..job(8) });
    assert_eq!(queue.home(JobId(8)), Some(NOWHERE));
}

#[test]
fn a_node_that_joined_and_left_leaves_no_trace() {
    let mut with = queue();
    let without = digest::of(&with, NOW);
    with.set_candidates([(n(1), 2, ANY), (n(2), 2, ANY), (n(3), 2, ANY)].into_iter());
    assert_ne!(digest::of(&with, NOW), without);
    assert_eq!(with.homes_possible(NONE).collect::<Vec<_>>(), [n(1), n(2), n(3)]);
    assert_eq!(
        with.candidates().iter().map(|c| (c.node, c.slots)).collect::<Vec<_>>(),
        [1, 2, 3].map(|node| (n(node), 2))
    );
    with.set_candidates([(n(2), 2, ANY), (n(1), 2, ANY)].into_iter());
    assert_eq!(digest::of(&with, NOW), without);
    wait(&mut with, job(1));
    assert_eq!((with.is_empty(), with.len()), (false, 1));
    with.remove(JobId(1));
    assert_eq!((with.is_empty(), with.len()), (true, 0));
    assert_eq!(digest::of(&with, NOW), without);
}

/// Asserts that the indexes match their definitions.
fn check(queue: &Queue) {
    let jobs: Vec<_> = queue.jobs().copied().collect();
    let count = |of: &dyn Fn(&Job) -> bool| jobs.iter().filter(|job| of(job)).count();
    assert_eq!(queue.len(), jobs.len());
    assert_eq!(queue.waiting(), count(&|job| matches!(job.stage, Stage::Waiting { .. })));
    let runs = |job: &Job| job.row.state == JobState::Running;
    for project in [1, 2, 3].map(p) {
        let has_place = |job: &Job| runs(job) || matches!(job.stage, Stage::Taking { .. });
        assert_eq!(queue.running(project) as usize, count(&|job| job.row.project == project && has_place(job)));
    }
    for node in [0, 1, 2, 3, 4].map(n) {
        let on = |job: &Job| runs(job) && matches!(job.stage, Stage::Held { by } if by.node == node);
        assert_eq!(queue.running_on(node) as usize, count(&on));
        assert_eq!(
            queue.load(node) as usize,
            count(&|job| on(job) || queue.home(job.row.id) == Some(node)),
            "{node:?}"
        );
        let may_start = |job: &&Job| runs(job) || !queue.is_full(job.row.project);
        let waits = jobs.iter().filter(|job| job.stage == Stage::Waiting { home: node });
        let next = waits.clone().filter(may_start).map(|job| (!runs(job), job.row.priority, job.row.id)).min();
        assert_eq!(queue.head(node, ANY), next.map(|next| next.2));
        assert_eq!(queue.homes().any(|home| home == node), waits.count() > 0);
    }
}

#[test]
fn the_indexes_match_their_definitions() {
    const STATES: [JobState; 4] = [JobState::Pending, JobState::Running, JobState::Paused, JobState::Succeed];
    let mut chance = 1_u64;
    let mut draw = |below: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut queue = queue();
    for _ in 0..20_000 {
        let id = JobId(draw(12));
        match draw(12) {
            0 => queue.remove(id),
            1 => queue.taking(id),
            2 => queue.not_taken(id),
            3 => queue.mark_full(p(1 + draw(3) as u32)),
            4 => queue.forget_full(),
            5 => {
                let nodes = (1..4).filter(|_| draw(3) > 0).collect::<Vec<_>>();
                let nodes: Vec<_> = nodes.into_iter().map(|node| (n(node), 2, Capabilities(draw(4) as u32))).collect();
                queue.set_candidates(nodes.into_iter());
            }
            6 => {
                let rows: Vec<_> = [draw(4), draw(4), draw(4)].map(|limit| limit as u32).to_vec();
                limits(&mut queue, &rows);
            }
            _ => {
                let holder = (draw(2) > 0).then_some(m(1 + draw(4) as u32));
                let row = JobRow {
                    id,
                    project: p(1 + draw(3) as u32),
                    priority: Priority(draw(3) as u8),
                    state: STATES[draw(4) as usize],
                    epoch: Epoch(draw(3)),
                    holder,
                    placed: (draw(2) > 0).then_some(n(draw(5) as u32)),
                    needs: Capabilities(draw(3) as u32),
                    ..job(1)
                };
                queue.put(row, NOW, holder.filter(|_| draw(2) > 0));
            }
        }
        check(&queue);
    }
}

#[test]
fn a_job_that_should_start_at_once_prefers_a_node_with_a_free_slot() {
    let mut queue = queue();
    hold(&mut queue, running(1, 1));
    for id in 2..8 {
        wait(&mut queue, JobRow { placed: Some(n(2)), ..job(id) });
    }
    let placed = |queue: &Queue, place: fn(&Queue, u64, Capabilities) -> Option<NodeId>| {
        (0..50).filter_map(|key| place(queue, key, NONE)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(placed(&queue, Queue::place_to_start), [n(1)], "both have a slot: by load");
    hold(&mut queue, running(8, 1));
    assert_eq!(placed(&queue, Queue::place), [n(1)], "its load is smaller");
    assert_eq!(placed(&queue, Queue::place_to_start), [n(2)], "it has a slot");
    hold(&mut queue, running(9, 2));
    hold(&mut queue, running(10, 2));
    assert_eq!(placed(&queue, Queue::place_to_start), [n(1)], "no node has one");
}

#[test]
fn the_home_of_a_job_can_run_it_or_the_job_has_a_reason_to_wait() {
    let (first, second) = (Capabilities(1), Capabilities(2));
    let mut queue = queue();
    queue.set_candidates([(n(1), 2, first), (n(2), 2, second)].into_iter());
    let needs = |needs, id| JobRow { needs, ..job(id) };
    wait(&mut queue, needs(second, 1));
    wait(&mut queue, needs(first, 2));
    wait(&mut queue, needs(Capabilities(4), 3));
    wait(&mut queue, needs(first.or(second), 4));
    assert_eq!([1, 2, 3, 4].map(|id| queue.home(JobId(id))), [Some(n(2)), Some(n(1)), Some(NOWHERE), Some(NOWHERE)]);
    assert_eq!(queue.blocked(JobId(3), n(1), 1), Some(Blocked::NoNodeCan { needs: Capabilities(4) }));
    assert_eq!(queue.blocked(JobId(4), n(1), 1), Some(Blocked::NoNodeCan { needs: Capabilities(3) }));
    assert_eq!(queue.blocked(JobId(2), n(1), 1), None);
    assert!(queue.may_be_home(n(2), second) && !queue.may_be_home(n(1), second));
    assert!(queue.may_be_home(NOWHERE, Capabilities(4)) && !queue.may_be_home(NOWHERE, second));
    assert_eq!((queue.head(n(2), first), queue.head(n(2), second)), (None, Some(JobId(1))));
    assert_eq!((queue.head_of_all(first), queue.head_of_all(second)), (Some(JobId(2)), Some(JobId(1))));
    assert_eq!((queue.place(7, second), queue.place(7, Capabilities(4))), (Some(n(2)), None));
    assert_eq!(queue.homes_possible(first).collect::<Vec<_>>(), [n(1)]);
    hold(&mut queue, running(5, 2));
    hold(&mut queue, running(6, 2));
    assert_eq!(queue.place_to_start(7, second), Some(n(2)), "the only one, though it is full");
}

#[test]
fn the_fair_share_is_computed_over_the_nodes_that_can_run_the_job() {
    let (first, second) = (Capabilities(1), Capabilities(2));
    let mut queue = queue();
    queue.set_candidates([(n(1), 2, first), (n(2), 2, first), (n(3), 2, first.or(second))].into_iter());
    for id in 1..4 {
        queue.put(JobRow { needs: second, placed: None, ..job(id) }, NOW, None);
    }
    assert_eq!(queue.load(n(3)), 3, "there is no other");
    for key in 0..50 {
        assert_ne!(queue.place(key, first), Some(n(3)), "it has more than its share");
    }
}
