//! `kirin table`.

use std::path::Path;

use super::super::args::{CsvArgs, Table};
use super::super::exit::Failure;
use super::super::render;
use super::Session;
use kirin_client::{Request, decode};
use kirin_wire::{CsvView, DeclaredColumn, Given, LOCAL_HEADER, NewTable, SourceView, TableView};

pub(super) async fn run(mut it: Session<'_, '_>, command: Table, token: Option<String>) -> Result<(), Failure> {
    match command {
        Table::Add { name, source, types, csv } => {
            let source = given(whole(&source), csv);
            let columns = types.into_iter().map(|(name, data_type)| DeclaredColumn { name, data_type }).collect();
            let body = NewTable { project: it.project.to_owned(), name: name.clone(), source, columns };
            let mut request = Request::post(&["tables"]).body(&body)?;
            if let Some(token) = token {
                request = request.header(LOCAL_HEADER, token);
            }
            let data = it.client.raw(request).await?;
            it.screen.show(&data, |_| Ok(render::added(&name, &decode(&data)?)))
        }
        Table::List => it.list::<TableView>(&["tables"], |tables, _| render::tables(tables)).await,
        Table::Show { name } => {
            let data = it.table(&name).await?;
            it.screen.show(&data, |_| Ok(render::table(&decode(&data)?)))
        }
        Table::Drop { name, yes } => {
            it.screen.confirm(&format!("drop table '{name}' of project '{}' and keep its files", it.project), yes)?;
            let request = Request::delete(&["tables", &name]).with("project", it.project);
            it.done(request, &format!("table {name} dropped")).await
        }
    }
}

/// A location whose file names determine the format, or a complete CSV source if an option describes the files.
fn given(location: String, csv: CsvArgs) -> Given {
    let CsvArgs { delimiter, no_header, null } = csv;
    if delimiter.is_none() && !no_header && null.is_none() {
        return Given::Location(location);
    }
    let csv = CsvView { header: !no_header, delimiter, null_value: null };
    Given::Full(SourceView { format: "csv".to_owned(), location, csv: Some(csv) })
}

/// Makes a path absolute, because the node runs in another directory. URLs are unchanged.
fn whole(source: &str) -> String {
    if source.contains("://") {
        return source.to_owned();
    }
    // A path that does not exist may be a pattern.
    let path = Path::new(source);
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .map_or_else(|_| source.to_owned(), |whole| whole.display().to_string())
}
