//! The command line, parsed by hand, so that the simulator has no further dependency.

use std::path::PathBuf;
use std::time::Duration;

use kirin_sim::{Plant, Profile};

/// The output of `--help`.
pub(crate) const HELP: &str = "\
kirin-sim simulates clusters of the real core under faults, and checks every event.

Usage:
  kirin-sim [--seeds N | --hunt TIME] [--from S] [--plant NAME]   many runs, each drawn from its seed
  kirin-sim plants [--write]                                      search for every planted bug
  kirin-sim (--seed S | --acts FILE) [--plant NAME] [--tail N]    one run
  kirin-sim explain (--seed S | --acts FILE) [-o FILE.html]       draw one run
  kirin-sim trace (--seed S | --acts FILE) [-o FILE.parquet]      write one run as a table for SQL
  kirin-sim exhaustive [--nodes N] [--depth N] [--plant NAME]     explore every run of a small world
  kirin-sim bench [--quick]                                       measure the speed

Many runs:
  --seeds N      the number of seeds (1000)
  --hunt TIME    run seeds for a time such as 30s, 10m or 2h; the first seed is drawn from the clock
  --from S       the first seed (1)
  --threads N    the number of concurrent runs (all cores)
  --failures DIR the directory for the act file of a failure (target/kirin-sim)

One run:
  --seed S       the run of this seed
  --acts FILE    the run in this act file
  --tail N       print the last N effects
  --shrink       if the run fails, search for the smallest act file that fails
  -o FILE        the file for the picture (run.html) or the table (run.parquet)

Plants:
  --write        write the results to the table in sim/PLANTS.md

Every run of a small world:
  --nodes N      2 or 3 nodes (2)
  --depth N      explore every order of up to N events (7); each further event takes about five times as long
  --faults N     the maximum number of faults in one run (2)

All:
  --profile P    the possible faults: swarm, or one kind of faults; `--profile list` lists the profiles
  --plant NAME   break a rule on purpose, to see it found; `--plant list` lists the plants
  --quick        bench: use smaller worlds
  -h, --help     print this help

A seed is a run: the same seed prints the same digest on every machine. A failure prints three lines: the violation with its
time, the command that repeats the run, and the act file, shrunk to the smallest that still fails.
Exit status: 0 all rules held, 1 a rule was violated, 2 invalid command line or unreadable file.
";

/// The requested command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    ListPlants,
    ListProfiles,
    Plants { write: bool, threads: usize },
    Many(Many),
    One(One),
    Explain { one: One, out: PathBuf },
    Trace { one: One, out: PathBuf },
    Exhaustive(Search),
    Bench { quick: bool },
}

/// The options for many runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Many {
    pub(crate) from: Option<u64>,
    pub(crate) reach: Reach,
    pub(crate) plant: Option<Plant>,
    pub(crate) profile: Profile,
    pub(crate) threads: usize,
    pub(crate) failures: PathBuf,
}

/// When many runs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Seeds(u64),
    Time(Duration),
}

/// The options for an exploration of a small world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    pub(crate) nodes: u32,
    pub(crate) depth: usize,
    pub(crate) faults: u8,
    pub(crate) plant: Option<Plant>,
    pub(crate) threads: usize,
}

/// The options for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct One {
    pub(crate) source: Source,
    pub(crate) plant: Option<Plant>,
    pub(crate) profile: Profile,
    pub(crate) tail: usize,
    pub(crate) shrink: bool,
    pub(crate) failures: PathBuf,
}

/// The source of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Seed(u64),
    Acts(PathBuf),
}

#[derive(Default)]
struct Given {
    verb: Option<String>,
    seeds: Option<u64>,
    hunt: Option<Duration>,
    from: Option<u64>,
    seed: Option<u64>,
    acts: Option<PathBuf>,
    plant: Option<Plant>,
    profile: Profile,
    write: bool,
    threads: Option<usize>,
    tail: Option<usize>,
    shrink: bool,
    failures: Option<PathBuf>,
    out: Option<PathBuf>,
    depth: Option<usize>,
    nodes: Option<u32>,
    faults: Option<u8>,
    quick: bool,
    /// The names of the given options, to refuse those that do not apply.
    names: Vec<String>,
}

