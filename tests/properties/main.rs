//! Properties that hold for all generated inputs.

mod machine;
mod placing;
mod queueing;
