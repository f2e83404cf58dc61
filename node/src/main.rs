//! The `kirin` program: a node, or a command to one.

use std::process::ExitCode;

use clap::Parser as _;
use kirin::cli::{self, Cli, Command, Exit, Failure};
use kirin::config::Config;

/// Many small tasks come and go: a tenth more jobs a second than with the allocator of the C library.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if matches!(cli.command, Command::Worker(_)) {
        kirin::worker::end_with_a_panic();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error)),
    };
    runtime.block_on(async {
        let done = match cli.command {
            Command::Start(args) => match Config::load(&args.sources()) {
                Ok(config) => Box::pin(kirin::server::run(config)).await,
                Err(errors) => return cli::report(&Failure::new(Exit::Usage, errors.to_string(), String::new())),
            },
            Command::Replay(args) => kirin::replay::run(&args, cli.global.output),
            Command::Worker(_) => Box::pin(kirin::worker::run()).await,
            Command::Demo(args) => Box::pin(kirin::demo::run(args)).await,
            Command::Bench(bench) => Box::pin(kirin::bench::run(bench, cli.global.output)).await,
            Command::Client(command) => return Box::pin(cli::run(cli.global, command)).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    })
}

fn failed(error: &anyhow::Error) -> ExitCode {
    cli::report(&Failure::new(Exit::Failed, format!("{error:#}"), String::new()))
}
