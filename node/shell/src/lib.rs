//! The shell around [`kirin_core`]: the loop that passes events to the core and carries out its effects, the links
//! between nodes, and the only clock.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@shell`] | passes events to the core and has its effects carried out |
//! | [`link`] | nudges, questions and probes between nodes |
//! | [`discovery_hints`] | turns changes in discovery into hints for the core |
//! | [`handshake`] | Noise with the cluster secret, without I/O |
//! | [`connection`] | handshake and frames as bytes on the wire |
//! | [`report`] | data for people that accompanies events |
//! | [`clock`] | the only module that reads clocks |
//!
//! The shell makes no decisions, and knows no database, HTTP or files: these are behind [`EffectHandler`] and
//! [`link::Addresses`]. Therefore the same source also runs on a simulated network with simulated time.

pub mod clock;
pub mod connection;
pub mod discovery_hints;
pub mod handshake;
pub mod link;
pub mod report;
pub mod secret;
pub mod shell;

pub use discovery_hints::send_discovery_hints;
pub use link::Links;
pub use secret::Secret;
pub use shell::{CoreHandle, EffectHandler, Inputs, Seen, Shell};
