//! Checks that apply to every field of every endpoint: NUL characters, halves of surrogate pairs, text that is not
//! UTF-8, and bodies that are too large are refused.
//!
//! Metastores differ in the texts that they store. PostgreSQL refuses NUL in any text, which costs a transaction first.
//! So requests are checked before any handler parses them. Ranges of numbers are not checked here, because they are
//! part of the types that handlers use.

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use super::{ApiError, body};

/// Refuses invalid requests with 400 or 413.
pub(super) async fn look(request: Request, next: Next) -> Response {
    match looked_at(request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn looked_at(request: Request) -> Result<Request, ApiError> {
    let (parts, body) = request.into_parts();
    let uri = &parts.uri;
    for (place, text) in [("path", uri.path()), ("query string", uri.query().unwrap_or_default())] {
        look_at_uri(text).map_err(|what| ApiError::bad(format!("the {place} contains {what}")))?;
    }
    let bytes = body::bytes(Request::from_parts(parts.clone(), body), &()).await?;
    look_at_json(&bytes).map_err(|(at, what)| ApiError::bad(format!("the body contains {what} at byte {at}")))?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

fn look_at_uri(text: &str) -> Result<(), &'static str> {
    match percent_decode_str(text).decode_utf8() {
        Err(_) => Err("a percent-encoded part that is not UTF-8"),
        Ok(text) if text.contains('\0') => Err("a NUL character (%00)"),
        Ok(_) => Ok(()),
    }
}

/// Checks the escapes of a JSON text. The JSON parser refuses an unescaped NUL.
fn look_at_json(bytes: &[u8]) -> Result<(), (usize, &'static str)> {
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\' || byte == 0)) {
        at += found;
        if bytes[at] == 0 {
            return Err((at, "a NUL character"));
        }
        match unit(bytes, at) {
            Some(0) => return Err((at, "a NUL character (\\u0000)")),
            Some(0xd800..=0xdbff) => {
                if !matches!(unit(bytes, at + 6), Some(0xdc00..=0xdfff)) {
                    return Err((at, "half of a surrogate pair"));
                }
                at += 12;
            }
            Some(0xdc00..=0xdfff) => return Err((at, "half of a surrogate pair")),
            Some(_) => at += 6,
            // Another escape, such as a backslash.
            None => at += 2,
        }
    }
    Ok(())
}

/// The escaped UTF-16 unit at this position.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |value, &byte| {
        let digit = u16::try_from(char::from(byte).to_digit(16)?).ok()?;
        Some(value << 4 | digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_and_halves_of_surrogate_pairs_are_found_at_every_position() {
        let what = |text: &str| look_at_json(text.as_bytes()).err();
        assert_eq!(what(r#"{"subject":"a\u0000b"}"#), Some((13, "a NUL character (\\u0000)")));
        assert_eq!(what(r#"{"a\u0000":1}"#), Some((3, "a NUL character (\\u0000)")));
        assert_eq!(what(r#"{"a":[{"b":"\\\u0000"}]}"#), Some((14, "a NUL character (\\u0000)")));
        assert_eq!(what("{\"a\":\"\0\"}"), Some((6, "a NUL character")));
        for half in [r#""\ud800""#, r#""\uD800x""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\uDBFF\n""#, r#""\ud83d"#] {
            assert_eq!(what(half), Some((1, "half of a surrogate pair")), "{half}");
        }
    }

    #[test]
    fn similar_valid_escapes_are_accepted() {
        for text in
            [r#""\\u0000""#, r#""\ud83d\ude00""#, r#""\u0001\n\"""#, r#""\\\\u0000 \u00001""#, "", "{}", r"\", r"\u00"]
        {
            let expected = text.contains(r"\u00001");
            assert_eq!(look_at_json(text.as_bytes()).is_err(), expected, "{text}");
        }
    }

    #[test]
    fn paths_and_query_strings_are_checked() {
        assert_eq!(look_at_uri("key=%00"), Err("a NUL character (%00)"));
        assert_eq!(look_at_uri("subject=a%00"), Err("a NUL character (%00)"));
        assert_eq!(look_at_uri("key=%ff"), Err("a percent-encoded part that is not UTF-8"));
        assert_eq!(look_at_uri("key=%25%30%30&b=%C3%A4"), Ok(()));
    }
}
