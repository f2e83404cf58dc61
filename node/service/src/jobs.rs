//! Jobs: submit, list, show, act.

use std::collections::BTreeMap;

use kirin_core::ask::{Fence, JobId, JobRow, Priority};
use kirin_core::job::JobEvent;
use kirin_core::queue::{Blocked, NOWHERE};
use kirin_core::{Action, Answer, Ask, Capabilities, Event, JobState, Member, NodeId};
use kirin_executor::{Attempts, Covers};
use kirin_metastore::{self as store, Extra, JobFilter, JobInfo, NewJob, NewSegment, ProjectInfo, StepInfo, Store};
use kirin_shell::CoreHandle;
use kirin_shell::Links;
use kirin_shell::link::Question;
use kirin_wire::LAST_PRIORITY;
use serde_json::Value;
use uuid::Uuid;

use crate::directory::Directory;
use crate::error::{Error, Refusal, Result, Unconfirmed};
use crate::principal::Principal;
use crate::projects::Projects;

/// The maximum number of tries of an action on a job that changes concurrently.
const ACT_TRIES: u32 = 5;

/// The maximum number of jobs of an action, and of a page.
pub const JOBS_MAX: u64 = 10_000;

/// The jobs of a cluster.
#[derive(Clone)]
pub struct Jobs {
    pub(crate) projects: Projects,
    pub(crate) store: Store,
    pub(crate) core: CoreHandle,
    pub(crate) links: Links,
    pub(crate) directory: Directory,
    pub(crate) attempts: Attempts,
}

/// A job to submit.
#[derive(Clone, Debug)]
pub struct Submit {
    /// The project.
    pub project: String,
    /// The kind of executor that runs it.
    pub kind: String,
    /// The subject; the kind if absent.
    pub subject: Option<String>,
    /// The specification, whose structure depends on the kind.
    pub spec: Value,
    /// 0 is the most urgent.
    pub priority: u8,
    /// The idempotency key: submits with the same key create one job.
    pub key: Option<String>,
}

/// An accepted job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Its public id.
    pub id: Uuid,
    /// Kylin's type name.
    pub job_type: String,
    /// If no node that is up can run it: what it requires.
    pub no_node_can: Option<Capabilities>,
}

/// A job with the details that this layer adds.
#[derive(Clone, Debug)]
pub struct Job {
    /// The job's data in the metastore.
    pub info: JobInfo,
    /// Kylin's type name.
    pub job_type: String,
    /// The number of its steps.
    pub steps: usize,
    /// The segment that it builds, if any.
    pub covers: Option<Covers>,
    /// The name of the node that holds it. For a job that does not wait, the node of its last attempt.
    pub node: Option<String>,
    /// The name of the node in whose queue it waits.
    pub placed: Option<String>,
}

/// A step of a job.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, from 0.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its status.
    pub status: Status,
    /// The committed result, and the name of the node that committed it.
    pub done: Option<(StepInfo, String)>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// The log of a step.
#[derive(Clone, Debug)]
pub struct StepLog {
    /// The job.
    pub job: Uuid,
    /// The log.
    pub text: String,
}

/// Why a job does not start.
#[derive(Clone, Debug)]
pub struct Why {
    /// The job.
    pub job: JobInfo,
    /// The rule that prevents its start; none if it is about to start.
    pub rule: Option<Blocked>,
    /// The name of the node that the rule concerns.
    pub rule_node: String,
    /// The name of the node that holds the job.
    pub holder: Option<String>,
    /// The name of the node in whose queue it waits.
    pub home: Option<String>,
    /// The number of waiting jobs ahead of it; none if it does not wait.
    pub ahead: Option<u64>,
    /// If no node can run it: the names of job nodes with the problems of their working directories.
    pub troubles: Vec<(String, String)>,
}

/// The jobs of an action.
#[derive(Clone, Debug)]
pub enum Which {
    /// The jobs with these ids.
    Named {
        /// The ids.
        ids: Vec<String>,
        /// Whether to discard jobs whose row in the metastore cannot be read, too.
        force: bool,
    },
    /// The jobs of a project for which the action is possible.
    OfProject {
        /// The project.
        project: String,
        /// Only jobs in these states.
        states: Option<Vec<JobState>>,
    },
}

