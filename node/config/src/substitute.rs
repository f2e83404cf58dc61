//! `${NAME}` in values: another key or an environment variable.
//!
//! `${env:NAME}` is the environment variable, `${NAME}` the key of that name or else the environment variable, as in
//! Kylin. `${NAME:-text}` stands for `text` when there is neither, `$${` for a plain `${`. Values are substituted until
//! nothing is left to substitute; a key that leads back to itself is an error that shows the way round. What the
//! environment gives is taken literally.

use std::collections::BTreeMap;

use super::properties::Entry;

/// Why a value can't be substituted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// Neither a key nor an environment variable has that name.
    #[error("${{{0}}} names neither a key nor an environment variable")]
    Missing(String),
    /// The key leads back to itself.
    #[error("${{…}} goes round in a circle: {}", .0.join(" -> "))]
    Circle(Vec<String>),
    /// `${` without its `}`.
    #[error("`${{` has no closing `}}` (write `$${{` for a plain `${{`)")]
    Unclosed,
}

/// What `${…}` may name.
#[derive(Clone, Copy, Debug)]
pub struct Substitutes<'a> {
    /// The keys that were read, by their canonical names.
    pub entries: &'a BTreeMap<String, Entry>,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
}

impl Substitutes<'_> {
    /// `text` with every `${…}` replaced; `of` is the key whose value it is.
    ///
    /// # Errors
    /// [`Unresolved`] names what can't be replaced.
    pub fn expand(&self, of: &str, text: &str) -> Result<String, Unresolved> {
        self.expand_within(&mut vec![of.to_owned()], text)
    }

    fn expand_within(&self, path: &mut Vec<String>, text: &str) -> Result<String, Unresolved> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                out.push_str(&rest[..at - 1]);
                out.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            out.push_str(&rest[..at]);
            let inner = &rest[at + 2..];
            let end = inner.find('}').ok_or(Unresolved::Unclosed)?;
            let (name, fallback) = match inner[..end].split_once(":-") {
                Some((name, fallback)) => (name, Some(fallback)),
                None => (&inner[..end], None),
            };
            out.push_str(&self.replacement(path, name, fallback)?);
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn replacement(&self, path: &mut Vec<String>, name: &str, fallback: Option<&str>) -> Result<String, Unresolved> {
        let from_env = |name: &str| self.env.get(name).cloned();
        let found = if let Some(variable) = name.strip_prefix("env:") {
            from_env(variable)
        } else if let Some(entry) = self.entries.get(name) {
            if path.iter().any(|seen| seen == name) {
                path.push(name.to_owned());
                return Err(Unresolved::Circle(path.clone()));
            }
            path.push(name.to_owned());
            let value = self.expand_within(path, &entry.value)?;
            path.pop();
            Some(value)
        } else {
            from_env(name)
        };
        found.or_else(|| fallback.map(str::to_owned)).ok_or_else(|| Unresolved::Missing(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::properties::parse;
    use super::*;

    fn expand(file: &str, env: &[(&str, &str)], text: &str) -> Result<String, Unresolved> {
        let entries = parse("f", file).0.into_iter().map(|e| (e.key.clone(), e)).collect();
        let env = env.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Substitutes { entries: &entries, env: &env }.expand("key", text)
    }

    #[test]
    fn keys_come_before_the_environment_and_values_are_followed() {
        let env = [("HOME", "/root"), ("b", "env")];
        assert_eq!(expand("a=<${b}>\nb=x${HOME}", &env, "${a}!").as_deref(), Ok("<x/root>!"));
        assert_eq!(expand("b=key", &env, "${env:b} ${b}").as_deref(), Ok("env key"));
    }

    #[test]
    fn what_the_environment_gives_is_literal() {
        assert_eq!(expand("", &[("PW", "a${b}c")], "${env:PW}").as_deref(), Ok("a${b}c"));
    }

    #[test]
    fn a_fallback_and_an_escape() {
        assert_eq!(expand("", &[], "${NONE:-x:-y}").as_deref(), Ok("x:-y"));
        assert_eq!(expand("", &[], "$${NONE} costs $5").as_deref(), Ok("${NONE} costs $5"));
    }

    #[test]
    fn circles_missing_names_and_open_braces_are_errors() {
        let circle = expand("a=${b}\nb=${a}", &[], "${a}").unwrap_err();
        assert_eq!(circle.to_string(), "${…} goes round in a circle: key -> a -> b -> a");
        let own = expand("key=${key}", &[], "${key}").unwrap_err();
        assert_eq!(own.to_string(), "${…} goes round in a circle: key -> key");
        assert_eq!(expand("", &[], "${X}"), Err(Unresolved::Missing("X".into())));
        assert_eq!(expand("", &[], "${X"), Err(Unresolved::Unclosed));
        assert_eq!(expand("a=1", &[], "${a}${a}").as_deref(), Ok("11"), "twice is no circle");
    }
}
