//! Tables, models, segments, index builds and query rewriting.
//!
//! The only crate that names DataFusion. Its surface is plain data, boxed futures and Arrow record batches: define
//! [`Table`]s and a [`Model`], [`plan`] a build, run its steps with [`Engine::building`], publish the [`Manifest`] of the
//! last one, and [`Engine::open`] a [`Catalog`] to ask queries of its [`Snapshot`]. An [`Answer`] is a stream of batches;
//! [`text_rows`] makes text of a batch where clients want text.
//!
//! It knows nothing about jobs, nodes or the metastore: the caller decides where a step runs and whether its result
//! counts. It never deletes a file.
//!
//! # Layers
//!
//! A module may use modules of its own layer and of the layers above it in this table. The modules have no cycle, also
//! within a layer. The test `modules` checks both.
//!
//! | layer | modules | what it is about |
//! |---|---|---|
//! | basics | `arithmetic`, `effort`, `error`, `expressions`, `floats`, `grouping`, `operators`, `plant`, `sql_type`, `stopwatch`, `times` | errors, types, values, time |
//! | definitions | `access`, `measure`, `model`, `partition`, `relation`, `stores`, `table` | what users define, and what may be read |
//! | sources | `csv`, `infer`, `listing`, `source` | the files of tables |
//! | segments | `conservation`, `exact`, `plan`, `segment`, `star`, `star_plan` | resolved models, plans over them, and what is recorded of a build |
//! | indexes | `index_files`, `index_scan`, `index_table` | the files of indexes |
//! | engine | `engine`, `texts` | threads, memory, sessions |
//! | builds | `build`, `verify` | steps of a build, and checks of what was built |
//! | queries | `answer`, `cells`, `correlated`, `decimals`, `nulls`, `plan_cache`, `query`, `rewrite`, `snapshot`, `sql`, `turns` | from SQL to an answer |
//! | data | `demo` | tables and a model to try |

mod access;
mod answer;
mod arithmetic;
mod build;
mod cells;
mod conservation;
mod correlated;
mod csv;
mod decimals;
pub mod demo;
mod effort;
mod engine;
mod error;
mod exact;
mod expressions;
mod floats;
mod grouping;
mod index_files;
mod index_scan;
mod index_table;
mod infer;
mod listing;
mod measure;
mod model;
#[cfg(test)]
mod modules;
mod nulls;
mod operators;
mod partition;
mod plan;
mod plan_cache;
mod plant;
mod query;
mod relation;
mod rewrite;
mod segment;
mod snapshot;
mod source;
mod sql;
mod sql_type;
mod star;
mod star_plan;
mod stopwatch;
mod stores;
mod table;
mod texts;
mod times;
mod turns;
mod verify;

pub use access::{Access, Local};
pub use answer::{Answer, ColumnMeta, Cost};
pub use build::{Building, Cancel, Progress, ProgressFn, StepOutcome, StepResult};
pub use cells::text_rows;
pub use conservation::Totals;
pub use datafusion::arrow::array::RecordBatch;
pub use datafusion::arrow::datatypes::SchemaRef;
pub use effort::Effort;
pub use engine::{Engine, EngineConfig};
pub use error::{Error, Result};
pub use measure::{MeasureFunction, Total};
pub use model::{
    AggregationGroup, Dimension, JoinKind, Lookup, MAX_CUBOIDS, MAX_DIMENSIONS, Measure, Model, Partition,
};
pub use plan::{BuildJob, BuildPlan, StepKind, StepPlan, plan};
pub use plant::Plant;
pub use query::{AggregationExplain, Explain, QueryOptions, Realization, RejectedIndex};
pub use segment::{Catalog, DataFile, LayoutData, MANIFEST_MAX, Manifest, Segment, SegmentRange};
pub use snapshot::{Broken, Snapshot};
pub use source::{Described, SourceFile};
pub use sql_type::{java_sql_type, type_name_of};
pub use table::{Column, CsvOptions, Format, Source, Table};
pub use verify::{Problem, Verification};
