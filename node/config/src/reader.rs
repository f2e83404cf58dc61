//! Merging of layers of settings, and typed reading that collects all problems.
//!
//! A later layer overrides an earlier one. A later line overrides an earlier one of the same layer and causes a notice.
//! Aliases are resolved first. A value that cannot be parsed adds a [`Problem`] and is replaced by the default, so that
//! one pass finds all problems.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use super::keys::{self, KEYS, Key, Standing};
use super::kind::{Memory, Value};
use super::problem::{Notice, Notices, Problem};
use super::properties::Entry;
use super::substitute::Substitutes;

/// All given values by canonical key.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) entries: BTreeMap<String, Entry>,
    repeated: Vec<Notice>,
}

impl Layers {
    /// Adds a layer on top.
    pub(super) fn add(&mut self, layer: Vec<Entry>) {
        for entry in layer {
            let name = keys::find(&entry.key).map_or(entry.key.as_str(), |key| key.name).to_owned();
            let origin = entry.origin.clone();
            if let Some(hidden) = self.entries.insert(name, entry)
                && hidden.origin.same_source(&origin)
            {
                let about = format!("the last one applies: {origin}");
                self.repeated.push(Notice { key: hidden.key, origin: hidden.origin, about });
            }
        }
    }

    /// Notices about keys without effect.
    pub(super) fn notices(&self) -> Notices {
        let mut notices = Notices { repeated: self.repeated.clone(), ..Notices::default() };
        for entry in self.entries.values() {
            let notice = |about: String| Notice { key: entry.key.clone(), origin: entry.origin.clone(), about };
            match keys::standing(&entry.key) {
                Standing::Obeyed(key) => {
                    let instead = key.not_yet.filter(|(value, _)| value.is_empty() || *value == entry.value.trim());
                    notices.unsupported.extend(instead.map(|(_, instead)| notice(instead.to_owned())));
                }
                Standing::HandedOn(_) => notices.unsupported.push(notice("Spark is not supported yet".to_owned())),
                Standing::KylinOnly(why) => notices.ignored.push(notice(why.to_owned())),
                Standing::Unknown(None) => notices.unknown.push(notice(String::new())),
                Standing::Unknown(Some(meant)) => notices.unknown.push(notice(format!("did you mean {meant}?"))),
            }
        }
        notices
    }
}

/// Reads typed settings and collects problems.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) substitutes: Substitutes<'a>,
    pub(super) problems: Vec<Problem>,
    read: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(substitutes: Substitutes<'a>) -> Self {
        Self { substitutes, problems: Vec::new(), read: BTreeSet::new() }
    }

    /// Declared keys that were not read. Empty after the configuration is built.
    pub(super) fn unread(&self) -> Vec<&'static str> {
        KEYS.iter().map(|key| key.name).filter(|name| !self.read.contains(name)).collect()
    }

    /// The entry of a key; `None` if it is missing or blank.
    pub(super) fn entry(&mut self, name: &str) -> Option<&'a Entry> {
        self.read.insert(declared(name).name);
        self.substitutes.entries.get(name).filter(|entry| !entry.value.trim().is_empty())
    }

    /// Records that the key's value is refused.
    pub(super) fn refuse(&mut self, name: &str, why: impl Into<String>) {
        let key = declared(name);
        let entry = self.substitutes.entries.get(name);
        self.problems.push(Problem {
            origin: entry.map(|e| e.origin.clone()),
            key: entry.map_or(name, |e| &e.key).to_owned(),
            value: entry.filter(|_| !key.secret).map(|e| e.value.clone()),
            why: why.into(),
            allowed: key.kind.to_string(),
        });
    }

    /// The converted value, or the converted default; `None` without either.
    fn value<T>(&mut self, name: &str, convert: impl Fn(Value<'_>) -> Result<T, String>) -> Option<T> {
        let key = declared(name);
        if let Some(entry) = self.entry(name) {
            let expanded = self.substitutes.expand(name, &entry.value);
            match expanded.map_err(|e| e.to_string()) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => match key.kind.parse(&text).and_then(&convert) {
                    Ok(value) => return Some(value),
                    Err(why) => self.refuse(name, why),
                },
                Err(why) => self.refuse(name, why),
            }
        }
        key.default.map(|text| {
            let value = key.kind.parse(text).and_then(&convert);
            value.unwrap_or_else(|why| unreachable!("the default of {name} is refused: {why}"))
        })
    }

    /// A flag. Every flag has a default.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let flag = |value: Value<'_>| match value {
            Value::Flag(flag) => Ok(flag),
            other => unreachable!("{name} is read as a flag but holds {other:?}"),
        };
        self.value(name, flag).unwrap_or_default()
    }

    /// An integer with a default.
    pub(super) fn count<T: TryFrom<u64> + Default>(&mut self, name: &str) -> T {
        self.count_if_given(name).unwrap_or_default()
    }

    /// An integer, if given.
    pub(super) fn count_if_given<T: TryFrom<u64>>(&mut self, name: &str) -> Option<T> {
        self.value(name, |value| match value {
            Value::Count(n) => T::try_from(n).map_err(|_| "too large".to_owned()),
            other => unreachable!("{name} is read as a count but holds {other:?}"),
        })
    }

    /// A duration. Every duration has a default.
    pub(super) fn span(&mut self, name: &str) -> Duration {
        let span = |value: Value<'_>| match value {
            Value::Span(span) => Ok(span),
            other => unreachable!("{name} is read as a span but holds {other:?}"),
        };
        self.value(name, span).unwrap_or_default()
    }

    /// An amount of memory, with a default.
    pub(super) fn memory(&mut self, name: &str) -> Memory {
        let memory = |value: Value<'_>| match value {
            Value::Memory(memory) => Ok(memory),
            other => unreachable!("{name} is read as memory but holds {other:?}"),
        };
        self.value(name, memory).unwrap_or(Memory::Percent(50))
    }

    /// One of the declared words.
    pub(super) fn word(&mut self, name: &str) -> Option<&'static str> {
        self.value(name, |value| match value {
            Value::Word(word) => Ok(word),
            other => unreachable!("{name} is read as a word but holds {other:?}"),
        })
    }

    /// A text, unchanged.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.parsed(name, |text| Ok(text.to_owned()))
    }

    /// A text, parsed by `parse`.
    pub(super) fn parsed<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        self.value(name, |value| match value {
            Value::Text(text) => parse(text),
            other => unreachable!("{name} is read as text but holds {other:?}"),
        })
    }

    /// A comma-separated list, parsed by `FromStr`. Empty parts are skipped.
    pub(super) fn list<T: FromStr<Err = String>>(&mut self, name: &str) -> Vec<T> {
        self.parsed(name, parts).unwrap_or_default()
    }
}

/// The parts of a comma-separated list.
pub(super) fn parts<T: FromStr<Err = String>>(text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(T::from_str).collect()
}

fn declared(name: &str) -> &'static Key {
    keys::find(name).unwrap_or_else(|| unreachable!("{name} is read but not declared"))
}
