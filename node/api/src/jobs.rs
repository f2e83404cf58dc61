//! Jobs: submit, list, look into, act upon.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use kirin_core::ask::{Fence, JobId, JobRow, Priority, ProjectId};
use kirin_core::job::JobEvent;
use kirin_core::queue::Blocked;
use kirin_core::{Action, Answer, Ask, Event, JobState, Member};
use kirin_executor::build::BuildSpec;
use kirin_metastore::{
    Accepted, Extra, JobFilter, JobInfo, JobSort, NewSegment, ProjectInfo, StepInfo, SubmitInfo, wall_ms,
};
use kirin_wire::{
    ADMIN, Code, Done, JobAction, JobView, JobsQuery, LAST_PRIORITY, Page, Paging, StepInfoView, StepOutput, StepView,
    Submit, Submitted, SubmittedJob, WhyView,
};
use serde::Deserialize;
use serde_json::Value;

use super::{ApiError, Body, Context, Data, Params, Result, Shared, header_text, page};
use kirin_executor::{self as executor, capability_names};
use kirin_shell::link::Question;

/// How often an action is tried again when the job changes under it.
const ACT_TRIES: u32 = 5;

// --- submit ---

/// A job to be accepted.
pub(super) struct NewJob {
    /// What kind of executor runs it.
    pub kind: &'static str,
    /// What it is about: the model's name, say.
    pub subject: String,
    /// What to do.
    pub spec: Value,
    /// 0 is the most urgent.
    pub priority: u8,
    /// The same key again makes no other job.
    pub key: Option<String>,
    /// The segments whose range it reserves.
    pub reserve: Vec<NewSegment>,
}

/// `POST /jobs`: a job of any kind but a build.
pub(super) async fn submit(State(context): Shared, headers: HeaderMap, Body(body): Body<Submit>) -> Result<Submitted> {
    let project = super::project(&context, &body.project).await?;
    let executor = context.attempts.executor(&body.kind).map_err(ApiError::bad)?;
    if let Some(own) = executor.own_endpoint() {
        return Err(ApiError::bad(own.what).suggest(own.instead));
    }
    let job = NewJob {
        kind: executor.kind(),
        subject: body.subject.unwrap_or_else(|| body.kind.clone()),
        spec: body.spec,
        priority: body.priority,
        key: body.idempotency_key.or_else(|| header_text(&headers, "idempotency-key").map(str::to_owned)),
        reserve: Vec::new(),
    };
    let job = accept(&context, &project, job).await?;
    Ok(Data(Submitted { job_id: job.job_id.clone(), jobs: vec![job], segment_id: None }))
}

/// Checks a job and places it on a queue: the job as the metastore takes it.
async fn prepare(
    context: &Context,
    project: &ProjectInfo,
    job: NewJob,
    key: uuid::Uuid,
) -> std::result::Result<(Ask, SubmitInfo), ApiError> {
    if job.priority > LAST_PRIORITY {
        let text = format!("priority is {}, allowed is 0 (first) to {LAST_PRIORITY} (last)", job.priority);
        return Err(ApiError::bad(text));
    }
    let executor = context.attempts.executor(job.kind).map_err(ApiError::bad)?;
    executor.steps(&job.spec).map_err(ApiError::bad)?;
    let (placing, needs) = (key.as_u64_pair().1, executor.needs());
    let placed = context.mind.look(move |node, _| node.place(placing, needs)).await.flatten();
    let ask = Ask::Submit {
        project: project.id,
        priority: Priority(job.priority),
        placed,
        external: executor.is_external(),
        needs,
        key: key.as_u128(),
    };
    let info = SubmitInfo {
        kind: job.kind.to_owned(),
        subject: job.subject,
        submitter: ADMIN.to_owned(),
        spec: job.spec,
        reserve: job.reserve,
    };
    Ok((ask, info))
}

