//! Builds and queries end to end, in one binary, since linking DataFusion is the slow part.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test, and says where; the helpers are tests, too")]

mod access;
mod answering;
mod building;
mod demo;
mod differential;
mod faults;
mod shop;
mod sources;
mod streaming;
mod verifying;
