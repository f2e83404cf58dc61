//! What is wrong with a configuration (all of it at once), and what is merely worth saying.

use std::fmt;

use super::properties::Origin;

/// One refused setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands; `None` for the file system itself.
    pub origin: Option<Origin>,
    /// The key, or the file that can't be read.
    pub key: String,
    /// The value as it is written (before substitution); `None` if it is or may hold a secret.
    pub value: Option<String>,
    /// Why it is refused.
    pub why: String,
    /// What is allowed instead; empty if `why` says it all.
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

/// Every problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration is refused:")?,
            n => write!(f, "the configuration is refused, {n} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// What a node says once at its start about keys that change nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Keys that Kirin reads and does nothing with yet.
    pub unsupported: Vec<Notice>,
    /// Keys of Kylin's that Kirin doesn't use.
    pub ignored: Vec<Notice>,
    /// Keys that nobody knows.
    pub unknown: Vec<Notice>,
    /// Values that a later line of the same file replaced.
    pub repeated: Vec<Notice>,
}

/// One such key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The key as written.
    pub key: String,
    /// Where it stands.
    pub origin: Origin,
    /// What to know about it; may be empty.
    pub about: String,
}

impl Notices {
    /// Whether there is nothing to say.
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

/// A paragraph for each sort, nothing for an empty one.
impl fmt::Display for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorts = [
            ("not supported yet", &self.unsupported),
            ("not used here (known to Kylin)", &self.ignored),
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
