//! Jobs for users: pages, one job with its steps and attempts, progress. Also the parsing of a job's row.

use std::collections::BTreeMap;

use kirin_core::ask::{Epoch, Fence, JobId, JobRow, Priority, ProjectId};
use kirin_core::{Capabilities, JobState, Member, MemberState, NodeId, Role};
use uuid::Uuid;

use crate::beat::{holder, member, member_state, role};
use crate::clock::wall_ms;
use crate::commit::DiscardByForce;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::submit::uuid;
use crate::wire::{Arg, Dialect, Row, Table, args};

/// A job with the details that users see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The part that the contract uses.
    pub row: JobRow,
    /// The error, if the row does not parse. Then `row` is a placeholder, and no node sees the job. It can be
    /// [discarded by force](Store::discard_by_force).
    pub broken: Option<String>,
    /// Its public name.
    pub uuid: Uuid,
    /// The kind of job.
    pub kind: String,
    /// The job's subject.
    pub subject: String,
    /// The user that submitted it.
    pub submitter: String,
    /// The specification, as JSON for the executor.
    pub spec: String,
    /// The progress of the current attempt, as reported by its executor.
    pub progress: Option<String>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// The job's result, as JSON.
    pub result: Option<String>,
    /// When it was accepted.
    pub created_ms: i64,
    /// When its first attempt started.
    pub started_ms: Option<i64>,
    /// When its last attempt ended, finally or with an error.
    pub ended_ms: Option<i64>,
    /// When the job last changed.
    pub changed_ms: i64,
    /// The node of its last attempt, if that has ended.
    pub last_node: Option<NodeId>,
}

/// A filter for a page of jobs. The default is the ten oldest of all jobs.
#[derive(Clone, Debug)]
pub struct JobFilter {
    /// Only jobs of this project.
    pub project: Option<ProjectId>,
    /// Only jobs in these states; empty for all.
    pub states: Vec<JobState>,
    /// Only jobs of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Only jobs with exactly this subject.
    pub subject: Option<String>,
    /// Only jobs with this public name, or with this text in the subject.
    pub key: Option<String>,
    /// Only jobs accepted at or after this time.
    pub created_from_ms: Option<i64>,
    /// Only jobs accepted before this time.
    pub created_until_ms: Option<i64>,
    /// The order.
    pub sort: JobSort,
    /// Whether the order is reversed.
    pub reverse: bool,
    /// The number of jobs to skip.
    pub offset: u64,
    /// The maximum number of jobs to return.
    pub limit: u64,
}

/// The sort key of a page of jobs. Jobs with equal keys are sorted by acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobSort {
    /// By acceptance.
    #[default]
    Created,
    /// By the last change.
    Changed,
    /// By kind.
    Kind,
    /// By subject.
    Subject,
    /// By project.
    Project,
    /// By state, in the order of a job's life cycle.
    State,
    /// By the time from the start of the first attempt to the last change or end.
    Duration,
}

/// The load of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs that it runs.
    pub running: u64,
    /// Jobs that wait in its queue.
    pub waiting: u64,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs of this page.
    pub jobs: Vec<JobInfo>,
    /// The number of jobs on all pages.
    pub total: u64,
}

/// A committed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Its number, from 0.
    pub index: u32,
    /// The epoch under which it was committed.
    pub epoch: Epoch,
    /// The node that committed it.
    pub node: NodeId,
    /// When it started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Its name.
    pub name: String,
    /// Its result, as JSON.
    pub result: Option<String>,
}

/// An attempt at a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptInfo {
    /// Its epoch.
    pub epoch: Epoch,
    /// The member that made it.
    pub by: Member,
    /// The number of steps that were committed before it.
    pub from_step: u32,
    /// When it started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How it ended; `None` while it runs.
    pub end: Option<AttemptEnd>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// All steps are committed and the result is published.
    Succeeded,
    /// A step failed.
    Failed,
    /// The job's target no longer exists.
    Vanished,
    /// Its holder released the job.
    Released,
    /// Its holder died, and an heir took the job over.
    TakenOver,
    /// Its holder died after a user stopped the job.
    Lost,
}

