//! One zero and one NaN.
//!
//! Arrow compares floats by their bits: −0.0 and 0.0 are two groups, and so are two NaNs with different bits. Every float
//! of a source is therefore made canonical when it is read. The statistics of Parquet files ignore NaN, so they do not
//! select rows by a float. NaN equals itself and is the largest value, as in PostgreSQL.

use crate::operators::{Pass, Through};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, SchemaRef};
use datafusion::common::Result as DfResult;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::StreamExt;
use std::sync::Arc;

/// The array with one zero and one NaN. Arrays of other types are returned unchanged.
pub(crate) fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => Arc::new(
            array
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            array
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v + 0.0 }),
        ),
        _ => array.clone(),
    }
}

/// Makes the floats of its input canonical, and lets no filter on them reach the files' statistics.
#[derive(Debug)]
struct CanonicalFloats;

/// The scan, with canonical floats.
pub(crate) fn canonical_floats(scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match scan.schema().fields().iter().any(|f| f.data_type().is_floating()) {
        true => Arc::new(Through::<CanonicalFloats>::new(scan)),
        false => scan,
    }
}

impl Pass for CanonicalFloats {
    const NAME: &'static str = "CanonicalFloats";
    const LIMITS_PASS: bool = true;
    const ORDER_PASSES: bool = false;

    fn filters_pass(data_type: &DataType) -> bool {
        !data_type.is_floating()
    }

    fn stream(input: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = input.schema();
        let named = schema.clone();
        let batches = input.map(move |batch| batch.and_then(|b| one_batch(&b, &named)));
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

fn one_batch(batch: &RecordBatch, schema: &SchemaRef) -> DfResult<RecordBatch> {
    let columns = batch.columns().iter().map(canonical).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::Float64Array;

    #[test]
    fn there_is_one_zero_and_one_nan() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 0.0, f64::NAN, -f64::NAN, 1.5]));
        let bits: Vec<u64> =
            canonical(&array).as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, [0, 0, f64::NAN.to_bits(), f64::NAN.to_bits(), 1.5f64.to_bits()]);
    }
}
