//! State of the simulated hosts' kernels that turmoil does not model.
//!
//! | on a real network | in turmoil | here |
//! |---|---|---|
//! | a lost SYN is resent until the caller times out | connecting is refused at once | waits |
//! | a SYN-ACK uses the reverse direction | it always arrives | waits while the reverse direction is cut |
//! | the kernel of a host with a dead process refuses | no answer | refuses, if both directions are open |
//! | a host without power is silent | the same, but its sockets are closed | the wires are cut before the power |
//!
//! One table per thread, because one thread runs one simulation.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::mpsc;
use std::time::Duration;

use ::tokio::runtime::{Handle, Id};

#[derive(Default)]
struct Table {
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    dead: BTreeSet<IpAddr>,
    hosts: HashMap<Id, IpAddr>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

fn with<T>(look: impl FnOnce(&mut Table) -> T) -> T {
    TABLE.with(|table| look(&mut table.borrow_mut()))
}

/// Clears the state at the start of a simulation.
pub fn reset() {
    with(|table| *table = Table::default());
}

/// Called by the software of a simulated host at its start, so that its sockets know their host.
pub fn boot(host: IpAddr) {
    with(|table| {
        table.dead.remove(&host);
        table.hosts.insert(Handle::current().id(), host);
    });
}

/// The host whose software is currently running.
///
/// # Panics
/// If it did not [`boot`].
pub fn this_host() -> IpAddr {
    with(|table| *table.hosts.get(&Handle::current().id()).expect("the host's software booted"))
}

/// Cuts the direction from one host to the other.
pub fn cut(from: IpAddr, to: IpAddr) {
    with(|table| table.cuts.insert((from, to)));
}

/// Restores the direction.
pub fn mend(from: IpAddr, to: IpAddr) {
    with(|table| table.cuts.remove(&(from, to)));
}

/// Records that the process on this host has died while the host is up.
pub fn died(host: IpAddr) {
    with(|table| table.dead.insert(host));
}

/// Whether the direction from one host to the other is cut.
pub fn is_cut(from: IpAddr, to: IpAddr) -> bool {
    with(|table| table.cuts.contains(&(from, to)))
}

/// Whether the host's kernel refuses connections.
pub fn is_dead(host: IpAddr) -> bool {
    with(|table| table.dead.contains(&host))
}

/// Whether both directions between two hosts are open.
pub fn is_open(a: IpAddr, b: IpAddr) -> bool {
    !is_cut(a, b) && !is_cut(b, a)
}

/// Waits for work outside the simulation, on threads without simulated time. Simulated time stands still in the
/// meantime, but at most one second of real time, because the work may itself wait for simulated time.
pub async fn outside<T>(work: impl Future<Output = T>) -> T {
    let (_done, end) = mpsc::channel::<()>();
    // tokio's paused time does not go on by itself while one of tokio's threads is busy.
    drop(::tokio::task::spawn_blocking(move || end.recv_timeout(Duration::from_secs(1))));
    work.await
}
