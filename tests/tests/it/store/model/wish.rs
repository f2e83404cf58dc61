//! Drawn requests, and their translation when they are sent.
//!
//! A wish is a request whose numbers are drawn from small domains, so that requests conflict and a history keeps its
//! meaning when it shrinks. Its translation depends on what its client has seen:
//!
//! | number | meaning |
//! |---|---|
//! | node 1, 2, 3 | the nodes of the cluster |
//! | node 4 | a node that never joins |
//! | node 5, as a member | the holder of the job or claim in the request |
//! | incarnation 1, 2, 3 | the node's last, previous and next incarnation |
//! | job 0, 1, … | the last accepted job, the one before, …; a job that does not exist yet |
//! | epoch, step or beat 0, 1, 2 | as seen, one more, one less |
//! | state SUICIDAL | the seen state |
//! | project 0, 1, 2 | the two projects, and one that does not exist |

use std::collections::BTreeMap;

use kirin_core::ask::{Brief, Census, Epoch, Fence, JobId, JobRow, Priority, ProjectId};
use kirin_core::{
    Action, Answer, Ask, Capabilities, Evidence, JobState, Member, NodeId, Outcome, ProjectRow, Role, Target,
};
use kirin_sim::store::Store as Model;
use proptest::prelude::*;
use proptest::sample::select;

use super::follow;
use crate::store::Clients;
use kirin_tests::conformance::Contract as _;

/// The number that means the holder.
const HOLDER: u32 = 5;

/// A drawn request. Only a join uses the node.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) node: u32,
    pub(super) ask: Ask,
}

/// The knowledge of a client: the rows, and the numbers that the server chose.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) model: Model,
    nodes: BTreeMap<u32, NodeId>,
    projects: Vec<ProjectId>,
}

/// The name under which a node joins.
pub(super) fn name(node: u32) -> String {
    format!("node {node}")
}

impl Known {
    /// Creates the projects with these limits in an empty metastore.
    pub(super) async fn begin(clients: &Clients, limits: [u32; 2]) -> Self {
        let mut projects = Vec::new();
        for (at, limit) in limits.into_iter().enumerate() {
            projects.push(ProjectRow { id: clients.project(&format!("project {at}"), limit).await, limit });
        }
        let model = Model::new(projects.iter().copied());
        Self { model, nodes: BTreeMap::new(), projects: projects.iter().map(|row| row.id).collect() }
    }

    /// Records an answer, and returns the model's answer.
    ///
    /// # Errors
    /// If the number of a node violates the contract.
    pub(super) fn learn(&mut self, node: u32, ask: &Ask, heard: &Answer) -> Result<Answer, String> {
        if let Answer::Joined(member) = heard {
            let of_another = self.nodes.iter().any(|(other, id)| *other != node && *id == member.node);
            let before = *self.nodes.entry(node).or_insert(member.node);
            if of_another || before != member.node {
                return Err(format!("{} joined as {member:?}; the nodes are {:?}", name(node), self.nodes));
            }
        }
        Ok(follow(&mut self.model, ask, heard))
    }

    /// Translates a wish.
    pub(super) fn ask(&self, wish: &Wish) -> Ask {
        let mut ask = wish.ask.clone();
        match &mut ask {
            Ask::Join { .. } | Ask::List | Ask::ListJobs => {}
            Ask::Beat { by, brief } => {
                *by = self.member(*by, None);
                if let Some(brief) = brief {
                    let mut of: Vec<_> = brief.of.iter().map(|member| self.member(*member, None)).collect();
                    of.sort_unstable();
                    of.dedup();
                    // The knowledge of a client that has or has not just read the lists.
                    let census = if brief.census == Census::default() { self.model.census() } else { brief.census };
                    **brief = Brief { census, of };
                }
            }
            Ask::Drain { by }
            | Ask::Leave { by }
            | Ask::SetSlots { member: by, .. }
            | Ask::SetCan { member: by, .. } => {
                *by = self.member(*by, None);
            }
            Ask::Fence { member, beat, by, .. } => {
                (*member, *by) = (self.member(*member, None), self.member(*by, None));
                let seen = self.model.member(*member).map_or(0, |row| row.beat);
                *beat = beat.map(|beat| moved(seen, beat));
            }
            Ask::Claim { target, epoch, by, .. } | Ask::Yield { target, epoch, by } => {
                if let Target::Project(project) = target {
                    *project = self.project(*project);
                }
                let row = self.model.claim(*target);
                *epoch = Epoch(moved(row.map_or(0, |row| row.epoch.0), epoch.0));
                *by = self.member(*by, row.and_then(|row| row.holder));
            }
            Ask::ReadJobs(ids) => *ids = ids.iter().map(|id| self.job(*id).0).collect(),
            Ask::ListNode(node) => *node = self.node(*node),
            Ask::Submit { project, placed, .. } => {
                *project = self.project(*project);
                *placed = placed.map(|node| self.node(node));
            }
            Ask::Place { fence, node } => (*fence, *node) = (self.fence(*fence).0, self.node(*node)),
            Ask::Take { fence, by, .. } | Ask::Finish { fence, by, .. } => {
                let (at, row) = self.fence(*fence);
                (*fence, *by) = (at, self.member(*by, row.and_then(|row| row.holder)));
            }
            Ask::CommitStep { fence, by, step } => {
                let (at, row) = self.fence(*fence);
                (*fence, *by) = (at, self.member(*by, row.and_then(|row| row.holder)));
                *step = moved(row.map_or(0, |row| row.steps.into()), u64::from(*step)).try_into().expect("few steps");
            }
            Ask::Release { fence, by, placed } => {
                let (at, row) = self.fence(*fence);
                (*fence, *by) = (at, self.member(*by, row.and_then(|row| row.holder)));
                *placed = placed.map(|node| self.node(node));
            }
            Ask::Act { fence, state, .. } => {
                let (at, row) = self.fence(*fence);
                *fence = at;
                if let (JobState::Suicidal, Some(row)) = (*state, row) {
                    *state = row.state;
                }
            }
            Ask::SetLimit { project, .. } => *project = self.project(*project),
        }
        ask
    }

