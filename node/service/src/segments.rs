//! Segments: builds, refreshes, verification, drops.

use kirin_executor::build::{self, BuildSpec};
use kirin_metastore::{DocKind, NewSegment, ProjectInfo, SegmentInfo, SegmentState};
use kirin_olap::{BuildJob, Catalog, Model, SegmentRange};
use uuid::Uuid;

use crate::catalog::{FULL, ends, range};
use crate::definitions::Definitions;
use crate::error::{Error, Result};
use crate::jobs::{Jobs, Submit, Submitted};
use crate::models::{model_of, uses};
use crate::principal::Principal;
use crate::verification::{Verified, verify};

/// The segments of all models.
#[derive(Clone)]
pub struct Segments {
    pub(crate) definitions: Definitions,
    pub(crate) jobs: Jobs,
}

/// A selection of a model's segments.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All.
    All,
    /// The segments with these ids or names; at least one.
    Named {
        /// Ids.
        ids: &'a [String],
        /// Names.
        names: &'a [String],
    },
}

/// A segment to build.
#[derive(Clone, Debug)]
pub struct Build {
    /// The project.
    pub project: String,
    /// The model.
    pub model: String,
    /// The start of its range, in milliseconds. Without start and end, everything is built.
    pub start_ms: Option<i64>,
    /// The end of its range, exclusive.
    pub end_ms: Option<i64>,
    /// 0 is the most urgent.
    pub priority: u8,
    /// The idempotency key: requests with the same key create one segment and one job.
    pub key: Option<String>,
}

/// Segments to refresh.
#[derive(Clone, Debug)]
pub struct Refresh<'a> {
    /// The project.
    pub project: &'a str,
    /// The model.
    pub model: &'a str,
    /// The selected segments.
    pub which: Selection<'a>,
    /// 0 is the most urgent.
    pub priority: u8,
    /// The idempotency key: requests with the same key create no further jobs.
    pub key: Option<&'a str>,
}

impl Segments {
    /// The segments of a model, including unusable models.
    ///
    /// # Errors
    /// If the model does not exist, or the metastore does not respond.
    pub async fn list(&self, who: &Principal, project: &str, model: &str) -> Result<Vec<SegmentInfo>> {
        let project = self.definitions.project(who, project).await?;
        let model = self.definitions.doc(&project, DocKind::Model, model).await?;
        Ok(self.definitions.store.segments(project.id, Some(&model.name)).await?)
    }

    /// Submits the build of a new segment. Returns the segment and the job.
    ///
    /// # Errors
    /// If the model does not allow the range, or the range overlaps another segment.
    pub async fn build(&self, who: &Principal, build: Build) -> Result<(Uuid, Submitted)> {
        let project = self.definitions.project(who, &build.project).await?;
        let catalog = self.definitions.catalog(&project.name).await?;
        let model = model_of(&catalog, &build.model)?;
        let range = wished_range(model, build.start_ms, build.end_ms)?;
        let (start_ms, end_ms) = ends(&range);
        // The same key must reserve the same segment.
        let segment = build.key.as_ref().map_or_else(Uuid::now_v7, |key| {
            Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{}/{}/{key}", project.id.0, model.name).as_bytes())
        });
        let reserve = vec![NewSegment { id: segment, model: model.name.clone(), start_ms, end_ms }];
        let spec = spec(&catalog, model, segment, range, false)?;
        let submit = build_job(&project, model, spec, build.priority, build.key);
        let job = self.jobs.accept(who, &project, submit, reserve).await?;
        Ok((segment, job))
    }

    /// Submits jobs that rebuild segments: one per segment, all or none. Queries use the old content of a segment until
    /// the new one is published.
    ///
    /// # Errors
    /// If a segment does not exist, or a job builds it.
    pub async fn refresh(&self, who: &Principal, refresh: Refresh<'_>) -> Result<Vec<Submitted>> {
        let project = self.definitions.project(who, refresh.project).await?;
        let catalog = self.definitions.catalog(&project.name).await?;
        let model = model_of(&catalog, refresh.model)?;
        let rows = self.chosen(&project, model, refresh.which).await?;
        all_ready(&rows)?;
        let job = |row: SegmentInfo| {
            let spec = spec(&catalog, model, row.id, range_of(&row), true)?;
            // Each job has its own key, derived from the key of the request.
            let key = refresh.key.map(|key| format!("{key}/{}", row.id));
            Ok(build_job(&project, model, spec, refresh.priority, key))
        };
        let jobs = rows.into_iter().map(job).collect::<Result<Vec<_>>>()?;
        self.jobs.accept_all(who, &project, jobs).await
    }

    /// Verifies published segments, and marks wrong ones so that queries do not use them.
    ///
    /// # Errors
    /// If a segment does not exist or cannot be verified.
    pub async fn verify(
        &self,
        who: &Principal,
        project: &str,
        model: &str,
        which: Selection<'_>,
        deep: bool,
    ) -> Result<Vec<Verified>> {
        let project = self.definitions.project(who, project).await?;
        let catalog = self.definitions.catalog(&project.name).await?;
        let model = model_of(&catalog, model)?;
        let mut segments = vec![];
        for row in self.chosen(&project, model, which).await? {
            let engine = self.definitions.catalogs.engine();
            segments.extend(verify(&self.definitions.store, engine, &catalog, row, deep).await?);
        }
        Ok(segments)
    }

