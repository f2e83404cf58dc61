//! tokio with a simulated network: production sources that use `tokio` run under turmoil unchanged.
//!
//! Everything except [`net`] is tokio's. [`net`] adds what turmoil's sockets lack or do differently from a kernel, with
//! the help of [`kernel`], which knows the faults applied to hosts and wires.

pub use ::tokio::*;

pub mod kernel;
pub mod net;