/// A member with the details that users and other nodes see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The member.
    pub member: Member,
    /// The node's name.
    pub name: String,
    /// Its state in the metastore.
    pub state: MemberState,
    /// Its role.
    pub role: Role,
    /// The number of attempts that it can run at once.
    pub slots: u32,
    /// The kinds of jobs that it can run.
    pub can: Capabilities,
    /// The token that it wrote into the working directory, where the other nodes look for it.
    pub token: Option<String>,
    /// The problem with its working directory.
    pub trouble: Option<String>,
    /// The address for links from other nodes.
    pub link: String,
    /// The address for clients.
    pub http: String,
    /// The version of its program.
    pub version: String,
    /// When it joined.
    pub joined_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// The member that ended it: itself, its next incarnation, or the member that fenced it.
    pub ended_by: Option<Member>,
    /// The evidence of its end.
    pub evidence: Option<String>,
}

impl Default for JobFilter {
    fn default() -> Self {
        Self {
            project: None,
            states: Vec::new(),
            kinds: Vec::new(),
            subject: None,
            key: None,
            created_from_ms: None,
            created_until_ms: None,
            sort: JobSort::Created,
            reverse: false,
            offset: 0,
            limit: 10,
        }
    }
}

impl JobFilter {
    /// Whether [`crate::finished_counts`] can answer it.
    fn is_kept_count(&self) -> bool {
        let Self { kinds, subject, key, created_from_ms, created_until_ms, .. } = self;
        kinds.is_empty()
            && subject.is_none()
            && key.is_none()
            && created_from_ms.is_none()
            && created_until_ms.is_none()
    }
}

impl AttemptEnd {
    /// The number in its row.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Succeeded => 0,
            Self::Failed => 1,
            Self::Vanished => 2,
            Self::Released => 3,
            Self::TakenOver => 4,
            Self::Lost => 5,
        }
    }

    /// The name for users.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Vanished => "vanished",
            Self::Released => "released",
            Self::TakenOver => "taken over",
            Self::Lost => "lost",
        }
    }

    fn from_number(number: i64) -> Result<Option<Self>, StoreError> {
        Ok(Some(match number {
            -1 => return Ok(None),
            0 => Self::Succeeded,
            1 => Self::Failed,
            2 => Self::Vanished,
            3 => Self::Released,
            4 => Self::TakenOver,
            5 => Self::Lost,
            _ => return Err(StoreError::Corrupt(format!("attempt outcome {number}"))),
        }))
    }
}

