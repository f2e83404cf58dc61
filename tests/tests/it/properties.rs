//! Comparison with `java.util.Properties`: both parsers read generated files.
//!
//! Deliberate differences are excluded: byte order marks, halves of surrogate pairs, and the entry with an empty key
//! that Java may return for a single backslash at the end of a file (see [`kirin_config::properties`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use kirin_config::properties;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

const FILES: u64 = 500;

/// The pieces of generated files: everything that may be special to either parser.
const PIECES: &[&str] = &[
    "a",
    "kylin",
    ".",
    "1",
    "key",
    "=",
    ":",
    " ",
    "\t",
    "\u{c}",
    "\u{b}",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\\\n",
    "\\\r\n",
    "\\\n  ",
    "\\\n\n",
    "\\",
    "\\\\",
    "\\\\\n",
    "#",
    "!",
    "\n#",
    "\n!",
    "\n #x\\\n",
    "'",
    "\"",
    "_",
    "$",
    "${a}",
    "!U0041",
    "\\u0041",
    "\\U0041",
    "\\t",
    "\\n",
    "\\r",
    "\\f",
    "\\=",
    "\\:",
    "\\ ",
    "\\#",
    "\\!",
    "\\q",
    "\\0",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{0}",
    "ü",
    "ж",
    "😀",
    "k'_$",
    "=v\n",
    "\\u00e9",
    "\\u000a",
    "\\u005c",
];

fn file(seed: u64) -> String {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for _ in 0..dice.random_range(1..60) {
        text.push_str(PIECES.choose(&mut dice).expect("there are pieces"));
    }
    match seed % 4 {
        0 => text.insert(0, '\u{feff}'),
        1 => text.push('\\'),
        _ => {}
    }
    text
}

fn hex(text: &str) -> String {
    let mut out = String::new();
    for unit in text.encode_utf16() {
        write!(out, "{unit:04x}").expect("writing to a string cannot fail");
    }
    out
}

/// The entries that Java reads, or `None` for a malformed escape.
fn java(files: &[std::path::PathBuf]) -> Vec<Option<BTreeMap<String, String>>> {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/properties/Oracle.java");
    let out = Command::new("java").arg(oracle).args(files).output();
    let out = out.expect("java runs: install default-jdk-headless");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).expect("it prints ASCII");
    let read = text.split("file\n").skip(1).map(|part| {
        if part.contains("malformed") {
            return None;
        }
        let pairs = part.lines().map(|line| line.split_once('=').expect("a key and a value"));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some(pairs.filter(|(key, _)| !key.is_empty()).collect())
    });
    read.collect()
}

#[test]
fn every_file_is_parsed_as_in_java() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let texts: Vec<String> = (0..FILES).map(file).collect();
    let files: Vec<_> = (0..texts.len()).map(|at| directory.path().join(format!("{at}.properties"))).collect();
    for (text, path) in texts.iter().zip(&files) {
        // Java gets the file without the byte order mark, which Kirin drops.
        std::fs::write(path, text.strip_prefix('\u{feff}').unwrap_or(text)).expect("it is written");
    }
    let (mut keys, mut refused) = (0, 0);
    for (text, expected) in texts.iter().zip(java(&files)) {
        let (entries, malformed) = properties::parse("f", &properties::decode(text.as_bytes()));
        let mut read = entries.iter().map(|entry| (hex(&entry.key), hex(&entry.value))).collect::<BTreeMap<_, _>>();
        read.retain(|key, _| !key.is_empty());
        match expected {
            Some(expected) => assert_eq!((&read, malformed.len()), (&expected, 0), "{text:?}"),
            None => assert!(!malformed.is_empty(), "Java refuses {text:?}"),
        }
        keys += read.len();
        refused += malformed.len();
    }
    assert!(keys > 1_000, "only {keys} keys, {refused} malformed");
}
