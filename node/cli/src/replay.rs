//! `kirin replay`: shows the decisions of a node and their reasons, from its flight recording.
//!
//! The recorded events drive the same core. The digests in the recording prove that it reaches the same states. With `--set`,
//! the same events also drive a core with other settings, and the decisions that differ are shown. This tells what *this node*
//! would have decided at each event. It is not a simulation: the recording does not contain what the rest of the cluster would
//! have answered to other requests.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use kirin_core::{Ask, Effect, Node, Settings, Timing, describe};
use kirin_recorder::{Recording, Replay, Step, files};
use kirin_wire::JobView;
use serde_json::json;

use crate::args::{About, Format, ReplayArgs};
use crate::exit::Failure;
use crate::when;
use kirin_client::{Request, decode};
use kirin_config::keys::KEYS;
use kirin_config::{Config, Sources};

mod film;

/// How the core of a node with this configuration behaves.
pub type SettingsOf = fn(&Config) -> Settings;

/// The number of differing decisions that are shown.
const DIFFERENCES_MAX: usize = 20;

/// Runs the command.
///
/// # Errors
/// If a recording cannot be read, or the replayed core reaches a state that differs from the recorded one.
pub fn run(args: &ReplayArgs, format: Format, settings: SettingsOf) -> anyhow::Result<()> {
    let paths = if args.files.is_empty() { vec![own_recordings()?] } else { args.files.clone() };
    let files = files(&paths)?;
    ensure!(!files.is_empty(), "there is no recording in {}", paths[0].display());
    let recordings = files.iter().map(|path| Recording::open(path)).collect::<Result<Vec<_>, _>>()?;
    if !args.set.is_empty() {
        return compare(&recordings, &args.set, format, settings);
    }
    if let Some(path) = &args.explain {
        std::fs::write(path, film::picture(&recordings)?.html())
            .with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("{}: open it in a browser", path.display()));
        return Ok(());
    }
    let mut told = Told { args, format, lines: Vec::new() };
    let mut summaries = Vec::new();
    for recording in &recordings {
        summaries.push(told.replay(recording)?);
    }
    told.print()?;
    if format != Format::Json {
        for summary in summaries {
            say(&summary);
        }
    }
    Ok(())
}

/// The directory in which the node of this home directory records.
fn own_recordings() -> anyhow::Result<PathBuf> {
    let config = Config::load(&Sources::of_process(None, None, Vec::new()))?;
    let dir = config
        .recorder
        .dir
        .context("recording is off for the node of this directory (kirin.recorder.enabled); name a recording")?;
    ensure!(dir.exists(), "{} does not exist; name a recording", dir.display());
    Ok(dir)
}

/// Selects what is shown of a replay.
struct Told<'a> {
    args: &'a ReplayArgs,
    format: Format,
    lines: Vec<(i64, String, Step)>,
}

impl Told<'_> {
    fn replay(&mut self, recording: &Recording) -> anyhow::Result<String> {
        let mut replay = Replay::new(recording);
        let began = recording.rows.first().map_or(0, |row| row.wall_ms);
        let (mut events, mut last) = (0_u64, began);
        while let Some(step) = replay.step()? {
            if self.args.until.is_some_and(|until| i128::from(step.wall_ms - began) > until.as_millis().cast_signed()) {
                break;
            }
            events += 1;
            last = step.wall_ms;
            if self.wanted(&step) {
                self.lines.push((step.wall_ms, recording.head.node.clone(), step));
            }
        }
        let head = &recording.head;
        let torn = if recording.torn { ", with a torn end" } else { "" };
        Ok(format!(
            "{} run {} part {}: {events} events in {:.1} s, {} digests agree{torn}",
            head.node,
            &head.run.get(..8).unwrap_or(&head.run),
            head.part,
            (last - began) as f64 / 1000.0,
            replay.checked(),
        ))
    }

    fn wanted(&self, step: &Step) -> bool {
        match &self.args.why {
            Some(about) => about.is_in(step),
            None => self.args.all || step.effects.iter().any(is_decision),
        }
    }

    fn print(&mut self) -> anyhow::Result<()> {
        self.lines.sort_by_key(|(wall_ms, ..)| *wall_ms);
        let width = self.lines.iter().map(|(_, node, _)| node.len()).max().unwrap_or(0);
        for (wall_ms, node, step) in &self.lines {
            if self.format == Format::Json {
                let effects: Vec<_> = step.effects.iter().map(describe::effect).collect();
                say(&json!({ "time_ms": wall_ms, "node": node, "seq": step.seq, "event": describe::event(&step.event), "decisions": effects }).to_string());
                continue;
            }
            say(&format!("{} {node:width$} {:>8}  {}", clock(*wall_ms), step.seq, describe::event(&step.event)));
            for effect in step.effects.iter().filter(|effect| self.args.all || is_decision(effect)) {
                say(&format!("{:1$}→ {2}", "", 25 + width, describe::effect(effect)));
            }
            if self.args.step && !again()? {
                break;
            }
        }
        Ok(())
    }
}

