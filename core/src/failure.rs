//! Evidence of death, ordered from certain to slow, and the roster that collects it.
//!
//! A member is *known* to be dead only when the metastore says that it left or was fenced. The evidence collected here
//! gives an observer the right to ask the metastore to fence:
//!
//! | evidence | how it is seen | wait |
//! |---|---|---|
//! | left | the member recorded its departure | none |
//! | replaced | the same node joined again | none |
//! | exited | its host refuses a connection to its address, or its supervisor saw the exit | none |
//! | silent | its beat did not change for the timeout on the observer's own clock | timeout |
//!
//! A broken link or an ended ZooKeeper session is only a *hint*: the observer probes the address and reads the lists
//! again.
//!
//! Silence counts only while the observer read the lists often enough. An observer that could not read was blind, and
//! the others perhaps could not write. After a blind gap, every beat counts as newly seen, so an outage of the
//! metastore fences no member.
//!
//! Each member is watched by its few rendezvous neighbours, not counting those that the observer considers silent.
//! Therefore every dead member has a living watcher. When more than half of the other members look dead at once, the
//! observer suspects itself and then accepts only silence as evidence (the rule of Eureka's self-preservation).
//! Detection by few observers follows Falcon (Leners et al., 2011) and SWIM (Das et al., 2002).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::ask::MemberRow;
use crate::member::{Evidence, Member, NodeId};
use crate::placement;
use crate::plant::{Plant, Planted};
use crate::time::{Span, Time};

/// How a death was discovered, and how long each phase took on the clock of the member that discovered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Found {
    /// The evidence.
    pub evidence: Evidence,
    /// From the first suspicion to the evidence.
    pub confirmed: Span,
    /// From the evidence to the confirmation of the metastore.
    pub fenced: Span,
    /// From the confirmation to the list of what the dead member held.
    pub listed: Span,
}

/// The evidence that an observer has against a member.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Suspicion {
    pub(crate) since: Time,
    /// When the last probe was sent, if it is not answered.
    pub(crate) probed_at: Option<Time>,
    pub(crate) evidence: Option<(Evidence, Time)>,
    /// Whether the request to fence is in flight.
    pub(crate) asked: bool,
}

/// A living member, as one observer sees it.
#[derive(Clone, Copy, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Peer {
    pub(crate) row: MemberRow,
    /// When this observer first saw the beat that the row shows.
    pub(crate) changed_at: Time,
    /// Whether the observer reads this beat every time instead of only with the lists. Only an observed member can be
    /// called silent.
    pub(crate) observed: bool,
}

/// A member that is not listed any more, and the evidence against it.
pub(crate) type Gone = (Member, Option<Suspicion>);

/// The living members, as the metastore last listed them.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Roster {
    peers: Vec<Peer>,
    /// The evidence against each suspected member.
    suspicions: BTreeMap<Member, Suspicion>,
    /// When the last list was requested.
    read: Option<Time>,
    /// A list requested before this moment is outdated.
    not_before: Time,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) plants: Planted,
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            suspicions: BTreeMap::new(),
            read: None,
            not_before: Time::ZERO,
            plants: Planted::default(),
        }
    }
}

impl Roster {
    /// Whether a list requested at `asked_at` may be outdated.
    pub(crate) fn is_outdated(&self, asked_at: Time) -> bool {
        asked_at < self.not_before
    }

    /// Whether the observer was blind until this read.
    fn read(&mut self, asked_at: Time, blind_after: Span) -> bool {
        let blind =
            self.read.is_none_or(|read| asked_at.since(read) > blind_after) && !self.plants.is(Plant::BlindCounts);
        self.read = Some(asked_at);
        self.not_before = asked_at;
        blind
    }

