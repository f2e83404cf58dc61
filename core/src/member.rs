//! Identities. A *node* is a configured machine, an *incarnation* counts its starts, a *member* is one run of one node.
//!
//! The metastore issues incarnations. They only grow and are never reused, so a restarted process is never mistaken for
//! its earlier run.

use core::fmt;
use core::num::NonZeroU32;

/// A configured machine. The metastore numbers it when its name joins for the first time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(pub u32);

/// The number of a node's start. The metastore issues it, and it grows with each join.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Incarnation(pub NonZeroU32);

/// One run of one node. Members hold jobs and claims; nodes never do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Member {
    /// The machine.
    pub node: NodeId,
    /// The number of the run.
    pub incarnation: Incarnation,
}

/// The state of a member in the metastore. It only moves to the right: up, draining, then left or fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum MemberState {
    /// It may hold and take jobs.
    Up,
    /// It may hold jobs, but takes no more.
    Draining,
    /// It recorded its departure: other members may take what it held.
    Left,
    /// It was fenced on evidence of its death: other members may take what it held.
    Fenced,
}

/// How the death of a member is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Evidence {
    /// The member recorded its departure.
    Left,
    /// The same node joined again.
    Replaced,
    /// Its process has ended: its host refuses a new connection to its address, or its supervisor saw the exit.
    Exited,
    /// Its beat did not change for the heart-beat timeout on the observer's own clock.
    Silent,
}

impl Evidence {
    /// The name used in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Replaced => "replaced",
            Self::Exited => "exited",
            Self::Silent => "silent",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The role of a node (`kylin.server.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Role {
    /// Runs jobs and answers queries.
    #[default]
    All,
    /// Runs jobs.
    Job,
    /// Answers queries. Accepts jobs but never runs one.
    Query,
}

impl Member {
    /// The member with this node and incarnation; `None` for incarnation 0, which is never issued.
    pub fn new(node: u32, incarnation: u32) -> Option<Self> {
        Some(Self { node: NodeId(node), incarnation: Incarnation(NonZeroU32::new(incarnation)?) })
    }
}

impl Incarnation {
    /// The incarnation as an integer.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl MemberState {
    /// Whether the member still owns what it holds.
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Up | Self::Draining)
    }
}

impl Role {
    /// Whether a node of this role may run jobs.
    pub const fn runs_jobs(self) -> bool {
        matches!(self, Self::All | Self::Job)
    }

    /// The name used in the configuration and in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Job => "job",
            Self::Query => "query",
        }
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
    fn states_and_roles_tell_which_members_hold_and_run_jobs() {
        let alive = [MemberState::Up, MemberState::Draining, MemberState::Left, MemberState::Fenced];
        assert_eq!(alive.map(MemberState::is_alive), [true, true, false, false]);
        assert_eq!([Role::All, Role::Job, Role::Query].map(Role::runs_jobs), [true, true, false]);
    }

    #[test]
    fn a_member_is_printed_as_node_and_incarnation() {
        let member = Member::new(3, 12).expect("incarnation 12");
        assert_eq!(format!("{member:?}"), "n3.12");
        assert_eq!(member.incarnation.get(), 12);
        assert_eq!(Member::new(3, 0), None);
    }
}
