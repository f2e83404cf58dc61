//! `kirin-sim`: runs seeds, shrinks failures, prints how to repeat them, and draws them.

#![expect(clippy::disallowed_methods, reason = "seeds per second are counted on the real clock")]

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kirin_core::Span;
use kirin_sim::hunt::{self, Hunt, Tally};
use kirin_sim::rule::Rule;
use kirin_sim::search::Script;
use kirin_sim::{Plant, Profile, Violation, describe, explain, plant, table};

mod bench;
mod options;

use options::{Command, Many, One, Reach, Source};

/// Over this many seeds, every situation must occur.
const SEEDS_ENOUGH: u64 = 2_000;

/// The file with the table of planted bugs.
const PLANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/PLANTS.md");

fn main() -> ExitCode {
    let done = match options::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{}", options::HELP);
            Ok(true)
        }
        Ok(Command::ListPlants) => {
            plant::names().for_each(|name| println!("{name}"));
            Ok(true)
        }
        Ok(Command::ListProfiles) => {
            Profile::ALL.iter().for_each(|(name, _)| println!("{name}"));
            Ok(true)
        }
        Ok(Command::Plants { write, threads }) => look_for_plants(write, threads),
        Ok(Command::Many(many)) => run_many(&many),
        Ok(Command::One(one)) => run_one(&one),
        Ok(Command::Explain { one, out }) => draw(&one, &out),
        Ok(Command::Trace { one, out }) => trace(&one, &out),
        Ok(Command::Exhaustive(search)) => exhaust(&search),
        Ok(Command::Bench { quick }) => {
            bench::run(quick);
            Ok(true)
        }
        Err(wrong) => Err(wrong),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(wrong) => {
            eprintln!("kirin-sim: {wrong}");
            ExitCode::from(2)
        }
    }
}

// --- one run ---

fn script(source: &Source, profile: Profile) -> Result<Script, String> {
    match source {
        Source::Seed(seed) => Ok(Script::drawn(*seed, profile)),
        Source::Acts(path) => {
            let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            Script::parse(&text).map_err(|wrong| format!("{}: {wrong}", path.display()))
        }
    }
}

fn run_one(one: &One) -> Result<bool, String> {
    let script = script(&one.source, one.profile)?;
    if let Source::Seed(_) = one.source {
        println!("{}", script.text());
    }
    if one.tail > 0 {
        let (_, lines, sights) = script.trace(one.plant);
        for line in lines.iter().skip(lines.len().saturating_sub(one.tail)) {
            let (s, us) = (line.at / 1_000_000, line.at % 1_000_000);
            println!("{s:>6}.{us:06} {} {}", line.host, describe::effect(&line.effect));
        }
        sights.iter().for_each(|sight| println!("{sight}"));
    }
    let verdict = hunt::verdict(&script, one.plant);
    for (what, times) in &verdict.occurred {
        println!("{times:>12}  {what}");
    }
    println!("{} events, {} simulated, digest {:016x}", verdict.events, long(verdict.simulated), verdict.digest);
    let Some(violation) = verdict.violation else {
        println!("every rule held");
        return Ok(true);
    };
    match (&one.source, one.shrink) {
        (Source::Seed(_), _) | (_, true) => {
            failed(&script, &violation, &one.source, one.plant, one.profile, &one.failures)?;
        }
        _ => println!("FAILED {violation}"),
    }
    Ok(false)
}

/// Draws a run. It may violate a rule.
fn draw(one: &One, out: &Path) -> Result<bool, String> {
    let script = script(&one.source, one.profile)?;
    let mut picture = quietly(|| explain::picture(&script, one.plant));
    let with = with(one.plant, one.profile);
    picture.again = Some(format!("cargo run -rp kirin-sim -- {}{with}", again(&one.source)));
    if let Source::Acts(path) = &one.source {
        picture.title = format!("{}: {}", path.file_stem().unwrap_or_default().to_string_lossy(), picture.title);
    }
    fs::write(out, picture.html()).map_err(|e| format!("{}: {e}; -o names another file", out.display()))?;
    match &picture.violation {
        None => println!("every rule held"),
        Some(broken) => println!("{} broken at {:.6} s: {}", broken.rule, broken.at as f64 / 1e6, broken.what),
    }
    println!("{}: open it in a browser", out.display());
    Ok(true)
}

