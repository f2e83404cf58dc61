//! Evidence of death, from certain to slow.

use core::fmt;

/// How the death of a member is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Evidence {
    /// It said so itself.
    Left,
    /// The same node joined again.
    Replaced,
    /// Its process is gone: its host refuses a new connection to its address, or its supervisor saw the exit.
    Exited,
    /// Its beat did not change for the heart-beat timeout on the observer's own clock.
    Silent,
}

impl Evidence {
    /// The word that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Replaced => "replaced",
            Self::Exited => "exited",
            Self::Silent => "silent",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
