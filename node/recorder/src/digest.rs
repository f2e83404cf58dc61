//! Digests of states and checksums of rows.

use kirin_core::Node;

/// The digest of a core's state. Equal states have equal digests on every machine.
pub fn digest(core: &Node) -> u64 {
    digest_of(&encoded(core))
}

pub(crate) fn digest_of(state: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, state)
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Encoding to memory cannot fail: every type of the core has a known length.
    postcard::to_stdvec(value).expect("the core's types can be written down")
}
