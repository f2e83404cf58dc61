//! `kirin sql`.

use serde_json::{Value, json};

use super::super::args::SqlArgs;
use super::super::exit::{Exit, Failure};
use super::super::render;
use super::{Session, read_argument};
use kirin_client::{Request, decode};
use kirin_wire::{QueryRequest, QueryView};

pub(super) async fn run(it: Session<'_, '_>, args: SqlArgs) -> Result<(), Failure> {
    let text = if args.query == "-" { read_argument("-")? } else { args.query };
    let sql = text.trim().trim_end_matches(';');
    let body = QueryRequest {
        limit: Some(args.limit),
        // Without the option, the node's configuration decides.
        forced_to_push_down: args.push_down.then_some(true),
        accept_partial: args.complete.then_some(false),
        ..QueryRequest::new(it.project, sql)
    };
    // A query changes nothing, so it may be repeated at another node.
    let request = |path: &[&str]| Ok::<_, Failure>(Request::post(path).body(&body)?.repeatable().patient());
    if args.explain {
        let data = it.client.raw(request(&["query", "explain"])?).await?;
        return it.screen.show(&data, |_| Ok(render::outline(&grouped(decode::<Value>(&data)?))));
    }
    let data = it.client.raw(request(&["query"])?).await?;
    let view: QueryView = decode(&data)?;
    if view.failed {
        if it.screen.wants_json() {
            it.screen.json(&data)?;
        }
        let next = "`kirin sql --explain` shows which index would answer; --push-down reads the raw tables.";
        return Err(Failure::new(Exit::Failed, view.why.unwrap_or_default(), next));
    }
    it.screen.show(&data, |_| Ok(render::query(&view)))
}

/// Merges the indexes of a model that are rejected for the same reason into one entry.
fn grouped(mut explained: Value) -> Value {
    let aggregations = explained.get_mut("aggregations").and_then(Value::as_array_mut);
    for aggregation in aggregations.into_iter().flatten() {
        let Some(rejected) = aggregation.get_mut("rejected").and_then(Value::as_array_mut) else { continue };
        let mut groups: Vec<Value> = Vec::new();
        for one in std::mem::take(rejected) {
            let alike = |group: &&mut Value| group["model"] == one["model"] && group["reason"] == one["reason"];
            match (groups.iter_mut().find(alike), one["layout"].is_number()) {
                (Some(group), true) => {
                    let first = group["layout"].clone();
                    match group.get_mut("layouts").and_then(Value::as_array_mut) {
                        Some(layouts) => layouts.push(one["layout"].clone()),
                        None => {
                            let layouts = [first, one["layout"].clone()];
                            *group = json!({"model": one["model"], "layouts": layouts, "reason": one["reason"]});
                        }
                    }
                }
                _ => groups.push(one),
            }
        }
        *rejected = groups;
    }
    explained
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_that_are_rejected_for_one_reason_are_one_entry() {
        let no =
            |layout: u64, reason: &str| json!({"model": "m", "layout": layout, "dimensions": ["a"], "reason": reason});
        let whole = json!({"model": "n", "layout": null, "dimensions": [], "reason": "x"});
        let explained = json!({"aggregations": [{
            "aggregation": "a", "rejected": [no(3, "x"), no(2, "y"), no(1, "x"), whole.clone(), no(4, "x")]
        }]});
        let expected = json!([{"model": "m", "layouts": [3, 1, 4], "reason": "x"}, no(2, "y"), whole]);
        assert_eq!(grouped(explained)["aggregations"][0]["rejected"], expected);
        assert_eq!(grouped(json!({"plan": "p"})), json!({"plan": "p"}));
    }
}
