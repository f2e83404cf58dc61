//! A ZooKeeper ensemble inside the simulation: it speaks the wire protocol to unmodified clients.
//!
//! What its servers agree on (the tree, the sessions) is one state that they share, and that survives them, as their logs
//! would: an agreement that never fails, but is not to be had while half of the servers are down. What belongs to one
//! connection (watches, what is under way) dies with the connection. Rules that clients depend on are the real server's:
//! negotiated timeouts, expiry in buckets of a tick, ephemeral nodes that vanish with their session in one transaction, an event
//! told before any reply that shows its cause, a session refused by id and password, sessions that move between servers,
//! whole timeouts for everybody after an election.
//!
//! It does not do: access lists (everybody may do everything), persistent watches and TTL nodes (answered like servers before
//! 3.6: unimplemented), observers and read-only mode, TLS and SASL, four-letter words, and no link *between* servers can be cut.

mod code;
mod ensemble;
mod jute;
mod request;
mod server;
mod tree;
mod watches;

pub use ensemble::{Ensemble, Settings};
