//! `/jobs`.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use kirin_core::queue::Blocked;
use kirin_core::{Action, JobState};
use kirin_executor::capability_names;
use kirin_metastore::{JobFilter, JobInfo, JobSort, wall_ms};
use kirin_service::catalog::{FULL, ends};
use kirin_service::jobs::{Job, Status, Step, Submit, Which, Why};
use kirin_wire::{
    Done, JobAction, JobView, JobsQuery, Page, Paging, StepInfoView, StepOutput, StepView, Submitted, WhyView,
};

use super::segments::submitted;
use super::{ApiError, Body, Data, Params, Result, Shared, Who, idempotency_key, page};

/// The default number of rows per page.
const PAGE: u64 = 10;

/// `POST /jobs`: a job of any kind except a build.
pub(super) async fn submit(
    State(context): Shared,
    Who(who): Who,
    headers: HeaderMap,
    Body(body): Body<kirin_wire::Submit>,
) -> Result<Submitted> {
    let submit = Submit {
        project: body.project,
        kind: body.kind,
        subject: body.subject,
        spec: body.spec,
        priority: body.priority,
        key: idempotency_key(body.idempotency_key, &headers),
    };
    let job = submitted(context.service.jobs.submit(&who, submit).await?);
    Ok(Data(Submitted { job_id: job.job_id.clone(), jobs: vec![job], segment_id: None }))
}

// --- show ---

/// `GET /jobs`: a page of jobs.
pub(super) async fn list(
    State(context): Shared,
    Who(who): Who,
    Params(params): Params<JobsQuery>,
) -> Result<Page<JobView>> {
    let paging = Paging { page_offset: params.page_offset, page_size: params.page_size };
    let (offset, size) = page(paging, PAGE)?;
    let days = match params.time_filter.unwrap_or(4) {
        0 => Some(1),
        1 => Some(7),
        2 => Some(30),
        3 => Some(365),
        4 => None,
        other => return Err(ApiError::bad(format!("time_filter is {other}; allowed are 0 to 4"))),
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
        project: None,
        states: states_of(&params.statuses)?,
        key: params.key,
        subject: params.subject,
        since_ms: days.map(|days: i64| wall_ms() - days * 86_400_000),
        sort,
        reverse: params.reverse.unwrap_or(true),
        offset: offset.saturating_mul(size),
        limit: size,
    };
    let project = params.project.as_deref().filter(|name| !name.is_empty());
    let (jobs, total_size) = context.service.jobs.list(&who, project, filter).await?;
    let value = jobs.into_iter().map(|job| view(job, None)).collect();
    Ok(Data(Page { value, offset, limit: size, total_size }))
}

/// The states of jobs with any of these statuses.
fn states_of(statuses: &[String]) -> std::result::Result<Vec<JobState>, ApiError> {
    let mut states = Vec::new();
    for status in statuses {
        states.extend(status_of(status)?.states());
    }
    Ok(states)
}

fn status_of(text: &str) -> std::result::Result<Status, ApiError> {
    Ok(match text.to_ascii_uppercase().as_str() {
        "PENDING" | "NEW" => Status::Pending,
        "RUNNING" => Status::Running,
        "ERROR" => Status::Error,
        "STOPPED" => Status::Stopped,
        "STOPPING" => Status::Stopping,
        "DISCARDED" => Status::Discarded,
        "FINISHED" => Status::Finished,
        _ => {
            return Err(ApiError::bad(format!(
                "unknown status '{text}'; allowed are PENDING, RUNNING, ERROR, STOPPED, DISCARDED, FINISHED"
            )));
        }
    })
}

/// `GET /jobs/{id}`.
pub(super) async fn show(State(context): Shared, Who(who): Who, Path(id): Path<String>) -> Result<JobView> {
    let (job, steps) = context.service.jobs.show(&who, &id).await?;
    let steps = step_views(&job, steps);
    Ok(Data(view(job, Some(steps))))
}

/// `GET /jobs/{id}/detail`: the steps.
pub(super) async fn detail(State(context): Shared, Who(who): Who, Path(id): Path<String>) -> Result<Vec<StepView>> {
    let (job, steps) = context.service.jobs.show(&who, &id).await?;
    Ok(Data(step_views(&job, steps)))
}

/// The output of a step, in the form of Kylin's UI.
pub(super) async fn output(
    State(context): Shared,
    Who(who): Who,
    Path((id, step)): Path<(String, String)>,
) -> Result<StepOutput> {
    let log = context.service.jobs.log(&who, &id, &step).await?;
    Ok(Data(StepOutput { job_id: log.job.to_string(), step_id: step, cmd_output: log.text }))
}

