//! `kirin sql`.

use super::super::args::SqlArgs;
use super::super::exit::{Exit, Failure};
use super::super::render;
use super::{Session, read_argument};
use kirin_client::{Request, decode};
use kirin_wire::{ExplainView, QueryRequest, QueryView};

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
        return it.screen.show(&data, |_| render::explanation(&decode::<ExplainView>(&data)?));
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
