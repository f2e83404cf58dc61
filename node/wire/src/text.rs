//! Values that clients write in several formats.

use std::fmt;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A list in a query string: repeated (`a=1&a=2`), separated by commas (`a=1,2`), or both. Empty items are skipped.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let given = Vec::<String>::deserialize(deserializer)?;
    let items = given.iter().flat_map(|text| text.split(',')).map(str::trim);
    Ok(items.filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// A boolean in a query string, ignoring case, because Python's clients write `True`. Empty means absent.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        "" => Ok(None),
        text if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
        text if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
        text => Err(Error::custom(format!("'{text}' is not true or false"))),
    }
}

/// A number in a query string. Empty means absent.
pub(crate) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Error::custom(format!("'{text}' is not a non-negative integer"))),
    }
}

/// A time in milliseconds since 1970, sent as text as by Kylin's clients. A JSON number is accepted too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(Ms)
            .and_then(|moment| moment.map(Moment).ok_or_else(|| D::Error::invalid_value(Unexpected::Str(""), &Ms)))
    }
}

/// An optional time. `null` and an empty text mean absent.
pub(crate) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Moment>, D::Error> {
    Ok(deserializer.deserialize_any(Ms)?.map(Moment))
}

struct Ms;

impl<'de> Visitor<'de> for Ms {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970")
    }

    fn visit_i64<E: Error>(self, ms: i64) -> Result<Self::Value, E> {
        Ok(Some(ms))
    }

    fn visit_u64<E: Error>(self, ms: u64) -> Result<Self::Value, E> {
        i64::try_from(ms).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(ms), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::invalid_type(Unexpected::Seq, &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DropSegments, JobsQuery, OfProject};

    fn read<T: serde::de::DeserializeOwned>(query: &str) -> Result<T, String> {
        serde_html_form::from_str(query).map_err(|e| e.to_string())
    }

    #[test]
    fn lists_are_repeated_or_separated_by_commas() {
        for query in ["statuses=A&statuses=B,C", "statuses=A,B,C", "statuses=A, B,&statuses=C"] {
            assert_eq!(read::<JobsQuery>(query).unwrap().statuses, ["A", "B", "C"], "{query}");
        }
        let drop: DropSegments = read("ids=s1&ids=s2&purge=False").unwrap();
        assert_eq!((drop.ids.len(), drop.names.len(), drop.purge), (2, 0, Some(false)));
    }

    #[test]
    fn booleans_are_parsed_ignoring_case() {
        for (query, value) in
            [("reverse=True", Some(true)), ("reverse=FALSE", Some(false)), ("reverse=", None), ("", None)]
        {
            assert_eq!(read::<JobsQuery>(query).unwrap().reverse, value, "{query}");
        }
        assert!(read::<JobsQuery>("reverse=perhaps").unwrap_err().contains("'perhaps' is not true or false"));
    }

    #[test]
    fn unknown_parameters_are_ignored_and_kylins_spellings_are_accepted() {
        let list: OfProject = read("projectName=p&pageSize=3&page_offset=2&exact=true").unwrap();
        assert_eq!((list.project.as_str(), list.page_offset, list.page_size), ("p", Some(2), Some(3)));
        assert_eq!(read::<OfProject>("").unwrap().project, "default");
        assert!(read::<OfProject>("page_size=-1").unwrap_err().contains("'-1' is not a non-negative integer"));
    }

    #[test]
    fn an_encoded_query_string_decodes_to_itself() {
        let query = JobsQuery { statuses: vec!["A".into(), "B".into()], reverse: Some(true), ..JobsQuery::default() };
        assert_eq!(read::<JobsQuery>(&serde_html_form::to_string(&query).unwrap()), Ok(query));
    }

    #[test]
    fn a_time_is_text_or_a_number() {
        for (json, ms) in [(r#""1356998400000""#, 1_356_998_400_000), ("17", 17), (r#""-5""#, -5)] {
            assert_eq!(serde_json::from_str::<Moment>(json).unwrap(), Moment(ms), "{json}");
        }
        for json in [r#""soon""#, r#""""#, "null", "1.5", "[]", "18446744073709551615"] {
            assert!(serde_json::from_str::<Moment>(json).is_err(), "{json}");
        }
        assert_eq!(serde_json::to_string(&Moment(7)).unwrap(), r#""7""#);
    }
}
