//! Submits: accepting jobs and reserving their ranges.

use std::collections::BTreeMap;

use kirin_core::ask::{Epoch, JobId, JobRow, Priority, ProjectId};
use kirin_core::{Capabilities, JobState, NodeId};
use uuid::Uuid;

use crate::clock::wall_ms;
use crate::commit::spelled;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::job::{job_row, state_number};
use crate::segment::NewSegment;
use crate::wire::{Dialect, Table, args};

/// The maximum length of a name in characters.
const NAME_MAX: usize = 180;

/// The maximum size of a specification in bytes: that of MySQL's MEDIUMTEXT.
const BODY_MAX: usize = (1 << 24) - 1;

/// A job to submit: the part that the contract uses, and details for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The idempotency key, and the job's public name as a UUID.
    pub key: u128,
    /// The project.
    pub project: ProjectId,
    /// The priority.
    pub priority: Priority,
    /// The node on whose queue it is placed.
    pub placed: Option<NodeId>,
    /// Whether its attempts have side effects that the metastore cannot refuse.
    pub external: bool,
    /// The capabilities that a node needs to take it.
    pub needs: Capabilities,
    /// The kind of job, for example `INDEX_BUILD`.
    pub kind: String,
    /// The subject, for example the model's name.
    pub subject: String,
    /// The user that submits it.
    pub submitter: String,
    /// The specification, as JSON for the executor.
    pub spec: String,
    /// The ranges to reserve.
    pub segments: Vec<NewSegment>,
}

/// The result of a submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The job is accepted; `fresh` is false if the key was known.
    Accepted {
        /// The job.
        row: JobRow,
        /// Whether this request created it.
        fresh: bool,
    },
    /// The project does not exist.
    NoProject,
    /// A range overlaps with this segment.
    Overlaps(Uuid),
    /// The reply was lost, so the job may have been accepted. Submit it again with the same key.
    Unknown,
}

impl NewJob {
    /// A job with only the part that the contract uses.
    pub fn new(project: ProjectId, key: u128) -> Self {
        Self {
            key,
            project,
            priority: Priority(3),
            placed: None,
            external: false,
            needs: Capabilities::NONE,
            kind: String::new(),
            subject: String::new(),
            submitter: String::new(),
            spec: "{}".to_owned(),
            segments: Vec::new(),
        }
    }

    /// Refuses texts that do not fit their columns, equally on every database. MySQL would truncate, PostgreSQL cannot
    /// store NUL.
    pub(crate) fn checked(&self) -> Result<(), StoreError> {
        for (name, text) in [("kind", &self.kind), ("subject", &self.subject), ("submitter", &self.submitter)] {
            let chars = text.chars().count();
            if chars > NAME_MAX {
                return Err(StoreError::Refused(format!(
                    "the {name} has {chars} characters; the maximum is {NAME_MAX}"
                )));
            }
            if text.contains('\0') {
                return Err(StoreError::Refused(format!("the {name} contains a NUL character")));
            }
        }
        if self.spec.len() > BODY_MAX {
            return Err(StoreError::TooLarge { bytes: self.spec.len(), limit: BODY_MAX });
        }
        Ok(())
    }

    const fn state(&self) -> JobState {
        if self.placed.is_some() { JobState::Pending } else { JobState::Ready }
    }

    const fn row(&self, id: JobId) -> JobRow {
        JobRow {
            id,
            project: self.project,
            priority: self.priority,
            state: self.state(),
            epoch: Epoch(0),
            holder: None,
            placed: self.placed,
            steps: 0,
            external: self.external,
            needs: self.needs,
        }
    }
}

/// A batch of submits. A submit that reserves ranges is alone.
pub(crate) struct Submits<'a>(pub(crate) &'a [NewJob]);

