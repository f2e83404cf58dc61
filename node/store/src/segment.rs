//! Segments: the ranges of a model that are reserved or built. Segments of one model never overlap.

use kirin_core::ask::{Epoch, ProjectId};
use uuid::Uuid;

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::submit::uuid;
use crate::wire::{Row, args};

/// A range that a submit wants to reserve: `start_ms <= t < end_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// The segment's name.
    pub id: Uuid,
    /// Of which model.
    pub model: String,
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends, exclusive.
    pub end_ms: i64,
}

/// Whether a segment can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Reserved by a job.
    New,
    /// Built: its manifest says where the files are.
    Ready,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub id: Uuid,
    /// Its project.
    pub project: ProjectId,
    /// Its model.
    pub model: String,
    /// Where it begins.
    pub start_ms: i64,
    /// Where it ends, exclusive.
    pub end_ms: i64,
    /// Whether it can be read.
    pub state: SegmentState,
    /// The job that reserved it, or published it last.
    pub job: Uuid,
    /// The epoch under which it was published; 0 if it wasn't.
    pub epoch: Epoch,
    /// When it was reserved.
    pub created_ms: i64,
    /// When it was published last.
    pub changed_ms: i64,
    /// What was published, as JSON.
    pub manifest: Option<String>,
}

impl NewSegment {
    /// Whether the two want a moment in common.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.model == other.model && self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }
}

impl Store {
    /// The segments of a project, of one model or of all, sorted by model and range.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn segments(&self, project: ProjectId, model: Option<&str>) -> Result<Vec<Segment>, StoreError> {
        let rows = self.read(|sql| &sql.segment_list, args![project.0, model.unwrap_or("")]).await?;
        rows.iter().map(segment).collect()
    }

    /// One segment.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn segment(&self, id: Uuid) -> Result<Option<Segment>, StoreError> {
        let rows = self.read(|sql| &sql.segment_get, args![id.to_string()]).await?;
        rows.first().map(segment).transpose()
    }

    /// Replaces the manifest of a built segment, if it is still the one that this job published under this epoch.
    /// `false` if the segment was dropped or published again since.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn segment_annotate(
        &self,
        id: Uuid,
        job: Uuid,
        epoch: Epoch,
        manifest: &str,
    ) -> Result<bool, StoreError> {
        self.write(&Annotate { id, job, epoch, manifest }).await
    }

    /// Drops a built segment. `false` if there is none by that name, or if a job has it reserved (discard the job).
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn segment_drop(&self, id: Uuid) -> Result<bool, StoreError> {
        self.write(&Drop(id)).await
    }
}

struct Annotate<'a> {
    id: Uuid,
    job: Uuid,
    epoch: Epoch,
    manifest: &'a str,
}

impl Work for Annotate<'_> {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        connection.begin().await?;
        let id = self.id.to_string();
        let rows = connection.rows(|sql| &sql.segment_get, args![&id]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let project = row.num::<i64>(1)?;
        let (job, epoch) = (self.job.to_string(), self.epoch.0.cast_signed());
        if connection.run(|sql| &sql.segment_annotate, args![&id, job, epoch, self.manifest]).await? == 0 {
            return Ok(false);
        }
        connection.run(|sql| &sql.catalog_bump, args![project]).await?;
        connection.commit().await?;
        Ok(true)
    }
}

struct Drop(Uuid);

impl Work for Drop {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        connection.begin().await?;
        let id = self.0.to_string();
        let rows = connection.rows(|sql| &sql.segment_get, args![&id]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let project = row.num::<i64>(1)?;
        if connection.run(|sql| &sql.segment_drop, args![&id]).await? == 0 {
            return Ok(false);
        }
        connection.run(|sql| &sql.catalog_bump, args![project]).await?;
        connection.commit().await?;
        Ok(true)
    }
}

fn segment(row: &Row) -> Result<Segment, StoreError> {
    Ok(Segment {
        id: uuid(&row.string(0)?)?,
        project: ProjectId(row.num(1)?),
        model: row.string(2)?,
        start_ms: row.num(3)?,
        end_ms: row.num(4)?,
        state: if row.num::<u8>(5)? == 0 { SegmentState::New } else { SegmentState::Ready },
        job: uuid(&row.string(6)?)?,
        epoch: Epoch(row.num(7)?),
        created_ms: row.num(8)?,
        changed_ms: row.num(9)?,
        manifest: row.text(10)?,
    })
}
