//! Attacks on a whole cluster with real servers and a network of its own. A seed draws the faults while users work. Afterwards
//! everything is checked from outside.
//!
//! | module | what it does |
//! |---|---|
//! | [`net`] | hosts and a switch, as network namespaces |
//! | [`deployment`] | the database, the ensemble and the nodes on these hosts |
//! | [`fault`] | the faults |
//! | [`flights`] | the data that users build and query |
//! | [`clients`] | users, and a record of the answers that they got |
//! | [`segments`] | watches the files of published segments |
//! | [`audit`] | follows every job until it has ended |
//! | [`register`] | concurrent sessions that change metadata, and a check that their answers are linearizable |
//! | [`memory`] | workers that get no more memory |
//! | [`soak`] | quantities that must not grow |
//! | [`check`], [`ledger`] | checks afterwards: through the API and recordings; in the tables |

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

pub mod audit;
pub mod check;
pub mod clients;
pub mod deployment;
pub mod fault;
pub mod flights;
pub mod ledger;
pub mod memory;
pub mod net;
pub mod register;
pub mod segments;
pub mod soak;
