//! Documents: table and model definitions, each with a revision that a writer must have seen.

use kirin_core::ask::ProjectId;

use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::store::Store;
use crate::wire::{Row, args};

/// What a document defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DocKind {
    /// A table: where its data is and what it looks like.
    Table,
    /// A model.
    Model,
}

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    /// Its name, unique within project and kind.
    pub name: String,
    /// What it says, as JSON.
    pub body: String,
    /// Grows by one with each change; 1 is the first.
    pub revision: u64,
    /// When it was changed last.
    pub changed_ms: i64,
}

/// What a writer has seen, and what must still be so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The document's revision; 0: there was none.
    pub revision: u64,
    /// The revision of the project's catalog ([`Store::catalog_revision`]), for whoever decides by other documents, too.
    pub catalog: Option<u64>,
}

impl From<u64> for Seen {
    fn from(revision: u64) -> Self {
        Self { revision, catalog: None }
    }
}

impl DocKind {
    /// The word in the metastore.
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
    /// If the metastore can't be read.
    pub async fn doc(&self, project: ProjectId, kind: DocKind, name: &str) -> Result<Option<Doc>, StoreError> {
        let rows = self.read(|sql| &sql.doc_get, args![project.0, kind.name(), name]).await?;
        rows.first().map(doc).transpose()
    }

    /// The documents of a project, sorted by name.
    ///
    /// # Errors
    /// If the metastore can't be read.
    pub async fn docs(&self, project: ProjectId, kind: DocKind) -> Result<Vec<Doc>, StoreError> {
        let rows = self.read(|sql| &sql.doc_list, args![project.0, kind.name()]).await?;
        rows.iter().map(doc).collect()
    }

    /// Writes a document where all is as `seen`. The new revision, or `None` if somebody else was faster or the project does
    /// not exist.
    ///
    /// # Errors
    /// If the metastore can't be written, or the name is too long.
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

    /// Drops a document where all is as `seen`.
    ///
    /// # Errors
    /// If the metastore can't be written.
    pub async fn doc_drop(
        &self,
        project: ProjectId,
        kind: DocKind,
        name: &str,
        seen: impl Into<Seen>,
    ) -> Result<bool, StoreError> {
        self.write(&Put { project, kind, name, body: None, seen: seen.into() }).await
    }

    /// A number that changes whenever a document or a built segment of the project changes: one indexed read. `None` if there
    /// is no such project.
    ///
    /// # Errors
    /// If the metastore can't be read.
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
        // All who change the catalog wait for each other here: what is read next is ours, or nobody's any more.
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
