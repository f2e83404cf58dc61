//! Tables, models, segments, index builds and query rewriting.
//!
//! The only crate that names DataFusion. Its surface is plain data and boxed futures: define [`Table`]s and a
//! [`Model`], [`plan`] a build, run its steps with [`Engine::building`], publish the [`Manifest`] of the last one,
//! and [`Engine::open`] a [`Catalog`] to ask questions of its [`Snapshot`].
//!
//! It knows nothing about jobs, nodes or the metastore: who runs a step, and whether its result counts, is decided
//! elsewhere. It never deletes a file.

mod access;
mod answer;
mod arithmetic;
mod build;
mod conservation;
mod csv;
pub mod demo;
mod engine;
mod error;
mod exact;
mod floats;
mod index_files;
mod index_scan;
mod infer;
mod listing;
mod model;
mod partition;
mod plan;
mod plan_cache;
mod plant;
mod rewrite;
mod segment;
mod snapshot;
mod source;
mod sql;
mod sql_type;
mod star;
mod stopwatch;
mod stores;
mod table;
mod texts;
mod times;
mod turns;
mod verify;

pub use access::{Access, Local};
pub use answer::{ColumnMeta, QueryAnswer};
pub use build::{Building, Cancel, Effort, Progress, ProgressFn, StepOutcome, StepResult};
pub use conservation::{Total, Totals};
pub use engine::{Described, Engine, EngineConfig};
pub use error::{Error, Result};
pub use model::{
    AggregationGroup, Dimension, JoinKind, Lookup, MAX_CUBOIDS, MAX_DIMENSIONS, Measure, MeasureFunction, Model,
    Partition,
};
pub use plan::{BuildJob, BuildPlan, StepKind, StepPlan, plan};
pub use plant::Plant;
pub use segment::{Catalog, DataFile, LayoutData, MANIFEST_MAX, Manifest, Segment, SegmentRange};
pub use snapshot::{AggregationExplain, Broken, Explain, QueryOptions, Realization, RejectedIndex, Snapshot};
pub use source::SourceFile;
pub use sql_type::java_sql_type;
pub use table::{Column, CsvOptions, Format, Source, Table};
pub use verify::{Problem, Verification};
