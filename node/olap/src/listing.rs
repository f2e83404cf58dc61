//! The files of a source: where a location points, and which files count.
//!
//! The same rules apply to every store:
//!
//! - A location names a file, a directory or a pattern. An existing file or directory with the literal name takes
//!   precedence over the pattern, so a file called `[1].parquet` can be named.
//! - In directories and patterns, names with a leading `_` or `.` are skipped, as are names without an extension of the
//!   format: `.parquet`, or `.csv`, `.tsv`, `.csv.gz`, `.tsv.gz`, in any case.
//! - Subdirectories are not searched, except partition directories, which are named `key=value`. The key is a column.
//! - A source without files is an error that names the location. An empty listing usually means that a file system is
//!   not mounted.
//!
//! Local files must be allowed by [`crate::access`], also after links are followed, and must be regular files. A pipe or a
//! device is never opened.

use crate::access::{Access, within};
use crate::error::{Error, Result};
use crate::table::{Format, Source};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::session_state::SessionState;
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use futures::TryStreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

/// A file of a source, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// URL of the file; special characters of its name are percent-encoded.
    pub url: String,
    /// Its length.
    pub bytes: u64,
    /// Time of its last change, in milliseconds since 1970. Compared for equality only.
    pub modified_ms: i64,
    /// Changes with every replacement, even by a file of the same length and time: the ETag of an object, or the time of
    /// the last status change of a local file. Compared for equality only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Partition keys from `key=value` directories, outermost first; no value means NULL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<(String, Option<String>)>,
}

/// What a listing found.
#[derive(Debug)]
pub(crate) struct Listing {
    /// In the order of their names; never empty.
    pub(crate) files: Vec<SourceFile>,
    /// Skipped names, for display.
    pub(crate) skipped: Vec<String>,
}

/// What Hive writes for NULL.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Characters that a URL's path can hold unencoded.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'=').remove(b'~');
/// The most names of skipped files that are kept for display.
const MOST_SKIPPED: usize = 20;

/// Where a location points.
#[derive(Debug)]
enum Place {
    Local(PathBuf),
    Store { url: ObjectStoreUrl, key: String },
}

impl Place {
    fn of(location: &str) -> Result<Place, String> {
        let Some((scheme, rest)) = location.split_once("://") else {
            let absolute = std::path::absolute(location).map_err(|e| e.to_string())?;
            return Ok(Place::Local(absolute));
        };
        if scheme.eq_ignore_ascii_case("file") {
            let path = percent_decode_str(rest.strip_prefix("localhost").unwrap_or(rest)).decode_utf8();
            let path = path.map_err(|_| "it is not UTF-8".to_string())?;
            if !path.starts_with('/') {
                return Err("a file:// URL has three slashes and an absolute path".into());
            }
            return Ok(Place::Local(PathBuf::from(path.as_ref())));
        }
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        let url = ObjectStoreUrl::parse(format!("{scheme}://{host}")).map_err(|e| e.strip_backtrace())?;
        Ok(Place::Store { url, key: key.to_string() })
    }
}

/// Lists a source.
pub(crate) async fn list(state: &SessionState, table: &str, source: &Source) -> Result<Listing> {
    let location = &source.location;
    let failed = |problem: String| Error::source(table, problem);
    let place = Place::of(location).map_err(|e| failed(format!("\"{location}\" is not a location: {e}")))?;
    let access = access(state);
    let open_within = access.open_within;
    let mut found = Found { source: source.clone(), access, files: vec![], skipped: vec![] };
    match place {
        Place::Local(path) => {
            // On a thread that may block, since a file system may hang.
            let listed = tokio::task::spawn_blocking(move || found.local(&path).map(|()| found));
            let listed = async { listed.await.map_err(|e| e.to_string())? };
            found = within(open_within, listed).await.map_err(|e| failed(format!("cannot list {location}: {e}")))?;
        }
        Place::Store { url, key } => {
            let store = state
                .runtime_env()
                .object_store(&url)
                .map_err(|e| failed(format!("cannot open {location}: {}", e.strip_backtrace())))?;
            let hint = crate::stores::hint(url.as_str());
            within(open_within, found.remote(store.as_ref(), &url, &key))
                .await
                .map_err(|e| failed(format!("cannot list {location}: {e}{hint}")))?;
        }
    }
    let Found { mut files, mut skipped, .. } = found;
    if files.is_empty() {
        let seen = if skipped.is_empty() {
            "; check that the path is right and its file system is mounted".to_string()
        } else {
            format!("; skipped {}", skipped.join(", "))
        };
        return Err(failed(format!("there is no {} file at {location}{seen}", source.format.extension())));
    }
    files.sort_by(|a, b| a.url.cmp(&b.url));
    skipped.sort();
    Ok(Listing { files, skipped })
}

