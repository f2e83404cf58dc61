//! Login: HTTP Basic, on every node alike, without a session.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use kirin_service::principal::{ADMIN_HASH, Principal, Rights};
use kirin_wire::{ADMIN, Authentication, Authority, Code, UserDetails};

use super::{ApiError, Data, Result, Shared};
use kirin_config::Secret;

/// The principal of a request that has passed [`require`].
pub(super) struct Who(pub(super) Principal);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, ApiError> {
        let principal = parts.extensions.get::<Principal>().cloned();
        principal.map(Self).ok_or_else(|| denied("a login is needed: send HTTP Basic authentication"))
    }
}

/// Lets requests with a login through, and adds the principal to them.
pub(super) async fn require(
    State(context): Shared,
    mut request: Request,
    next: Next,
) -> std::result::Result<Response, ApiError> {
    let (user, password) = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(basic)
        .ok_or_else(|| denied("a login is needed: send HTTP Basic authentication"))?;
    let known = user.eq_ignore_ascii_case(ADMIN);
    let phc = if known { context.store.setting(ADMIN_HASH).await? } else { None };
    let is_right = match &phc {
        Some(phc) if context.verified.remembers(ADMIN, &password, phc, kirin_shell::clock::instant()) => true,
        _ => {
            let turn = context.verified.turn(ADMIN, &password, phc.as_deref().unwrap_or_default());
            let _turn = turn.lock().await;
            // Argon2 takes its time on purpose: not on the threads that serve others.
            tokio::task::spawn_blocking(move || {
                context.verified.check(ADMIN, &password, phc.as_deref(), kirin_shell::clock::instant())
            })
            .await
            .map_err(ApiError::internal)?
            .map_err(ApiError::internal)?
        }
    };
    if !is_right {
        return Err(denied("user name or password is wrong"));
    }
    request.extensions_mut().insert(Principal::admin());
    Ok(next.run(request).await)
}

fn denied(text: &str) -> ApiError {
    ApiError::new(Code::NotAuthenticated, text)
        .suggest("the password of ADMIN was printed at the cluster's first start")
}

fn basic(value: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(decode64(encoded.trim())?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), Secret::new(password)))
}

fn decode64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// `GET|POST /user/authentication`: the user that is logged in.
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
