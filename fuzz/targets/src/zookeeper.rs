//! A registration in ZooKeeper that anybody may have written.

use kirin_discovery::{Role, parse_registration};

/// Reads it as an entry of each kind of directory.
///
/// # Panics
/// If what is read is no peer that somebody could talk to.
pub fn run(data: &[u8]) {
    for role in [None, Some(Role::All), Some(Role::Query)] {
        if let Ok(peer) = parse_registration("an-entry", role, data) {
            assert!(!peer.host.trim().is_empty(), "{peer:?} has no address");
            assert!(peer.port > 0, "{peer:?} has no port");
            assert!(role.is_none_or(|role| peer.role == role), "{peer:?} stands in another directory");
        }
    }
}
