//! Private servers for tests: in temporary directories, on free loopback ports, gone with the test process.

pub mod mariadb;
pub mod postgres;
pub mod process;
pub mod proxy;
