//! Segments: built ranges of a model, and the manifests of their files.
//!
//! A manifest describes itself: it holds the signature of the star that it was built from, and each layout lists its
//! columns with their types. A model that changed since can lose an index, but never reads it wrongly. Files may come from
//! several attempts. The manifest, published by one fenced commit, makes them one segment.

use crate::conservation::Totals;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::sql_type::SqlType;
use crate::star::Star;
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

/// The most bytes of a manifest as JSON. It is one value in one row of the metastore, and is sent in one statement.
pub const MANIFEST_MAX: usize = 8 << 20;
/// The most files of all indexes of one segment, so that its manifest fits in one row of the metastore.
pub(crate) const MAX_FILES: usize = 8_192;

/// Bytes of one file in a manifest, with a path of 256 bytes.
const FILE_BYTES: usize = 384;
/// Bytes of an index or a column in a manifest, beside names, types and files.
const ENTRY_BYTES: usize = 256;

impl Model {
    /// Checks the definition against the tables it names, and that the manifests of its segments cannot be too large.
    pub fn validate(&self, tables: &[Table]) -> Result<()> {
        Star::resolve(self, tables)?.check_manifest()
    }
}

impl Star {
    /// Refuses a model whose segments could have a manifest above [`MANIFEST_MAX`].
    pub(crate) fn check_manifest(&self) -> Result<()> {
        let bytes = self.manifest_bytes();
        if bytes <= MANIFEST_MAX {
            return Ok(());
        }
        let problem = format!(
            "make {} indexes whose description has up to {bytes} bytes in each segment's manifest, at most {MANIFEST_MAX} \
             are allowed; use fewer indexes, fewer dimensions or measures, or shorter names",
            self.cuboids.len()
        );
        Err(self.model.invalid("aggregation_groups", problem))
    }

    /// The most bytes of the manifest of a segment, as JSON.
    pub(crate) fn manifest_bytes(&self) -> usize {
        let text = |columns: &[Column]| serde_json::to_string(columns).map_or(0, |text| text.len());
        let columns: usize = self.cuboids.iter().map(|c| text(&self.layout_columns(*c)) + ENTRY_BYTES).sum();
        let totals: usize = self.cuboids.first().map_or(0, |base| {
            let columns = self.layout_columns(*base);
            text(&columns) + columns.len() * ENTRY_BYTES
        });
        columns + totals + MAX_FILES.max(self.cuboids.len()) * FILE_BYTES
    }
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

    fn wide(names: usize, length: usize, indexes: usize) -> Result<Star> {
        use serde_json::json;
        let names: Vec<String> = (0..names).map(|i| format!("{i:02}{}", "x".repeat(length))).collect();
        let column = |name: &String| Column { name: name.clone(), type_name: "DECIMAL(38,10)".into() };
        let source = serde_json::from_value(json!({"format": "parquet", "location": "/t"})).unwrap();
        let table = Table { name: "t".into(), source, columns: names.iter().map(column).collect() };
        // Each index is the binary number of its dimensions.
        let members = |i: usize| names.iter().enumerate().filter(move |(d, _)| i >> (d % 10) & 1 == 1).map(|(_, n)| n);
        let model: Model = serde_json::from_value(json!({
            "name": "m", "fact": "t",
            "dimensions": names.iter().map(|n| json!({"name": n, "column": format!("t.{n}")})).collect::<Vec<_>>(),
            "measures": names.iter().take(4).map(|n| json!({"name": n, "function": "AVG", "column": format!("t.{n}")})).collect::<Vec<_>>(),
            "indexes": (1..=indexes).map(|i| members(i).collect::<Vec<_>>()).collect::<Vec<_>>(),
        }))
        .unwrap();
        model.validate(std::slice::from_ref(&table))?;
        Star::resolve(&model, &[table])
    }

    #[test]
    fn the_manifest_of_1023_indexes_with_all_their_files_is_bounded() {
        let star = wide(20, 20, 1023).unwrap();
        assert_eq!(star.cuboids.len(), 1023);
        let per_index = MAX_FILES / star.cuboids.len();
        assert_eq!(per_index, 8);
        let file = |layout: u64, part: usize| DataFile {
            path: format!("/{}/layout-{layout}/part-{part}.parquet", "d".repeat(200)),
            rows: u64::MAX,
            bytes: u64::MAX,
            checksum: "f".repeat(16),
        };
        let layouts = star.cuboids.iter().map(|cuboid| LayoutData {
            layout: cuboid.0,
            columns: star.layout_columns(*cuboid),
            dimensions: cuboid.len() as usize,
            files: (0..per_index).map(|part| file(cuboid.0, part)).collect(),
            rows: u64::MAX,
            bytes: u64::MAX,
        });
        let totals = star.index_tally(star.cuboids[0]).unwrap().totals().unwrap();
        let manifest = Manifest {
            signature: star.signature(),
            layouts: layouts.collect(),
            source_rows: u64::MAX,
            bytes: u64::MAX,
            totals: Some(totals),
            wrong: None,
        };
        let bytes = serde_json::to_string(&manifest).unwrap().len();
        assert!(bytes <= star.manifest_bytes(), "{bytes} bytes, {} were expected", star.manifest_bytes());
        assert!(star.manifest_bytes() <= MANIFEST_MAX);
    }

    #[test]
    fn a_model_whose_manifest_would_be_too_large_is_refused() {
        let error = wide(50, 120, 1023).unwrap_err().to_string();
        assert!(error.contains("1024 indexes") || error.contains("1023 indexes"), "{error}");
        assert!(error.contains("at most 8388608 are allowed; use fewer indexes"), "{error}");
        wide(50, 120, 100).unwrap();
    }
}
