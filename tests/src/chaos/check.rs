//! What must hold afterwards, seen from outside: through the API, in the sink, in the recordings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::clients::Remembered;
use super::deployment::Deployment;
use super::fault::{Done, Fault};

/// How late a step may be seen in the history after the moment that caused it, on a busy machine.
const SLACK_MS: i64 = 3_000;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// What must not be, in words.
    pub wrong: Vec<String>,
    /// Milliseconds from the fault to the new claim, for each kind of fault.
    pub takeovers: BTreeMap<String, Vec<i64>>,
    /// Members that were declared dead without a reason.
    pub false_fences: u64,
    /// Jobs in all.
    pub jobs: usize,
    /// Events in the recordings that were replayed.
    pub replayed: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Steps of the sink.
    pub effects: usize,
}

/// Waits until nothing runs any more, and checks everything.
///
/// # Errors
/// If it can't be looked at.
pub fn all(
    cluster: &mut Deployment,
    said: &Remembered,
    faults: &[Done],
    beats: (u64, u64),
) -> anyhow::Result<Findings> {
    let mut found = Findings { jobs: said.submitted.len(), queries: said.queries, ..Findings::default() };
    found.wrong.extend(said.unseen.iter().map(|what| format!("acknowledged and not seen: {what}")));
    found.wrong.extend(said.strange.iter().cloned());
    if said.reads == 0 || said.queries == 0 {
        found.wrong.push(format!(
            "{} reads and {} queries were answered: nothing was put to the test",
            said.reads, said.queries
        ));
    }
    let committed = jobs(cluster, said, &mut found)?;
    sink(cluster, &committed, &mut found)?;
    history(cluster, faults, beats, &mut found)?;
    for node in 0..cluster.nodes.len() {
        cluster.stop_node(node)?;
    }
    recordings(cluster, faults, &mut found);
    Ok(found)
}

/// The epoch under which each step of a job was committed.
type Committed = BTreeMap<String, Vec<u64>>;

/// Every acknowledged job reached one final state, and did each step once.
fn jobs(cluster: &Deployment, said: &Remembered, found: &mut Findings) -> anyhow::Result<Committed> {
    let mut committed = Committed::new();
    for submitted in &said.submitted {
        let Some(id) = &submitted.job else { continue };
        let view = cluster.wait(&format!("job {id} to end"), |cluster| {
            let view = cluster.ask(0, &["jobs", id], &[])?;
            Ok(matches!(view["job_status"].as_str(), Some("FINISHED" | "ERROR" | "DISCARDED")).then_some(view))
        });
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                found.wrong.push(format!("job {id} ({}) is lost or hangs: {error:#}", submitted.key));
                continue;
            }
        };
        match view["job_status"].as_str() {
            Some("FINISHED") => {}
            Some("DISCARDED") if submitted.discarded => {}
            status => {
                found.wrong.push(format!("job {id} ({}) ended as {status:?}: {}", submitted.key, view["job_error"]))
            }
        }
        let detail = cluster.wait("the steps", |cluster| cluster.ask(0, &["jobs", id, "detail"], &[]).map(Some))?;
        let steps = detail.as_array().map_or(&[][..], Vec::as_slice);
        let done: Vec<_> = steps.iter().filter(|step| step["step_status"] == "FINISHED").collect();
        let epochs: Vec<u64> = done.iter().filter_map(|step| step["epoch"].as_u64()).collect();
        let numbers: Vec<_> = done.iter().map(|step| step["sequence_id"].as_u64()).collect();
        if !numbers.is_sorted() || numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            found.wrong.push(format!("job {id}: its steps are {numbers:?}"));
        }
        if !epochs.is_sorted() {
            found.wrong.push(format!("job {id}: steps were committed under epochs {epochs:?}"));
        }
        committed.insert(id.clone(), epochs);
    }
    Ok(committed)
}

/// No effect under a stale epoch after one under a newer, and no step begun again after its commit.
fn sink(cluster: &Deployment, committed: &Committed, found: &mut Findings) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&cluster.sink).context("the sink")?;
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [job, epoch, step, moment] = words[..] else {
            found.wrong.push(format!("the sink has a line \"{line}\""));
            continue;
        };
        found.effects += 1;
        let (epoch, step): (u64, usize) = (epoch.parse()?, step.parse()?);
        let newest = newest.entry(job).or_insert(epoch);
        if epoch < *newest {
            found
                .wrong
                .push(format!("job {job}: step {step} has an effect under epoch {epoch} after one under {newest}"));
        }
        *newest = epoch.max(*newest);
        if moment == "begin"
            && let Some(by) = committed.get(job).and_then(|epochs| epochs.get(step))
            && epoch > *by
        {
            found.wrong.push(format!("job {job}: step {step} was begun under epoch {epoch}, but committed under {by}"));
        }
    }
    Ok(())
}

/// Nobody was declared dead without a reason; how long takeovers took.
fn history(cluster: &Deployment, faults: &[Done], beats: (u64, u64), found: &mut Findings) -> anyhow::Result<()> {
    let page = cluster.wait("the history", |cluster| {
        cluster.ask(0, &["cluster", "history"], &[("page_size", "10000".to_owned())]).map(Some)
    })?;
    let lines = page["value"].as_array().map_or(&[][..], Vec::as_slice);
    let (timeout_ms, interval_ms) = (beats.0 as i64 * 1_000, beats.1 as i64 * 1_000);
    let culprit = |line: &Value, at: i64| {
        let node = cluster.nodes.iter().position(|node| line["node"] == node.name)?;
        let earliest = at - timeout_ms - interval_ms - SLACK_MS;
        faults
            .iter()
            .rev()
            .find(|done| done.suspects().contains(&node) && done.from_ms <= at && done.until_ms >= earliest)
    };
    for line in lines {
        let at = line["at"].as_i64().unwrap_or_default();
        match line["event"].as_str() {
            Some("fence") if culprit(line, at).is_none() => {
                found.false_fences += 1;
                found
                    .wrong
                    .push(format!("{} was declared dead ({}) for no reason at {at}", line["node"], line["evidence"]));
            }
            Some("takeover") => {
                let Some(done) = culprit(line, at) else { continue };
                let phases = line["phases"].as_array().map_or(&[][..], Vec::as_slice);
                let first_step = phases.iter().find(|phase| phase["name"] == "first step");
                let first_step = first_step.and_then(|phase| phase["ms"].as_f64()).unwrap_or_default() as i64;
                let took = (at - first_step - done.from_ms).max(0);
                found.takeovers.entry(done.fault.name()).or_default().push(took);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every recording replays to the recorded states. Those of another program don't: its core is another.
fn recordings(cluster: &Deployment, faults: &[Done], found: &mut Findings) {
    let upgrades: Vec<_> = faults.iter().filter(|done| done.fault == Fault::Upgrade).collect();
    let is_own = |path: &Path| {
        // A file's name begins with the moment of its own.
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let at_ms = name.split('-').next().and_then(|at| at.parse::<i64>().ok()).unwrap_or(0);
        !upgrades.iter().any(|done| (done.from_ms..=done.until_ms).contains(&at_ms))
    };
    for node in 0..cluster.nodes.len() {
        match replay(cluster, node, &is_own) {
            Ok(0) => found.wrong.push(format!("{} has recorded nothing", cluster.nodes[node].name)),
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
