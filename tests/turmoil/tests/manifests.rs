//! Turmoil compiles the sources of some crates a second time with separate manifests, which must stay consistent.

use std::fs;
use std::path::Path;

/// The crates whose sources are compiled a second time.
const TWINS: [&str; 6] = ["api", "executor", "metastore", "server", "service", "shell"];
/// The replaced dependencies in them: [`TWINS`], and these, which have their own sources.
const SIMULATED: [&str; 2] = ["store", "tokio"];

#[test]
fn a_twin_has_the_dependencies_of_its_crate() {
    let turmoil = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut lines = 0;
    for twin in TWINS {
        let of_product = dependencies(&turmoil.join("../../node").join(twin).join("Cargo.toml"));
        let expected: Vec<_> = of_product.iter().map(|line| simulated(line)).collect();
        let path = turmoil.join(twin).join("Cargo.toml");
        assert_eq!(dependencies(&path), expected, "{} must follow the manifest of kirin-{twin}", path.display());
        lines += expected.len();
    }
    assert!(lines > 50, "only {lines} dependencies were found: the check does not read the manifests");
}

/// The lines of a manifest from its dependencies to its lints.
fn dependencies(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).expect("a readable manifest");
    let from = text.lines().skip_while(|line| *line != "[dependencies]");
    from.take_while(|line| *line != "[lints]").map(str::to_owned).collect()
}

/// The line of the same dependency in a twin.
fn simulated(line: &str) -> String {
    let Some(name) = line.strip_suffix(".workspace = true") else { return line.to_owned() };
    let folder = name.strip_prefix("kirin-").unwrap_or(name);
    if TWINS.contains(&folder) || SIMULATED.contains(&folder) {
        format!("{name} = {{ package = \"kirin-turmoil-{folder}\", path = \"../{folder}\" }}")
    } else {
        line.to_owned()
    }
}
