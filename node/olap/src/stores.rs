//! Stores of files: the local file system, and S3 buckets, which are opened when a table first names them.
//!
//! Credentials, region and endpoint come from the environment of the process, under the usual names of S3 clients
//! (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP` …). The definition of a
//! table therefore holds no secret. The machine's own identity, which a cloud serves at a link-local address, is used only
//! if that is enabled. Otherwise every user with the right to add tables could act with it.

use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::{ObjectStore, RetryConfig};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a request is retried before it fails.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// The stores that were opened.
#[derive(Debug)]
pub(crate) struct Stores {
    open: DefaultObjectStoreRegistry,
    instance_role: bool,
}

impl Stores {
    pub(crate) fn new(instance_role: bool) -> Self {
        Stores { open: DefaultObjectStoreRegistry::default(), instance_role }
    }
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.open.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> DfResult<Arc<dyn ObjectStore>> {
        match (self.open.get_store(url), url.scheme()) {
            (Ok(store), _) => Ok(store),
            (Err(_), "s3" | "s3a") => {
                let store = bucket(url, self.instance_role)?;
                self.open.register_store(url, store.clone());
                Ok(store)
            }
            (Err(_), scheme) => Err(DataFusionError::Plan(format!(
                "{scheme}:// is not supported; use a path, a file:// URL or an s3:// URL"
            ))),
        }
    }
}

fn bucket(url: &Url, instance_role: bool) -> DfResult<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: 4, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    let builder = AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry);
    if !instance_role && !has_credentials(&builder) {
        return Err(DataFusionError::Plan(format!(
            "there are no credentials for {url}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the node's environment \
             (AWS_SKIP_SIGNATURE=true for public buckets), or switch the machine's identity on with \
             kirin.source.s3.instance-role=true"
        )));
    }
    Ok(Arc::new(builder.build()?))
}

/// Whether the store needs no identity of the machine or of its container: it has keys, sends unsigned requests, or
/// exchanges a token at the cloud's public service.
fn has_credentials(builder: &AmazonS3Builder) -> bool {
    let has = |key: AmazonS3ConfigKey| builder.get_config_value(&key).is_some_and(|value| !value.is_empty());
    let unsigned = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature).is_some_and(|v| v == "true");
    unsigned
        || has(AmazonS3ConfigKey::AccessKeyId) && has(AmazonS3ConfigKey::SecretAccessKey)
        || has(AmazonS3ConfigKey::WebIdentityTokenFile) && has(AmazonS3ConfigKey::RoleArn)
}

/// A hint for errors of a store.
pub(crate) fn hint(url: &str) -> &'static str {
    let keyless = std::env::var_os("AWS_ACCESS_KEY_ID").is_none();
    if url.starts_with("s3") && keyless { "; the node's environment has no AWS_ACCESS_KEY_ID" } else { "" }
}
