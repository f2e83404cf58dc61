//! Cells as text, as this family's clients expect them.
//!
//! DATE is `yyyy-MM-dd`, TIMESTAMP `yyyy-MM-dd HH:mm:ss[.fraction]`, BOOLEAN `true` or `false`. NULL has no text.
//! An answer holds record batches; what serves clients that read text calls [`text_rows`] for each.

use crate::error::{Error, Result};
use crate::times::TIMESTAMP;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// The rows of a batch as text; a cell is a text, or nothing for NULL.
///
/// # Errors
/// If a value has no text, like a timestamp beyond the calendar.
pub fn text_rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>> {
    let options =
        FormatOptions::default().with_timestamp_format(Some(TIMESTAMP)).with_timestamp_tz_format(Some(TIMESTAMP));
    let formatters = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>().map_err(|e| Error::Execution(e.to_string()))?;
    // Logical: an untyped NULL column and dictionaries have no bit per row to ask.
    let nulls: Vec<_> = batch.columns().iter().map(|c| c.logical_nulls()).collect();
    let mut rows = Vec::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let mut row = Vec::with_capacity(formatters.len());
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
    Ok(rows)
}
