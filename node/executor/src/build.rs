//! The work of a `build`: one step after the other of the plan that the model gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use kirin_core::Capabilities;
use kirin_olap::{BuildJob, Cancel, Engine, EngineConfig, Progress};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Covers, Kind, OwnEndpoint};
use crate::protocol::Work;
use crate::work::{Published, Reporter, Stop, spec};
use kirin_metastore::{DocKind, JobInfo, Store};
use kirin_shell::clock::wall_ms;

/// Builds of indexes.
pub static KIND: Kind = Kind {
    name: "build",
    job_type,
    own_endpoint: Some(OwnEndpoint {
        what: "a build is submitted through its model",
        instead: "use POST /kylin/api/models/{model}/segments, or `kirin segment build`",
    }),
    // All that a build does is to write files below its attempt's own path and to commit under its fence.
    external: false,
    // It needs a working directory that is usable.
    needs: Capabilities(1),
    has_children: false,
    reads_tables: true,
    steps,
    covers,
    precondition: |store, job| has_its_model(store, job).boxed(),
    work: |work, reporter| run(work, reporter).boxed(),
};

/// The specification of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildSpec {
    /// The segment that is built; its row is reserved when the job is accepted.
    pub segment: String,
    /// Whether the segment has been built before.
    #[serde(default)]
    pub refresh: bool,
    /// The model and its tables as they were when the job was accepted, and the segment's range.
    pub build: BuildJob,
}

fn job_type(spec: &Value) -> &'static str {
    let is_refresh = BuildSpec::deserialize(spec).is_ok_and(|spec| spec.refresh);
    if is_refresh { "INDEX_REFRESH" } else { "INC_BUILD" }
}

fn covers(spec: &Value) -> Option<Covers> {
    let BuildSpec { segment, build, .. } = BuildSpec::deserialize(spec).ok()?;
    Some(Covers { segment, range: build.range })
}

/// Refuses a build whose model is certainly not there.
async fn has_its_model(store: &Store, job: &JobInfo) -> Result<(), String> {
    let Ok(docs) = store.docs(job.row.project).await else { return Ok(()) };
    if docs.iter().any(|doc| doc.kind == DocKind::Model && doc.name.eq_ignore_ascii_case(&job.subject)) {
        return Ok(());
    }
    let (model, project) = (&job.subject, &job.project);
    Err(format!("the project '{project}' has no model '{model}' any more: nobody could use it"))
}

/// Checks a specification and names its steps.
///
/// # Errors
/// What is wrong with it.
pub fn steps(value: &Value) -> Result<Vec<String>, String> {
    let spec = BuildSpec::deserialize(value)
        .map_err(|e| format!("a build is submitted through the model's segments, not by hand: {e}"))?;
    let plan = kirin_olap::plan(&spec.build.model).map_err(|e| e.to_string())?;
    Ok(plan.steps.into_iter().map(|step| step.name).collect())
}

/// Does the steps that are not done.
pub async fn run(work: Work, reporter: &mut Reporter) -> Published {
    let BuildSpec { segment, build, .. } = spec(&work)?;
    let failed = |e: kirin_olap::Error| Stop::Failed(e.to_string());
    let plan = kirin_olap::plan(&build.model).map_err(failed)?;
    let memory_limit = usize::try_from(work.memory).unwrap_or(usize::MAX);
    let engine =
        Engine::new(EngineConfig { memory_limit, access: work.access, ..EngineConfig::default() }).map_err(failed)?;
    let total = plan.steps.len();
    let mut building = engine.building(&build, &work.done).map_err(failed)?;
    let mut last = match work.done.last() {
        Some(last) => Some(
            kirin_olap::StepResult::deserialize(last)
                .map_err(|e| Stop::Failed(format!("the last step's result can't be read: {e}")))?,
        ),
        None => None,
    };
    for step in &plan.steps[work.done.len().min(total)..] {
        let started_ms = wall_ms();
        let progress = progress_of(step.index, total);
        let result = building.step(step.index, &work.dir, progress, &Cancel::default()).await.map_err(failed)?;
        let value = serde_json::to_value(&result).map_err(|e| Stop::Failed(e.to_string()))?;
        let number = u32::try_from(step.index).unwrap_or(u32::MAX);
        reporter.step(number, &step.name, value, started_ms).await;
        last = Some(result);
    }
    let last = last.ok_or_else(|| Stop::Failed("the plan of the build has no step".to_owned()))?;
    let manifest = last.manifest().ok_or_else(|| Stop::Failed("the last step left no manifest".to_owned()))?;
    let manifest = serde_json::to_value(manifest).map_err(|e| Stop::Failed(e.to_string()))?;
    Ok(vec![(segment, manifest)])
}

/// Reports a step's progress as a part of the whole, each value once.
fn progress_of(index: usize, total: usize) -> kirin_olap::ProgressFn {
    let said = AtomicU32::new(0);
    Arc::new(move |at: Progress| {
        let Some(all) = at.total.filter(|all| *all > 0) else { return };
        let within = (at.done.min(all) * 1000 / all) as usize;
        // In steps of one per cent of the whole: the metastore need not hear of each row.
        let per_mille = u32::try_from((index * 1000 + within) / total.max(1)).unwrap_or(1000) / 10 * 10;
        if said.fetch_max(per_mille, Ordering::Relaxed) < per_mille {
            Reporter::progress(per_mille);
        }
    })
}

#[cfg(test)]
mod tests {
    use kirin_olap::SegmentRange;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_build_covers_its_segment_and_other_specifications_cover_none() {
        let model = json!({ "name": "m", "fact": "t", "dimensions": [{ "name": "d", "column": "t.d" }] });
        let model = Deserialize::deserialize(model).expect("a model");
        let range = SegmentRange::Time { start_ms: 5, end_ms: 9 };
        let build = BuildJob { model, tables: Vec::new(), range };
        let spec = BuildSpec { segment: "s".to_owned(), refresh: true, build };
        let spec = serde_json::to_value(spec).expect("a value");
        assert_eq!(covers(&spec), Some(Covers { segment: "s".to_owned(), range }));
        assert_eq!(job_type(&spec), "INDEX_REFRESH");
        assert_eq!(covers(&json!({ "argv": ["true"] })), None);
    }
}
