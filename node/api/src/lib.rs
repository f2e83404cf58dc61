//! The HTTP API: JSON in Kylin's envelope with Kylin's field names, equal on every node.
//!
//! Requests, answers and error codes are the types of [`kirin_wire`]. [`kirin_service`] executes them. A handler parses
//! a request, calls one use case and formats the answer. Every endpoint except `/health` requires a login. A submit is
//! answered after its commit. If the metastore is unavailable, the answer is 503 with `Retry-After`.
//!
//! Messages between nodes are not part of this crate (see [`kirin_shell::link`]).

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

/// The maximum size of a body in bytes.
const BODY_MAX: usize = 8 << 20;

/// The context of handlers.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// The parts of a node that the API uses.
pub struct Parts {
    /// The use cases.
    pub service: Service,
    /// The token that commands on this machine send ([`kirin_wire::LOCAL_HEADER`]).
    pub local: Option<Secret>,
    /// The cache of verified credentials.
    pub verified: Verified,
    /// Limits on the verification of passwords.
    pub gate: Gate,
    /// The metastore, which contains the password hashes.
    pub store: Store,
}

impl std::ops::Deref for Context {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Decodes a body as every request with a body. Returns the number of successes. For fuzzing.
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
    let unknown = async || ApiError::new(Code::NoEndpoint, "no such endpoint");
    let other_method = async || ApiError::new(Code::NoMethod, "the endpoint does not support this method");
    let with_login = with_login
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        // After the login, so that the body of an unauthenticated request is not read.
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

/// The `data` of a successful answer.
#[derive(Debug)]
pub struct Data<T>(pub T);

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        axum::Json(Success::new(self.0)).into_response()
    }
}

/// Adds the path to an error, as Kylin does. Query strings may contain secrets and are omitted.
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

/// The idempotency key of a request, from the body, else from the header.
fn idempotency_key(body: Option<String>, headers: &HeaderMap) -> Option<String> {
    body.or_else(|| header_text(headers, "idempotency-key").map(str::to_owned))
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

type Shared = State<Context>;
