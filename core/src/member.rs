//! Identities. A *node* is a configured machine, an *incarnation* counts its starts, a *member* is one run of one node.
//!
//! The metastore issues incarnations; they only grow and are never reused, so a restarted process can never be taken for
//! its former life.

use core::fmt;
use core::num::NonZeroU32;

/// A configured machine, numbered by the metastore when its name joins for the first time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(pub u32);

/// The count of a node's starts: grows with each join, issued by the metastore.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub NonZeroU32);

/// One run of one node. What is held in the cluster is held by a member, never by a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Member {
    /// The machine.
    pub node: NodeId,
    /// Which of its runs.
    pub incarnation: Incarnation,
}

/// What the metastore says about a member. It moves only to the right: up, draining, then left or fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum MemberState {
    /// It may hold and take.
    Up,
    /// It may hold, but takes nothing any more.
    Draining,
    /// It said good-bye: what it held may be taken.
    Left,
    /// Somebody had evidence of its death: what it held may be taken.
    Fenced,
}

/// What a node does (`kylin.server.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Role {
    /// Runs jobs and answers queries.
    #[default]
    All,
    /// Runs jobs.
    Job,
    /// Answers queries; accepts jobs but never runs one.
    Query,
}

impl Member {
    /// The member `node`, run number `incarnation`; `None` for incarnation 0, which no metastore issues.
    pub fn new(node: u32, incarnation: u32) -> Option<Self> {
        Some(Self { node: NodeId(node), incarnation: Incarnation(NonZeroU32::new(incarnation)?) })
    }
}

impl Incarnation {
    /// The count as a plain number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl MemberState {
    /// Whether what the member holds is still its own.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Up | Self::Draining)
    }
}

impl Role {
    /// Whether a node of this role may run jobs.
    pub const fn runs_jobs(self) -> bool {
        matches!(self, Self::All | Self::Job)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{:?}", self.node, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn who_may_hold_and_who_may_run() {
        let alive = [MemberState::Up, MemberState::Draining, MemberState::Left, MemberState::Fenced];
        assert_eq!(alive.map(MemberState::is_alive), [true, true, false, false]);
        assert_eq!([Role::All, Role::Job, Role::Query].map(Role::runs_jobs), [true, true, false]);
    }

    #[test]
    fn a_member_is_read_as_node_and_run() {
        let member = Member::new(3, 12).expect("incarnation 12");
        assert_eq!(format!("{member:?}"), "n3.12");
        assert_eq!(member.incarnation.get(), 12);
        assert_eq!(Member::new(3, 0), None);
    }
}
