//! Documents: definitions of tables and models. An update is conditional on the document's revision.

use kirin_core::ask::ProjectId;

use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::wire::{Row, args};

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocKind {
    /// A table: the location and columns of its data.
    Table,
    /// A model.
    Model,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    /// Its name, unique within project and kind.
    pub name: String,
    /// The definition, as JSON.
    pub body: String,
    /// Starts at 1 and increases by one with each change.
    pub revision: u64,
    /// When it last changed.
    pub changed_ms: i64,
}

/// The revisions that a writer has read. A write is refused if they have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The document's revision; 0 if it did not exist.
    pub revision: u64,
    /// The revision of the project's catalog ([`Store::catalog_revision`]), if the decision also depends on other documents.
    pub catalog: Option<u64>,
}

impl From<u64> for Seen {
    fn from(revision: u64) -> Self {
        Self { revision, catalog: None }
    }
}

impl DocKind {
    /// The name in the metastore.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Model => "model",
        }
    }
}

impl Store {
    /// One document.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn doc(&self, project: ProjectId, kind: DocKind, name: &str) -> Result<Option<Doc>, StoreError> {
        let rows = self.read(|sql| &sql.doc_get, args![project.0, kind.name(), name]).await?;
        rows.first().map(doc).transpose()
    }

    /// The documents of a project, sorted by name.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn docs(&self, project: ProjectId, kind: DocKind) -> Result<Vec<Doc>, StoreError> {
        let rows = self.read(|sql| &sql.doc_list, args![project.0, kind.name()]).await?;
        rows.iter().map(doc).collect()
    }

    /// Writes a document if the revisions are as `seen`. Returns the new revision, or `None` if another writer was
    /// faster or
    /// the project does not exist.
    ///
    /// # Errors
    /// If the metastore cannot be written, or the name is too long.
    pub async fn doc_put(
        &self,
        project: ProjectId,
        kind: DocKind,
        name: &str,
        body: &str,
        seen: impl Into<Seen>,
    ) -> Result<Option<u64>, StoreError> {
        let seen = seen.into();
        if name.is_empty() || name.chars().count() > 180 {
            return Err(StoreError::Config(format!("the name {name:?} must have 1 to 180 characters")));
        }
        let hit = self.write(&Put { project, kind, name, body: Some(body), seen }).await?;
        Ok(hit.then_some(seen.revision + 1))
    }

    /// Drops a document if the revisions are as `seen`.
    ///
    /// # Errors
    /// If the metastore cannot be written.
    pub async fn doc_drop(
        &self,
        project: ProjectId,
        kind: DocKind,
        name: &str,
        seen: impl Into<Seen>,
    ) -> Result<bool, StoreError> {
        self.write(&Put { project, kind, name, body: None, seen: seen.into() }).await
    }

    /// The catalog's revision, which changes whenever a document or a built segment of the project changes. One indexed
    /// read. `None` if the project does not exist.
    ///
    /// # Errors
    /// If the metastore cannot be read.
    pub async fn catalog_revision(&self, project: ProjectId) -> Result<Option<u64>, StoreError> {
        revision(&self.read(|sql| &sql.catalog_read, args![project.0]).await?)
    }
}

struct Put<'a> {
    project: ProjectId,
    kind: DocKind,
    name: &'a str,
    body: Option<&'a str>,
    seen: Seen,
}

impl Work for Put<'_> {
    type Out = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        let (project, kind, seen) = (self.project.0, self.kind.name(), self.seen.revision.cast_signed());
        connection.begin().await?;
        let hit = match self.body {
            None => connection.run(|sql| &sql.doc_drop, args![project, kind, self.name, seen]).await?,
            Some(body) if seen == 0 => {
                connection.run(|sql| &sql.doc_add, args![project, kind, self.name, body, wall_ms()]).await?
            }
            Some(body) => {
                connection.run(|sql| &sql.doc_replace, args![project, kind, self.name, body, wall_ms(), seen]).await?
            }
        };
        if hit == 0 {
            return Ok(false);
        }
        // Writers of the catalog wait for each other here, so the reads that follow see every committed change.
        connection.run(|sql| &sql.catalog_bump, args![project]).await?;
        if let Some(before) = self.seen.catalog
            && revision(&connection.rows(|sql| &sql.catalog_read, args![project]).await?)? != Some(before + 1)
        {
            return Ok(false);
        }
        connection.commit().await?;
        Ok(true)
    }
}

fn revision(rows: &[Row]) -> Result<Option<u64>, StoreError> {
    rows.first().map(|row| row.num(0)).transpose()
}

fn doc(row: &Row) -> Result<Doc, StoreError> {
    Ok(Doc { name: row.string(0)?, body: row.string(1)?, revision: row.num(2)?, changed_ms: row.num(3)? })
}
