//! Request bodies and query strings, with errors in Kylin's envelope.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use kirin_wire::{Code, Page, Paging};
use serde::de::DeserializeOwned;

use super::ApiError;
use super::http::Peer;

/// A JSON body. An absent body is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        read(&bytes(request, state).await?).map(Self)
    }
}

/// Reads the whole body.
pub(super) async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, ApiError> {
    let within = request.extensions().get::<Peer>().map_or(Duration::MAX, |peer| peer.body_within);
    let Ok(read) = tokio::time::timeout(within, Bytes::from_request(request, state)).await else {
        let text = format!("the body did not arrive within {within:?} (kirin.server.body-timeout)");
        return Err(ApiError::new(Code::TooSlow, text));
    };
    read.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            return ApiError::new(Code::TooLarge, format!("the body is larger than {} bytes", super::BODY_MAX));
        }
        ApiError::bad(rejection.body_text())
    })
}

/// Decodes a body.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let bytes = if bytes.is_empty() { &b"{}"[..] } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let text = unknown_field(&text).unwrap_or_else(|| format!("cannot read the body: {text}"));
        ApiError::bad(text)
    })
}

/// The parameters of a query string.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, _: &S) -> Result<Self, ApiError> {
        serde_html_form::from_str(parts.uri.query().unwrap_or_default())
            .map(Self)
            .map_err(|error| ApiError::bad(format!("cannot read the query string: {error}")))
    }
}

/// The number of the page and its size; `default` rows if absent.
pub(super) fn page(paging: Paging, default: u64) -> Result<(u64, u64), ApiError> {
    match paging.page_size.unwrap_or(default) {
        0 => Err(ApiError::bad("page_size is 0; it must be at least 1")),
        size => Ok((paging.page_offset.unwrap_or(0), size)),
    }
}

/// A page of a complete list.
pub(super) fn cut<T>(all: Vec<T>, paging: Paging, default: u64) -> Result<Page<T>, ApiError> {
    page(paging, default).map(|(offset, size)| Page::cut(all, offset, size))
}

/// Rewrites serde's message about an unknown field to suggest the most similar field.
fn unknown_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    // Names are in backticks, so every second piece is a name.
    let known: Vec<_> = rest.split('`').skip(1).step_by(2).collect();
    let text = format!("unknown field '{field}'");
    Some(match nearest(field, &known) {
        Some(meant) => format!("{text}; did you mean '{meant}'?"),
        None if known.is_empty() => format!("{text}; no fields are expected"),
        None => format!("{text}; known fields: {}", known.join(", ")),
    })
}

/// The name that differs from `field` by few letters, or only by case and separators.
fn nearest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let wanted = plain(field);
    let score = |name: &&str| strsim::normalized_damerau_levenshtein(&wanted, &plain(name));
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(&best) >= 0.6).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kirin_wire::{BuildRequest, Drain, ModelDefinition, NewProject, NewTable, QueryRequest};

    fn refused<T: DeserializeOwned>(body: &str) -> String {
        read::<T>(body.as_bytes()).err().unwrap_or_else(|| panic!("{body} is accepted")).text
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_most_similar_name() {
        let query = |field| refused::<QueryRequest>(&format!(r#"{{"sql":"s","{field}":true}}"#));
        assert_eq!(query("pushdown"), "unknown field 'pushdown'; did you mean 'push_down'?");
        assert_eq!(
            query("forced_to_push_down"),
            "unknown field 'forced_to_push_down'; did you mean 'forcedToPushDown'?"
        );
        let far = refused::<NewProject>(r#"{"name":"p","zzz":1}"#);
        assert_eq!(far, "unknown field 'zzz'; known fields: name, description, override_kylin_properties");
        let build = refused::<BuildRequest>(r#"{"idempotencyKey":"k"}"#);
        assert_eq!(build, "unknown field 'idempotencyKey'; did you mean 'idempotency_key'?");
        assert_eq!(refused::<Drain>(r#"{"leaves":true}"#), "unknown field 'leaves'; did you mean 'leave'?");
    }

    #[test]
    fn an_unknown_field_is_found_at_every_depth() {
        let table = refused::<NewTable>(r#"{"name":"t","source":{"format":"csv","locaton":"/d"}}"#);
        assert_eq!(table, "unknown field 'locaton'; did you mean 'location'?");
        let model = r#"{"name":"m","fact":"t","dimensions":[{"name":"d","colum":"t.d"}]}"#;
        assert_eq!(refused::<ModelDefinition>(model), "unknown field 'colum'; did you mean 'column'?");
    }

    #[test]
    fn a_page_has_the_requested_size_which_must_be_positive() {
        let paging = |page_offset, page_size| Paging { page_offset, page_size };
        let seven: Vec<_> = (0..7).collect();
        assert_eq!(cut(seven.clone(), paging(Some(1), Some(3)), 100).unwrap().value, [3, 4, 5]);
        assert_eq!(cut(seven.clone(), paging(None, None), 100).unwrap().value, seven);
        assert_eq!(cut(seven, paging(None, Some(0)), 100).unwrap_err().code, Code::BadRequest);
    }
}
