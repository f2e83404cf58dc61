//! A registration in ZooKeeper by any writer.

use kirin_discovery::{Role, parse_registration};

/// Parses it as an entry of each kind of directory.
///
/// # Panics
/// If the parsed peer has no usable address.
pub fn run(data: &[u8]) {
    for role in [None, Some(Role::All), Some(Role::Query)] {
        if let Ok(peer) = parse_registration("an-entry", role, data) {
            assert!(!peer.host.trim().is_empty(), "{peer:?} has no address");
            assert!(peer.port > 0, "{peer:?} has no port");
            assert!(role.is_none_or(|role| peer.role == role), "{peer:?} belongs to another directory");
        }
    }
}