/// What the session may read.
pub(crate) fn access(state: &SessionState) -> Arc<Access> {
    state.config().get_extension::<Access>().unwrap_or_default()
}

impl Source {
    /// Refuses a location that may not be read, without accessing it.
    pub(crate) fn check_place(&self, access: &Access) -> Result<(), String> {
        match Place::of(&self.location)? {
            Place::Local(path) => {
                let granted = self.granted.as_deref();
                let whole = access.check_written(&path, granted);
                match path.to_str().map(Pattern::split) {
                    Some(Ok(Some((base, _)))) => {
                        // A file may have a name that looks like a pattern.
                        access.check_written(FsPath::new(&base), granted).or(whole)
                    }
                    _ => whole,
                }
            }
            Place::Store { .. } => Ok(()),
        }
    }

    /// The file or directory that must be granted so that this location may be read; `None` if it is not local.
    pub fn local_root(&self) -> Option<PathBuf> {
        let Ok(Place::Local(path)) = Place::of(&self.location) else { return None };
        if let Ok(real) = path.canonicalize() {
            return Some(real);
        }
        let (base, _) = Pattern::split(path.to_str()?).ok()??;
        FsPath::new(&base).canonicalize().ok()
    }
}

struct Found {
    source: Source,
    access: Arc<Access>,
    files: Vec<SourceFile>,
    skipped: Vec<String>,
}

impl Found {
    fn skip(&mut self, name: impl Into<String>) {
        match self.skipped.len() {
            n if n < MOST_SKIPPED => self.skipped.push(name.into()),
            MOST_SKIPPED => self.skipped.push("…".into()),
            _ => {}
        }
    }

    /// Refuses a path that is outside the roots once links are followed.
    fn check(&self, path: &FsPath) -> Result<(), String> {
        self.access.check_followed(path, self.source.granted.as_deref())
    }

    fn local(&mut self, path: &FsPath) -> Result<(), String> {
        self.source.check_place(&self.access)?;
        match std::fs::metadata(path) {
            Ok(meta) => {
                self.check(path)?;
                if meta.is_dir() {
                    return self.walk(path, &mut vec![], &Pattern::Directory);
                }
                if meta.is_file() {
                    self.files.push(local_file(path, &meta, vec![])?);
                    return Ok(());
                }
                return Err("it is not a regular file or a directory".into());
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.to_string()),
        }
        let text = path.to_str().ok_or("its name is not UTF-8")?;
        let Some((base, pattern)) = Pattern::split(text)? else {
            return Err("there is no such file or directory; check that its file system is mounted".into());
        };
        match std::fs::metadata(&base) {
            Ok(meta) if meta.is_dir() => {
                self.check(FsPath::new(&base))?;
                self.walk(FsPath::new(&base), &mut vec![], &pattern)
            }
            Ok(_) => Err(format!("{base} is not a directory")),
            Err(e) => Err(format!("{base}: {e}")),
        }
    }

