//! Where files are: the local file system, and S3 buckets that are opened when a table first names them.
//!
//! Credentials, region and endpoint come from the environment of the process, with the names that every S3 client knows
//! (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP` …), or from the
//! machine's own identity. So no secret ever stands in a table's definition.

use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Long enough for a hiccup; after it, whoever waits is told.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// The stores that were opened.
#[derive(Debug, Default)]
pub(crate) struct Stores(DefaultObjectStoreRegistry);

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        match (self.0.get_store(url), url.scheme()) {
            (Ok(store), _) => Ok(store),
            (Err(_), "s3" | "s3a") => {
                let store = bucket(url)?;
                self.0.register_store(url, store.clone());
                Ok(store)
            }
            (Err(_), scheme) => Err(DataFusionError::Plan(format!(
                "{scheme}:// is not supported; use a path, a file:// URL or an s3:// URL"
            ))),
        }
    }
}

fn bucket(url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: 4, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    let store = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry).build()?;
    Ok(Arc::new(store))
}

/// What to do if a store does not answer as wished.
pub(crate) fn hint(url: &str) -> &'static str {
    let keyless = std::env::var_os("AWS_ACCESS_KEY_ID").is_none();
    if url.starts_with("s3") && keyless {
        "; the node's environment has no AWS_ACCESS_KEY_ID, so it asked the machine for its identity"
    } else {
        ""
    }
}