    /// Drops segments. Queries no longer see them, and housekeeping deletes their files later.
    ///
    /// # Errors
    /// If a segment does not exist, or a job builds it.
    pub async fn drop(&self, who: &Principal, project: &str, model: &str, which: Selection<'_>) -> Result<()> {
        let project = self.definitions.project(who, project).await?;
        let catalog = self.definitions.catalog(&project.name).await?;
        let rows = self.chosen(&project, model_of(&catalog, model)?, which).await?;
        all_ready(&rows)?;
        for row in &rows {
            if !self.definitions.store.drop_segment(row.id).await? {
                return Err(being_built(row));
            }
        }
        Ok(())
    }

    async fn chosen(&self, project: &ProjectInfo, model: &Model, which: Selection<'_>) -> Result<Vec<SegmentInfo>> {
        let rows = async || self.definitions.store.segments(project.id, Some(&model.name)).await;
        let (ids, names) = match which {
            Selection::All => return Ok(rows().await?),
            Selection::Named { ids: [], names: [] } => return Err(Error::NoSegmentNamed),
            Selection::Named { ids, names } => (ids, names),
        };
        let wanted =
            |row: &SegmentInfo| ids.contains(&row.id.to_string()) || names.contains(&range_of(row).segment_name());
        let rows: Vec<_> = rows().await?.into_iter().filter(wanted).collect();
        if rows.is_empty() || rows.len() < ids.len() + names.len() {
            return Err(Error::NoSegment { model: model.name.clone() });
        }
        Ok(rows)
    }
}

/// The range of a segment.
pub fn range_of(segment: &SegmentInfo) -> SegmentRange {
    range(segment.start_ms, segment.end_ms)
}

/// The requested range. Kylin's clients send a full range as its exact or approximate ends.
fn wished_range(model: &Model, start_ms: Option<i64>, end_ms: Option<i64>) -> Result<SegmentRange> {
    let range = match (start_ms, end_ms) {
        (None, None) => SegmentRange::Full,
        (Some(start), Some(end)) if start <= FULL.0 + 1 && end >= FULL.1 - 1 => SegmentRange::Full,
        (Some(start_ms), Some(end_ms)) => SegmentRange::Time { start_ms, end_ms },
        _ => return Err(Error::HalfRange),
    };
    range.validate().map_err(Error::Invalid)?;
    if matches!(range, SegmentRange::Time { .. }) && model.partition.is_none() {
        return Err(Error::NoPartition(model.name.clone()));
    }
    Ok(range)
}

/// The specification of a build, with the current model and its tables. A build that cannot succeed is refused.
fn spec(
    catalog: &Catalog,
    model: &Model,
    segment: Uuid,
    range: SegmentRange,
    refresh: bool,
) -> Result<serde_json::Value> {
    let tables = catalog.tables.iter().filter(|table| uses(model, &table.name)).cloned().collect();
    let build = BuildJob { model: model.clone(), tables, range };
    build.validate().map_err(Error::Invalid)?;
    serde_json::to_value(BuildSpec { segment: segment.to_string(), refresh, build }).map_err(Error::internal)
}

fn build_job(
    project: &ProjectInfo,
    model: &Model,
    spec: serde_json::Value,
    priority: u8,
    key: Option<String>,
) -> Submit {
    let (project, kind) = (project.name.clone(), build::KIND.name.to_owned());
    Submit { project, kind, subject: Some(model.name.clone()), spec, priority, key }
}

/// Refuses a request before any change if a job builds one of its segments.
pub(crate) fn all_ready(rows: &[SegmentInfo]) -> Result<()> {
    rows.iter().find(|row| row.state != SegmentState::Ready).map_or(Ok(()), |row| Err(being_built(row)))
}

pub(crate) const fn being_built(segment: &SegmentInfo) -> Error {
    Error::SegmentBusy(segment.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(partition: bool) -> Model {
        let mut value =
            serde_json::json!({ "name": "m", "fact": "t", "dimensions": [{ "name": "d", "column": "t.d" }] });
        if partition {
            value["partition"] = serde_json::json!({ "column": "t.d" });
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_range_without_ends_or_with_approximate_ends_is_full() {
        for (start, end) in [(None, None), (Some(0), Some(i64::MAX)), (Some(1), Some(i64::MAX - 1))] {
            assert_eq!(wished_range(&model(false), start, end).unwrap(), SegmentRange::Full, "{start:?} {end:?}");
        }
    }

    #[test]
    fn a_partial_range_needs_both_ends_and_a_partition_column() {
        let part = wished_range(&model(true), Some(5), Some(9)).unwrap();
        assert_eq!(part, SegmentRange::Time { start_ms: 5, end_ms: 9 });
        assert!(matches!(wished_range(&model(true), Some(5), None), Err(Error::HalfRange)));
        assert!(matches!(wished_range(&model(true), Some(9), Some(5)), Err(Error::Invalid(_))));
        assert!(matches!(wished_range(&model(false), Some(5), Some(9)), Err(Error::NoPartition(m)) if m == "m"));
    }
}