    fn walk(&mut self, dir: &FsPath, below: &mut Vec<String>, pattern: &Pattern) -> Result<(), String> {
        let unreadable = |e: std::io::Error| format!("{}: {e}", dir.display());
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(format!("the name of {} is not UTF-8; rename it", path.display()));
            };
            below.push(name);
            let result = self.visit(&path, below, pattern);
            below.pop();
            result?;
        }
        Ok(())
    }

    fn visit(&mut self, path: &FsPath, below: &mut Vec<String>, pattern: &Pattern) -> Result<(), String> {
        let shown = below.join("/");
        let name = below.last().map(String::as_str).unwrap_or_default();
        if is_hidden(name) {
            self.skip(shown);
            return Ok(());
        }
        let unreadable = |e: std::io::Error| format!("{}: {e}", path.display());
        let is_link = std::fs::symlink_metadata(path).map_err(unreadable)?.is_symlink();
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if meta.is_dir() {
            if pattern.descends(name) {
                if is_link {
                    self.check(path)?;
                }
                return self.walk(path, below, pattern);
            }
            self.skip(format!("{shown}/"));
        } else if meta.is_file() && pattern.takes(self.source.format, below) {
            if is_link {
                self.check(path)?;
            }
            let keys = keys(&below[..below.len() - 1]);
            self.files.push(local_file(path, &meta, keys)?);
        } else {
            self.skip(shown);
        }
        Ok(())
    }

    async fn remote(&mut self, store: &dyn ObjectStore, url: &ObjectStoreUrl, key: &str) -> Result<(), String> {
        let is_directory = key.is_empty() || key.ends_with('/');
        let path = Path::parse(key).map_err(|e| e.to_string())?;
        if !is_directory {
            match store.head(&path).await {
                Ok(meta) => {
                    self.files.push(remote_file(url, &meta, vec![]));
                    return Ok(());
                }
                Err(datafusion::object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
        let (base, pattern) = match Pattern::split(&format!("/{key}"))? {
            _ if is_directory => (key.trim_end_matches('/').to_string(), Pattern::Directory),
            Some((base, pattern)) => (base.trim_matches('/').to_string(), pattern),
            None => return Ok(()),
        };
        let base = Path::parse(base).map_err(|e| e.to_string())?;
        let metas: Vec<ObjectMeta> = store.list(Some(&base)).try_collect().await.map_err(|e| e.to_string())?;
        for meta in metas {
            let rest = meta.location.as_ref().strip_prefix(base.as_ref()).unwrap_or(meta.location.as_ref());
            let below: Vec<String> = rest.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
            let Some((_, parents)) = below.split_last() else { continue };
            let hidden = below.iter().any(|name| is_hidden(name));
            let reached = parents.iter().all(|name| pattern.descends(name));
            if !hidden && reached && pattern.takes(self.source.format, &below) {
                let keys = keys(parents);
                self.files.push(remote_file(url, &meta, keys));
            } else {
                self.skip(below.join("/"));
            }
        }
        Ok(())
    }
}

/// Which files below a directory belong to the source.
enum Pattern {
    Directory,
    Glob(glob::Pattern),
}

impl Pattern {
    /// The directory above the first component with `*`, `?` or `[`, and the pattern from there on.
    fn split(path: &str) -> Result<Option<(String, Pattern)>, String> {
        let parts: Vec<&str> = path.split('/').collect();
        let Some(first) = parts.iter().position(|p| p.contains(['*', '?', '['])) else {
            return Ok(None);
        };
        let pattern =
            glob::Pattern::new(&parts[first..].join("/")).map_err(|e| format!("the pattern is wrong: {e}"))?;
        let base = match parts[..first].join("/") {
            base if base.is_empty() => "/".into(),
            base => base,
        };
        Ok(Some((base, Pattern::Glob(pattern))))
    }

    fn descends(&self, name: &str) -> bool {
        match self {
            Pattern::Directory => is_partition(name),
            Pattern::Glob(pattern) => is_partition(name) || pattern.as_str().contains('/'),
        }
    }

    fn takes(&self, format: Format, below: &[String]) -> bool {
        let name = below.last().map(String::as_str).unwrap_or_default();
        match self {
            Pattern::Directory => Format::of_file_name(name) == Some(format),
            Pattern::Glob(pattern) => {
                let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
                // A pattern whose last part has an extension selects files by itself.
                let names_files = pattern.as_str().rsplit('/').next().is_some_and(|last| last.contains('.'));
                // `dir/*.parquet` also means partitions below `dir`.
                let own: Vec<&str> = below.iter().map(String::as_str).filter(|p| !is_partition(p)).collect();
                (pattern.matches_with(&below.join("/"), options) || pattern.matches_with(&own.join("/"), options))
                    && (names_files || Format::of_file_name(name) == Some(format))
            }
        }
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

fn is_partition(name: &str) -> bool {
    name.split_once('=').is_some_and(|(key, _)| !key.is_empty()) && Format::of_file_name(name).is_none()
}

/// Partition keys of the directories above a file.
fn keys(parents: &[String]) -> Vec<(String, Option<String>)> {
    let pairs = parents.iter().filter(|p| is_partition(p)).filter_map(|p| p.split_once('='));
    pairs
        .map(|(key, value)| {
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            (key.to_string(), Some(value).filter(|v| v != HIVE_NULL))
        })
        .collect()
}

fn encoded(base: &str, path: &Path) -> String {
    format!("{}/{}", base.strip_suffix('/').unwrap_or(base), utf8_percent_encode(path.as_ref(), PATH))
}

fn local_file(
    path: &FsPath,
    meta: &std::fs::Metadata,
    keys: Vec<(String, Option<String>)>,
) -> Result<SourceFile, String> {
    let at = Path::from_absolute_path(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let (modified_ms, version) = stamps(meta);
    Ok(SourceFile { url: encoded("file:///", &at), bytes: meta.len(), modified_ms, version, keys })
}

fn stamps(meta: &std::fs::Metadata) -> (i64, Option<String>) {
    use std::os::unix::fs::MetadataExt;
    let modified_ms = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
    // Unlike the time of modification, it cannot be set. Unlike the inode, it is the same on every machine that mounts the
    // file system.
    (modified_ms, Some(format!("{}.{:09}", meta.ctime(), meta.ctime_nsec())))
}

fn remote_file(url: &ObjectStoreUrl, meta: &ObjectMeta, keys: Vec<(String, Option<String>)>) -> SourceFile {
    SourceFile {
        url: encoded(url.as_str(), &meta.location),
        bytes: meta.size,
        modified_ms: meta.last_modified.timestamp_millis(),
        version: meta.e_tag.clone(),
        keys,
    }
}

/// A file ready to be read: its store, and its location there.
pub(crate) struct Opened {
    pub(crate) url: ObjectStoreUrl,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) meta: ObjectMeta,
}

impl SourceFile {
    fn split(&self) -> Result<(ObjectStoreUrl, Path), String> {
        let (scheme, rest) = self.url.split_once("://").ok_or("it is not a URL")?;
        let (host, path) = rest.split_once('/').ok_or("it has no path")?;
        let url = ObjectStoreUrl::parse(format!("{scheme}://{host}")).map_err(|e| e.strip_backtrace())?;
        Ok((url, Path::from_url_path(path).map_err(|e| e.to_string())?))
    }

    /// The name for display: a path for local files.
    pub(crate) fn shown(&self) -> String {
        let text = self.url.strip_prefix("file://").unwrap_or(&self.url);
        percent_decode_str(text).decode_utf8_lossy().into_owned()
    }

    /// Checks a local file again before it is opened, since it may have been replaced since it was listed.
    pub(crate) async fn check_again(&self, access: Arc<Access>, granted: Option<String>) -> Result<(), String> {
        if !self.url.starts_with("file://") {
            return Ok(());
        }
        let path = PathBuf::from(self.shown());
        let looked = tokio::task::spawn_blocking(move || {
            access.check_followed(&path, granted.as_deref())?;
            match std::fs::metadata(&path) {
                Ok(meta) if meta.is_file() => Ok(()),
                Ok(_) => Err("it is not a regular file".to_string()),
                Err(e) => Err(e.to_string()),
            }
        });
        looked.await.map_err(|e| e.to_string())?
    }

    pub(crate) fn open(&self, env: &datafusion::execution::runtime_env::RuntimeEnv) -> Result<Opened, String> {
        let (url, location) = self.split()?;
        let store = env.object_store(&url).map_err(|e| e.strip_backtrace())?;
        let last_modified = chrono::DateTime::from_timestamp_millis(self.modified_ms).unwrap_or_default();
        let meta = ObjectMeta { location, last_modified, size: self.bytes, e_tag: None, version: None };
        Ok(Opened { url, store, meta })
    }

    /// How the file differs from the listed one; `None` if it does not.
    pub(crate) async fn changed(&self, state: &SessionState) -> Option<String> {
        let opened = match self.open(state.runtime_env()) {
            Ok(opened) => opened,
            Err(problem) => return Some(format!("cannot be opened ({problem})")),
        };
        let (bytes, modified_ms, version) = if self.url.starts_with("file://") {
            match std::fs::metadata(self.shown()) {
                Ok(meta) => {
                    let (modified_ms, version) = stamps(&meta);
                    (meta.len(), modified_ms, version)
                }
                Err(e) => return Some(format!("vanished ({e})")),
            }
        } else {
            match opened.store.head(&opened.meta.location).await {
                Ok(meta) => (meta.size, meta.last_modified.timestamp_millis(), meta.e_tag),
                Err(e) => return Some(format!("vanished ({e})")),
            }
        };
        let same = bytes == self.bytes
            && modified_ms == self.modified_ms
            && (self.version.is_none() || version == self.version);
        (!same).then(|| "changed".into())
    }
}
