//! Problems of a configuration, reported all at once, and notices.

use std::fmt;

use super::properties::Origin;

/// One refused setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its location; `None` for the file system itself.
    pub origin: Option<Origin>,
    /// The key, or the unreadable file.
    pub key: String,
    /// The value before substitution; `None` if it is or may contain a secret.
    pub value: Option<String>,
    /// Why it is refused.
    pub why: String,
    /// What is allowed; empty if `why` is sufficient.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, "={}", value.escape_debug())?;
        }
        write!(f, ": {}", self.why)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, "\n      allowed: {}", self.allowed) }
    }
}

/// All problems of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("invalid configuration:")?,
            n => write!(f, "invalid configuration, {n} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Notices that a node logs at its start, about keys without effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Keys that are not supported yet.
    pub unsupported: Vec<Notice>,
    /// Kylin's keys without effect here.
    pub ignored: Vec<Notice>,
    /// Unknown keys.
    pub unknown: Vec<Notice>,
    /// Keys that are repeated in the same file.
    pub repeated: Vec<Notice>,
}

/// A notice about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The key as written.
    pub key: String,
    /// Its location.
    pub origin: Origin,
    /// An explanation; may be empty.
    pub about: String,
}

impl Notices {
    /// Whether there are no notices.
    pub fn is_empty(&self) -> bool {
        self.unsupported.is_empty() && self.ignored.is_empty() && self.unknown.is_empty() && self.repeated.is_empty()
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.key)?;
        if self.about.is_empty() { Ok(()) } else { write!(f, " ({})", self.about) }
    }
}

/// A paragraph for each non-empty sort.
impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorts = [
            ("not supported yet", &self.unsupported),
            ("Kylin's keys without effect here", &self.ignored),
            ("unknown keys", &self.unknown),
            ("repeated keys", &self.repeated),
        ];
        let mut first = true;
        for (title, notices) in sorts.into_iter().filter(|(_, notices)| !notices.is_empty()) {
            f.write_str(if first { "" } else { "\n" })?;
            first = false;
            write!(f, "{title}:")?;
            notices.iter().try_for_each(|notice| write!(f, "\n  {notice}"))?;
        }
        Ok(())
    }
}
