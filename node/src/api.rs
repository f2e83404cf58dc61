//! The HTTP API: JSON in Kylin's envelope and with its field names, on every node alike.
//!
//! ```text
//! {"code": "000", "data": …, "msg": ""}
//! {"code": "999", "data": null, "msg": "KE-…: text", "exception": "text", "error_code": "KE-…", "suggestion": "what to do"}
//! ```
//! Everything but `/health` needs a login. What is submitted is answered after its commit; what could not be asked of the
//! metastore is a 503 with `Retry-After`.
//!
//! Not here: anything that only nodes say to one another ([`kirin_shell::link`]).

use std::sync::Arc;

use crate::metastore::{Store, StoreError};
use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::auth::verified::Verified;
use crate::catalog::Catalogs;
use crate::config::Config;
use crate::directory::Directory;
use crate::executor::Attempts;
use kirin_shell::Links;
use kirin_shell::Mind;

mod catalog;
mod cluster;
mod jobs;
mod login;
mod query;
mod routes;

pub use login::ADMIN_HASH;
pub use routes::endpoints;

/// Larger bodies are refused.
const BODY_MAX: usize = 8 << 20;

/// What handlers need.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a node that the API uses.
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// This node's name.
    pub name: String,
    /// The metastore.
    pub store: Store,
    /// The core.
    pub mind: Mind,
    /// Links to the other nodes.
    pub links: Links,
    /// Names and addresses.
    pub directory: Directory,
    /// The executors, to check what is submitted.
    pub attempts: Attempts,
    /// Tables, models, segments, and queries over them.
    pub catalogs: Catalogs,
    /// Who is found through discovery, and whether that works.
    pub discovery: Arc<dyn kirin_discovery::Discovery>,
    /// Passwords that were verified not long ago.
    pub verified: Verified,
    /// Asks the process to stop.
    pub stop: tokio::sync::mpsc::UnboundedSender<()>,
}

impl std::ops::Deref for Context {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Reads a body as each of the requests that have one; returns as how many it can be read. Nothing is done.
pub fn read_as_every_request(body: &[u8]) -> usize {
    fn reads<T: serde::de::DeserializeOwned>(body: &[u8]) -> bool {
        serde_json::from_slice::<T>(body).is_ok()
    }
    [
        reads::<catalog::NewProject>,
        reads::<catalog::ProjectConfig>,
        reads::<catalog::NewTable>,
        reads::<catalog::NewModel>,
        reads::<catalog::Build>,
        reads::<catalog::Refresh>,
        reads::<catalog::Verify>,
        reads::<jobs::Submit>,
        reads::<jobs::Act>,
        reads::<query::Query>,
        reads::<cluster::Drain>,
        reads::<cluster::Slots>,
        reads::<cluster::Claim>,
    ]
    .into_iter()
    .filter(|reads| reads(body))
    .count()
}

/// All routes.
pub fn router(parts: Parts) -> Router {
    let context = Context(Arc::new(parts));
    let (for_all, with_login) = routes::routers();
    let unknown = async || ApiError::new(StatusCode::NOT_FOUND, "KE-010000404", "there is no such endpoint");
    let other_method =
        async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "KE-010000405", "the endpoint has no such method");
    let with_login = with_login
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(context.clone(), login::require));
    for_all
        .method_not_allowed_fallback(other_method)
        .nest(routes::BASE, with_login)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(name_the_url))
        .with_state(context)
}

/// A result in Kylin's envelope.
pub type Result<T> = std::result::Result<Data<T>, ApiError>;

/// `data` of a good answer.
#[derive(Debug)]
pub struct Data<T>(pub T);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        axum::Json(json!({ "code": "000", "data": self.0, "msg": "" })).into_response()
    }
}

/// A page of a list, as Kylin's public API has it.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    /// The rows of this page.
    pub value: Vec<T>,
    /// The number of the page, from 0.
    pub offset: u64,
    /// Rows a page.
    pub limit: u64,
    /// Rows in all.
    pub total_size: u64,
}

