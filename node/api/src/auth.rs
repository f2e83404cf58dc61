//! Who may talk to a node: passwords of users. Nodes authenticate one another by [`kirin_shell::handshake`].
//!
//! | module | what it does |
//! |---|---|
//! | [`gate`] | how many passwords are verified, so that strangers can't take the node's memory and processors |
//! | [`password`] | hashes (argon2id), verifies and invents passwords |
//! | [`verified`] | remembers for a while that a password was right, so that not every request pays for argon2 |
//!
//! Knows no user and no role, reads no file and no clock: callers pass what they know.

pub mod gate;
pub mod password;
pub mod verified;