impl Store {
    /// A page of jobs.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<JobPage, StoreError> {
        let (wheres, mut args) = conditions(filter, self.dialect());
        // Finished and open jobs have separate indexes.
        let parts: Vec<&str> = [(OVER, true), (OPEN, false)]
            .into_iter()
            .filter(|(_, over)| filter.states.is_empty() || filter.states.iter().any(|s| s.is_final() == *over))
            .map(|(part, _)| part)
            .collect();
        let mut total = 0;
        for part in &parts {
            let count = if *part == OVER && filter.is_kept_count() {
                format!("SELECT CAST(COALESCE(SUM(j.jobs), 0) AS {{whole}}) FROM {{p}}_over AS j WHERE {wheres}")
            } else {
                format!("SELECT COUNT(*) FROM {{p}}_job AS j WHERE {part} AND {wheres}")
            };
            let rows = self.read_of(&self.once(&count), &args).await?;
            total += rows.first().map(|row| row.num::<u64>(0)).transpose()?.unwrap_or(0);
        }
        let turn = if filter.reverse { " DESC" } else { "" };
        let (limit, offset) = (filter.limit.min(10_000), filter.offset.min(i64::MAX.cast_unsigned() - 10_000));
        args.extend([limit, offset].map(|number| Arg::from(number.cast_signed())));
        let window = format!("LIMIT ${} OFFSET ${}", args.len() - 1, args.len());
        let sort = match filter.sort {
            JobSort::Created if parts != [OPEN] => "",
            JobSort::Created | JobSort::Changed => {
                args.push((limit + offset).cast_signed().into());
                let page = merged(&parts, &wheres, filter.sort, turn, &window, args.len());
                let jobs =
                    self.read_of(&self.once(&page), &args).await?.iter().map(job_info).collect::<Result<_, _>>()?;
                return Ok(JobPage { jobs, total });
            }
            JobSort::Kind => "j.kind",
            JobSort::Subject => "j.subject",
            JobSort::Project => "j.project",
            JobSort::State => "j.state",
            JobSort::Duration => "COALESCE(j.ended_ms, j.changed_ms) - COALESCE(j.started_ms, j.created_ms)",
        };
        let only = if let [part] = parts[..] { part } else { "1 = 1" };
        let order = if sort.is_empty() { format!("j.id{turn}") } else { format!("{sort}{turn}, j.id{turn}") };
        let page = self.once(&format!("{JOB_INFO} WHERE {only} AND {wheres} ORDER BY {order} {window}"));
        let jobs = self.read_of(&page, &args).await?.iter().map(job_info).collect::<Result<_, _>>()?;
        Ok(JobPage { jobs, total })
    }

    /// The number of jobs that each node runs and has in its queue.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn loads(&self) -> Result<BTreeMap<NodeId, Load>, StoreError> {
        // An index-only read.
        let rows = self.read_afresh(|sql| &sql.loads, &[]).await?;
        // A queue without a node belongs to jobs whose row does not parse.
        let rows = rows.iter().filter(|row| row.num::<u32>(0).is_ok());
        rows.map(|row| Ok((NodeId(row.num(0)?), Load { running: row.num(1)?, waiting: row.num(2)? }))).collect()
    }

    /// One job by its number.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn job(&self, id: JobId) -> Result<Option<JobInfo>, StoreError> {
        let one = self.once(&format!("{JOB_INFO} WHERE j.id = $1"));
        self.read_of(&one, args![id.0.cast_signed()]).await?.first().map(job_info).transpose()
    }

    /// The existing jobs among `ids`, in no particular order, with one query.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobInfo>, StoreError> {
        let these = self.once(&format!("{JOB_INFO} WHERE j.id IN (SELECT q.job FROM {{rows $1 q(job int)}})"));
        let ids = Table::default().ints(ids.iter().map(|id| id.0.cast_signed()));
        self.read_of(&these, args![ids]).await?.iter().map(job_info).collect()
    }

    /// One job by its public name.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn job_by_uuid(&self, uuid: Uuid) -> Result<Option<JobInfo>, StoreError> {
        let one = self.once(&format!("{JOB_INFO} WHERE j.uuid = {{uuid $1}}"));
        self.read_of(&one, args![uuid.to_string()]).await?.first().map(job_info).transpose()
    }

    /// Discards a job whose row no longer parses, and releases its ranges. The fence of a holder becomes stale. `false`
    /// if
    /// there is no such job. A job with a valid row is discarded with [`kirin_core::Ask::Act`].
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn discard_by_force(&self, uuid: Uuid) -> Result<bool, StoreError> {
        self.write(&DiscardByForce(uuid)).await
    }

    /// The committed steps of a job, in order.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn steps(&self, id: JobId) -> Result<Vec<StepInfo>, StoreError> {
        let rows = self.read(|sql| &sql.steps, args![id.0.cast_signed()]).await?;
        let step = |row: &Row| {
            Ok(StepInfo {
                index: row.num(0)?,
                epoch: Epoch(row.num(1)?),
                node: NodeId(row.num(2)?),
                started_ms: row.int(3)?,
                ended_ms: row.int(4)?,
                name: row.string(5)?,
                result: row.text(6)?,
            })
        };
        rows.iter().map(step).collect()
    }

    /// The attempts at a job, including the current one, in order.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn attempts(&self, id: JobId) -> Result<Vec<AttemptInfo>, StoreError> {
        let rows = self.read(|sql| &sql.attempts, args![id.0.cast_signed()]).await?;
        let attempt = |row: &Row| {
            Ok(AttemptInfo {
                epoch: Epoch(row.num(0)?),
                by: member(row.num(1)?, row.num(2)?)?,
                from_step: row.num(3)?,
                started_ms: row.int(4)?,
                ended_ms: row.int(5)?,
                end: AttemptEnd::from_number(row.num(6)?)?,
            })
        };
        rows.iter().map(attempt).collect()
    }

    /// Members with names and addresses: the living ones, or all that are not deleted yet.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn directory(&self, all: bool) -> Result<Vec<MemberInfo>, StoreError> {
        let rows = self.read(|sql| &sql.directory, args![if all { 3 } else { 1_i64 }]).await?;
        let info = |row: &Row| {
            Ok(MemberInfo {
                member: member(row.num(0)?, row.num(1)?)?,
                name: row.string(2)?,
                state: member_state(row.num(3)?)?,
                role: role(row.num(4)?)?,
                slots: row.num(5)?,
                link: row.string(6)?,
                http: row.string(7)?,
                version: row.string(8)?,
                joined_ms: row.num(9)?,
                ended_ms: row.int(10)?,
                ended_by: holder(row, 11)?,
                evidence: row.text(13)?,
                can: Capabilities(row.num(14)?),
                token: row.text(15)?,
                trouble: row.text(16)?,
            })
        };
        rows.iter().map(info).collect()
    }

    /// Stores a member's token in the working directory and the problem with that directory. `false` if the member is not
    /// alive.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn member_proof(
        &self,
        member: Member,
        token: Option<&str>,
        trouble: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.write(&Proof { member, token, trouble }).await
    }

    /// Stores the progress of an attempt. `false` if its fence is not current. Callers coalesce updates.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn progress(&self, fence: Fence, by: Member, text: &str) -> Result<bool, StoreError> {
        self.write(&Progress { fence, by, text }).await
    }
}

