//! Transcripts: acts, each followed by the effects of the cores. Stories pin *what* happens, transcripts *how*.
//!
//! ```text
//! # A title
//! cluster seed=7 nodes=2
//! run 1s
//!        1.204 ms n1 ask beat
//! ```
//! Lines that begin with a space are recorded; the others are comments, the setup and acts. In place of an act, `hush`
//! leaves the routine (beats, lists, polls) out of what follows, and `speak` includes it again.

use core::fmt::Write;

use kirin_core::{Ask, Effect};

use crate::act::Act;
use crate::describe;
use crate::setup::Setup;
use crate::world::World;

/// Runs the acts of a transcript and returns it with new recorded lines.
///
/// # Errors
/// The line that cannot be parsed, or the violated rule.
pub fn rewrite(text: &str) -> Result<String, String> {
    let mut world: Option<World> = None;
    let mut out = String::new();
    let mut hushed = false;
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        let _ = writeln!(out, "{line}");
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match (&mut world, line) {
            (_, "hush") => hushed = true,
            (_, "speak") => hushed = false,
            (None, _) => {
                let setup: Setup = line.parse().map_err(|wrong| format!("\"{line}\": {wrong}"))?;
                let mut fresh = World::new(setup, None);
                fresh.record();
                world = Some(fresh);
            }
            (Some(world), _) => {
                world.act(&line.parse::<Act>().map_err(|e| e.to_string())?);
                for line in world.recorded() {
                    if !hushed || !is_routine(&line.effect) {
                        let (ms, us) = (line.at / 1_000, line.at % 1_000);
                        let _ = writeln!(out, "{ms:>9}.{us:03} ms {} {}", line.host, describe::effect(&line.effect));
                    }
                }
                if let Some(violation) = world.violation() {
                    return Err(violation.to_string());
                }
            }
        }
    }
    Ok(out)
}

fn is_routine(effect: &Effect) -> bool {
    matches!(effect, Effect::Ask { ask: Ask::Beat { .. } | Ask::List | Ask::ListJobs, .. })
}