impl Work for Submits<'_> {
    type Out = Vec<Submitted>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Submitted>, Fault> {
        let reserves = self.0.iter().any(|job| !job.segments.is_empty());
        let mut made = if reserves || connection.dialect() != Dialect::Postgres {
            connection.begin().await?;
            if let Some(overlap) = self.lock_ranges(connection).await? {
                // Unless the same submit reserved the ranges before.
                let known = known(connection, self.0).await?;
                return Ok(self
                    .0
                    .iter()
                    .map(|job| first_time(&known, job).unwrap_or(Submitted::Overlaps(overlap)))
                    .collect());
            }
            let made = insert(connection, self.0).await?;
            for job in self.0.iter().filter(|job| made.contains_key(&job.key)) {
                reserve(connection, job).await?;
            }
            connection.commit().await?;
            made
        } else {
            let rows = connection.alone_rows(|sql| &sql.submit, args![table(self.0)]).await?;
            let mut made = BTreeMap::new();
            for row in rows {
                made.insert(key(&row.string(1)?)?, JobId(row.num(0)?));
            }
            made
        };
        if made.len() == self.0.len() {
            return Ok(self.0.iter().map(|job| accepted(job, made[&job.key])).collect());
        }
        // The other jobs existed before, or their project does not exist.
        if made.is_empty() {
            connection.nothing_committed();
        }
        let known = known(connection, self.0).await?;
        let answers = self.0.iter().map(|job| match made.remove(&job.key) {
            Some(id) => accepted(job, id),
            None => first_time(&known, job).unwrap_or(Submitted::NoProject),
        });
        Ok(answers.collect())
    }
}

impl Submits<'_> {
    /// Keeps the projects from being dropped. With ranges, also excludes other reservations and searches for an overlap.
    async fn lock_ranges(&self, connection: &mut Connection) -> Result<Option<Uuid>, Fault> {
        let mut projects: Vec<i64> = self.0.iter().map(|job| i64::from(job.project.0)).collect();
        projects.sort_unstable();
        projects.dedup();
        let [NewJob { segments, .. }] = self.0 else {
            if connection.dialect() == Dialect::MySql {
                connection.rows(|sql| &sql.project_share, args![Table::default().ints(projects)]).await?;
            }
            return Ok(None);
        };
        if segments.is_empty() {
            if connection.dialect() == Dialect::MySql {
                connection.rows(|sql| &sql.project_share, args![Table::default().ints(projects)]).await?;
            }
            return Ok(None);
        }
        for (at, segment) in segments.iter().enumerate() {
            if segments[..at].iter().any(|other| other.overlaps(segment)) {
                return Ok(Some(segment.id));
            }
        }
        connection.rows(|sql| &sql.project_lock, args![Table::default().ints(projects.iter().copied())]).await?;
        let ranges = Table::default()
            .texts(segments.iter().map(|segment| segment.model.clone()))
            .ints(segments.iter().map(|segment| segment.start_ms))
            .ints(segments.iter().map(|segment| segment.end_ms));
        let rows = connection.rows(|sql| &sql.segment_overlap, args![ranges, projects[0]]).await?;
        rows.first().map(|row| Ok(uuid(&row.string(0)?)?)).transpose()
    }
}

fn table(jobs: &[NewJob]) -> Table {
    let now = wall_ms();
    Table::default()
        .texts(jobs.iter().map(|job| spelled(job.key)))
        .ints(jobs.iter().map(|job| i64::from(job.project.0)))
        .ints(jobs.iter().map(|job| i64::from(job.priority.0)))
        .ints(jobs.iter().map(|job| job.placed.map(|node| i64::from(node.0))))
        .ints(jobs.iter().map(|job| i64::from(job.external)))
        .ints(jobs.iter().map(|job| i64::from(job.needs.0)))
        .ints(jobs.iter().map(|job| state_number(job.state())))
        .ints(jobs.iter().map(|_| now))
        .texts(jobs.iter().map(|job| job.kind.clone()))
        .texts(jobs.iter().map(|job| job.subject.clone()))
        .texts(jobs.iter().map(|job| job.submitter.clone()))
        .texts(jobs.iter().map(|job| job.spec.clone()))
}

