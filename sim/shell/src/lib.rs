//! Whole Kirin nodes, but for their database, on simulated machines, networks and time: the shell, the links between nodes and
//! discovery are compiled from the product's own source, and talk to one another, to a ZooKeeper that speaks the wire
//! protocol, and to a metastore, over TCP that can be cut.
//!
//! A run is drawn from its seed: how many nodes, which timing, which faults when. After the faults everything is healed, and
//! what must be true then is looked for. Two runs of a seed write the same [`journal`], line by line; that is checked with two
//! processes, because two runs in one process share what a process draws once (hash keys, counters).
//!
//! | module | what is there |
//! |---|---|
//! | [`scenario`] | a run from its first draw to its verdict |
//! | [`plan`] | which faults come when |
//! | [`hosts`] | machines: killed, paused, cut off |
//! | [`node`] | the process of a Kirin node |
//! | [`attempts`] | what runs jobs |
//! | [`database`] | the metastore, on a machine of its own |
//! | [`users`] | who submits jobs |
//! | [`board`] | what the judge sees of the nodes |
//! | [`judge`] | what must be true at the end |
//! | [`journal`] | the log of a run |
//! | [`twice`] | every seed in two processes |
//!
//! The metastore answers as `kirin_sim`'s model does, which the conformance suite holds to the real ones.

pub mod attempts;
pub mod board;
pub mod database;
pub mod hosts;
pub mod journal;
pub mod judge;
pub mod node;
pub mod plan;
pub mod scenario;
mod spawn;
pub mod twice;
pub mod users;
mod wire;