    /// Stores a list (sorted by member). Returns the members that are missing since the last one, and whether anything
    /// except beats changed.
    pub(crate) fn listed(
        &mut self,
        asked_at: Time,
        now: Time,
        rows: &[MemberRow],
        blind_after: Span,
    ) -> (Vec<Gone>, bool) {
        let blind = self.read(asked_at, blind_after);
        let same = self.peers.len() == rows.len() && self.peers.iter().zip(rows).all(|(p, r)| p.row.member == r.member);
        if same {
            let mut changed = false;
            for (peer, row) in self.peers.iter_mut().zip(rows) {
                if peer.row.beat != row.beat || blind {
                    peer.changed_at = now;
                    refute_silence(&mut self.suspicions, row.member, self.plants);
                }
                let what = |row: &MemberRow| (row.state, row.slots, row.role, row.can);
                changed |= what(&peer.row) != what(row);
                peer.row = *row;
            }
            return (Vec::new(), changed);
        }
        let mut before = core::mem::take(&mut self.peers);
        for row in rows {
            let known = before.binary_search_by_key(&row.member, |p| p.row.member).ok().map(|at| before[at]);
            let stands = known.filter(|peer| peer.row.beat == row.beat && !blind);
            let changed_at = stands.map_or(now, |peer| peer.changed_at);
            if stands.is_none() {
                refute_silence(&mut self.suspicions, row.member, self.plants);
            }
            self.peers.push(Peer { row: *row, changed_at, observed: true });
        }
        before.retain(|p| self.get(p.row.member).is_none());
        let gone = before.iter().map(|p| (p.row.member, self.take_suspicion(p.row.member))).collect();
        (gone, true)
    }

    /// Stores the beats of the observed members (sorted by member). Everything else is unchanged.
    pub(crate) fn beats(&mut self, asked_at: Time, now: Time, beats: &[(Member, u64)], blind_after: Span) {
        let blind = self.read(asked_at, blind_after);
        for peer in &mut self.peers {
            let beat = beats.binary_search_by_key(&peer.row.member, |beat| beat.0).ok().map(|at| beats[at].1);
            if blind || beat.is_some_and(|beat| beat != peer.row.beat) {
                peer.changed_at = now;
                refute_silence(&mut self.suspicions, peer.row.member, self.plants);
            }
            peer.row.beat = beat.unwrap_or(peer.row.beat);
        }
    }

    /// Sets the members to observe: this member itself, and those for which `me` is one of the first `observers`
    /// rendezvous neighbours. There are more observers than watchers, so that a member that starts to watch already
    /// knows how long the watched member has been silent.
    pub(crate) fn observe(&mut self, me: Member, observers: usize) {
        let nodes: Vec<_> = self.peers.iter().map(|peer| peer.row.member.node).collect();
        for peer in &mut self.peers {
            let nodes = nodes.iter().copied();
            peer.observed = peer.row.member == me || is_neighbour(peer.row.member.node, me.node, nodes, observers);
        }
    }

    /// The observed members, sorted; `None` if all members are observed.
    pub(crate) fn observed(&self) -> Option<Vec<Member>> {
        let some = self.peers.iter().any(|peer| !peer.observed);
        some.then(|| self.peers.iter().filter(|peer| peer.observed).map(|peer| peer.row.member).collect())
    }

    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub(crate) fn get(&self, member: Member) -> Option<&Peer> {
        let at = placement::find(&self.peers, member.node, &member, |p| p.row.member)?;
        Some(&self.peers[at])
    }

    /// The suspicion against the member, if there is one.
    pub(crate) fn suspicion(&mut self, member: Member) -> Option<&mut Suspicion> {
        self.suspicions.get_mut(&member)
    }

    /// Adds a suspicion against the member; `None` if it is not listed.
    pub(crate) fn suspect(&mut self, now: Time, member: Member) -> Option<&mut Suspicion> {
        self.get(member)?;
        Some(self.suspicions.entry(member).or_insert(Suspicion::since(now)))
    }

    /// Drops the suspicion against the member.
    pub(crate) fn acquit(&mut self, member: Member) {
        self.suspicions.remove(&member);
    }

