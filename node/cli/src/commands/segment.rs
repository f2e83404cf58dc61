//! `kirin segment`.

use super::super::args::Segment;
use super::super::exit::{Exit, Failure};
use super::super::render;
use super::{Session, job};
use kirin_client::{Request, decode};
use kirin_wire::{
    BuildRequest, DropSegments, FULL_RANGE, Page, RefreshRequest, SegmentView, Submitted, VerificationView,
    VerifyRequest,
};

pub(super) async fn run(mut it: Session<'_, '_>, command: Segment) -> Result<(), Failure> {
    match command {
        Segment::Build { model, start, end, priority, wait } => {
            let range = match (start, end) {
                (Some(start), Some(end)) if start >= end => {
                    return Err(Failure::usage(format!("--start {start} is not before --end {end}")));
                }
                (Some(start), Some(end)) => (start.0, end.0),
                _ => FULL_RANGE,
            };
            let key = uuid::Uuid::new_v4().to_string();
            let body = BuildRequest { priority, idempotency_key: Some(key), ..BuildRequest::new(it.project, range) };
            // The first request reserves the range. A repeated request is refused, so the range is not built twice.
            let request = Request::post(&["models", &model, "segments"]).body(&body)?.repeatable();
            let data = it.client.raw(request).await?;
            let submitted: Submitted = decode(&data)?;
            job::submitted(&mut it, &data, &submitted, wait).await
        }
        Segment::List { model } => it.list::<SegmentView>(&["models", &model, "segments"], render::segments).await,
        Segment::Verify { model, ids, deep } => {
            let (ids, names) = ids_and_names(ids);
            let body = VerifyRequest { project: it.project.to_owned(), ids, names, deep };
            let request = Request::post(&["models", &model, "segments", "verification"]).body(&body)?.repeatable();
            let data = it.client.raw(request).await?;
            let view: VerificationView = decode(&data)?;
            it.screen.show(&data, |color| Ok(render::verification(&view, color)))?;
            let bad = view.segments.iter().filter(|s| !(s.problems.is_empty() && s.unreadable.is_empty())).count();
            match bad {
                0 => Ok(()),
                _ => Err(Failure::new(
                    Exit::Failed,
                    format!("{bad} segment(s) of model '{model}' are wrong or cannot be read"),
                    format!("Queries do not use wrong segments. `kirin segment refresh {model} ID` builds one again."),
                )),
            }
        }
        Segment::Refresh { model, ids, all, priority, wait } => {
            let ids = if all { every(&it, &model).await? } else { ids };
            if ids.is_empty() {
                let next = format!("Build one with `kirin segment build {model}`.");
                return Err(Failure::new(Exit::NotFound, format!("model '{model}' has no segment"), next));
            }
            let (ids, names) = ids_and_names(ids);
            let key = uuid::Uuid::new_v4().to_string();
            let body =
                RefreshRequest { names, priority, idempotency_key: Some(key), ..RefreshRequest::new(it.project, ids) };
            // A repeated request with the key creates no further jobs.
            let request = Request::put(&["models", &model, "segments"]).body(&body)?.repeatable();
            let data = it.client.raw(request).await?;
            let submitted: Submitted = decode(&data)?;
            job::submitted(&mut it, &data, &submitted, wait).await
        }
        Segment::Drop { model, ids, all, yes } => {
            let what = if all { "all segments".to_owned() } else { format!("{} segment(s)", ids.len()) };
            it.screen.confirm(&format!("drop {what} of model '{model}'"), yes)?;
            let said = format!("{what} of {model} dropped");
            let (ids, names) = ids_and_names(ids);
            let query = DropSegments { project: it.project.to_owned(), ids, names, purge: all.then_some(true) };
            it.done(Request::delete(&["models", &model, "segments"]).query(&query)?, &said).await
        }
    }
}

/// The ids of all segments of a model.
async fn every(it: &Session<'_, '_>, model: &str) -> Result<Vec<String>, Failure> {
    let page: Page<SegmentView> = it.client.call(it.whole_list(&["models", model, "segments"])).await?;
    Ok(page.value.into_iter().map(|segment| segment.id).collect())
}

/// Messages name segments by id or by name, so commands accept both.
fn ids_and_names(given: Vec<String>) -> (Vec<String>, Vec<String>) {
    given.into_iter().partition(|text| uuid::Uuid::parse_str(text).is_ok())
}
