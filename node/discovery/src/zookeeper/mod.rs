//! ZooKeeper, with the paths and payloads of Kylin.
mod backoff;
mod config;
mod instance;
mod layout;

pub use config::{ZooKeeperConfig, ZooKeeperSettings};
pub use layout::{Layout, unique_id};