/// Parses the arguments.
pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut given = Given::default();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        // `--name=value` is `--name value`.
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = |what: &str| {
            let value = joined.clone().or_else(|| words.next());
            value.ok_or_else(|| format!("{name} needs {what}"))
        };
        match name.as_str() {
            "-h" | "--help" | "help" => return Ok(Command::Help),
            "--seeds" => given.seeds = Some(number(&name, &value("a number of seeds")?)?),
            "--hunt" => given.hunt = Some(time(&value("a time such as 10m")?)?),
            "--from" => given.from = Some(number(&name, &value("a seed")?)?),
            "--seed" => given.seed = Some(number(&name, &value("a seed")?)?),
            "--acts" => given.acts = Some(value("an act file")?.into()),
            "--plant" => match value("the name of a plant; `--plant list` lists them")?.as_str() {
                "list" => return Ok(Command::ListPlants),
                other => given.plant = Some(plant(other)?),
            },
            "--profile" => match value("the name of a profile; `--profile list` lists them")?.as_str() {
                "list" => return Ok(Command::ListProfiles),
                other => given.profile = profile(other)?,
            },
            "--write" => given.write = true,
            "--threads" | "--jobs" => {
                given.threads = Some(number(&name, &value("a number of threads")?)?.max(1) as usize)
            }
            "--tail" => given.tail = Some(number(&name, &value("a number of effects")?)? as usize),
            "--failures" => given.failures = Some(value("a folder")?.into()),
            "-o" | "--out" => given.out = Some(value("a file")?.into()),
            "--depth" => given.depth = Some(number(&name, &value("a number of events")?)? as usize),
            "--nodes" => given.nodes = Some(number(&name, &value("a number of nodes")?)? as u32),
            "--faults" => given.faults = Some(number(&name, &value("a number of faults")?)?.min(100) as u8),
            "--shrink" => given.shrink = true,
            "--quick" => given.quick = true,
            verb @ ("explain" | "trace" | "exhaustive" | "bench" | "plants") if given.verb.is_none() => {
                given.verb = Some(verb.to_owned())
            }
            other => return Err(format!("unknown option \"{other}\"; see kirin-sim --help")),
        }
        given.names.push(name);
    }
    given.command()
}

impl Given {
    fn command(self) -> Result<Command, String> {
        let verb = self.verb.clone().unwrap_or_default();
        let known: &[&str] = match verb.as_str() {
            "explain" | "trace" => &["--seed", "--acts", "--plant", "--profile", "-o", "--out"],
            "plants" => &["--write", "--threads", "--jobs"],
            "exhaustive" => &["--nodes", "--depth", "--faults", "--plant", "--threads"],
            "bench" => &["--quick"],
            _ if self.seed.is_some() || self.acts.is_some() => {
                &["--seed", "--acts", "--plant", "--profile", "--tail", "--shrink", "--failures"]
            }
            _ => &["--seeds", "--hunt", "--from", "--plant", "--profile", "--threads", "--jobs", "--failures"],
        };
        let stranger = self.names.iter().find(|name| **name != verb && !known.contains(&name.as_str()));
        if let Some(stranger) = stranger {
            let place = if verb.is_empty() { "here".to_owned() } else { format!("with {verb}") };
            return Err(format!("{stranger} does not apply {place}; possible options: {}", known.join(", ")));
        }
        let threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        Ok(match verb.as_str() {
            "plants" => Command::Plants { write: self.write, threads },
            "explain" => {
                let out = self.out.clone().unwrap_or_else(|| "run.html".into());
                Command::Explain { one: self.one()?, out }
            }
            "trace" => {
                let out = self.out.clone().unwrap_or_else(|| "run.parquet".into());
                Command::Trace { one: self.one()?, out }
            }
            "exhaustive" => Command::Exhaustive(Search {
                nodes: self.nodes.unwrap_or(2).clamp(2, 3),
                depth: self.depth.unwrap_or(7),
                faults: self.faults.unwrap_or(2),
                plant: self.plant,
                threads: self.threads(),
            }),
            "bench" => Command::Bench { quick: self.quick },
            _ if self.seed.is_some() || self.acts.is_some() => Command::One(self.one()?),
            _ => {
                let reach = match (self.seeds, self.hunt) {
                    (Some(_), Some(_)) => {
                        return Err("--seeds and --hunt cannot be combined; give one of them".to_owned());
                    }
                    (None, Some(time)) => Reach::Time(time),
                    (seeds, None) => Reach::Seeds(seeds.unwrap_or(1000)),
                };
                let (from, plant, profile, failures) = (self.from, self.plant, self.profile, self.failures());
                Command::Many(Many { from, reach, plant, profile, threads, failures })
            }
        })
    }

