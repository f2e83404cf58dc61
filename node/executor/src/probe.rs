//! The kind `probe`: steps that only take a given time, for measurements of the cluster and experiments.

use std::time::Duration;

use futures::future::BoxFuture;
use kirin_core::Capabilities;
use kirin_metastore::EndReport;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Attempt, Ended, Executor, Go, report};
use kirin_shell::clock::wall_us;

/// The executor of probes.
pub struct Probe;

/// `{"steps": 3, "step_ms": 100}`. The default is one step that takes no time.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    #[serde(default = "one")]
    steps: u32,
    #[serde(default)]
    step_ms: u64,
    /// The step that fails, for experiments.
    fails_at: Option<u32>,
}

const fn one() -> u32 {
    1
}

/// The maximum number of steps.
const STEPS_MAX: u32 = 10_000;

fn parse(spec: &Value) -> Result<Spec, String> {
    let spec: Spec = serde_json::from_value(spec.clone())
        .map_err(|e| format!("write a probe as {{\"steps\": N, \"step_ms\": N, \"fails_at\": N}}: {e}"))?;
    if spec.steps > STEPS_MAX {
        return Err(format!("steps is {}; the maximum is {STEPS_MAX}", spec.steps));
    }
    Ok(spec)
}

impl Executor for Probe {
    fn kind(&self) -> &'static str {
        "probe"
    }

    fn job_type(&self, _spec: &Value) -> &'static str {
        "PROBE"
    }

    fn is_external(&self) -> bool {
        false
    }

    fn needs(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn steps(&self, spec: &Value) -> Result<Vec<String>, String> {
        Ok((1..=parse(spec)?.steps).map(|n| format!("Probe {n}")).collect())
    }

    fn run(&self, mut attempt: Attempt) -> BoxFuture<'static, Ended> {
        Box::pin(async move {
            let spec = match parse(&attempt.job.spec) {
                Ok(spec) => spec,
                Err(error) => return Ended::Failed(error),
            };
            let first = u32::try_from(attempt.done.len()).unwrap_or(u32::MAX);
            for step in first..spec.steps {
                let started_us = wall_us();
                if spec.step_ms > 0 {
                    tokio::select! {
                        biased;
                        _ = attempt.stop() => return Ended::Stopped,
                        () = tokio::time::sleep(Duration::from_millis(spec.step_ms)) => {}
                    }
                }
                if spec.fails_at == Some(step) {
                    return Ended::Failed(format!("step {step} failed as specified (fails_at)"));
                }
                let result = json!({ "epoch": attempt.fence.epoch.0, "started_us": started_us });
                if attempt.commit(step, report(&format!("Probe {}", step + 1), started_us / 1000, result)).await
                    == Go::Stop
                {
                    return Ended::Stopped;
                }
            }
            Ended::Done(EndReport::default())
        })
    }
}
