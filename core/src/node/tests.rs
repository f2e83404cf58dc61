//! One node, driven by hand. Its requests stay open until the test answers them.

use alloc::vec;

use super::*;
use crate::ask::{JobRow, MemberRow, Priority, ProjectId, ProjectRow};
use crate::job::JobState;
use crate::member::MemberState;

mod attempts;
mod dispatch;
mod membership;

const ME: Member = m(1);
const PAUSE: Span = Span::from_secs(1);

const fn m(node: u32) -> Member {
    let incarnation = crate::Incarnation(core::num::NonZeroU32::MIN);
    Member { node: NodeId(node), incarnation }
}

fn n(node: u32) -> NodeId {
    NodeId(node)
}

/// A job of project 1 that waits on this node's queue.
fn pending(id: u64) -> JobRow {
    JobRow {
        id: JobId(id),
        project: ProjectId(1),
        priority: Priority(3),
        state: JobState::Pending,
        epoch: Epoch(0),
        holder: None,
        placed: Some(ME.node),
        steps: 0,
        external: false,
        needs: Capabilities::NONE,
    }
}

fn running(id: u64, on: u32, epoch: u64) -> JobRow {
    let (holder, placed) = (Some(m(on)), Some(n(on)));
    JobRow { state: JobState::Running, epoch: Epoch(epoch), holder, placed, ..pending(id) }
}

fn fence(id: u64, epoch: u64) -> Fence {
    Fence { job: JobId(id), epoch: Epoch(epoch) }
}

fn asks(effects: &Effects) -> Vec<Ask> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask { ask, .. } => Some(ask.clone()),
        _ => None,
    });
    asks.collect()
}

/// The effects other than requests.
fn others(effects: Effects) -> Effects {
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Ask { .. })).collect()
}

fn nudged(effects: &Effects) -> Vec<(u32, Nudge)> {
    let nudges = effects.iter().filter_map(|effect| match effect {
        Effect::Nudge { to, nudge } => Some((to.node.0, nudge.clone())),
        _ => None,
    });
    nudges.collect()
}

/// Node 1 of a cluster whose leader is node 2.
#[derive(Clone)]
struct TestNode {
    node: Node,
    now: Time,
    open: Vec<(AskId, Ask)>,
    members: Vec<MemberRow>,
    claims: Vec<ClaimRow>,
    projects: Vec<ProjectRow>,
}

impl TestNode {
    fn of(nodes: u32) -> Self {
        Self::with(Settings::new(Role::All), nodes)
    }

    fn with(settings: Settings, nodes: u32) -> Self {
        let mut test = Self::starting(settings, nodes);
        test.step(Event::Woke);
        test.answer(|ask| matches!(ask, Ask::Join { .. }), Answer::Joined(ME));
        let lists = test.lists();
        test.answer(|ask| matches!(ask, Ask::Beat { .. }), lists);
        test.answer(|ask| *ask == Ask::ListJobs, Answer::Jobs(Vec::new()));
        test
    }

    fn starting(settings: Settings, nodes: u32) -> Self {
        let now = Time::from_micros(1_000_000);
        let (role, slots, can) = (settings.role, settings.slots, settings.can);
        let row = |node| MemberRow { member: m(node), state: MemberState::Up, role, slots, can, beat: 1 };
        let targets = [Target::Leader, Target::Project(ProjectId(1)), Target::Project(ProjectId(2))];
        Self {
            node: Node::start(settings, 7, now),
            now,
            open: Vec::new(),
            members: (1..=nodes).map(row).collect(),
            claims: targets.map(|target| ClaimRow { target, holder: Some(m(2)), epoch: Epoch(1) }).to_vec(),
            projects: [1, 2].map(|id| ProjectRow { id: ProjectId(id), limit: 100 }).to_vec(),
        }
    }

    fn lists(&self) -> Answer {
        let (members, claims, projects) = (self.members.clone(), self.claims.clone(), self.projects.clone());
        Answer::Listed { members, claims, projects }
    }

    fn step(&mut self, event: Event) -> Effects {
        let effects = self.node.step(self.now, event);
        for effect in &effects {
            if let Effect::Ask { id, ask } = effect {
                self.open.push((*id, ask.clone()));
            }
        }
        effects
    }

    fn wake_after(&mut self, span: Span) -> Effects {
        self.now += span;
        self.step(Event::Woke)
    }

    /// Answers the oldest open request that `fits` accepts.
    fn answer(&mut self, fits: impl Fn(&Ask) -> bool, answer: Answer) -> Effects {
        let at = self.open.iter().position(|(_, ask)| fits(ask)).expect("it is asked");
        let (id, _) = self.open.remove(at);
        self.step(Event::Answered { id, answer })
    }

    /// Reads the lists as they are.
    fn reads_lists(&mut self) -> Effects {
        if !self.open.iter().any(|(_, ask)| *ask == Ask::List) {
            self.step(Event::ListsChanged);
        }
        let lists = self.lists();
        self.answer(|ask| *ask == Ask::List, lists)
    }

