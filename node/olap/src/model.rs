//! Models: a star of tables, its dimensions and measures, and the indexes (cuboids) to build.
//!
//! A **cuboid** is a set of dimensions. Its **layout id** is the bit set of the dimensions' positions in the model, so it is
//! the same on every node and stays the same when dimensions are appended. The base cuboid (all dimensions) is always
//! built. An aggregation group adds every subset of `include` that contains all of `mandatory`. `indexes` adds single
//! cuboids by name. `Star` resolves a definition against its tables.

use crate::error::{Error, Result};
use crate::measure::MeasureFunction;
use crate::table::fold;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most dimensions of a model, so that a layout id is exact in JSON numbers.
pub const MAX_DIMENSIONS: usize = 50;
/// The most cuboids of a model.
pub const MAX_CUBOIDS: usize = 1024;

/// A star of tables with its dimensions, measures and indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name of the model.
    pub name: String,
    /// The fact table. Its alias in column names is the table's name without the schema.
    pub fact: String,
    /// Joined lookup tables.
    #[serde(default)]
    pub lookups: Vec<Lookup>,
    /// Columns to group and filter by. Their order is part of the layout ids: append new ones.
    pub dimensions: Vec<Dimension>,
    /// Aggregates that indexes store. COUNT(*) is always stored.
    #[serde(default)]
    pub measures: Vec<Measure>,
    /// The time column that divides the model into segments. Without it, every build is a full build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Families of cuboids.
    #[serde(default)]
    pub aggregation_groups: Vec<AggregationGroup>,
    /// Single cuboids, each a list of dimension names.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
}

/// A lookup table joined to the fact table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// Name of the table.
    pub table: String,
    /// Alias in column names. The table's name without the schema if missing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// INNER drops fact rows without a match, LEFT keeps them.
    pub join: JoinKind,
    /// Columns of the fact table.
    pub fact_key: Vec<String>,
    /// Columns of the lookup table, in the same order. Together they must be unique, which each build checks.
    pub lookup_key: Vec<String>,
}

impl Lookup {
    /// The alias that column names use.
    pub fn alias(&self) -> &str {
        if self.alias.is_empty() { self.table.rsplit('.').next().unwrap_or(&self.table) } else { &self.alias }
    }
}

/// How a lookup joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum JoinKind {
    /// Fact rows without a match are dropped.
    Inner,
    /// Fact rows without a match stay, with NULLs.
    Left,
}

impl JoinKind {
    /// Its name in definitions.
    pub fn name(self) -> &'static str {
        match self {
            JoinKind::Inner => "inner",
            JoinKind::Left => "left",
        }
    }
}

/// Definitions may name a join in any case, as in Kylin.
impl TryFrom<String> for JoinKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "inner" => Ok(Self::Inner),
            "left" => Ok(Self::Left),
            _ => Err(format!("the join of a lookup is '{name}'; allowed are inner and left")),
        }
    }
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Name, used by aggregation groups and indexes.
    pub name: String,
    /// `alias.column`.
    pub column: String,
}

/// A measure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenMeasure")]
pub struct Measure {
    /// Name, for display.
    pub name: String,
    /// The aggregate.
    pub function: MeasureFunction,
    /// `alias.column`. May be missing or `*` for COUNT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// A measure as it is written in a definition, so that an error names the measure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMeasure {
    name: String,
    function: String,
    #[serde(default)]
    column: Option<String>,
}

impl TryFrom<WrittenMeasure> for Measure {
    type Error = String;

    fn try_from(WrittenMeasure { name, function, column }: WrittenMeasure) -> Result<Self, String> {
        let function = MeasureFunction::try_from(function).map_err(|problem| format!("measure '{name}': {problem}"))?;
        Ok(Measure { name, function, column })
    }
}

/// The time column of the fact table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Column of the fact table, with or without its alias.
    pub column: String,
    /// The format of the column's values. Not needed for DATE and TIMESTAMP. Integers: `epoch_millis`, `epoch_seconds`,
    /// `epoch_days` or `yyyyMMdd`. Text: `yyyy-MM-dd`, `yyyyMMdd` or `yyyy-MM-dd HH:mm:ss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// A family of cuboids: every subset of `include` that contains all of `mandatory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregationGroup {
    /// Dimension names.
    pub include: Vec<String>,
    /// Dimension names that every cuboid of the group contains; a subset of `include`.
    #[serde(default)]
    pub mandatory: Vec<String>,
}

/// A set of dimensions, built as one index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cuboid(pub(crate) u64);

impl Cuboid {
    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn covers(self, other: Cuboid) -> bool {
        self.0 & other.0 == other.0
    }

    /// Positions of the dimensions, ascending.
    pub(crate) fn dimensions(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |i| self.0 >> i & 1 == 1)
    }
}

impl Model {
    /// The alias of the fact table in column names.
    pub fn fact_alias(&self) -> &str {
        self.fact.rsplit('.').next().unwrap_or(&self.fact)
    }

    /// Names of the dimensions of a layout, in the model's order.
    pub fn layout_dimensions(&self, layout: u64) -> Vec<String> {
        Cuboid(layout).dimensions().filter_map(|i| self.dimensions.get(i)).map(|d| d.name.clone()).collect()
    }

    /// Ids of all layouts, in build order.
    pub fn layouts(&self) -> Result<Vec<u64>> {
        Ok(self.cuboids()?.into_iter().map(|c| c.0).collect())
    }

