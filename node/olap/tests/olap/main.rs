//! Builds and queries end to end, in one binary, since linking DataFusion is the slow part.

mod answering;
mod building;
mod demo;
mod differential;
mod shop;
