//! Substitution of `${NAME}` in values by another key or an environment variable.
//!
//! `${env:NAME}` is the environment variable. `${NAME}` is the key with that name, else the environment variable, as in
//! Kylin. `${NAME:-text}` is `text` if neither exists. `$${` is a literal `${`. Values of keys are substituted
//! recursively. A cycle is an error that lists its keys. Values of environment variables are used literally.

use std::collections::BTreeMap;

use super::properties::Entry;

/// Why a value cannot be substituted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No key or environment variable has this name.
    #[error("${{{0}}} is neither a key nor an environment variable")]
    Missing(String),
    /// The key refers to itself.
    #[error("${{…}} refers to itself: {}", .0.join(" -> "))]
    Circle(Vec<String>),
    /// `${` without its `}`.
    #[error("`${{` has no closing `}}` (write `$${{` for a literal `${{`)")]
    Unclosed,
}

/// The keys and variables that `${…}` can refer to.
#[derive(Clone, Copy, Debug)]
pub struct Substitutes<'a> {
    /// The given keys, by canonical name.
    pub entries: &'a BTreeMap<String, Entry>,
    /// The environment.
    pub env: &'a BTreeMap<String, String>,
}

impl Substitutes<'_> {
    /// Replaces every `${…}` in `text`, the value of the key `of`.
    ///
    /// # Errors
    /// [`Unresolved`] names what cannot be replaced.
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
    fn keys_take_precedence_over_the_environment_and_are_substituted_recursively() {
        let env = [("HOME", "/root"), ("b", "env")];
        assert_eq!(expand("a=<${b}>\nb=x${HOME}", &env, "${a}!").as_deref(), Ok("<x/root>!"));
        assert_eq!(expand("b=key", &env, "${env:b} ${b}").as_deref(), Ok("env key"));
    }

    #[test]
    fn environment_variables_are_used_literally() {
        assert_eq!(expand("", &[("PW", "a${b}c")], "${env:PW}").as_deref(), Ok("a${b}c"));
    }

    #[test]
    fn defaults_and_escapes_are_supported() {
        assert_eq!(expand("", &[], "${NONE:-x:-y}").as_deref(), Ok("x:-y"));
        assert_eq!(expand("", &[], "$${NONE} costs $5").as_deref(), Ok("${NONE} costs $5"));
    }

    #[test]
    fn cycles_missing_names_and_open_braces_are_errors() {
        let circle = expand("a=${b}\nb=${a}", &[], "${a}").unwrap_err();
        assert_eq!(circle.to_string(), "${…} refers to itself: key -> a -> b -> a");
        let own = expand("key=${key}", &[], "${key}").unwrap_err();
        assert_eq!(own.to_string(), "${…} refers to itself: key -> key");
        assert_eq!(expand("", &[], "${X}"), Err(Unresolved::Missing("X".into())));
        assert_eq!(expand("", &[], "${X"), Err(Unresolved::Unclosed));
        assert_eq!(expand("a=1", &[], "${a}${a}").as_deref(), Ok("11"), "a repeated reference is not a cycle");
    }
}
