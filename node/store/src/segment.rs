//! Segments: reserved or built ranges of a model. Segments of one model never overlap.

use kirin_core::ask::{Epoch, ProjectId};
use uuid::Uuid;

use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::submit::uuid;
use crate::wire::{Row, args};

/// A range that a submit reserves: `start_ms <= t < end_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSegment {
    /// The segment's id.
    pub id: Uuid,
    /// The model.
    pub model: String,
    /// The start of its range.
    pub start_ms: i64,
    /// The end of its range, exclusive.
    pub end_ms: i64,
}

/// Whether a segment is readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentState {
    /// Reserved by a job.
    New,
    /// Built: its manifest locates the files.
    Ready,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: Uuid,
    /// Its project.
    pub project: ProjectId,
    /// Its model.
    pub model: String,
    /// The start of its range.
    pub start_ms: i64,
    /// The end of its range, exclusive.
    pub end_ms: i64,
    /// Whether it is readable.
    pub state: SegmentState,
    /// The job that reserved it or last published it.
    pub job: Uuid,
    /// The epoch under which it was published; 0 if it was not.
    pub epoch: Epoch,
    /// When it was reserved.
    pub created_ms: i64,
    /// When it was last published.
    pub changed_ms: i64,
    /// The published manifest, as JSON.
    pub manifest: Option<String>,
}

impl NewSegment {
    /// Whether the two ranges overlap.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.model == other.model && self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }
}

impl Store {
    /// The segments of a project, of one model or all models, sorted by model and range.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn segments(&self, project: ProjectId, model: Option<&str>) -> Result<Vec<Segment>, StoreError> {
        let rows = self.read(|sql| &sql.segment_list, args![project.0, model.unwrap_or("")]).await?;
        rows.iter().map(segment).collect()
    }

    /// One segment.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn segment(&self, id: Uuid) -> Result<Option<Segment>, StoreError> {
        let rows = self.read(|sql| &sql.segment_get, args![id.to_string()]).await?;
        rows.first().map(segment).transpose()
    }

    /// Replaces the manifest of a built segment, if this job published it under this epoch. `false` if the segment was
    /// dropped or published again.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn segment_annotate(
        &self,
        id: Uuid,
        job: Uuid,
        epoch: Epoch,
        manifest: &str,
    ) -> Result<bool, StoreError> {
        self.write(&Annotate { id, job, epoch, manifest }).await
    }

    /// Drops a built segment. `false` if it does not exist, or if a job reserves it (discard the job instead).
    ///
    /// # Errors
    /// If the metastore cannot be written.
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
