//! The metastore in the node's terms: JSON is parsed, names are resolved, history is assembled.
//!
//! A thin layer over [`kirin_store`], which stores texts unparsed. It makes no decisions and caches only the names of
//! projects, whose ids never change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use kirin_core::ask::{Epoch, Fence, JobId, JobRow, ProjectId};
use kirin_core::{Answer, Ask, JobState, Member, NodeId};
pub use kirin_shell::report::{EndReport, Publish, StepReport};
pub use kirin_store::{Counts, DocKind, MemberInfo, NewSegment, SegmentState, StoreError, Traffic, wall_ms};
use kirin_store::{HistoryFilter, HistoryRow, Load, Seen, StoreConfig};
use serde_json::Value;
use uuid::Uuid;

/// The metastore.
#[derive(Clone)]
pub struct Store {
    inner: kirin_store::Store,
    names: Arc<RwLock<BTreeMap<ProjectId, String>>>,
}

/// Extra data of a request.
#[derive(Clone, Debug, Default)]
pub enum Extra {
    /// Nothing.
    #[default]
    None,
    /// With a join.
    Join(JoinInfo),
    /// With a submit.
    Submit(SubmitInfo),
    /// With the commit of a step.
    Step(Arc<StepReport>),
    /// With the end of an attempt.
    End(Arc<EndReport>),
}

/// What a node declares when it joins.
#[derive(Clone, Debug, Default)]
pub struct JoinInfo {
    /// Its name, which is its identity.
    pub name: String,
    /// The address for clients.
    pub http: String,
    /// The address for links from other nodes.
    pub link: String,
    /// The version of its program.
    pub version: String,
}

/// A job to submit.
#[derive(Clone, Debug, Default)]
pub struct SubmitInfo {
    /// The kind of job.
    pub kind: String,
    /// The job's subject.
    pub subject: String,
    /// The user that submitted it.
    pub submitter: String,
    /// The specification.
    pub spec: Value,
    /// Ranges to reserve in the same transaction.
    pub reserve: Vec<NewSegment>,
}

/// The result of several submits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// All are accepted. These jobs are new.
    All(Vec<JobRow>),
    /// The project no longer exists.
    NoProject,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobInfo {
    /// The part that the contract uses.
    pub row: JobRow,
    /// The error, if the row does not parse.
    pub broken: Option<String>,
    /// Its public id.
    pub uuid: Uuid,
    /// Its project's name.
    pub project: String,
    /// The kind of job.
    pub kind: String,
    /// The job's subject.
    pub subject: String,
    /// The user that submitted it.
    pub submitter: String,
    /// The specification.
    pub spec: Value,
    /// The progress in per mille.
    pub progress: u32,
    /// Why its last attempt failed.
    pub failure: Option<String>,
    /// When it was accepted.
    pub created_ms: i64,
    /// When it last changed.
    pub changed_ms: i64,
    /// When its first attempt started.
    pub started_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// The node of its last attempt, if that has ended.
    pub last_node: Option<NodeId>,
}

/// A filter and an order for jobs.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only jobs of this project.
    pub project: Option<ProjectId>,
    /// Only jobs in these states; empty for all.
    pub states: Vec<JobState>,
    /// Only jobs with this id, or with this text in the subject.
    pub key: Option<String>,
    /// Only jobs with this subject.
    pub subject: Option<String>,
    /// Only jobs accepted at or after this time.
    pub since_ms: Option<i64>,
    /// The sort key.
    pub sort: JobSort,
    /// Whether the order is descending.
    pub reverse: bool,
    /// The number of jobs to skip.
    pub offset: u64,
    /// The maximum number of jobs.
    pub limit: u64,
}

pub use kirin_store::JobSort;

/// A committed step.
#[derive(Clone, Debug)]
pub struct StepInfo {
    /// Its number, from 0.
    pub step: u32,
    /// Its name.
    pub name: String,
    /// Its result.
    pub result: Value,
    /// The epoch under which it was committed.
    pub epoch: Epoch,
    /// The node that committed it.
    pub node: NodeId,
    /// When it started.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
}

