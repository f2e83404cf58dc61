//! Verification of published segments.
//!
//! A build checks itself before it publishes (see [`crate::conservation`]). Verification checks published segments in the
//! same way, including those of versions without these checks. There are two depths:
//!
//! - *Totals*: every file is read and its checksum is compared. The totals and fingerprints of each index are compared with
//!   those of the flat table in the manifest. A manifest of an older version has no totals. Then the indexes are compared
//!   with each other and with the number of source rows.
//! - *Deep*, in addition: the base index is compared group by group with the same aggregation of the source tables, and
//!   every other index group by group with the base index. A source whose row count differs from the recorded one has
//!   changed since the build. Then the base index cannot be compared, which is reported but is not a fault of the segment.

use crate::build::tallied;
use crate::conservation::{Broken, Tally, Totals};
use crate::engine::{Engine, EngineInner};
use crate::error::{Error, Result};
use crate::exact::exact;
use crate::index_files::Owner;
use crate::index_table::IndexTable;
use crate::measure::Partial;
use crate::model::{JoinKind, Model};
use crate::relation::{column, scan};
use crate::segment::{LayoutData, Segment};
use crate::source::RawTable;
use crate::star::Star;
use crate::star_plan::{Input, aggregate, count, join_star};
use crate::table::Table;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::catalog::TableProvider;
use datafusion::common::Column as ExprColumn;
use datafusion::execution::session_state::SessionState;
use datafusion::functions_aggregate::expr_fn;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, lit};
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Number of indexes that were checked.
    pub indexes: usize,
    /// Groups in them.
    pub groups: u64,
    /// Faults of the segment; empty if it is correct.
    pub problems: Vec<Problem>,
    /// Files that cannot be opened.
    pub unreadable: Vec<String>,
    /// Comparisons that were not possible, and why.
    pub unchecked: Vec<String>,
}

/// A fault of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Layout id of the index.
    pub layout: u64,
    /// The fault, with the expected and the found value.
    pub problem: String,
}

/// The most differing groups that are shown.
const SHOWN_GROUPS: usize = 3;
/// Floats with a smaller relative difference are equal, since sums are added in another order. Values that are not finite
/// are not compared.
const ROUNDING: f64 = 1e-9;

impl Engine {
    /// Verifies a published segment.
    ///
    /// # Errors
    /// If the model does not resolve, or a source cannot be read (deep). A damaged index file is a [`Problem`] instead. A file
    /// that cannot be opened is listed in [`Verification::unreadable`].
    pub fn verify_segment(
        &self,
        model: &Model,
        tables: &[Table],
        segment: &Segment,
        deep: bool,
    ) -> BoxFuture<'static, Result<Verification>> {
        let engine = Arc::downgrade(&self.inner);
        let (model, tables, segment) = (model.clone(), tables.to_vec(), segment.clone());
        self.inner.run(async move {
            let engine = engine.upgrade().ok_or(Error::Cancelled)?;
            let star = Star::resolve(&model, &tables)?;
            let state = engine.session(&[])?;
            let verifier = Verifier { engine: &engine, star: &star, segment: &segment, state };
            verifier.verify(deep).await
        })
    }
}

struct Verifier<'a> {
    engine: &'a Arc<EngineInner>,
    star: &'a Star,
    segment: &'a Segment,
    state: SessionState,
}