/// Accepts a job: checks it, has it committed, tells whom it concerns. Returns its public id and type.
pub(super) async fn accept(
    context: &Context,
    project: &ProjectInfo,
    job: NewJob,
) -> std::result::Result<SubmittedJob, ApiError> {
    let key = job_key(project.id, job.key.as_deref());
    let job_name = context.attempts.job_type(job.kind, &job.spec);
    let (ask, info) = prepare(context, project, job, key).await?;
    match context.store.submit(&ask, info).await? {
        Answer::Accepted { row, fresh } => {
            if fresh {
                context.mind.tell(Event::Told(vec![row]));
            }
            Ok(SubmittedJob { job_name, job_id: key.to_string() })
        }
        Answer::Refused => {
            Err(ApiError::new(Code::Overlap, "the range overlaps a segment that exists or is being built")
                .suggest("see `kirin segment list`; choose another range, or drop or refresh the segment"))
        }
        Answer::Unknown => {
            Err(ApiError::unavailable("the metastore's reply was lost: the job may or may not be accepted"))
        }
        _ => Err(ApiError::unavailable("the job was not accepted")),
    }
}

/// Accepts several jobs that reserve no ranges: all of them in one commit, or none.
pub(super) async fn accept_all(
    context: &Context,
    project: &ProjectInfo,
    jobs: Vec<NewJob>,
) -> std::result::Result<Vec<SubmittedJob>, ApiError> {
    let mut submitted = Vec::new();
    let mut prepared = Vec::new();
    for job in jobs {
        let key = job_key(project.id, job.key.as_deref());
        let job_name = context.attempts.job_type(job.kind, &job.spec);
        prepared.push(prepare(context, project, job, key).await?);
        submitted.push(SubmittedJob { job_name, job_id: key.to_string() });
    }
    match context.store.submit_all(prepared).await? {
        Accepted::All(fresh) => {
            if !fresh.is_empty() {
                context.mind.tell(Event::Told(fresh));
            }
            Ok(submitted)
        }
        Accepted::NoProject => Err(ApiError::no_project(&project.name)),
    }
}

/// The job's public id: made from the key, if there is one, so that the same key names the same job on every node.
fn job_key(project: ProjectId, key: Option<&str>) -> uuid::Uuid {
    /// Names idempotency keys of Kirin's jobs.
    const KEYS: uuid::Uuid = uuid::Uuid::from_u128(0x6b69_7269_6e2d_6a6f_622d_6b65_7973_0001);
    key.map_or_else(uuid::Uuid::now_v7, |key| uuid::Uuid::new_v5(&KEYS, format!("{}/{key}", project.0).as_bytes()))
}

// --- show ---

/// `GET /jobs`: a page of jobs.
pub(super) async fn list(State(context): Shared, Params(params): Params<JobsQuery>) -> Result<Page<JobView>> {
    let paging = Paging { page_offset: params.page_offset, page_size: params.page_size };
    let (offset, size) = page(paging, 10)?;
    let mut states = Vec::new();
    for status in &params.statuses {
        states.extend(states_of(status)?);
    }
    let project = match &params.project {
        Some(name) if !name.is_empty() => Some(super::project(&context, name).await?.id),
        _ => None,
    };
    let days = match params.time_filter.unwrap_or(4) {
        0 => Some(1),
        1 => Some(7),
        2 => Some(30),
        3 => Some(365),
        4 => None,
        other => return Err(ApiError::bad(format!("time_filter is {other}, allowed are 0 to 4"))),
    };
    let sort = match params.sort_by.as_deref().unwrap_or("last_modified") {
        "last_modified" => JobSort::Changed,
        "create_time" => JobSort::Created,
        "project" => JobSort::Project,
        "target_subject" | "job_name" => JobSort::Subject,
        "total_duration" | "duration" => JobSort::Duration,
        other => return Err(ApiError::bad(format!("sort_by is '{other}', which is not a column of the list"))),
    };
    let filter = JobFilter {
        project,
        states,
        key: params.key,
        subject: params.subject,
        since_ms: days.map(|days: i64| wall_ms() - days * 86_400_000),
        sort,
        reverse: params.reverse.unwrap_or(true),
        offset: offset.saturating_mul(size),
        limit: size.min(10_000),
    };
    let (jobs, total_size) = context.store.jobs(&filter).await?;
    learn(&context, &jobs).await;
    let value = jobs.iter().map(|job| job_view(&context, job, None)).collect();
    Ok(Data(Page { value, offset, limit: size, total_size }))
}

/// `GET /jobs/{id}`.
pub(super) async fn show(State(context): Shared, Path(id): Path<String>) -> Result<JobView> {
    let job = find(&context, &id).await?;
    learn(&context, std::slice::from_ref(&job)).await;
    let steps = steps_of(&context, &job).await?;
    Ok(Data(job_view(&context, &job, Some(steps))))
}

