//! The HTTP API: JSON in Kylin's envelope and with its field names, on every node alike.
//!
//! Requests, answers and error codes are the types of [`kirin_wire`]; what they ask for is done by [`kirin_service`]. A handler
//! reads a request, calls one use case and writes the answer. Everything but `/health` needs a login. What is submitted is answered after its commit; what could not be asked of the
//! metastore is a 503 with `Retry-After`.
//!
//! Not here: anything that only nodes say to one another ([`kirin_shell::link`]).

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use kirin_config::Secret;
use kirin_metastore::Store;
use kirin_service::Service;
use kirin_wire::{Code, Problem, Success};
use serde::Serialize;

use crate::auth::gate::Gate;
use crate::auth::verified::Verified;

pub mod auth;
mod body;
mod cluster;
mod door;
mod error;
pub mod http;
mod jobs;
mod login;
mod models;
mod projects;
mod queries;
mod routes;
mod segments;
mod tables;

use body::{Body, Params, cut, page};
pub use error::ApiError;
pub use kirin_service::principal::ADMIN_HASH;
use login::Who;
pub use routes::endpoints;

/// Larger bodies are refused.
const BODY_MAX: usize = 8 << 20;

/// What handlers need.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a node that the API uses.
pub struct Parts {
    /// The use cases.
    pub service: Service,
    /// The secret that commands on this machine send along ([`kirin_wire::LOCAL_HEADER`]).
    pub local: Option<Secret>,
    /// Passwords that were verified not long ago.
    pub verified: Verified,
    /// Limits on the verification of passwords.
    pub gate: Gate,
    /// The metastore, which keeps the passwords.
    pub store: Store,
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

/// The idempotency key of a request: from the body, or else from the header.
fn idempotency_key(body: Option<String>, headers: &HeaderMap) -> Option<String> {
    body.or_else(|| header_text(headers, "idempotency-key").map(str::to_owned))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

type Shared = State<Context>;
