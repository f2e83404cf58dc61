//! What states and rows are compared by.

use kirin_core::Node;

/// The digest of a core's state: equal states have equal digests, also on other machines.
pub fn digest(core: &Node) -> u64 {
    digest_of(&encoded(core))
}

pub(crate) fn digest_of(state: &[u8]) -> u64 {
    twox_hash::XxHash64::oneshot(0, state)
}

pub(crate) fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
    // Writing to memory fails for no type of the core's: all have known lengths.
    postcard::to_stdvec(value).expect("the core's types can be written down")
}
