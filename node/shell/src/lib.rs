//! The shell around [`kirin_core`]: the loop that feeds it facts and carries out its orders, the links between nodes, and
//! the one clock.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@shell`] | tells the core what happened, has its orders carried out |
//! | [`link`] | nudges, questions and probes between nodes |
//! | [`mod@heed`] | what a change in discovery means |
//! | [`handshake`] | Noise with the cluster secret, without I/O |
//! | [`connection`] | handshake and frames as bytes on the wire |
//! | [`report`] | what travels beside events, for people |
//! | [`clock`] | the one place that reads clocks |
//!
//! It decides nothing, and knows no database, no HTTP and no file: those are behind [`Outside`] and [`link::Addresses`]. So
//! this source also runs as it stands on a simulated network and under simulated time.

pub mod clock;
pub mod connection;
pub mod handshake;
pub mod heed;
pub mod link;
pub mod report;
pub mod secret;
pub mod shell;

pub use heed::heed;
pub use link::Links;
pub use secret::Secret;
pub use shell::{Inputs, Mind, Outside, Seen, Shell};
