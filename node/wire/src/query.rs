//! `/query` and `/tables_and_columns`. Kylin's clients expect this spelling of the names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::answers;

/// `POST /query` and `POST /query/explain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct QueryRequest {
    /// The query.
    pub sql: String,
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project")]
    pub project: String,
    /// The maximum number of rows; 50,000 if absent or 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The number of rows to skip.
    #[serde(default)]
    pub offset: u64,
    /// Whether to read raw tables if no index can answer; `kylin.query.pushdown-enabled` if absent.
    #[serde(default, alias = "push_down", skip_serializing_if = "Option::is_none")]
    pub forced_to_push_down: Option<bool>,
    /// Whether to use indexes; true if absent. False is for comparison.
    #[serde(default, alias = "use_index", skip_serializing_if = "Option::is_none")]
    pub use_index: Option<bool>,
    /// The id of the query in the answer; random if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_id: Option<String>,
    /// Whether the answer may lack rows of ranges that are not built; true if absent.
    #[serde(default, alias = "accept_partial", skip_serializing_if = "Option::is_none")]
    pub accept_partial: Option<bool>,
    /// Parameters of a prepared statement. Not supported: the list must be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<Value>>,
    /// Another user's name. Not supported: it must be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute_as: Option<String>,
    /// Kylin's options for a single query. Not supported: the map must be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backdoor_toggles: Option<BTreeMap<String, Value>>,
}

impl QueryRequest {
    /// A query with all defaults.
    pub fn new(project: impl Into<String>, sql: impl Into<String>) -> Self {
        Self { project: project.into(), sql: sql.into(), ..Self::default() }
    }

    /// The same query, from the raw tables only.
    #[must_use]
    pub fn raw(mut self) -> Self {
        (self.use_index, self.forced_to_push_down) = (Some(false), Some(true));
        self
    }
}

/// The query string of `GET /tables_and_columns`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablesQuery {
    /// The project.
    #[serde(alias = "projectName")]
    pub project: String,
}

