//! Runs every transcript in this folder and compares it with the committed one.
//!
//! `KIRIN_TRANSCRIPTS=write` updates them. Check the difference before you commit it.

use std::fs;
use std::path::Path;

use kirin_sim::transcript;

#[test]
fn transcripts_match_the_committed_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/transcripts");
    let write = std::env::var("KIRIN_TRANSCRIPTS").is_ok_and(|value| value == "write");
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "txt"));
    paths.sort();
    assert!(paths.len() >= 10, "the transcripts are missing");
    let mut differ = Vec::new();
    for path in paths {
        let committed = fs::read_to_string(&path).unwrap();
        let fresh = transcript::rewrite(&committed).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        if fresh != committed {
            let first = fresh.lines().zip(committed.lines()).find(|(a, b)| a != b);
            differ.push(format!("{}: {first:?}", path.display()));
            if write {
                fs::write(&path, fresh).unwrap();
            }
        }
    }
    assert!(write || differ.is_empty(), "these transcripts changed:\n{}", differ.join("\n"));
}
