//! Authentication of users by passwords. Nodes authenticate each other by [`kirin_shell::handshake`].
//!
//! | module | what it does |
//! |---|---|
//! | [`gate`] | limits on the verification of passwords, which protect the node's memory and processors |
//! | [`password`] | hashes (argon2id), verifies and generates passwords |
//! | [`verified`] | a cache of verified credentials, so that not every request needs argon2 |
//!
//! These modules read no files and no clocks. Callers pass users and times.

pub mod gate;
pub mod password;
pub mod verified;