    /// The members with evidence that the metastore was not told of, and the evidence.
    pub(crate) fn standing(&self) -> impl Iterator<Item = (Member, Evidence)> {
        let open = self.suspicions.iter().filter(|(_, suspicion)| !suspicion.asked);
        open.filter_map(|(member, suspicion)| Some((*member, suspicion.evidence?.0)))
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

    /// The metastore said at `now` that the member is dead. Lists requested earlier are outdated.
    pub(crate) fn remove(&mut self, now: Time, member: Member) {
        self.peers.retain(|p| p.row.member != member);
        self.take_suspicion(member);
        self.not_before = now;
    }

    /// A suspicion ends with its member. Otherwise the dead would count among those that look dead at once.
    fn take_suspicion(&mut self, member: Member) -> Option<Suspicion> {
        if self.plants.is(Plant::SuspicionsStay) {
            return self.suspicions.get(&member).copied();
        }
        self.suspicions.remove(&member)
    }

    /// Whether the member was silent for `timeout` at the time of the last list.
    fn is_silent(&self, peer: &Peer, timeout: Span) -> bool {
        peer.observed && self.read.is_some_and(|asked| asked.since(peer.changed_at) >= timeout)
    }

    /// The members that `me` watches: those for which it is one of the first `watchers` rendezvous neighbours.
    pub(crate) fn watched_by(&self, me: Member, watchers: usize, timeout: Span) -> Vec<Member> {
        let able = |p: &&Peer| p.row.member == me || !self.is_silent(p, timeout);
        let able: Vec<_> = self.peers.iter().filter(able).map(|p| p.row.member.node).collect();
        let others = self.peers.iter().filter(|p| p.row.member != me && p.observed).map(|p| p.row.member);
        others.filter(|other| is_neighbour(other.node, me.node, able.iter().copied(), watchers)).collect()
    }

    /// How many members have been silent for `timeout`, watched or not.
    pub(crate) fn silent_count(&self, timeout: Span) -> usize {
        self.peers.iter().filter(|p| self.is_silent(p, timeout)).count()
    }

    /// The members of `watched` that have been silent for `timeout`, and when the next one may be.
    pub(crate) fn silent(&self, watched: &[Member], timeout: Span) -> (Vec<Member>, Time) {
        let (mut silent, mut next) = (Vec::new(), Time::NEVER);
        for peer in watched.iter().filter_map(|m| self.get(*m)) {
            if self.suspicions.get(&peer.row.member).is_some_and(|s| s.asked) {
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

    /// How many other members look dead at this moment, and how many there are.
    pub(crate) fn looks_dead(&self, me: Member) -> (u32, u32) {
        let others = self.peers.iter().filter(|p| p.row.member != me).count();
        let dead = self.suspicions.iter().filter(|(member, s)| **member != me && s.evidence.is_some()).count();
        (dead as u32, others as u32)
    }
}

/// Evidence of silence ends with a beat, and with a time for which the observer was blind. Otherwise a member that beats
/// again would count among those that look dead at once.
fn refute_silence(suspicions: &mut BTreeMap<Member, Suspicion>, member: Member, plants: Planted) {
    let is_silent = |suspicion: &Suspicion| matches!(suspicion.evidence, Some((Evidence::Silent, _)));
    if !plants.is(Plant::SilenceOutlivesBeat) && suspicions.get(&member).is_some_and(is_silent) {
        suspicions.remove(&member);
    }
}

/// Whether `me` is one of the first `count` rendezvous neighbours of `of` among `nodes`.
fn is_neighbour(of: NodeId, me: NodeId, nodes: impl Iterator<Item = NodeId>, count: usize) -> bool {
    let key = u64::from(of.0) | 1 << 40;
    let mine = placement::score(key, me);
    nodes.filter(|node| *node != of && placement::score(key, *node) > mine).take(count).count() < count
}

impl Suspicion {
    pub(crate) const fn since(now: Time) -> Self {
        Self { since: now, probed_at: None, evidence: None, asked: false }
    }

    /// How the death was discovered, if the metastore confirmed it at `fenced_at`.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Capabilities;
    use crate::member::{MemberState, Role};

    const TIMEOUT: Span = Span::from_secs(60);
    const BLIND_AFTER: Span = Span::from_secs(35);

    const fn s(n: u64) -> Time {
        Time::from_micros(n * 1_000_000)
    }

    fn m(node: u32) -> Member {
        Member::new(node, 1).expect("incarnation 1")
    }

    fn row(node: u32, beat: u64) -> MemberRow {
        MemberRow { member: m(node), state: MemberState::Up, role: Role::All, slots: 4, can: Capabilities::ALL, beat }
    }

    fn roster(at: Time, rows: &[MemberRow]) -> Roster {
        let mut roster = Roster::default();
        let (gone, changed) = roster.listed(at, at, rows, BLIND_AFTER);
        assert!(gone.is_empty() && changed);
        roster
    }

    fn changed_at(roster: &Roster, node: u32) -> Option<Time> {
        roster.get(m(node)).map(|peer| peer.changed_at)
    }

    fn suspect(roster: &mut Roster, node: u32, suspicion: Suspicion) {
        *roster.suspect(s(0), m(node)).expect("it is listed") = suspicion;
    }

    #[test]
    fn a_list_with_only_new_beats_is_unchanged_and_an_equal_beat_keeps_its_age() {
        let mut roster = roster(s(0), &[row(1, 7), row(2, 7)]);
        let (gone, changed) = roster.listed(s(30), s(31), &[row(1, 8), row(2, 7)], BLIND_AFTER);
        assert!(gone.is_empty() && !changed);
        assert_eq!((changed_at(&roster, 1), changed_at(&roster, 2)), (Some(s(31)), Some(s(0))));
        for other in [
            MemberRow { state: MemberState::Draining, ..row(2, 7) },
            MemberRow { role: Role::Query, ..row(2, 7) },
            MemberRow { slots: 5, ..row(2, 7) },
            MemberRow { can: Capabilities::NONE, ..row(2, 7) },
        ] {
            assert!(roster.listed(s(31), s(32), &[row(1, 8), other], BLIND_AFTER).1, "{other:?}");
            assert_eq!(roster.get(m(2)).map(|peer| peer.row), Some(other));
        }
        assert_eq!(changed_at(&roster, 2), Some(s(0)), "it has not beaten");
    }

    #[test]
    fn joins_and_departures_do_not_affect_other_members() {
        let mut roster = roster(s(0), &[row(1, 7), row(2, 7), row(3, 7)]);
        let held = Suspicion { asked: true, ..Suspicion::since(s(1)) };
        suspect(&mut roster, 1, held);
        suspect(&mut roster, 2, held);
        let slower = MemberRow { slots: 1, ..row(1, 7) };
        let (gone, changed) = roster.listed(s(30), s(31), &[slower, row(3, 8), row(4, 1)], BLIND_AFTER);
        assert!(changed);
        assert_eq!(gone.iter().map(|(member, s)| (*member, s.is_some())).collect::<Vec<_>>(), [(m(2), true)]);
        let seen = [1, 2, 3, 4].map(|node| changed_at(&roster, node));
        assert_eq!(seen, [Some(s(0)), None, Some(s(31)), Some(s(31))]);
        assert_eq!(roster.get(m(1)).map(|peer| peer.row), Some(slower));
        assert!(roster.suspicion(m(1)).is_some() && roster.suspicion(m(2)).is_none());
        assert_eq!(roster.get(m(3)).map(|peer| peer.row.beat), Some(8));
    }

    #[test]
    fn after_a_blind_gap_every_beat_counts_as_newly_seen() {
        let rows = [row(1, 7), row(2, 7)];
        for rows_then in [&rows[..], &rows[..1]] {
            let mut reader = roster(s(0), &rows);
            reader.listed(s(35), s(36), rows_then, BLIND_AFTER);
            assert_eq!(changed_at(&reader, 1), Some(s(0)), "it read often enough");
            reader.listed(s(71), s(72), &rows, BLIND_AFTER);
            assert_eq!(changed_at(&reader, 1), Some(s(72)), "it was blind for a second too long");
        }
    }

    #[test]
    fn a_brief_beat_does_not_affect_unobserved_members() {
        let rows: Vec<_> = (1..=6).map(|node| row(node, 7)).collect();
        let mut roster = roster(s(0), &rows);
        roster.observe(m(1), 5);
        assert_eq!(roster.observed(), None, "all members are observed");
        roster.observe(m(1), 2);
        let observed = roster.observed().expect("not all members");
        assert!(observed.contains(&m(1)) && observed.len() < 6, "{observed:?}");
        let other = rows.iter().map(|row| row.member).find(|member| !observed.contains(member)).expect("there is one");
        let beats: Vec<_> = observed.iter().map(|member| (*member, if member.node.0 == 1 { 8 } else { 7 })).collect();
        roster.beats(s(30), s(31), &beats, BLIND_AFTER);
        assert!(!roster.is_outdated(s(30)) && roster.is_outdated(s(29)));
        let seen = |roster: &Roster, of: Member| roster.get(of).map(|peer| (peer.row.beat, peer.changed_at));
        assert_eq!((seen(&roster, m(1)), seen(&roster, other)), (Some((8, s(31))), Some((7, s(0)))));
        roster.beats(s(60), s(61), &beats, BLIND_AFTER);
        assert_eq!(roster.silent_count(TIMEOUT), observed.len() - 1, "nothing is known of the others");
        assert!(roster.watched_by(m(1), 6, TIMEOUT).iter().all(|member| observed.contains(member)));
        roster.beats(s(96), s(97), &beats, BLIND_AFTER);
        assert_eq!(seen(&roster, other), Some((7, s(97))), "blind for a second too long");
        assert_eq!(roster.silent_count(TIMEOUT), 0);
    }

    #[test]
    fn every_member_has_enough_observers_and_its_watchers_are_among_them() {
        let rows: Vec<_> = (1..=40).map(|node| row(node, 7)).collect();
        let mut observers = BTreeMap::<Member, u32>::new();
        for me in rows.iter().map(|row| row.member) {
            let mut roster = roster(s(0), &rows);
            let watched = roster.watched_by(me, 3, TIMEOUT);
            roster.observe(me, 16);
            assert_eq!(roster.watched_by(me, 3, TIMEOUT), watched);
            let others = roster.observed().expect("not all members").into_iter().filter(|member| *member != me);
            others.for_each(|member| *observers.entry(member).or_default() += 1);
        }
        assert!(observers.len() == 40 && observers.values().all(|count| *count == 16), "{observers:?}");
    }

    #[test]
    fn a_list_requested_before_a_death_is_outdated() {
        let mut roster = roster(s(10), &[row(1, 7), row(2, 7)]);
        assert!(roster.is_outdated(Time::from_micros(9_999_999)));
        assert!(!roster.is_outdated(s(10)));
        roster.remove(s(12), m(2));
        assert!(roster.is_alive(m(1)) && !roster.is_alive(m(2)));
        assert!(roster.is_outdated(s(11)));
        assert!(!roster.is_outdated(s(12)));
    }

    #[test]
    fn only_the_listed_incarnation_of_a_node_is_alive() {
        let later = Member::new(2, 9).expect("incarnation 9");
        let roster = roster(s(0), &[row(1, 7), MemberRow { member: later, ..row(2, 0) }, row(4, 7)]);
        assert!(!roster.is_alive(m(2)), "its node has another incarnation");
        assert_eq!(
            [1, 2, 3, 4, 5].map(|node| roster.member_of(NodeId(node))),
            [Some(m(1)), Some(later), None, Some(m(4)), None]
        );
    }

    #[test]
    fn a_member_is_silent_if_its_beat_is_unchanged_for_the_timeout_at_the_last_read() {
        let mut roster = roster(s(0), &[row(1, 7), row(2, 7), row(3, 7)]);
        roster.listed(s(30), s(30), &[row(1, 8), row(2, 7), row(3, 8)], BLIND_AFTER);
        roster.listed(Time::from_micros(59_999_999), s(61), &[row(1, 9), row(2, 7), row(3, 8)], BLIND_AFTER);
        assert_eq!(roster.silent(&[m(2), m(3), m(9)], TIMEOUT), (Vec::new(), s(60)));
        assert_eq!(roster.silent_count(TIMEOUT), 0);
        roster.listed(s(60), s(61), &[row(1, 9), row(2, 7), row(3, 8)], BLIND_AFTER);
        assert_eq!(roster.silent(&[m(2), m(3)], TIMEOUT), ([m(2)].to_vec(), s(90)));
        assert_eq!(roster.silent(&[m(1), m(3)], TIMEOUT), (Vec::new(), s(90)), "the next is the earliest");
        assert_eq!(roster.silent(&[], TIMEOUT), (Vec::new(), Time::NEVER));
        assert_eq!(roster.silent_count(TIMEOUT), 1, "watched or not");
        suspect(&mut roster, 2, Suspicion { asked: true, ..Suspicion::since(s(60)) });
        assert_eq!(roster.silent(&[m(2)], TIMEOUT), (Vec::new(), Time::NEVER), "the request to fence is in flight");
    }

    /// The watchers of a node by definition: the first `watchers` heirs of a key that all versions compute alike.
    fn watchers_of(watched: u32, able: &[u32], watchers: usize) -> Vec<u32> {
        let others = able.iter().copied().filter(|node| *node != watched).map(NodeId);
        let order = placement::heirs((1 << 40) + u64::from(watched), others);
        order.into_iter().take(watchers).map(|node| node.0).collect()
    }

    #[test]
    fn every_member_is_watched_by_its_first_living_neighbours() {
        let all = [1, 2, 3, 4, 5, 6, 7];
        let rows: Vec<_> = all.iter().map(|node| row(*node, 7)).collect();
        let mut roster = roster(s(0), &rows);
        let check = |roster: &Roster, able: &[u32]| {
            for me in all {
                // A member that others consider silent does not consider itself silent.
                let mut able = able.to_vec();
                if !able.contains(&me) {
                    able.push(me);
                }
                let mine = all.iter().filter(|of| **of != me && watchers_of(**of, &able, 2).contains(&me));
                let expected: Vec<_> = mine.map(|node| m(*node)).collect();
                assert_eq!(roster.watched_by(m(me), 2, TIMEOUT), expected, "by n{me}");
            }
        };
        check(&roster, &all);
        assert_eq!(roster.watched_by(m(1), 0, TIMEOUT), []);
        let beaten: Vec<_> = all.iter().map(|node| row(*node, if *node < 3 { 7 } else { 8 })).collect();
        roster.listed(s(30), s(30), &beaten, BLIND_AFTER);
        roster.listed(s(60), s(60), &beaten, BLIND_AFTER);
        check(&roster, &[3, 4, 5, 6, 7]);
    }

    #[test]
    fn evidence_of_silence_ends_with_a_beat_or_a_blind_gap() {
        let evidence = |kind| Suspicion { evidence: Some((kind, s(2))), asked: true, ..Suspicion::since(s(1)) };
        let rows = [row(1, 7), row(2, 7), row(3, 7)];
        let suspected = |at: u64, kind: Evidence, rows: &[MemberRow]| {
            let mut roster = roster(s(0), &[row(1, 7), row(2, 7), row(3, 7)]);
            suspect(&mut roster, 2, evidence(kind));
            roster.listed(s(at), s(at), rows, BLIND_AFTER);
            roster.suspicion(m(2)).is_some()
        };
        let beaten = [row(1, 7), row(2, 8), row(3, 7)];
        for (rows, beats) in [(&rows[..], false), (&rows[..2], false), (&beaten[..], true), (&beaten[..2], true)] {
            assert_eq!(suspected(30, Evidence::Silent, rows), !beats, "{rows:?}");
            assert!(suspected(30, Evidence::Exited, rows), "it has exited, whatever landed later");
            assert!(!suspected(36, Evidence::Silent, rows), "blind for a second too long");
        }
        let mut roster = roster(s(0), &rows);
        suspect(&mut roster, 2, evidence(Evidence::Silent));
        suspect(&mut roster, 3, evidence(Evidence::Silent));
        roster.beats(s(30), s(30), &[(m(2), 8), (m(3), 7)], BLIND_AFTER);
        assert!(roster.suspicion(m(2)).is_none() && roster.suspicion(m(3)).is_some());
        roster.beats(s(66), s(66), &[(m(2), 8), (m(3), 7)], BLIND_AFTER);
        assert!(roster.suspicion(m(3)).is_none(), "blind");
    }

    #[test]
    fn only_evidence_makes_a_member_look_dead() {
        let mut roster = roster(s(0), &[row(1, 7), row(2, 7), row(3, 7), row(4, 7)]);
        assert_eq!(roster.looks_dead(m(1)), (0, 3));
        let evidence = |kind| Suspicion { evidence: Some((kind, s(2))), ..Suspicion::since(s(1)) };
        suspect(&mut roster, 1, evidence(Evidence::Silent));
        suspect(&mut roster, 2, evidence(Evidence::Silent));
        suspect(&mut roster, 3, evidence(Evidence::Exited));
        suspect(&mut roster, 4, Suspicion::since(s(1)));
        assert_eq!(roster.looks_dead(m(1)), (2, 3));
        assert_eq!(roster.looks_dead(m(4)), (3, 3));
    }

    #[test]
    fn found_reports_the_duration_of_each_phase() {
        assert_eq!(Suspicion::since(s(1)).found(s(9)), None);
        let suspicion = Suspicion { evidence: Some((Evidence::Exited, s(3))), ..Suspicion::since(s(1)) };
        let (confirmed, fenced) = (Span::from_secs(2), Span::from_secs(6));
        let found = Found { evidence: Evidence::Exited, confirmed, fenced, listed: Span::ZERO };
        assert_eq!(suspicion.found(s(9)), Some(found));
        let names = [Evidence::Left, Evidence::Replaced, Evidence::Exited, Evidence::Silent].map(Evidence::name);
        assert_eq!(names, ["left", "replaced", "exited", "silent"]);
    }
}