impl Verifier<'_> {
    async fn verify(&self, deep: bool) -> Result<Verification> {
        let manifest = &self.segment.manifest;
        let mut found = Verification { indexes: 0, groups: 0, problems: vec![], unreadable: vec![], unchecked: vec![] };
        let mut right = vec![];
        let mut reference = manifest.totals.clone();
        let mut layouts: Vec<&LayoutData> = manifest.layouts.iter().collect();
        // The base index first. Without recorded totals, the others are compared with it.
        layouts.sort_by_key(|data| std::cmp::Reverse(data.dimensions));
        for data in layouts {
            found.indexes += 1;
            found.groups += data.rows;
            if let Some(missing) = data.files.iter().find(|f| std::fs::File::open(&f.path).is_err()) {
                found.unreadable.push(format!("index {}: {} cannot be opened", data.layout, missing.path));
                continue;
            }
            let totals = match self.totals(data).await {
                Ok(totals) => totals,
                Err(Error::SegmentData { problem, .. }) => {
                    found.problems.push(Problem { layout: data.layout, problem });
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.broken(data, &totals, reference.as_ref()) {
                Some(broken) => found.problems.push(Problem { layout: data.layout, problem: broken.to_string() }),
                None => {
                    right.push(data);
                    reference.get_or_insert(totals);
                }
            }
        }
        if deep {
            self.deep(&right, &mut found).await?;
        }
        Ok(found)
    }

    /// The partials of an index that the model still has.
    fn partials(&self, data: &LayoutData) -> Vec<Partial> {
        let stored = &data.columns[data.dimensions.min(data.columns.len())..];
        let has = |p: &Partial| stored.iter().any(|c| c.name == p.name() && c.type_name == p.sql_type.full_name());
        self.star.partials.iter().filter(|p| has(p)).cloned().collect()
    }

    fn dimensions<'d>(&self, data: &'d LayoutData) -> impl Iterator<Item = &'d str> {
        data.columns.iter().take(data.dimensions).map(|c| c.name.as_str())
    }

    fn owner(&self, data: &LayoutData) -> Owner {
        Owner::Segment { model: self.segment.model.clone(), segment: self.segment.name(), layout: data.layout }
    }

    async fn totals(&self, data: &LayoutData) -> Result<Totals> {
        let tally = Tally::of_index(self.dimensions(data).map(String::from), &self.partials(data))?;
        tallied(&data.files, &data.schema()?, tally, &self.owner(data)).await
    }

    fn broken(&self, data: &LayoutData, totals: &Totals, reference: Option<&Totals>) -> Option<Broken> {
        let source_rows = self.segment.manifest.source_rows;
        let broken = |quantity: &str, expected: String, found: String| {
            Some(Broken { quantity: quantity.into(), expected, found })
        };
        match totals.rows() {
            Some(rows) if rows != source_rows => {
                return broken("rows", source_rows.to_string(), rows.to_string());
            }
            _ if data.rows > source_rows => {
                return broken("groups", format!("at most {source_rows}"), data.rows.to_string());
            }
            _ => {}
        }
        reference.and_then(|reference| reference.broken_by(totals))
    }

    /// Compares groups: the first index with the source, the others with the first.
    async fn deep(&self, right: &[&LayoutData], found: &mut Verification) -> Result<()> {
        let Some((base, others)) = right.split_first() else { return Ok(()) };
        match self.source_groups(base).await? {
            Err(why) => found.unchecked.push(format!("index {} against the source: {why}", base.layout)),
            Ok(source) => {
                if let Some(problem) = self.difference(base, source, "the source").await? {
                    found.problems.push(Problem { layout: base.layout, problem });
                }
            }
        }
        for data in others {
            let covered = self.dimensions(data).all(|name| self.dimensions(base).any(|other| other == name));
            if !covered {
                found.unchecked.push(format!("index {}: no index with all its dimensions", data.layout));
                continue;
            }
            let groups = self.dimensions(data).map(|name| (column("base", name), name.to_string())).collect();
            let of = |name: &str| column("base", name);
            let merged = aggregate(self.index("base", base)?, groups, &self.partials(data), Input::Partials(&of))?;
            if let Some(problem) = self.difference(data, merged, &format!("index {}", base.layout)).await? {
                found.problems.push(Problem { layout: data.layout, problem });
            }
        }
        Ok(())
    }

    /// The groups of an index, computed from the source tables, or the reason why they cannot be compared.
    async fn source_groups(&self, data: &LayoutData) -> Result<Result<LogicalPlanBuilder, String>> {
        if self.segment.manifest.signature != self.star.signature() {
            return Ok(Err("the tables or joins of the model were changed since".into()));
        }
        let columns: Vec<_> = self.star.dimensions.iter().map(|(column, _)| column).collect();
        let mut groups = vec![];
        for name in self.dimensions(data) {
            match columns.iter().find(|c| c.to_string() == name) {
                Some(c) => groups.push((column(&c.alias, &c.column), name.to_string())),
                None => return Ok(Err(format!("the model no longer has the dimension {name}"))),
            }
        }
        let provider = |alias: &str| -> Result<Arc<dyn TableProvider>> {
            let table = self.star.table(alias).ok_or_else(|| Error::invalid("alias", alias))?;
            Ok(Arc::new(RawTable::new(table.clone())))
        };
        let in_range = self.star.in_range(self.segment.range);
        let joined = |inner_only: bool| {
            let wanted = self.star.lookups.iter().filter(|l| !inner_only || l.join == JoinKind::Inner);
            let lookups: Vec<&str> = wanted.map(|l| l.alias.as_str()).collect();
            join_star(self.star, &lookups, in_range.clone(), provider)
        };
        let (rows, built) = (count(&self.state, joined(true)?).await?, self.segment.manifest.source_rows);
        if rows != built {
            return Ok(Err(format!("the source has {rows} rows in this range; it had {built} at build time")));
        }
        let partials = self.partials(data);
        Ok(Ok(aggregate(joined(false)?, groups, &partials, Input::Rows(&|c| column(&c.alias, &c.column)))?))
    }

    fn index(&self, alias: &str, data: &LayoutData) -> Result<LogicalPlanBuilder> {
        let files = data.files.iter().map(|f| (self.owner(data), f.clone())).collect();
        scan(alias, Arc::new(IndexTable { schema: data.schema()?, files, cache: self.engine.cache.clone() }))
    }

    /// Compares an index group by group with groups that were computed in another way. Each group must be in both, once,
    /// with the same values.
    async fn difference(
        &self,
        data: &LayoutData,
        other: LogicalPlanBuilder,
        other_name: &str,
    ) -> Result<Option<String>> {
        let dimensions: Vec<&str> = self.dimensions(data).collect();
        let partials = self.partials(data);
        let plain = |name: &str| Expr::Column(ExprColumn::new_unqualified(name));
        let same_types = |qualifier: Option<&str>| -> Vec<Expr> {
            let of = |name: &str| qualifier.map_or_else(|| plain(name), |alias| column(alias, name));
            let values = partials.iter().map(|p| (p.name(), p.sql_type.arrow()));
            let groups = dimensions.iter().map(|name| of(name).alias(*name));
            groups.chain(values.map(|(name, data_type)| cast(of(&name), data_type).alias(name))).collect()
        };
        let both = self
            .index("index", data)?
            .project(same_types(Some("index")))?
            .union(other.project(same_types(None))?.build()?)?;
        let mut aggregates = vec![expr_fn::count(lit(1i64)).alias("copies")];
        let mut differs = vec![plain("copies").not_eq(lit(2i64))];
        for partial in &partials {
            let name = partial.name();
            let [least, most, values] = ["least", "most", "values"].map(|what| format!("{what} {name}"));
            aggregates.push(expr_fn::min(plain(&name)).alias(&least));
            aggregates.push(expr_fn::max(plain(&name)).alias(&most));
            aggregates.push(expr_fn::count(plain(&name)).alias(&values));
            differs.push(plain(&values).eq(lit(1i64)));
            differs.push(match partial.sql_type.arrow() {
                DataType::Float32 | DataType::Float64 => {
                    let size = (plain(&most) + plain(&least)) * lit(ROUNDING);
                    let apart = plain(&most) - plain(&least);
                    let finite = apart.clone().lt(lit(f64::INFINITY));
                    finite.and(apart.clone().gt(size.clone())).and(apart.gt(lit(0.0) - size))
                }
                _ => plain(&least).not_eq(plain(&most)),
            });
        }
        let groups: Vec<Expr> = dimensions.iter().map(|name| plain(name)).collect();
        let plan = both.aggregate(groups, aggregates)?.filter(disjunction(differs).expect("copies are compared"))?;
        let physical = self.state.create_physical_plan(&exact(plan.build()?)?).await?;
        let mut stream = execute_stream(physical, self.state.task_ctx())?;
        let (mut differing, mut shown) = (0, vec![]);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let more = (0..batch.num_rows()).take(SHOWN_GROUPS - shown.len());
            shown.extend(more.map(|row| described(&batch, row, dimensions.len())));
            differing += batch.num_rows();
        }
        Ok((differing > 0).then(|| format!("{differing} groups differ from {other_name}: {}", shown.join("; "))))
    }
}

/// A differing group as text: its dimensions, then its values.
fn described(batch: &RecordBatch, row: usize, dimensions: usize) -> String {
    let schema = batch.schema();
    let cell = |i: usize| {
        let value = match batch.column(i).is_null(row) {
            true => "NULL".into(),
            false => array_value_to_string(batch.column(i), row).unwrap_or_default(),
        };
        format!("{} {value}", schema.field(i).name())
    };
    let group: Vec<_> = (0..dimensions).map(cell).collect();
    let values: Vec<_> = (dimensions..batch.num_columns()).map(cell).collect();
    format!("({}): {}", group.join(", "), values.join(", "))
}