/// Kylin's public status of a job or step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits.
    Pending,
    /// It runs.
    Running,
    /// It failed.
    Error,
    /// It is stopping.
    Stopping,
    /// It is paused.
    Stopped,
    /// It is discarded.
    Discarded,
    /// It succeeded.
    Finished,
}

impl Status {
    /// The status of a job.
    pub const fn of(state: JobState, is_held: bool) -> Self {
        match state {
            JobState::Ready | JobState::Pending if is_held => Self::Stopping,
            JobState::Ready | JobState::Pending => Self::Pending,
            JobState::Running => Self::Running,
            JobState::Error => Self::Error,
            JobState::Paused if is_held => Self::Stopping,
            JobState::Paused => Self::Stopped,
            JobState::Discarded | JobState::Suicidal => Self::Discarded,
            JobState::Succeed => Self::Finished,
        }
    }

    /// Kylin's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Error => "ERROR",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Discarded => "DISCARDED",
            Self::Finished => "FINISHED",
        }
    }

    /// The states of jobs with this status. The state does not distinguish stopping from stopped jobs.
    pub const fn states(self) -> &'static [JobState] {
        use JobState::{Discarded, Error, Paused, Pending, Ready, Running, Succeed, Suicidal};
        match self {
            Self::Pending => &[Ready, Pending],
            Self::Running => &[Running],
            Self::Error => &[Error],
            Self::Stopping | Self::Stopped => &[Paused],
            Self::Discarded => &[Discarded, Suicidal],
            Self::Finished => &[Succeed],
        }
    }
}

// --- submit ---

impl Jobs {
    /// Submits a job.
    ///
    /// # Errors
    /// If its kind or specification is refused, or the acceptance is not confirmed.
    pub async fn submit(&self, who: &Principal, submit: Submit) -> Result<Submitted> {
        let project = self.projects.find(who, &submit.project).await?;
        let executor = self.attempts.executor(&submit.kind).map_err(Error::Spec)?;
        if let Some(own) = executor.own_endpoint() {
            return Err(Error::SubmittedElsewhere(own));
        }
        self.accept(who, &project, submit, Vec::new()).await
    }

    /// Checks a job, commits it with the ranges that it reserves, and nudges the node on which it is placed.
    pub(crate) async fn accept(
        &self,
        who: &Principal,
        project: &ProjectInfo,
        submit: Submit,
        reserve: Vec<NewSegment>,
    ) -> Result<Submitted> {
        let (job, submitted) = self.prepare(who, project, submit, reserve).await?;
        let answer = self.store.submit(job).await?;
        self.core_learns(project, [answer])?;
        Ok(submitted)
    }

    /// Accepts several jobs without ranges in one commit, all or none.
    pub(crate) async fn accept_all(
        &self,
        who: &Principal,
        project: &ProjectInfo,
        jobs: Vec<Submit>,
    ) -> Result<Vec<Submitted>> {
        let (mut prepared, mut all) = (Vec::new(), Vec::new());
        for submit in jobs {
            let (job, submitted) = self.prepare(who, project, submit, Vec::new()).await?;
            prepared.push(job);
            all.push(submitted);
        }
        let answers = self.store.submit_all(&prepared).await?;
        self.core_learns(project, answers)?;
        Ok(all)
    }

    /// Tells the core about new jobs, or returns why they were not accepted.
    fn core_learns(&self, project: &ProjectInfo, answers: impl IntoIterator<Item = store::Submitted>) -> Result<()> {
        let mut new = Vec::new();
        for answer in answers {
            match answer {
                store::Submitted::Accepted { row, fresh } => new.extend(fresh.then_some(row)),
                store::Submitted::NoProject => return Err(Error::NoProject(project.name.clone())),
                store::Submitted::Overlaps(segment) => return Err(Error::Overlap(segment)),
                store::Submitted::Unknown => return Err(Error::Unconfirmed(Unconfirmed::Submit)),
            }
        }
        if !new.is_empty() {
            self.core.tell(Event::Told(new));
        }
        Ok(())
    }

