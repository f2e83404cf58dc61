//! Tests that run whole parts of Kirin against real servers, in one binary.

mod cluster;
mod discovery;
mod store;