    /// All cuboids, those with most dimensions first, then by id. The base cuboid is the first.
    pub(crate) fn cuboids(&self) -> Result<Vec<Cuboid>> {
        if self.dimensions.is_empty() {
            return Err(self.invalid("dimensions", "is empty; name at least one dimension"));
        }
        if self.dimensions.len() > MAX_DIMENSIONS {
            return Err(self.invalid("dimensions", format!("has more than {MAX_DIMENSIONS} entries; split the model")));
        }
        for (i, d) in self.dimensions.iter().enumerate() {
            if self.dimensions[..i].iter().any(|other| fold(&other.name) == fold(&d.name)) {
                return Err(self.invalid(format!("dimensions[{i}].name"), format!("\"{}\" is defined twice", d.name)));
            }
        }
        let mut set = BTreeSet::from([Cuboid((1 << self.dimensions.len()) - 1)]);
        for (g, group) in self.aggregation_groups.iter().enumerate() {
            let field = |part: &str| format!("aggregation_groups[{g}].{part}");
            let include = self.mask(&field("include"), &group.include)?;
            let mandatory = self.mask(&field("mandatory"), &group.mandatory)?;
            if include & mandatory != mandatory {
                return Err(self.invalid(field("mandatory"), "names a dimension that \"include\" does not"));
            }
            let free: Vec<u64> = Cuboid(include & !mandatory).dimensions().map(|i| 1 << i).collect();
            if free.len() > MAX_CUBOIDS.ilog2() as usize {
                return Err(self.invalid(
                    field("include"),
                    format!(
                        "makes 2^{} cuboids (at most {MAX_CUBOIDS}); make dimensions mandatory or split the group",
                        free.len()
                    ),
                ));
            }
            for choice in 0u64..1 << free.len() {
                let chosen = free.iter().enumerate().filter(|(i, _)| choice >> i & 1 == 1);
                let mask = chosen.fold(mandatory, |mask, (_, bit)| mask | bit);
                if mask != 0 {
                    set.insert(Cuboid(mask));
                }
            }
        }
        for (i, index) in self.indexes.iter().enumerate() {
            let mask = self.mask(&format!("indexes[{i}]"), index)?;
            if mask == 0 {
                return Err(self.invalid(format!("indexes[{i}]"), "is empty; name at least one dimension"));
            }
            set.insert(Cuboid(mask));
        }
        if set.len() > MAX_CUBOIDS {
            return Err(
                self.invalid("aggregation_groups", format!("make {} cuboids, more than {MAX_CUBOIDS}", set.len()))
            );
        }
        let mut cuboids: Vec<_> = set.into_iter().collect();
        cuboids.sort_by_key(|c| (std::cmp::Reverse(c.len()), c.0));
        Ok(cuboids)
    }

    fn mask(&self, field: &str, names: &[String]) -> Result<u64> {
        names.iter().try_fold(0, |mask, name| match self.dimensions.iter().position(|d| fold(&d.name) == fold(name)) {
            Some(i) => Ok(mask | 1 << i),
            None => Err(self.invalid(field, format!("\"{name}\" is not the name of a dimension"))),
        })
    }

    pub(crate) fn invalid(&self, field: impl AsRef<str>, problem: impl Into<String>) -> Error {
        Error::invalid(format!("model \"{}\", {}", self.name, field.as_ref()), problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(dimensions: &[&str]) -> Model {
        Model {
            name: "m".into(),
            fact: "f".into(),
            lookups: vec![],
            dimensions: dimensions
                .iter()
                .map(|d| Dimension { name: d.to_string(), column: format!("f.{d}") })
                .collect(),
            measures: vec![],
            partition: None,
            aggregation_groups: vec![],
            indexes: vec![],
        }
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| s.to_string()).collect()
    }

    #[test]
    fn the_base_cuboid_is_always_built() {
        assert_eq!(model(&["a", "b", "c"]).layouts().unwrap(), [0b111]);
    }

    #[test]
    fn a_group_makes_every_subset_that_contains_its_mandatory_dimensions() {
        let mut m = model(&["a", "b", "c", "d"]);
        m.aggregation_groups = vec![AggregationGroup { include: names(&["A", "b", "c"]), mandatory: names(&["a"]) }];
        m.indexes = vec![names(&["d"]), names(&["a", "b"])];
        assert_eq!(m.layouts().unwrap(), [0b1111, 0b0111, 0b0011, 0b0101, 0b0001, 0b1000]);
        assert_eq!(m.layout_dimensions(0b0101), ["a", "c"]);
    }

    #[test]
    fn appending_a_dimension_keeps_the_ids() {
        let mut small = model(&["a", "b"]);
        small.indexes = vec![names(&["b"])];
        let mut large = model(&["a", "b", "c"]);
        large.indexes = vec![names(&["b"])];
        assert!(small.layouts().unwrap().contains(&0b10) && large.layouts().unwrap().contains(&0b10));
    }

    #[test]
    fn errors_of_groups_and_indexes_name_the_field() {
        let mut m = model(&["a", "b"]);
        m.aggregation_groups = vec![AggregationGroup { include: names(&["a"]), mandatory: names(&["b"]) }];
        assert!(m.layouts().unwrap_err().to_string().contains("aggregation_groups[0].mandatory"));
        let mut m = model(&["a", "b"]);
        m.indexes = vec![names(&["x"])];
        assert!(m.layouts().unwrap_err().to_string().contains("\"x\" is not the name of a dimension"));
        let many: Vec<String> = (0..20).map(|i| format!("d{i}")).collect();
        let mut m = model(&many.iter().map(String::as_str).collect::<Vec<_>>());
        m.aggregation_groups = vec![AggregationGroup { include: many, mandatory: vec![] }];
        assert!(m.layouts().unwrap_err().to_string().contains("2^20"));
    }
}
