//! Errors of use cases: the facts, and a message for users.
//!
//! HTTP statuses, Kylin's error codes and advice for the users of an interface are not part of this module. The API
//! adds them in one place.

use std::fmt;

use kirin_core::{Action, JobState};
use kirin_executor::OwnEndpoint;
use kirin_metastore::StoreError;
use kirin_wire::LAST_PRIORITY;
use uuid::Uuid;

use crate::jobs::Status;

/// The result of a use case.
pub type Result<T> = std::result::Result<T, Error>;

/// The kind of a named object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A project.
    Project,
    /// A table.
    Table,
    /// A model.
    Model,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "project",
            Self::Table => "table",
            Self::Model => "model",
        })
    }
}

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- projects, tables, models ---
    /// The name is not usable in paths, tables and queries.
    #[error(
        "the {of}'s name is '{name}'; allowed are 1 to 100 letters, digits, '_' and '-', starting with a letter or digit"
    )]
    Name {
        /// The kind of object.
        of: Thing,
        /// The name.
        name: String,
    },
    /// The project does not exist.
    #[error("there is no project '{0}'")]
    NoProject(String),
    /// A project with this name exists.
    #[error("project '{0}' already exists")]
    ProjectExists(String),
    /// The project is not empty.
    #[error("project '{0}' still has tables, models or open jobs")]
    ProjectInUse(String),
    /// The project does not have this table or model.
    #[error("there is no {what} '{name}' in project '{project}'")]
    NoDefinition {
        /// A table or a model.
        what: Thing,
        /// Its name.
        name: String,
        /// The project.
        project: String,
    },
    /// The project does not have this model, or the model is not usable.
    #[error("there is no model '{0}'")]
    NoModel(String),
    /// A table or model with this name exists.
    #[error("{what} '{name}' already exists")]
    DefinitionExists {
        /// A table or a model.
        what: Thing,
        /// Its name.
        name: String,
    },
    /// A model uses the table.
    #[error("table '{table}' is used by model '{model}'")]
    TableInUse {
        /// The table.
        table: String,
        /// The model.
        model: String,
    },
    /// A local source is outside the configured roots.
    #[error("{0}")]
    OutsideRoots(String),
    /// The location does not determine the format of its files.
    #[error("the file names of {0} do not determine their format")]
    UnknownFormat(String),
    /// The location contains files of several formats.
    #[error("{0} contains both Parquet and CSV files")]
    SeveralFormats(String),
    /// The location contains no file of a supported format.
    #[error("{0} is neither a .parquet, .csv or .tsv file nor a directory that contains one")]
    NoFiles(String),
    /// The location does not exist.
    #[error("there is no such file or directory: {0}")]
    NoSuchFile(String),
    /// A type is declared for a column that the source does not have.
    #[error("there is no column '{0}' in the source")]
    NoColumn(String),
    /// A table, model or range is invalid, or its source cannot be read.
    #[error("{0}")]
    Invalid(#[source] kirin_olap::Error),
    /// The object changed between read and write.
    #[error("another request changed it at the same time; try again")]
    Changed,

    // --- segments ---
    /// The range has only a start or only an end.
    #[error("give both start and end, or neither to build everything")]
    HalfRange,
    /// A range was given for a model without a partition column.
    #[error("model '{0}' has no partition column, so only everything can be built")]
    NoPartition(String),
    /// No id or name of a segment is given.
    #[error("no segments are given")]
    NoSegmentNamed,
    /// The model lacks one of the given segments.
    #[error("model '{model}' does not have this segment")]
    NoSegment {
        /// The model.
        model: String,
    },
    /// A job builds the segment.
    #[error("segment {0} is being built")]
    SegmentBusy(Uuid),
    /// The range overlaps another segment of the model.
    #[error("the range overlaps segment {0}, which exists or is being built")]
    Overlap(Uuid),
    /// The manifest of the segment does not parse.
    #[error("the manifest of segment {segment} cannot be read ({why}); refresh the segment")]
    DamagedSegment {
        /// The segment.
        segment: Uuid,
        /// The parser's error.
        why: serde_json::Error,
    },

    // --- jobs ---
    /// The kind or specification of a job is refused, with the executor's message.
    #[error("{0}")]
    Spec(String),
    /// Jobs of this kind have another endpoint.
    #[error("{}", .0.what)]
    SubmittedElsewhere(OwnEndpoint),
    /// The priority is out of range.
    #[error("priority is {0}; allowed are 0 (first) to {LAST_PRIORITY} (last)")]
    Priority(u8),
    /// The job does not exist.
    #[error("there is no job '{0}'")]
    NoJob(String),
    /// The job does not have the step.
    #[error("the job has no step '{step}'")]
    NoStep {
        /// The job.
        job: Uuid,
        /// The requested step.
        step: String,
        /// The number of its steps.
        steps: u32,
    },
    /// `force` applies only to DISCARD of named jobs.
    #[error("force is allowed only with DISCARD of the jobs in job_ids")]
    Force,
    /// The action is not possible for some jobs. It was applied to the others.
    #[error("cannot {} job {job}: {why}{}", .action.name(), and_more(*.more))]
    WrongState {
        /// The action.
        action: Action,
        /// The first of the jobs.
        job: Uuid,
        /// Why it is not possible for this job.
        why: Refusal,
        /// The number of other jobs for which it is not possible.
        more: usize,
    },

    // --- queries ---
    /// A query failed, or a catalog cannot be opened.
    #[error(transparent)]
    Olap(#[from] kirin_olap::Error),

    // --- cluster ---
    /// The cluster has no such node.
    #[error("there is no node '{0}' in the cluster")]
    NoNode(String),
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,

    // --- the metastore and this node ---
    /// The metastore did not respond, or refused the request.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metastore's reply was lost, so it is unknown whether the request was executed.
    #[error("{0}")]
    Unconfirmed(Unconfirmed),
    /// An internal failure of this node.
    #[error("{0}")]
    Internal(String),
}

/// The request that the metastore did not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// The reply to a submit was lost.
    Submit,
    /// A change.
    Change,
    /// An action on a job.
    Action,
    /// A job's row was read.
    Read,
}

impl fmt::Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Submit => "the metastore's reply was lost; the job may have been accepted",
            Self::Change => "the metastore's reply was lost; the change may have been made",
            Self::Action => "the metastore's reply was lost; the action may have been executed",
            Self::Read => "cannot read the job",
        })
    }
}

/// Why an action is not possible for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its row in the metastore cannot be read, for this reason.
    Broken(String),
    /// Its state does not allow it.
    State(JobState),
    /// It no longer exists.
    Gone,
    /// It changed during every try.
    Unsteady,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => {
                write!(f, "its row in the metastore is damaged ({why}); only `discard --force` is possible")
            }
            Self::State(state) => write!(f, "it is in {} status", Status::of(*state, false).as_str()),
            Self::Gone => f.write_str("it no longer exists"),
            Self::Unsteady => f.write_str("it changed repeatedly during the request; try again"),
        }
    }
}

fn and_more(more: usize) -> String {
    if more > 0 { format!(" (and {more} more)") } else { String::new() }
}

impl Error {
    /// A failure of this node.
    pub(crate) fn internal(error: impl fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }
}
