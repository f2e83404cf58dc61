//! Models.

use std::sync::Arc;

use kirin_metastore::{DocKind, SegmentInfo};
use kirin_olap::{Catalog, Model};

use crate::definitions::Definitions;
use crate::error::{Error, Result, Thing};
use crate::principal::Principal;
use crate::projects::named;
use crate::segments::{all_ready, being_built};

/// The models of all projects.
#[derive(Clone)]
pub struct Models(pub(crate) Definitions);

impl Models {
    /// The catalog with the usable models of the project.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn list(&self, _who: &Principal, project: &str) -> Result<Arc<Catalog>> {
        self.0.catalog(project).await
    }

    /// The model with this name.
    ///
    /// # Errors
    /// If it does not exist or is not usable.
    pub async fn find(&self, _who: &Principal, project: &str, name: &str) -> Result<Model> {
        Ok(model_of(&*self.0.catalog(project).await?, name)?.clone())
    }

    /// Adds a model of existing tables. Returns the stored model.
    ///
    /// # Errors
    /// If the name exists, or the model is invalid.
    pub async fn add(&self, who: &Principal, project: &str, model: Model) -> Result<Model> {
        named(Thing::Model, &model.name)?;
        let project = self.0.project(who, project).await?;
        let value = serde_json::to_value(&model).map_err(Error::internal)?;
        let may_be = |catalog: &Catalog| model.validate(&catalog.tables).map_err(Error::Invalid);
        self.0.add(&project, DocKind::Model, &model.name, &value, may_be).await?;
        Ok(model)
    }

    /// Drops a model and its segments, unless a job builds one of them.
    ///
    /// # Errors
    /// If the model does not exist, or a job builds one of its segments.
    pub async fn drop(&self, who: &Principal, project: &str, name: &str) -> Result<()> {
        let project = self.0.project(who, project).await?;
        let model = self.0.doc(&project, DocKind::Model, name).await?;
        // Nothing is dropped while a job builds a segment.
        let segments = self.0.store.segments(project.id, Some(&model.name)).await?;
        all_ready(&segments)?;
        for segment in &segments {
            if !self.0.store.drop_segment(segment.id).await? {
                return Err(being_built(segment));
            }
        }
        // A build may have reserved a range in the meantime.
        let may_go =
            |_: &Catalog, segments: &[SegmentInfo]| segments.first().map_or(Ok(()), |busy| Err(being_built(busy)));
        self.0.drop(&project, DocKind::Model, name, may_go).await
    }
}

/// The catalog's model with this name.
pub(crate) fn model_of<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Model> {
    let found = catalog.models.iter().find(|model| model.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Error::NoModel(name.to_owned()))
}

/// Whether the model reads the table.
pub(crate) fn uses(model: &Model, table: &str) -> bool {
    let lookups = model.lookups.iter().map(|lookup| &lookup.table);
    std::iter::once(&model.fact).chain(lookups).any(|used| used.eq_ignore_ascii_case(table))
}
