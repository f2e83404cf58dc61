//! Whole shells of nodes and the links between them, and whole nodes with their HTTP API, on a simulated network.
//!
//! | module | content |
//! |---|---|
//! | [`wires`] | faults of hosts and network links |
//! | [`truth`] | the metastore that simulated nodes share, and the true state of the cluster |
//! | [`around`] | the effect handler of a simulated node |
//! | [`links`] | real shells and links with faults from a seed |
//! | [`api`] | complete nodes, and clients that lose replies |
//!
//! The sources under test are compiled here a second time, unchanged, with [`tokio`](../tokio/index.html) as a shim whose
//! network is turmoil's.

pub mod api;
pub mod around;
pub mod links;
pub mod truth;
pub mod wires;

/// The seeds of a test: `many`, or the number in `KIRIN_TURMOIL_SEEDS`, or only `KIRIN_TURMOIL_SEED` if set.
pub fn seeds(many: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("KIRIN_TURMOIL_SEED") {
        Some(seed) => seed..seed.saturating_add(1),
        None => 0..number("KIRIN_TURMOIL_SEEDS").map_or(many, |seeds| seeds.max(many)),
    }
}
