//! Conservation laws: quantities that an aggregation must not change.
//!
//! An index is an aggregation of the flat table. For any dimensions of the index, these quantities must be the same in
//! both:
//!
//! - the sum of its row counts is the number of rows of the flat table,
//! - each COUNT and each SUM adds up to that of the flat table (exactly for integers and decimals),
//! - the least MIN and the greatest MAX are those of the flat table.
//!
//! These totals detect rows that are lost or counted twice. They do not detect values that moved from one group to another.
//! For that there is a *fingerprint* for each dimension: the sum over all groups of
//! `hash(value of the dimension) × weight(group)`, modulo 2^64. The weight is a fixed linear combination of the group's
//! counts and sums. The fingerprint is linear in the counts and sums, so it is the same for the flat table and for every
//! index that has the dimension. Two groups that swap their values change the fingerprint of every dimension in which they
//! differ. A change that keeps the distribution over each single dimension goes undetected. A comparison group by group
//! ([`Engine::verify_segment`](crate::Engine::verify_segment), deep) detects that, too.
//!
//! The [`Totals`] of the flat table are computed while it is written, and are kept in the segment's manifest. The totals of
//! each index are computed while it is written, and compared before its step ends. A tally reads every value once and keeps
//! a few numbers, so it costs a small part of the aggregation.
//!
//! Totals with a NaN or an infinity are not compared, since arithmetic on them is not exact.

use crate::error::{Error, Result};
use crate::measure::{Partial, Reads, Running, Total, each};
use datafusion::arrow::array::types::ByteViewType;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use datafusion::arrow::array::{Array, AsArray, GenericByteViewArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use twox_hash::XxHash64;

/// The conserved quantities of a flat table or of an index.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// By partial aggregate, as `function(alias.column)`.
    pub partials: BTreeMap<String, Total>,
    /// Fingerprint by dimension, as `alias.column`; hexadecimal.
    pub fingerprints: BTreeMap<String, String>,
}

// No float in a total is NaN.
impl Eq for Totals {}

/// A quantity that was not conserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The name of the quantity, for display.
    pub(crate) quantity: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.quantity, self.expected, self.found)
    }
}

impl Broken {
    /// The error of a build whose `what` is wrong.
    pub(crate) fn error(self, what: impl Into<String>) -> Error {
        let Broken { quantity, expected, found } = self;
        Error::NotConserved { what: what.into(), quantity, expected, found }
    }
}

impl Totals {
    /// The first quantity in which an index differs from its flat table; `self` are the totals of the flat table.
    pub(crate) fn broken_by(&self, index: &Totals) -> Option<Broken> {
        for (name, found) in &index.partials {
            let Some(expected) = self.partials.get(name) else { continue };
            if !expected.agrees(found) {
                let (expected, found) = (expected.to_string(), found.to_string());
                return Some(Broken { quantity: format!("total of {name}"), expected, found });
            }
        }
        for (name, found) in &index.fingerprints {
            let Some(expected) = self.fingerprints.get(name).filter(|expected| *expected != found) else { continue };
            return Some(Broken {
                quantity: format!("fingerprint of the groups by {name}"),
                expected: expected.clone(),
                found: found.clone(),
            });
        }
        None
    }

