//! One mind, told facts by hand. What it asks stays open until a test answers it.

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

fn asks(orders: &Effects) -> Vec<Ask> {
    let asks = orders.iter().filter_map(|order| match order {
        Effect::Ask { ask, .. } => Some(ask.clone()),
        _ => None,
    });
    asks.collect()
}

/// What it orders besides requests.
fn others(orders: Effects) -> Effects {
    orders.into_iter().filter(|order| !matches!(order, Effect::Ask { .. })).collect()
}

fn nudged(orders: &Effects) -> Vec<(u32, Nudge)> {
    let nudges = orders.iter().filter_map(|order| match order {
        Effect::Nudge { to, nudge } => Some((to.node.0, nudge.clone())),
        _ => None,
    });
    nudges.collect()
}

/// Node 1 of a cluster whose leader is node 2.
#[derive(Clone)]
struct Mind {
    node: Node,
    now: Time,
    open: Vec<(AskId, Ask)>,
    members: Vec<MemberRow>,
    claims: Vec<ClaimRow>,
    projects: Vec<ProjectRow>,
}

impl Mind {
    fn of(nodes: u32) -> Self {
        Self::with(Settings::new(Role::All), nodes)
    }

    fn with(settings: Settings, nodes: u32) -> Self {
        let mut mind = Self::starting(settings, nodes);
        mind.step(Event::Woke);
        mind.answer(|ask| matches!(ask, Ask::Join { .. }), Answer::Joined(ME));
        let lists = mind.lists();
        mind.answer(|ask| matches!(ask, Ask::Beat { .. }), lists);
        mind.answer(|ask| *ask == Ask::ListJobs, Answer::Jobs(Vec::new()));
        mind
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
        let orders = self.node.step(self.now, event);
        for order in &orders {
            if let Effect::Ask { id, ask } = order {
                self.open.push((*id, ask.clone()));
            }
        }
        orders
    }

    fn wake_after(&mut self, span: Span) -> Effects {
        self.now += span;
        self.step(Event::Woke)
    }

    /// Answers the oldest open request that fits.
    fn answer(&mut self, fits: impl Fn(&Ask) -> bool, answer: Answer) -> Effects {
        let at = self.open.iter().position(|(_, ask)| fits(ask)).expect("it is asked");
        let (id, _) = self.open.remove(at);
        self.step(Event::Answered { id, answer })
    }

    /// It reads the lists as they are.
    fn reads_lists(&mut self) -> Effects {
        if !self.open.iter().any(|(_, ask)| *ask == Ask::List) {
            self.step(Event::ListsChanged);
        }
        let lists = self.lists();
        self.answer(|ask| *ask == Ask::List, lists)
    }

    /// An interval passes, and all members but these beat.
    fn beats_but(&mut self, silent: &[u32]) -> Effects {
        self.wake_after(self.node.settings.timing.interval());
        for row in self.members.iter_mut().filter(|row| !silent.contains(&row.member.node.0)) {
            row.beat += 1;
        }
        let lists = self.lists();
        self.answer(|ask| matches!(ask, Ask::Beat { .. }), lists)
    }

    /// It begins an attempt at a fresh job under epoch 1.
    fn holds(&mut self, id: u64) -> Fence {
        self.step(Event::Heard(vec![pending(id)]));
        let orders = self.answer(|ask| matches!(ask, Ask::Take { .. }), Answer::Granted { epoch: Epoch(1), steps: 0 });
        assert_eq!(others(orders), [Effect::Begin { fence: fence(id, 1), step: 0 }]);
        fence(id, 1)
    }

    /// It asks to commit the first step of a job that it holds.
    fn commits(&mut self, id: u64) -> Fence {
        let fence = self.holds(id);
        let orders = self.step(Event::StepEnded { fence, step: 0 });
        assert_eq!(asks(&orders), [Ask::CommitStep { fence, by: ME, step: 0 }]);
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
fn a_job_is_placed_by_its_key_and_by_who_places_it() {
    let mind = Mind::of(9);
    for key in 0..40 {
        let placed = mind.node.place(key, Capabilities::NONE);
        assert_eq!(placed, mind.node.queue.place(key ^ 7, Capabilities::NONE), "the seed is 7");
        assert!(placed.is_some());
    }
}

#[test]
fn an_answer_that_does_not_come_is_unknown_and_counts_for_nothing_when_it_comes() {
    let mut mind = Mind::of(2);
    let fence = mind.commits(1);
    let patience = Timing::kylin().ask_timeout().scaled(3, 2);
    assert_eq!(mind.node.deadline(), (mind.now + patience, Timer::Answer));
    assert_eq!(mind.wake_after(patience - Span::from_micros(1)), []);
    assert!(mind.node.attempts[&fence.job].doubt.is_none());
    assert_eq!(mind.wake_after(Span::from_micros(1)), []);
    assert_eq!(mind.node.attempts[&fence.job].doubt, Some(mind.now));
    assert_eq!(mind.answer(is_commit, Answer::Done), []);
    assert_eq!(asks(&mind.wake_after(PAUSE)), [Ask::ReadJobs(vec![fence.job])]);
}

#[test]
fn the_end_of_trust_stops_what_the_metastore_cannot_refuse_and_nothing_else() {
    let mut mind = Mind::of(2);
    mind.holds(1);
    mind.step(Event::Heard(vec![JobRow { external: true, ..pending(2) }]));
    mind.answer(is_take, Answer::Granted { epoch: Epoch(1), steps: 0 });
    mind.wake_after(Span::from_secs(30));
    assert_eq!(mind.node.deadline().1, Timer::Answer);
    let orders = others(mind.wake_after(Span::from_secs(24)));
    let cancel = Effect::Cancel { fence: fence(2, 1), why: Why::TrustEnded };
    assert_eq!(orders, [Effect::Note(Note::TrustEnded), cancel]);
    assert_eq!(mind.node.view(mind.now).trust_left, None);
    // The beat of the thirtieth second was given up, and the next is under way.
    mind.open.retain(|(_, ask)| !is_beat(ask));
    mind.wake_after(Timing::kylin().ask_timeout().scaled(3, 2));
    let lists = mind.lists();
    assert_eq!(others(mind.answer(is_beat, lists)), [Effect::Note(Note::TrustRestored)]);
    assert_eq!(mind.node.view(mind.now).trust_left, Some(Timing::kylin().trust_for()));
}

#[test]
fn a_node_says_who_it_is_and_how_it_behaves() {
    let mut mind = Mind::starting(Settings::new(Role::Job), 2);
    assert_eq!((mind.node.me(), mind.node.seed()), (None, 7));
    assert_eq!((mind.node.slots(), mind.node.settings().slots), (30, 30));
    assert_eq!(mind.node.view(mind.now).phase, "outside");
    mind.step(Event::Woke);
    mind.answer(|_| true, Answer::Joined(ME));
    assert_eq!(mind.node.me(), Some(ME));
    mind.step(Event::SlotsWished(5));
    assert_eq!((mind.node.slots(), mind.node.settings().slots), (5, 5));
}