    /// Checks a job and places it in a queue. Returns the job for the metastore.
    async fn prepare(
        &self,
        who: &Principal,
        project: &ProjectInfo,
        submit: Submit,
        segments: Vec<NewSegment>,
    ) -> Result<(NewJob, Submitted)> {
        if submit.priority > LAST_PRIORITY {
            return Err(Error::Priority(submit.priority));
        }
        let executor = self.attempts.executor(&submit.kind).map_err(Error::Spec)?;
        executor.steps(&submit.spec).map_err(Error::Spec)?;
        let id = job_id(project, submit.key.as_deref());
        let (placing, needs) = (id.as_u64_pair().1, executor.needs());
        let place = move |node: &kirin_core::Node, _| {
            let queue = node.queue();
            let can = queue.candidates().is_empty() || queue.homes_possible(needs).next().is_some();
            (node.place(placing, needs), can)
        };
        let (placed, can) = self.core.look(place).await.unwrap_or((None, true));
        let job_type = executor.job_type(&submit.spec).to_owned();
        let submitted = Submitted { id, job_type, no_node_can: (!can).then_some(needs) };
        let job = NewJob {
            key: id.as_u128(),
            project: project.id,
            priority: Priority(submit.priority),
            placed,
            external: executor.is_external(),
            needs,
            kind: executor.kind().to_owned(),
            subject: submit.subject.unwrap_or(submit.kind),
            submitter: who.name().to_owned(),
            spec: submit.spec.to_string(),
            segments,
        };
        Ok((job, submitted))
    }
}

/// The job's public id. It is derived from the key, if any, so that the same key gives the same job on every node.
fn job_id(project: &ProjectInfo, key: Option<&str>) -> Uuid {
    /// The UUID namespace of idempotency keys.
    const KEYS: Uuid = Uuid::from_u128(0x6b69_7269_6e2d_6a6f_622d_6b65_7973_0001);
    key.map_or_else(Uuid::now_v7, |key| Uuid::new_v5(&KEYS, format!("{}/{key}", project.id.0).as_bytes()))
}

// --- show ---

impl Jobs {
    /// The jobs that match the filter, and their number on all pages. The filter's own project is ignored.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn list(&self, who: &Principal, project: Option<&str>, filter: JobFilter) -> Result<(Vec<Job>, u64)> {
        let project = match project {
            Some(name) => Some(self.projects.find(who, name).await?.id),
            None => None,
        };
        let filter = JobFilter { project, limit: filter.limit.min(JOBS_MAX), ..filter };
        let (jobs, total) = self.store.jobs(&filter).await?;
        self.learn(&jobs).await;
        Ok((jobs.into_iter().map(|job| self.job(job)).collect(), total))
    }

    /// A job and its steps.
    ///
    /// # Errors
    /// If the job does not exist, or the metastore does not respond.
    pub async fn show(&self, who: &Principal, id: &str) -> Result<(Job, Vec<Step>)> {
        let job = self.find(who, id).await?;
        self.learn(std::slice::from_ref(&job)).await;
        let steps = self.steps_of(&job).await?;
        Ok((self.job(job), steps))
    }

    /// The log of a step.
    ///
    /// # Errors
    /// If the job or step does not exist, or the log cannot be read.
    pub async fn log(&self, who: &Principal, id: &str, step: &str) -> Result<StepLog> {
        let job = self.find(who, id).await?;
        // Kylin's step ids are `<job>_<number>`.
        let steps = u32::try_from(self.plan(&job).len()).unwrap_or(u32::MAX);
        let number = step.rsplit('_').next().and_then(|n| n.parse().ok()).filter(|n: &u32| *n < steps.max(1));
        let number = number.ok_or_else(|| Error::NoStep { job: job.uuid, step: step.to_owned(), steps })?;
        let dir = self.attempts.log_dir(&job);
        let text = tokio::task::spawn_blocking(move || kirin_executor::log::read(&dir, number))
            .await
            .map_err(Error::internal)?
            .map_err(|e| Error::Internal(format!("cannot read the log: {e}")))?;
        Ok(StepLog { job: job.uuid, text })
    }

    async fn find(&self, _who: &Principal, id: &str) -> Result<JobInfo> {
        let job = match id.parse() {
            Ok(uuid) => self.store.job_by_uuid(uuid).await?,
            Err(_) => None,
        };
        job.ok_or_else(|| Error::NoJob(id.to_owned()))
    }

    /// Caches the names of the nodes of these jobs.
    async fn learn(&self, jobs: &[JobInfo]) {
        let nodes =
            jobs.iter().flat_map(|job| [job.row.holder.map(|holder| holder.node), job.row.placed, job.last_node]);
        let nodes: Vec<_> = nodes.flatten().collect();
        self.directory.learn(&nodes).await;
    }

    fn job(&self, info: JobInfo) -> Job {
        let name = |node: NodeId| self.directory.name(node);
        Job {
            job_type: self.attempts.job_type(&info.kind, &info.spec),
            steps: self.plan(&info).len(),
            covers: self.attempts.executor(&info.kind).ok().and_then(|executor| executor.covers(&info.spec)),
            node: info.row.holder.map(|holder| holder.node).or(last_node(&info)).map(name),
            placed: info.row.placed.map(name),
            info,
        }
    }

    /// The names of the job's steps, also for a kind that this node cannot run.
    fn plan(&self, job: &JobInfo) -> Vec<String> {
        self.attempts.executor(&job.kind).and_then(|executor| executor.steps(&job.spec)).unwrap_or_default()
    }

    async fn steps_of(&self, job: &JobInfo) -> Result<Vec<Step>> {
        let done = self.store.steps(job.row.id).await?;
        let nodes: Vec<_> = done.iter().map(|step| step.node).collect();
        self.directory.learn(&nodes).await;
        let committed = done.len();
        let done = done.into_iter().map(|info| Step {
            number: info.step as usize,
            name: info.name.clone(),
            status: Status::Finished,
            failure: None,
            done: Some((info.clone(), self.directory.name(info.node))),
        });
        let open = self.plan(job).into_iter().enumerate().skip(committed).map(|(number, name)| {
            let is_first = number == committed;
            let status = match job.row.state {
                JobState::Running if is_first => Status::Running,
                JobState::Error if is_first => Status::Error,
                JobState::Discarded | JobState::Suicidal => Status::Discarded,
                JobState::Paused => Status::Stopped,
                _ => Status::Pending,
            };
            let failure = job.failure.clone().filter(|_| status == Status::Error);
            Step { number, name, status, done: None, failure }
        });
        Ok(done.chain(open).collect())
    }
}

