//! Checks after the attack, from outside: through the API, in the sink, in the recordings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::clients::Remembered;
use super::deployment::Deployment;
use super::fault::{Done, Fault, THAW, THAWED};
use super::ledger;

/// Tolerated delay between an event and its line in the history, on a busy machine.
const SLACK_MS: i64 = 3_000;

/// The findings.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Descriptions of violations.
    pub wrong: Vec<String>,
    /// Milliseconds from the fault to the new claim, by kind of fault.
    pub takeovers: BTreeMap<String, Vec<i64>>,
    /// Members that were declared dead without a reason.
    pub false_fences: u64,
    /// The number of jobs.
    pub jobs: usize,
    /// Replayed events.
    pub replayed: u64,
    /// Answered queries.
    pub queries: u64,
    /// Steps recorded in the sink.
    pub effects: usize,
}

/// Checks everything after all jobs have ended.
///
/// # Errors
/// If a source cannot be read.
pub fn all(
    cluster: &mut Deployment,
    said: &Remembered,
    journal: &Journal,
    faults: &[Done],
    beats: (u64, u64),
) -> anyhow::Result<Findings> {
    let mut found = jobs(said, &std::fs::read_to_string(&cluster.sink).context("the sink")?);
    if said.reads == 0 || said.queries == 0 {
        found.wrong.push(format!(
            "{} reads and {} queries were answered: nothing was put to the test",
            said.reads, said.queries
        ));
    }
    found.wrong.extend(ledger::check(cluster)?);
    history(cluster, journal, faults, beats, &mut found);
    for node in 0..cluster.nodes.len() {
        cluster.stop_node(node)?;
    }
    recordings(cluster, faults, &mut found);
    Ok(found)
}

/// Checks the users' jobs.
pub fn jobs(said: &Remembered, text_of_sink: &str) -> Findings {
    let mut found = Findings { jobs: said.submitted.len(), queries: said.queries, ..Findings::default() };
    found.wrong.extend(said.unseen.iter().map(|what| format!("acknowledged and not seen: {what}")));
    found.wrong.extend(said.strange.iter().cloned());
    found.wrong.extend(said.audited.wrong.iter().cloned());
    sink(text_of_sink, &said.audited.committed, &mut found);
    found
}

/// Checks that no effect under a stale epoch follows one under a newer epoch, and that no step starts again after its commit.
fn sink(text: &str, committed: &BTreeMap<String, Vec<u64>>, found: &mut Findings) {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut thawing = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            [THAW, node] => {
                thawing.insert(node);
                continue;
            }
            [THAWED] => {
                thawing.clear();
                continue;
            }
            _ => {}
        }
        let [job, epoch, step, moment, node] = words[..] else {
            found.wrong.push(format!("the sink has a line \"{line}\""));
            continue;
        };
        found.effects += 1;
        let (Ok(epoch), Ok(step)) = (epoch.parse::<u64>(), step.parse::<usize>()) else {
            found.wrong.push(format!("the sink has a line \"{line}\""));
            continue;
        };
        let newest = newest.entry(job).or_insert(epoch);
        // A process that stood still cannot obey; the target must check the epoch.
        if epoch < *newest && !thawing.contains(node) {
            found
                .wrong
                .push(format!("job {job}: step {step} has an effect under epoch {epoch} after one under {newest}"));
        }
        *newest = epoch.max(*newest);
        if moment == "begin"
            && let Some(by) = committed.get(job).and_then(|epochs| epochs.get(step))
            && epoch > *by
        {
            found
                .wrong
                .push(format!("job {job}: step {step} was started under epoch {epoch}, but committed under {by}"));
        }
    }
}

/// The cluster's history as read so far.
#[derive(Clone, Debug, Default)]
pub struct Journal(BTreeMap<String, Value>);

impl Journal {
    /// Reads new lines; old lines are deleted by the cluster.
    ///
    /// # Errors
    /// If no node answers.
    pub fn read_on(&mut self, cluster: &Deployment) -> anyhow::Result<()> {
        let page = cluster.wait("the history", |cluster| {
            cluster.ask(0, &["cluster", "history"], &[("page_size", "2000".to_owned())]).map(Some)
        })?;
        let lines = page["value"].as_array().cloned().unwrap_or_default();
        self.0.extend(lines.into_iter().map(|line| (line.to_string(), line)));
        Ok(())
    }

    /// Whether there is a line of this kind about the same member, with the same evidence if one is named.
    fn has(&self, kinds: &[&str], about: &Value) -> bool {
        let same = |name: &str, line: &Value| line[name] == about[name];
        self.0.values().any(|line| {
            kinds.iter().any(|kind| line["event"] == *kind)
                && same("node", line)
                && same("incarnation", line)
                && (about["evidence"].is_null() || same("evidence", line))
        })
    }
}

