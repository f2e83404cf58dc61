//! What attempts report. The core never sees it: it stays beside its events and orders, and travels with the request that
//! they lead to.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

/// A step's result.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// What it brought.
    pub result: Value,
    /// When it began, for people.
    pub started_ms: i64,
    /// When it ended, for people.
    pub ended_ms: i64,
}

/// An attempt's end.
#[derive(Clone, Debug, Default)]
pub struct EndReport {
    /// Why it failed.
    pub failure: Option<String>,
    /// What becomes visible with it.
    pub publish: Vec<Publish>,
}

/// A segment that becomes readable, or whose manifest is replaced.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Which.
    pub segment: Uuid,
    /// What is in it.
    pub manifest: Value,
}

/// What travels with a request of the core.
#[derive(Clone, Debug)]
pub enum Report {
    /// With the commit of a step.
    Step(Arc<StepReport>),
    /// With the end of an attempt.
    End(Arc<EndReport>),
}
