//! Tables: a name, a source, and the declared columns.
//!
//! Names are compared without regard to case, since SQL clients of this family send them in any case. The columns of a
//! table must therefore differ in more than case. [`crate::Engine::check`] checks a definition against its files.

use crate::error::{Error, Result};
use crate::sql_type::{SqlType, java_sql_type};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A source table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `table` or `schema.table`. The schema is `default` if it is missing.
    pub name: String,
    /// Where the rows are.
    pub source: Source,
    /// Declared columns. Files are cast to the declared types.
    pub columns: Vec<Column>,
}

/// Where the rows of a table are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Format of the files.
    pub format: Format,
    /// A file, a directory or a pattern, as a path, a `file://` URL or an `s3://` URL. The URL of a directory in an object
    /// store ends with a slash. Directories named `key=value` below it are partitions.
    pub location: String,
    /// How CSV files are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvOptions>,
    /// A file or directory outside the roots ([`crate::Access`]) that the administrator of a machine granted to this table.
    /// Requests cannot set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<String>,
}

/// Format of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Delimited text.
    Csv,
}

impl Format {
    /// Its name in definitions.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
        }
    }

    pub(crate) fn extension(self) -> &'static str {
        match self {
            Format::Parquet => ".parquet",
            Format::Csv => ".csv or .tsv (.gz)",
        }
    }

    /// The format of a file, by its extension: `.parquet`, `.csv`, `.tsv`, `.csv.gz` or `.tsv.gz`, in any case.
    pub fn of_file_name(name: &str) -> Option<Format> {
        let lower = name.to_ascii_lowercase();
        match lower.strip_suffix(".gz").unwrap_or(&lower).rsplit_once('.')?.1 {
            "parquet" if !lower.ends_with(".gz") => Some(Format::Parquet),
            "csv" | "tsv" => Some(Format::Csv),
            _ => None,
        }
    }
}

/// How CSV files are written. An empty field is NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOptions {
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// The field separator, one ASCII character. The default is a tab for `.tsv` files and a comma for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// A value that means NULL besides the empty field, e.g. `NA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_value: Option<String>,
}

impl Default for CsvOptions {
    fn default() -> Self {
        CsvOptions { header: true, delimiter: None, null_value: None }
    }
}

fn yes() -> bool {
    true
}

/// A declared column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, as in the files.
    pub name: String,
    /// SQL type: BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), VARCHAR, DATE,
    /// TIMESTAMP or BINARY.
    pub type_name: String,
}

impl Column {
    /// The `java.sql.Types` code of the column's type.
    pub fn type_code(&self) -> i32 {
        java_sql_type(&self.type_name)
    }

    /// Precision (for text: a nominal length) as JDBC reports it.
    pub fn precision(&self) -> u32 {
        SqlType::parse(&self.type_name).map_or(0, SqlType::precision)
    }

    /// Digits after the point, as JDBC reports it.
    pub fn scale(&self) -> u32 {
        SqlType::parse(&self.type_name).map_or(0, SqlType::scale)
    }
}

impl Source {
    /// Checks the definition alone; `field` is its place in errors.
    pub(crate) fn validate(&self, field: &str) -> Result<()> {
        if self.location.trim().is_empty() {
            return Err(Error::invalid(format!("{field}.location"), "is empty; give a file, a directory or a pattern"));
        }
        let Some(csv) = &self.csv else { return Ok(()) };
        if self.format != Format::Csv {
            return Err(Error::invalid(format!("{field}.csv"), "is for CSV files only; leave it out"));
        }
        match csv.delimiter {
            Some(c) if !c.is_ascii() || matches!(c, '"' | '\n' | '\r' | '\0') => Err(Error::invalid(
                format!("{field}.csv.delimiter"),
                format!("is {c:?}; it must be one ASCII character, neither a quote nor the end of a line"),
            )),
            _ => Ok(()),
        }
    }
}

