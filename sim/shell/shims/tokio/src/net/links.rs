//! The links between hosts, and which of them are cut. A simulation runs on one thread, and this is thread-local state.

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
    /// Pairs of hosts where nothing from the first reaches the second.
    cut: BTreeSet<(IpAddr, IpAddr)>,
    /// The number of connections made.
    made: u64,
}

/// Registers the address of a host. Links of an unregistered host cannot be cut.
pub fn know(host: NodeId, address: IpAddr) {
    LINKS.with_borrow_mut(|links| links.hosts.insert(host, address));
}

/// Cuts a link: nothing that `from` sends reaches `to`.
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

/// The number of connections made so far.
pub fn made() -> u64 {
    LINKS.with_borrow(|links| links.made)
}

pub(super) fn make() {
    LINKS.with_borrow_mut(|links| links.made += 1);
}

/// Whether the link from `from` to `to` is cut.
pub fn is_cut(from: IpAddr, to: IpAddr) -> bool {
    LINKS.with_borrow(|links| links.cut.contains(&(from, to)))
}

pub(super) fn both_ways(one: IpAddr, other: IpAddr) -> bool {
    !is_cut(one, other) && !is_cut(other, one)
}

/// The address of the current host.
pub(super) fn here() -> Option<IpAddr> {
    LINKS.with_borrow(|links| links.hosts.get(&madsim::plugin::node()).copied())
}

fn host(address: IpAddr) -> Option<NodeId> {
    LINKS.with_borrow(|links| links.hosts.iter().find(|(_, its)| **its == address).map(|(host, _)| *host))
}
