//! A node in the middle of a large cluster, and an endless stream of events for it.

use kirin_core::ask::{Epoch, Fence, JobId, Priority, ProjectId};
use kirin_core::job::JobState;
use kirin_core::{
    Answer, Ask, Capabilities, ClaimRow, Effect, Effects, Event, JobRow, Member, MemberRow, MemberState, Node, NodeId,
    ProjectRow, Role, Settings, Span, Target, Time,
};

pub(crate) const PROJECTS: u32 = 20;
const ME: u32 = 1;

pub(crate) fn member(node: u32) -> Member {
    Member::new(node, 1).expect("incarnation 1")
}

/// The answer to a beat in a cluster of `nodes` nodes.
pub(crate) fn lists(nodes: u32, beat: u64) -> Answer {
    let row = |node| MemberRow {
        member: member(node),
        state: MemberState::Up,
        role: Role::All,
        slots: 40,
        can: Capabilities::ALL,
        beat,
    };
    let targets = core::iter::once(Target::Leader).chain((1..=PROJECTS).map(|p| Target::Project(ProjectId(p))));
    Answer::Listed {
        members: (1..=nodes).map(row).collect(),
        claims: targets.map(|target| ClaimRow { target, holder: Some(member(2)), epoch: Epoch(1) }).collect(),
        projects: (1..=PROJECTS).map(|p| ProjectRow { id: ProjectId(p), limit: 200 }).collect(),
    }
}

/// A job that waits on another node's queue, or runs there.
pub(crate) fn job(id: u64, nodes: u32, runs: bool) -> JobRow {
    let on = 2 + (id % u64::from(nodes - 1)) as u32;
    JobRow {
        id: JobId(id),
        project: ProjectId(1 + (id % u64::from(PROJECTS)) as u32),
        priority: Priority(3),
        state: if runs { JobState::Running } else { JobState::Pending },
        epoch: Epoch(u64::from(runs)),
        holder: runs.then(|| member(on)),
        placed: Some(NodeId(on)),
        steps: 0,
        external: false,
        needs: Capabilities::NONE,
    }
}

/// A node that has joined and knows the cluster and its jobs.
pub(crate) fn node(nodes: u32, jobs: u64) -> (Node, Time) {
    let settings = Settings { slots: 40, steal_after: Span::from_secs(1 << 30), ..Settings::new(Role::All) };
    let mut now = Time::ZERO;
    let mut node = Node::start(settings, 7, now);
    let rows: Vec<_> = (1..=jobs).map(|id| job(id, nodes, id % 3 == 0)).collect();
    let mut effects = node.step(now, Event::Woke);
    while let Some((id, ask)) = asked(&effects) {
        let answer = match ask {
            Ask::Join { .. } => Answer::Joined(member(ME)),
            Ask::Beat { .. } | Ask::List => lists(nodes, 0),
            Ask::ListJobs => Answer::Jobs(rows.clone()),
            other => panic!("{other:?}"),
        };
        now += Span::from_millis(1);
        effects = node.step(now, Event::Answered { id, answer });
    }
    (node, now)
}

pub(crate) fn asked(effects: &Effects) -> Option<(kirin_core::AskId, &Ask)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Ask { id, ask } => Some((*id, ask)),
        _ => None,
    })
}

/// The events of a busy cluster: other nodes accept, start and finish jobs; this node's attempts commit steps.
pub(crate) struct Stream {
    nodes: u32,
    next: u64,
    finished: u64,
    own: Vec<(Fence, u32)>,
    turn: u64,
}

impl Stream {
    pub(crate) fn new(nodes: u32, jobs: u64) -> Self {
        Self { nodes, next: jobs + 1, finished: 1, own: Vec::new(), turn: 0 }
    }

    /// Gives this node some attempts of its own.
    pub(crate) fn take_some(&mut self, node: &mut Node, now: Time) {
        for _ in 0..40 {
            let row = JobRow { placed: Some(NodeId(ME)), ..job(self.next, self.nodes, false) };
            self.next += 1;
            let effects = node.step(now, Event::Heard(vec![row]));
            let Some((id, Ask::Take { fence, .. })) = asked(&effects) else { continue };
            let fence = Fence { epoch: Epoch(1), ..*fence };
            let answer = Answer::Granted { epoch: Epoch(1), steps: 0 };
            let begun = node.step(now, Event::Answered { id, answer });
            assert!(begun.iter().any(|effect| matches!(effect, Effect::Begin { .. })), "{begun:?}");
            self.own.push((fence, 0));
        }
        assert_eq!(self.own.len(), 40);
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Event {
        self.turn += 1;
        match self.turn % 4 {
            // As many jobs end as are accepted.
            0 => {
                let row = job(self.next, self.nodes, false);
                self.next += 1;
                Event::Heard(vec![row])
            }
            1 => Event::Heard(vec![job(self.finished, self.nodes, true)]),
            2 => {
                let row = JobRow { state: JobState::Succeed, holder: None, ..job(self.finished, self.nodes, true) };
                self.finished += 1;
                Event::Heard(vec![row])
            }
            _ => {
                let at = (self.turn / 4) as usize % self.own.len();
                let (fence, step) = self.own[at];
                self.own[at].1 += 1;
                Event::StepEnded { fence, step }
            }
        }
    }
}
