//! The body of a request, or the specification of a job.

use kirin_executor::{build, command};
use kirin_olap::{BuildJob, Catalog, Model, Table};
use serde_json::Value;

/// Parses the bytes as every type that is parsed from JSON, and validates the result as a node does.
pub fn run(data: &[u8]) {
    kirin_api::read_as_every_request(data);
    let Ok(json) = serde_json::from_slice::<Value>(data) else { return };
    let _ = build::steps(&json);
    let _ = command::steps(&json);
    if let Ok(model) = serde_json::from_value::<Model>(json.clone()) {
        let _ = (model.validate(&[]), model.layouts(), kirin_olap::plan(&model));
    }
    if let Ok(table) = serde_json::from_value::<Table>(json.clone()) {
        let _ = table.validate();
    }
    if let Ok(job) = serde_json::from_value::<BuildJob>(json.clone()) {
        let _ = (job.range.validate(), job.model.validate(&job.tables), kirin_olap::plan(&job.model));
    }
    let _ = serde_json::from_value::<Catalog>(json);
}
