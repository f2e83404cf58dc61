//! tokio with a simulated network: production sources that name `tokio` run under turmoil as they stand.
//!
//! Everything is tokio's own but [`net`]. What turmoil's sockets lack, or do otherwise than a kernel does, is mended in
//! [`net`] with the help of [`kernel`], which knows what the operator of the simulation did to hosts and wires.

pub use ::tokio::*;

pub mod kernel;
pub mod net;
