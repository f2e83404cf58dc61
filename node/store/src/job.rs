//! Jobs as people see them: pages, one job with its steps and attempts, progress; and how a job's row is read.

use std::collections::BTreeMap;

use kirin_core::ask::{Epoch, Fence, JobId, JobRow, Priority, ProjectId};
use kirin_core::{Capabilities, JobState, Member, MemberState, NodeId, Role};
use uuid::Uuid;

use crate::beat::{holder, member, member_state, role};
use crate::clock::wall_ms;
use crate::commit::DiscardByForce;
use crate::error::{Fault, StoreError};
use crate::line::{Line, Work};
use crate::store::Store;
use crate::submit::uuid;
use crate::wire::{Arg, Dialect, Row, Table, args};

/// A job with what people want to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobInfo {
    /// The contract's part.
    pub row: JobRow,
    /// What is wrong with its row, if it does not parse: then the contract's part is not its own, and no node sees the job.
    /// It can be [discarded by force](Store::discard_by_force).
    pub broken: Option<String>,
    /// Its public name.
    pub uuid: Uuid,
    /// What kind of job.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Who asked for it.
    pub submitter: String,
    /// What to do, as JSON for the executor.
    pub spec: String,
    /// How far the current attempt is, as its executor tells it.
    pub progress: Option<String>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// What the job brought, as JSON.
    pub result: Option<String>,
    /// When it was accepted.
    pub created_ms: i64,
    /// When its first attempt began.
    pub started_ms: Option<i64>,
    /// When its last attempt ended for good or with an error.
    pub ended_ms: Option<i64>,
    /// When anything of it changed last.
    pub changed_ms: i64,
}

/// What a page of jobs is about. The default is: everything, the oldest first, ten of them.
#[derive(Clone, Debug)]
pub struct JobFilter {
    /// Only of this project.
    pub project: Option<ProjectId>,
    /// Only in these states; empty for all.
    pub states: Vec<JobState>,
    /// Only of these kinds; empty for all.
    pub kinds: Vec<String>,
    /// Only about exactly this.
    pub subject: Option<String>,
    /// Only with this public name, or with this text somewhere in the subject.
    pub key: Option<String>,
    /// Only accepted at or after this moment.
    pub created_from_ms: Option<i64>,
    /// Only accepted before this moment.
    pub created_until_ms: Option<i64>,
    /// The order.
    pub sort: JobSort,
    /// Whether the order is turned around.
    pub reverse: bool,
    /// How many to skip.
    pub offset: u64,
    /// How many to return.
    pub limit: u64,
}

/// By what a page of jobs is sorted. Equal ones are sorted by acceptance.
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
    /// By state, in the order of a job's life.
    State,
    /// By the time from the first attempt's begin to the last change or end.
    Duration,
}

/// What one node has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Jobs that it runs.
    pub running: u64,
    /// Jobs that wait on its queue.
    pub waiting: u64,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPage {
    /// The jobs of this page.
    pub jobs: Vec<JobInfo>,
    /// How many there are on all pages.
    pub total: u64,
}

/// A committed step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Its number, from 0.
    pub index: u32,
    /// Under which holding it was committed.
    pub epoch: Epoch,
    /// By which node.
    pub node: NodeId,
    /// When it began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Its name.
    pub name: String,
    /// What it brought, as JSON.
    pub result: Option<String>,
}

/// An attempt at a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptInfo {
    /// Under which holding.
    pub epoch: Epoch,
    /// By whom.
    pub by: Member,
    /// How many steps were committed when it began.
    pub from_step: u32,
    /// When it began.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How it ended; `None` if it goes on.
    pub end: Option<AttemptEnd>,
}

/// How an attempt ended, as the metastore saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// All steps are committed and the result is published.
    Succeeded,
    /// A step failed.
    Failed,
    /// What the job was for does not exist any more.
    Vanished,
    /// Its holder handed the job back.
    Released,
    /// Its holder died, and an heir took the job over.
    TakenOver,
    /// Its holder died after a user had stopped the job.
    Lost,
}

