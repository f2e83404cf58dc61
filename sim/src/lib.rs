//! The simulator of Kirin: a world of faults around the real core, and a judge that watches every event.
//!
//! A run is a [`setup`] and a list of [`act`]s, both text. The [`world`] carries it out on one thread with integer time; the
//! `judge` looks at every transaction and every order. Nothing here knows how the core decides: it is told facts, and its
//! orders are carried out by the rules of the production shell.
//!
//! | module | what is there |
//! |---|---|
//! | [`store`] | the model of the metastore: the contract as plain data |
//! | [`zookeeper`] | the model of ZooKeeper: sessions, ephemeral nodes, watches |
//! | [`setup`], [`act`] | what a run starts with, and what is done to it |
//! | [`world`] | time, machines, clocks, links, executors, users |
//! | [`rule`] | the rules that must hold, whatever happens |
//! | `judge` | watching them |
//! | [`plant`], [`table`] | rules broken on purpose, to test the judge, and their table |
//! | [`draw`], [`search`] | runs drawn from seeds, carried out |
//! | [`hunt`], [`shrink`] | many seeds over all cores; the smallest script of those that fail |
//! | `exhaustive` | every run of a small world |
//! | [`explain`], [`picture`] | a run as a page to look at; the page is drawn by `kirin-picture` |
//! | [`describe`] | orders in a few words |
//! | [`cluster`] | the words of stories |
//! | `trace` | a run as a Parquet file, to be asked in SQL |
//! | [`transcript`] | acts and the orders that they caused, as text |

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