// --- why ---

/// The node of the last attempt, if the job does not wait for another attempt.
fn last_node(job: &JobInfo) -> Option<NodeId> {
    job.last_node.filter(|_| !job.row.state.is_waiting())
}

impl Jobs {
    /// The rule that prevents the start of a job.
    ///
    /// # Errors
    /// If the job does not exist, or the metastore does not respond.
    pub async fn why(&self, who: &Principal, id: &str) -> Result<Why> {
        let job = self.find(who, id).await?;
        let number = job.row.id;
        let (mut rule, home, ahead) = self
            .core
            .look(move |node, now| (node.why(now, number), node.queue().home(number), node.queue().waiting()))
            .await
            .unwrap_or_default();
        let is_waiting = job.row.state.is_waiting();
        if is_waiting
            && let Some(Blocked::Elsewhere { node } | Blocked::NodeFull { node, .. }) = rule
            && let Some(answer) = self.ask_home(node, number).await
        {
            rule = answer;
        }
        self.learn(std::slice::from_ref(&job)).await;
        let mut troubles = Vec::new();
        if let Some(Blocked::NoNodeCan { .. }) = rule {
            let members = self.directory.refresh().await?;
            let job_nodes = members.iter().filter(|info| info.state.is_alive() && info.role.runs_jobs());
            troubles.extend(job_nodes.filter_map(|info| Some((info.name.clone(), info.trouble.clone()?))));
        }
        let name = |node: NodeId| self.directory.name(node);
        Ok(Why {
            troubles,
            rule_node: rule.and_then(node_of).map(name).unwrap_or_default(),
            holder: job.row.holder.map(|holder| name(holder.node)),
            home: home.filter(|home| *home != NOWHERE).map(name),
            ahead: is_waiting.then(|| ahead.saturating_sub(1) as u64),
            rule,
            job,
        })
    }

