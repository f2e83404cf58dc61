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
        let (role, slots) = (settings.role, settings.slots);
        let row = |node| MemberRow { member: m(node), state: MemberState::Up, role, slots, beat: 1 };
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