/// The maximum number of a project's jobs that run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectLimit {
    /// The project's own.
    Own(u32),
    /// The default; the project follows when it changes.
    Default(u32),
}

/// A project.
#[derive(Clone, Debug)]
pub struct ProjectInfo {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: String,
    /// A description.
    pub description: String,
    /// The user that created it; missing for projects of older versions.
    pub owner: Option<String>,
    /// The maximum number of its jobs that run at once.
    pub limit: u32,
    /// When it was created.
    pub created_ms: i64,
}

/// The definition of a table or model.
#[derive(Clone, Debug)]
pub struct Doc {
    /// The kind of object that it defines.
    pub kind: DocKind,
    /// Its name.
    pub name: String,
    /// The definition.
    pub value: Value,
    /// Changes with each change.
    pub revision: u64,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct SegmentInfo {
    /// Its id.
    pub id: Uuid,
    /// Its model.
    pub model: String,
    /// The job that reserved it or last published it.
    pub job: Uuid,
    /// The start of its range.
    pub start_ms: i64,
    /// The end of its range, exclusive.
    pub end_ms: i64,
    /// When it was reserved.
    pub created_ms: i64,
    /// When it was last published.
    pub changed_ms: i64,
    /// Whether it is readable.
    pub state: SegmentState,
    /// The epoch under which it was published.
    pub epoch: Epoch,
    /// Its manifest.
    pub manifest: Option<Value>,
}

/// A line of the history.
#[derive(Clone, Debug, Default)]
pub struct HistoryLine {
    /// The time, by the metastore's clock ([`wall_ms`]).
    pub at_ms: i64,
    /// The kind.
    pub kind: String,
    /// The member concerned.
    pub member: Option<Member>,
    /// The job concerned.
    pub job: Option<JobId>,
    /// The job's public id.
    pub job_uuid: Option<Uuid>,
    /// The member that did or reported it.
    pub by: Option<Member>,
    /// The evidence.
    pub evidence: Option<String>,
    /// Details.
    pub detail: Value,
}

/// The kinds of history lines.
pub mod kinds {
    /// A member joined.
    pub const JOINED: &str = "join";
    /// A member left.
    pub const LEFT: &str = "leave";
    /// A member was declared dead.
    pub const FENCED: &str = "fence";
    /// A job was taken over because its holder was dead.
    pub const TOOK_OVER: &str = "takeover";
    /// A job was released.
    pub const HANDED_OVER: &str = "handover";
}

/// What retention deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Finished jobs, with their steps and attempts.
    Jobs,
    /// Lines of history.
    History,
    /// Members without references.
    Members,
}

type Read<T> = Result<T, StoreError>;

fn json(text: &str) -> Read<Value> {
    serde_json::from_str(text).map_err(|e| StoreError::Corrupt(format!("not valid JSON: {e}")))
}

/// The owner in the settings of a project.
fn owner(settings: &str) -> Option<String> {
    serde_json::from_str::<Value>(settings).ok()?.get("owner")?.as_str().map(str::to_owned)
}

fn submit_extra(info: SubmitInfo) -> kirin_store::Extra {
    kirin_store::Extra::Submit {
        kind: info.kind,
        subject: info.subject,
        submitter: info.submitter,
        spec: info.spec.to_string(),
        segments: info.reserve,
    }
}

impl Store {
    /// Opens the metastore and brings its schema up to date.
    ///
    /// # Errors
    /// If it cannot be reached or used.
    pub async fn open(config: &StoreConfig) -> Read<Self> {
        Ok(Self { inner: kirin_store::Store::open(config).await?, names: Arc::default() })
    }

    /// The traffic since the metastore was opened.
    pub fn traffic(&self) -> Traffic {
        self.inner.traffic()
    }

