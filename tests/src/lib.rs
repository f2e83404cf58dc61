//! What the tests of Kirin share: real servers, started privately.

pub mod logs;
pub mod servers;
