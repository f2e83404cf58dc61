//! What a query is asked with, and what is told about its answer.

use serde::{Deserialize, Serialize};

/// How a query is to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// At most this many rows.
    pub limit: Option<usize>,
    /// Skip this many rows.
    pub offset: usize,
    /// Whether raw tables may be read: for ranges that are not built, and for what no index covers. Off, answers
    /// reflect READY segments only.
    pub push_down: bool,
    /// Whether indexes may be used.
    pub use_index: bool,
    /// Whether an answer may lack rows of ranges that are not built; [`Realization::missing`] tells which. Off, such a
    /// query is refused.
    pub partial: bool,
    /// The query ends with an error after this time, in milliseconds; none means that it may take for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions { limit: None, offset: 0, push_down: false, use_index: true, partial: true, timeout_ms: None }
    }
}

/// An index that took part in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realization {
    /// Name of the model.
    pub model: String,
    /// Layout id.
    pub layout: u64,
    /// Names of the segments that were read.
    pub segments: Vec<String>,
    /// Whether raw rows of ranges that are not built were added.
    pub mixed: bool,
    /// What the query wants and no segment has, for people. If there is any, the answer is partial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// How a query is (or would be) answered, and why not otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The indexes that answer.
    pub realizations: Vec<Realization>,
    /// Raw tables that are read.
    pub raw_tables: Vec<String>,
    /// One entry per aggregation of the query, innermost first.
    pub aggregations: Vec<AggregationExplain>,
    /// The optimised logical plan, one operator a line.
    pub plan: String,
}

/// What became of one aggregation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationExplain {
    /// Its groups and aggregates.
    pub aggregation: String,
    /// The index that answers it; none means raw tables.
    pub chosen: Option<Realization>,
    /// Every other index and model, with the reason why not.
    pub rejected: Vec<RejectedIndex>,
}

/// An index (or a whole model) that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedIndex {
    /// Name of the model.
    pub model: String,
    /// Layout id; none means every index of the model.
    pub layout: Option<u64>,
    /// Names of the layout's dimensions.
    pub dimensions: Vec<String>,
    /// Why not.
    pub reason: String,
}
