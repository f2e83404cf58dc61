//! Tests of the documentation: commands in blocks marked `<!-- run -->` are executed, and their output is compared with
//! the blocks marked `<!-- prints -->`.
//!
//! The blocks of a page are one shell session in an empty directory, with the `kirin` program under test. Only the
//! ports 7070 to 7073 are replaced by free ones. In an expected line, `…` matches any text. Expected lines must appear
//! in this order in the output of the block before them. Other lines may come between them.
//!
//! Links and the table of contents are checked by the crate `kirin-docs`, which needs no build of the program.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use kirin_tests::servers::process::free_ports;

use crate::cluster::program;

/// The ports that the pages use. The first is the default of a node.
const PORTS: [&str; 4] = ["7070", "7071", "7072", "7073"];
/// The timeout, for nodes of a debug build on a busy machine.
const SECONDS_MAX: u32 = 300;

/// A fenced block after a marker.
#[derive(Debug, PartialEq)]
struct Block {
    /// The line of its marker, from 1.
    line: usize,
    text: String,
}

/// A block of commands and their expected output.
#[derive(Debug, PartialEq)]
struct Session {
    commands: Block,
    prints: Vec<Block>,
}

/// The marked blocks of a page.
fn sessions(page: &str) -> anyhow::Result<Vec<Session>> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, marker)) = lines.next() {
        if marker != "<!-- run -->" && marker != "<!-- prints -->" {
            continue;
        }
        let line = at + 1;
        let (_, fence) = lines.next().context("a marker at the end of the page")?;
        ensure!(fence.starts_with("```"), "line {line}: a fenced block must follow the marker");
        let mut text = String::new();
        for (_, content) in lines.by_ref().take_while(|(_, content)| *content != "```") {
            text.push_str(content);
            text.push('\n');
        }
        let block = Block { line, text };
        match (marker, sessions.last_mut()) {
            ("<!-- run -->", _) => sessions.push(Session { commands: block, prints: Vec::new() }),
            (_, Some(session)) => session.prints.push(block),
            (_, None) => anyhow::bail!("line {line}: no commands precede this output"),
        }
    }
    Ok(sessions)
}

/// Replaces runs of spaces by single spaces, so that column widths do not matter.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a line contains the pieces of an expected line in their order.
fn matches(expected: &str, line: &str) -> bool {
    let line = squeezed(line);
    let mut rest = line.as_str();
    expected.split('…').map(squeezed).all(|piece| match rest.find(&piece) {
        Some(at) => {
            rest = &rest[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// The first expected line that the output lacks.
fn missing<'a>(expected: &'a str, output: &str) -> Option<&'a str> {
    let mut lines = output.lines();
    expected.lines().find(|expected| !lines.any(|line| matches(expected, line)))
}

/// README.md and the pages of the book that have commands to run.
fn pages() -> anyhow::Result<Vec<(PathBuf, Vec<Session>)>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![root.join("README.md")];
    let mut folders = vec![root.join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut pages = Vec::new();
    for file in files {
        let sessions = sessions(&std::fs::read_to_string(&file)?).with_context(|| file.display().to_string())?;
        if !sessions.is_empty() {
            pages.push((file, sessions));
        }
    }
    Ok(pages)
}

/// Runs a page's commands and compares what they print.
fn run(page: &Path, sessions: &[Session]) -> anyhow::Result<()> {
    let ports = free_ports(PORTS.len())?;
    let replaced = |text: &str| {
        PORTS.iter().zip(&ports).fold(text.to_owned(), |text, (from, to)| text.replace(from, &to.to_string()))
    };
    let begin = |session: &Session| format!("@@ line {}", session.commands.line);
    // Ends nodes that the page or a failure leaves running.
    let mut script = "trap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for session in sessions {
        script.push_str(&format!("echo '{0}'; echo '{0}' >&2\n{1}", begin(session), replaced(&session.commands.text)));
    }
    let dir = tempfile::tempdir()?;
    let home = dir.path().join("home");
    std::fs::create_dir_all(home.join("conf"))?;
    std::fs::write(home.join("conf/kylin.properties"), format!("server.port={}\n", ports[0]))?;
    std::fs::write(dir.path().join("script"), &script)?;
    let (out, err) = (dir.path().join("out"), dir.path().join("err"));
    let program = program();
    let beside = program.parent().context("a program is in a directory")?;
    let mut path = vec![beside.to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=10", &SECONDS_MAX.to_string(), "bash", "-euo", "pipefail"])
        .arg(dir.path().join("script"));
    for name in ["HOME", "PASSWORD", "PROJECT", "USER", "DATA_DIR"].map(|name| format!("KIRIN_{name}")) {
        command.env_remove(name);
    }
    let status = command
        .current_dir(&home)
        .env_remove("KYLIN_HOME")
        .env("PATH", std::env::join_paths(path)?)
        .env("KIRIN_URL", format!("http://127.0.0.1:{}", ports[0]))
        .stdin(std::process::Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .status()
        .context("cannot run timeout and bash")?;
    let out = String::from_utf8_lossy(&std::fs::read(&out)?).into_owned();
    let err = String::from_utf8_lossy(&std::fs::read(&err)?).into_owned();
    let shown = page.display();
    ensure!(
        status.success(),
        "the commands of {shown} fail ({status}); standard output:\n{out}\nstandard error:\n{err}"
    );
    for session in sessions {
        let (_, after) = out.split_once(&format!("{}\n", begin(session))).context("the block has begun")?;
        let printed = after.split_once("@@ line ").map_or(after, |(printed, _)| printed);
        for block in &session.prints {
            if let Some(line) = missing(&replaced(&block.text), printed) {
                anyhow::bail!(
                    "{shown}:{}: '{line}' is not printed; this is:\n{printed}\nstandard error:\n{err}",
                    block.line
                );
            }
        }
    }
    Ok(())
}

#[test]
fn commands_in_the_documentation_run_and_print_the_shown_output() -> anyhow::Result<()> {
    let pages = pages()?;
    ensure!(pages.iter().any(|(page, _)| page.ends_with("README.md")), "the README has no commands to run");
    ensure!(pages.len() > 3, "the guide has no commands to run");
    let failed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = pages.iter().map(|(page, sessions)| scope.spawn(move || run(page, sessions))).collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("it does not panic").err()).collect()
    });
    ensure!(failed.is_empty(), "{}", failed.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("\n\n"));
    Ok(())
}

#[test]
fn a_page_with_wrong_output_is_detected() -> anyhow::Result<()> {
    let page = |prints: &str| {
        format!("<!-- run -->\n```sh\necho 1   a 2\necho b\n```\n<!-- prints -->\n```text\n{prints}\n```\n")
    };
    let run = |text: &str| run(Path::new("page.md"), &sessions(text)?);
    run(&page("1 … 2\nb"))?;
    let error = run(&page("b\n1")).expect_err("the lines come in another order").to_string();
    ensure!(error.contains("page.md:6: '1' is not printed"), "{error}");
    let error = run("<!-- run -->\n```sh\nfalse\necho\n```\n").expect_err("a command fails").to_string();
    ensure!(error.contains("@@ line 1"), "{error}");
    ensure!(
        sessions("<!-- run -->\ntext\n").is_err() && sessions("<!-- prints -->\n```\n```\n").is_err(),
        "stray markers"
    );
    Ok(())
}