/// Writes a run as a table. It may violate a rule.
#[cfg(feature = "traces")]
fn trace(one: &One, out: &Path) -> Result<bool, String> {
    let script = script(&one.source, one.profile)?;
    let file = fs::File::create(out).map_err(|e| format!("{}: {e}; -o names another file", out.display()))?;
    let verdict = kirin_sim::trace::write(&script, one.plant, file).map_err(|e| format!("{}: {e}", out.display()))?;
    println!("{} events, {} simulated, digest {:016x}", verdict.events, long(verdict.simulated), verdict.digest);
    match &verdict.violation {
        None => println!("every rule held"),
        Some(violation) => println!("FAILED {violation}"),
    }
    let file = out.display();
    println!(
        "{file}: query it with SQL, for example: kirin table add run {file}; kirin sql \"SELECT name, COUNT(*) FROM run GROUP BY name\""
    );
    Ok(true)
}

#[cfg(not(feature = "traces"))]
fn trace(_: &One, _: &Path) -> Result<bool, String> {
    Err("built without the feature \"traces\": cargo run -rp kirin-sim -F traces -- trace …".to_owned())
}

/// The options that change a run.
fn with(plant: Option<Plant>, profile: Profile) -> String {
    let plant = plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    if profile == Profile::Swarm { plant } else { format!("{plant} --profile {profile}") }
}

/// The options that identify a run.
fn again(source: &Source) -> String {
    match source {
        Source::Seed(seed) => format!("--seed {seed}"),
        Source::Acts(path) => format!("--acts {}", path.display()),
    }
}

// --- every run ---

#[cfg(feature = "exhaustive")]
fn exhaust(search: &options::Search) -> Result<bool, String> {
    use kirin_sim::exhaustive::{Faults, SmallWorld};

    let faults = Faults { all: search.faults, ..Faults::one_each() };
    let mut world = SmallWorld::of(search.nodes, search.depth);
    (world.faults, world.plant) = (faults, search.plant);
    println!(
        "{} nodes, two jobs, every order of {} events, at most {} faults",
        search.nodes, search.depth, search.faults
    );
    let explored = world.explore(search.threads, |so_far| {
        println!(
            "depth {:>2}: {:>10} states, {:>11} transitions, {:.1} s",
            so_far.depth,
            so_far.states,
            so_far.ways,
            so_far.took.as_secs_f64()
        );
    });
    println!("{explored}");
    Ok(explored.broken.is_none())
}

#[cfg(not(feature = "exhaustive"))]
fn exhaust(_: &options::Search) -> Result<bool, String> {
    Err("built without the feature \"exhaustive\": leave out --no-default-features".to_owned())
}

// --- many runs ---

