//! Real servers for tests. Each has a temporary directory and private loopback ports, and ends with the test that started it.

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

pub mod balancer;
pub mod crowd;
pub mod mariadb;
pub mod pair;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod zookeeper;
