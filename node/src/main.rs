//! The Kirin node.
fn main() {}
