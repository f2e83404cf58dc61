//! Queries, and the tables that can be queried.

use std::sync::Arc;
use std::time::Duration;

use kirin_metastore::Store;
use kirin_olap::{Answer, Catalog, Explain, QueryOptions};

use crate::catalog::Catalogs;
use crate::error::Result;
use crate::principal::Principal;

/// Queries of the tables and models of all projects.
#[derive(Clone)]
pub struct Queries {
    pub(crate) store: Store,
    pub(crate) catalogs: Catalogs,
    /// The default for reading raw tables if no index can answer.
    pub(crate) push_down: bool,
    /// The timeout of a query.
    pub(crate) timeout: Duration,
}

/// A query.
#[derive(Clone, Debug)]
pub struct Query {
    /// The project.
    pub project: String,
    /// The text.
    pub sql: String,
    /// The maximum number of rows in the answer.
    pub limit: usize,
    /// The number of rows to skip.
    pub offset: usize,
    /// Whether to read raw tables if no index can answer; the node's default if absent.
    pub push_down: Option<bool>,
    /// Whether to use indexes.
    pub use_index: bool,
    /// Whether a limit may truncate the answer.
    pub partial: bool,
}

impl Queries {
    /// Answers a query with a stream of record batches.
    ///
    /// # Errors
    /// If it fails before its first batch, or the project does not exist. A later failure is an error of the stream.
    pub async fn answer(&self, _who: &Principal, query: &Query) -> Result<Answer> {
        let snapshot = self.catalogs.snapshot(&self.store, &query.project).await?;
        Ok(snapshot.query(&query.sql, self.options(query)).await?)
    }

    /// Returns which index answers a query, and why others do not.
    ///
    /// # Errors
    /// If it cannot be planned, or the project does not exist.
    pub async fn explain(&self, _who: &Principal, query: &Query) -> Result<Explain> {
        let snapshot = self.catalogs.snapshot(&self.store, &query.project).await?;
        Ok(snapshot.explain(&query.sql, self.options(query)).await?)
    }

    /// The catalog with the tables that can be queried.
    ///
    /// # Errors
    /// If the project does not exist, or the metastore does not respond.
    pub async fn catalog(&self, _who: &Principal, project: &str) -> Result<Arc<Catalog>> {
        self.catalogs.catalog(&self.store, project).await
    }

    fn options(&self, query: &Query) -> QueryOptions {
        QueryOptions {
            limit: Some(query.limit),
            offset: query.offset,
            push_down: query.push_down.unwrap_or(self.push_down),
            use_index: query.use_index,
            partial: query.partial,
            timeout_ms: u64::try_from(self.timeout.as_millis()).ok(),
        }
    }
}
