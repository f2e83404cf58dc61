//! The fuzz targets: plain functions that take any bytes and panic only if a check fails.
//!
//! | target | bytes are | what must hold |
//! |---|---|---|
//! | [`acts`] | the decisions of a simulated run | every rule of the judge |
//! | [`zookeeper`] | a registration of any writer | a parsed peer can be written again |
//! | `properties` | a configuration file | parsed as Java does; no error contains a secret |
//! | `url` | a metastore's URL | the printed form parses to the same value; no text contains the password |
//! | `json` | a request or the spec of a job | parsed or refused |
//! | `sql` | a query | answered or refused, with equal answers from indexes and raw tables |
//!
//! cargo-fuzz runs them (`fuzz/`). The tests of this crate replay the corpora (`fuzz/corpus/`) and try random bytes. The last
//! four targets are built with the feature `node`.

pub mod acts;
#[cfg(feature = "node")]
pub mod json;
#[cfg(feature = "node")]
pub mod properties;
#[cfg(feature = "node")]
pub mod sql;
#[cfg(feature = "node")]
pub mod url;
pub mod zookeeper;

use std::fs;
use std::path::{Path, PathBuf};

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this build.
pub const TARGETS: &[Target] = &[
    ("acts", acts::run),
    ("zookeeper", zookeeper::run),
    #[cfg(feature = "node")]
    ("properties", properties::run),
    #[cfg(feature = "node")]
    ("url", url::run),
    #[cfg(feature = "node")]
    ("json", json::run),
    #[cfg(feature = "node")]
    ("sql", sql::run),
];

/// Replays the corpus of each target. Returns the number of inputs of each.
///
/// # Panics
/// If a corpus is missing or an input fails a check.
pub fn replay() -> Vec<(&'static str, usize)> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let count = |(name, body): &Target| {
        let inputs = inputs(&corpora.join(name));
        for path in &inputs {
            let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            eprintln!("{}", path.display());
            body(&bytes);
        }
        (*name, inputs.len())
    };
    TARGETS.iter().map(count).collect()
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}
