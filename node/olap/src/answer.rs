//! The answer to a query as plain data: text cells, as this family's clients expect them.
//!
//! DATE is `yyyy-MM-dd`, TIMESTAMP `yyyy-MM-dd HH:mm:ss[.fraction]`, BOOLEAN `true`/`false`, NULL is no text at all.

use crate::error::{Error, Result};
use crate::query::Realization;
use crate::sql_type::{SqlType, java_sql_type};
use crate::times::TIMESTAMP;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DFSchema;
use serde::{Deserialize, Serialize};

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnMeta {
    /// Label.
    pub name: String,
    /// SQL type without precision, e.g. `DECIMAL`.
    pub type_name: String,
    /// Whether cells may be NULL.
    pub nullable: bool,
    /// Digits, or a nominal length for text.
    pub precision: u32,
    /// Digits after the point.
    pub scale: u32,
}

impl ColumnMeta {
    /// The `java.sql.Types` code of the type.
    pub fn type_code(&self) -> i32 {
        java_sql_type(&self.type_name)
    }
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryAnswer {
    /// Its columns.
    pub columns: Vec<ColumnMeta>,
    /// Its rows; a cell is text or NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// Rows read from files, index or raw.
    pub scanned_rows: u64,
    /// Bytes of these files.
    pub scanned_bytes: u64,
    /// The indexes that answered.
    pub realizations: Vec<Realization>,
    /// Whether raw tables were read.
    pub push_down: bool,
    /// How long it took.
    pub millis: u64,
}

impl QueryAnswer {
    /// Whether rows are missing because their range is not built.
    pub fn is_partial(&self) -> bool {
        self.realizations.iter().any(|r| !r.missing.is_empty())
    }
}

pub(crate) fn columns(schema: &DFSchema, labels: Option<Vec<String>>) -> Vec<ColumnMeta> {
    let columns = schema.fields().iter().map(|field| {
        let (name, precision, scale) = sql_type(field.data_type());
        ColumnMeta { name: field.name().clone(), type_name: name, nullable: field.is_nullable(), precision, scale }
    });
    labelled(columns.collect(), labels)
}

/// The columns of an answer under the labels that the user wrote, if those are known.
fn labelled(columns: Vec<ColumnMeta>, labels: Option<Vec<String>>) -> Vec<ColumnMeta> {
    match labels {
        Some(labels) if labels.len() == columns.len() => {
            columns.into_iter().zip(labels).map(|(c, name)| ColumnMeta { name, ..c }).collect()
        }
        _ => columns,
    }
}

fn sql_type(data_type: &DataType) -> (String, u32, u32) {
    match (SqlType::of_arrow(data_type), data_type) {
        (Some(t), _) => (t.name().into(), t.precision(), t.scale()),
        (None, DataType::Time32(_) | DataType::Time64(_)) => ("TIME".into(), 8, 0),
        // Lists, intervals and the like travel as text.
        (None, _) => ("VARCHAR".into(), 256, 0),
    }
}

pub(crate) fn rows(batches: &[RecordBatch], columns: usize) -> Result<Vec<Vec<Option<String>>>> {
    let options =
        FormatOptions::default().with_timestamp_format(Some(TIMESTAMP)).with_timestamp_tz_format(Some(TIMESTAMP));
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let formatters = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::Execution(e.to_string()))?;
        // Logical: an untyped NULL column and dictionaries have no bit per row to ask.
        let nulls: Vec<_> = batch.columns().iter().map(|c| c.logical_nulls()).collect();
        for i in 0..batch.num_rows() {
            let mut row = Vec::with_capacity(columns);
            for (nulls, formatter) in nulls.iter().zip(&formatters) {
                row.push(match nulls.as_ref().is_some_and(|n| n.is_null(i)) {
                    true => None,
                    false => {
                        let cell = formatter.value(i).try_to_string();
                        Some(cell.map_err(|e| Error::Execution(e.to_string()))?)
                    }
                });
            }
            rows.push(row);
        }
    }
    Ok(rows)
}