    /// Advances by one interval; all members except `silent` beat.
    fn beats_but(&mut self, silent: &[u32]) -> Effects {
        self.wake_after(self.node.settings.timing.interval());
        for row in self.members.iter_mut().filter(|row| !silent.contains(&row.member.node.0)) {
            row.beat += 1;
        }
        let lists = self.lists();
        self.answer(|ask| matches!(ask, Ask::Beat { .. }), lists)
    }

    /// Begins an attempt at a new job under epoch 1.
    fn holds(&mut self, id: u64) -> Fence {
        self.step(Event::Heard(vec![pending(id)]));
        let effects = self.answer(|ask| matches!(ask, Ask::Take { .. }), Answer::Granted { epoch: Epoch(1), steps: 0 });
        assert_eq!(others(effects), [Effect::Begin { fence: fence(id, 1), step: 0 }]);
        fence(id, 1)
    }

    /// Asks to commit the first step of a job that it holds.
    fn commits(&mut self, id: u64) -> Fence {
        let fence = self.holds(id);
        let effects = self.step(Event::StepEnded { fence, step: 0 });
        assert_eq!(asks(&effects), [Ask::CommitStep { fence, by: ME, step: 0 }]);
        fence
    }

    fn drains(&mut self, leave: bool) -> Effects {
        self.step(Event::DrainWished { within: Span::from_secs(20), leave })
    }
}

fn is_commit(ask: &Ask) -> bool {
    matches!(ask, Ask::CommitStep { .. })
}

fn is_take(ask: &Ask) -> bool {
    matches!(ask, Ask::Take { .. })
}

fn is_read(ask: &Ask) -> bool {
    matches!(ask, Ask::ReadJobs(_))
}

fn is_beat(ask: &Ask) -> bool {
    matches!(ask, Ask::Beat { .. })
}

fn is_release(ask: &Ask) -> bool {
    matches!(ask, Ask::Release { .. })
}

#[test]
fn placement_depends_on_the_job_key_and_the_seed_of_the_placing_node() {
    let test = TestNode::of(9);
    for key in 0..40 {
        let placed = test.node.place(key, Capabilities::NONE);
        assert_eq!(placed, test.node.queue.place(key ^ 7, Capabilities::NONE), "the seed is 7");
        assert!(placed.is_some());
    }
}

#[test]
fn an_overdue_answer_counts_as_unknown_and_is_ignored_when_it_arrives() {
    let mut test = TestNode::of(2);
    let fence = test.commits(1);
    let patience = Timing::kylin().ask_timeout().scaled(3, 2);
    assert_eq!(test.node.deadline(), (test.now + patience, Timer::Answer));
    assert_eq!(test.wake_after(patience - Span::from_micros(1)), []);
    assert!(test.node.attempts[&fence.job].doubt.is_none());
    assert_eq!(test.wake_after(Span::from_micros(1)), []);
    assert_eq!(test.node.attempts[&fence.job].doubt, Some(test.now));
    assert_eq!(test.answer(is_commit, Answer::Done), []);
    assert_eq!(asks(&test.wake_after(PAUSE)), [Ask::ReadJobs(vec![fence.job])]);
}

#[test]
fn the_end_of_trust_stops_only_attempts_with_external_side_effects() {
    let mut test = TestNode::of(2);
    test.holds(1);
    test.step(Event::Heard(vec![JobRow { external: true, ..pending(2) }]));
    test.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    test.wake_after(Span::from_secs(30));
    assert_eq!(test.node.deadline().1, Timer::Answer);
    let effects = others(test.wake_after(Span::from_secs(24)));
    let cancel = Effect::Cancel { fence: fence(2, 1), why: Why::TrustEnded };
    assert_eq!(effects, [Effect::Note(Note::TrustEnded), cancel]);
    assert_eq!(test.node.view(test.now).trust_left, None);
    // The beat sent after 30 s was given up; the next one is in flight.
    test.open.retain(|(_, ask)| !is_beat(ask));
    test.wake_after(Timing::kylin().ask_timeout().scaled(3, 2));
    let lists = test.lists();
    assert_eq!(others(test.answer(is_beat, lists)), [Effect::Note(Note::TrustRestored)]);
    assert_eq!(test.node.view(test.now).trust_left, Some(Timing::kylin().trust_for()));
}

#[test]
fn a_node_reports_its_identity_and_settings() {
    let mut test = TestNode::starting(Settings::new(Role::Job), 2);
    assert_eq!((test.node.me(), test.node.seed()), (None, 7));
    assert_eq!((test.node.slots(), test.node.settings().slots), (30, 30));
    assert_eq!(test.node.view(test.now).phase, "outside");
    test.step(Event::Woke);
    test.answer(|_| true, Answer::Joined(ME));
    assert_eq!(test.node.me(), Some(ME));
    test.step(Event::SlotsWished(5));
    assert_eq!((test.node.slots(), test.node.settings().slots), (5, 5));
}
