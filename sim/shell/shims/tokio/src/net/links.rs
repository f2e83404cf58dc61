//! Which links between hosts are cut. One simulation runs on one thread, and the state is that thread's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use madsim::net::NetSim;
use madsim::task::NodeId;

thread_local! {
    static LINKS: RefCell<Links> = RefCell::default();
}

#[derive(Default)]
struct Links {
    hosts: BTreeMap<NodeId, IpAddr>,
    /// From whom to whom nothing arrives.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// How many connections were made.
    made: u64,
}

/// Says which address a host has. Links of a host that is not known can't be cut.
pub fn know(host: NodeId, address: IpAddr) {
    LINKS.with_borrow_mut(|links| links.hosts.insert(host, address));
}

/// From here on nothing that `from` sends arrives at `to`.
pub fn cut(from: IpAddr, to: IpAddr) {
    if LINKS.with_borrow_mut(|links| links.cut.insert((from, to)))
        && let (Some(from), Some(to)) = (host(from), host(to))
    {
        NetSim::current().clog_link(from, to);
    }
}

/// Undoes [`cut`].
pub fn mend(from: IpAddr, to: IpAddr) {
    if LINKS.with_borrow_mut(|links| links.cut.remove(&(from, to)))
        && let (Some(from), Some(to)) = (host(from), host(to))
    {
        NetSim::current().unclog_link(from, to);
    }
}

/// Mends every link.
pub fn mend_all() {
    for (from, to) in LINKS.with_borrow(|links| links.cut.clone()) {
        mend(from, to);
    }
}

/// How many connections were made so far.
pub fn made() -> u64 {
    LINKS.with_borrow(|links| links.made)
}

pub(super) fn make() {
    LINKS.with_borrow_mut(|links| links.made += 1);
}

/// Does nothing that `from` sends arrive at `to`?
pub fn is_cut(from: IpAddr, to: IpAddr) -> bool {
    LINKS.with_borrow(|links| links.cut.contains(&(from, to)))
}

pub(super) fn both_ways(one: IpAddr, other: IpAddr) -> bool {
    !is_cut(one, other) && !is_cut(other, one)
}

/// The address of the host on which this runs.
pub(super) fn here() -> Option<IpAddr> {
    LINKS.with_borrow(|links| links.hosts.get(&madsim::plugin::node()).copied())
}

fn host(address: IpAddr) -> Option<NodeId> {
    LINKS.with_borrow(|links| links.hosts.iter().find(|(_, its)| **its == address).map(|(host, _)| *host))
}
