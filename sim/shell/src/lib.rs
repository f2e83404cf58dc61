//! Complete Kirin nodes, except for their database, on simulated machines, networks and time. The shell, the links
//! between nodes and discovery are compiled from the product's source. They communicate with one another, with a
//! ZooKeeper that speaks the wire protocol, and with a metastore, over TCP connections that can be cut.
//!
//! A run is drawn from its seed: the number of nodes, the timing, the faults and their times. After the faults
//! everything is healed, and the final state is checked. Two runs of a seed write the same [`journal`], line by line.
//! This is checked with two processes, because two runs in one process share values that a process draws once (hash
//! keys, counters).
//!
//! | module | contents |
//! |---|---|
//! | [`scenario`] | a run from its first draw to its verdict |
//! | [`plan`] | the faults and their times |
//! | [`hosts`] | machines, which can be killed, paused or cut off |
//! | [`node`] | the process of a Kirin node |
//! | [`attempts`] | the attempts of a node |
//! | [`database`] | the metastore, on its own machine |
//! | [`users`] | users who submit jobs |
//! | [`board`] | what the judge sees of the nodes |
//! | [`judge`] | the conditions at the end |
//! | [`journal`] | the log of a run |
//! | [`twice`] | runs every seed in two processes |
//!
//! The metastore answers like `kirin_sim`'s model. The conformance suite verifies the model against the real
//! metastores.

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
