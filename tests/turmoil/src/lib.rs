//! Whole shells of nodes and the links between them, and whole nodes with their HTTP API, on a simulated network.
//!
//! | module | what is in it |
//! |---|---|
//! | [`wires`] | what the operator of a simulation does to hosts and wires |
//! | [`truth`] | the metastore that simulated nodes share, and what is known about everybody |
//! | [`around`] | what is around a simulated node's loop |
//! | [`links`] | real shells and links; faults from a seed |
//! | [`api`] | whole nodes, and clients who lose replies |
//!
//! The sources under test are compiled here a second time, unchanged, with [`tokio`](../tokio/index.html) as a shim whose
//! network is turmoil's.

pub mod api;
pub mod around;
pub mod links;
pub mod truth;
pub mod wires;

/// The seeds that a test runs: `many`, or as many as `KIRIN_TURMOIL_SEEDS` says; only `KIRIN_TURMOIL_SEED`, if it is set.
pub fn seeds(many: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("KIRIN_TURMOIL_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number("KIRIN_TURMOIL_SEEDS").map_or(many, |seeds| seeds.max(many)),
    }
}
