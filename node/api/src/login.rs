//! Login by HTTP Basic authentication, without sessions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use axum_extra::headers::HeaderMapExt as _;
use axum_extra::headers::authorization::{Authorization, Basic};
use kirin_service::principal::{ADMIN_HASH, Principal, Rights};
use kirin_wire::{ADMIN, Authentication, Authority, Code, LOCAL_HEADER, UserDetails};
use sha2::{Digest as _, Sha256};

use super::{ApiError, Context, Data, Result, Shared, header_text};
use crate::http::Peer;
use kirin_config::Secret;
use kirin_shell::clock::instant;

/// The principal of an authenticated request.
pub(super) struct Who(pub(super) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, ApiError> {
        let principal = parts.extensions.get::<Principal>().cloned();
        principal.map(Self).ok_or_else(|| denied("login required: send HTTP Basic authentication"))
    }
}

/// Authenticates requests and adds the principal.
pub(super) async fn require(
    State(context): Shared,
    mut request: Request,
    next: Next,
) -> std::result::Result<Response, ApiError> {
    let Authorization(basic) = request
        .headers()
        .typed_get::<Authorization<Basic>>()
        .ok_or_else(|| denied("login required: send HTTP Basic authentication"))?;
    let (user, password) = (basic.username().to_owned(), Secret::new(basic.password()));
    let known = user.eq_ignore_ascii_case(ADMIN);
    let from = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address);
    // Checked before a request to the metastore.
    if !(known && context.verified.knows(ADMIN, &password, instant())) {
        context.gate.look(from, &user, instant()).map_err(too_many)?;
    }
    let phc = if known { context.store.setting(ADMIN_HASH).await? } else { None };
    if let Some(phc) = &phc {
        context.verified.note(phc);
    }
    let is_right = match &phc {
        Some(phc) if context.verified.remembers(ADMIN, &password, phc, instant()) => true,
        _ => verify(&context, from, &user, password, phc).await?,
    };
    if !is_right {
        return Err(denied("wrong user name or password"));
    }
    let who = if is_local(&context, request.headers()) { Principal::admin().on_machine() } else { Principal::admin() };
    request.extensions_mut().insert(who);
    Ok(next.run(request).await)
}

/// Whether the request comes from a command of the node's own user on the node's machine.
fn is_local(context: &Context, headers: &HeaderMap) -> bool {
    let digest = |text: &str| -> [u8; 32] { Sha256::digest(text).into() };
    // Digests are compared, so that the duration reveals nothing about the secret.
    match (&context.local, header_text(headers, LOCAL_HEADER)) {
        (Some(secret), Some(sent)) => digest(secret.reveal()) == digest(sent),
        _ => false,
    }
}

/// Verifies a password that is not cached, with limited concurrency.
async fn verify(
    context: &Context,
    from: IpAddr,
    user: &str,
    password: Secret,
    phc: Option<String>,
) -> std::result::Result<bool, ApiError> {
    let turn = context.verified.turn(ADMIN, &password, phc.as_deref().unwrap_or_default());
    let _turn = turn.lock().await;
    // An earlier request may have verified it.
    if phc.as_ref().is_some_and(|phc| context.verified.remembers(ADMIN, &password, phc, instant())) {
        return Ok(true);
    }
    context.gate.take(from, user, instant()).map_err(too_many)?;
    let place = context.gate.place().await.ok_or_else(|| too_many(Duration::from_secs(1)))?;
    // Argon2 is slow on purpose, so it runs on a blocking thread. The slot is held to its end, even if the client
    // disconnects.
    let checking = context.clone();
    let check = move || {
        let _place = place;
        checking.verified.check(ADMIN, &password, phc.as_deref(), instant())
    };
    let is_right = tokio::task::spawn_blocking(check).await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    if is_right {
        context.gate.give_back(from, user, instant());
    }
    Ok(is_right)
}

fn too_many(wait: Duration) -> ApiError {
    let secs = wait.as_secs_f64().ceil().max(1.0);
    ApiError::new(Code::TooManyLogins, "too many logins with a wrong password from this address")
        .retry_after(wait)
        .suggest(format!("check the password; try again in {secs} s"))
}

fn denied(text: &str) -> ApiError {
    ApiError::new(Code::NotAuthenticated, text)
        .suggest("the password of ADMIN was printed at the cluster's first start")
}

/// `GET|POST /user/authentication`: the logged-in user.
pub(super) async fn authentication(Who(who): Who) -> Result<Authentication> {
    let username = who.name().to_owned();
    let role = Authority::of(match who.rights() {
        Rights::Admin => "ROLE_ADMIN",
    });
    let user_details = UserDetails { username: username.clone(), authorities: vec![role.clone()] };
    let authorities = vec![role, Authority::of("ALL_USERS")];
    let (disabled, locked, default_password) = (false, false, false);
    Ok(Data(Authentication { username, authorities, disabled, locked, default_password, user_details }))
}