    /// The rule according to the node in whose queue the job waits.
    async fn ask_home(&self, node: NodeId, job: JobId) -> Option<Option<Blocked>> {
        let home: Member = self.core.look(move |core, _| core.roster().member_of(node)).await.flatten()?;
        if self.core.look(|core, _| core.me()).await.flatten() == Some(home) {
            return None;
        }
        let reply = self.links.question(home, Question::Why(job.0)).await.ok()?;
        serde_json::from_value(reply).ok()
    }
}

const fn node_of(rule: Blocked) -> Option<NodeId> {
    match rule {
        Blocked::Stopping { holder } => Some(holder.node),
        Blocked::NodeFull { node, .. } | Blocked::Elsewhere { node } => Some(node),
        Blocked::State { .. }
        | Blocked::Taking
        | Blocked::NoJobNode
        | Blocked::NoNodeCan { .. }
        | Blocked::ProjectFull { .. }
        | Blocked::Behind { .. }
        | Blocked::NoTrust => None,
    }
}

// --- act ---

impl Jobs {
    /// Applies an action to each of these jobs for which it is possible.
    ///
    /// # Errors
    /// If a job does not exist; then nothing is changed. If the action is not possible for a job; then it was applied
    /// to the others.
    pub async fn act(&self, who: &Principal, action: Action, which: Which) -> Result<()> {
        let (jobs, force) = match which {
            Which::Named { force: true, .. } if action != Action::Discard => return Err(Error::Force),
            Which::Named { ids, force } => {
                let mut jobs: Vec<JobInfo> = Vec::new();
                for id in &ids {
                    let job = self.find(who, id).await?;
                    // A job may be named twice.
                    if jobs.iter().all(|other| other.uuid != job.uuid) {
                        jobs.push(job);
                    }
                }
                (jobs, force)
            }
            Which::OfProject { project, states: wanted } => {
                let mut states: Vec<JobState> = action.allowed_in().collect();
                states.retain(|state| wanted.as_ref().is_none_or(|wanted| wanted.contains(state)));
                let project = self.projects.find(who, &project).await?.id;
                let filter = JobFilter { project: Some(project), states, limit: JOBS_MAX, ..JobFilter::default() };
                (self.store.jobs(&filter).await?.0, false)
            }
        };
        let mut changed: Vec<JobRow> = Vec::new();
        let mut refused: BTreeMap<Uuid, Refusal> = BTreeMap::new();
        for job in jobs {
            if let Some(broken) = job.broken {
                if !force {
                    refused.insert(job.uuid, Refusal::Broken(broken));
                } else if self.store.discard_by_force(job.uuid).await? {
                    tracing::warn!(job = %job.uuid, by = %who, broken, "damaged job discarded by force");
                }
                continue;
            }
            match self.act_on(job.row, action).await? {
                Ok(row) => changed.push(row),
                Err(why) => drop(refused.insert(job.uuid, why)),
            }
        }
        if !changed.is_empty() {
            self.core.tell(Event::Told(changed));
        }
        let more = refused.len().saturating_sub(1);
        match refused.pop_first() {
            None => Ok(()),
            Some((job, why)) => Err(Error::WrongState { action, job, why, more }),
        }
    }

    /// Applies the action to one job, or returns why it is not possible. Retries if the job changes concurrently.
    async fn act_on(&self, mut row: JobRow, action: Action) -> Result<std::result::Result<JobRow, Refusal>> {
        for _ in 0..ACT_TRIES {
            let Ok(state) = row.state.after(JobEvent::Act(action)) else {
                return Ok(Err(Refusal::State(row.state)));
            };
            let ask = Ask::Act { fence: Fence { job: row.id, epoch: row.epoch }, state: row.state, action };
            match self.store.ask(&ask, Extra::None).await {
                Answer::Done => {
                    let steps = if action == Action::Restart { 0 } else { row.steps };
                    return Ok(Ok(JobRow { state, steps, ..row }));
                }
                Answer::Refused => {}
                _ => return Err(Error::Unconfirmed(Unconfirmed::Action)),
            }
            match self.store.ask(&Ask::ReadJobs(vec![row.id]), Extra::None).await {
                Answer::Jobs(rows) => match rows.first() {
                    Some(read) => row = *read,
                    None => return Ok(Err(Refusal::Gone)),
                },
                _ => return Err(Error::Unconfirmed(Unconfirmed::Read)),
            }
        }
        Ok(Err(Refusal::Unsteady))
    }
}
