//! `/models/{model}/segments`.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use kirin_metastore::{SegmentInfo, SegmentState};
use kirin_service::jobs;
use kirin_service::segments::{Build, Refresh, Selection, range_of};
use kirin_service::verification::Verified;
use kirin_wire::{
    BuildRequest, Done, DropSegments, OfProject, Page, ProblemView, RefreshRequest, SegmentView, Submitted,
    SubmittedJob, VerificationView, VerifiedView, VerifyRequest,
};
use serde_json::Value;

use super::jobs::warning;
use super::{ApiError, Body, Data, Params, Result, Shared, Who, cut, idempotency_key};

/// The default number of rows per page.
const PAGE: u64 = 1000;

/// `GET /models/{m}/segments`.
pub(super) async fn list(
    State(context): Shared,
    Who(who): Who,
    Path(model): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Page<SegmentView>> {
    let rows = context.service.segments.list(&who, &params.project, &model).await?;
    cut(rows.iter().map(view).collect(), params.paging(), PAGE).map(Data)
}

fn view(segment: &SegmentInfo) -> SegmentView {
    let manifest = segment.manifest.as_ref();
    let number = |key: &str| manifest.and_then(|m| m.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let wrong = manifest.and_then(|m| m.get("wrong")).and_then(Value::as_str);
    let status = match (segment.state, wrong) {
        (SegmentState::New, _) => "NEW",
        (SegmentState::Ready, None) => "READY",
        // Kylin's status for a segment that queries must not use.
        (SegmentState::Ready, Some(_)) => "WARNING",
    };
    SegmentView {
        id: segment.id.to_string(),
        name: range_of(segment).segment_name(),
        status: status.to_owned(),
        status_to_display: status.to_owned(),
        start: segment.start_ms,
        end: segment.end_ms,
        create_time_utc: segment.created_ms,
        last_build_time: segment.changed_ms,
        source_count: number("source_rows"),
        bytes_size: number("bytes"),
        epoch: segment.epoch.0,
        job_id: segment.job.to_string(),
        wrong: wrong.map(str::to_owned),
    }
}

/// `POST /models/{m}/segments`: a build of a new segment.
pub(super) async fn build(
    State(context): Shared,
    Who(who): Who,
    headers: HeaderMap,
    Path(model): Path<String>,
    Body(body): Body<BuildRequest>,
) -> Result<Submitted> {
    if body.build_all_indexes == Some(false) {
        return Err(ApiError::bad("build_all_indexes is false, but a build always builds every index"));
    }
    let build = Build {
        project: body.project,
        model,
        start_ms: body.start.map(|moment| moment.0),
        end_ms: body.end.map(|moment| moment.0),
        priority: body.priority,
        key: idempotency_key(body.idempotency_key, &headers),
    };
    let (segment, job) = context.service.segments.build(&who, build).await?;
    let (warning, segment_id) = (warning(&job), Some(segment.to_string()));
    Ok(Data(Submitted { job_id: String::new(), jobs: vec![submitted(job)], segment_id, warning }))
}

/// An accepted job.
pub(super) fn submitted(job: jobs::Submitted) -> SubmittedJob {
    SubmittedJob { job_name: job.job_type, job_id: job.id.to_string() }
}

/// `PUT /models/{m}/segments`: refreshes segments with one job per segment, all or none, under one idempotency key.
pub(super) async fn refresh(
    State(context): Shared,
    Who(who): Who,
    headers: HeaderMap,
    Path(model): Path<String>,
    Body(body): Body<RefreshRequest>,
) -> Result<Submitted> {
    if !body.kind.eq_ignore_ascii_case("REFRESH") {
        return Err(ApiError::bad(format!("type is '{}'; only REFRESH is allowed", body.kind)));
    }
    let key = idempotency_key(body.idempotency_key, &headers);
    let refresh = Refresh {
        project: &body.project,
        model: &model,
        which: Selection::Named { ids: &body.ids, names: &body.names },
        priority: body.priority,
        key: key.as_deref(),
    };
    let jobs = context.service.segments.refresh(&who, refresh).await?;
    let warning = jobs.iter().find_map(warning);
    let jobs = jobs.into_iter().map(submitted).collect();
    Ok(Data(Submitted { jobs, warning, ..Submitted::default() }))
}

/// `POST /models/{m}/segments/verification`: verifies published segments and marks wrong ones.
pub(super) async fn verify(
    State(context): Shared,
    Who(who): Who,
    Path(model): Path<String>,
    Body(body): Body<VerifyRequest>,
) -> Result<VerificationView> {
    let which = match (body.ids.as_slice(), body.names.as_slice()) {
        ([], []) => Selection::All,
        (ids, names) => Selection::Named { ids, names },
    };
    let verified = context.service.segments.verify(&who, &body.project, &model, which, body.deep).await?;
    Ok(Data(VerificationView { segments: verified.into_iter().map(verified_view).collect() }))
}

fn verified_view(verified: Verified) -> VerifiedView {
    let Verified { segment, found, wrong } = verified;
    VerifiedView {
        id: segment.id.to_string(),
        name: range_of(&segment).segment_name(),
        indexes: found.indexes as u64,
        groups: found.groups,
        problems: found.problems.into_iter().map(|p| ProblemView { layout: p.layout, problem: p.problem }).collect(),
        unreadable: found.unreadable,
        unchecked: found.unchecked,
        wrong,
    }
}

/// `DELETE /models/{m}/segments`: drops segments. Housekeeping deletes their files later.
pub(super) async fn drop(
    State(context): Shared,
    Who(who): Who,
    Path(model): Path<String>,
    Params(params): Params<DropSegments>,
) -> Result<Done> {
    let which = match params.purge {
        Some(true) => Selection::All,
        _ => Selection::Named { ids: &params.ids, names: &params.names },
    };
    context.service.segments.drop(&who, &params.project, &model, which).await?;
    Ok(Data(Done))
}