    fn node(&self, drawn: NodeId) -> NodeId {
        self.nodes.get(&drawn.0).copied().unwrap_or(NodeId(1_000_000 + drawn.0))
    }

    fn member(&self, drawn: Member, holder: Option<Member>) -> Member {
        if drawn.node == NodeId(HOLDER) {
            return holder.unwrap_or(Member { node: NodeId(1_000_000), ..drawn });
        }
        let node = self.node(drawn.node);
        let of = |incarnation| Member::new(node.0, incarnation).expect("not zero");
        let last = (1..).take_while(|incarnation| self.model.member(of(*incarnation)).is_some()).last().unwrap_or(0);
        of(match drawn.incarnation.get() {
            1 => last.max(1),
            2 => last.max(2) - 1,
            _ => last + 1,
        })
    }

    fn project(&self, drawn: ProjectId) -> ProjectId {
        self.projects.get(drawn.0 as usize).copied().unwrap_or(ProjectId(1_000_000))
    }

    fn job(&self, drawn: JobId) -> (JobId, Option<JobRow>) {
        let at = usize::try_from(drawn.0).expect("a small domain");
        let jobs: Vec<JobRow> = self.model.jobs().copied().collect();
        match jobs.iter().rev().nth(at) {
            Some(row) => (row.id, Some(*row)),
            None => (JobId(jobs.last().map_or(0, |row| row.id.0) + 1), None),
        }
    }

    fn fence(&self, drawn: Fence) -> (Fence, Option<JobRow>) {
        let (job, row) = self.job(drawn.job);
        (Fence { job, epoch: Epoch(moved(row.map_or(0, |row| row.epoch.0), drawn.epoch.0)) }, row)
    }
}

fn moved(seen: u64, by: u64) -> u64 {
    match by {
        0 => seen,
        1 => seen + 1,
        _ => seen.saturating_sub(1),
    }
}

/// Mostly as seen.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![12 => Just(0_u64), 1 => Just(1), 1 => Just(2)]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    number().prop_map(Epoch)
}

fn member_of(node: impl Strategy<Value = u32>) -> impl Strategy<Value = Member> {
    let incarnation = prop_oneof![12 => Just(1_u32), 2 => Just(2), 1 => Just(3)];
    (node, incarnation).prop_map(|(node, incarnation)| Member::new(node, incarnation).expect("not zero"))
}

fn member() -> impl Strategy<Value = Member> {
    member_of(prop_oneof![20 => 1..4_u32, 1 => Just(4)])
}

/// Mostly the holder.
fn holder() -> impl Strategy<Value = Member> {
    member_of(prop_oneof![4 => Just(HOLDER), 1 => 1..4_u32])
}

fn node() -> impl Strategy<Value = NodeId> {
    prop_oneof![8 => 1..4_u32, 1 => Just(4)].prop_map(NodeId)
}

fn project() -> impl Strategy<Value = ProjectId> {
    prop_oneof![12 => 0..2_u32, 1 => Just(2)].prop_map(ProjectId)
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![Just(Target::Leader), project().prop_map(Target::Project)]
}

fn job() -> impl Strategy<Value = JobId> {
    prop_oneof![6 => Just(0_u64), 4 => Just(1), 6 => 2..5_u64].prop_map(JobId)
}

fn fence() -> impl Strategy<Value = Fence> {
    (job(), epoch()).prop_map(|(job, epoch)| Fence { job, epoch })
}

fn maybe<S: Strategy>(of: S) -> impl Strategy<Value = Option<S::Value>>
where
    S::Value: Clone,
{
    proptest::option::of(of)
}

fn beats_of() -> impl Strategy<Value = Box<Brief>> {
    let census = select(vec![Census::default(), Census { members: [1; 4], ..Census::default() }]);
    (census, proptest::collection::vec(member(), 0..3)).prop_map(|(census, of)| Box::new(Brief { census, of }))
}