    /// The number of rows, as counted.
    pub(crate) fn rows(&self) -> Option<u64> {
        match self.partials.get(&Partial::rows().name())? {
            Total::Exact(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// Computes the totals of batches.
#[derive(Debug)]
pub(crate) struct Tally {
    dimensions: Vec<(String, u64)>,
    partials: Vec<Tallied>,
}

#[derive(Debug)]
struct Tallied {
    name: String,
    from: Reads,
    /// The factor of the value in the weight of its group.
    factor: u64,
    sum: Running,
}

impl Tally {
    /// A tally of a flat table, whose columns are dimensions and measured columns.
    pub(crate) fn of_flat(dimensions: impl Iterator<Item = String>, partials: &[Partial]) -> Result<Tally> {
        Tally::new(dimensions, partials, Partial::reads_of_flat)
    }

    /// A tally of an index, whose columns are dimensions and partial aggregates.
    pub(crate) fn of_index(dimensions: impl Iterator<Item = String>, partials: &[Partial]) -> Result<Tally> {
        Tally::new(dimensions, partials, Partial::reads_of_index)
    }

    fn new(
        dimensions: impl Iterator<Item = String>,
        partials: &[Partial],
        from: impl Fn(&Partial) -> Reads,
    ) -> Result<Tally> {
        let tallied = partials.iter().map(|partial| {
            let name = partial.name();
            let factor = XxHash64::oneshot(1, name.as_bytes()) | 1;
            Ok(Tallied { factor, from: from(partial), name, sum: partial.total()? })
        });
        let partials = tallied.collect::<Result<_>>()?;
        Ok(Tally { dimensions: dimensions.map(|name| (name, 0)).collect(), partials })
    }

    /// Adds a batch.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Error::Execution(format!("a batch has no column \"{name}\"")))
        };
        let mut weights = vec![0u64; batch.num_rows()];
        // The part of the weight that is the same for every row.
        let mut of_each = 0u64;
        for partial in &mut self.partials {
            let factor = partial.factor;
            match (&partial.from, &mut partial.sum) {
                (Reads::EachRow, Running::Exact(sum)) => {
                    *sum = sum.wrapping_add(batch.num_rows() as i128);
                    of_each = of_each.wrapping_add(factor);
                }
                (Reads::EachValue(name), Running::Exact(sum)) => {
                    let values = column(name)?;
                    of_each = of_each.wrapping_add(factor);
                    *sum = sum.wrapping_add(values.len() as i128);
                    if let Some(nulls) = values.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
                        *sum = sum.wrapping_sub(nulls.null_count() as i128);
                        for i in (!nulls.inner()).set_indices() {
                            weights[i] = weights[i].wrapping_sub(factor);
                        }
                    }
                }
                (Reads::Values(name, data_type), sum) => {
                    let values = column(name)?;
                    let values = match values.data_type() == data_type || sum.reads(values.data_type()) {
                        true => values.clone(),
                        false => cast(values, data_type).map_err(|e| Error::Execution(e.to_string()))?,
                    };
                    sum.add(&values, |i, value| weights[i] = weights[i].wrapping_add(factor.wrapping_mul(value)))?;
                }
                (Reads::EachRow | Reads::EachValue(_), _) => {
                    return Err(Error::Execution(format!("{} is not a count", partial.name)));
                }
            }
        }
        weights.iter_mut().for_each(|weight| *weight = weight.wrapping_add(of_each));
        for (name, fingerprint) in &mut self.dimensions {
            let values = column(name)?;
            let mut sum = 0u64;
            each_hash(values, |i, hash| sum = sum.wrapping_add(hash.wrapping_mul(weights[i])))?;
            *fingerprint = fingerprint.wrapping_add(sum);
        }
        Ok(())
    }

    /// Adds another tally of the same columns.
    pub(crate) fn merge(&mut self, other: Tally) -> Result<()> {
        for ((_, fingerprint), (_, more)) in self.dimensions.iter_mut().zip(other.dimensions) {
            *fingerprint = fingerprint.wrapping_add(more);
        }
        for (mine, theirs) in self.partials.iter_mut().zip(other.partials) {
            mine.sum.merge(theirs.sum)?;
        }
        Ok(())
    }

    /// The totals of all batches.
    pub(crate) fn totals(self) -> Result<Totals> {
        let fingerprints = self.dimensions.into_iter().map(|(name, sum)| (name, format!("{sum:016x}"))).collect();
        let partials = self.partials.into_iter().map(|partial| Ok((partial.name, partial.sum.total()?)));
        Ok(Totals { partials: partials.collect::<Result<_>>()?, fingerprints })
    }
}

/// Calls `f` with the position and hash of each value, NULL included. Equal values have equal hashes in every process
/// and on every machine, since fingerprints are compared with stored ones.
fn each_hash(values: &dyn Array, mut f: impl FnMut(usize, u64)) -> Result<()> {
    const NULL: u64 = 0x9ae1_6a3b_2f90_404f;
    if let Some(nulls) = values.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
        (0..values.len()).filter(|i| nulls.is_null(*i)).for_each(|i| f(i, NULL));
    }
    match values.data_type() {
        DataType::Boolean => {
            let array = values.as_boolean();
            (0..array.len()).filter(|i| array.is_valid(*i)).for_each(|i| f(i, mix(u64::from(array.value(i)))));
        }
        DataType::Int8 => each::<Int8Type>(values, |i, v| f(i, mix(i64::from(v) as u64))),
        DataType::Int16 => each::<Int16Type>(values, |i, v| f(i, mix(i64::from(v) as u64))),
        DataType::Int32 => each::<Int32Type>(values, |i, v| f(i, mix(i64::from(v) as u64))),
        DataType::Int64 => each::<Int64Type>(values, |i, v| f(i, mix(v as u64))),
        DataType::Date32 => each::<Date32Type>(values, |i, v| f(i, mix(i64::from(v) as u64))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each::<TimestampMicrosecondType>(values, |i, v| f(i, mix(v as u64)));
        }
        DataType::Decimal128(..) => {
            each::<Decimal128Type>(values, |i, v| f(i, mix(v as u64 ^ mix((v >> 64) as u64))));
        }
        DataType::Float32 => each::<Float32Type>(values, |i, v| f(i, mix(float_bits(f64::from(v))))),
        DataType::Float64 => each::<Float64Type>(values, |i, v| f(i, mix(float_bits(v)))),
        DataType::Utf8View => each_view_hash(values.as_string_view(), |text| text.as_bytes(), f),
        DataType::BinaryView => each_view_hash(values.as_binary_view(), |bytes| bytes, f),
        other => return Err(Error::Execution(format!("cannot take a fingerprint of {other}"))),
    }
    Ok(())
}