/// Checks that every declared death and every takeover has a reason, and measures takeovers.
fn history(cluster: &Deployment, journal: &Journal, faults: &[Done], beats: (u64, u64), found: &mut Findings) {
    let (timeout_ms, interval_ms) = (beats.0 as i64 * 1_000, beats.1 as i64 * 1_000);
    let culprit = |line: &Value, at: i64| {
        let node = cluster.nodes.iter().position(|node| line["node"] == node.name)?;
        let earliest = at - timeout_ms - interval_ms - SLACK_MS;
        faults
            .iter()
            .rev()
            .find(|done| done.suspects().contains(&node) && done.from_ms <= at && done.until_ms >= earliest)
    };
    for line in journal.0.values() {
        let at = line["at"].as_i64().unwrap_or_default();
        match (line["event"].as_str(), culprit(line, at)) {
            // A node that joins ends its own earlier membership. If the answer to a join is lost, it joins again.
            (Some("fence"), _) if line["evidence"] == "replaced" && line["by"] == line["node"] => {}
            (Some("fence"), None) => {
                found.false_fences += 1;
                found
                    .wrong
                    .push(format!("{} was declared dead ({}) for no reason at {at}", line["node"], line["evidence"]));
            }
            (Some("fence"), Some(done)) => {
                let (known, right) = (line["evidence"].as_str().unwrap_or_default(), done.fault.evidence());
                if !right.is_empty() && !right.contains(&known) {
                    let fault = done.fault.name();
                    found.wrong.push(format!(
                        "\"{fault}\": wrong evidence \"{known}\" for the death of {}: {line}",
                        line["node"]
                    ));
                }
            }
            (Some("takeover"), done) => {
                if !journal.has(&["fence", "leave"], line) {
                    found.wrong.push(format!("nothing in the history explains the takeover {line}"));
                }
                let Some(done) = done else { continue };
                let phases = line["phases"].as_array().map_or(&[][..], Vec::as_slice);
                let first_step = phases.iter().find(|phase| phase["name"] == "first step");
                let first_step = first_step.and_then(|phase| phase["ms"].as_f64()).unwrap_or_default() as i64;
                let took = (at - first_step - done.from_ms).max(0);
                found.takeovers.entry(done.fault.name()).or_default().push(took);
            }
            _ => {}
        }
    }
}

/// Checks that every recording replays to the recorded states, except those of another program, whose core differs.
fn recordings(cluster: &Deployment, faults: &[Done], found: &mut Findings) {
    let upgrades: Vec<_> = faults.iter().filter(|done| done.fault == Fault::Upgrade).collect();
    let is_own = |path: &Path| {
        // A file's name begins with its time of creation.
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let at_ms = name.split('-').next().and_then(|at| at.parse::<i64>().ok()).unwrap_or(0);
        !upgrades.iter().any(|done| (done.from_ms..=done.until_ms).contains(&at_ms))
    };
    for node in 0..cluster.nodes.len() {
        match replay(cluster, node, &is_own) {
            Ok(0) => found.wrong.push(format!("{} recorded nothing", cluster.nodes[node].name)),
            Ok(events) => found.replayed += events,
            Err(error) => found.wrong.push(format!("a recording of {}: {error:#}", cluster.nodes[node].name)),
        }
    }
}

fn replay(cluster: &Deployment, node: usize, is_own: &dyn Fn(&Path) -> bool) -> anyhow::Result<u64> {
    let mut events = 0;
    for path in kirin_recorder::files(&[cluster.recordings(node)])?.into_iter().filter(|path| is_own(path)) {
        let recording = kirin_recorder::Recording::open(&path).with_context(|| path.display().to_string())?;
        let mut replay = kirin_recorder::Replay::new(&recording);
        while replay.step().with_context(|| path.display().to_string())?.is_some() {
            events += 1;
        }
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of_sink(lines: &[&str], committed: &[u64]) -> Vec<String> {
        let mut found = Findings::default();
        sink(&lines.join("\n"), &BTreeMap::from([("j".to_owned(), committed.to_vec())]), &mut found);
        found.wrong
    }

    #[test]
    fn late_effects_are_violations_except_from_frozen_processes() {
        let taken_over = ["j 1 0 begin n1", "j 2 0 begin n2", "j 2 0 end n2"];
        assert_eq!(of_sink(&taken_over, &[2]), [""; 0]);
        let late = "j 1 0 end n1";
        assert_eq!(of_sink(&[taken_over.as_slice(), &[late]].concat(), &[2]).len(), 1);
        assert_eq!(of_sink(&[taken_over.as_slice(), &["thaw n1", late, "thawed"]].concat(), &[2]).len(), 0);
        assert_eq!(of_sink(&[taken_over.as_slice(), &["thaw n3", late, "thawed"]].concat(), &[2]).len(), 1);
        assert_eq!(of_sink(&[taken_over.as_slice(), &["thaw n1", "thawed", late]].concat(), &[2]).len(), 1);
        assert_eq!(of_sink(&taken_over, &[1]).len(), 1, "begun again after its commit");
        assert_eq!(of_sink(&["j 1 0"], &[]).len(), 1, "no line that a job writes");
    }

    #[test]
    fn a_takeover_without_a_death_is_a_violation() {
        let line = |event, evidence: Option<&str>| json!({ "event": event, "node": "n1", "incarnation": 3, "evidence": evidence });
        let takeover = line("takeover", Some("silent"));
        let explained = |lines: &[Value]| {
            let lines = lines.iter().map(|line| (line.to_string(), line.clone()));
            Journal(lines.collect()).has(&["fence", "leave"], &takeover)
        };
        assert!(explained(&[line("fence", Some("silent"))]));
        assert!(!explained(&[line("fence", Some("exited"))]), "by another evidence");
        assert!(!explained(&[line("join", None)]));
        assert!(!explained(&[]));
    }
}
