//! `/query` and `/tables_and_columns`.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use kirin_olap::{Answer, Explain, Realization};
use kirin_service::queries::Query;
use kirin_wire::{
    AggregationView, Code, DEFAULT_DATABASE, ExplainView, JdbcColumn, JdbcTable, QueryColumn, QueryRequest, QueryView,
    RealizationView, RejectedView, TablesQuery,
};

use super::{ApiError, Body, Data, Params, Result, Shared, Who};

/// The default row limit of Kylin's clients.
const LIMIT: u64 = 50_000;

/// Refuses unsupported fields.
fn check(query: &QueryRequest) -> std::result::Result<(), ApiError> {
    let refused = [
        ("params", query.params.as_ref().is_some_and(|params| !params.is_empty())),
        ("executeAs", query.execute_as.as_ref().is_some_and(|user| !user.is_empty())),
        ("backdoorToggles", query.backdoor_toggles.as_ref().is_some_and(|toggles| !toggles.is_empty())),
    ];
    match refused.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => Err(ApiError::bad(format!("'{field}' is not supported; omit it"))),
        None => Ok(()),
    }
}

/// Checks a query and fills in defaults.
fn read(query: &QueryRequest) -> std::result::Result<Query, ApiError> {
    check(query)?;
    Ok(Query {
        project: query.project.clone(),
        sql: query.sql.clone(),
        limit: usize::try_from(limit(query)).unwrap_or(usize::MAX),
        offset: usize::try_from(query.offset).unwrap_or(usize::MAX),
        push_down: query.forced_to_push_down,
        use_index: query.use_index.unwrap_or(true),
        partial: query.accept_partial.unwrap_or(true),
    })
}

fn limit(query: &QueryRequest) -> u64 {
    query.limit.filter(|limit| *limit > 0).unwrap_or(LIMIT)
}

/// `POST /query`.
pub(super) async fn answer(
    State(context): Shared,
    Who(who): Who,
    headers: HeaderMap,
    Body(query): Body<QueryRequest>,
) -> Result<QueryView> {
    let refused = |error: kirin_service::Error| for_client(error.into(), &headers);
    let mut answer = context.service.queries.answer(&who, &read(&query)?).await.map_err(refused)?;
    // The response says how many rows there are and whether they are all, so it is not sent before the last one is here.
    let rows = answer.rest_as_text().await.map_err(|error| refused(error.into()))?;
    Ok(Data(view(&query, answer, rows, context.service.cluster.name())))
}

/// Kylin's clients accept only 500 for a failed query, in every version of the API. kylinpy makes another exception of every
/// other status.
fn for_client(error: ApiError, headers: &HeaderMap) -> ApiError {
    match error.code == Code::WrongSql && asks_as_kylins_clients(headers) {
        true => error.with_status(StatusCode::INTERNAL_SERVER_ERROR),
        false => error,
    }
}

/// Version 1 sends no `Accept` or `application/json`. Versions 2 and 4 send a media type of Kylin.
fn asks_as_kylins_clients(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().peekable();
    let kylins = |text: &str| text.contains("application/json") || text.contains("application/vnd.apache.kylin");
    accepted.peek().is_none() || accepted.any(|value| value.to_str().is_ok_and(|t| kylins(&t.to_ascii_lowercase())))
}

/// A row as clients read it: a cell is a text, or nothing for NULL.
type Row = Vec<Option<String>>;

/// The response; the stream of the answer has ended.
fn view(query: &QueryRequest, answer: Answer, rows: Vec<Row>, server: &str) -> QueryView {
    let cost = answer.cost().unwrap_or_default();
    let column = |column: &kirin_olap::ColumnMeta| QueryColumn {
        label: column.name.clone(),
        name: column.name.clone(),
        is_nullable: i32::from(column.nullable),
        display_size: column.precision.max(20),
        schema_name: None,
        catalog_name: None,
        table_name: None,
        precision: column.precision,
        scale: column.scale,
        column_type: column.type_code(),
        type_name: column.type_name.clone(),
        case_sensitive: true,
        auto_increment: false,
        currency: false,
        definitely_writable: false,
        signed: true,
        writable: false,
        searchable: false,
        read_only: true,
    };
    QueryView {
        columns: answer.columns.iter().map(column).collect(),
        affected_row_count: 0,
        failed: false,
        why: None,
        duration: cost.millis,
        partial: rows.len() as u64 >= limit(query) || answer.is_partial(),
        push_down: answer.push_down,
        query_id: query.query_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        server: server.to_owned(),
        total_scan_rows: cost.scanned_rows,
        total_scan_bytes: cost.scanned_bytes,
        result_row_count: rows.len() as u64,
        results: rows,
        hit_exception_cache: false,
        storage_cache_used: false,
        realizations: answer.realizations.into_iter().map(realization).collect(),
        engine_type: if answer.push_down { "PUSHDOWN" } else { "NATIVE" }.to_owned(),
    }
}