    fn one(self) -> Result<One, String> {
        let source = match (self.seed, self.acts.clone()) {
            (Some(seed), None) => Source::Seed(seed),
            (None, Some(path)) => Source::Acts(path),
            (None, None) => return Err("no run was given; give --seed S or --acts FILE".to_owned()),
            (Some(_), Some(_)) => return Err("--seed and --acts cannot be combined; give one of them".to_owned()),
        };
        let (plant, profile, tail, shrink) = (self.plant, self.profile, self.tail.unwrap_or(0), self.shrink);
        Ok(One { source, plant, profile, tail, shrink, failures: self.failures() })
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn failures(&self) -> PathBuf {
        self.failures.clone().unwrap_or_else(|| "target/kirin-sim".into())
    }
}

fn number(name: &str, word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{name} needs a number, not \"{word}\""))
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::from_name(name).ok_or_else(|| format!("unknown profile \"{name}\"; `--profile list` lists them"))
}

fn plant(name: &str) -> Result<Plant, String> {
    Plant::from_name(name).ok_or_else(|| {
        let nearest = kirin_sim::plant::names().min_by_key(|known| distance(known, name));
        let nearest = nearest.filter(|known| distance(known, name) <= 4);
        let meant = nearest.map(|known| format!(" did you mean \"{known}\"?")).unwrap_or_default();
        format!("unknown plant \"{name}\";{meant} `--plant list` lists them")
    })
}

/// The number of characters to change, add or drop to turn one word into the other (Levenshtein, 1965).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let best = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = core::mem::replace(&mut row[j + 1], best);
        }
    }
    row[b.len()]
}

fn time(word: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{word}\" is not a time; write 30s, 10m or 2h");
    let digits = word.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let n: u64 = word[..digits].parse().map_err(|_| wrong())?;
    let seconds = match &word[digits..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(n.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn missing_options_have_defaults() {
        let Ok(Command::Many(many)) = read("") else { panic!("no arguments mean many runs") };
        assert_eq!((many.from, many.reach), (None, Reach::Seeds(1000)));
        assert!(many.threads >= 1);
        let Ok(Command::Explain { one, out }) = read("explain --seed=7 --plant take-not-fenced") else {
            panic!("expected a picture")
        };
        assert_eq!((one.source, out), (Source::Seed(7), PathBuf::from("run.html")));
        assert_eq!(one.plant, Plant::from_name("take-not-fenced"));
        let Ok(Command::Many(many)) = read("--hunt 10m --from 3") else { panic!("expected a hunt") };
        assert_eq!((many.from, many.reach), (Some(3), Reach::Time(Duration::from_secs(600))));
    }

    #[test]
    fn an_error_says_what_to_do() {
        for (line, says) in [
            ("--seeds many", "--seeds needs a number, not \"many\""),
            ("--seeds", "--seeds needs a number of seeds"),
            ("--hunt 10", "write 30s, 10m or 2h"),
            ("--seeds 3 --hunt 1m", "cannot be combined"),
            ("--seed 3 --from 4", "--from does not apply here; possible options: --seed"),
            ("--sed 3", "see kirin-sim --help"),
            ("--plant take-not-fence --seed 1", "did you mean \"take-not-fenced\"?"),
            ("explain", "give --seed S or --acts FILE"),
            ("--profile storms", "`--profile list` lists them"),
            ("plants --seed 3", "--seed does not apply with plants"),
            ("bench --depth 3", "--depth does not apply with bench"),
        ] {
            let told = read(line).expect_err(line);
            assert!(told.contains(says), "{line}: {told}");
        }
    }
}
