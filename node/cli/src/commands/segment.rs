//! `kirin segment`.

use super::super::args::Segment;
use super::super::exit::{Exit, Failure};
use super::super::render;
use super::{Session, job};
use kirin_client::{Request, decode};
use kirin_wire::{BuildRequest, DropSegments, FULL_RANGE, SegmentView, Submitted, VerificationView, VerifyRequest};

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
            let body = VerifyRequest { project: it.project.to_owned(), ids, names: Vec::new(), deep };
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
                    "Queries do not use wrong segments. Refresh a segment to rebuild it.",
                )),
            }
        }
        Segment::Drop { model, ids, yes } => {
            it.screen.confirm(&format!("drop {} segment(s) of model '{model}'", ids.len()), yes)?;
            let said = format!("{} segment(s) of {model} dropped", ids.len());
            let query = DropSegments { project: it.project.to_owned(), ids, ..DropSegments::default() };
            it.done(Request::delete(&["models", &model, "segments"]).query(&query)?, &said).await
        }
    }
}
