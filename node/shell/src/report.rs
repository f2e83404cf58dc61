//! The reports of attempts. The core never sees them: they accompany its events and effects, and are sent with the
//! request that results.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

/// The result of a step.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The step's name.
    pub name: String,
    /// Its result.
    pub result: Value,
    /// When it began, for people.
    pub started_ms: i64,
    /// When it ended, for people.
    pub ended_ms: i64,
}

/// The end of an attempt.
#[derive(Clone, Debug, Default)]
pub struct EndReport {
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// The segments that are published with it.
    pub publish: Vec<Publish>,
}

/// A segment to publish, or a replacement of its manifest.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The segment.
    pub segment: Uuid,
    /// Its manifest.
    pub manifest: Value,
}

/// The report that accompanies a request of the core.
#[derive(Clone, Debug)]
pub enum Report {
    /// Accompanies the commit of a step.
    Step(Arc<StepReport>),
    /// Accompanies the end of an attempt.
    End(Arc<EndReport>),
}
