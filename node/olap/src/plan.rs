//! The steps of a build. They follow from the model alone, so the number of steps is known when a job is submitted.
//!
//! | step | what it does |
//! |---|---|
//! | *Detect Source* | finds and checks the source files |
//! | *Flat Table* | joins the star once, for the range |
//! | *Index* | builds one cuboid; cuboids with more dimensions first, so that parents are built before their children |
//! | *Publish* | checks every file and makes the manifest; the caller commits it, with its fence |

use crate::error::Result;
use crate::model::{Cuboid, Model};
use crate::segment::SegmentRange;
use crate::table::Table;
use serde::{Deserialize, Serialize};

/// A build of one segment, as it is stored with the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildJob {
    /// The model as it was when the job was submitted.
    pub model: Model,
    /// The tables that it names.
    pub tables: Vec<Table>,
    /// What to build.
    pub range: SegmentRange,
}

impl BuildJob {
    /// Checks the model against its tables, and that the manifest of the segment will fit in the metastore.
    ///
    /// # Errors
    /// What is wrong, with its field.
    pub fn validate(&self) -> Result<()> {
        self.range.validate()?;
        self.model.validate(&self.tables)
    }
}

/// The steps of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildPlan {
    /// The steps, in order.
    pub steps: Vec<StepPlan>,
}

/// One step: the smallest part that is not repeated after it has finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Position in the plan, from 0.
    pub index: usize,
    /// The name for display.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// The layout that an [`StepKind::Index`] step builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<u64>,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Finds and checks the source files.
    DetectSource,
    /// Joins the star.
    FlatTable,
    /// Builds one cuboid.
    Index,
    /// Checks all files and makes the manifest.
    Publish,
}

/// Plans a build of a model.
pub fn plan(model: &Model) -> Result<BuildPlan> {
    let cuboids = model.cuboids()?;
    let mut steps = vec![];
    let mut add = |name: String, kind, layout: Option<Cuboid>| {
        steps.push(StepPlan { index: steps.len(), name, kind, layout: layout.map(|c| c.0) });
    };
    add("Detect Source".into(), StepKind::DetectSource, None);
    add("Flat Table".into(), StepKind::FlatTable, None);
    for cuboid in cuboids {
        add(format!("Index {}", cuboid.0), StepKind::Index, Some(cuboid));
    }
    add("Publish".into(), StepKind::Publish, None);
    Ok(BuildPlan { steps })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dimension;

    #[test]
    fn a_plan_has_one_index_step_per_cuboid_between_the_fixed_steps() {
        let model = Model {
            name: "m".into(),
            fact: "f".into(),
            lookups: vec![],
            dimensions: ["a", "b"].map(|d| Dimension { name: d.into(), column: format!("f.{d}") }).into(),
            measures: vec![],
            partition: None,
            aggregation_groups: vec![],
            indexes: vec![vec!["b".into()]],
        };
        let names: Vec<_> = plan(&model).unwrap().steps.into_iter().map(|s| s.name).collect();
        assert_eq!(names, ["Detect Source", "Flat Table", "Index 3", "Index 2", "Publish"]);
    }
}
