//! The Kirin node.

pub mod config;
