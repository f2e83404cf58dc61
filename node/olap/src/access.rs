//! What may be read as a source: local files below known directories, and buckets with credentials that were configured.
//!
//! A table names its files, and whoever may add tables may name any. So a local source lies below one of the roots that
//! the administrator of the machine named, or below the place that was granted to this one table. A path is compared
//! twice: as it is written, before the file system is asked about it (a refusal does not tell what exists), and with all
//! symbolic links followed. A link that leads out of the roots is an error, not a file that is skipped.
//!
//! Not here: a user of the machine who can exchange files below a root between the check and the opening. Roots are
//! directories that such users can't write.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What may be read as a source. Nothing on this machine, and no bucket without credentials, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Which local files.
    pub local: Local,
    /// Whether the machine's identity is asked for credentials, at the link-local address of a cloud or of its container
    /// service. Everybody who may add tables then acts with them.
    pub s3_instance_role: bool,
    /// How long listing a source, and opening one of its files, may take.
    pub open_within: Duration,
}

/// Which local files may be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// All that the process can read: for programs that choose the sources themselves.
    Anywhere,
    /// These files, and what lies below these directories.
    Below(Vec<PathBuf>),
}

/// A file system or a store that is slower than this does not answer at all.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

impl Default for Access {
    fn default() -> Self {
        Access { local: Local::Below(vec![]), s3_instance_role: false, open_within: OPEN_WITHIN }
    }
}

impl Access {
    /// Every local file, and no instance role.
    pub fn anywhere() -> Self {
        Access { local: Local::Anywhere, ..Access::default() }
    }

    /// Refuses a path that lies outside, as it is written. Does not touch the file system below it.
    pub(crate) fn check_written(&self, path: &Path, granted: Option<&str>) -> Result<(), String> {
        let Local::Below(roots) = &self.local else { return Ok(()) };
        let written = normal(path);
        let is_in = |root: &Path| {
            written.starts_with(normal(root)) || root.canonicalize().is_ok_and(|root| written.starts_with(root))
        };
        if roots.iter().map(PathBuf::as_path).chain(granted.map(Path::new)).any(is_in) {
            return Ok(());
        }
        Err(format!(
            "{} lies outside of kirin.source.roots; add its directory to kirin.source.roots on every node, or run `kirin \
             table add` on the node's own machine as the user of the node",
            path.display()
        ))
    }

    /// Refuses a path that leads outside when symbolic links are followed. The path exists.
    pub(crate) fn check_followed(&self, path: &Path, granted: Option<&str>) -> Result<(), String> {
        let Local::Below(roots) = &self.local else { return Ok(()) };
        let real = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
        let is_in = |root: &Path| root.canonicalize().is_ok_and(|root| real.starts_with(root));
        if roots.iter().map(PathBuf::as_path).chain(granted.map(Path::new)).any(is_in) {
            return Ok(());
        }
        Err(format!(
            "{} leads out of kirin.source.roots by a symbolic link; put the file itself there, or add its directory to \
             kirin.source.roots on every node",
            path.display()
        ))
    }
}

/// The path without `.` and `..`, as text: links are followed elsewhere.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// Gives up what takes too long.
pub(crate) async fn within<T>(most: Duration, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| format!("it did not answer within {most:?}; check that its file system or store is available");
    tokio::time::timeout(most, what).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_by_components_and_without_dots() {
        let access = Access { local: Local::Below(vec!["/srv/data".into()]), ..Access::default() };
        let is_in = |path: &str| access.check_written(Path::new(path), None).is_ok();
        assert!(is_in("/srv/data") && is_in("/srv/data/a/b.csv") && is_in("/srv/./data/x/../b.csv"));
        assert!(!is_in("/srv/database/b.csv") && !is_in("/srv/data/../b.csv") && !is_in("/etc/passwd"));
        assert!(access.check_written(Path::new("/srv/other/b.csv"), Some("/srv/other")).is_ok());
        assert!(Access::default().check_written(Path::new("/srv/data/b.csv"), None).is_err());
        assert!(Access::anywhere().check_written(Path::new("/etc/passwd"), None).is_ok());
    }
}
