//! A whole cluster on real servers and a network of its own, attacked from a seed while users work with it; then everything
//! is checked from outside.
//!
//! | module | what it does |
//! |---|---|
//! | [`net`] | hosts and a switch, as network namespaces |
//! | [`deployment`] | the database, the ensemble and the nodes on them |
//! | [`fault`] | what is done to them |
//! | [`flights`] | what users build and query |
//! | [`clients`] | users, and what they were told |
//! | [`segments`] | watches the files of published segments |
//! | [`audit`] | watches every job until it is over |
//! | [`soak`] | what must not grow |
//! | [`check`], [`ledger`] | what must hold afterwards; what the tables must say |

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

pub mod audit;
pub mod check;
pub mod clients;
pub mod deployment;
pub mod fault;
pub mod flights;
pub mod ledger;
pub mod net;
pub mod segments;
pub mod soak;
