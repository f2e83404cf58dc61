//! The contract's front door: a request, what travels along with it, and its answer.

use kirin_core::ask::{JobId, JobRow};
use kirin_core::{Answer, Ask, NodeId};
use uuid::Uuid;

use crate::beat::{Beat, Drain, FenceMember, Join, Leave, List, SetCan, SetSlots, done_if};
use crate::claim::{Claim, Yield};
use crate::commit::{Act, Finish, Place, Release, Step};
use crate::error::{Fault, StoreError};
use crate::job::job_row;
use crate::line::{Line, Work};
use crate::segment::NewSegment;
use crate::store::Store;
use crate::submit::{NewJob, Submitted};
use crate::take::Take;
use crate::wire::{Table, args};

/// What travels along with a request: texts, addresses and wall time, for people and for executors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// With [`Ask::Join`], which needs it.
    Join {
        /// The node's name, which is its identity: the same name is the same node.
        node: String,
        /// Where its peers reach it.
        link: String,
        /// Where clients reach it.
        http: String,
        /// Its program's version.
        version: String,
    },
    /// With [`Ask::Submit`].
    Submit {
        /// What kind of job.
        kind: String,
        /// What it is about.
        subject: String,
        /// Who asked for it.
        submitter: String,
        /// What to do, as JSON for the executor.
        spec: String,
        /// Ranges to reserve in the same transaction; refused if one overlaps with a segment of its model.
        segments: Vec<NewSegment>,
    },
    /// With [`Ask::CommitStep`].
    CommitStep {
        /// The step's name.
        name: String,
        /// What it brought, as JSON.
        result: Option<String>,
        /// When it began.
        started_ms: Option<i64>,
        /// When it ended.
        ended_ms: Option<i64>,
    },
    /// With [`Ask::Finish`].
    Finish {
        /// Why the attempt failed.
        failure: Option<String>,
        /// What the job brought, as JSON.
        result: Option<String>,
        /// What becomes visible with it, if the attempt succeeded.
        publish: Vec<Publish>,
    },
}

/// A segment that becomes READY with this manifest, or whose manifest is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Which.
    pub segment: Uuid,
    /// Where its files are and what is in them, as JSON.
    pub manifest: String,
}

impl Store {
    /// Asks the metastore: one transaction, one answer, never later than the configured timeout. `extra` is what travels
    /// along; it must fit the request.
    ///
    /// # Panics
    /// If an [`Ask::Join`] comes without [`Extra::Join`]: a member without a name is a bug.
    pub async fn ask(&self, ask: &Ask, extra: Extra) -> Answer {
        match self.answer(ask, extra).await {
            Ok(answer) => answer,
            Err(fault) => {
                tracing::debug!(?ask, ?fault, "metastore request failed");
                match fault {
                    Fault::Again(_) | Fault::Certain(_) => Answer::Failed,
                    Fault::Maybe(_) => Answer::Unknown,
                }
            }
        }
    }

    async fn answer(&self, ask: &Ask, extra: Extra) -> Result<Answer, Fault> {
        match ask {
            Ask::Join { role, slots, can } => {
                let Extra::Join { node, link, http, version } = &extra else { panic!("a join needs its node's name") };
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
                if let Extra::Submit { kind, subject, submitter, spec, segments } = extra {
                    (job.kind, job.subject, job.submitter) = (kind, subject, submitter);
                    (job.spec, job.segments) = (spec, segments);
                }
                Ok(match self.submits(job).await? {
                    Submitted::Accepted { row, fresh } => Answer::Accepted { row, fresh },
                    Submitted::NoProject | Submitted::Overlaps(_) => Answer::Refused,
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
                self.commits(commit).await
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
                    (finish.failure, finish.result, finish.publish) = (failure, result, publish);
                }
                self.finishes(finish).await
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

/// The three requests that read jobs.
enum Jobs<'a> {
    Open,
    These(&'a [JobId]),
    OfNode(NodeId),
}

impl Work for Jobs<'_> {
    type Out = Answer;
    const WRITES: bool = false;

    async fn run(&self, line: &mut Line) -> Result<Answer, Fault> {
        let rows = match self {
            Self::Open => line.rows(|sql| &sql.jobs_open, &[]).await?,
            Self::These(ids) => {
                let ids = Table::default().ints(ids.iter().map(|id| id.0.cast_signed()));
                line.rows(|sql| &sql.jobs_by_id, args![ids]).await?
            }
            Self::OfNode(node) => line.rows(|sql| &sql.jobs_of_node, args![node.0]).await?,
        };
        let mut jobs: Vec<JobRow> = rows.iter().map(job_row).collect::<Result<_, StoreError>>()?;
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

    async fn run(&self, line: &mut Line) -> Result<Answer, Fault> {
        Ok(done_if(line.alone(|sql| &sql.project_limit, args![self.project, self.limit]).await? > 0))
    }
}
