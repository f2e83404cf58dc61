//! Runs every seed in two processes, whose journals must be equal.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::Context as _;

use crate::scenario::Scenario;

/// The number of lines of the journal that are shown after a failure.
const TAIL: usize = 40;

/// The situations that must occur in some runs of [`Scenario::Shell`], and the text that shows them in the journal.
pub const SOMETIMES: [(&str, &str); 16] = [
    ("a job was taken over", "note=TookOver"),
    ("a dead process was detected", "evidence: Exited"),
    ("a member was silent for too long", "evidence: Silent"),
    ("a living member was fenced", "note=WasFenced"),
    ("a member saw most others dead", "note=SuspectsItself"),
    ("trust ended", "note=TrustEnded"),
    ("trust came back", "note=TrustRestored"),
    ("an attempt was stopped for lack of trust", "why=TrustEnded"),
    ("a job was handed over", "note=HandedOver"),
    ("a user stopped an attempt", "why=Acted"),
    ("a user discarded a job", "discarded: true"),
    ("a write was refused", "answer=Refused"),
    ("a session expired", "why=\"expired\""),
    ("a session was ended by force", "why=\"ended by force\""),
    ("ZooKeeper lost its quorum", "ZooKeeper has no quorum"),
    ("an older registration was removed", "removed an older registration"),
];

/// The result of a seed.
#[derive(Debug)]
pub struct Outcome {
    /// The failure, if there was one.
    pub trouble: Option<String>,
    /// The number of lines of the journal.
    pub lines: usize,
    /// The situations of [`SOMETIMES`] that occurred.
    pub seen: BTreeSet<&'static str>,
}

/// The result of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// The number of failures.
    pub failed: usize,
    /// The number of lines of their journals.
    pub lines: usize,
    /// The situations of [`SOMETIMES`] that occurred.
    pub seen: BTreeSet<&'static str>,
}

impl Summary {
    /// The situations of [`SOMETIMES`] that never occurred.
    pub fn never(&self) -> Vec<&'static str> {
        SOMETIMES.iter().map(|(what, _)| *what).filter(|what| !self.seen.contains(what)).collect()
    }
}

/// Runs a seed with `program`, in two concurrent processes.
///
/// # Errors
/// If the program cannot be run.
pub fn run(program: &Path, scenario: Scenario, seed: u64) -> anyhow::Result<Outcome> {
    let start = || {
        Command::new(program)
            .args(["--scenario", scenario.name(), "--journal", "--seed", &seed.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a run")
    };
    let (one, other) = (start()?, start()?);
    let other = std::thread::spawn(move || other.wait_with_output());
    let one = one.wait_with_output()?;
    let other = other.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
    let journal = String::from_utf8_lossy(&one.stdout);
    let seen = SOMETIMES.iter().filter(|(_, told)| journal.contains(told)).map(|(what, _)| *what).collect();
    let lines = journal.lines().count();
    Ok(Outcome { trouble: difference(&one, &other).or_else(|| failure(&one)), lines, seen })
}

fn difference(one: &Output, other: &Output) -> Option<String> {
    if one.stdout == other.stdout && one.status == other.status {
        return None;
    }
    let lines = |output: &Output| -> Vec<String> { output.stdout.lines().map_while(Result::ok).collect() };
    let (one, other) = (lines(one), lines(other));
    let at = one.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    let line = |lines: &[String]| lines.get(at).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    Some(format!("two runs differ from line {} on:\n  {}\n  {}", at + 1, line(&one), line(&other)))
}

fn failure(run: &Output) -> Option<String> {
    if run.status.success() {
        return None;
    }
    let journal = String::from_utf8_lossy(&run.stdout);
    let lines: Vec<&str> = journal.lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
    Some(format!("{tail}\n{}", String::from_utf8_lossy(&run.stderr)))
}

/// Runs seeds one after the other and reports failures.
///
/// # Errors
/// If the program cannot be run, or the report cannot be written.
pub fn run_all(
    program: &Path,
    scenario: Scenario,
    seeds: std::ops::Range<u64>,
    mut say: impl std::io::Write,
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    for seed in seeds.clone() {
        let Outcome { trouble, lines, seen } = run(program, scenario, seed)?;
        summary.lines += lines;
        summary.seen.extend(seen);
        if let Some(trouble) = trouble {
            summary.failed += 1;
            writeln!(say, "{trouble}\nagain: --scenario {} --seed {seed}", scenario.name())?;
            say.flush()?;
        }
    }
    let (name, count, Summary { failed, lines, .. }) = (scenario.name(), seeds.end - seeds.start, &summary);
    writeln!(say, "{name}: {count} seeds twice, {lines} lines of journal each time, {failed} failed")?;
    Ok(summary)
}
