//! What may be read as a source: local files below configured directories, and buckets with configured credentials.
//!
//! A table names its files, and a user with the right to add tables can name any file. A local source must therefore be
//! below one of the roots that the administrator of the machine configured, or below the path granted to this table. A
//! path is compared twice:
//!
//! - as written, before the file system is asked (a refusal does not reveal what exists),
//! - with all symbolic links followed. A link that leads out of the roots is an error, not a skipped file.
//!
//! Not covered: a user of the machine who replaces files below a root between the check and the opening. Roots must be
//! directories that such users cannot write.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// What may be read as a source. The default allows no local file, and no bucket without credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// Which local files.
    pub local: Local,
    /// Whether credentials are requested for the machine's identity, from the link-local address of a cloud or of its
    /// container service. Every user with the right to add tables then acts with them.
    pub s3_instance_role: bool,
    /// Timeout for listing a source and for opening one of its files.
    pub open_within: Duration,
}

/// Which local files may be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Local {
    /// Every file that the process can read, for programs that choose the sources themselves.
    Anywhere,
    /// These files, and everything below these directories.
    Below(Vec<PathBuf>),
}

/// A file system or store that takes longer is treated as unavailable.
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

    /// Refuses a path that is outside the roots as written. Does not access the file system below it.
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

    /// Refuses a path that is outside the roots once symbolic links are followed. The path must exist.
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

/// The path without `.` and `..`. Links are not followed.
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

/// Fails if the future takes longer than `most`.
pub(crate) async fn within<T>(most: Duration, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| format!("it did not answer within {most:?}; check that its file system or store is available");
    tokio::time::timeout(most, what).await.map_err(late)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_by_components_after_dots_are_resolved() {
        let access = Access { local: Local::Below(vec!["/srv/data".into()]), ..Access::default() };
        let is_in = |path: &str| access.check_written(Path::new(path), None).is_ok();
        assert!(is_in("/srv/data") && is_in("/srv/data/a/b.csv") && is_in("/srv/./data/x/../b.csv"));
        assert!(!is_in("/srv/database/b.csv") && !is_in("/srv/data/../b.csv") && !is_in("/etc/passwd"));
        assert!(access.check_written(Path::new("/srv/other/b.csv"), Some("/srv/other")).is_ok());
        assert!(Access::default().check_written(Path::new("/srv/data/b.csv"), None).is_err());
        assert!(Access::anywhere().check_written(Path::new("/etc/passwd"), None).is_ok());
    }
}
