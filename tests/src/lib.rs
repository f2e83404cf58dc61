//! What Kirin's tests share: real servers, suites that several implementations must pass.

pub mod conformance;
pub mod servers;
