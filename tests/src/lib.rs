//! What Kirin's tests share: real servers, started privately, and suites that several implementations must pass.

pub mod conformance;
pub mod logs;
pub mod servers;
