//! Clusters of processes on this machine, to show and to measure.
//!
//! | module | what it does |
//! |---|---|
//! | [`launch`] | starts and stops such a cluster |
//! | [`demo`] | `kirin demo` |
//! | [`mod@bench`] | `kirin bench` |
//! | [`strangers`] | floods a node with wrong passwords |

pub mod bench;
pub mod demo;
pub mod launch;
pub mod strangers;
