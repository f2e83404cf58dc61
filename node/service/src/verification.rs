//! Verification of published segments, on request and in the leader's housekeeping.
//!
//! A wrong segment is marked in its manifest, if the manifest is still the one that was verified. Queries do not use a
//! marked segment. A refresh publishes a new manifest without a mark. A deep verification without problems removes the
//! mark.
//!
//! An unreadable file is reported but not marked. The cause may be a share that is not mounted. A query that needs the
//! file fails with the reason.

use kirin_config::Schedule;
use kirin_core::ask::ProjectId;
use kirin_olap::{Catalog, Engine, Verification};
use serde_json::json;

use kirin_metastore::{SegmentInfo, SegmentState, Store, wall_ms};

use crate::error::{Error, Result};

/// One verified segment.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The segment that was read.
    pub segment: SegmentInfo,
    /// The result.
    pub found: Verification,
    /// Why queries no longer use it, if so.
    pub wrong: Option<String>,
}

/// The cluster setting with the time of the last complete verification, by the metastore's clock, in milliseconds.
const LAST: &str = "segments verified";

/// Verifies one READY segment, and sets or removes its mark. `None` if it is no longer READY or its model no longer
/// exists.
///
/// # Errors
/// If the metastore does not respond, or a source cannot be read (deep).
pub async fn verify(
    store: &Store,
    engine: &Engine,
    catalog: &Catalog,
    segment: SegmentInfo,
    deep: bool,
) -> Result<Option<Verified>> {
    let Some(manifest) = segment.manifest.clone().filter(|_| segment.state == SegmentState::Ready) else {
        return Ok(None);
    };
    let Some(model) = catalog.models.iter().find(|m| m.name == segment.model) else { return Ok(None) };
    let read = kirin_olap::Segment {
        id: segment.id.to_string(),
        model: segment.model.clone(),
        range: crate::catalog::range(segment.start_ms, segment.end_ms),
        manifest: serde_json::from_value(manifest.clone())
            .map_err(|why| Error::DamagedSegment { segment: segment.id, why })?,
    };
    let found = engine.verify_segment(model, &catalog.tables, &read, deep).await?;
    let wrong = match found.problems.as_slice() {
        [] if deep && found.unchecked.is_empty() && found.unreadable.is_empty() => None,
        [] => read.manifest.wrong.clone(),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            Some(format!("index {}: {}{more}", first.layout, first.problem))
        }
    };
    if wrong != read.manifest.wrong {
        let mut manifest = manifest;
        if let Some(fields) = manifest.as_object_mut() {
            match &wrong {
                Some(why) => fields.insert("wrong".into(), json!(why)),
                None => fields.remove("wrong"),
            };
        }
        if !store.annotate_segment(&segment, &manifest).await? {
            // The segment was dropped or published again, so the result applies to old files.
            return Ok(None);
        }
        match &wrong {
            Some(why) => tracing::error!(segment = %segment.id, model = segment.model, why, "the segment is wrong"),
            None => {
                tracing::info!(segment = %segment.id, model = segment.model, "the segment is correct; its mark is removed")
            }
        }
    }
    Ok(Some(Verified { segment, found, wrong }))
}

/// Verifies every READY segment of every project, if due. Returns the number of wrong segments; `None` if it is not due.
///
/// # Errors
/// If the metastore does not respond. A segment that cannot be verified is logged and skipped.
pub async fn verify_all(store: &Store, engine: &Engine, schedule: Schedule) -> Result<Option<usize>> {
    let every = i64::try_from(schedule.every.as_millis()).unwrap_or(i64::MAX);
    let last = store.setting(LAST).await?.and_then(|text| text.parse::<i64>().ok());
    if every == 0 || last.is_some_and(|last| wall_ms() - last < every) {
        return Ok(None);
    }
    let mut wrong = 0;
    for project in store.projects().await? {
        let (catalog, _) = crate::catalog::read(store, project.id).await?;
        for segment in ready(store, project.id).await? {
            let id = segment.id;
            match verify(store, engine, &catalog, segment, schedule.deep).await {
                Ok(Some(verified)) => wrong += usize::from(verified.wrong.is_some()),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, segment = %id, "cannot verify the segment"),
            }
        }
    }
    store.put_setting(LAST, &wall_ms().to_string()).await?;
    Ok(Some(wrong))
}

async fn ready(store: &Store, project: ProjectId) -> Result<Vec<SegmentInfo>> {
    let all = store.segments(project, None).await?;
    Ok(all.into_iter().filter(|segment| segment.state == SegmentState::Ready).collect())
}
