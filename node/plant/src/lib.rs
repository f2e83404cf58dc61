//! Defences that can be disabled, one at a time, to prove that `chaos` detects the fault that each of them prevents.
//!
//! Only the program `kirin-without` can disable one. It is built with the feature `plants`, and its environment variable
//! [`WITHOUT`] names the missing defence. Without the feature, every check is a constant `false`.

/// The environment variable that names the missing defence.
pub const WITHOUT: &str = "KIRIN_WITHOUT";

/// A defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// The statement that commits a step checks holder and epoch.
    Fences,
    /// A member stops side effects that the metastore cannot refuse before other members may fence it.
    Trust,
    /// Each attempt writes its files under its own path.
    AttemptPaths,
    /// A worker process exits when its node exits.
    WorkersEnd,
    /// A worker with side effects exits when its node's trust ends, even if the node is frozen.
    WorkerDeadlines,
    /// Beats have their own connection to the metastore.
    BeatConnection,
}

impl Defence {
    /// All defences.
    pub const ALL: [Self; 6] =
        [Self::Fences, Self::Trust, Self::AttemptPaths, Self::WorkersEnd, Self::WorkerDeadlines, Self::BeatConnection];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fences => "fences",
            Self::Trust => "trust",
            Self::AttemptPaths => "attempt-paths",
            Self::WorkersEnd => "workers-end",
            Self::WorkerDeadlines => "worker-deadlines",
            Self::BeatConnection => "beat-connection",
        }
    }

    /// Whether this process lacks the defence.
    #[cfg(feature = "plants")]
    pub fn is_missing(self) -> bool {
        std::env::var(WITHOUT).is_ok_and(|missing| missing == self.name())
    }

    /// Whether this process lacks the defence: never.
    #[cfg(not(feature = "plants"))]
    pub const fn is_missing(self) -> bool {
        false
    }
}
