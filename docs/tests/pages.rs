//! Checks README.md and the book without any dependency: links, anchors, the table of contents, paths in the source tree, and
//! that the reference lists every endpoint and error code of the API.
//!
//! What the commands in the documentation do is checked by `tests/tests/it/docs.rs`, which runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The longest README that still fits on one page.
const README_LINES_MAX: usize = 150;

/// The repository's root.
fn root() -> PathBuf {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR"));
    docs.parent().expect("the crate is in a folder of the repository").to_owned()
}

/// The text of every source file of the node, without its unit tests.
fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("node")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let is_test =
                path.file_name().is_some_and(|name| name == "tests.rs" || name == "tests" || name == "target");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a readable source");
                sources.push(text.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
            }
        }
    }
    sources
}

/// README.md, CHANGELOG.md and every page of the book, as paths relative to the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    let mut folders = vec![PathBuf::from("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("a readable folder") {
            let path = folder.join(entry.expect("a readable entry").file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The lines of a page outside fenced blocks, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let outside = |(_, line): &(usize, &str)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(outside).collect()
}

/// The parts of a line inside backticks, and the line without them.
fn inline_code(line: &str) -> (Vec<&str>, String) {
    let (code, rest): (Vec<_>, Vec<_>) = line.split('`').enumerate().partition(|(at, _)| at % 2 == 1);
    let texts = |parts: Vec<(usize, &'_ str)>| parts.into_iter().map(|(_, part)| part.to_owned()).collect::<String>();
    (code.into_iter().map(|(_, part)| part).collect(), texts(rest))
}

/// The targets of the links `[text](target)` in a line without inline code.
fn targets(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchor that GitHub and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    heading.trim().chars().filter(|c| kept(*c)).map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The anchors of a page. A heading that repeats gets a number.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose(text).into_iter().filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len() && heading.starts_with(' ')).then(|| anchor(heading))
    });
    headings
        .map(|anchor| {
            let count = seen.entry(anchor.clone()).or_default();
            *count += 1;
            if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
        })
        .collect()
}

/// `a/b/../c` without its detours.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

/// What is wrong with a link on a page; nothing for a link to another site.
fn problem(page: &Path, text: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
    let path = if file.is_empty() { page.to_owned() } else { plain(&page.parent().unwrap_or(page).join(file)) };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    if page.starts_with("docs/src") && !path.starts_with("docs/src") {
        return Some("the book's HTML does not contain that file; name the path in backticks instead".to_owned());
    }
    if wanted.is_empty() {
        return None;
    }
    let of = if file.is_empty() { text.to_owned() } else { fs::read_to_string(root().join(&path)).unwrap_or_default() };
    let known = anchors(&of);
    let is_known = known.iter().any(|anchor| anchor == wanted);
    (!is_known).then(|| format!("{} has no heading #{wanted}; it has {}", path.display(), known.join(", ")))
}

/// A path of the source tree, as the text writes it in backticks: `core/src/lease.rs`.
fn is_source_path(code: &str) -> bool {
    let is_path = code.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let is_ours = code.split_once('/').is_some_and(|(first, _)| {
        matches!(first, "core" | "sim" | "node" | "tests" | "fuzz" | "docs" | ".cargo" | ".ci")
    });
    is_path && is_ours && !code.contains("..")
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).expect("a readable page");
        for (line, content) in prose(&text) {
            let (_, content) = inline_code(content);
            for target in targets(&content) {
                checked += 1;
                if let Some(problem) = problem(&page, &text, target) {
                    problems.push(format!("{}:{line}: {target}: {problem}", page.display()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(checked > 50, "only {checked} links were found: the check does not read the pages");
}

#[test]
fn every_path_named_in_backticks_exists() {
    let mut problems = Vec::new();
    // CHANGELOG.md tells of files as they were.
    for page in pages().into_iter().filter(|page| page != Path::new("CHANGELOG.md")) {
        let text = fs::read_to_string(root().join(&page)).expect("a readable page");
        for (line, content) in prose(&text) {
            let missing = |code: &&str| is_source_path(code) && !root().join(code).exists();
            let missing = inline_code(content).0.into_iter().filter(missing);
            problems.extend(missing.map(|code| format!("{}:{line}: there is no {code}", page.display())));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn the_table_of_contents_lists_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/src/SUMMARY.md")).expect("a table of contents");
    let mut listed: Vec<_> =
        summary.lines().flat_map(targets).map(|target| Path::new("docs/src").join(target)).collect();
    listed.sort();
    let written: Vec<_> = pages()
        .into_iter()
        .filter(|page| page.starts_with("docs/src") && page.file_name().is_some_and(|name| name != "SUMMARY.md"))
        .collect();
    assert_eq!(listed, written);
}

#[test]
fn the_reference_lists_every_endpoint() {
    let reference = fs::read_to_string(root().join("docs/src/reference/rest.md")).expect("a reference");
    let table = fs::read_to_string(root().join("node/api/src/routes.rs")).expect("the table of routes");
    // `get("/jobs", …)`, one a line.
    let paths: Vec<_> = table.lines().filter_map(|line| line.trim().split_once("(\"/")?.1.split('"').next()).collect();
    let missing: Vec<_> = paths.iter().filter(|path| !reference.contains(&format!("/{path}`"))).collect();
    assert!(missing.is_empty(), "docs/src/reference/rest.md does not list {missing:?}");
    assert!(paths.len() > 20, "only {} routes were found: the check does not read the sources", paths.len());
}

#[test]
fn the_reference_lists_every_error_code() {
    let reference = fs::read_to_string(root().join("docs/src/reference/errors.md")).expect("a reference");
    let sources = sources();
    let rests = sources.iter().flat_map(|source| source.split("KE-").skip(1));
    let codes: BTreeSet<_> = rests.filter_map(|rest| rest.get(..9)).filter(|code| is_number(code)).collect();
    let missing: Vec<_> = codes.iter().filter(|code| !reference.contains(&format!("`KE-{code}`"))).collect();
    assert!(missing.is_empty(), "docs/src/reference/errors.md does not list {missing:?}");
    assert!(codes.len() > 10, "only {} codes were found: the check does not read the sources", codes.len());
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let lines = readme.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines; move what is not for the first page into docs/");
}

#[test]
fn headings_become_anchors_as_on_github() {
    assert_eq!(anchor(" What is *absent*, and why"), "what-is-absent-and-why");
    assert_eq!(anchors("# A\n```\n# no heading\n```\n## B c\n## B c\n#hash"), ["a", "b-c", "b-c-1"]);
}

#[test]
fn a_broken_link_is_found() {
    let page = Path::new("README.md");
    assert!(problem(page, "# Here", "#here").is_none());
    assert!(problem(page, "# Here", "#there").is_some());
    assert!(problem(page, "", "docs/src/nowhere.md").is_some());
    assert!(problem(Path::new("docs/src/SUMMARY.md"), "", "../../README.md").is_some());
    assert_eq!(targets(&inline_code("[a](b.md), `[c](d)` and [e](f#g)").1), ["b.md", "f#g"]);
}
