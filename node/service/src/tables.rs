//! Tables: files under a name, with columns.

use std::path::Path;

use kirin_metastore::{DocKind, SegmentInfo};
use kirin_olap::{Catalog, Format, Source, Table};
use serde::{Deserialize, Serialize};

use crate::definitions::Definitions;
use crate::error::{Error, Result, Thing};
use crate::models::uses;
use crate::principal::Principal;
use crate::projects::named;

/// The tables of all projects.
#[derive(Clone)]
pub struct Tables(pub(crate) Definitions);

/// A table to be added.
#[derive(Clone, Debug)]
pub struct NewTable {
    /// The project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its files.
    pub source: NewSource,
    /// Types that differ from those in the files, by the column's name.
    pub types: Vec<(String, String)>,
}

/// The files of a new table.
#[derive(Clone, Debug)]
pub enum NewSource {
    /// A location whose names tell the format.
    Location(String),
    /// A source in full.
    Full(Source),
}

/// A table that was added.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its definition.
    pub table: Table,
    /// Rows of all files, where the format tells without reading them.
    pub rows: Option<u64>,
    /// The number of files.
    pub files: usize,
    /// Columns whose type no table can hold, with that type.
    pub skipped: Vec<(String, String)>,
    /// What was decided and what was passed over, for people.
    pub notes: Vec<String>,
}

/// A table of a project.
#[derive(Clone, Debug)]
pub enum Listed {
    /// Its definition can be read.
    Known {
        /// The definition.
        table: Table,
        /// Rows of all files when it was added, where the format tells without reading them.
        rows: Option<u64>,
        /// Why it cannot be used, if it cannot.
        broken: Option<String>,
    },
    /// Its definition cannot be read.
    Damaged {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
}

/// A table's document: its definition, and what was found out when it was added.
#[derive(Serialize, Deserialize)]
struct TableDoc {
    #[serde(flatten)]
    table: Table,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

impl Tables {
    /// The tables of the project.
    ///
    /// # Errors
    /// If there is no such project, or the metastore does not answer.
    pub async fn list(&self, who: &Principal, project: &str) -> Result<Vec<Listed>> {
        let found = self.0.project(who, project).await?;
        let broken = self.0.broken(project).await?;
        let docs = self.0.store.docs(found.id).await?;
        let tables = docs.into_iter().filter(|doc| doc.kind == DocKind::Table).map(|doc| {
            let broken = broken.iter().find(|b| b.kind == "table" && b.name == doc.name).map(|b| b.problem.clone());
            match TableDoc::deserialize(doc.value) {
                Ok(TableDoc { table, rows }) => Listed::Known { table, rows, broken },
                Err(error) => Listed::Damaged { name: doc.name, why: broken.unwrap_or_else(|| error.to_string()) },
            }
        });
        Ok(tables.collect())
    }

    /// Adds a table over files that are there.
    ///
    /// # Errors
    /// If there is one of that name, or its files are not such that a table can be over them.
    pub async fn add(&self, who: &Principal, new: NewTable) -> Result<Added> {
        named(Thing::Table, &new.name)?;
        let project = self.0.project(who, &new.project).await?;
        let granted = self.granted(who, &new.source)?;
        let source = match new.source {
            NewSource::Full(source) => Source { granted, ..source },
            NewSource::Location(location) => Source { format: format_of(&location)?, location, csv: None, granted },
        };
        let engine = self.0.catalogs.engine();
        let described = engine.describe(&source).await.map_err(Error::Invalid)?;
        let mut table = Table { name: new.name, source, columns: described.columns };
        for (name, type_name) in new.types {
            let column = table.columns.iter_mut().find(|c| c.name.to_lowercase() == name.to_lowercase());
            column.ok_or(Error::NoColumn(name))?.type_name = type_name;
        }
        // What is accepted can be opened.
        engine.check(&table).await.map_err(Error::Invalid)?;
        let doc = TableDoc { table, rows: described.rows };
        let value = serde_json::to_value(&doc).map_err(Error::internal)?;
        let TableDoc { table, rows } = doc;
        self.0.add(&project, DocKind::Table, &table.name, &value, |_| Ok(())).await?;
        Ok(Added { table, rows, files: described.files, skipped: described.skipped, notes: described.notes })
    }

    /// The place outside the configured roots that the table may read because the administrator of the machine names it.
    /// Checked before anything else, so that a refusal tells nothing about the files of others.
    fn granted(&self, who: &Principal, new: &NewSource) -> Result<Option<String>> {
        let (NewSource::Full(Source { location, .. }) | NewSource::Location(location)) = new;
        // The check does not depend on the format.
        let source = Source { format: Format::Csv, location: location.clone(), csv: None, granted: None };
        let Err(problem) = self.0.catalogs.engine().may_read(&source) else { return Ok(None) };
        if !who.is_on_machine() {
            return Err(Error::OutsideRoots(problem));
        }
        let root = source.local_root().ok_or_else(|| Error::NoFiles(location.clone()))?;
        Ok(Some(root.display().to_string()))
    }

    /// Drops a table that no model uses.
    ///
    /// # Errors
    /// If there is no such table, or a model uses it.
    pub async fn drop(&self, who: &Principal, project: &str, name: &str) -> Result<()> {
        let project = self.0.project(who, project).await?;
        let may_go = |catalog: &Catalog, _: &[SegmentInfo]| match catalog.models.iter().find(|model| uses(model, name))
        {
            None => Ok(()),
            Some(model) => Err(Error::TableInUse { table: name.to_owned(), model: model.name.clone() }),
        };
        self.0.drop(&project, DocKind::Table, name, may_go).await
    }
}

/// The format that the names of the files tell.
fn format_of(location: &str) -> Result<Format> {
    if !location.starts_with("file://") && location.contains("://") {
        return Format::of_file_name(location).ok_or_else(|| Error::UnknownFormat(location.to_owned()));
    }
    let mut formats = Vec::new();
    formats_at(Path::new(location.strip_prefix("file://").unwrap_or(location)), &mut formats);
    match (formats.contains(&Format::Parquet), formats.contains(&Format::Csv)) {
        (true, false) => Ok(Format::Parquet),
        (false, true) => Ok(Format::Csv),
        (true, true) => Err(Error::SeveralFormats(location.to_owned())),
        (false, false) => Err(Error::NoFiles(location.to_owned())),
    }
}

/// The formats of a file, or of the files in a directory and its `key=value` directories.
fn formats_at(path: &Path, formats: &mut Vec<Format>) {
    let Ok(entries) = std::fs::read_dir(path) else {
        formats.extend(path.file_name().and_then(|name| Format::of_file_name(name.to_str()?)));
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match Format::of_file_name(&name) {
            Some(format) if !name.starts_with(['.', '_']) => formats.push(format),
            None if name.contains('=') => formats_at(&entry.path(), formats),
            _ => {}
        }
    }
}
