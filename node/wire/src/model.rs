//! `/models`.

use serde::{Deserialize, Serialize};

use crate::answer::answers;

/// The definition of a model: the body of `POST /models`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDefinition {
    /// The project; `default` if absent. Not part of the stored definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Its name: 1 to 100 letters, digits, `_` and `-`, starting with a letter or digit.
    pub name: String,
    /// The fact table.
    pub fact: String,
    /// Tables joined to the fact table.
    #[serde(default)]
    pub lookups: Vec<LookupDefinition>,
    /// Columns for grouping and filtering. Layout ids depend on the order: append, do not insert.
    pub dimensions: Vec<DimensionDefinition>,
    /// Aggregations. COUNT(*) is always available.
    #[serde(default)]
    pub measures: Vec<MeasureDefinition>,
    /// The time column that divides the model into segments. Without one, every build covers everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionDefinition>,
    /// Families of indexes.
    #[serde(default)]
    pub aggregation_groups: Vec<AggregationGroupDefinition>,
    /// Single indexes, each a list of dimension names.
    #[serde(default)]
    pub indexes: Vec<Vec<String>>,
}

/// A table joined to the fact table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupDefinition {
    /// Its name.
    pub table: String,
    /// Its name in `alias.column`; the table's own name if empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// `inner` or `left`.
    pub join: String,
    /// Columns of the fact table.
    pub fact_key: Vec<String>,
    /// Columns of the lookup table, in the same order. Together they must be unique.
    pub lookup_key: Vec<String>,
}

/// A dimension.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimensionDefinition {
    /// Its name.
    pub name: String,
    /// `alias.column`.
    pub column: String,
}

/// A measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureDefinition {
    /// Its name.
    pub name: String,
    /// `COUNT`, `SUM`, `MIN`, `MAX` or `AVG`.
    pub function: String,
    /// `alias.column`; may be absent or `*` for COUNT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

/// The time column of the fact table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionDefinition {
    /// The column, with or without its alias.
    pub column: String,
    /// The time format of the column, for example `yyyyMMdd`. Not required for DATE and TIMESTAMP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

/// A family of indexes: every subset of `include` that contains all of `mandatory`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregationGroupDefinition {
    /// Dimension names.
    pub include: Vec<String>,
    /// Dimension names that are in every index of the family.
    #[serde(default)]
    pub mandatory: Vec<String>,
}

answers! {
    /// A model.
    ModelView {
        /// Its name, which is its id.
        uuid: String,
        /// Its name.
        name: String,
        /// Its name, under Kylin's name.
        alias: String,
        /// Its fact table.
        fact: String,
        /// Its fact table with the database, in Kylin's form.
        fact_table: String,
        /// Tables joined to the fact table.
        lookups: Vec<LookupView>,
        /// Its dimensions.
        dimensions: Vec<DimensionView>,
        /// Its measures.
        measures: Vec<MeasureView>,
        /// Its time column.
        #[serde(skip_serializing_if = "Option::is_none")]
        partition: Option<PartitionView>,
        /// Families of indexes.
        aggregation_groups: Vec<AggregationGroupView>,
        /// Its indexes, including the base index.
        indexes: Vec<IndexView>,
        /// The stored definition.
        #[serde(skip_serializing_if = "Option::is_none")]
        definition: Option<StoredModel>,
    }
    /// The stored definition of a model, as in [`ModelDefinition`]. Newer nodes may add fields.
    StoredModel {
        /// Its name.
        name: String,
        /// The fact table.
        fact: String,
        /// As in [`ModelView`].
        lookups: Vec<LookupView>,
        /// As in [`ModelView`].
        dimensions: Vec<DimensionView>,
        /// As in [`ModelView`].
        measures: Vec<MeasureView>,
        /// As in [`ModelView`].
        #[serde(skip_serializing_if = "Option::is_none")]
        partition: Option<PartitionView>,
        /// As in [`ModelView`].
        aggregation_groups: Vec<AggregationGroupView>,
        /// Single indexes, each a list of dimension names.
        indexes: Vec<Vec<String>>,
    }
    /// A table joined to the fact table, as in [`LookupDefinition`].
    LookupView {
        /// Its name.
        table: String,
        /// Its name in `alias.column`; the table's own name if empty.
        #[serde(skip_serializing_if = "String::is_empty")]
        alias: String,
        /// `inner` or `left`.
        join: String,
        /// Columns of the fact table.
        fact_key: Vec<String>,
        /// Columns of the lookup table, in the same order.
        lookup_key: Vec<String>,
    }
    /// A dimension.
    DimensionView {
        /// Its name.
        name: String,
        /// `alias.column`.
        column: String,
    }
    /// A measure, as in [`MeasureDefinition`].
    MeasureView {
        /// Its name.
        name: String,
        /// `COUNT`, `SUM`, `MIN`, `MAX` or `AVG`.
        function: String,
        /// `alias.column`; may be absent or `*` for COUNT.
        #[serde(skip_serializing_if = "Option::is_none")]
        column: Option<String>,
    }
    /// The time column of the fact table, as in [`PartitionDefinition`].
    PartitionView {
        /// The column, with or without its alias.
        column: String,
        /// The time format of the column.
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<String>,
    }
    /// A family of indexes, as in [`AggregationGroupDefinition`].
    AggregationGroupView {
        /// Dimension names.
        include: Vec<String>,
        /// Dimension names that are in every index of the family.
        mandatory: Vec<String>,
    }
    /// An index.
    IndexView {
        /// Its layout id: a bit set of the positions of its dimensions.
        layout: u64,
        /// Names of its dimensions.
        dimensions: Vec<String>,
    }
}
