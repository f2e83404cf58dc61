//! The program: parses the command line and runs the command.

use std::process::ExitCode;

use kirin_cli::{self as cli, Cli, Command, Exit, Failure};
use kirin_config::{Config, ConfigErrors};

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = Cli::read();
    if matches!(cli.command, Command::Start(_) | Command::Worker(_) | Command::Demo(_)) {
        kirin_home::private::mask();
    }
    if matches!(cli.command, Command::Worker(_)) {
        kirin_executor::entry::end_with_a_panic();
    }
    // Requests from the network are served on separate threads, so that no request can delay the core's loop, beats and
    // links.
    let runtime = |name: &str| tokio::runtime::Builder::new_multi_thread().thread_name(name).enable_all().build();
    let is_node = matches!(cli.command, Command::Start(_));
    let (runtime, api) = match (runtime("core"), is_node.then(|| runtime("api")).transpose()) {
        (Ok(runtime), Ok(api)) => (runtime, api),
        (Err(error), _) | (_, Err(error)) => return failed(&anyhow::Error::new(error)),
    };
    let handle = api.as_ref().unwrap_or(&runtime).handle().clone();
    let code = runtime.block_on(async {
        let done = match cli.command {
            Command::Start(args) => match Config::load(&args.sources()) {
                Ok(config) => Box::pin(kirin_server::run(config, handle)).await,
                Err(errors) => return cli::report(&Failure::new(Exit::Usage, errors.to_string(), String::new())),
            },
            Command::Replay(args) => {
                let format = cli.global.output;
                match Box::pin(cli::replay::numbered(args, cli.global)).await {
                    Ok(args) => cli::replay::run(&args, format, kirin_server::settings),
                    Err(failure) => return cli::report(&failure),
                }
            }
            Command::Worker(_) => Box::pin(kirin_executor::entry::run()).await,
            Command::Demo(args) => Box::pin(kirin_lab::demo::run(args)).await,
            Command::Bench(bench) => Box::pin(kirin_lab::bench::run(bench, cli.global.output)).await,
            Command::Client(command) => return Box::pin(cli::run(cli.global, command)).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    });
    if let Some(api) = api {
        // The remaining requests have timed out.
        api.shutdown_background();
    }
    code
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let exit = if error.is::<ConfigErrors>() { Exit::Usage } else { Exit::Failed };
    cli::report(&Failure::new(exit, format!("{error:#}"), String::new()))
}
