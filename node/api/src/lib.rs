//! The HTTP API: JSON in Kylin's envelope and with its field names, on every node alike.
//!
//! Requests, answers and error codes are the types of [`kirin_wire`]; this module builds them and nothing else.
//! Everything but `/health` needs a login. What is submitted is answered after its commit; what could not be asked of the
//! metastore is a 503 with `Retry-After`.
//!
//! Not here: anything that only nodes say to one another ([`kirin_shell::link`]).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use kirin_metastore::{Store, StoreError};
use kirin_wire::{Code, LOCAL_HEADER, Problem, Success};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::auth::gate::Gate;
use crate::auth::verified::Verified;
use kirin_config::{Config, Secret};
use kirin_executor::Attempts;
use kirin_service::catalog::Catalogs;
use kirin_service::directory::Directory;
use kirin_shell::CoreHandle;
use kirin_shell::Links;

pub mod auth;
mod body;
mod catalog;
mod cluster;
mod door;
pub mod http;
mod jobs;
mod login;
mod query;
mod ready;
mod routes;

use body::{Body, Params, cut, page};
pub use login::ADMIN_HASH;
pub use ready::Ready;
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
    pub mind: CoreHandle,
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
    /// What commands of this machine send along ([`kirin_wire::LOCAL_HEADER`]).
    pub local: Option<Secret>,
    /// Passwords that were verified not long ago.
    pub verified: Verified,
    /// How many passwords are verified.
    pub gate: Gate,
    /// Whether the metastore answers.
    pub ready: Ready,
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
    use kirin_wire as wire;
    [
        reads::<wire::NewProject>,
        reads::<wire::ProjectConfig>,
        reads::<wire::NewTable>,
        reads::<wire::ModelDefinition>,
        reads::<wire::BuildRequest>,
        reads::<wire::RefreshRequest>,
        reads::<wire::VerifyRequest>,
        reads::<wire::Submit>,
        reads::<wire::JobAction>,
        reads::<wire::QueryRequest>,
        reads::<wire::Drain>,
        reads::<wire::Slots>,
        reads::<wire::ClaimRequest>,
    ]
    .into_iter()
    .filter(|reads| reads(body))
    .count()
}

/// All routes.
pub fn router(parts: Parts) -> Router {
    let context = Context(Arc::new(parts));
    let (for_all, with_login) = routes::routers();
    let unknown = async || ApiError::new(Code::NoEndpoint, "there is no such endpoint");
    let other_method = async || ApiError::new(Code::NoMethod, "the endpoint has no such method");
    let with_login = with_login
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        // Inside the login: a stranger's body is not read.
        .layer(middleware::from_fn(door::look))
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
        axum::Json(Success::new(self.0)).into_response()
    }
}

/// What went wrong, for a person and for a client. The code tells the HTTP status.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    text: String,
    suggestion: Option<String>,
    retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with its code and a text.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), suggestion: None, retry_after: None }
    }

    /// Says what to do.
    #[must_use]
    pub fn suggest(mut self, what: impl Into<String>) -> Self {
        self.suggestion = Some(what.into());
        self
    }

    /// Says after what time to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The request is malformed.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, text)
    }

    /// The project does not exist.
    pub fn no_project(name: &str) -> Self {
        Self::new(Code::NoProject, format!("there is no project '{name}'"))
            .suggest("see `kirin project list`, or make it with `kirin project create`")
    }

    /// The metastore did not answer.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, text)
            .suggest("the metastore does not answer: try again with the same idempotency key")
    }

    /// The node failed in a way that the client can't do anything about.
    fn internal(error: impl std::fmt::Display) -> Self {
        Self::new(Code::Internal, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        if error.is_outage() {
            return Self::unavailable(error.to_string());
        }
        match error {
            StoreError::TooLarge { .. } => Self::new(Code::TooLarge, error.to_string()),
            StoreError::Refused(_) => Self::bad(error.to_string()),
            error => Self::internal(error),
        }
    }
}

impl From<kirin_olap::Error> for ApiError {
    fn from(error: kirin_olap::Error) -> Self {
        let failed = Self::new(Code::QueryFailed, error.to_string());
        match error {
            kirin_olap::Error::NoRealization { .. } => failed.suggest(
                "build an index that covers the query, or read the raw tables: `kirin sql --push-down`, \
                 \"forcedToPushDown\": true in the request, or kylin.query.pushdown-enabled=true",
            ),
            _ => failed,
        }
    }
}

impl From<kirin_service::catalog::Error> for ApiError {
    fn from(error: kirin_service::catalog::Error) -> Self {
        use kirin_service::catalog::Error;
        match error {
            Error::NoProject(name) => Self::no_project(&name),
            Error::Store(error) => error.into(),
            Error::Olap(error) => error.into(),
        }
    }
}

impl From<kirin_service::verification::Error> for ApiError {
    fn from(error: kirin_service::verification::Error) -> Self {
        use kirin_service::verification::Error;
        match error {
            Error::Store(error) => error.into(),
            Error::Olap(error) => error.into(),
            Error::Manifest(..) => Self::new(Code::DamagedSegment, error.to_string()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem::new(self.code, self.text, self.suggestion);
        let mut response = (status, axum::Json(&problem)).into_response();
        let wait = self.retry_after.or((self.code == Code::Unavailable).then_some(Duration::from_secs(1)));
        if let Some(wait) = wait {
            // Whole seconds, rounded up.
            let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs.max(1)));
        }
        if self.code == Code::NotAuthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Kylin\""));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// Adds the path to an error, as Kylin does: the handlers don't know it. Query strings may hold secrets and are left out.
async fn name_the_url(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.url = Some(path);
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, axum::body::Body::from(serde_json::to_vec(&problem).unwrap_or_default()));
    }
    response
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether a command sent it that the node's own user runs on the node's own machine.
fn is_local(context: &Context, headers: &HeaderMap) -> bool {
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    // Digests: the time that comparing takes tells nothing.
    match (&context.local, header_text(headers, LOCAL_HEADER)) {
        (Some(proof), Some(sent)) => digest(proof.reveal()) == digest(sent),
        _ => false,
    }
}

/// The project of a request: it has to be there.
async fn project(context: &Context, name: &str) -> std::result::Result<kirin_metastore::ProjectInfo, ApiError> {
    context.store.project(name).await?.ok_or_else(|| ApiError::no_project(name))
}

type Shared = State<Context>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_status_of_its_code_and_while_the_metastore_is_away_a_time_to_retry_after() {
        let response = ApiError::from(StoreError::Late(std::time::Duration::from_secs(5))).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let response = ApiError::no_project("p").into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(!response.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn the_push_down_hint_names_what_exists() {
        let error = ApiError::from(kirin_olap::Error::NoRealization { reasons: Vec::new() });
        let body = r#"{"sql":"s","forcedToPushDown":true}"#;
        assert!(
            body::read::<kirin_wire::QueryRequest>(body.as_bytes()).is_ok_and(|q| q.forced_to_push_down == Some(true))
        );
        assert!(error.suggestion.is_some_and(|text| text.contains("\"forcedToPushDown\": true")));
        assert!(!error.text.contains("\"push_down\""), "{}", error.text);
        let key = kirin_config::keys::standing("kylin.query.pushdown-enabled");
        assert!(!matches!(key, kirin_config::keys::Standing::Unknown(_)));
    }
}