struct Proof<'a> {
    member: Member,
    token: Option<&'a str>,
    trouble: Option<&'a str>,
}

impl Work for Proof<'_> {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        let (node, incarnation) = (self.member.node.0, self.member.incarnation.get());
        let hit = connection.alone(|sql| &sql.member_proof, args![node, incarnation, self.token, self.trouble]).await?;
        Ok(hit > 0)
    }
}

struct Progress<'a> {
    fence: Fence,
    by: Member,
    text: &'a str,
}

impl Work for Progress<'_> {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        let (job, epoch) = (self.fence.job.0.cast_signed(), self.fence.epoch.0.cast_signed());
        let (node, incarnation) = (self.by.node.0, self.by.incarnation.get());
        let hit =
            connection.alone(|sql| &sql.progress, args![job, epoch, node, incarnation, self.text, wall_ms()]).await?;
        Ok(hit > 0)
    }
}

/// Finished jobs. They never change again, except that their holder is cleared.
const OVER: &str = "j.state > 4 AND j.ended_ms IS NOT NULL";
/// Open jobs: all others.
const OPEN: &str = "j.state <= 4";

/// A page in order of acceptance or of the last change, which is the end for finished jobs. Each part returns as many
/// rows as
/// the page may need, in the order of its index, or sorted if it has few rows.
fn merged(parts: &[&str], wheres: &str, sort: JobSort, turn: &str, window: &str, reach: usize) -> String {
    let part = |part: &&str| {
        let at = match (sort, *part == OVER) {
            // An expression, so that the planner does not search the index of all ids for the few open jobs.
            (JobSort::Created, false) => "j.id + 0",
            (JobSort::Created, true) => "j.id",
            (_, false) => "j.changed_ms",
            (_, true) => "j.ended_ms",
        };
        format!(
            "SELECT * FROM (SELECT j.id, {at} AS at FROM {{p}}_job AS j WHERE {part} AND {wheres} ORDER BY {at}{turn}, j.id{turn} \
             LIMIT ${reach}) AS {}",
            if *part == OVER { "o" } else { "w" },
        )
    };
    let parts: Vec<_> = parts.iter().map(part).collect();
    let page = format!("SELECT * FROM ({}) AS u ORDER BY at{turn}, id{turn} {window}", parts.join(" UNION ALL "));
    format!("{} JOIN ({page}) AS p ON p.id = j.id ORDER BY p.at{turn}, p.id{turn}", JOB_INFO)
}

const JOB_INFO: &str = "SELECT j.id, j.project, j.priority, j.state, j.epoch, j.holder_node, j.holder_incarnation, j.placed, \
     j.steps, j.external, j.needs, {text j.uuid}, j.kind, j.subject, j.submitter, j.spec, j.progress, j.failure, j.result, \
     j.created_ms, j.started_ms, j.ended_ms, j.changed_ms, \
     (SELECT a.node FROM {p}_attempt AS a WHERE a.job = j.id AND a.epoch = j.epoch) FROM {p}_job AS j";