/// A member with what people and peers want to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Who.
    pub member: Member,
    /// The node's name.
    pub name: String,
    /// What the metastore says about it.
    pub state: MemberState,
    /// What it does.
    pub role: Role,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// What it is able to run.
    pub can: Capabilities,
    /// What it wrote into the working directory, for its peers to find there.
    pub token: Option<String>,
    /// What it finds wrong with its working directory.
    pub trouble: Option<String>,
    /// Where its peers reach it.
    pub link: String,
    /// Where clients reach it.
    pub http: String,
    /// Its program's version.
    pub version: String,
    /// When it joined.
    pub joined_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Who ended it: itself, its next incarnation, or who fenced it.
    pub ended_by: Option<Member>,
    /// How its end was known.
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
    /// Whether it asks for nothing but what [`crate::over`] keeps counts of.
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
    /// As its row says it.
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

    /// The word for people.
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
    /// If the metastore can't be read.
    pub async fn jobs(&self, filter: &JobFilter) -> Result<JobPage, StoreError> {
        let (wheres, mut args) = conditions(filter, self.dialect());
        // Jobs that are over and those that are not are in indexes of their own.
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

    /// How many jobs each node runs and has on its queue.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn loads(&self) -> Result<BTreeMap<NodeId, Load>, StoreError> {
        // It reads an index alone.
        let rows = self.read_afresh(|sql| &sql.loads, &[]).await?;
        // A queue of no node belongs to jobs whose row does not parse.
        let rows = rows.iter().filter(|row| row.num::<u32>(0).is_ok());
        rows.map(|row| Ok((NodeId(row.num(0)?), Load { running: row.num(1)?, waiting: row.num(2)? }))).collect()
    }

    /// One job by its number.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn job(&self, id: JobId) -> Result<Option<JobInfo>, StoreError> {
        let one = self.once(&format!("{JOB_INFO} WHERE j.id = $1"));
        self.read_of(&one, args![id.0.cast_signed()]).await?.first().map(job_info).transpose()
    }

    /// Those of the jobs that exist, in no particular order: one question for all of them.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Result<Vec<JobInfo>, StoreError> {
        let these = self.once(&format!("{JOB_INFO} WHERE j.id IN (SELECT q.job FROM {{rows $1 q(job int)}})"));
        let ids = Table::default().ints(ids.iter().map(|id| id.0.cast_signed()));
        self.read_of(&these, args![ids]).await?.iter().map(job_info).collect()
    }

    /// One job by its public name.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn job_by_uuid(&self, uuid: Uuid) -> Result<Option<JobInfo>, StoreError> {
        let one = self.once(&format!("{JOB_INFO} WHERE j.uuid = {{uuid $1}}"));
        self.read_of(&one, args![uuid.to_string()]).await?.first().map(job_info).transpose()
    }

    /// Discards a job whatever its row holds, and gives back what it reserved; whoever holds it finds its fence stale.
    /// `false` if there is no such job. For rows that no longer parse: what runs is discarded with [`kirin_core::Ask::Act`].
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn discard_by_force(&self, uuid: Uuid) -> Result<bool, StoreError> {
        self.write(&DiscardByForce(uuid)).await
    }

    /// The committed steps of a job, in order.
    ///
    /// # Errors
    /// If the metastore can't be read.
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

    /// The attempts at a job, the current one included, in order.
    ///
    /// # Errors
    /// If the metastore can't be read.
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

    /// Members with names and addresses: those that are alive, or all that ever were and are still remembered.
    ///
    /// # Errors
    /// If the metastore can't be read.
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

    /// Writes down what a member wrote into the working directory and what it finds wrong with it. `false` if the member is
    /// not alive.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn member_proof(
        &self,
        member: Member,
        token: Option<&str>,
        trouble: Option<&str>,
    ) -> Result<bool, StoreError> {
        self.write(&Proof { member, token, trouble }).await
    }

    /// Writes down how far an attempt is. `false` if its fence isn't the current one. Callers coalesce.
    ///
    /// # Errors
    /// If the metastore can't be written.
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

    async fn run(&self, line: &mut Line) -> Result<bool, Fault> {
        let (node, incarnation) = (self.member.node.0, self.member.incarnation.get());
        let hit = line.alone(|sql| &sql.member_proof, args![node, incarnation, self.token, self.trouble]).await?;
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

    async fn run(&self, line: &mut Line) -> Result<bool, Fault> {
        let (job, epoch) = (self.fence.job.0.cast_signed(), self.fence.epoch.0.cast_signed());
        let (node, incarnation) = (self.by.node.0, self.by.incarnation.get());
        let hit = line.alone(|sql| &sql.progress, args![job, epoch, node, incarnation, self.text, wall_ms()]).await?;
        Ok(hit > 0)
    }
}

/// Jobs that never change again, but for their holder who has to let go.
const OVER: &str = "j.state > 4 AND j.ended_ms IS NOT NULL";
/// All others.
const OPEN: &str = "j.state <= 4";

/// A page in the order of acceptance or of the last change, which is the end of what is over: each part gives as many as the
/// page may need, in the order of its index or, where there are few, sorted.
fn merged(parts: &[&str], wheres: &str, sort: JobSort, turn: &str, window: &str, reach: usize) -> String {
    let part = |part: &&str| {
        let at = match (sort, *part == OVER) {
            // A sum, so that nobody looks for the few that are open along the index of all ids.
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
     j.created_ms, j.started_ms, j.ended_ms, j.changed_ms FROM {p}_job AS j";

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
    })
}

/// What stands for the contract's part of a row that does not parse: as much of it as does.
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

/// The contract's part of a job, in the first eleven columns.
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

/// A state as its column says it: its place in a job's life.
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

/// The filter as SQL, and its arguments.
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