fn realization(of: Realization) -> RealizationView {
    let Realization { model, layout, segments, mixed, missing } = of;
    RealizationView { model, layout, segments, mixed, missing }
}

/// `POST /query/explain`: which index answers, and why others do not.
pub(super) async fn explain(
    State(context): Shared,
    Who(who): Who,
    Body(query): Body<QueryRequest>,
) -> Result<ExplainView> {
    Ok(Data(explained(context.service.queries.explain(&who, &read(&query)?).await?)))
}

fn explained(explain: Explain) -> ExplainView {
    let rejected = |of: kirin_olap::RejectedIndex| RejectedView {
        model: of.model,
        layout: of.layout,
        dimensions: of.dimensions,
        reason: of.reason,
    };
    let aggregation = |of: kirin_olap::AggregationExplain| AggregationView {
        aggregation: of.aggregation,
        chosen: of.chosen.map(realization),
        rejected: of.rejected.into_iter().map(rejected).collect(),
    };
    ExplainView {
        realizations: explain.realizations.into_iter().map(realization).collect(),
        raw_tables: explain.raw_tables,
        aggregations: explain.aggregations.into_iter().map(aggregation).collect(),
        plan: explain.plan,
    }
}

/// `GET /query/tables_and_columns`: tables and columns for JDBC and BI tools.
pub(super) async fn tables_and_columns(
    State(context): Shared,
    Who(who): Who,
    Params(params): Params<TablesQuery>,
) -> Result<Vec<JdbcTable>> {
    let catalog = context.service.queries.catalog(&who, &params.project).await?;
    Ok(Data(catalog.tables.iter().map(jdbc_table).collect()))
}

/// The only catalog in JDBC's sense.
const JDBC_CATALOG: &str = "defaultCatalog";

fn jdbc_table(table: &kirin_olap::Table) -> JdbcTable {
    let column = |(at, column): (usize, &kirin_olap::Column)| JdbcColumn {
        catalog: JDBC_CATALOG.to_owned(),
        schema: DEFAULT_DATABASE.to_owned(),
        table: table.name.clone(),
        name: column.name.clone(),
        data_type: column.type_code(),
        type_name: column.type_name.clone(),
        size: column.precision(),
        buffer_length: -1,
        decimal_digits: column.scale(),
        radix: 10,
        nullable: 1,
        remarks: None,
        default: None,
        sql_data_type: -1,
        sql_datetime_sub: -1,
        char_octet_length: column.precision(),
        position: at as u64 + 1,
        is_nullable: "YES".to_owned(),
        source_data_type: -1,
        is_autoincrement: String::new(),
        types: Vec::new(),
    };
    JdbcTable {
        catalog: JDBC_CATALOG.to_owned(),
        schema: DEFAULT_DATABASE.to_owned(),
        name: table.name.clone(),
        table_type: "TABLE".to_owned(),
        remarks: None,
        types: Vec::new(),
        columns: table.columns.iter().enumerate().map(column).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;

    #[test]
    fn a_mistake_in_sql_is_400_except_for_kylins_clients() {
        let status = |accept: Option<&'static str>, code: Code| {
            let headers = accept.map(|text| (header::ACCEPT, HeaderValue::from_static(text)));
            for_client(ApiError::new(code, "x"), &headers.into_iter().collect()).into_response().status().as_u16()
        };
        for (client, accept) in [
            ("kylinpy 1", None),
            ("kylinpy 2", Some("application/vnd.apache.kylin-v2+json")),
            ("kylinpy 4", Some("application/vnd.apache.kylin-v4-public+json")),
            ("JDBC 4", Some("application/json, text/plain, */*")),
            ("JDBC 5", Some("application/vnd.apache.kylin-v4-public+json, text/plain, */*")),
        ] {
            assert_eq!(status(accept, Code::WrongSql), 500, "{client}");
        }
        for accept in ["*/*", "text/html"] {
            assert_eq!(status(Some(accept), Code::WrongSql), 400, "{accept}");
            assert_eq!(status(Some(accept), Code::QueryTimeout), 500, "{accept}");
        }
    }
}
