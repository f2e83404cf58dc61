//! Who may talk to a node: passwords of users. Nodes authenticate one another by [`kirin_shell::handshake`].
//!
//! | module | what it does |
//! |---|---|
//! | [`password`] | hashes (argon2id), verifies and invents passwords |
//! | [`verified`] | remembers for a while that a password was right, so that not every request pays for argon2 |
//!
//! Knows no user and no role, reads no file and no clock: callers pass what they know.

pub mod password;
pub mod verified;
