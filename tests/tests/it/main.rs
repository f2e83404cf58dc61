//! Tests that run whole parts of Kirin against real servers, in one binary.

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

mod bench;
mod cluster;
mod contract;
mod damage;
mod discovery;
mod docs;
mod guard;
mod lb;
mod metadata;
mod properties;
mod s3;
mod store;
#[expect(clippy::unwrap_used, reason = "a test")]
mod trace;
mod working_dir;