/// The log of a step, as text.
pub(super) async fn log(
    State(context): Shared,
    Who(who): Who,
    Path((id, step)): Path<(String, String)>,
) -> std::result::Result<Response, ApiError> {
    let log = context.service.jobs.log(&who, &id, &step).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log.text).into_response())
}

fn view(of: Job, steps: Option<Vec<StepView>>) -> JobView {
    let Job { info: job, job_type, steps: total, covers, node, placed } = of;
    let now = wall_ms();
    let (start, end) = (job.started_ms.unwrap_or(0), job.ended_ms.unwrap_or(0));
    let over = if end > 0 { end } else { now };
    // The difference of wall clocks of several machines, for users only, and never negative.
    let duration = if start > 0 { over - start } else { 0 };
    let wait = if start > 0 { start - job.created_ms } else { over - job.created_ms };
    let done = f64::from(job.row.steps);
    let (data_range_start, data_range_end) = covers.as_ref().map_or(FULL, |covers| ends(&covers.range));
    JobView {
        id: job.uuid.to_string(),
        uuid: job.uuid.to_string(),
        job_name: job_type,
        job_status: status(&job).as_str().to_owned(),
        scheduler_state: job.row.state.name().to_owned(),
        kind: job.kind,
        project: job.project,
        submitter: job.submitter,
        target_model: job.subject.clone(),
        target_subject: job.subject,
        target_subject_error: false,
        target_segments: covers.into_iter().map(|covers| covers.segment).collect(),
        create_time: job.created_ms,
        last_modified: job.changed_ms,
        exec_start_time: start,
        exec_end_time: end,
        duration: span(duration),
        total_duration: span(over - job.created_ms),
        wait_time: span(wait),
        step_ratio: if total == 0 { 0.0 } else { done / total as f64 },
        // The last progress report may be older than the end.
        progress: if job.row.state == JobState::Succeed { 100.0 } else { f64::from(job.progress) / 10.0 },
        data_range_start,
        data_range_end,
        steps,
        discard_safety: true,
        job_scheduler_mode: "CHAIN".to_owned(),
        priority: job.row.priority.0,
        epoch: job.row.epoch.0,
        number: job.row.id.0,
        node: node.unwrap_or_default(),
        placed,
        broken: job.broken.is_some(),
        failed_msg: job.broken.or(job.failure),
        version: 0,
    }
}

