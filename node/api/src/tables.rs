//! `/tables`.

use axum::extract::{Path, State};
use kirin_olap::Source;
use kirin_service::tables::{Listed, NewSource, NewTable};
use kirin_wire::{
    ColumnView, DEFAULT_DATABASE, Done, Given, OfProject, Page, SkippedColumn, StoredCsv, StoredSource, TableAdded,
    TableView,
};
use serde::Deserialize as _;

use super::{ApiError, Body, Data, Params, Result, Shared, Who, cut};

/// The default number of rows per page.
const PAGE: u64 = 100;

/// `GET /tables`.
pub(super) async fn list(
    State(context): Shared,
    Who(who): Who,
    Params(params): Params<OfProject>,
) -> Result<Page<TableView>> {
    let all = context.service.tables.list(&who, &params.project).await?;
    cut(all.into_iter().map(view).collect(), params.paging(), PAGE).map(Data)
}

fn view(table: Listed) -> TableView {
    let database = DEFAULT_DATABASE.to_owned();
    match table {
        Listed::Known { table, rows, broken } => TableView {
            name: table.name,
            database,
            source: Some(stored(table.source)),
            rows,
            columns: columns(&table.columns),
            broken,
        },
        Listed::Damaged { name, why } => TableView { name, database, broken: Some(why), ..TableView::default() },
    }
}

/// The source without the root that the administrator of a machine granted to it.
fn stored(source: Source) -> StoredSource {
    let Source { format, location, csv, granted: _ } = source;
    let csv = csv.map(|it| StoredCsv { header: it.header, delimiter: it.delimiter, null_value: it.null_value });
    StoredSource { format: format.name().to_owned(), location, csv }
}

fn columns(all: &[kirin_olap::Column]) -> Vec<ColumnView> {
    all.iter().map(|column| ColumnView::new(&column.name, &column.type_name)).collect()
}

/// `POST /tables`: adds a table of existing files.
pub(super) async fn add(
    State(context): Shared,
    Who(who): Who,
    Body(body): Body<kirin_wire::NewTable>,
) -> Result<TableAdded> {
    let source = match body.source {
        Given::Location(location) => NewSource::Location(location),
        Given::Full(source) => {
            let value = serde_json::to_value(source).map_err(ApiError::internal)?;
            let wrong = |error| ApiError::bad(format!("invalid source: {error}"));
            NewSource::Full(Source::deserialize(value).map_err(wrong)?)
        }
    };
    let types = body.columns.into_iter().map(|column| (column.name, column.data_type)).collect();
    let new = NewTable { project: body.project, name: body.name, source, types };
    let added = context.service.tables.add(&who, new).await?;
    let skipped = added.skipped.into_iter().map(|(name, reason)| SkippedColumn { name, reason });
    Ok(Data(TableAdded {
        rows: added.rows,
        files: added.files as u64,
        columns: columns(&added.table.columns),
        name: added.table.name,
        skipped_columns: skipped.collect(),
        notes: added.notes,
    }))
}

/// `DELETE /tables/{t}`: drops a table that no model uses.
pub(super) async fn drop(
    State(context): Shared,
    Who(who): Who,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Done> {
    context.service.tables.drop(&who, &params.project, &name).await?;
    Ok(Data(Done))
}