impl Table {
    /// Checks the definition alone; reads nothing.
    pub fn validate(&self) -> Result<()> {
        let at = |field: &str| format!("table \"{}\", {field}", self.name);
        let parts: Vec<&str> = self.name.split('.').collect();
        if parts.len() > 2 || parts.iter().any(|p| p.trim().is_empty()) {
            return Err(Error::invalid(at("name"), "write it as \"table\" or \"schema.table\""));
        }
        self.source.validate(&at("source"))?;
        if self.columns.is_empty() {
            return Err(Error::invalid(at("columns"), "is empty; `describe` lists the columns of a source"));
        }
        for (i, column) in self.columns.iter().enumerate() {
            if SqlType::parse(&column.type_name).is_none() {
                return Err(Error::invalid(
                    at(&format!("columns[{i}].type_name")),
                    format!(
                        "\"{}\" is not a type; use BOOLEAN, TINYINT, SMALLINT, INTEGER, BIGINT, FLOAT, DOUBLE, \
                         DECIMAL(p,s), VARCHAR, DATE, TIMESTAMP or BINARY",
                        column.type_name
                    ),
                ));
            }
            if let Some(twin) = self.columns[..i].iter().find(|c| fold(&c.name) == fold(&column.name)) {
                return Err(Error::invalid(
                    at(&format!("columns[{i}].name")),
                    format!("\"{}\" and \"{}\" differ only in case; rename one in the source", twin.name, column.name),
                ));
            }
        }
        Ok(())
    }

    /// The schema part of the name, folded.
    pub(crate) fn schema_name(&self) -> String {
        self.name.split_once('.').map_or_else(|| DEFAULT_SCHEMA.to_string(), |(schema, _)| fold(schema))
    }

    /// The table part of the name, folded.
    pub(crate) fn bare_name(&self) -> String {
        fold(self.name.rsplit('.').next().unwrap_or(&self.name))
    }

    /// `schema.table`, folded. Unique among tables.
    pub(crate) fn key(&self) -> String {
        table_key(&self.name)
    }

    /// The columns under their folded names, as queries see them.
    pub(crate) fn folded_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|c| {
            let data_type = SqlType::parse(&c.type_name).map_or(DataType::Null, SqlType::arrow);
            Field::new(fold(&c.name), data_type, true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    pub(crate) fn column_type(&self, folded: &str) -> Option<SqlType> {
        self.columns.iter().find(|c| fold(&c.name) == folded).and_then(|c| SqlType::parse(&c.type_name))
    }
}

/// The schema of tables whose name has none.
pub(crate) const DEFAULT_SCHEMA: &str = "default";

/// `schema.table`, folded.
pub(crate) fn table_key(name: &str) -> String {
    let folded = fold(name);
    if folded.contains('.') { folded } else { format!("{DEFAULT_SCHEMA}.{folded}") }
}

/// The form in which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            name: "Sales".into(),
            source: Source { format: Format::Csv, location: "sales/".into(), csv: None, granted: None },
            columns: vec![
                Column { name: "Id".into(), type_name: "bigint".into() },
                Column { name: "price".into(), type_name: "DECIMAL(10,2)".into() },
            ],
        }
    }

    #[test]
    fn names_are_folded_and_get_the_default_schema() {
        assert_eq!(table().key(), "default.sales");
        assert_eq!(table_key("SSB.LineOrder"), "ssb.lineorder");
        assert_eq!(table().folded_schema().field(0).name(), "id");
    }

    #[test]
    fn errors_of_a_definition_name_the_field() {
        let mut t = table();
        t.columns[1].type_name = "money".into();
        assert!(t.validate().unwrap_err().to_string().starts_with("table \"Sales\", columns[1].type_name:"));
        let mut t = table();
        t.columns[1].name = "ID".into();
        assert!(t.validate().unwrap_err().to_string().contains("differ only in case"));
        let mut t = table();
        t.columns.clear();
        assert!(t.validate().is_err());
        let mut t = table();
        t.name = "a.b.c".into();
        assert!(t.validate().is_err());
    }

    #[test]
    fn optional_fields_can_be_left_out_of_json() {
        let json = serde_json::json!({
            "name": "t", "source": {"format": "csv", "location": "/d/*.csv", "csv": {"delimiter": ";"}},
            "columns": [{"name": "a", "type_name": "INTEGER"}]
        });
        let t: Table = serde_json::from_value(json).unwrap();
        assert_eq!(t.source.csv, Some(CsvOptions { header: true, delimiter: Some(';'), null_value: None }));
        t.validate().unwrap();
    }
}
