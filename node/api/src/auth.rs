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

use subtle::ConstantTimeEq;

/// Compares two byte strings in a time that depends on their lengths only.
pub fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_compared_as_bytes() {
        assert!(super::same_bytes(b"abc", b"abc"));
        assert!(!super::same_bytes(b"abc", b"abd"));
        assert!(!super::same_bytes(b"abc", b"abcd"));
        assert!(super::same_bytes(b"", b""));
    }
}
