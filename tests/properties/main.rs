//! Properties: what holds for every input that can be drawn.

mod machine;
mod placing;
mod queueing;
