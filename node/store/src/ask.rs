//! Requests of the contract: each comes with extra data and has one answer.

use kirin_core::ask::{Fence, JobId, JobRow};
use kirin_core::{Answer, Ask, Member, NodeId, Outcome};
use uuid::Uuid;

use crate::beat::{Beat, Drain, FenceMember, Join, Leave, List, SetCan, SetSlots, done_if};
use crate::claim::{Claim, Yield};
use crate::commit::{Act, Finish, Place, Release, Step};
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::job::job_row;
use crate::store::Store;
use crate::submit::{NewJob, Submitted};
use crate::take::Take;
use crate::wire::{Row, Table, args};

/// The longest reason for a failure. Longer ones are truncated; the program's complete output is in its log.
const FAILURE_MAX: usize = 16_000;

/// Extra data of a request, for users and executors: texts, addresses and wall-clock times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// Required with [`Ask::Join`].
    Join {
        /// The node's name, which is its identity.
        node: String,
        /// The address for links from other nodes.
        link: String,
        /// The address for clients.
        http: String,
        /// The version of its program.
        version: String,
    },
    /// With [`Ask::CommitStep`].
    CommitStep {
        /// The step's name.
        name: String,
        /// Its result, as JSON.
        result: Option<String>,
        /// When it started.
        started_ms: Option<i64>,
        /// When it ended.
        ended_ms: Option<i64>,
    },
    /// With [`Ask::Finish`].
    Finish {
        /// Why the attempt failed.
        failure: Option<String>,
        /// The job's result, as JSON.
        result: Option<String>,
        /// The segments to publish if the attempt succeeded.
        publish: Vec<Publish>,
    },
}

/// A segment that becomes READY with this manifest, or receives this manifest as a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The segment.
    pub segment: Uuid,
    /// The location and content of its files, as JSON.
    pub manifest: String,
}

impl Store {
    /// Sends a request to the metastore: one transaction, one answer, within the configured timeout. `extra` must match
    /// the
    /// request.
    ///
    /// # Panics
    /// If an [`Ask::Join`] comes without [`Extra::Join`].
    pub async fn ask(&self, ask: &Ask, extra: Extra) -> Answer {
        let fault = match self.answer(ask, extra).await {
            Ok(answer) => return answer,
            Err(fault) => fault,
        };
        match fault {
            Fault::Certain(error) if error.is_final() => {
                tracing::warn!(?ask, %error, "metastore request refused permanently");
                Answer::Failed
            }
            Fault::Again(_) | Fault::Certain(_) => {
                tracing::debug!(?ask, ?fault, "metastore request failed");
                Answer::Failed
            }
            Fault::Maybe(_) => {
                tracing::debug!(?ask, ?fault, "metastore request failed");
                Answer::Unknown
            }
        }
    }

    async fn answer(&self, ask: &Ask, extra: Extra) -> Result<Answer, Fault> {
        let begun = crate::clock::now();
        match ask {
            Ask::Join { role, slots, can } => {
                let Extra::Join { node, link, http, version } = &extra else { panic!("a join needs the node's name") };
                let (role, slots, can) = (*role, *slots, *can);
                self.members(&Join { role, slots, can, name: node, link, http, version }).await
            }
            Ask::Beat { by, brief } => self.beats(&Beat { by: *by, brief: brief.as_deref() }).await,
            Ask::List => self.looks(&List).await,
            Ask::Drain { by } => self.members(&Drain(*by)).await,
            Ask::Leave { by } => self.members(&Leave(*by)).await,
            Ask::Fence { member, evidence, beat, by } => {
                self.members(&FenceMember { member: *member, evidence: *evidence, beat: *beat, by: *by }).await
            }
            Ask::Claim { target, epoch, by, force } => {
                self.works(&Claim { target: *target, epoch: *epoch, by: *by, force: *force }).await
            }
            Ask::Yield { target, epoch, by } => self.works(&Yield { target: *target, epoch: *epoch, by: *by }).await,
            Ask::ListJobs => self.looks(&Jobs::Open).await,
            Ask::ReadJobs(ids) => self.looks(&Jobs::These(ids)).await,
            Ask::ListNode(node) => self.looks(&Jobs::OfNode(*node)).await,
            Ask::Submit { project, priority, placed, external, needs, key } => {
                let mut job = NewJob::new(*project, *key);
                (job.priority, job.placed, job.external, job.needs) = (*priority, *placed, *external, *needs);
                Ok(match self.submits(job).await? {
                    Submitted::Accepted { row, fresh } => Answer::Accepted { row, fresh },
                    Submitted::NoProject | Submitted::Overlaps(_) => Answer::Refused,
                    Submitted::Unknown => Answer::Unknown,
                })
            }
            Ask::Place { fence, node } => self.works(&Place { fence: *fence, node: *node }).await,
            Ask::Take { fence, by, in_order } => self.takes(Take { fence: *fence, by: *by, in_order: *in_order }).await,
            Ask::CommitStep { fence, by, step } => {
                let mut commit = Step {
                    fence: *fence,
                    by: *by,
                    step: *step,
                    name: format!("step {step}"),
                    result: None,
                    started_ms: None,
                    ended_ms: None,
                };
                if let Extra::CommitStep { name, result, started_ms, ended_ms } = extra {
                    commit.name = crate::submit::short(&name);
                    (commit.result, commit.started_ms, commit.ended_ms) = (result, started_ms, ended_ms);
                }
                let answer = self.commits(commit).await;
                self.or_end(*fence, *by, answer, begun).await
            }
            Ask::Finish { fence, by, outcome } => {
                let mut finish = Finish {
                    fence: *fence,
                    by: *by,
                    outcome: *outcome,
                    failure: None,
                    result: None,
                    publish: Vec::new(),
                };
                if let Extra::Finish { failure, result, publish } = extra {
                    (finish.result, finish.publish) = (result, publish);
                    finish.failure = failure.map(|text| crate::submit::printable(&text, FAILURE_MAX));
                }
                let answer = self.finishes(finish).await;
                self.or_end(*fence, *by, answer, begun).await
            }
            Ask::Release { fence, by, placed } => {
                self.releases(Release { fence: *fence, by: *by, placed: *placed }).await
            }
            Ask::Act { fence, state, action } => {
                self.works(&Act { fence: *fence, state: *state, action: *action }).await
            }
            Ask::SetSlots { member, slots } => self.works(&SetSlots { member: *member, slots: *slots }).await,
            Ask::SetCan { member, can } => self.works(&SetCan { member: *member, can: *can }).await,
            Ask::SetLimit { project, limit } => self.works(&SetLimit { project: project.0, limit: *limit }).await,
        }
    }
}

