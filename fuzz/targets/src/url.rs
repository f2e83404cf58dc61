//! A metastore's URL, in Kylin's form or a plain one.

use std::path::Path;

use kirin_config::metastore::{Backend, Metastore};

/// Parses the URL, prints the result and parses it again.
///
/// # Panics
/// If the two differ, or the password is printed.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let verbatim = |text: &str| Ok(text.to_owned());
    let base = Path::new("/base");
    let Ok(metastore) = Metastore::parse(text, &verbatim, base) else { return };
    if let Backend::Postgres(server) | Backend::MySql(server) = &metastore.backend {
        assert!(!server.hosts.is_empty() && !server.database.is_empty(), "{metastore:?}");
        let password = server.password.reveal().to_owned();
        // A short password is part of many words.
        if password.len() > 6 && !text.replacen(&password, "", 1).contains(&password) {
            let shown = format!("{metastore} {metastore:?} {}", metastore.unique_id("c"));
            assert!(!shown.contains(&password), "the password is printed: {shown}");
        }
    }
    let written = metastore.revealed();
    match Metastore::parse(&written, &verbatim, base) {
        Ok(again) => assert_eq!(again.unique_id("c"), metastore.unique_id("c"), "{text} is printed as {written}"),
        Err(wrong) => panic!("{text} is printed as {written}, which is refused: {wrong}"),
    }
}
