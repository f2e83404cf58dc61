//! madsim's tokio under tokio's name, with a network that is not kinder than a real one.
//!
//! Everything is `madsim-tokio`'s but [`net`]: madsim refuses a connection at once over a link that is cut, and tells of a
//! process's end right through it. To a cluster that takes a refused connection for evidence of death, that is another world.

#[cfg(not(madsim))]
compile_error!("run Cargo in sim/shell, where .cargo/config.toml sets the cfg madsim");

pub use madsim_tokio::*;

pub mod net;