/// `GET /jobs/{id}/detail`: the steps.
pub(super) async fn detail(State(context): Shared, Path(id): Path<String>) -> Result<Vec<StepView>> {
    let job = find(&context, &id).await?;
    Ok(Data(steps_of(&context, &job).await?))
}

/// The output of a step, as Kylin's UI asks for it.
pub(super) async fn output(State(context): Shared, Path((id, step)): Path<(String, String)>) -> Result<StepOutput> {
    let job = find(&context, &id).await?;
    let text = read_log(&context, &job, &step).await?;
    Ok(Data(StepOutput { job_id: job.uuid.to_string(), step_id: step, cmd_output: text }))
}

/// The log of a step, as text.
pub(super) async fn log(
    State(context): Shared,
    Path((id, step)): Path<(String, String)>,
) -> std::result::Result<Response, ApiError> {
    let job = find(&context, &id).await?;
    let text = read_log(&context, &job, &step).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn read_log(context: &Context, job: &JobInfo, step: &str) -> std::result::Result<String, ApiError> {
    // Kylin's step ids are `<job>_<number>`.
    let total = u32::try_from(plan(context, job).len()).unwrap_or(u32::MAX);
    let number = step.rsplit('_').next().and_then(|n| n.parse().ok()).filter(|n: &u32| *n < total.max(1));
    let number = number.ok_or_else(|| {
        ApiError::new(Code::NoJob, format!("the job has no step '{step}'")).suggest(format!(
            "use {}_00 to {}_{:02}",
            job.uuid,
            job.uuid,
            total.saturating_sub(1)
        ))
    })?;
    let dir = context.attempts.log_dir(job);
    tokio::task::spawn_blocking(move || executor::log::read(&dir, number))
        .await
        .map_err(ApiError::internal)?
        .map_err(|e| ApiError::internal(format!("the log can't be read: {e}")))
}

/// Makes sure that the nodes of these jobs can be named.
async fn learn(context: &Context, jobs: &[JobInfo]) {
    let rows = jobs.iter().map(|job| job.row);
    let nodes: Vec<_> = rows.flat_map(|row| [row.holder.map(|holder| holder.node), row.placed]).flatten().collect();
    context.directory.learn(&nodes).await;
}

async fn find(context: &Context, id: &str) -> std::result::Result<JobInfo, ApiError> {
    let job = match id.parse() {
        Ok(uuid) => context.store.job_by_uuid(uuid).await?,
        Err(_) => None,
    };
    job.ok_or_else(|| ApiError::new(Code::NoJob, format!("there is no job '{id}'")).suggest("see `kirin job list`"))
}

/// Kylin's public status of a job.
pub(super) fn status(state: JobState, is_held: bool) -> &'static str {
    match state {
        JobState::Ready | JobState::Pending if is_held => "STOPPING",
        JobState::Ready | JobState::Pending => "PENDING",
        JobState::Running => "RUNNING",
        JobState::Error => "ERROR",
        JobState::Paused if is_held => "STOPPING",
        JobState::Paused => "STOPPED",
        JobState::Discarded | JobState::Suicidal => "DISCARDED",
        JobState::Succeed => "FINISHED",
    }
}

fn states_of(status: &str) -> std::result::Result<&'static [JobState], ApiError> {
    use JobState::{Discarded, Error, Paused, Pending, Ready, Running, Succeed, Suicidal};
    Ok(match status.to_ascii_uppercase().as_str() {
        "PENDING" | "NEW" => &[Ready, Pending],
        "RUNNING" => &[Running],
        "ERROR" => &[Error],
        "STOPPED" | "STOPPING" => &[Paused],
        "DISCARDED" => &[Discarded, Suicidal],
        "FINISHED" => &[Succeed],
        _ => {
            return Err(ApiError::bad(format!(
                "there is no status '{status}'; allowed are PENDING, RUNNING, ERROR, STOPPED, DISCARDED, FINISHED"
            )));
        }
    })
}

