//! Code that Kirin's tests share: private instances of real servers, suites that several implementations must pass, and
//! attacks on a whole cluster.

pub mod chaos;
pub mod conformance;
pub mod load;
pub mod logs;
pub mod order;
pub mod servers;
