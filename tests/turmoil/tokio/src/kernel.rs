//! What the kernels of the simulated hosts know and turmoil does not tell its sockets.
//!
//! | on a real network | in turmoil | here |
//! |---|---|---|
//! | a SYN that is lost is sent again until the caller gives up | connecting is refused at once | waits |
//! | a SYN-ACK takes the way back | it arrives whatever the way back is like | waits while the way back is cut |
//! | the kernel of a host whose process died refuses | nobody answers | refuses, if both ways are open |
//! | a host without power is silent | the same, but its sockets say good-bye | whoever takes the power cuts its wires first |
//!
//! One table a thread, because one thread runs one simulation.

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

/// Forgets everything: a simulation begins.
pub fn reset() {
    with(|table| *table = Table::default());
}

/// Called by the software of a simulated host as it starts, so that its sockets know where they are.
pub fn boot(host: IpAddr) {
    with(|table| {
        table.dead.remove(&host);
        table.hosts.insert(Handle::current().id(), host);
    });
}

/// The host whose software runs at this moment.
///
/// # Panics
/// If it did not [`boot`].
pub fn this_host() -> IpAddr {
    with(|table| *table.hosts.get(&Handle::current().id()).expect("the host's software booted"))
}

/// Nothing gets from one host to the other any more.
pub fn cut(from: IpAddr, to: IpAddr) {
    with(|table| table.cuts.insert((from, to)));
}

/// It does again.
pub fn mend(from: IpAddr, to: IpAddr) {
    with(|table| table.cuts.remove(&(from, to)));
}

/// The process on that host has died; the host lives on.
pub fn died(host: IpAddr) {
    with(|table| table.dead.insert(host));
}

/// Whether something sent from one host arrives at the other.
pub fn is_cut(from: IpAddr, to: IpAddr) -> bool {
    with(|table| table.cuts.contains(&(from, to)))
}

/// Whether the host's kernel refuses connections.
pub fn is_dead(host: IpAddr) -> bool {
    with(|table| table.dead.contains(&host))
}

/// Whether each of two hosts hears the other.
pub fn is_open(a: IpAddr, b: IpAddr) -> bool {
    !is_cut(a, b) && !is_cut(b, a)
}

/// Waits for what is done outside of the simulation, on threads that know nothing of it. Simulated time stands still
/// meanwhile, but never for longer than a second of true time: what is done may itself wait for time to go on.
pub async fn outside<T>(work: impl Future<Output = T>) -> T {
    let (_done, end) = mpsc::channel::<()>();
    // tokio's paused time does not go on by itself while one of tokio's threads is busy.
    drop(::tokio::task::spawn_blocking(move || end.recv_timeout(Duration::from_secs(1))));
    work.await
}