/// Inserts the jobs that do not exist, inside the caller's transaction. Returns the inserted jobs.
async fn insert(connection: &mut Connection, jobs: &[NewJob]) -> Result<BTreeMap<u128, JobId>, Fault> {
    let mut made = BTreeMap::new();
    if connection.dialect() != Dialect::MySql {
        for row in connection.rows(|sql| &sql.submit, args![table(jobs)]).await? {
            made.insert(key(&row.string(1)?)?, JobId(row.num(0)?));
        }
        return Ok(made);
    }
    // MySQL does not report which rows it inserted. Usually it inserts all; otherwise they are inserted one by one.
    let mut rest = jobs;
    let mut count = connection.run(|sql| &sql.submit, args![table(jobs)]).await?;
    if count != jobs.len() as u64 && jobs.len() > 1 {
        connection.rollback().await?;
        connection.begin().await?;
        connection
            .rows(
                |sql| &sql.project_share,
                args![Table::default().ints(jobs.iter().map(|job| i64::from(job.project.0)))],
            )
            .await?;
        let mut fresh = Vec::new();
        for job in jobs {
            if connection.run(|sql| &sql.submit, args![table(std::slice::from_ref(job))]).await? > 0 {
                fresh.push(job.clone());
            }
        }
        for (key, row) in known(connection, &fresh).await? {
            made.insert(key, row.id);
        }
        return Ok(made);
    }
    if count == 0 {
        rest = &[];
        count = 0;
    }
    let known = known(connection, rest).await?;
    debug_assert_eq!(known.len() as u64, count);
    for (key, row) in known {
        made.insert(key, row.id);
    }
    Ok(made)
}

async fn reserve(connection: &mut Connection, job: &NewJob) -> Result<(), Fault> {
    if job.segments.is_empty() {
        return Ok(());
    }
    let now = wall_ms();
    let table = Table::default()
        .texts(job.segments.iter().map(|segment| segment.id.to_string()))
        .ints(job.segments.iter().map(|_| i64::from(job.project.0)))
        .texts(job.segments.iter().map(|segment| segment.model.clone()))
        .ints(job.segments.iter().map(|segment| segment.start_ms))
        .ints(job.segments.iter().map(|segment| segment.end_ms))
        .texts(job.segments.iter().map(|_| spelled(job.key)))
        .ints(job.segments.iter().map(|_| now));
    connection.run(|sql| &sql.segment_add, args![table]).await?;
    Ok(())
}

/// The existing jobs with these keys.
async fn known(connection: &mut Connection, jobs: &[NewJob]) -> Result<BTreeMap<u128, JobRow>, Fault> {
    let mut known = BTreeMap::new();
    if jobs.is_empty() {
        return Ok(known);
    }
    let keys = Table::default().texts(jobs.iter().map(|job| spelled(job.key)));
    for row in connection.rows(|sql| &sql.jobs_by_uuid, args![keys]).await? {
        known.insert(key(&row.string(11)?)?, job_row(&row)?);
    }
    Ok(known)
}

fn accepted(job: &NewJob, id: JobId) -> Submitted {
    Submitted::Accepted { row: job.row(id), fresh: true }
}

fn first_time(known: &BTreeMap<u128, JobRow>, job: &NewJob) -> Option<Submitted> {
    known.get(&job.key).map(|row| Submitted::Accepted { row: *row, fresh: false })
}

fn key(text: &str) -> Result<u128, StoreError> {
    Ok(uuid(text)?.as_u128())
}

pub(crate) fn uuid(text: &str) -> Result<Uuid, StoreError> {
    Uuid::parse_str(text).map_err(|_| StoreError::Corrupt(format!("not a UUID: {text:?}")))
}

/// Truncates a name to the size of its column.
pub(crate) fn short(text: &str) -> String {
    printable(text, NAME_MAX)
}

/// Truncates a text for users and replaces NUL, which PostgreSQL cannot store.
pub(crate) fn printable(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c == '\0' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