fn job_view(context: &Context, job: &JobInfo, steps: Option<Vec<StepView>>) -> JobView {
    let now = wall_ms();
    let (start, end) = (job.started_ms.unwrap_or(0), job.ended_ms.unwrap_or(0));
    let over = if end > 0 { end } else { now };
    // Wall clocks of several machines are subtracted here: for people, and never below zero.
    let duration = if start > 0 { over - start } else { 0 };
    let wait = if start > 0 { start - job.created_ms } else { over - job.created_ms };
    let done = f64::from(job.row.steps);
    let total = plan(context, job).len();
    let build = BuildSpec::deserialize(&job.spec).ok();
    let (data_range_start, data_range_end) =
        build.as_ref().map_or(kirin_service::catalog::FULL, |spec| kirin_service::catalog::ends(&spec.build.range));
    JobView {
        id: job.uuid.to_string(),
        uuid: job.uuid.to_string(),
        job_name: context.attempts.job_type(&job.kind, &job.spec),
        job_status: status(job.row.state, job.row.holder.is_some()).to_owned(),
        scheduler_state: job.row.state.name().to_owned(),
        kind: job.kind.clone(),
        project: job.project.clone(),
        submitter: job.submitter.clone(),
        target_model: job.subject.clone(),
        target_subject: job.subject.clone(),
        target_subject_error: false,
        target_segments: build.into_iter().map(|spec| spec.segment).collect(),
        create_time: job.created_ms,
        last_modified: job.changed_ms,
        exec_start_time: start,
        exec_end_time: end,
        duration: span(duration),
        total_duration: span(over - job.created_ms),
        wait_time: span(wait),
        step_ratio: if total == 0 { 0.0 } else { done / total as f64 },
        // The last report of a worker may be older than its end.
        progress: if job.row.state == JobState::Succeed { 100.0 } else { f64::from(job.progress) / 10.0 },
        data_range_start,
        data_range_end,
        steps,
        discard_safety: true,
        job_scheduler_mode: "CHAIN".to_owned(),
        priority: job.row.priority.0,
        epoch: job.row.epoch.0,
        node: job.row.holder.map(|holder| context.directory.name(holder.node)).unwrap_or_default(),
        placed: job.row.placed.map(|node| context.directory.name(node)),
        failed_msg: job.broken.clone().or_else(|| job.failure.clone()),
        broken: job.broken.is_some(),
        version: 0,
    }
}