/// A short value is stored in its view, zero-padded, so the view is hashed.
fn each_view_hash<T: ByteViewType + ?Sized>(
    array: &GenericByteViewArray<T>,
    bytes: impl Fn(&T::Native) -> &[u8],
    mut f: impl FnMut(usize, u64),
) {
    // By the format of Arrow. The low 32 bits of a view are the length.
    const INLINE_LENGTH: u32 = 12;
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    for (i, view) in array.views().iter().enumerate() {
        if nulls.is_some_and(|nulls| nulls.is_null(i)) {
            continue;
        }
        match *view as u32 <= INLINE_LENGTH {
            true => f(i, mix(*view as u64 ^ mix((*view >> 64) as u64))),
            false => f(i, hash_of(bytes(array.value(i)))),
        }
    }
}

/// Texts of dimensions are short. For them, a chain of mixed words is faster than a hash for long input.
fn hash_of(bytes: &[u8]) -> u64 {
    const SHORT: usize = 64;
    if bytes.len() > SHORT {
        return XxHash64::oneshot(0, bytes);
    }
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix(hash ^ u64::from_le_bytes(*word)));
    match bytes.last_chunk::<8>() {
        Some(last) if !rest.is_empty() => mix(hash ^ u64::from_le_bytes(*last)),
        _ => hash,
    }
}

