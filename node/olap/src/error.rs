//! The one error of this crate's surface: what went wrong, where, and what to do about it.
//!
//! DataFusion's errors are turned into text here, so that no other crate ever names its types. An error that
//! travels *through* DataFusion (a damaged index file found while a plan runs) is put back together by
//! [`Error::from`], so the caller sees the original.

use crate::conservation::Broken;
use datafusion::error::DataFusionError;

/// Short form used everywhere in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a definition and an answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A table, model, segment range or job is not well defined. `field` names the place.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the offending field, e.g. `model "sales", dimensions[3].column`.
        field: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The source of a table cannot be read, or is not what its definition says.
    #[error("source of table \"{table}\": {problem}")]
    Source {
        /// Name of the table.
        table: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file that an earlier build step wrote is missing, shorter, or damaged.
    #[error("build file {path}: {problem}")]
    BuildFile {
        /// Path of the file.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A build broke a conservation law, so what it made is wrong; nothing of it may be published.
    #[error(
        "{what} is wrong: {quantity}: expected {expected}, found {found}; this is a fault of the build, not of the data: restart the job, and report it if it happens again"
    )]
    NotConserved {
        /// The flat table, or the index.
        what: String,
        /// What must not change and did.
        quantity: String,
        /// Its value before.
        expected: String,
        /// Its value after.
        found: String,
    },
    /// A file of a published segment is missing or damaged.
    #[error("segment \"{segment}\" of model \"{model}\", index {layout}: {problem}; refresh the segment to rebuild it")]
    SegmentData {
        /// Name of the model.
        model: String,
        /// Name of the segment.
        segment: String,
        /// The layout whose file it is.
        layout: u64,
        /// Path and what is wrong with it.
        problem: String,
    },
    /// The SQL text cannot be parsed or planned.
    #[error("{0}")]
    Sql(String),
    /// No index covers the query and push-down is off.
    #[error("No realization found for this query and push-down is off.{}\nTurn push-down on to answer from the raw tables, or build an index that covers the query.", reasons.iter().map(|r| format!("\n  - {r}")).collect::<String>())]
    NoRealization {
        /// One line per index that was considered.
        reasons: Vec<String>,
    },
    /// The query or the build ran and failed.
    #[error("{0}")]
    Execution(String),
    /// The query or the build needs more memory than it may take.
    #[error("not enough memory: {0}")]
    Memory(String),
    /// A query took longer than it may.
    #[error("the query took longer than {} s and was ended; narrow it, build an index for it, or raise kylin.query.timeout-seconds", *millis as f64 / 1000.0)]
    Timeout {
        /// How long it may take.
        millis: u64,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Invalid { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn source(table: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Source { table: table.into(), problem: problem.into() }
    }

    pub(crate) fn build_file(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::BuildFile { path: path.into(), problem: problem.into() }
    }

    pub(crate) fn not_conserved(what: impl Into<String>, broken: Broken) -> Self {
        let Broken { quantity, expected, found } = broken;
        Error::NotConserved { what: what.into(), quantity, expected, found }
    }

    /// Wraps this error so that it survives the way through DataFusion.
    pub(crate) fn through(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::External(inner) => {
                if let Some(ours) = inner.downcast_ref::<Error>() {
                    return ours.clone();
                }
            }
            DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::SQL(..)
            | DataFusionError::NotImplemented(_) => return Error::Sql(error.strip_backtrace()),
            DataFusionError::Diagnostic(..) => return Error::Sql(error.strip_backtrace()),
            DataFusionError::ResourcesExhausted(why) => {
                return Error::Memory(why.clone());
            }
            _ => {}
        }
        Error::Execution(error.strip_backtrace())
    }
}
