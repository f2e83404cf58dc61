//! How much a node asks of the metastore: statements, and bytes of arguments and values. For people; nothing is decided by it.
//!
//! Bytes are those of the values, without what the protocol puts around them, and the texts of statements that are not
//! prepared. A file (SQLite) sends nothing: there only the arguments count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connection::Purpose;
use crate::wire::Row;

/// What was asked of the metastore by this process since it opened it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// For the contract: beats, lists, claims, commits.
    pub contract: Counts,
    /// For people, and for the chores of the leader.
    pub people: Counts,
    /// Connections that are open.
    pub connections: u64,
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements, those that open and check connections included.
    pub statements: u64,
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
}

/// Where all connections of a process count.
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

/// What one connection counts with; while it is there, the connection is open.
#[derive(Debug)]
pub(crate) struct Meter {
    meters: Arc<Meters>,
    purpose: Purpose,
}

impl Meters {
    /// A connection is opened.
    pub(crate) fn meter(self: &Arc<Self>, purpose: Purpose) -> Meter {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Meter { meters: self.clone(), purpose }
    }

    /// What was counted so far.
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
    /// A statement with so many bytes of arguments goes out.
    pub(crate) fn asks(&self, bytes: usize) {
        let counters = self.meters.of(self.purpose);
        counters.statements.fetch_add(1, Ordering::Relaxed);
        counters.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Rows came back.
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
