//! Clusters of node processes on this machine, for demos and benchmarks.
//!
//! | module | what it does |
//! |---|---|
//! | [`local_cluster`] | starts and stops such a cluster |
//! | [`demo`] | `kirin demo` |
//! | [`mod@bench`] | `kirin bench` |
//! | [`strangers`] | floods a node with wrong passwords |

pub mod bench;
pub mod demo;
pub mod local_cluster;
pub mod strangers;
