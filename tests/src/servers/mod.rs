//! Real servers for tests, each in a temporary directory on private loopback ports, gone with the test that started it.

pub mod child;
pub mod zookeeper;
