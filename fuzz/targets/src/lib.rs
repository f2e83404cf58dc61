//! What is fuzzed: for each target a plain function that takes any bytes and panics only if something is wrong.
//!
//! | target | bytes are | what must hold |
//! |---|---|---|
//! | [`acts`] | the decisions of a simulated run | every rule of the judge |
//! | [`zookeeper`] | a registration that somebody wrote | what is read is a peer that can be written again |
//! | `properties` | a configuration file | read as Java reads it; secrets in no refusal |
//! | `url` | a metastore's URL | its written form reads back; the password shows nowhere |
//! | `json` | a request or the spec of a job | read or refused |
//! | `sql` | a query | answered or refused, from indexes as from raw tables |
//!
//! cargo-fuzz feeds them (`fuzz/`), the tests of this crate replay the corpora (`fuzz/corpus/`) and throw random bytes at them.
//! The last four are built with the feature `node`.

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

/// A target: its name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets that are built.
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

/// Replays the corpus of each target that is built; returns how many inputs there were of each.
///
/// # Panics
/// If a corpus is missing or an input shows something wrong.
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