impl<T> Page<T> {
    /// Cuts a page out of a list that is there as a whole.
    pub fn cut(all: Vec<T>, offset: u64, limit: u64) -> Self {
        let total_size = all.len() as u64;
        let skip = usize::try_from(offset.saturating_mul(limit)).unwrap_or(usize::MAX);
        let take = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { value: all.into_iter().skip(skip).take(take).collect(), offset, limit, total_size }
    }
}

/// What went wrong, for a person and for a client.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    text: String,
    suggestion: Option<String>,
    retry_after: Option<u32>,
}

impl ApiError {
    /// An error with Kylin's code and a text.
    pub fn new(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self { status, code, text: text.into(), suggestion: None, retry_after: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn suggest(mut self, what: impl Into<String>) -> Self {
        self.suggestion = Some(what.into());
        self
    }

    /// The request is malformed.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "KE-010000400", text)
    }

    /// What was named is not there.
    pub fn not_found(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, text)
    }

    /// The state does not allow it.
    pub fn conflict(code: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, text)
    }

    /// The metastore did not answer.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "KE-010000503", text)
                .suggest("the metastore does not answer: try again with the same idempotency key")
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_outage() {
            return Self::unavailable(error.to_string());
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "KE-060100201", error.to_string())
    }
}

impl From<kirin_olap::Error> for ApiError {
    fn from(error: kirin_olap::Error) -> Self {
        // Kylin's clients expect 500 for a query that fails.
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "KE-010000500", error.to_string())
    }
}

impl From<crate::verification::Error> for ApiError {
    fn from(error: crate::verification::Error) -> Self {
        use crate::verification::Error;
        match error {
            Error::Store(error) => error.into(),
            Error::Olap(error) => error.into(),
            Error::Manifest(..) => Self::conflict("KE-010022201", error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "code": "999",
            "data": null,
            "msg": format!("{}: {}", self.code, self.text),
            "exception": self.text,
            "stacktrace": null,
            "suggestion": self.suggestion,
            "error_code": self.code,
        });
        let mut response = (self.status, axum::Json(body.clone())).into_response();
        response.extensions_mut().insert(ErrorBody(body));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Kylin\""));
        }
        response
    }
}

#[derive(Clone)]
struct ErrorBody(serde_json::Value);

/// Adds the URL to an error, as Kylin does: the handlers don't know it.
async fn name_the_url(request: Request, next: Next) -> Response {
    let url = request.uri().to_string();
    let mut response = next.run(request).await;
    if let Some(ErrorBody(mut body)) = response.extensions_mut().remove() {
        body["url"] = url.into();
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, axum::body::Body::from(body.to_string()));
    }
    response
}

/// A JSON body whose errors come in Kylin's envelope. An absent body is an empty object.
pub struct Body<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> std::result::Result<Self, ApiError> {
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(|e| ApiError::bad(e.body_text()))?;
        let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes };
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|e| ApiError::bad(format!("the body is not what is expected: {e}")))
    }
}

/// Query parameters whose errors come in Kylin's envelope.
pub struct Params<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> std::result::Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|e| ApiError::bad(e.body_text()))
    }
}

/// What all lists take.
#[derive(Debug, serde::Deserialize)]
pub struct Paging {
    /// The number of the page, from 0.
    #[serde(default, alias = "pageOffset", deserialize_with = "number")]
    pub page_offset: u64,
    /// Rows a page.
    #[serde(default = "ten", alias = "pageSize", alias = "limit", deserialize_with = "number")]
    pub page_size: u64,
}

/// A flattened struct of a query string is handed its numbers as text.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    let text: std::borrow::Cow<'de, str> = serde::Deserialize::deserialize(deserializer)?;
    text.parse().map_err(|_| serde::de::Error::custom(format!("'{text}' is no number")))
}

const fn ten() -> u64 {
    10
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The project of a request: it has to be there.
async fn project(context: &Context, name: &str) -> std::result::Result<crate::metastore::ProjectInfo, ApiError> {
    context.store.project(name).await?.ok_or_else(|| {
        ApiError::not_found("KE-010001201", format!("there is no project '{name}'"))
            .suggest("see `kirin project list`, or make it with `kirin project create`")
    })
}

type Shared = State<Context>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_the_metastore_is_away_is_told_to_come_back() {
        let response = ApiError::from(StoreError::Late(std::time::Duration::from_secs(5))).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
