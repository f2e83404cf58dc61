//! The Kirin node.

pub mod auth;
pub mod config;
