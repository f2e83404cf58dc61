//! The error type of this crate: what went wrong, where, and what to do.
//!
//! Errors of DataFusion are converted to text here, so that no other crate names its types. [`Error::from`] restores an
//! error of this crate that passed *through* DataFusion, for example for a damaged index file that a running plan found.

use datafusion::error::DataFusionError;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why something cannot be done, as text for the user.
pub(crate) type Reason = String;

/// An error of a definition, a build or a query.
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
    /// The source of a table cannot be read, or differs from its definition.
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
    /// A build broke a conservation law. Its result is wrong and must not be published.
    #[error(
        "{what} is wrong: {quantity}: expected {expected}, found {found}; this is a fault of the build, not of the data: restart the job, and report it if it happens again"
    )]
    NotConserved {
        /// The flat table, or the index.
        what: String,
        /// The quantity that changed.
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
        /// The path, and what is wrong with the file.
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
    /// A running query or build failed.
    #[error("{0}")]
    Execution(String),
    /// The query or the build needs more memory than allowed.
    #[error("not enough memory (kirin.query.memory-limit): {0}")]
    Memory(String),
    /// A query exceeded its timeout.
    #[error("the query took longer than {} s and was ended; narrow it, build an index for it, or raise kylin.query.timeout-seconds", *millis as f64 / 1000.0)]
    Timeout {
        /// The timeout.
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

    /// Wraps this error so that it can pass through DataFusion.
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
