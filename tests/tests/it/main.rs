//! Tests that run whole parts of Kirin against real servers.

mod discovery;
