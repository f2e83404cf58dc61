//! Runs seeds: `--seed N` one, in this process; `--seeds N` many, each in two processes.
//!
//! ```text
//! cargo run -- [--scenario NAME] --seed N [--journal | --whole]
//! cargo run -- [--scenario NAME] --seeds N [--from N]
//! ```

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use kirin_shell_sim::scenario::{self, Scenario};
use kirin_shell_sim::{journal, twice};

#[derive(Default)]
struct Options {
    scenario: Option<Scenario>,
    seed: Option<u64>,
    journal: bool,
    whole: bool,
    seeds: Option<u64>,
    from: u64,
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || -> anyhow::Result<u64> { Ok(args.next().context("expected a number")?.parse()?) };
        match arg.as_str() {
            "--seed" => options.seed = Some(number()?),
            "--seeds" => options.seeds = Some(number()?),
            "--from" => options.from = number()?,
            "--journal" => options.journal = true,
            "--whole" => (options.journal, options.whole) = (true, true),
            "--scenario" => {
                let name = args.next().unwrap_or_default();
                let found = Scenario::EVERY.into_iter().find(|scenario| scenario.name() == name);
                options.scenario = Some(found.with_context(|| {
                    let names: Vec<_> = Scenario::EVERY.iter().map(|scenario| scenario.name()).collect();
                    format!("unknown scenario {name:?}; the scenarios are {}", names.join(", "))
                })?);
            }
            other => bail!(
                "unknown option {other:?}; the options are --scenario, --seed, --journal, --whole, --seeds, --from"
            ),
        }
    }
    Ok(options)
}

fn main() -> anyhow::Result<ExitCode> {
    let options = options()?;
    let scenarios = options.scenario.map_or(Scenario::EVERY.to_vec(), |scenario| vec![scenario]);
    let mut out = std::io::stdout().lock();
    if let Some(seed) = options.seed {
        let [scenario] = scenarios[..] else { bail!("--seed needs --scenario") };
        journal::begin(options.whole);
        let verdict = scenario::run(scenario, seed);
        if options.journal || verdict.is_err() {
            out.write_all(&journal::read())?;
        }
        if let Err(why) = verdict {
            writeln!(std::io::stderr(), "{} {seed}: {why}", scenario.name())?;
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let program = std::env::current_exe()?;
    let seeds = options.from..options.from + options.seeds.unwrap_or(100);
    let mut failed = 0;
    for scenario in scenarios {
        failed += twice::run_all(&program, scenario, seeds.clone(), &mut out)?.failed;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