fn job_info(row: &Row) -> Result<JobInfo, StoreError> {
    let (contract, broken) = match job_row(row) {
        Ok(contract) => (contract, None),
        Err(error) => (placeholder(row)?, Some(error.to_string())),
    };
    Ok(JobInfo {
        row: contract,
        broken,
        uuid: uuid(&row.string(11)?)?,
        kind: row.string(12)?,
        subject: row.string(13)?,
        submitter: row.string(14)?,
        spec: row.string(15)?,
        progress: row.text(16)?,
        failure: row.text(17)?,
        result: row.text(18)?,
        created_ms: row.int(19)?.unwrap_or(0),
        started_ms: row.int(20)?,
        ended_ms: row.int(21)?,
        changed_ms: row.int(22)?.unwrap_or(0),
        last_node: row.opt(23)?.map(NodeId),
    })
}

/// A placeholder for a row that does not parse, with the columns that do.
fn placeholder(row: &Row) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        id: JobId(row.int(0)?.unwrap_or(0).cast_unsigned()),
        project: ProjectId(row.num(1).unwrap_or(0)),
        priority: Priority(row.num(2).unwrap_or(4)),
        state: JobState::Error,
        epoch: Epoch(row.num(4).unwrap_or(0)),
        holder: None,
        placed: None,
        steps: row.num(8).unwrap_or(0),
        external: false,
        needs: Capabilities(row.num(10).unwrap_or(0)),
    })
}

/// The part of a job that the contract uses, in the first eleven columns.
pub(crate) fn job_row(row: &Row) -> Result<JobRow, StoreError> {
    let state: usize = row.num(3)?;
    Ok(JobRow {
        id: JobId(row.num(0)?),
        project: ProjectId(row.num(1)?),
        priority: Priority(row.num(2)?),
        state: *JobState::ALL.get(state).ok_or_else(|| StoreError::Corrupt(format!("job state {state}")))?,
        epoch: Epoch(row.num(4)?),
        holder: holder(row, 5)?,
        placed: row.opt(7)?.map(NodeId),
        steps: row.num(8)?,
        external: row.num::<u8>(9)? != 0,
        needs: Capabilities(row.num(10)?),
    })
}

/// The number of a state in its column, in the order of a job's life cycle.
pub(crate) const fn state_number(state: JobState) -> i64 {
    match state {
        JobState::Ready => 0,
        JobState::Pending => 1,
        JobState::Running => 2,
        JobState::Error => 3,
        JobState::Paused => 4,
        JobState::Discarded => 5,
        JobState::Succeed => 6,
        JobState::Suicidal => 7,
    }
}

/// The filter as SQL with arguments.
fn conditions(filter: &JobFilter, dialect: Dialect) -> (String, Vec<Arg>) {
    let mut wheres = vec!["1 = 1".to_owned()];
    let mut args: Vec<Arg> = Vec::new();
    if let Some(project) = filter.project {
        args.push(project.0.into());
        wheres.push(format!("j.project = ${}", args.len()));
    }
    if !filter.states.is_empty() {
        let states: Vec<String> = filter.states.iter().map(|state| state_number(*state).to_string()).collect();
        wheres.push(format!("j.state IN ({})", states.join(", ")));
    }
    if !filter.kinds.is_empty() {
        let mut places = Vec::new();
        for kind in &filter.kinds {
            args.push(kind.into());
            places.push(format!("${}", args.len()));
        }
        wheres.push(format!("j.kind IN ({})", places.join(", ")));
    }
    if let Some(subject) = &filter.subject {
        args.push(subject.into());
        wheres.push(format!("j.subject = ${}", args.len()));
    }
    if let Some(key) = &filter.key {
        if let Ok(uuid) = Uuid::parse_str(key) {
            args.push(uuid.to_string().into());
            let cast = if dialect == Dialect::Postgres { "::uuid" } else { "" };
            wheres.push(format!("j.uuid = ${}{cast}", args.len()));
        } else {
            let literal = key.to_lowercase().replace('!', "!!").replace('%', "!%").replace('_', "!_");
            args.push(format!("%{literal}%").into());
            wheres.push(format!("LOWER(j.subject) LIKE ${} ESCAPE '!'", args.len()));
        }
    }
    if let Some(from) = filter.created_from_ms {
        args.push(from.into());
        wheres.push(format!("j.created_ms >= ${}", args.len()));
    }
    if let Some(until) = filter.created_until_ms {
        args.push(until.into());
        wheres.push(format!("j.created_ms < ${}", args.len()));
    }
    (wheres.join(" AND "), args)
}
