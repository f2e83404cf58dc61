//! Real servers for tests, each in a temporary directory on private loopback ports, gone with the test that started it.

#![expect(clippy::disallowed_methods, reason = "real servers take real time")]

pub mod balancer;
pub mod crowd;
pub mod mariadb;
pub mod pair;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod zookeeper;
