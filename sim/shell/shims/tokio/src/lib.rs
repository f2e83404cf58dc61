//! madsim's tokio under tokio's name, with a more realistic network.
//!
//! Everything except [`net`] comes from `madsim-tokio`. madsim refuses a connection over a cut link at once, and
//! reports the end of a process even over a cut link. That is too kind for a cluster that takes a refused connection as
//! evidence of death.

#[cfg(not(madsim))]
compile_error!("run Cargo in sim/shell, where .cargo/config.toml sets the cfg madsim");

pub use madsim_tokio::*;

pub mod net;
