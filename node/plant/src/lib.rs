//! Defences that can be taken away, one at a time, to prove that `chaos` notices what each of them is for.
//!
//! Only the program `kirin-without` can do it, which is built with the feature `plants`: the variable [`WITHOUT`] of its
//! environment names the defence that it lacks. Without the feature every check is a constant `false`.

/// The variable.
pub const WITHOUT: &str = "KIRIN_WITHOUT";

/// A defence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// The statement that commits a step names holder and epoch.
    Fences,
    /// A member stops side effects that the metastore can't refuse before anybody may declare it dead.
    Trust,
    /// Each attempt writes its files at a path of its own.
    AttemptPaths,
    /// A worker process ends when its node does.
    WorkersEnd,
    /// A worker with side effects ends by itself when its node's trust does, even if the node is frozen.
    WorkerDeadlines,
    /// Beats have a connection to the metastore of their own.
    BeatConnection,
}

impl Defence {
    /// All of them.
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

    /// Whether this process does without it.
    #[cfg(feature = "plants")]
    pub fn is_missing(self) -> bool {
        std::env::var(WITHOUT).is_ok_and(|missing| missing == self.name())
    }

    /// Whether this process does without it: never.
    #[cfg(not(feature = "plants"))]
    pub const fn is_missing(self) -> bool {
        false
    }
}