fn about_members() -> impl Strategy<Value = Ask> {
    let evidence = vec![Evidence::Silent, Evidence::Exited, Evidence::Left, Evidence::Replaced];
    prop_oneof![
        3 => (member(), maybe(beats_of())).prop_map(|(by, brief)| Ask::Beat { by, brief }),
        1 => member().prop_map(|by| Ask::Drain { by }),
        1 => member().prop_map(|by| Ask::Leave { by }),
        3 => (member(), select(evidence), maybe(number()), member())
            .prop_map(|(member, evidence, beat, by)| Ask::Fence { member, evidence, beat, by }),
        4 => (target(), epoch(), member(), any::<bool>())
            .prop_map(|(target, epoch, by, force)| Ask::Claim { target, epoch, by, force }),
        2 => (target(), epoch(), holder()).prop_map(|(target, epoch, by)| Ask::Yield { target, epoch, by }),
        1 => (member(), 0..3_u32).prop_map(|(member, slots)| Ask::SetSlots { member, slots }),
        1 => (member(), can()).prop_map(|(member, can)| Ask::SetCan { member, can }),
        2 => (project(), 0..3_u32).prop_map(|(project, limit)| Ask::SetLimit { project, limit }),
    ]
}

/// The capabilities of a member: mostly all.
fn can() -> impl Strategy<Value = Capabilities> {
    prop_oneof![3 => Just(Capabilities::ALL), 1 => (0..4_u32).prop_map(Capabilities)]
}

/// The requirements of a job: mostly none.
fn needs() -> impl Strategy<Value = Capabilities> {
    prop_oneof![3 => Just(Capabilities::NONE), 2 => (1..4_u32).prop_map(Capabilities)]
}

fn about_jobs() -> impl Strategy<Value = Ask> {
    let outcomes = vec![Outcome::Succeeded, Outcome::Failed, Outcome::Vanished];
    let actions = vec![Action::Resume, Action::Pause, Action::Restart, Action::Discard];
    let state = prop_oneof![12 => Just(JobState::Suicidal), 1 => select(JobState::ALL.to_vec())];
    prop_oneof![
        5 => (project(), select(vec![3_u8, 3, 1, 4]), maybe(node()), any::<bool>(), needs(), 1..7_u128)
            .prop_map(|(project, priority, placed, external, needs, key)| {
                Ask::Submit { project, priority: Priority(priority), placed, external, needs, key }
            }),
        2 => (fence(), node()).prop_map(|(fence, node)| Ask::Place { fence, node }),
        8 => (fence(), member(), any::<bool>()).prop_map(|(fence, by, in_order)| Ask::Take { fence, by, in_order }),
        4 => (fence(), holder(), number())
            .prop_map(|(fence, by, step)| Ask::CommitStep { fence, by, step: step.try_into().expect("small") }),
        5 => (fence(), holder(), select(outcomes)).prop_map(|(fence, by, outcome)| Ask::Finish { fence, by, outcome }),
        3 => (fence(), holder(), maybe(node())).prop_map(|(fence, by, placed)| Ask::Release { fence, by, placed }),
        5 => (fence(), state, select(actions)).prop_map(|(fence, state, action)| Ask::Act { fence, state, action }),
    ]
}

fn reads() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::List),
        Just(Ask::ListJobs),
        proptest::collection::vec(job(), 0..4).prop_map(Ask::ReadJobs),
        node().prop_map(Ask::ListNode),
    ]
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let join = (select(vec![Role::All, Role::Job, Role::Query]), 0..3_u32, can())
        .prop_map(|(role, slots, can)| Ask::Join { role, slots, can });
    let ask = prop_oneof![
        2 => join,
        8 => about_members(),
        18 => about_jobs(),
        2 => reads(),
    ];
    (1..4_u32, ask).prop_map(|(node, ask)| Wish { node, ask })
}

/// A number of wishes.
pub(super) fn wishes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Wish>> {
    proptest::collection::vec(any_wish(), count)
}

/// The limits of the projects.
pub(super) fn limits() -> impl Strategy<Value = [u32; 2]> {
    [0..3_u32, 1..3_u32]
}

/// Two nodes that join before anything else.
pub(super) fn two_join() -> impl Iterator<Item = Wish> {
    (1..3).map(|node| Wish { node, ask: Ask::Join { role: Role::All, slots: 2, can: Capabilities::ALL } })
}

/// Submits of this number of jobs to the first project.
pub(super) fn posts(count: u128) -> impl Iterator<Item = Wish> {
    (1..=count).map(|key| {
        let (project, priority) = (ProjectId(0), Priority(3));
        Wish {
            node: 1,
            ask: Ask::Submit { project, priority, placed: None, external: false, needs: Capabilities::NONE, key },
        }
    })
}

/// A number of wishes to take one of these jobs.
pub(super) fn takes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Wish>> {
    let take = (0..6_u64, member_of(1..3_u32)).prop_map(|(job, by)| {
        let fence = Fence { job: JobId(job), epoch: Epoch(0) };
        Wish { node: 1, ask: Ask::Take { fence, by, in_order: false } }
    });
    proptest::collection::vec(take, count)
}
