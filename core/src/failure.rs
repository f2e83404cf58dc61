//! Evidence of death, from certain to slow, and the roster on which it is collected.
//!
//! A member is never *known* to be dead until the metastore says that it left or was fenced. What an observer collects here
//! is the right to ask the metastore for that:
//!
//! | evidence | how it is seen | wait |
//! |---|---|---|
//! | left | the member said so | none |
//! | replaced | the same node joined again | none |
//! | exited | its host refuses a connection to its address, or its supervisor saw the exit | none |
//! | silent | its beat did not change for the timeout on the observer's own clock | timeout |
//!
//! A broken link or an ended ZooKeeper session is a *hint*: the address is probed, the lists are read again.
//!
//! Silence is counted only while the observer read the lists often enough: one that could not read was blind, and the others
//! perhaps could not write. After a blind gap every beat counts as seen anew, so an outage of the metastore fences nobody.
//!
//! Each member is watched by its few rendezvous neighbours among those that the observer itself doesn't hold for silent,
//! so that every dead member has a living watcher. When more than half of the others look dead at once, the observer
//! suspects itself and asks for nothing but the passage of time (the rule of Eureka's self-preservation; detection by few
//! observers follows Falcon, Leners et al., 2011, and SWIM, Das et al., 2002).

use alloc::vec::Vec;
use core::fmt;

use crate::ask::MemberRow;
use crate::effect::Found;
use crate::member::{Member, NodeId};
use crate::placement;
use crate::plant::{Plant, Planted};
use crate::time::{Span, Time};

/// How the death of a member is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Evidence {
    /// It said so itself.
    Left,
    /// The same node joined again.
    Replaced,
    /// Its process is gone: its host refuses a new connection to its address, or its supervisor saw the exit.
    Exited,
    /// Its beat did not change for the heart-beat timeout on the observer's own clock.
    Silent,
}

impl Evidence {
    /// The word that people see.
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

/// What an observer holds against a member.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Suspicion {
    pub(crate) since: Time,
    /// When the last probe was sent, if it has not come back.
    pub(crate) probed_at: Option<Time>,
    pub(crate) evidence: Option<(Evidence, Time)>,
    /// The request to fence is under way.
    pub(crate) asked: bool,
}

/// A living member, as one observer sees it.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Peer {
    pub(crate) row: MemberRow,
    /// When this observer first saw the beat that the row shows.
    pub(crate) changed_at: Time,
    pub(crate) suspicion: Option<Suspicion>,
}

/// A member that is not listed any more, and what was held against it.
pub(crate) type Gone = (Member, Option<Suspicion>);

/// The living members, as the metastore listed them last.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Roster {
    peers: Vec<Peer>,
    /// When the last list was asked for.
    read: Option<Time>,
    /// A list that was asked for earlier is older than what is known.
    not_before: Time,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) plants: Planted,
}

impl Default for Roster {
    fn default() -> Self {
        Self { peers: Vec::new(), read: None, not_before: Time::ZERO, plants: Planted::default() }
    }
}

impl Roster {
    /// Whether a list that was asked for at that moment may be older than what is known.
    pub(crate) fn is_outdated(&self, asked_at: Time) -> bool {
        asked_at < self.not_before
    }