/// One pattern for both zeros, and one for all NaNs, since each is one group.
fn float_bits(v: f64) -> u64 {
    if v.is_nan() { f64::NAN.to_bits() } else { (v + 0.0).to_bits() }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(mut v: u64) -> u64 {
    v = v.wrapping_add(0x9e37_79b9_7f4a_7c15);
    v = (v ^ (v >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    v = (v ^ (v >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    v ^ (v >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::MeasureFunction;
    use crate::relation::StarColumn;
    use crate::sql_type::SqlType;
    use datafusion::arrow::array::{
        ArrayRef, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringViewArray,
    };
    use std::sync::Arc;

    fn stored(function: MeasureFunction, column: &str, sql_type: SqlType) -> Partial {
        let column = StarColumn { alias: "f".into(), column: column.into() };
        let (kind, sql_type) = function.kind().partials("", sql_type).unwrap()[0];
        Partial { kind, column: Some(column), sql_type }
    }

    fn partials() -> Vec<Partial> {
        vec![
            Partial::rows(),
            stored(MeasureFunction::Count, "n", SqlType::Integer),
            stored(MeasureFunction::Sum, "n", SqlType::Integer),
            stored(MeasureFunction::Max, "n", SqlType::Integer),
            stored(MeasureFunction::Sum, "x", SqlType::Double),
            stored(MeasureFunction::Min, "x", SqlType::Double),
        ]
    }

    fn dimensions() -> impl Iterator<Item = String> {
        ["f.a", "f.b"].into_iter().map(String::from)
    }

    type Row = (Option<&'static str>, i64, Option<i32>, f64);

    fn flat(rows: &[Row]) -> Totals {
        let batch = RecordBatch::try_from_iter([
            ("f.a", Arc::new(rows.iter().map(|r| r.0).collect::<StringViewArray>()) as ArrayRef),
            ("f.b", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)))),
            ("f.n", Arc::new(rows.iter().map(|r| r.2).collect::<Int32Array>())),
            ("f.x", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3)))),
        ]);
        let batch = batch.unwrap();
        let (mut first, mut second) =
            (Tally::of_flat(dimensions(), &partials()).unwrap(), Tally::of_flat(dimensions(), &partials()).unwrap());
        first.add(&batch.slice(0, 1)).unwrap();
        second.add(&batch.slice(1, batch.num_rows() - 1)).unwrap();
        first.merge(second).unwrap();
        first.totals().unwrap()
    }

    type Group = (Option<&'static str>, i64, [i64; 2], Option<i64>, Option<i32>, [f64; 2]);

    fn index(groups: &[Group]) -> Totals {
        let batch = RecordBatch::try_from_iter([
            ("f.a", Arc::new(groups.iter().map(|g| g.0).collect::<StringViewArray>()) as ArrayRef),
            ("f.b", Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| g.1)))),
            ("count(*)", Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| g.2[0])))),
            ("count(f.n)", Arc::new(Int64Array::from_iter_values(groups.iter().map(|g| g.2[1])))),
            ("sum(f.n)", Arc::new(groups.iter().map(|g| g.3).collect::<Int64Array>())),
            ("max(f.n)", Arc::new(groups.iter().map(|g| g.4).collect::<Int32Array>())),
            ("sum(f.x)", Arc::new(Float64Array::from_iter_values(groups.iter().map(|g| g.5[0])))),
            ("min(f.x)", Arc::new(Float64Array::from_iter_values(groups.iter().map(|g| g.5[1])))),
        ]);
        let mut tally = Tally::of_index(dimensions(), &partials()).unwrap();
        tally.add(&batch.unwrap()).unwrap();
        tally.totals().unwrap()
    }

    const ROWS: [Row; 4] = [
        (Some("x"), 1, Some(10), 0.5),
        (Some("x"), 1, Some(-3), 0.25),
        (None, 2, None, -1.0),
        (Some("y"), 2, Some(4), 8.0),
    ];
    const GROUPS: [Group; 3] = [
        (Some("x"), 1, [2, 2], Some(7), Some(10), [0.75, 0.25]),
        (None, 2, [1, 0], None, None, [-1.0, -1.0]),
        (Some("y"), 2, [1, 1], Some(4), Some(4), [8.0, 8.0]),
    ];

    #[test]
    fn a_correct_index_has_the_totals_of_its_flat_table_in_any_order() {
        let mut groups = GROUPS;
        assert_eq!(flat(&ROWS).broken_by(&index(&groups)), None);
        groups.reverse();
        assert_eq!(flat(&ROWS).broken_by(&index(&groups)), None);
        assert_eq!(flat(&ROWS).rows(), Some(4));
    }

    #[test]
    fn the_row_count_detects_a_lost_group_and_a_doubled_one() {
        let broken = flat(&ROWS).broken_by(&index(&GROUPS[..2])).unwrap();
        assert_eq!(broken.to_string(), "total of count(*): expected 4, found 3");
        let doubled = [GROUPS[0], GROUPS[1], GROUPS[2], GROUPS[2]];
        assert_eq!(flat(&ROWS).broken_by(&index(&doubled)).unwrap().found, "5");
    }

    #[test]
    fn a_wrong_sum_or_maximum_is_named() {
        let mut groups = GROUPS;
        groups[0].3 = Some(8);
        let broken = flat(&ROWS).broken_by(&index(&groups)).unwrap();
        assert_eq!(broken.to_string(), "total of sum(f.n): expected 11, found 12");
        let mut groups = GROUPS;
        groups[0].4 = Some(9);
        let broken = flat(&ROWS).broken_by(&index(&groups)).unwrap();
        assert_eq!(broken.to_string(), "total of max(f.n): expected 10, found 9");
    }

    #[test]
    fn swapped_groups_change_a_fingerprint_although_every_total_is_correct() {
        let mut groups = GROUPS;
        (groups[0].3, groups[2].3) = (groups[2].3, groups[0].3);
        let broken = flat(&ROWS).broken_by(&index(&groups)).unwrap();
        assert_eq!(broken.quantity, "fingerprint of the groups by f.a");
        let mut groups = GROUPS;
        (groups[1].0, groups[2].0) = (groups[2].0, groups[1].0);
        assert_eq!(flat(&ROWS).broken_by(&index(&groups)).unwrap().quantity, "fingerprint of the groups by f.a");
    }

    #[test]
    fn float_sums_may_differ_by_rounding_only_and_infinities_are_not_compared() {
        let mut groups = GROUPS;
        groups[0].5[0] += 1e-12;
        assert_eq!(flat(&ROWS).broken_by(&index(&groups)), None);
        groups[0].5[0] += 0.1;
        assert_eq!(flat(&ROWS).broken_by(&index(&groups)).unwrap().quantity, "total of sum(f.x)");
        let mut rows = ROWS;
        rows[0].3 = f64::NAN;
        assert_eq!(flat(&rows).partials["sum(f.x)"], Total::NotFinite);
        assert_eq!(flat(&rows).broken_by(&index(&groups)), None);
    }

    #[test]
    fn integers_of_every_width_are_summed_and_compared_without_a_cast() {
        let partials = [
            stored(MeasureFunction::Sum, "n", SqlType::Integer),
            stored(MeasureFunction::Min, "n", SqlType::Integer),
            stored(MeasureFunction::Max, "n", SqlType::Integer),
        ];
        let arrays: [ArrayRef; 4] = [
            Arc::new(Int8Array::from(vec![Some(-3), None, Some(100)])),
            Arc::new(Int16Array::from(vec![Some(-3), None, Some(100)])),
            Arc::new(Int32Array::from(vec![Some(-3), None, Some(100)])),
            Arc::new(Int64Array::from(vec![Some(-3), None, Some(100)])),
        ];
        for array in arrays {
            let mut tally = Tally::of_flat(std::iter::empty(), &partials).unwrap();
            tally.add(&RecordBatch::try_from_iter([("f.n", array)]).unwrap()).unwrap();
            let totals = tally.totals().unwrap().partials;
            assert_eq!(totals["sum(f.n)"], Total::Exact("97".into()));
            assert_eq!(totals["min(f.n)"], Total::Extreme(Some("-3".into())));
            assert_eq!(totals["max(f.n)"], Total::Extreme(Some("100".into())));
        }
    }

    #[test]
    fn a_tally_of_many_batches_counts_each_row_once() {
        const ROWS: usize = 8192;
        const BATCHES: u64 = 40;
        let partials: Vec<_> = partials().into_iter().filter(|p| p.sql_type != SqlType::Double).collect();
        let names: Vec<String> = (0..8).map(|k| format!("f.k{k}")).collect();
        let mut columns: Vec<(&str, ArrayRef)> = vec![];
        for (k, name) in names.iter().enumerate() {
            columns.push((
                name,
                match k % 2 {
                    0 => Arc::new(
                        (0..ROWS).map(|i| Some(format!("city-number-{}", i % 97))).collect::<StringViewArray>(),
                    ),
                    _ => Arc::new((0..ROWS).map(|i| Some((i % 7) as i32)).collect::<Int32Array>()),
                },
            ));
        }
        columns
            .push(("f.n", Arc::new((0..ROWS).map(|i| Some(i as i32).filter(|i| i % 50 != 0)).collect::<Int32Array>())));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut tally = Tally::of_flat(names.into_iter(), &partials).unwrap();
        let watch = crate::stopwatch::Stopwatch::start();
        for _ in 0..BATCHES {
            tally.add(&batch).unwrap();
        }
        // The cost of eight dimensions and the partials of an integer column, for measurements.
        println!("{} ns a row", watch.millis() * 1_000_000 / (BATCHES * ROWS as u64));
        let totals = tally.totals().unwrap();
        assert_eq!(totals.rows(), Some(BATCHES * ROWS as u64));
        let sum = (0..ROWS as u64).filter(|i| i % 50 != 0).sum::<u64>() * BATCHES;
        assert_eq!(totals.partials["sum(f.n)"], Total::Exact(sum.to_string()));
    }

    #[test]
    fn totals_round_trip_through_json() {
        let totals = flat(&ROWS);
        let json = serde_json::to_value(&totals).unwrap();
        assert_eq!(json["partials"]["count(*)"], serde_json::json!({"exact": "4"}));
        assert_eq!(serde_json::from_value::<Totals>(json).unwrap(), totals);
    }

    #[test]
    fn the_hash_of_a_value_never_changes() {
        // Fingerprints are stored: another hash function would make every stored segment look wrong.
        let totals = index(&GROUPS);
        assert_eq!(totals.fingerprints["f.a"], "e05d5c9087395ccc");
        assert_eq!(totals.fingerprints["f.b"], "880163d467bef6ef");
        assert_eq!(hash_of(b"city-number-12"), 0x569b753a3b13cf97);
    }
}
