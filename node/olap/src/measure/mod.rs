//! Measures: what an index stores of a column, and which aggregates of a query it answers.
//!
//! A measure of a model is stored as one or more **partials**: columns of an index that can be merged. AVG, for example,
//! is stored as SUM and COUNT. A measure is one file of this module, which says
//!
//! - which partials it stores for a column ([`Kind::partials`]),
//! - how each of its partials is made from rows, merged from groups, and totalled by the conservation laws ([`kind::Stored`]),
//! - how it answers the aggregate of a query from an index ([`Kind::answer`]),
//! - how that aggregate is computed without overflow, on rows and on groups alike ([`Kind::widened`]).
//!
//! # How to add a measure
//!
//! 1. Write `measure/<name>.rs` with a unit struct that implements [`Kind`].
//! 2. Define its partials there, each a unit struct that implements [`kind::Stored`] and a [`PartialKind`] constant. A measure
//!    may also use the partials of another one, as AVG does.
//! 3. Declare the module below and add one line to the registry. The line defines the variant of [`MeasureFunction`], and
//!    so the name that model definitions use.
//!
//! Nothing else names a measure: models, builds, verification and the rewrite of queries go through the registry. The
//! differential test (`tests/olap/differential.rs`) draws models from a list of its own; add the variant there.
//!
//! **Invariant `merge-is-exact`.** Merging the partials of any division of the rows into groups gives the partial of all
//! rows. The one exception is a SUM of floats, which depends on the order of summation in its last digits.

mod avg;
mod count;
mod kind;
mod max;
mod min;
mod sum;
mod total;
mod widen;

use serde::{Deserialize, Serialize};

pub(crate) use kind::{Call, Index, Kind, Partial, PartialKind};
pub use total::Total;
pub(crate) use total::{Reads, Running, each};
pub(crate) use widen::Back;

/// Defines [`MeasureFunction`] and finds the [`Kind`] of each variant.
macro_rules! registry {
    ($($(#[$attribute:meta])* $variant:ident => $kind:expr;)*) => {
        /// Aggregates that can be stored and merged.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "UPPERCASE", try_from = "String")]
        #[non_exhaustive]
        pub enum MeasureFunction {
            $($(#[$attribute])* $variant,)*
        }

        impl MeasureFunction {
            /// Every measure.
            pub(crate) const ALL: &[MeasureFunction] = &[$(MeasureFunction::$variant,)*];

            /// Its name in definitions.
            pub fn name(self) -> String {
                self.kind().aggregate().to_uppercase()
            }

            /// What the measure does.
            pub(crate) fn kind(self) -> &'static dyn Kind {
                match self {
                    $(MeasureFunction::$variant => &$kind,)*
                }
            }
        }
    };
}

registry! {
    /// Number of rows, or of rows where the column is not NULL.
    Count => count::Count;
    /// Sum; exact for integers (as BIGINT) and decimals, dependent on the order of summation for floats.
    Sum => sum::Sum;
    /// Smallest value.
    Min => min::Min;
    /// Largest value.
    Max => max::Max;
    /// Average; stored as SUM and COUNT.
    Avg => avg::Avg;
}

/// Definitions may name a function in any case, as in Kylin.
impl TryFrom<String> for MeasureFunction {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_it = |function: &&MeasureFunction| function.kind().aggregate().eq_ignore_ascii_case(&name);
        MeasureFunction::ALL.iter().find(is_it).copied().ok_or_else(|| {
            let allowed: Vec<_> = MeasureFunction::ALL.iter().map(|f| f.kind().aggregate().to_uppercase()).collect();
            format!("the function is '{name}'; allowed are {}", allowed.join(", "))
        })
    }
}

impl MeasureFunction {
    /// The measure that answers an aggregate of DataFusion, if there is one.
    pub(crate) fn of_aggregate(name: &str) -> Option<&'static dyn Kind> {
        MeasureFunction::ALL.iter().map(|function| function.kind()).find(|kind| kind.aggregate() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql_type::SqlType;

    #[test]
    fn each_measure_has_its_own_aggregate_and_each_partial_its_own_column() {
        let mut aggregates: Vec<_> = MeasureFunction::ALL.iter().map(|f| f.kind().aggregate()).collect();
        aggregates.sort_unstable();
        aggregates.dedup();
        assert_eq!(aggregates.len(), MeasureFunction::ALL.len());
        let mut kinds = vec![count::ROWS];
        for function in MeasureFunction::ALL {
            for (kind, _) in function.kind().partials("c", SqlType::Integer).unwrap() {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
        }
        let names: std::collections::BTreeSet<_> = kinds.iter().map(|kind| kind.0.column_name("c")).collect();
        assert_eq!(names.len(), kinds.len(), "{kinds:?}");
    }

    #[test]
    fn definitions_name_measures_in_capitals() {
        for function in MeasureFunction::ALL {
            let name = serde_json::to_value(function).unwrap();
            assert_eq!(name, function.name());
            assert_eq!(serde_json::from_value::<MeasureFunction>(name).unwrap(), *function);
            let lower = serde_json::Value::from(function.kind().aggregate().to_lowercase());
            assert_eq!(serde_json::from_value::<MeasureFunction>(lower).unwrap(), *function);
        }
    }
}