fn run_many(many: &Many) -> Result<bool, String> {
    let started = Instant::now();
    let (seeds, until) = match many.reach {
        Reach::Seeds(seeds) => (Some(seeds), None),
        Reach::Time(time) => (None, Some(started + time)),
    };
    let from = many.from.unwrap_or_else(|| if until.is_some() { seed_of_the_clock() } else { 1 });
    let (plant, profile) = (many.plant, many.profile);
    let hunt = Hunt { from, seeds, plant, threads: many.threads, profile };
    let planted = plant.map(|plant| format!(", with {plant} planted")).unwrap_or_default();
    println!("{profile} seeds from {from} on, {} at once{planted}", many.threads);
    let mut progress = Progress::new(started, many.reach);
    let tally = hunt.run(|so_far| {
        progress.show(so_far);
        let over = until.is_some_and(|until| Instant::now() >= until);
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.end();
    report(&tally, started.elapsed());
    let Some((seed, violation)) = &tally.failed else {
        println!("every rule held");
        return Ok(was_put_to_the_test(&tally, many));
    };
    let script = Script::drawn(*seed, profile);
    failed(&script, violation, &Source::Seed(*seed), plant, profile, &many.failures)?;
    Ok(false)
}

/// A rule that was never tested has not held: over many seeds of the swarm, every situation must have occurred.
fn was_put_to_the_test(tally: &Tally, many: &Many) -> bool {
    if many.profile != Profile::Swarm || many.plant.is_some() || tally.seeds < SEEDS_ENOUGH {
        return true;
    }
    let untested = Rule::untested(|what| tally.occurred.contains_key(what));
    for (rule, what) in &untested {
        println!("FAILED {rule}: \"{what}\" never occurred in {} seeds", tally.seeds);
    }
    untested.is_empty()
}

/// Searches for every planted bug. Writes the table if requested.
fn look_for_plants(write: bool, threads: usize) -> Result<bool, String> {
    let started = Instant::now();
    let seeds = quietly(|| table::seeds(threads));
    for planting in &Plant::ALL {
        let seed = seeds.get(planting.name).copied().flatten();
        let seed = seed.map_or_else(|| "NOT FOUND".to_owned(), |seed| format!("seed {seed}"));
        println!("{:<24} {:<24} {seed}", planting.name, planting.rule);
    }
    let took = started.elapsed().as_secs_f64();
    println!("searched for {} planted bugs within {} seeds in {took:.1} s", Plant::ALL.len(), table::SEEDS_MAX);
    if seeds.values().any(Option::is_none) {
        return Ok(false);
    }
    if write {
        let text = fs::read_to_string(PLANTS).map_err(|e| format!("{PLANTS}: {e}"))?;
        fs::write(PLANTS, table::rewrite(&text, &seeds)?).map_err(|e| format!("{PLANTS}: {e}"))?;
    }
    Ok(true)
}

/// A seed from the clock, so that each hunt begins elsewhere.
fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() * 1_000_000
}

fn report(tally: &Tally, took: Duration) {
    println!("{:>10} {:>12}  {:<20}", "runs", "times", "situation");
    for (what, occurred) in &tally.occurred {
        println!("{:>10} {:>12}  {what}", occurred.runs, occurred.times);
    }
    println!("{}, digest {:016x}", speed(tally, took), tally.digest);
}

fn speed(tally: &Tally, took: Duration) -> String {
    let took = took.as_secs_f64().max(1e-3);
    format!(
        "{} seeds in {}, {:.0} seeds/s, {} simulated ({:.0} times real time), {:.2} million events/s",
        tally.seeds,
        long(Span::from_millis((took * 1e3) as u64)),
        tally.seeds as f64 / took,
        long(tally.simulated),
        tally.simulated.millis() as f64 / took / 1e3,
        tally.events as f64 / took / 1e6,
    )
}

/// Shows the progress: on one updated line of a terminal, or as occasional lines elsewhere.
struct Progress {
    started: Instant,
    reach: Reach,
    shown: Option<Instant>,
    terminal: bool,
}

impl Progress {
    fn new(started: Instant, reach: Reach) -> Self {
        Self { started, reach, shown: None, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, so_far: &Tally) {
        let every = Duration::from_millis(if self.terminal { 250 } else { 10_000 });
        if self.shown.unwrap_or(self.started).elapsed() < every {
            return;
        }
        self.shown = Some(Instant::now());
        let took = self.started.elapsed();
        let part = match self.reach {
            Reach::Seeds(seeds) => so_far.seeds as f64 / seeds.max(1) as f64,
            Reach::Time(time) => took.as_secs_f64() / time.as_secs_f64().max(1e-3),
        };
        let kinds = so_far.occurred.len();
        let line = format!("{:3.0} %  {}, {kinds} situations", 100.0 * part.min(1.0), speed(so_far, took));
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

// --- failures ---

/// Prints three lines: the violation, the command that repeats it, and the smallest script that still has it.
fn failed(
    script: &Script,
    violation: &Violation,
    source: &Source,
    plant: Option<Plant>,
    profile: Profile,
    folder: &Path,
) -> Result<(), String> {
    let name = match source {
        Source::Seed(seed) => format!("seed-{seed}"),
        Source::Acts(path) => format!("{}-shrunk", path.file_stem().unwrap_or_default().to_string_lossy()),
    };
    let again = again(source);
    let profiled = with(plant, profile);
    let with = with(plant, Profile::Swarm);
    println!("FAILED {name}: {violation}");
    println!("again: cargo run -rp kirin-sim -- {again}{profiled}");
    quietly(|| {
        let small = hunt::smallest(script, plant);
        let path = folder.join(format!("{name}.acts"));
        write_acts(&path, &small, violation, &with)?;
        let (few, all) = (small.acts.len(), script.acts.len());
        let path = path.display();
        println!("acts:  {path} ({few} of {all} acts); cargo run -rp kirin-sim -- explain --acts {path}{with}");
        Ok(())
    })
}

/// Suppresses panic messages of intermediate runs. The relevant panic has been reported.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = work();
    std::panic::set_hook(hook);
    done
}

fn write_acts(path: &PathBuf, script: &Script, violation: &Violation, with: &str) -> Result<(), String> {
    let mut text = String::new();
    let _ = writeln!(text, "# breaks {}{with}", violation.rule);
    text.push_str(&script.text());
    let folder = path.parent().unwrap_or(Path::new("."));
    let wrote = fs::create_dir_all(folder).and_then(|()| fs::write(path, text));
    wrote.map_err(|e| format!("{}: {e}; --failures names another folder", path.display()))
}

/// Formats a span for people.
fn long(span: Span) -> String {
    let seconds = span.micros() / 1_000_000;
    match seconds {
        0..120 => format!("{:.1} s", span.micros() as f64 / 1e6),
        120..7_200 => format!("{:.1} min", seconds as f64 / 60.0),
        7_200..172_800 => format!("{:.1} h", seconds as f64 / 3_600.0),
        _ => format!("{:.1} days", seconds as f64 / 86_400.0),
    }
}
