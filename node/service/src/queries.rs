//! Queries, and what can be queried.

use std::sync::Arc;
use std::time::Duration;

use kirin_metastore::Store;
use kirin_olap::{Answer, Catalog, Explain, QueryOptions};

use crate::catalog::Catalogs;
use crate::error::Result;
use crate::principal::Principal;

/// Queries over the tables and models of all projects.
#[derive(Clone)]
pub struct Queries {
    pub(crate) store: Store,
    pub(crate) catalogs: Catalogs,
    /// Whether queries that no index answers read the raw tables, if they say nothing of it.
    pub(crate) push_down: bool,
    /// Queries that take longer fail.
    pub(crate) timeout: Duration,
}

/// A query.
#[derive(Clone, Debug)]
pub struct Query {
    /// The project.
    pub project: String,
    /// The text.
    pub sql: String,
    /// The most rows of the answer.
    pub limit: usize,
    /// Rows that are left out before.
    pub offset: usize,
    /// Whether the raw tables are read if no index answers; as the node is configured if absent.
    pub push_down: Option<bool>,
    /// Whether indexes are used.
    pub use_index: bool,
    /// Whether an answer is good enough that a limit cut.
    pub partial: bool,
}

impl Queries {
    /// Answers a query with a stream of record batches.
    ///
    /// # Errors
    /// If it fails before its first batch, or there is no such project. A later failure is an error of the stream.
    pub async fn answer(&self, _who: &Principal, query: &Query) -> Result<Answer> {
        let snapshot = self.catalogs.snapshot(&self.store, &query.project).await?;
        Ok(snapshot.query(&query.sql, self.options(query)).await?)
    }

    /// Says which index answers a query, and why others do not.
    ///
    /// # Errors
    /// If it cannot be planned, or there is no such project.
    pub async fn explain(&self, _who: &Principal, query: &Query) -> Result<Explain> {
        let snapshot = self.catalogs.snapshot(&self.store, &query.project).await?;
        Ok(snapshot.explain(&query.sql, self.options(query)).await?)
    }

    /// The catalog with the tables that can be queried.
    ///
    /// # Errors
    /// If there is no such project, or the metastore does not answer.
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
