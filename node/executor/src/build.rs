//! The work of a `build`: the steps of the model's plan, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use kirin_core::Capabilities;
use kirin_olap::{BuildJob, Cancel, Engine, EngineConfig, Progress, StepResult};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kind::{Covers, DirNeed, Kind, OwnEndpoint};
use crate::protocol::Work;
use crate::work::{Published, Reporter, Stop, spec};
use kirin_metastore::{DocKind, JobInfo, Store};
use kirin_shell::clock::wall_ms;

/// Builds of indexes.
pub static KIND: Kind = Kind {
    name: "build",
    job_type,
    own_endpoint: Some(OwnEndpoint {
        what: "builds are submitted through their model",
        instead: "use POST /kylin/api/models/{model}/segments, or `kirin segment build`",
    }),
    // A build only writes files under its attempt's own path and commits under its fence.
    external: false,
    needs: Capabilities(1),
    setting: None,
    // Later steps and all queries read its files, on any node.
    dir: DirNeed::Shares,
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
    /// The segment to build. Its row is reserved when the job is accepted.
    pub segment: String,
    /// Whether the segment has been built before.
    #[serde(default)]
    pub refresh: bool,
    /// The model and its tables at the time of the submit, and the segment's range.
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

/// Refuses a build whose model certainly does not exist.
async fn has_its_model(store: &Store, job: &JobInfo) -> Result<(), String> {
    let Ok(docs) = store.docs(job.row.project).await else { return Ok(()) };
    if docs.iter().any(|doc| doc.kind == DocKind::Model && doc.name.eq_ignore_ascii_case(&job.subject)) {
        return Ok(());
    }
    let (model, project) = (&job.subject, &job.project);
    Err(format!("model '{model}' of project '{project}' no longer exists, so the segment could not be used"))
}

/// Checks a specification and returns the names of its steps.
///
/// # Errors
/// Why it is invalid.
pub fn steps(value: &Value) -> Result<Vec<String>, String> {
    let spec =
        BuildSpec::deserialize(value).map_err(|e| format!("builds are submitted through the model's segments: {e}"))?;
    let plan = kirin_olap::plan(&spec.build.model).map_err(|e| e.to_string())?;
    Ok(plan.steps.into_iter().map(|step| step.name).collect())
}

/// Runs the steps that are not committed.
pub async fn run(work: Work, reporter: &mut Reporter) -> Published {
    let BuildSpec { segment, build, .. } = spec(&work)?;
    let failed = |e: kirin_olap::Error| Stop::Failed(e.to_string());
    let plan = kirin_olap::plan(&build.model).map_err(failed)?;
    let memory_limit = usize::try_from(work.memory).unwrap_or(usize::MAX);
    let engine =
        Engine::new(EngineConfig { memory_limit, access: work.access, ..EngineConfig::default() }).map_err(failed)?;
    let total = plan.steps.len();
    let mut building = engine.building(&build, &work.done).map_err(failed)?;
    let unreadable = |e: serde_json::Error| Stop::Failed(format!("cannot read the last step's result: {e}"));
    let mut last = work.done.last().map(StepResult::deserialize).transpose().map_err(unreadable)?;
    for step in &plan.steps[work.done.len().min(total)..] {
        let started_ms = wall_ms();
        let progress = progress_of(step.index, total);
        let result = building.step(step.index, &work.dir, progress, &Cancel::default()).await.map_err(failed)?;
        let value = serde_json::to_value(&result).map_err(|e| Stop::Failed(e.to_string()))?;
        let number = u32::try_from(step.index).unwrap_or(u32::MAX);
        reporter.step(number, &step.name, value, started_ms).await;
        last = Some(result);
    }
    let last = last.ok_or_else(|| Stop::Failed("the plan of the build has no steps".to_owned()))?;
    let manifest = last.manifest().ok_or_else(|| Stop::Failed("the last step returned no manifest".to_owned()))?;
    let manifest = serde_json::to_value(manifest).map_err(|e| Stop::Failed(e.to_string()))?;
    Ok(vec![(segment, manifest)])
}

/// Reports a step's progress as a fraction of the whole job, each value once.
fn progress_of(index: usize, total: usize) -> kirin_olap::ProgressFn {
    let said = AtomicU32::new(0);
    Arc::new(move |at: Progress| {
        let Some(all) = at.total.filter(|all| *all > 0) else { return };
        let within = (at.done.min(all) * 1000 / all) as usize;
        // Reported once per percent of the whole job, to limit requests to the metastore.
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
    fn a_build_covers_its_segment_and_invalid_specifications_cover_none() {
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
