//! What can go wrong in a use case: the facts, and a text for people.
//!
//! Not here: HTTP statuses, Kylin's error codes, and advice to the user of one interface or another. The API adds them, in
//! one place.

use std::fmt;

use kirin_core::{Action, JobState};
use kirin_executor::OwnEndpoint;
use kirin_metastore::StoreError;
use kirin_wire::LAST_PRIORITY;
use uuid::Uuid;

use crate::jobs::Status;

/// The answer of a use case.
pub type Result<T> = std::result::Result<T, Error>;

/// What a name belongs to.
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

/// Why a use case did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    // --- projects, tables, models ---
    /// The name cannot stand in a path, a table and a query.
    #[error(
        "the {of}'s name is '{name}'; allowed are 1 to 100 letters, digits, '_' and '-', beginning with a letter or digit"
    )]
    Name {
        /// What is named.
        of: Thing,
        /// The name.
        name: String,
    },
    /// The project does not exist.
    #[error("there is no project '{0}'")]
    NoProject(String),
    /// A project of that name exists.
    #[error("there is a project '{0}' already")]
    ProjectExists(String),
    /// Something is left in the project.
    #[error("project '{0}' still has tables, models or open jobs")]
    ProjectInUse(String),
    /// The project has no such table or model.
    #[error("there is no {what} '{name}' in project '{project}'")]
    NoDefinition {
        /// A table or a model.
        what: Thing,
        /// Its name.
        name: String,
        /// The project.
        project: String,
    },
    /// The project has no such model that can be used.
    #[error("there is no model '{0}'")]
    NoModel(String),
    /// A table or model of that name exists.
    #[error("there is a {what} '{name}' already")]
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
    /// A local source lies outside the configured roots.
    #[error("{0}")]
    OutsideRoots(String),
    /// The location does not tell in which format its files are.
    #[error("{0} does not say what its files are")]
    UnknownFormat(String),
    /// The location holds files of several formats.
    #[error("{0} holds both Parquet and CSV files")]
    SeveralFormats(String),
    /// The location holds no file that a table can be over.
    #[error("{0} is not a .parquet, .csv or .tsv file, nor a directory with any")]
    NoFiles(String),
    /// A type is declared for a column that the source does not have.
    #[error("there is no column '{0}' in the source")]
    NoColumn(String),
    /// A table, model or range is not well defined, or its source cannot be read.
    #[error("{0}")]
    Invalid(#[source] kirin_olap::Error),
    /// It changed between being read and being written.
    #[error("it changed meanwhile; try again")]
    Changed,

    // --- segments ---
    /// One end of a range is given without the other.
    #[error("give both start and end, or neither for everything")]
    HalfRange,
    /// A part of a model is to be built that has no partition column.
    #[error("model '{0}' has no partition column, so it is built as a whole")]
    NoPartition(String),
    /// Neither an id nor a name of a segment is given.
    #[error("no segment is named")]
    NoSegmentNamed,
    /// The model lacks one of the segments that are named.
    #[error("model '{model}' has no such segment")]
    NoSegment {
        /// The model.
        model: String,
    },
    /// The segment is being built.
    #[error("segment {0} is being built")]
    SegmentBusy(Uuid),
    /// The range overlaps another segment of the model.
    #[error("the range overlaps a segment that exists or is being built")]
    Overlap,
    /// The manifest of the segment does not parse.
    #[error("the manifest of segment {segment} cannot be read ({why}); refresh the segment")]
    DamagedSegment {
        /// The segment.
        segment: Uuid,
        /// Where it does not parse.
        why: serde_json::Error,
    },

    // --- jobs ---
    /// The kind or the specification of a job is refused, with this text of its executor.
    #[error("{0}")]
    Spec(String),
    /// Jobs of this kind are submitted elsewhere.
    #[error("{}", .0.what)]
    SubmittedElsewhere(OwnEndpoint),
    /// There is no such priority.
    #[error("priority is {0}, allowed is 0 (first) to {LAST_PRIORITY} (last)")]
    Priority(u8),
    /// The job does not exist.
    #[error("there is no job '{0}'")]
    NoJob(String),
    /// The job does not have the step.
    #[error("the job has no step '{step}'")]
    NoStep {
        /// The job.
        job: Uuid,
        /// The step that was asked for.
        step: String,
        /// How many steps it has.
        steps: u32,
    },
    /// Force is for discarding jobs that are named, and for nothing else.
    #[error("force goes with DISCARD of the jobs in job_ids")]
    Force,
    /// The action is not possible for some jobs. The others are done.
    #[error("can't {} job {job}, {why}{}", .action.name(), and_more(*.more))]
    WrongState {
        /// The action.
        action: Action,
        /// The first of the jobs.
        job: Uuid,
        /// Why it is not possible for that job.
        why: Refusal,
        /// How many other jobs it is not possible for.
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
    /// The metastore did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The metastore's reply did not come, so it is not known whether that took place.
    #[error("{0}")]
    Unconfirmed(Unconfirmed),
    /// This node failed in a way that no request can do anything about.
    #[error("{0}")]
    Internal(String),
}

/// What the metastore did not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconfirmed {
    /// The reply to a submit was lost.
    Submit,
    /// A submit was not accepted.
    Accepted,
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
            Self::Submit => "the metastore's reply was lost: the job may or may not be accepted",
            Self::Accepted => "the job was not accepted",
            Self::Change => "the change may or may not have taken place",
            Self::Action => "the action may or may not have taken place",
            Self::Read => "the job can't be read",
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
    /// It does not exist any more.
    Gone,
    /// It changed whenever it was tried.
    Unsteady,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => {
                write!(f, "as its row in the metastore is broken ({why}); only `discard --force` is possible")
            }
            Self::State(state) => write!(f, "as it is in {} status", Status::of(*state, false).as_str()),
            Self::Gone => f.write_str("as it is gone"),
            Self::Unsteady => f.write_str("as it changes all the time; try again"),
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