/// A difference of two wall clocks, for people: never below zero.
fn span(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

/// The names of the steps that the job has, also of a kind that this node is not able to run.
fn plan(context: &Context, job: &JobInfo) -> Vec<String> {
    context.attempts.executor(&job.kind).and_then(|executor| executor.steps(&job.spec)).unwrap_or_default()
}

async fn steps_of(context: &Context, job: &JobInfo) -> std::result::Result<Vec<StepView>, ApiError> {
    let done = context.store.steps(job.row.id).await?;
    let nodes: Vec<_> = done.iter().map(|step| step.node).collect();
    context.directory.learn(&nodes).await;
    let mut steps: Vec<_> = done.iter().map(|step| step_view(context, job, step)).collect();
    for (number, name) in plan(context, job).into_iter().enumerate().skip(steps.len()) {
        let first_open = number == done.len();
        let status = match job.row.state {
            JobState::Running if first_open => "RUNNING",
            JobState::Error if first_open => "ERROR",
            JobState::Discarded | JobState::Suicidal => "DISCARDED",
            JobState::Paused => "STOPPED",
            _ => "PENDING",
        };
        steps.push(StepView {
            id: format!("{}_{number:02}", job.uuid),
            name,
            sequence_id: number as u64,
            step_status: status.to_owned(),
            failed_msg: job.failure.clone().filter(|_| status == "ERROR"),
            ..StepView::default()
        });
    }
    Ok(steps)
}

fn step_view(context: &Context, job: &JobInfo, step: &StepInfo) -> StepView {
    let node = context.directory.name(step.node);
    StepView {
        id: format!("{}_{:02}", job.uuid, step.step),
        name: step.name.clone(),
        sequence_id: u64::from(step.step),
        step_status: "FINISHED".to_owned(),
        exec_start_time: step.started_ms,
        exec_end_time: step.ended_ms,
        duration: span(step.ended_ms - step.started_ms),
        epoch: step.epoch.0,
        info: Some(StepInfoView { node_info: node.clone() }),
        node,
        result: step.result.clone(),
        failed_msg: None,
    }
}

// --- why ---

/// `GET /jobs/{id}/why`: the rule that keeps the job from starting.
pub(super) async fn why(State(context): Shared, Path(id): Path<String>) -> Result<WhyView> {
    let job = find(&context, &id).await?;
    let number = job.row.id;
    let (mut blocked, home, ahead) = context
        .mind
        .look(move |node, now| (node.why(now, number), node.queue().home(number), node.queue().waiting()))
        .await
        .unwrap_or_default();
    if job.row.state.is_waiting()
        && let Some(Blocked::Elsewhere { node } | Blocked::NodeFull { node, .. }) = blocked
        && let Some(answer) = ask_home(&context, node, number).await
    {
        blocked = answer;
    }
    learn(&context, std::slice::from_ref(&job)).await;
    let name = |node| context.directory.name(node);
    let (reason, detail, next) = match blocked {
        _ if !job.row.state.is_waiting() => state_reason(&context, &job),
        None => ("next", "it is about to start".to_owned(), String::new()),
        Some(Blocked::State { state }) => ("state", format!("the job is in state {}", state.name()), String::new()),
        Some(Blocked::Stopping { holder }) => (
            "stopping",
            format!("its last attempt on {} was told to stop and has not stopped yet", name(holder.node)),
            "the end of that attempt, or the fencing of its node".to_owned(),
        ),
        Some(Blocked::Taking) => ("taking", "a node is taking it at this moment".to_owned(), String::new()),
        Some(Blocked::NoJobNode) => (
            "no_job_node",
            "no node that is up runs jobs".to_owned(),
            "a node with kylin.server.mode=all or job, and slots".to_owned(),
        ),
        Some(Blocked::NoNodeCan { needs }) => (
            "no_node_can",
            format!("no node can run it: no job node that is up is able to run: {}", capability_names(needs)),
            "a job node that is able to (for commands: kirin.command.enabled=true)".to_owned(),
        ),
        Some(Blocked::ProjectFull { limit, running }) => (
            "project_full",
            format!("its project runs {running} jobs and may run {limit} (kylin.job.max-concurrent-jobs)"),
            "the end of one of them, or a higher limit".to_owned(),
        ),
        Some(Blocked::Behind { next }) => (
            "behind",
            format!("jobs before it on the same queue come first; the next one is number {}", next.0),
            "the start of those jobs".to_owned(),
        ),
        Some(Blocked::NodeFull { node, slots }) => (
            "node_full",
            format!("{} runs as many jobs as it may: {slots} (kylin.job.node-max-concurrent-jobs)", name(node)),
            "the end of one of them, or a node with free slots".to_owned(),
        ),
        Some(Blocked::Elsewhere { node }) => {
            ("elsewhere", format!("it stands on the queue of {}, which is about to take it", name(node)), String::new())
        }
        Some(Blocked::NoTrust) => (
            "no_trust",
            "the metastore has not answered this node for too long".to_owned(),
            "the metastore's return".to_owned(),
        ),
    };
    Ok(Data(WhyView {
        reason: reason.to_owned(),
        detail,
        next,
        rule: serde_json::to_value(blocked).map_err(ApiError::internal)?,
        state: job.row.state.name().to_owned(),
        ahead: job.row.state.is_waiting().then(|| ahead.saturating_sub(1) as u64),
        node: home.map(name).unwrap_or_default(),
    }))
}

fn state_reason(context: &Context, job: &JobInfo) -> (&'static str, String, String) {
    let detail = match (job.row.state, job.row.holder) {
        (JobState::Running, Some(holder)) => format!("it runs on {}", context.directory.name(holder.node)),
        (JobState::Error, _) => format!("it failed: {}", job.failure.as_deref().unwrap_or("for an unknown reason")),
        (state, _) => format!("the job is in state {}", state.name()),
    };
    let next = match job.row.state {
        JobState::Error | JobState::Paused => "`kirin job resume` or `kirin job restart`",
        _ => "",
    };
    ("state", detail, next.to_owned())
}

/// The word of the node on whose queue the job stands.
async fn ask_home(context: &Context, node: kirin_core::NodeId, job: JobId) -> Option<Option<Blocked>> {
    let home: Member = context.mind.look(move |core, _| core.roster().member_of(node)).await.flatten()?;
    if context.mind.look(|core, _| core.me()).await.flatten() == Some(home) {
        return None;
    }
    let reply = context.links.question(home, Question::Why(job.0)).await.ok()?;
    serde_json::from_value(reply).ok()
}

// --- act ---

/// `PUT /jobs/status`: RESUME, PAUSE, RESTART or DISCARD, of each job that is named, or of all in a project.
pub(super) async fn act(State(context): Shared, Body(body): Body<JobAction>) -> Result<Done> {
    let action = match body.action.to_ascii_uppercase().as_str() {
        "RESUME" => Action::Resume,
        "PAUSE" => Action::Pause,
        "RESTART" => Action::Restart,
        "DISCARD" => Action::Discard,
        other => {
            return Err(ApiError::bad(format!(
                "there is no action '{other}'; allowed are RESUME, PAUSE, RESTART, DISCARD"
            )));
        }
    };
    if body.force && (action != Action::Discard || body.job_ids.is_empty()) {
        return Err(ApiError::bad("force goes with DISCARD of the jobs in job_ids"));
    }
    let mut jobs = Vec::new();
    for id in &body.job_ids {
        jobs.push(find(&context, id).await?);
    }
    if jobs.is_empty() {
        let project = body.project.ok_or_else(|| ApiError::bad("name a project, or jobs in job_ids"))?;
        let mut states: Vec<JobState> = action.allowed_in().collect();
        if !body.statuses.is_empty() {
            let mut wanted = Vec::new();
            for status in &body.statuses {
                wanted.extend(states_of(status)?);
            }
            states.retain(|state| wanted.contains(state));
        }
        let project = super::project(&context, &project).await?.id;
        let filter = JobFilter { project: Some(project), states, limit: 10_000, ..JobFilter::default() };
        jobs = context.store.jobs(&filter).await?.0;
    }
    let mut changed: Vec<JobRow> = Vec::new();
    let mut refused: BTreeMap<String, String> = BTreeMap::new();
    for job in jobs {
        if let Some(broken) = &job.broken {
            if !body.force {
                let why =
                    format!("as its row in the metastore is broken ({broken}); only `discard --force` is possible");
                refused.insert(job.uuid.to_string(), why);
            } else if context.store.discard_by_force(job.uuid).await? {
                tracing::warn!(job = %job.uuid, broken, "broken job discarded by force");
            }
            continue;
        }
        match act_on(&context, job.row, action).await? {
            Ok(row) => changed.push(row),
            Err(why) => drop(refused.insert(job.uuid.to_string(), why)),
        }
    }
    if !changed.is_empty() {
        context.mind.tell(Event::Told(changed));
    }
    match refused.first_key_value() {
        None => Ok(Data(Done)),
        Some((id, why)) => {
            let others = if refused.len() > 1 { format!(" (and {} more)", refused.len() - 1) } else { String::new() };
            let mut allowed: Vec<_> = action.allowed_in().map(|state| status(state, false)).collect();
            allowed.dedup();
            Err(ApiError::new(Code::WrongState, format!("can't {} job {id}, {why}{others}", action.name())).suggest(
                format!("{} is for jobs in status {}; see `kirin job show ID`", action.name(), allowed.join(", ")),
            ))
        }
    }
}

/// Changes one job, or says why that isn't possible. Tries again if the job changes meanwhile.
async fn act_on(
    context: &Context,
    mut row: JobRow,
    action: Action,
) -> std::result::Result<std::result::Result<JobRow, String>, ApiError> {
    for _ in 0..ACT_TRIES {
        let Ok(state) = row.state.after(JobEvent::Act(action)) else {
            return Ok(Err(format!("as it is in {} status", status(row.state, false))));
        };
        let ask = Ask::Act { fence: Fence { job: row.id, epoch: row.epoch }, state: row.state, action };
        match context.store.ask(&ask, Extra::None).await {
            Answer::Done => {
                let steps = if action == Action::Restart { 0 } else { row.steps };
                return Ok(Ok(JobRow { state, steps, ..row }));
            }
            Answer::Refused => {}
            _ => return Err(ApiError::unavailable("the action may or may not have taken place")),
        }
        match context.store.ask(&Ask::ReadJobs(vec![row.id]), Extra::None).await {
            Answer::Jobs(rows) => match rows.first() {
                Some(read) => row = *read,
                None => return Ok(Err("as it is gone".to_owned())),
            },
            _ => return Err(ApiError::unavailable("the job can't be read")),
        }
    }
    Ok(Err("as it changes all the time; try again".to_owned()))
}
