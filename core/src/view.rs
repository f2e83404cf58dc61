//! A node's knowledge and activity as plain data, for people and tests.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ask::{Epoch, Fence, JobId, MemberRow, Target};
use crate::capability::Capabilities;
use crate::effect::Why;
use crate::member::{Member, NodeId};
use crate::node::{Node, Phase};
use crate::placement;
use crate::queue::Blocked;
use crate::time::{Span, Time};

/// The state of a node at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct View {
    /// Its identity, if it is a member.
    pub me: Option<Member>,
    /// `outside`, `joining`, `up`, `draining`, `leaving` or `gone`.
    pub phase: &'static str,
    /// How long it will trust itself without another successful beat; `None` if it has no trust.
    pub trust_left: Option<Span>,
    /// The living members, as it sees them.
    pub members: Vec<PeerView>,
    /// The claims with their holders.
    pub claims: Vec<(Target, Option<Member>, Epoch)>,
    /// The attempts that it runs.
    pub attempts: Vec<AttemptView>,
    /// How many slots are free.
    pub free: u32,
    /// How many jobs wait in the cluster, as far as it knows.
    pub waiting: usize,
}

/// A living member, as seen by one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PeerView {
    /// Its row.
    pub row: MemberRow,
    /// For how long its beat has not changed. In a large cluster, a node knows this of a few members only.
    pub silent_for: Option<Span>,
    /// How many attempts it runs.
    pub running: u32,
    /// How many jobs it runs or has on its queue.
    pub load: u32,
}

/// An attempt of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AttemptView {
    /// The fence of the attempt.
    pub fence: Fence,
    /// How many steps are committed.
    pub steps: u32,
    /// Why it was told to stop, if it was.
    pub stopping: Option<Why>,
}

impl Node {
    /// The state of this node at `now`.
    pub fn view(&self, now: Time) -> View {
        let members = self.roster.peers().iter().map(|peer| PeerView {
            row: peer.row,
            silent_for: peer.observed.then(|| now.since(peer.changed_at)),
            running: self.queue.running_on(peer.row.member.node),
            load: self.queue.load(peer.row.member.node),
        });
        let attempts = self.attempts.values().map(|attempt| AttemptView {
            fence: attempt.fence,
            steps: attempt.steps,
            stopping: attempt.stopping,
        });
        View {
            me: self.me(),
            phase: self.phase_name(),
            trust_left: self.trust_left(now),
            members: members.collect(),
            claims: self.claims.values().map(|c| (c.row.target, c.row.holder, c.row.epoch)).collect(),
            attempts: attempts.collect(),
            free: self.free(),
            waiting: self.queue.waiting(),
        }
    }

    /// The phase of the node's life, in one word, as in [`View::phase`].
    pub const fn phase_name(&self) -> &'static str {
        match self.phase {
            Phase::Outside { .. } => "outside",
            Phase::Joining => "joining",
            Phase::Up => "up",
            Phase::Draining { .. } => "draining",
            Phase::Leaving { .. } => "leaving",
            Phase::Gone => "gone",
        }
    }

    /// How long the node still trusts itself; `None` if it has no trust.
    pub fn trust_left(&self, now: Time) -> Option<Span> {
        self.lease.is_trusted(now).then(|| self.lease.trusted_until().since(now))
    }

    /// Until when it trusts itself if no further beat succeeds. Attempts whose side effects the metastore cannot refuse must
    /// have ended by then, even if this process is frozen.
    pub fn trusted_until(&self) -> Time {
        self.lease.trusted_until()
    }

    /// Whether an attempt under this fence belongs to this node: it was begun, and its last request is not answered
    /// yet.
    pub fn attempts_under(&self, fence: Fence) -> bool {
        self.attempts.get(&fence.job).is_some_and(|attempt| attempt.fence == fence)
    }

    /// The nodes that would inherit what `node` runs, ordered by the number of jobs. The actual placement may differ,
    /// because it considers the loads at that time.
    pub fn heirs_of(&self, node: NodeId) -> Vec<NodeId> {
        let others = |needs| self.queue().homes_possible(needs).filter(|other| *other != node);
        let mut votes: BTreeMap<NodeId, u32> = others(Capabilities::NONE).map(|other| (other, 0)).collect();
        for row in self.queue().rows().filter(|row| row.holder.is_some_and(|holder| holder.node == node)) {
            if let Some(first) = placement::heirs(placement::key(row.id), others(row.needs)).first() {
                *votes.entry(*first).or_insert(0) += 1;
            }
        }
        let mut order: Vec<_> = votes.into_iter().collect();
        order.sort_by_key(|(_, votes)| core::cmp::Reverse(*votes));
        order.into_iter().map(|(node, _)| node).collect()
    }

    /// The waiting jobs in no particular order, each with the reason.
    pub fn waiting(&self, now: Time) -> Vec<(JobId, Option<Blocked>)> {
        self.queue()
            .ids()
            .into_iter()
            .filter(|id| self.queue().home(*id).is_some())
            .map(|id| (id, self.why(now, id)))
            .collect()
    }
}