/// Replaces a job's id in `--why` by its number, which a node is asked for. Recordings have only numbers.
///
/// # Errors
/// If no node can be reached, or the job does not exist.
pub async fn numbered(mut args: ReplayArgs, global: crate::Global) -> Result<ReplayArgs, Failure> {
    if let Some(About::JobId(id)) = &args.why {
        let global = global.or_environment(|name| std::env::var(name).ok());
        let data = crate::connect(&global)?.raw(Request::get(&["jobs", id])).await?;
        args.why = Some(About::Job(decode::<JobView>(&data)?.number));
    }
    Ok(args)
}

impl About {
    /// Whether the description of an event or effect names it.
    fn is_in(&self, step: &Step) -> bool {
        let wanted = match self {
            Self::Job(job) => format!("job{job}@"),
            // `numbered` replaced it.
            Self::JobId(_) => return false,
            Self::Node(node) => format!("n{node}."),
        };
        let named = |text: &str| {
            text.match_indices(&wanted).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
        };
        named(&describe::event(&step.event)) || step.effects.iter().any(|effect| named(&describe::effect(effect)))
    }
}

/// Whether an event or effect is more than routine.
const fn is_decision(effect: &Effect) -> bool {
    !matches!(
        effect,
        Effect::Ask { ask: Ask::Beat { .. } | Ask::List | Ask::ListJobs | Ask::ReadJobs(_), .. } | Effect::Watch(_)
    )
}

/// Drives two cores with the same events and shows which decisions differ.
fn compare(recordings: &[Recording], set: &[String], format: Format, of: SettingsOf) -> anyhow::Result<()> {
    let mut runs = 0;
    for recording in recordings.iter().filter(|recording| recording.head.part == 0) {
        let mut replay = Replay::new(recording);
        let mut other: Option<Node> = None;
        let (mut events, mut differ, mut shown) = (0_u64, BTreeMap::new(), 0);
        loop {
            let before = replay.core().cloned();
            let Some(step) = replay.step()? else { break };
            let other = match &mut other {
                Some(other) => other,
                None => {
                    // The core of the first step is the core at the beginning of the run.
                    let (settings, seed) = before
                        .as_ref()
                        .or(replay.core())
                        .map(|core| (core.settings().clone(), core.seed()))
                        .context("the recording contains no state")?;
                    other.insert(Node::start(changed(&settings, set, of)?, seed, step.at))
                }
            };
            let effects = other.step(step.at, step.event.clone());
            events += 1;
            if effects == step.effects {
                continue;
            }
            for effect in step.effects.iter().filter(|effect| !effects.contains(effect)) {
                *differ.entry(("only as recorded", kind(effect))).or_insert(0_u64) += 1;
            }
            for effect in effects.iter().filter(|effect| !step.effects.contains(effect)) {
                *differ.entry(("only with the change", kind(effect))).or_insert(0) += 1;
            }
            shown += 1;
            if shown <= DIFFERENCES_MAX && format != Format::Json {
                say(&format!(
                    "{} {} {:>8}  {}",
                    clock(step.wall_ms),
                    recording.head.node,
                    step.seq,
                    describe::event(&step.event)
                ));
                for effect in step.effects.iter().filter(|effect| !effects.contains(effect)) {
                    say(&format!("  as recorded      {}", describe::effect(effect)));
                }
                for effect in effects.iter().filter(|effect| !step.effects.contains(effect)) {
                    say(&format!("  with the change  {}", describe::effect(effect)));
                }
            }
        }
        runs += 1;
        if format == Format::Json {
            let differ: Vec<_> = differ
                .iter()
                .map(|((side, kind), count)| json!({ "side": side, "kind": kind, "count": count }))
                .collect();
            say(&json!({ "node": recording.head.node, "events": events, "differing": shown, "decisions": differ })
                .to_string());
        } else {
            say(&format!("{}: {shown} of {events} events were decided differently", recording.head.node));
            for ((side, kind), count) in differ {
                say(&format!("  {count:>8} {kind} {side}"));
            }
        }
    }
    ensure!(runs > 0, "--set needs the beginning of a run, which these recordings do not contain");
    Ok(())
}

const TIMEOUT: &str = "kylin.server.leader-race.heart-beat-timeout";
const INTERVAL: &str = "kylin.server.leader-race.heart-beat-interval";

