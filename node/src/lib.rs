//! The Kirin node.

pub mod auth;
pub mod cli;
pub mod config;