    /// Takes over a list (sorted by member). Returns the members that are gone since the last one, and whether anything but
    /// beats changed.
    pub(crate) fn listed(
        &mut self,
        asked_at: Time,
        now: Time,
        rows: &[MemberRow],
        blind_after: Span,
    ) -> (Vec<Gone>, bool) {
        let blind =
            self.read.is_none_or(|read| asked_at.since(read) > blind_after) && !self.plants.is(Plant::BlindCounts);
        self.read = Some(asked_at);
        self.not_before = asked_at;
        let same = self.peers.len() == rows.len() && self.peers.iter().zip(rows).all(|(p, r)| p.row.member == r.member);
        if same {
            let mut changed = false;
            for (peer, row) in self.peers.iter_mut().zip(rows) {
                if peer.row.beat != row.beat || blind {
                    peer.changed_at = now;
                }
                changed |= (peer.row.state, peer.row.slots, peer.row.role) != (row.state, row.slots, row.role);
                peer.row = *row;
            }
            return (Vec::new(), changed);
        }
        let before = core::mem::take(&mut self.peers);
        for row in rows {
            let known = before.binary_search_by_key(&row.member, |p| p.row.member).ok().map(|at| before[at]);
            self.peers.push(match known {
                Some(peer) if peer.row.beat == row.beat && !blind => Peer { row: *row, ..peer },
                Some(peer) => Peer { row: *row, changed_at: now, ..peer },
                None => Peer { row: *row, changed_at: now, suspicion: None },
            });
        }
        let gone = before.iter().filter(|p| self.get(p.row.member).is_none());
        let gone = gone.map(|p| (p.row.member, p.suspicion)).collect();
        (gone, true)
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn get(&self, member: Member) -> Option<&Peer> {
        let at = self.peers.binary_search_by_key(&member, |p| p.row.member).ok()?;
        Some(&self.peers[at])
    }

    pub(crate) fn get_mut(&mut self, member: Member) -> Option<&mut Peer> {
        let at = self.peers.binary_search_by_key(&member, |p| p.row.member).ok()?;
        Some(&mut self.peers[at])
    }

    /// Whether the last list shows the member alive.
    pub fn is_alive(&self, member: Member) -> bool {
        self.get(member).is_some() || self.plants.is(Plant::AliveByNode) && self.member_of(member.node).is_some()
    }

    /// The living member of a node.
    pub fn member_of(&self, node: NodeId) -> Option<Member> {
        let at = self.peers.partition_point(|p| p.row.member.node < node);
        self.peers.get(at).map(|p| p.row.member).filter(|m| m.node == node)
    }

    /// The metastore said at `now` that the member is dead: lists that were asked for earlier don't know it.
    pub(crate) fn remove(&mut self, now: Time, member: Member) {
        self.peers.retain(|p| p.row.member != member);
        self.not_before = now;
    }

    /// Whether, by the last list, the member has been silent for `timeout`.
    fn is_silent(&self, peer: &Peer, timeout: Span) -> bool {
        self.read.is_some_and(|asked| asked.since(peer.changed_at) >= timeout)
    }

    /// The members that `me` watches: those of which it is one of the first `watchers` rendezvous neighbours.
    pub(crate) fn watched_by(&self, me: Member, watchers: usize, timeout: Span) -> Vec<Member> {
        let able = |p: &&Peer| p.row.member == me || !self.is_silent(p, timeout);
        let others = self.peers.iter().filter(|p| p.row.member != me);
        others
            .filter(|watched| {
                let key = u64::from(watched.row.member.node.0) | 1 << 40;
                let mine = placement::score(key, me.node);
                let before = self.peers.iter().filter(able).filter(|p| {
                    p.row.member.node != watched.row.member.node && placement::score(key, p.row.member.node) > mine
                });
                before.count() < watchers
            })
            .map(|p| p.row.member)
            .collect()
    }

    /// How many members have been silent for `timeout`, watched or not.
    pub(crate) fn silent_count(&self, timeout: Span) -> usize {
        self.peers.iter().filter(|p| self.is_silent(p, timeout)).count()
    }

    /// Those of `watched` that have been silent for `timeout`, and when the next of them may be.
    pub(crate) fn silent(&self, watched: &[Member], timeout: Span) -> (Vec<Member>, Time) {
        let (mut silent, mut next) = (Vec::new(), Time::NEVER);
        for peer in watched.iter().filter_map(|m| self.get(*m)) {
            if peer.suspicion.is_some_and(|s| s.asked) {
                continue;
            }
            if self.is_silent(peer, timeout) {
                silent.push(peer.row.member);
            } else {
                next = next.min(peer.changed_at + timeout);
            }
        }
        (silent, next)
    }

    /// How many others look dead at this moment, of how many.
    pub(crate) fn looks_dead(&self, me: Member) -> (u32, u32) {
        let others = self.peers.iter().filter(|p| p.row.member != me);
        others.fold((0, 0), |(dead, of), p| {
            let is_dead = p.suspicion.is_some_and(|s| s.evidence.is_some());
            (dead + u32::from(is_dead), of + 1)
        })
    }
}

impl Suspicion {
    pub(crate) const fn since(now: Time) -> Self {
        Self { since: now, probed_at: None, evidence: None, asked: false }
    }

    /// How the death was found out, the metastore having said so at `fenced_at`.
    pub(crate) fn found(&self, fenced_at: Time) -> Option<Found> {
        let (evidence, confirmed_at) = self.evidence?;
        Some(Found {
            evidence,
            confirmed: confirmed_at.since(self.since),
            fenced: fenced_at.since(confirmed_at),
            listed: Span::ZERO,
        })
    }
}
