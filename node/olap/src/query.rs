//! Options of a query, and reports about how it is answered.

use serde::{Deserialize, Serialize};

/// Options of a query.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct QueryOptions {
    /// The most rows of the answer.
    pub limit: Option<usize>,
    /// Rows to skip.
    pub offset: usize,
    /// Whether raw tables may be read, for ranges that are not built and for queries that no index covers. If not, answers
    /// contain the rows of READY segments only.
    pub push_down: bool,
    /// Whether indexes may be used.
    pub use_index: bool,
    /// Whether an answer may lack rows of ranges that are not built. [`Realization::missing`] lists them. If not, such a
    /// query is refused.
    pub partial: bool,
    /// The timeout in milliseconds; `None` means no timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions { limit: None, offset: 0, push_down: false, use_index: true, partial: true, timeout_ms: None }
    }
}

/// An index that contributes to an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realization {
    /// Name of the model.
    pub model: String,
    /// Layout id.
    pub layout: u64,
    /// Names of the segments that are read.
    pub segments: Vec<String>,
    /// Whether raw rows of ranges that are not built are added.
    pub mixed: bool,
    /// Rows that the query asks for and no segment has, for display. If there are any, the answer is partial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// How a query would be answered, and why other indexes are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The indexes that answer.
    pub realizations: Vec<Realization>,
    /// Raw tables that would be read.
    pub raw_tables: Vec<String>,
    /// The aggregations of the query, innermost first.
    pub aggregations: Vec<AggregationExplain>,
    /// The optimised logical plan, one operator per line.
    pub plan: String,
}

/// How one aggregation would be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AggregationExplain {
    /// Its groups and aggregates.
    pub aggregation: String,
    /// The index that answers it; `None` means raw tables.
    pub chosen: Option<Realization>,
    /// Every other index and model, with the reason.
    pub rejected: Vec<RejectedIndex>,
}

/// An index, or a whole model, that does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedIndex {
    /// Name of the model.
    pub model: String,
    /// Layout id; `None` means every index of the model.
    pub layout: Option<u64>,
    /// Names of the layout's dimensions.
    pub dimensions: Vec<String>,
    /// The reason.
    pub reason: String,
}
