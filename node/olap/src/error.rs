//! The error type of this crate: what went wrong, where, and what to do.
//!
//! Errors of DataFusion are converted to text here, so that no other crate names its types. [`Error::from`] restores an
//! error of this crate that passed *through* DataFusion, for example for a damaged index file that a running plan found.

use datafusion::common::{Column, SchemaError};
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
    #[error("No realization found: no index answers this query, and push-down is off.{}", lines(reasons))]
    NoRealization {
        /// One line per index that was considered.
        reasons: Vec<String>,
    },
    /// A partial answer is not accepted, segments lack rows of the query, and push-down is off.
    #[error(
        "a complete answer is not possible: not all rows of the query are built, and push-down is off.{}",
        lines(reasons)
    )]
    Incomplete {
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

fn lines(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("\n  - {reason}")).collect()
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
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Diagnostic(..) => return Error::Sql(mistake(error.find_root())),
            DataFusionError::ResourcesExhausted(why) => {
                return Error::Memory(why.clone());
            }
            _ => {}
        }
        Error::Execution(error.strip_backtrace())
    }
}

/// What is wrong with a query, without the words that only the engine uses.
fn mistake(error: &DataFusionError) -> String {
    match error {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => no_column(field, valid_fields),
            SchemaError::AmbiguousReference { field } => {
                format!("column '{0}' is ambiguous; write it with its table, as in table.{0}", field.name)
            }
            other => plain(&other.to_string()),
        },
        DataFusionError::NotImplemented(text) => format!("not supported: {}", plain(text)),
        DataFusionError::SQL(error, _) => format!("cannot parse the query: {error}"),
        other => plain(&other.message()),
    }
}

fn plain(text: &str) -> String {
    let text = text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    text.replace(QUALIFIER, "")
}

fn no_column(field: &Column, known: &[Column]) -> String {
    let table = |column: &Column| column.relation.as_ref().map(|relation| relation.table().to_owned());
    let mut tables: Vec<String> = known.iter().filter_map(table).collect();
    tables.dedup();
    if let Some(wanted) = table(field).filter(|wanted| !tables.is_empty() && !tables.contains(wanted)) {
        let meant = meant(&wanted, &tables, "tables and aliases");
        return format!("column '{wanted}.{}' names no table or alias of the query{meant}", field.name);
    }
    let same_table = known.iter().filter(|column| field.relation.is_none() || table(column) == table(field));
    let mut names: Vec<String> = same_table.map(|column| column.name.clone()).collect();
    names.sort();
    names.dedup();
    let whole = table(field).map_or_else(String::new, |table| format!("{table}."));
    format!("there is no column '{whole}{}'{}", field.name, meant(&field.name, &names, "columns"))
}

/// The end of a message about an unknown name: the nearest known one, else a few known ones.
pub(crate) fn meant(unknown: &str, known: &[String], kind: &str) -> String {
    let score = |name: &String| strsim::normalized_damerau_levenshtein(&unknown.to_lowercase(), &name.to_lowercase());
    let nearest = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    match nearest {
        None => String::new(),
        Some(name) if score(name) >= LIKE => format!("; did you mean '{name}'?"),
        Some(_) => {
            let more = if known.len() > KNOWN_MAX { ", …" } else { "" };
            let some: Vec<_> = known.iter().take(KNOWN_MAX).map(String::as_str).collect();
            format!("; {kind}: {}{more}", some.join(", "))
        }
    }
}

/// How the engine qualifies the names of tables: its catalog and the default schema.
const QUALIFIER: &str = "kirin.default.";
/// The similarity from which one name is probably meant by another.
const LIKE: f64 = 0.6;
/// The most known names in a message.
const KNOWN_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_without_the_engines_qualifier() {
        assert_eq!(QUALIFIER, format!("{}.{}.", crate::engine::CATALOG, crate::table::DEFAULT_SCHEMA));
        let error = Error::from(DataFusionError::Plan("wrong in kirin.default.sales".into()));
        assert_eq!(error.to_string(), "wrong in sales");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_or_with_the_known_names() {
        let known = ["region".to_owned(), "units".to_owned()];
        assert_eq!(meant("Regoin", &known, "columns"), "; did you mean 'region'?");
        assert_eq!(meant("zzz", &known, "columns"), "; columns: region, units");
        assert_eq!(meant("zzz", &[], "columns"), "");
        let many: Vec<String> = (0..20).map(|i| format!("c{i}")).collect();
        assert!(meant("zzz", &many, "columns").ends_with("c11, …"));
    }
}
