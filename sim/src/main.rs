//! `kirin-sim`: runs seeds, shrinks what fails, prints how to repeat it.

#![expect(clippy::disallowed_methods, reason = "seeds per second are counted on the real clock")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use kirin_sim::rule::Rule;
use kirin_sim::search::{Script, Verdict};
use kirin_sim::{Plant, Profile, say, table};

const USAGE: &str = "\
kirin-sim runs a simulated cluster under faults and judges it.

  --seeds N       so many seeds (1000)
  --from S        the first seed (1)
  --seed S        one seed, with its acts
  --acts FILE     one script
  --profile P     which faults there may be (swarm); `--profile list` names them
  --plant NAME    break a rule on purpose; `--plant list` names them
  --plants        look for every planted bug
  --plants-table  the same, and write the table in sim/PLANTS.md
  --tail N        of one run, print the last N orders
  --jobs N        so many threads (all cores)
";

/// Over so many seeds every situation must occur.
const SEEDS_ENOUGH: u64 = 2_000;

/// Where the table of planted bugs stands.
const PLANTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/PLANTS.md");

struct Options {
    seeds: u64,
    from: u64,
    seed: Option<u64>,
    acts: Option<String>,
    plant: Option<Plant>,
    profile: Profile,
    plants: bool,
    table: bool,
    jobs: usize,
    tail: usize,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(options) => run(&options),
        Err(text) => {
            println!("{text}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut options = Options {
        seeds: 1000,
        from: 1,
        seed: None,
        acts: None,
        plant: None,
        profile: Profile::Swarm,
        plants: false,
        table: false,
        jobs,
        tail: 0,
    };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--plants" => {
                options.plants = true;
                continue;
            }
            "--plants-table" => {
                (options.plants, options.table) = (true, true);
                continue;
            }
            _ => {}
        }
        let value = args.next().ok_or(USAGE)?;
        let number = || value.parse::<u64>().map_err(|_| format!("{arg} needs a number, not \"{value}\""));
        match arg.as_str() {
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--seed" => options.seed = Some(number()?),
            "--tail" => options.tail = number()? as usize,
            "--jobs" => options.jobs = number()?.max(1) as usize,
            "--acts" => options.acts = Some(value),
            "--plant" => {
                let names: Vec<_> = Plant::ALL.iter().map(|planting| planting.name).collect();
                let plant = Plant::from_name(&value).ok_or_else(|| format!("plants: {}", names.join(", ")))?;
                options.plant = Some(plant);
            }
            "--profile" => {
                let names: Vec<_> = Profile::ALL.iter().map(|(name, _)| *name).collect();
                options.profile =
                    Profile::from_name(&value).ok_or_else(|| format!("profiles: {}", names.join(", ")))?;
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn run(options: &Options) -> ExitCode {
    if options.plants {
        return plants(options);
    }
    if let Some(path) = &options.acts {
        let script = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
        return match script.and_then(|text| Script::parse(&text)) {
            Ok(script) => show(&script, options),
            Err(text) => {
                println!("{text}");
                ExitCode::from(2)
            }
        };
    }
    if let Some(seed) = options.seed {
        let script = Script::drawn(seed, options.profile);
        println!("{}", script.text());
        return show(&script, options);
    }
    search(options)
}

fn show(script: &Script, options: &Options) -> ExitCode {
    let (verdict, lines, sights) = script.trace(options.plant);
    for line in lines.iter().skip(lines.len().saturating_sub(options.tail)) {
        let (s, us) = (line.at / 1_000_000, line.at % 1_000_000);
        println!("{s:>6}.{us:06} {} {}", line.host, say::effect(&line.effect));
    }
    println!("{:#?}", verdict.occurred);
    println!("{} events, {:?} simulated, digest {:016x}", verdict.events, verdict.simulated, verdict.digest);
    match verdict.violation {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            println!("{}\nFAILED {violation}", sights.join("\n"));
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Total {
    events: u64,
    simulated_s: u64,
    occurred: BTreeMap<&'static str, u64>,
    digest: u64,
    failed: Option<(u64, Verdict)>,
}

impl Total {
    fn add(&mut self, seed: u64, verdict: Verdict) {
        self.events += verdict.events;
        self.simulated_s += verdict.simulated.micros() / 1_000_000;
        // Order of threads doesn't matter: sums do not know it.
        self.digest = self.digest.wrapping_add(verdict.digest.rotate_left(seed as u32 & 63));
        for (what, times) in &verdict.occurred {
            *self.occurred.entry(what).or_insert(0) += times;
        }
        if verdict.violation.is_some() && self.failed.as_ref().is_none_or(|(first, _)| seed < *first) {
            self.failed = Some((seed, verdict));
        }
    }
}

fn search(options: &Options) -> ExitCode {
    let started = Instant::now();
    let (next, stop) = (AtomicU64::new(options.from), AtomicU64::new(options.from + options.seeds));
    let work = || {
        let mut total = Total::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= stop.load(Ordering::Relaxed) {
                return total;
            }
            let script = Script::drawn(seed, options.profile);
            // One seed in fifty runs twice: the same seed is the same run.
            let twice = seed.is_multiple_of(50);
            let verdict = if twice { script.run_twice(options.plant) } else { script.run(options.plant) };
            if verdict.violation.is_some() {
                stop.fetch_min(seed, Ordering::Relaxed);
            }
            total.add(seed, verdict);
            let done = seed - options.from + 1;
            if done.is_multiple_of(5_000) {
                println!("{done} seeds, {:.0}/s", done as f64 / started.elapsed().as_secs_f64());
            }
        }
    };
    let totals: Vec<Total> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a run panicked")).collect()
    });
    let mut all = Total::default();
    for total in totals {
        all.events += total.events;
        all.simulated_s += total.simulated_s;
        all.digest = all.digest.wrapping_add(total.digest);
        for (what, times) in total.occurred {
            *all.occurred.entry(what).or_insert(0) += times;
        }
        if let Some((seed, verdict)) = total.failed
            && all.failed.as_ref().is_none_or(|(first, _)| seed < *first)
        {
            all.failed = Some((seed, verdict));
        }
    }
    report(options, &all, started)
}

fn report(options: &Options, all: &Total, started: Instant) -> ExitCode {
    let took = started.elapsed().as_secs_f64();
    for (what, times) in &all.occurred {
        println!("{times:>12}  {what}");
    }
    let (events, simulated) = (all.events as f64 / took / 1e6, all.simulated_s as f64 / took);
    println!("{took:.1} s, {events:.2} million events/s, {simulated:.0} times real time, digest {:016x}", all.digest);
    let Some((seed, verdict)) = &all.failed else {
        println!("{:.0} seeds/s, all held", options.seeds as f64 / took);
        return put_to_the_test(options, all);
    };
    let violation = verdict.violation.as_ref().map(ToString::to_string).unwrap_or_default();
    println!("FAILED seed {seed}: {violation}");
    let mut plant = options.plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    if options.profile != Profile::Swarm {
        plant.push_str(&format!(" --profile {}", options.profile));
    }
    println!("again: cargo run -rp kirin-sim -- --seed {seed}{plant}");
    println!("shrunk:\n{}", Script::drawn(*seed, options.profile).shrink(options.plant).text());
    ExitCode::FAILURE
}

/// A rule that was never put to the test has not held: over many seeds of the swarm every situation must have occurred.
fn put_to_the_test(options: &Options, all: &Total) -> ExitCode {
    let untested = Rule::untested(&all.occurred);
    for (rule, what) in &untested {
        println!("never occurred, for {rule}: {what}");
    }
    let enough = options.seeds >= SEEDS_ENOUGH && options.profile == Profile::Swarm && options.plant.is_none();
    if enough && !untested.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Looks for every planted bug; writes the table if that is wanted.
fn plants(options: &Options) -> ExitCode {
    let started = Instant::now();
    let seeds = table::seeds(options.jobs);
    for planting in &Plant::ALL {
        let seed = seeds.get(planting.name).copied().flatten();
        let seed = seed.map_or_else(|| "NOT FOUND".to_owned(), |seed| format!("seed {seed}"));
        println!("{:<24} {:<24} {seed}", planting.name, planting.rule);
    }
    println!("{} plants, {:.1} s", Plant::ALL.len(), started.elapsed().as_secs_f64());
    let document = std::fs::read_to_string(PLANTS).map_err(|e| format!("{PLANTS}: {e}"));
    let written = document.and_then(|text| table::rewrite(&text, &seeds)).and_then(|text| {
        if options.table { std::fs::write(PLANTS, text).map_err(|e| format!("{PLANTS}: {e}")) } else { Ok(()) }
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            println!("{wrong}");
            ExitCode::FAILURE
        }
    }
}
