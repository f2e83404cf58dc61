//! `/tables`.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::answer::answers;

/// `POST /tables`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTable {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project")]
    pub project: String,
    /// Its name: 1 to 100 letters, digits, `_` and `-`, starting with a letter or digit.
    pub name: String,
    /// The location of the rows.
    pub source: Given,
    /// Declared types, which are not inferred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<DeclaredColumn>,
}

/// A column with its declared type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredColumn {
    /// Its name.
    pub name: String,
    /// Its SQL type.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A complete source, or only its location. Then the file names determine the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// Only the location.
    Location(String),
    /// The complete source.
    Full(SourceView),
}

impl Serialize for Given {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Location(location) => serializer.serialize_str(location),
            Self::Full(source) => source.serialize(serializer),
        }
    }
}

/// Written by hand, because an untagged enum would hide the errors of a source.
impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a location, or a source such as {\"format\": \"csv\", \"location\": …}")
            }

            fn visit_str<E: Error>(self, location: &str) -> Result<Given, E> {
                Ok(Given::Location(location.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Given, A::Error> {
                SourceView::deserialize(MapAccessDeserializer::new(map)).map(Given::Full)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// The source of a table's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceView {
    /// `parquet` or `csv`.
    pub format: String,
    /// A file, a directory or a pattern: a path, a `file://` or an `s3://` URL.
    pub location: String,
    /// The format of CSV files; only for CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvView>,
}

/// The format of CSV files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvView {
    /// Whether the first line contains the column names (the default).
    #[serde(default = "yes")]
    pub header: bool,
    /// The field separator; if absent, a tab for `.tsv` files and a comma for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// A word that also means NULL, for example `NA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_value: Option<String>,
}

const fn yes() -> bool {
    true
}

answers! {
    /// A table.
    TableView {
        /// Its name.
        name: String,
        /// Always `DEFAULT`.
        database: String,
        /// The source of its rows; none if the stored definition cannot be read.
        source: Option<StoredSource>,
        /// Rows of all files when the table was added; none if the format does not store the number.
        rows: Option<u64>,
        /// Its columns.
        columns: Vec<ColumnView>,
        /// Why the stored definition cannot be used, if so. The table can be dropped.
        broken: Option<String>,
    }
    /// The source of a table, as in [`SourceView`]. Newer nodes may support more formats and fields.
    StoredSource {
        /// `parquet` or `csv`.
        format: String,
        /// A file, a directory or a pattern.
        location: String,
        /// The format of CSV files; only for CSV.
        #[serde(skip_serializing_if = "Option::is_none")]
        csv: Option<StoredCsv>,
    }
    /// The format of CSV files, as in [`CsvView`].
    StoredCsv {
        /// Whether the first line contains the column names.
        header: bool,
        /// The field separator.
        #[serde(skip_serializing_if = "Option::is_none")]
        delimiter: Option<char>,
        /// A word that also means NULL.
        #[serde(skip_serializing_if = "Option::is_none")]
        null_value: Option<String>,
    }
    /// A column.
    ColumnView {
        /// Its name.
        name: String,
        /// Its SQL type.
        #[serde(rename = "type")]
        data_type: String,
        /// The same, under Kylin's name.
        datatype: String,
    }
    /// `POST /tables`: the added table.
    TableAdded {
        /// Its name.
        name: String,
        /// Rows of all files; none if the format does not store the number.
        rows: Option<u64>,
        /// The number of files.
        files: u64,
        /// Its columns.
        columns: Vec<ColumnView>,
        /// Columns that cannot be used.
        skipped_columns: Vec<SkippedColumn>,
        /// Notes about decisions and skipped files, one sentence each.
        notes: Vec<String>,
    }
    /// A column that is not part of the table.
    SkippedColumn {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    }
}

impl ColumnView {
    /// A column.
    pub fn new(name: &str, data_type: &str) -> Self {
        Self { name: name.to_owned(), data_type: data_type.to_owned(), datatype: data_type.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_location_or_an_object_and_its_errors_are_reported() {
        let short: NewTable = serde_json::from_str(r#"{"name":"t","source":"/d"}"#).unwrap();
        assert_eq!((short.project.as_str(), short.source), ("default", Given::Location("/d".into())));
        let full = r#"{"name":"t","source":{"format":"csv","location":"/d","csv":{"delimiter":";"}}}"#;
        let Given::Full(source) = serde_json::from_str::<NewTable>(full).unwrap().source else { panic!() };
        assert_eq!(source.csv, Some(CsvView { header: true, delimiter: Some(';'), null_value: None }));
        let wrong = serde_json::from_str::<NewTable>(r#"{"name":"t","source":{"formt":"csv","location":"/d"}}"#);
        assert!(wrong.unwrap_err().to_string().contains("unknown field `formt`, expected one of `format`"));
    }
}