    /// Sends a request of the contract.
    pub async fn ask(&self, ask: &Ask, extra: Extra) -> Answer {
        use kirin_store::Extra as Raw;
        let raw = match extra {
            Extra::None => Raw::None,
            Extra::Join(JoinInfo { name, http, link, version }) => Raw::Join { node: name, link, http, version },
            Extra::Submit(info) => submit_extra(info),
            Extra::Step(report) => Raw::CommitStep {
                name: report.name.clone(),
                result: Some(report.result.to_string()),
                started_ms: Some(report.started_ms),
                ended_ms: Some(report.ended_ms),
            },
            Extra::End(report) => Raw::Finish {
                failure: report.failure.clone(),
                result: None,
                publish: report
                    .publish
                    .iter()
                    .map(|p| kirin_store::Publish { segment: p.segment, manifest: p.manifest.to_string() })
                    .collect(),
            },
        };
        self.inner.ask(ask, raw).await
    }

    /// Accepts a job, as [`Store::ask`] does, and returns the reason for a permanent refusal.
    ///
    /// # Errors
    /// If the metastore refuses this job permanently. A temporary failure is an answer.
    pub async fn submit(&self, ask: &Ask, info: SubmitInfo) -> Read<Answer> {
        self.inner.ask_or_say_why(ask, submit_extra(info)).await
    }

    /// Accepts several jobs without ranges in one commit: all or none.
    ///
    /// # Errors
    /// If the metastore cannot be written. After a lost reply, the jobs may have been accepted: submit them again with
    /// the same keys.
    pub async fn submit_all(&self, jobs: Vec<(Ask, SubmitInfo)>) -> Read<Accepted> {
        let mut raw = Vec::new();
        for (ask, info) in jobs {
            let Ask::Submit { project, priority, placed, external, needs, key } = ask else {
                return Err(StoreError::Config(format!("{ask:?} is not a submit")));
            };
            raw.push(kirin_store::NewJob {
                priority,
                placed,
                external,
                needs,
                kind: info.kind,
                subject: info.subject,
                submitter: info.submitter,
                spec: info.spec.to_string(),
                segments: info.reserve,
                ..kirin_store::NewJob::new(project, key)
            });
        }
        let mut fresh_rows = Vec::new();
        for submitted in self.inner.submit_many(&raw).await? {
            match submitted {
                kirin_store::Submitted::Accepted { row, fresh } => fresh_rows.extend(fresh.then_some(row)),
                kirin_store::Submitted::NoProject | kirin_store::Submitted::Overlaps(_) => {
                    return Ok(Accepted::NoProject);
                }
            }
        }
        Ok(Accepted::All(fresh_rows))
    }

