//! `kirin table`.

use std::path::Path;

use serde_json::json;

use super::super::args::Table;
use super::super::client::{Request, decode};
use super::super::exit::Failure;
use super::super::payload::TableView;
use super::super::render;
use super::Session;

pub(super) async fn run(mut it: Session<'_, '_>, command: Table) -> Result<(), Failure> {
    match command {
        Table::Add { name, source } => {
            let body = json!({ "project": it.project, "name": name, "source": whole(&source) });
            it.done(Request::post(&["tables"]).body(&body)?, &format!("table {name} added")).await
        }
        Table::List => it.list::<TableView>(&["tables"], |tables, _| render::tables(tables)).await,
        Table::Show { name } => {
            let data = it.named(&["tables"], "table", &name).await?;
            it.screen.show(&data, |_| Ok(render::table(&decode(&data)?)))
        }
        Table::Drop { name, yes } => {
            it.screen.confirm(&format!("The table {name} of {} will be forgotten.", it.project), yes)?;
            let request = Request::delete(&["tables", &name]).with("project", it.project);
            it.done(request, &format!("table {name} dropped")).await
        }
    }
}

/// A path of this machine made whole, since the node does not work in our directory; anything else as it is.
fn whole(source: &str) -> String {
    let path = Path::new(source);
    match path.canonicalize() {
        Ok(whole) if !source.contains("://") => whole.display().to_string(),
        _ => source.to_owned(),
    }
}