answers! {
    /// `POST /query`.
    QueryView {
        /// The columns.
        #[serde(rename = "columnMetas")]
        columns: Vec<QueryColumn>,
        /// The rows; NULL is `null`, everything else is text.
        results: Vec<Vec<Option<String>>>,
        /// Always 0: nothing is written.
        #[serde(rename = "affectedRowCount")]
        affected_row_count: u64,
        /// Whether the query failed.
        #[serde(rename = "isException")]
        failed: bool,
        /// Why it failed.
        #[serde(rename = "exceptionMessage")]
        why: Option<String>,
        /// Milliseconds.
        duration: u64,
        /// Whether the limit truncated the answer, or ranges that are not built are missing.
        partial: bool,
        /// Whether raw tables were read.
        #[serde(rename = "pushDown")]
        push_down: bool,
        /// The id of the query.
        #[serde(rename = "queryId")]
        query_id: String,
        /// The node that ran the query.
        server: String,
        /// Rows read.
        #[serde(rename = "totalScanRows")]
        total_scan_rows: u64,
        /// Bytes read.
        #[serde(rename = "totalScanBytes")]
        total_scan_bytes: u64,
        /// Rows of the answer.
        #[serde(rename = "resultRowCount")]
        result_row_count: u64,
        /// Always false.
        #[serde(rename = "hitExceptionCache")]
        hit_exception_cache: bool,
        /// Always false.
        #[serde(rename = "storageCacheUsed")]
        storage_cache_used: bool,
        /// The indexes that answered.
        realizations: Vec<RealizationView>,
        /// `NATIVE`, or `PUSHDOWN` if raw tables were read.
        #[serde(rename = "engineType")]
        engine_type: String,
    }
    /// A column of an answer, described as in JDBC.
    QueryColumn {
        /// Its label.
        label: String,
        /// Its name, which is the label.
        name: String,
        /// 1 if it may contain NULL, else 0.
        #[serde(rename = "isNullable")]
        is_nullable: i32,
        /// Its nominal width in characters.
        #[serde(rename = "displaySize")]
        display_size: u32,
        /// Always `null`.
        #[serde(rename = "schemaName")]
        schema_name: Option<String>,
        /// Always `null`. The spelling is Kylin's.
        #[serde(rename = "catelogName")]
        catalog_name: Option<String>,
        /// Always `null`.
        #[serde(rename = "tableName")]
        table_name: Option<String>,
        /// Its precision.
        precision: u32,
        /// Digits after the point.
        scale: u32,
        /// Its code in `java.sql.Types`.
        #[serde(rename = "columnType")]
        column_type: i32,
        /// Its SQL type, for example `BIGINT`.
        #[serde(rename = "columnTypeName")]
        type_name: String,
        /// Always true.
        #[serde(rename = "caseSensitive")]
        case_sensitive: bool,
        /// Always false.
        #[serde(rename = "autoIncrement")]
        auto_increment: bool,
        /// Always false.
        currency: bool,
        /// Always false.
        #[serde(rename = "definitelyWritable")]
        definitely_writable: bool,
        /// Always true.
        signed: bool,
        /// Always false.
        writable: bool,
        /// Always false.
        searchable: bool,
        /// Always true.
        #[serde(rename = "readOnly")]
        read_only: bool,
    }
    /// An index that contributed to an answer.
    RealizationView {
        /// The model.
        model: String,
        /// The index's layout id.
        layout: u64,
        /// Names of the segments that were read.
        segments: Vec<String>,
        /// Whether raw rows of ranges that are not built were added.
        mixed: bool,
        /// Ranges that the query covers and no segment contains. If there are any, the answer is partial.
        missing: Vec<String>,
    }
    /// `POST /query/explain`.
    ExplainView {
        /// The indexes that answer.
        realizations: Vec<RealizationView>,
        /// Raw tables that are read.
        raw_tables: Vec<String>,
        /// One entry for each aggregation of the query, the innermost first.
        aggregations: Vec<AggregationView>,
        /// The optimised logical plan, one operator per line.
        plan: String,
    }
    /// The plan of one aggregation.
    AggregationView {
        /// Its groups and aggregates.
        aggregation: String,
        /// The index that answers it; none means raw tables.
        chosen: Option<RealizationView>,
        /// Every other index and model, with the reason why it does not answer.
        rejected: Vec<RejectedView>,
    }
    /// An index, or a whole model, that does not answer.
    RejectedView {
        /// The model.
        model: String,
        /// The index's layout id; none means every index of the model.
        layout: Option<u64>,
        /// Names of the index's dimensions.
        dimensions: Vec<String>,
        /// Why it does not answer.
        reason: String,
    }
    /// A table of `GET /tables_and_columns`, described as in JDBC.
    JdbcTable {
        /// Always `defaultCatalog`.
        #[serde(rename = "table_CAT")]
        catalog: String,
        /// Always `DEFAULT`.
        #[serde(rename = "table_SCHEM")]
        schema: String,
        /// Its name.
        #[serde(rename = "table_NAME")]
        name: String,
        /// Always `TABLE`.
        #[serde(rename = "table_TYPE")]
        table_type: String,
        /// Always `null`.
        remarks: Option<String>,
        /// Always empty.
        #[serde(rename = "type")]
        types: Vec<String>,
        /// Its columns.
        columns: Vec<JdbcColumn>,
    }
    /// A column of `GET /tables_and_columns`, described as in JDBC.
    JdbcColumn {
        /// Always `defaultCatalog`.
        #[serde(rename = "table_CAT")]
        catalog: String,
        /// Always `DEFAULT`.
        #[serde(rename = "table_SCHEM")]
        schema: String,
        /// The table.
        #[serde(rename = "table_NAME")]
        table: String,
        /// Its name.
        #[serde(rename = "column_NAME")]
        name: String,
        /// Its code in `java.sql.Types`.
        #[serde(rename = "data_TYPE")]
        data_type: i32,
        /// Its SQL type.
        #[serde(rename = "type_NAME")]
        type_name: String,
        /// Its precision.
        #[serde(rename = "column_SIZE")]
        size: u32,
        /// Always -1.
        #[serde(rename = "buffer_LENGTH")]
        buffer_length: i32,
        /// Digits after the point.
        #[serde(rename = "decimal_DIGITS")]
        decimal_digits: u32,
        /// Always 10.
        #[serde(rename = "num_PREC_RADIX")]
        radix: i32,
        /// Always 1: it may contain NULL.
        nullable: i32,
        /// Always `null`.
        remarks: Option<String>,
        /// Always `null`.
        #[serde(rename = "column_DEF")]
        default: Option<String>,
        /// Always -1.
        #[serde(rename = "sql_DATA_TYPE")]
        sql_data_type: i32,
        /// Always -1.
        #[serde(rename = "sql_DATETIME_SUB")]
        sql_datetime_sub: i32,
        /// Its precision again.
        #[serde(rename = "char_OCTET_LENGTH")]
        char_octet_length: u32,
        /// Its position in the table, from 1.
        #[serde(rename = "ordinal_POSITION")]
        position: u64,
        /// Always `YES`.
        #[serde(rename = "is_NULLABLE")]
        is_nullable: String,
        /// Always -1.
        #[serde(rename = "source_DATA_TYPE")]
        source_data_type: i32,
        /// Always empty.
        #[serde(rename = "is_AUTOINCREMENT")]
        is_autoincrement: String,
        /// Always empty.
        #[serde(rename = "type")]
        types: Vec<String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_kylins_names() {
        let body = serde_json::to_string(&QueryRequest::new("p", "s").raw()).unwrap();
        assert_eq!(body, r#"{"sql":"s","project":"p","offset":0,"forcedToPushDown":true,"useIndex":false}"#);
        let body: QueryRequest = serde_json::from_str(r#"{"sql":"s","push_down":true}"#).unwrap();
        assert_eq!((body.project.as_str(), body.forced_to_push_down), ("default", Some(true)));
    }
}
