//! The traffic between a node and the metastore: statements, and bytes of arguments and values. It is for users only; no
//! decision depends on it.
//!
//! Bytes count the values and the texts of statements that are not prepared, without the protocol's overhead. With a file
//! (SQLite), only arguments count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::Purpose;
use crate::wire::Row;

/// The traffic of this process since it opened the metastore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// For the contract: beats, lists, claims, commits.
    pub contract: Counts,
    /// For users, and for the leader's housekeeping.
    pub people: Counts,
    /// Open connections.
    pub connections: u64,
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements, including those that open and check connections.
    pub statements: u64,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// The counters of all connections of a process.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    contract: Counters,
    people: Counters,
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct Counters {
    statements: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// The counter of one connection. The connection is open while its meter exists.
#[derive(Debug)]
pub(crate) struct Meter {
    meters: Arc<Meters>,
    purpose: Purpose,
}

impl Meters {
    /// Counts a new connection.
    pub(crate) fn meter(self: &Arc<Self>, purpose: Purpose) -> Meter {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Meter { meters: self.clone(), purpose }
    }

    /// The current counts.
    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            contract: self.contract.read(),
            people: self.people.read(),
            connections: self.connections.load(Ordering::Relaxed),
        }
    }

    fn of(&self, purpose: Purpose) -> &Counters {
        match purpose {
            Purpose::Contract => &self.contract,
            Purpose::Interactive => &self.people,
        }
    }
}

impl Counters {
    fn read(&self) -> Counts {
        let [statements, sent, received] =
            [&self.statements, &self.sent, &self.received].map(|counter| counter.load(Ordering::Relaxed));
        Counts { statements, sent, received }
    }
}

impl Meter {
    /// Counts a statement with this number of bytes of arguments.
    pub(crate) fn asks(&self, bytes: usize) {
        let counters = self.meters.of(self.purpose);
        counters.statements.fetch_add(1, Ordering::Relaxed);
        counters.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts received rows.
    pub(crate) fn hears(&self, rows: &[Row]) {
        let bytes: usize = rows.iter().map(Row::size).sum();
        self.meters.of(self.purpose).received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.meters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
