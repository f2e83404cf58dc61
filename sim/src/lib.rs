//! The simulator of Kirin: a world of faults around the real core, and a judge that checks every event.
//!
//! A run consists of a [`setup`] and a list of [`act`]s, both text. The [`world`] executes it on one thread with
//! integer time. The `judge` checks every transaction and every effect. The simulator does not know how the core
//! decides: it passes events to the core and carries out the effects by the rules of the production shell.
//!
//! | module | contents |
//! |---|---|
//! | [`store`] | the model of the metastore: the contract as plain data |
//! | [`zookeeper`] | the model of ZooKeeper: sessions, ephemeral nodes, watches |
//! | [`setup`], [`act`] | the initial state of a run, and the acts on it |
//! | [`world`] | time, machines, clocks, links, executors, users |
//! | [`rule`] | the rules that must always hold |
//! | `judge` | checks the rules |
//! | [`plant`], [`table`] | rules broken on purpose, to test the judge, and their table |
//! | [`draw`], [`search`] | draws runs from seeds, and executes them |
//! | [`hunt`], [`shrink`] | runs many seeds on all cores; finds the smallest failing script |
//! | `exhaustive` | explores every run of a small world |
//! | [`explain`], [`picture`] | a run as a page; `kirin-picture` draws it |
//! | [`describe`] | describes effects in a few words |
//! | [`cluster`] | the vocabulary of stories |
//! | `trace` | a run as a Parquet file, for queries in SQL |
//! | [`transcript`] | acts and the resulting effects, as text |

pub mod act;
mod agenda;
pub mod cluster;
pub mod dice;
pub mod draw;
#[cfg(feature = "exhaustive")]
pub mod exhaustive;
pub mod explain;
mod host;
pub mod hunt;
mod judge;
pub mod plant;
pub mod rule;
pub mod search;
pub mod setup;
pub mod shrink;
pub mod store;
pub mod table;
#[cfg(feature = "traces")]
pub mod trace;
pub mod transcript;
pub mod world;
pub mod zookeeper;

pub use act::{Act, Host};
pub use draw::Profile;
pub use judge::Violation;
pub use kirin_core::describe;
pub use kirin_picture as picture;
pub use plant::Plant;
pub use setup::Setup;
pub use world::World;
