//! Segments: built ranges of a model, and the manifests of their files.
//!
//! A manifest describes itself: it holds the signature of the star that it was built from, and each layout lists its
//! columns with their types. A model that changed since can lose an index, but never reads it wrongly. Files may come from
//! several attempts. The manifest, published by one fenced commit, makes them one segment.

use crate::conservation::Totals;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sql_type::SqlType;
use crate::table::{Column, Table};
use chrono::DateTime;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The part of the time axis that a segment covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentRange {
    /// All rows, whatever their partition column holds.
    Full,
    /// Rows from `start_ms` (inclusive) to `end_ms` (exclusive), milliseconds since 1970 in UTC.
    Time {
        /// First millisecond.
        start_ms: i64,
        /// First millisecond after it.
        end_ms: i64,
    },
}

/// 0001-01-01, the first instant that every partition format can write.
const FIRST_MS: i64 = -62_135_596_800_000;
/// 9999-12-31, the last day that every partition format can write.
const LAST_MS: i64 = 253_402_214_400_000;

impl SegmentRange {
    /// Whether two segments would share rows.
    pub fn overlaps(&self, other: &SegmentRange) -> bool {
        match (self, other) {
            (SegmentRange::Time { start_ms, end_ms }, SegmentRange::Time { start_ms: s, end_ms: e }) => {
                start_ms < e && s < end_ms
            }
            _ => true,
        }
    }

    /// Checks that the range is one and can be written in every partition format.
    pub fn validate(&self) -> Result<()> {
        if let SegmentRange::Time { start_ms, end_ms } = self {
            if start_ms >= end_ms {
                return Err(Error::invalid("range", format!("start {start_ms} is not before end {end_ms}")));
            }
            if *start_ms < FIRST_MS || *end_ms > LAST_MS {
                return Err(Error::invalid(
                    "range",
                    "must lie between the years 1 and 9999; use a full build for everything",
                ));
            }
        }
        Ok(())
    }

    /// The segment's name as Kylin writes it: `yyyyMMddHHmmss_yyyyMMddHHmmss` or `FULL_BUILD`.
    pub fn segment_name(&self) -> String {
        let format =
            |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y%m%d%H%M%S").to_string();
        match self {
            SegmentRange::Full => "FULL_BUILD".into(),
            SegmentRange::Time { start_ms, end_ms } => format!("{}_{}", format(*start_ms), format(*end_ms)),
        }
    }
}

/// A file that a build step wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Path.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// xxHash64 of its content, hexadecimal.
    pub checksum: String,
}

/// The files of one index of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutData {
    /// Layout id.
    pub layout: u64,
    /// Columns of the files: dimensions as `alias.column`, then partial aggregates as `function(alias.column)`.
    pub columns: Vec<Column>,
    /// How many of `columns` are dimensions.
    pub dimensions: usize,
    /// Files, in order; none if the segment is empty.
    pub files: Vec<DataFile>,
    /// Rows in all files.
    pub rows: u64,
    /// Bytes in all files.
    pub bytes: u64,
}

/// What a published segment consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Signature of the star (tables, joins, partition) that it was built from.
    pub signature: String,
    /// Its indexes, in build order.
    pub layouts: Vec<LayoutData>,
    /// Rows of the joined source in the range.
    pub source_rows: u64,
    /// Bytes of all index files.
    pub bytes: u64,
    /// Totals that every index shares with the flat table. Absent in segments of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<Totals>,
    /// The fault that verification found; no query uses such a segment. A refresh publishes a new manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

/// A published (READY) segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its id.
    pub id: String,
    /// Name of its model.
    pub model: String,
    /// What it covers.
    pub range: SegmentRange,
    /// Its files.
    pub manifest: Manifest,
}

impl Segment {
    /// The name for display.
    pub fn name(&self) -> String {
        self.range.segment_name()
    }
}

impl LayoutData {
    /// The schema of the files.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        let fields = self.columns.iter().map(|c| {
            let sql_type = SqlType::parse(&c.type_name).ok_or_else(|| {
                Error::invalid("manifest", format!("column \"{}\" has no known type: {}", c.name, c.type_name))
            })?;
            Ok(Field::new(&c.name, sql_type.arrow(), true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
    }
}

/// Everything that a query needs, at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Tables of the project.
    pub tables: Vec<Table>,
    /// Models of the project.
    pub models: Vec<Model>,
    /// READY segments of these models.
    pub segments: Vec<Segment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(start_ms: i64, end_ms: i64) -> SegmentRange {
        SegmentRange::Time { start_ms, end_ms }
    }

    #[test]
    fn half_open_ranges_touch_without_overlap() {
        assert!(!time(0, 10).overlaps(&time(10, 20)));
        assert!(time(0, 11).overlaps(&time(10, 20)));
        assert!(time(12, 13).overlaps(&time(10, 20)));
        assert!(SegmentRange::Full.overlaps(&time(0, 1)));
    }

    #[test]
    fn segment_names_are_those_of_kylin() {
        assert_eq!(SegmentRange::Full.segment_name(), "FULL_BUILD");
        assert_eq!(time(1_356_998_400_000, 1_359_676_800_000).segment_name(), "20130101000000_20130201000000");
    }

    #[test]
    fn an_empty_inverted_or_unrepresentable_range_is_refused() {
        assert!(time(5, 5).validate().is_err());
        assert!(time(0, i64::MAX).validate().is_err());
        assert!(time(0, 1).validate().is_ok());
    }

    #[test]
    fn ranges_have_a_short_json_form() {
        assert_eq!(serde_json::to_string(&SegmentRange::Full).unwrap(), "\"full\"");
        assert_eq!(serde_json::to_string(&time(1, 2)).unwrap(), r#"{"time":{"start_ms":1,"end_ms":2}}"#);
    }
}