impl Store {
    /// If the metastore refuses an attempt's data permanently, retrying cannot succeed: the job ends in ERROR with the
    /// reason,
    /// under the same fence. For the attempt, this is the same as a change of the job by another client. The answer is
    /// [`Answer::Refused`], and the row shows the reason.
    async fn or_end(
        &self,
        fence: Fence,
        by: Member,
        answer: Result<Answer, Fault>,
        begun: tokio::time::Instant,
    ) -> Result<Answer, Fault> {
        let error = match answer {
            Err(Fault::Certain(error)) if error.is_final() => error,
            answer => return answer,
        };
        tracing::warn!(job = fence.job.0, epoch = fence.epoch.0, %error, "the metastore refused the job's result; the job fails");
        let failure = format!("the metastore cannot store the job's result: {error}");
        let finish = Finish {
            fence,
            by,
            outcome: Outcome::Failed,
            failure: Some(crate::submit::printable(&failure, FAILURE_MAX)),
            result: None,
            publish: Vec::new(),
        };
        let deadline = begun + self.ask_timeout();
        match tokio::time::timeout_at(deadline, Box::pin(self.finishes(finish))).await {
            Ok(Ok(Answer::Done)) => Ok(Answer::Refused),
            Ok(answer) => answer,
            Err(_) => Err(Fault::Maybe(StoreError::Late(self.ask_timeout()))),
        }
    }
}

/// The three requests that read jobs.
enum Jobs<'a> {
    Open,
    These(&'a [JobId]),
    OfNode(NodeId),
}

fn parsed(row: &Row) -> Option<JobRow> {
    job_row(row)
        .inspect_err(|error| {
            let id = row.int(0).ok().flatten();
            tracing::debug!(id, %error, "skipped a damaged job row; discard the job by force");
        })
        .ok()
}

impl Work for Jobs<'_> {
    type Out = Answer;
    const WRITES: bool = false;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        let rows = match self {
            Self::Open => connection.rows(|sql| &sql.jobs_open, &[]).await?,
            Self::These(ids) => {
                let ids = Table::default().ints(ids.iter().map(|id| id.0.cast_signed()));
                connection.rows(|sql| &sql.jobs_by_id, args![ids]).await?
            }
            Self::OfNode(node) => connection.rows(|sql| &sql.jobs_of_node, args![node.0]).await?,
        };
        // A row that does not parse must not hide the others.
        let mut jobs: Vec<JobRow> = rows.iter().filter_map(parsed).collect();
        jobs.sort_unstable_by_key(|job| job.id);
        jobs.dedup_by_key(|job| job.id);
        Ok(Answer::Jobs(jobs))
    }
}

struct SetLimit {
    project: u32,
    limit: u32,
}

impl Work for SetLimit {
    type Out = Answer;

    async fn run(&self, connection: &mut Connection) -> Result<Answer, Fault> {
        Ok(done_if(connection.alone(|sql| &sql.project_limit, args![self.project, self.limit]).await? > 0))
    }
}
