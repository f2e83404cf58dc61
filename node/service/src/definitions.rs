//! Definitions of tables and models: documents in the metastore. Adding and dropping them is conditional on the
//! revision of the project's catalog that was read.

use std::sync::Arc;

use kirin_metastore::{Doc, DocKind, ProjectInfo, SegmentInfo, Store};
use kirin_olap::{Broken, Catalog};
use serde_json::Value;

use crate::catalog::Catalogs;
use crate::error::{Error, Result, Thing};
use crate::principal::Principal;
use crate::projects::Projects;

/// The maximum number of tries of a write that depends on the whole catalog. A try fails only if another write succeeds.
const TRIES_MAX: usize = 16;

/// The definitions of all projects.
#[derive(Clone)]
pub(crate) struct Definitions {
    pub(crate) projects: Projects,
    pub(crate) store: Store,
    pub(crate) catalogs: Catalogs,
}

impl Definitions {
    pub(crate) async fn project(&self, who: &Principal, name: &str) -> Result<ProjectInfo> {
        self.projects.find(who, name).await
    }

    pub(crate) async fn catalog(&self, project: &str) -> Result<Arc<Catalog>> {
        self.catalogs.catalog(&self.store, project).await
    }

    pub(crate) async fn broken(&self, project: &str) -> Result<Arc<Vec<Broken>>> {
        self.catalogs.broken(&self.store, project).await
    }

    /// Adds a definition, if the catalog allows it.
    pub(crate) async fn add(
        &self,
        project: &ProjectInfo,
        kind: DocKind,
        name: &str,
        value: &Value,
        may_be: impl Fn(&Catalog) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let (catalog, revision) = self.catalogs.at_revision(&self.store, &project.name).await?;
            may_be(&catalog)?;
            // Damaged definitions are not in the catalog.
            let docs = self.store.docs(project.id).await?;
            if docs.iter().any(|doc| doc.kind == kind && doc.name.eq_ignore_ascii_case(name)) {
                return Err(Error::DefinitionExists { what: thing(kind), name: name.to_owned() });
            }
            if self.store.add_doc(project.id, kind, name, value, revision).await? {
                return Ok(());
            }
        }
        Err(Error::Changed)
    }

    /// Drops a definition, if nothing in the catalog depends on it.
    pub(crate) async fn drop(
        &self,
        project: &ProjectInfo,
        kind: DocKind,
        name: &str,
        may_go: impl Fn(&Catalog, &[SegmentInfo]) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let (catalog, revision) = self.catalogs.at_revision(&self.store, &project.name).await?;
            let doc = self.doc(project, kind, name).await?;
            may_go(&catalog, &self.store.segments(project.id, Some(&doc.name)).await?)?;
            if self.store.drop_doc(project.id, &doc, revision).await? {
                return Ok(());
            }
        }
        Err(Error::Changed)
    }

    /// The document of a definition, including unusable ones.
    pub(crate) async fn doc(&self, project: &ProjectInfo, kind: DocKind, name: &str) -> Result<Doc> {
        let docs = self.store.docs(project.id).await?;
        let found = docs.into_iter().find(|doc| doc.kind == kind && doc.name.eq_ignore_ascii_case(name));
        let missing =
            || Error::NoDefinition { what: thing(kind), name: name.to_owned(), project: project.name.clone() };
        found.ok_or_else(missing)
    }
}

const fn thing(kind: DocKind) -> Thing {
    match kind {
        DocKind::Table => Thing::Table,
        DocKind::Model => Thing::Model,
    }
}