    /// The living members.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn directory(&self) -> Read<Vec<MemberInfo>> {
        self.inner.directory(false).await
    }

    /// All members that are not deleted yet.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn all_members(&self) -> Read<Vec<MemberInfo>> {
        self.inner.directory(true).await
    }

    // --- jobs ---

    /// The existing jobs among `ids`.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn jobs_by_id(&self, ids: &[JobId]) -> Read<Vec<JobInfo>> {
        let mut jobs = Vec::new();
        for job in self.inner.jobs_by_id(ids).await? {
            jobs.push(self.job_info(job).await?);
        }
        Ok(jobs)
    }

    /// One job by its public id.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn job_by_uuid(&self, uuid: Uuid) -> Read<Option<JobInfo>> {
        match self.inner.job_by_uuid(uuid).await? {
            Some(job) => self.job_info(job).await.map(Some),
            None => Ok(None),
        }
    }

    /// Discards a job whose row no longer parses; false if it does not exist.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn discard_by_force(&self, uuid: Uuid) -> Read<bool> {
        self.inner.discard_by_force(uuid).await
    }

    /// The number of jobs that each node runs and has in its queue.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn loads(&self) -> Read<BTreeMap<NodeId, Load>> {
        self.inner.loads().await
    }

    /// A page of jobs, and the number of jobs on all pages.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn jobs(&self, filter: &JobFilter) -> Read<(Vec<JobInfo>, u64)> {
        let page = self
            .inner
            .jobs(&kirin_store::JobFilter {
                project: filter.project,
                states: filter.states.clone(),
                subject: filter.subject.clone(),
                key: filter.key.clone(),
                created_from_ms: filter.since_ms,
                sort: filter.sort,
                reverse: filter.reverse,
                offset: filter.offset,
                limit: filter.limit,
                ..kirin_store::JobFilter::default()
            })
            .await?;
        let mut jobs = Vec::new();
        for job in page.jobs {
            jobs.push(self.job_info(job).await?);
        }
        Ok((jobs, page.total))
    }

    async fn job_info(&self, job: kirin_store::JobInfo) -> Read<JobInfo> {
        Ok(JobInfo {
            project: self.project_name(job.row.project).await?,
            row: job.row,
            broken: job.broken,
            uuid: job.uuid,
            kind: job.kind,
            subject: job.subject,
            submitter: job.submitter,
            // A damaged specification must not hide the job. The executor reports the error.
            spec: json(&job.spec).unwrap_or_default(),
            progress: job.progress.and_then(|text| text.parse().ok()).unwrap_or(0),
            failure: job.failure,
            created_ms: job.created_ms,
            changed_ms: job.changed_ms,
            started_ms: job.started_ms,
            ended_ms: job.ended_ms,
            last_node: job.last_node,
        })
    }

    /// The committed steps of a job.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn steps(&self, id: JobId) -> Read<Vec<StepInfo>> {
        let steps = self.inner.steps(id).await?;
        let info = |step: kirin_store::StepInfo| {
            Ok(StepInfo {
                step: step.index,
                name: step.name,
                result: step.result.as_deref().map(json).transpose()?.unwrap_or_default(),
                epoch: step.epoch,
                node: step.node,
                started_ms: step.started_ms.unwrap_or(0),
                ended_ms: step.ended_ms.unwrap_or(0),
            })
        };
        steps.into_iter().map(info).collect()
    }

    /// Stores the progress of an attempt. Refused under a stale fence.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn progress(&self, fence: Fence, by: Member, per_mille: u32) -> Read<bool> {
        self.inner.progress(fence, by, &per_mille.to_string()).await
    }

    /// Stores a member's token in the working directory and the problem with that directory. `false` if the member is not
    /// alive.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn member_proof(&self, member: Member, token: Option<&str>, trouble: Option<&str>) -> Read<bool> {
        self.inner.member_proof(member, token, trouble).await
    }

    // --- projects ---

    async fn project_name(&self, id: ProjectId) -> Read<String> {
        if let Some(name) = self.names.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(name.clone());
        }
        self.projects().await?;
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        Ok(names.get(&id).cloned().unwrap_or_else(|| id.0.to_string()))
    }

    /// All projects.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn projects(&self) -> Read<Vec<ProjectInfo>> {
        let projects = self.inner.projects().await?;
        let names = projects.iter().map(|project| (project.id, project.name.clone()));
        let mut known = self.names.write().unwrap_or_else(PoisonError::into_inner);
        // Names of dropped projects are kept for users while they are few.
        if known.len() > 4096 {
            known.clear();
        }
        known.extend(names);
        drop(known);
        let info = |project: kirin_store::Project| ProjectInfo {
            id: project.id,
            name: project.name,
            description: project.description,
            owner: owner(&project.settings),
            limit: project.limit,
            created_ms: project.created_ms,
        };
        Ok(projects.into_iter().map(info).collect())
    }

    /// The project with this name, ignoring case.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn project(&self, name: &str) -> Read<Option<ProjectInfo>> {
        Ok(self.projects().await?.into_iter().find(|project| project.name.eq_ignore_ascii_case(name)))
    }

    /// Creates a project. `None` if the name exists.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn create_project(
        &self,
        name: &str,
        description: &str,
        owner: &str,
        limit: ProjectLimit,
    ) -> Read<Option<ProjectInfo>> {
        let owner = Some(owner.to_owned());
        let settings = serde_json::json!({ "owner": owner }).to_string();
        let (made, limit) = match limit {
            ProjectLimit::Own(limit) => (self.inner.project_add(name, limit, description, &settings).await?, limit),
            ProjectLimit::Default(limit) => {
                (self.inner.project_add_by_default(name, limit, description, &settings).await?, limit)
            }
        };
        let (name, description) = (name.to_owned(), description.to_owned());
        Ok(made.map(|id| ProjectInfo { id, name, description, owner, limit, created_ms: wall_ms() }))
    }

    /// Sets the limit of every project that has none of its own.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn set_default_limit(&self, limit: u32) -> Read<()> {
        self.inner.project_default_limit(limit).await
    }

    /// Drops a project; false if it has documents or open jobs, or does not exist.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn drop_project(&self, id: ProjectId) -> Read<bool> {
        self.inner.project_drop(id).await
    }

    // --- tables, models, segments ---

    /// The definitions in a project.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn docs(&self, project: ProjectId) -> Read<Vec<Doc>> {
        let mut docs = Vec::new();
        for kind in [DocKind::Table, DocKind::Model] {
            for doc in self.inner.docs(project, kind).await? {
                let value = json(&doc.body).unwrap_or_default();
                docs.push(Doc { kind, name: doc.name, value, revision: doc.revision });
            }
        }
        Ok(docs)
    }

    /// Adds a definition; false if the name exists, or the catalog has another revision.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn add_doc(
        &self,
        project: ProjectId,
        kind: DocKind,
        name: &str,
        value: &Value,
        catalog: u64,
    ) -> Read<bool> {
        let seen = Seen { revision: 0, catalog: Some(catalog) };
        Ok(self.inner.doc_put(project, kind, name, &value.to_string(), seen).await?.is_some())
    }

    /// Drops a definition; false if it has changed, or the catalog has another revision.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn drop_doc(&self, project: ProjectId, doc: &Doc, catalog: u64) -> Read<bool> {
        let seen = Seen { revision: doc.revision, catalog: Some(catalog) };
        self.inner.doc_drop(project, doc.kind, &doc.name, seen).await
    }

    /// The project's id and the revision of its catalog, which changes with everything that queries see.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn catalog_revision(&self, project: &str) -> Read<Option<(ProjectId, u64)>> {
        let known = {
            let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
            // A dropped project may have had the same name. The newest project has the greatest id.
            names.iter().rev().find(|(_, name)| name.eq_ignore_ascii_case(project)).map(|(id, _)| *id)
        };
        if let Some(id) = known
            && let Some(revision) = self.inner.catalog_revision(id).await?
        {
            return Ok(Some((id, revision)));
        }
        // The project is not cached or was dropped. Another project may have the name.
        let Some(found) = self.project(project).await? else { return Ok(None) };
        Ok(self.inner.catalog_revision(found.id).await?.map(|revision| (found.id, revision)))
    }

    /// The segments of a project, of one model or all models.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn segments(&self, project: ProjectId, model: Option<&str>) -> Read<Vec<SegmentInfo>> {
        let info = |segment: kirin_store::Segment| SegmentInfo {
            id: segment.id,
            model: segment.model,
            job: segment.job,
            start_ms: segment.start_ms,
            end_ms: segment.end_ms,
            created_ms: segment.created_ms,
            changed_ms: segment.changed_ms,
            state: segment.state,
            epoch: segment.epoch,
            manifest: segment.manifest.as_deref().and_then(|text| json(text).ok()),
        };
        Ok(self.inner.segments(project, model).await?.into_iter().map(info).collect())
    }

    /// Replaces the manifest of a segment; false if it was dropped or published again after it was read.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn annotate_segment(&self, read: &SegmentInfo, manifest: &Value) -> Read<bool> {
        self.inner.segment_annotate(read.id, read.job, read.epoch, &manifest.to_string()).await
    }

    /// Drops a readable segment; false if it cannot be dropped.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn drop_segment(&self, id: Uuid) -> Read<bool> {
        self.inner.segment_drop(id).await
    }

    // --- settings and history ---

    /// A setting of the cluster.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn setting(&self, name: &str) -> Read<Option<String>> {
        self.inner.setting(name).await
    }

    /// Writes a setting if it does not exist. Returns the current value.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn put_setting_if_absent(&self, name: &str, value: &str) -> Read<String> {
        Ok(self.inner.setting_or(name, value).await?.0)
    }

    /// Writes a setting.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn put_setting(&self, name: &str, value: &str) -> Read<()> {
        self.inner.setting_put(name, value).await
    }

    /// Adds a line to the history.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn append_history(&self, line: HistoryLine) -> Read<()> {
        let row = HistoryRow {
            at_ms: line.at_ms,
            kind: line.kind,
            member: line.member,
            job: line.job,
            by: line.by,
            evidence: line.evidence,
            detail: Some(line.detail.to_string()),
            ..HistoryRow::default()
        };
        self.inner.history_add(&row).await
    }

    /// Replaces the rows of the finished counts by their sums, so that reading them stays fast.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn sum_up(&self) -> Read<()> {
        self.inner.sum_up().await
    }

    /// Deletes some rows that ended before this time. Returns the number.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn forget(&self, what: Old, before_ms: i64) -> Read<u64> {
        match what {
            Old::Jobs => self.inner.retain_jobs(before_ms).await,
            Old::History => self.inner.retain_history(before_ms).await,
            Old::Members => self.inner.retain_members(before_ms).await,
        }
    }

    /// The last `limit` lines of the history, latest first.
    ///
    /// Joins and ends are read from the members' rows, so none is missing. Measurements of them, and takeovers, are
    /// read from the lines that the acting members wrote.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn history(&self, limit: u32) -> Read<Vec<HistoryLine>> {
        let filter = HistoryFilter { limit: limit.saturating_mul(2), ..HistoryFilter::default() };
        let mut written = Vec::new();
        for row in self.inner.history(&filter).await? {
            written.push(HistoryLine {
                at_ms: row.at_ms,
                kind: row.kind,
                member: row.member,
                job: row.job,
                job_uuid: row.uuid,
                by: row.by,
                evidence: row.evidence,
                detail: row.detail.as_deref().and_then(|text| json(text).ok()).unwrap_or_default(),
            });
        }
        let (measured, mut lines): (Vec<_>, Vec<_>) = written.into_iter().partition(|line| line.kind == kinds::FENCED);
        let members = self.all_members().await?;
        for line in lines.iter_mut().filter(|line| line.kind == kinds::TOOK_OVER && line.evidence.is_none()) {
            let of = members.iter().find(|info| Some(info.member) == line.member);
            line.evidence = of.and_then(|info| info.evidence.clone());
        }
        for info in members {
            lines.push(HistoryLine {
                at_ms: info.joined_ms,
                kind: kinds::JOINED.to_owned(),
                member: Some(info.member),
                detail: serde_json::json!({ "role": info.role, "version": info.version }),
                ..HistoryLine::default()
            });
            if let Some(at_ms) = info.ended_ms {
                let end = measured.iter().find(|line| line.member == Some(info.member));
                let kind = if info.evidence.as_deref() == Some("left") { kinds::LEFT } else { kinds::FENCED };
                lines.push(HistoryLine {
                    at_ms,
                    kind: kind.to_owned(),
                    member: Some(info.member),
                    by: info.ended_by,
                    evidence: info.evidence,
                    detail: end.map(|line| line.detail.clone()).unwrap_or_default(),
                    ..HistoryLine::default()
                });
            }
        }
        lines.sort_by_key(|line| std::cmp::Reverse(line.at_ms));
        lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(lines)
    }
}
