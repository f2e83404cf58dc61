//! Kylin's envelope of every answer, and pages of lists.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Code;
use crate::answer::or_default;

/// The envelope of a successful answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Success<T> {
    /// Always `000`.
    pub code: &'static str,
    /// The answer.
    pub data: T,
    /// Always empty.
    pub msg: &'static str,
}

impl<T> Success<T> {
    /// An envelope with `data`.
    pub const fn new(data: T) -> Self {
        Self { code: "000", data, msg: "" }
    }
}

/// The envelope of an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Always `999`.
    pub code: &'static str,
    /// Always `null`.
    pub data: (),
    /// The error's code and text.
    pub msg: String,
    /// The error's text.
    pub exception: String,
    /// Always `null`. Stack traces are only in the node's log.
    pub stacktrace: (),
    /// What to do.
    pub suggestion: Option<String>,
    /// The error's code.
    pub error_code: Code,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Problem {
    /// An error.
    pub fn new(code: Code, text: impl Into<String>, suggestion: Option<String>) -> Self {
        let exception = text.into();
        let msg = format!("{code}: {exception}");
        Self { code: "999", data: (), msg, exception, stacktrace: (), suggestion, error_code: code, url: None }
    }
}

/// An envelope as decoded by a client: an answer or an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Envelope<T> {
    /// `000`, or another value for an error.
    #[serde(default, deserialize_with = "or_default")]
    pub code: String,
    /// The answer.
    #[serde(default = "Option::default")]
    pub data: Option<T>,
    /// The error's code and text.
    #[serde(default, deserialize_with = "or_default")]
    pub msg: String,
    /// The error's text.
    #[serde(default, deserialize_with = "or_default")]
    pub exception: String,
    /// The error's code as text, because a newer node may send unknown codes.
    #[serde(default, deserialize_with = "or_default")]
    pub error_code: String,
    /// What to do.
    #[serde(default, deserialize_with = "or_default")]
    pub suggestion: String,
}

/// The data of an answer without content: an empty text, as in Kylin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done;

impl Serialize for Done {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

impl<'de> Deserialize<'de> for Done {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A page of a list, in the form of Kylin's public API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "T: DeserializeOwned"))]
pub struct Page<T> {
    /// The rows of this page.
    #[serde(default = "Vec::new")]
    pub value: Vec<T>,
    /// The number of the page, from 0.
    #[serde(default)]
    pub offset: u64,
    /// Rows per page.
    #[serde(default)]
    pub limit: u64,
    /// Rows on all pages.
    #[serde(default)]
    pub total_size: u64,
}

impl<T> Page<T> {
    /// Returns page number `offset`, with `limit` rows, of a complete list.
    pub fn cut(all: Vec<T>, offset: u64, limit: u64) -> Self {
        let total_size = all.len() as u64;
        let skip = usize::try_from(offset.saturating_mul(limit)).unwrap_or(usize::MAX);
        let take = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { value: all.into_iter().skip(skip).take(take).collect(), offset, limit, total_size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_have_kylins_form() {
        let good = serde_json::to_string(&Success::new(Done)).unwrap();
        assert_eq!(good, r#"{"code":"000","data":"","msg":""}"#);
        let bad = serde_json::to_string(&Problem::new(Code::NoJob, "no job", None)).unwrap();
        let expected = concat!(
            r#"{"code":"999","data":null,"msg":"KE-010032219: no job","exception":"no job","stacktrace":null,"#,
            r#""suggestion":null,"error_code":"KE-010032219"}"#
        );
        assert_eq!(bad, expected);
        let read: Envelope<Done> = serde_json::from_str(&bad).unwrap();
        assert_eq!((read.code.as_str(), read.data, read.suggestion.as_str()), ("999", None, ""));
        assert_eq!(Code::parse(&read.error_code), Some(Code::NoJob));
    }

    #[test]
    fn a_page_is_selected_by_number_and_size() {
        let page = Page::cut((0..7).collect(), 2, 3);
        assert_eq!(page, Page { value: vec![6], offset: 2, limit: 3, total_size: 7 });
        assert!(Page::cut(vec![1], u64::MAX, u64::MAX).value.is_empty());
    }
}
