//! Queries.

use axum::extract::State;
use kirin_olap::{QueryAnswer, QueryOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ApiError, Body, Context, Data, Params, Result, Shared};

/// `POST /query` and `POST /query/explain`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Query {
    sql: String,
    #[serde(default = "default_project")]
    project: String,
    limit: Option<u64>,
    #[serde(default)]
    offset: u64,
    forced_to_push_down: Option<bool>,
    /// False asks the raw tables, for comparison.
    use_index: Option<bool>,
    /// False refuses an answer that lacks rows of ranges that are not built.
    partial: Option<bool>,
    query_id: Option<String>,
}

fn default_project() -> String {
    "default".to_owned()
}

/// Kylin's clients ask for no more than this unless they say otherwise.
const LIMIT: u64 = 50_000;

fn options(context: &Context, query: &Query) -> QueryOptions {
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(LIMIT);
    QueryOptions {
        limit: Some(usize::try_from(limit).unwrap_or(usize::MAX)),
        offset: usize::try_from(query.offset).unwrap_or(usize::MAX),
        push_down: query.forced_to_push_down.unwrap_or(context.config.query.push_down),
        use_index: query.use_index.unwrap_or(true),
        partial: query.partial.unwrap_or(true),
        timeout_ms: u64::try_from(context.config.query.timeout.as_millis()).ok(),
    }
}

/// `POST /query`.
pub(super) async fn query(State(context): Shared, Body(query): Body<Query>) -> Result<Value> {
    let snapshot = context.catalogs.snapshot(&context.store, &query.project).await?;
    let answer = snapshot.query(&query.sql, options(&context, &query)).await?;
    Ok(Data(answer_json(&context, &query, &answer)))
}

fn answer_json(context: &Context, query: &Query, answer: &QueryAnswer) -> Value {
    let metas: Vec<_> = answer
        .columns
        .iter()
        .map(|column| {
            json!({
                "label": column.name,
                "name": column.name,
                "isNullable": i32::from(column.nullable),
                "displaySize": column.precision.max(20),
                "schemaName": null,
                "catelogName": null,
                "tableName": null,
                "precision": column.precision,
                "scale": column.scale,
                "columnType": column.type_code(),
                "columnTypeName": column.type_name,
                "caseSensitive": true,
                "autoIncrement": false,
                "currency": false,
                "definitelyWritable": false,
                "signed": true,
                "writable": false,
                "searchable": false,
                "readOnly": true,
            })
        })
        .collect();
    let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(LIMIT);
    json!({
        "columnMetas": metas,
        "results": answer.rows,
        "affectedRowCount": 0,
        "isException": false,
        "exceptionMessage": null,
        "duration": answer.millis,
        "partial": answer.rows.len() as u64 >= limit || answer.is_partial(),
        "pushDown": answer.push_down,
        "queryId": query.query_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        "server": context.name,
        "totalScanRows": answer.scanned_rows,
        "totalScanBytes": answer.scanned_bytes,
        "resultRowCount": answer.rows.len(),
        "hitExceptionCache": false,
        "storageCacheUsed": false,
        "realizations": answer.realizations,
        "engineType": if answer.push_down { "PUSHDOWN" } else { "NATIVE" },
    })
}

/// `POST /query/explain`: which index answers, and why others do not.
pub(super) async fn explain(State(context): Shared, Body(query): Body<Query>) -> Result<Value> {
    let snapshot = context.catalogs.snapshot(&context.store, &query.project).await?;
    let explain = snapshot.explain(&query.sql, options(&context, &query)).await?;
    let value = serde_json::to_value(explain).map_err(|e| ApiError::bad(e.to_string()))?;
    Ok(Data(value))
}

/// `GET /query/tables_and_columns`.
#[derive(Debug, Deserialize)]
pub(super) struct TablesOf {
    project: String,
}

/// `GET /query/tables_and_columns`: what JDBC and BI tools show. The spelling of the names is what they expect.
pub(super) async fn tables_and_columns(State(context): Shared, Params(params): Params<TablesOf>) -> Result<Value> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    let tables: Vec<_> = catalog
        .tables
        .iter()
        .map(|table| {
            let columns: Vec<_> = table
                .columns
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    json!({
                        "table_CAT": "defaultCatalog",
                        "table_SCHEM": "DEFAULT",
                        "table_NAME": table.name,
                        "column_NAME": column.name,
                        "data_TYPE": column.type_code(),
                        "type_NAME": column.type_name,
                        "column_SIZE": column.precision(),
                        "buffer_LENGTH": -1,
                        "decimal_DIGITS": column.scale(),
                        "num_PREC_RADIX": 10,
                        "nullable": 1,
                        "remarks": null,
                        "column_DEF": null,
                        "sql_DATA_TYPE": -1,
                        "sql_DATETIME_SUB": -1,
                        "char_OCTET_LENGTH": column.precision(),
                        "ordinal_POSITION": at + 1,
                        "is_NULLABLE": "YES",
                        "source_DATA_TYPE": -1,
                        "is_AUTOINCREMENT": "",
                        "type": [],
                    })
                })
                .collect();
            json!({
                "table_CAT": "defaultCatalog",
                "table_SCHEM": "DEFAULT",
                "table_NAME": table.name,
                "table_TYPE": "TABLE",
                "remarks": null,
                "type": [],
                "columns": columns,
            })
        })
        .collect();
    Ok(Data(Value::Array(tables)))
}
