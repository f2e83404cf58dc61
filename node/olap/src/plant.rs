//! Faults planted in the build of an index, to prove that the conservation laws detect them.
//!
//! Only tests can plant them, through the feature `plants`. Without it, [`Plant::None`] is the only value.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::Result as DfResult;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

/// A planted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plant {
    /// No fault.
    #[default]
    None,
    /// The first batch of an index is lost.
    #[cfg(feature = "plants")]
    LostBatch,
    /// Two groups of an index swap their counts and sums. All totals stay right.
    #[cfg(feature = "plants")]
    SwappedGroup,
}

impl Plant {
    /// The stream of an index partition, with the fault in the first one.
    pub(crate) fn spoil(self, partition: usize, stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
        if self == Plant::None || partition != 0 {
            return stream;
        }
        let schema = stream.schema();
        let spoiled = stream.enumerate().map(move |(i, batch)| if i == 0 { self.spoiled(&batch?) } else { batch });
        Box::pin(RecordBatchStreamAdapter::new(schema, spoiled))
    }

    fn spoiled(self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        Ok(match self {
            Plant::None => batch.clone(),
            #[cfg(feature = "plants")]
            Plant::LostBatch => batch.slice(0, 0),
            #[cfg(feature = "plants")]
            Plant::SwappedGroup => swapped(batch)?,
        })
    }
}

/// Swaps the aggregates of the first group with those of the first group that has different ones.
#[cfg(feature = "plants")]
fn swapped(batch: &RecordBatch) -> DfResult<RecordBatch> {
    use datafusion::arrow::array::UInt64Array;
    use datafusion::arrow::compute::take;

    let first = batch.schema().index_of("count(*)")?;
    let aggregates = &batch.columns()[first..];
    let differs = |i: &usize| aggregates.iter().any(|c| c.slice(0, 1) != c.slice(*i, 1));
    let Some(other) = (1..batch.num_rows()).find(differs) else {
        return Ok(batch.clone());
    };
    let mut order: Vec<u64> = (0..batch.num_rows() as u64).collect();
    order.swap(0, other);
    let order = UInt64Array::from(order);
    let columns = batch.columns().iter().enumerate();
    let columns = columns.map(|(i, c)| if i < first { Ok(c.clone()) } else { take(c, &order, None) });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect::<Result<_, _>>()?)?)
}
