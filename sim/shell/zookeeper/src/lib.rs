//! A ZooKeeper ensemble inside the simulation: it speaks the wire protocol to unmodified clients.
//!
//! The state that its servers agree on (the tree, the sessions) is shared and survives them, as their logs would. The
//! agreement never fails, but it is unavailable without a quorum. The state of a connection (watches, requests in
//! flight) ends with the connection. The rules that clients depend on are those of the real server: negotiated
//! timeouts, expiry in buckets of a tick, ephemeral nodes that disappear with their session in one transaction, an
//! event before any reply that shows its cause, authentication of a session by id and password, sessions that move
//! between servers, full timeouts after an election.
//!
//! Not supported: access lists (every client may do everything), persistent watches and TTL nodes (answered as
//! unimplemented, like servers before 3.6), observers and read-only mode, TLS and SASL, four-letter words, and cuts of
//! the links *between* servers.

mod code;
mod ensemble;
mod jute;
mod request;
mod server;
mod tree;
mod watches;

pub use ensemble::{Ensemble, Settings};