/// A setting with the full name of its key. `heart-beat-timeout=3` is accepted, because only one key ends so.
fn with_whole_key(set: &str) -> String {
    match set.split_once('=') {
        Some((key, value)) if !key.contains('.') => {
            let mut names = KEYS.iter().map(|k| k.name).filter(|name| name.rsplit('.').next() == Some(key.trim()));
            match (names.next(), names.next()) {
                (Some(name), None) => format!("{name}={value}"),
                _ => set.to_owned(),
            }
        }
        _ => set.to_owned(),
    }
}

/// The recorded timing with the changes of `--set`. A timeout below two intervals also shortens the interval.
fn with_timing(recorded: Timing, set: &[String]) -> Vec<String> {
    let value = |key: &str| set.iter().rev().filter_map(|one| one.split_once('=')).find(|(name, _)| name.trim() == key);
    let mut all = vec![];
    if value(TIMEOUT).is_none() {
        all.push(format!("{TIMEOUT}={}ms", recorded.timeout().millis()));
    }
    if value(INTERVAL).is_none() {
        let timeout = value(TIMEOUT).and_then(|(_, text)| when::span(text.trim()).ok());
        let longest = timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_millis() / 2).unwrap_or(u64::MAX));
        all.push(format!("{INTERVAL}={}ms", recorded.interval().millis().min(longest)));
    }
    all.extend(set.iter().cloned());
    all
}

/// The settings of the run, changed by these keys.
fn changed(recorded: &Settings, set: &[String], of: SettingsOf) -> anyhow::Result<Settings> {
    let plain = |set: Vec<String>| -> anyhow::Result<Settings> {
        let dir = tempfile::tempdir()?;
        Ok(of(&Config::load(&Sources::of_process(Some(dir.path().to_owned()), None, set))?))
    };
    let set: Vec<String> = set.iter().map(|one| with_whole_key(one)).collect();
    let (base, other) = (plain(with_timing(recorded.timing, &[]))?, plain(with_timing(recorded.timing, &set))?);
    if base == other {
        bail!("{} does not affect the core's decisions", set.join(", "));
    }
    let mut settings = recorded.clone();
    if base.role != other.role {
        settings.role = other.role;
    }
    if base.slots != other.slots {
        settings.slots = other.slots;
    }
    if base.timing != other.timing {
        settings.timing = other.timing;
    }
    if base.in_order != other.in_order {
        settings.in_order = other.in_order;
    }
    if base.leader_only != other.leader_only {
        settings.leader_only = other.leader_only;
    }
    Ok(settings)
}

const fn kind(effect: &Effect) -> &'static str {
    match effect {
        Effect::Ask { ask, .. } => match ask {
            Ask::Beat { .. } => "beat",
            Ask::Fence { .. } => "fence",
            Ask::Take { .. } => "take",
            Ask::Place { .. } => "place",
            Ask::Claim { .. } | Ask::Yield { .. } => "claim",
            Ask::List | Ask::ListJobs | Ask::ReadJobs(_) | Ask::ListNode(_) => "read",
            _ => "other question",
        },
        Effect::Begin { .. } | Effect::Proceed { .. } | Effect::Cancel { .. } => "order to an attempt",
        Effect::Watch(_) | Effect::Probe(_) => "watching",
        Effect::Nudge { .. } => "nudge",
        Effect::Lead { .. } | Effect::Resign(_) => "leadership",
        Effect::Note(_) => "note",
        Effect::Exit => "exit",
    }
}

/// The time of day in UTC.
fn clock(wall_ms: i64) -> String {
    let ms = wall_ms.rem_euclid(86_400_000);
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Waits for Enter; false if the user quits.
fn again() -> anyhow::Result<bool> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line)?;
    Ok(read > 0 && !line.trim().starts_with('q'))
}

fn say(line: &str) {
    // A closed pipe (`| head`) ends the output.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use kirin_core::Span;

    #[test]
    fn a_setting_changes_the_recorded_timing_and_nothing_else() {
        let recorded = Timing::new(Span::from_secs(60), Span::from_secs(30)).unwrap();
        let set = |text: &str| with_timing(recorded, &[with_whole_key(text)]).join(" ");
        assert_eq!(set("heart-beat-timeout=3"), format!("{INTERVAL}=1500ms {TIMEOUT}=3"));
        assert_eq!(set("heart-beat-timeout=2min"), format!("{INTERVAL}=30000ms {TIMEOUT}=2min"));
        assert_eq!(set("kylin.server.leader-race.heart-beat-interval=5"), format!("{TIMEOUT}=60000ms {INTERVAL}=5"));
        assert_eq!(set("kylin.job.x=1"), format!("{TIMEOUT}=60000ms {INTERVAL}=30000ms kylin.job.x=1"));
        assert_eq!(with_whole_key("nothing=1"), "nothing=1");
    }
}