/// A difference of wall-clock times for users, never negative.
fn span(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

fn step_views(job: &Job, steps: Vec<Step>) -> Vec<StepView> {
    steps.into_iter().map(|step| step_view(job, step)).collect()
}

fn step_view(job: &Job, step: Step) -> StepView {
    let Step { number, name, status, done, failure } = step;
    let open = StepView {
        id: format!("{}_{number:02}", job.info.uuid),
        name,
        node: job.node.clone().filter(|_| failure.is_some()).unwrap_or_default(),
        sequence_id: number as u64,
        step_status: status.as_str().to_owned(),
        failed_msg: failure,
        ..StepView::default()
    };
    let Some((info, node)) = done else { return open };
    StepView {
        exec_start_time: info.started_ms,
        exec_end_time: info.ended_ms,
        duration: span(info.ended_ms - info.started_ms),
        epoch: info.epoch.0,
        info: Some(StepInfoView { node_info: node.clone() }),
        node,
        result: info.result,
        ..open
    }
}

// --- why ---

/// `GET /jobs/{id}/why`: the rule that prevents the start of the job.
pub(super) async fn why(State(context): Shared, Who(who): Who, Path(id): Path<String>) -> Result<WhyView> {
    let why = context.service.jobs.why(&who, &id).await?;
    let (reason, detail, next) = if why.job.row.state.is_waiting() { rule(&why) } else { state_reason(&why) };
    Ok(Data(WhyView {
        reason: reason.to_owned(),
        detail,
        next: next.to_owned(),
        rule: serde_json::to_value(why.rule).map_err(ApiError::internal)?,
        state: status(&why.job).as_str().to_owned(),
        ahead: why.ahead,
        node: why.home.unwrap_or_default(),
    }))
}

/// The status of a job, as in lists.
fn status(job: &JobInfo) -> Status {
    Status::of(job.row.state, job.row.holder.is_some())
}

/// The rule as a word and as a sentence, and what would let the job start.
fn rule(why: &Why) -> (&'static str, String, &'static str) {
    let node = &why.rule_node;
    match why.rule {
        None => ("next", "it is about to start".to_owned(), ""),
        Some(Blocked::State { .. }) => ("state", format!("it is {}", status(&why.job).as_str()), ""),
        Some(Blocked::Stopping { .. }) => (
            "stopping",
            format!("its last attempt on {node} is still stopping"),
            "the end of that attempt, or the fencing of its node",
        ),
        Some(Blocked::Taking) => ("taking", "a node is starting it".to_owned(), ""),
        Some(Blocked::NoJobNode) => {
            ("no_job_node", "no job node is up".to_owned(), "a node with kylin.server.mode=all or job, and slots")
        }
        Some(Blocked::NoNodeCan { needs }) => {
            let what = capability_names(needs);
            let troubles: Vec<_> = why.troubles.iter().map(|(node, trouble)| format!("; {node}: {trouble}")).collect();
            (
                "no_node_can",
                format!("no job node that is up has the required capability: {what}{}", troubles.concat()),
                if troubles.is_empty() {
                    "a job node with this capability (for commands: kirin.command.enabled=true)"
                } else {
                    "a job node with a usable working directory; each node checks its own regularly"
                },
            )
        }
        Some(Blocked::ProjectFull { limit, running }) => (
            "project_full",
            format!("its project runs {running} of at most {limit} jobs (kylin.job.max-concurrent-jobs)"),
            "the end of one of them, or a higher limit",
        ),
        Some(Blocked::Behind { next }) => (
            "behind",
            format!("other jobs are ahead of it in the queue; the next is number {}", next.0),
            "the start of those jobs",
        ),
        Some(Blocked::NodeFull { slots, .. }) => (
            "node_full",
            format!("{node} runs its maximum of {slots} jobs (kylin.job.node-max-concurrent-jobs)"),
            "the end of one of them, or a node with free slots",
        ),
        Some(Blocked::Elsewhere { .. }) => {
            let detail = format!("it is in the queue of {node}, which takes it in its turn");
            ("elsewhere", detail, "that node, or another one with free slots: the order holds within each queue only")
        }
        Some(Blocked::NoTrust) => (
            "no_trust",
            "this node has had no contact with the metastore for too long".to_owned(),
            "the metastore's return",
        ),
    }
}

fn state_reason(why: &Why) -> (&'static str, String, &'static str) {
    let state = why.job.row.state;
    let detail = match (state, &why.holder) {
        (JobState::Running, Some(holder)) => format!("it runs on {holder}"),
        (JobState::Error, _) => {
            format!("it failed: {}", why.job.failure.as_deref().unwrap_or("for an unknown reason"))
        }
        (JobState::Paused, Some(holder)) => format!("it was paused; {holder} is still stopping it"),
        (JobState::Paused, None) => "it was paused".to_owned(),
        (JobState::Succeed, _) => "it has finished".to_owned(),
        (JobState::Discarded, _) => "it was discarded".to_owned(),
        (JobState::Suicidal, _) => why.job.failure.clone().unwrap_or_else(|| "its target no longer exists".to_owned()),
        (JobState::Running | JobState::Ready | JobState::Pending, _) => "it is about to be taken".to_owned(),
    };
    let next = match state {
        JobState::Error | JobState::Paused => "`kirin job resume` or `kirin job restart`",
        _ => "",
    };
    ("state", detail, next)
}

// --- act ---

/// `PUT /jobs/status`: RESUME, PAUSE, RESTART or DISCARD of the named jobs, or of all jobs of a project.
pub(super) async fn act(State(context): Shared, Who(who): Who, Body(body): Body<JobAction>) -> Result<Done> {
    let action = match body.action.to_ascii_uppercase().as_str() {
        "RESUME" => Action::Resume,
        "PAUSE" => Action::Pause,
        "RESTART" => Action::Restart,
        "DISCARD" => Action::Discard,
        other => {
            return Err(ApiError::bad(format!(
                "unknown action '{other}'; allowed are RESUME, PAUSE, RESTART, DISCARD"
            )));
        }
    };
    let which = if body.job_ids.is_empty() {
        if body.force {
            return Err(kirin_service::Error::Force.into());
        }
        let project = body.project.ok_or_else(|| ApiError::bad("give a project, or jobs in job_ids"))?;
        let states = if body.statuses.is_empty() { None } else { Some(states_of(&body.statuses)?) };
        Which::OfProject { project, states }
    } else {
        Which::Named { ids: body.job_ids, force: body.force }
    };
    context.service.jobs.act(&who, action, which).await?;
    Ok(Data(Done))
}
