//! Tables: named files with columns.

use std::io;
use std::path::Path;

use kirin_metastore::{DocKind, SegmentInfo};
use kirin_olap::{Catalog, Format, Source, Table, type_name_of};
use serde::{Deserialize, Serialize};

use crate::definitions::Definitions;
use crate::error::{Error, Result, Thing};
use crate::models::uses;
use crate::principal::Principal;
use crate::projects::named;

/// The tables of all projects.
#[derive(Clone)]
pub struct Tables(pub(crate) Definitions);

/// A table to add.
#[derive(Clone, Debug)]
pub struct NewTable {
    /// The project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// The source of its files.
    pub source: NewSource,
    /// Declared types by column name, which override those of the files.
    pub types: Vec<(String, String)>,
}

/// The files of a new table.
#[derive(Clone, Debug)]
pub enum NewSource {
    /// A location whose file names determine the format.
    Location(String),
    /// A complete source.
    Full(Source),
}

/// An added table.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its definition.
    pub table: Table,
    /// Rows of all files, if the format stores the number.
    pub rows: Option<u64>,
    /// The number of files.
    pub files: usize,
    /// Columns of unsupported types, with their types.
    pub skipped: Vec<(String, String)>,
    /// Notes about decisions and skipped files, for users.
    pub notes: Vec<String>,
}

/// A table of a project.
#[derive(Clone, Debug)]
pub enum Listed {
    /// A table with a readable definition.
    Known {
        /// The definition.
        table: Table,
        /// Rows of all files when it was added, if the format stores the number.
        rows: Option<u64>,
        /// Why it is unusable, if so.
        broken: Option<String>,
    },
    /// A table with an unreadable definition.
    Damaged {
        /// Its name.
        name: String,
        /// Why it cannot be read.
        why: String,
    },
}

/// A table's document: its definition, and facts from when it was added.
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
    /// If the project does not exist, or the metastore does not respond.
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

    /// Adds a table of existing files.
    ///
    /// # Errors
    /// If the name exists, or the files are not usable.
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
            // One name for each type. A check below refuses unknown types.
            column.ok_or(Error::NoColumn(name))?.type_name = type_name_of(&type_name).unwrap_or(type_name);
        }
        // An accepted table can be opened.
        engine.check(&table).await.map_err(Error::Invalid)?;
        let doc = TableDoc { table, rows: described.rows };
        let value = serde_json::to_value(&doc).map_err(Error::internal)?;
        let TableDoc { table, rows } = doc;
        self.0.add(&project, DocKind::Table, &table.name, &value, |_| Ok(())).await?;
        Ok(Added { table, rows, files: described.files, skipped: described.skipped, notes: described.notes })
    }

    /// The location outside the configured roots that the table may read, because the machine's administrator names it.
    /// Checked first, so that a refusal reveals nothing about files of other users.
    fn granted(&self, who: &Principal, new: &NewSource) -> Result<Option<String>> {
        let (NewSource::Full(Source { location, .. }) | NewSource::Location(location)) = new;
        // The check does not depend on the format.
        let source = Source { format: Format::Csv, location: location.clone(), csv: None, granted: None };
        let Err(problem) = self.0.catalogs.engine().may_read(&source) else { return Ok(None) };
        if !who.is_on_machine() {
            return Err(Error::OutsideRoots(problem));
        }
        let root = source.local_root().ok_or_else(|| Error::NoSuchFile(location.clone()))?;
        Ok(Some(root.display().to_string()))
    }

    /// Drops a table that no model uses.
    ///
    /// # Errors
    /// If the table does not exist, or a model uses it.
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

/// The format according to the file names.
fn format_of(location: &str) -> Result<Format> {
    if !location.starts_with("file://") && location.contains("://") {
        return Format::of_file_name(location).ok_or_else(|| Error::UnknownFormat(location.to_owned()));
    }
    let path = Path::new(location.strip_prefix("file://").unwrap_or(location));
    let is_pattern = location.contains(['*', '?', '[']);
    if !is_pattern && std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(Error::NoSuchFile(location.to_owned()));
    }
    let mut formats = Vec::new();
    formats_at(path, &mut formats);
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
