//! A configuration file: any content is parsed or refused, and secrets stay secret.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use kirin_config::properties::{decode, parse};
use kirin_config::{Config, Sources};

/// The secret, which no output may contain.
const SECRET: &str = "Sesame-4711";

/// Parses the file alone, then as the configuration of a node that also has a password.
///
/// # Panics
/// If an entry is lost or the password is printed.
pub fn run(data: &[u8]) {
    let text = decode(data);
    let (entries, malformed) = parse("kirin.properties", &text);
    let lines = text.split(['\n', '\r']).count();
    assert!(entries.len() + malformed.len() <= lines, "more entries than lines");
    for entry in &entries {
        // With every character escaped, it parses to the same entry.
        let line = format!("{}={}", escaped(&entry.key), escaped(&entry.value));
        let (again, wrong) = parse("kirin.properties", &line);
        assert!(wrong.is_empty(), "{line}");
        let again: Vec<_> = again.iter().map(|again| (again.key.as_str(), again.value.as_str())).collect();
        assert_eq!(again, [(entry.key.as_str(), entry.value.as_str())], "{line}");
    }
    load(data);
}

fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn load(data: &[u8]) {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = HOME.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
    let conf = home.path().join("conf");
    fs::create_dir_all(&conf).expect("the folder is ours");
    fs::write(conf.join("kylin.properties"), data).expect("the folder is ours");
    let sources = Sources {
        home: home.path().to_owned(),
        conf: None::<PathBuf>,
        set: vec![format!("kylin.job.ssh-password={SECRET}")],
        env: BTreeMap::from([("KYLIN_SECRET".to_owned(), SECRET.to_owned())]),
        host_name: "fuzz".to_owned(),
    };
    let shown = match Config::load(&sources) {
        Ok(config) => format!("{config:?}"),
        Err(refused) => format!("{refused}\n{refused:?}"),
    };
    assert!(!shown.contains(SECRET), "the password is printed: {shown}");
}
