//! Kirin.
