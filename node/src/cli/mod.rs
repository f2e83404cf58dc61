//! The command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | what can be typed |
//! | [`client`], [`payload`] | HTTP in Kylin's envelope; every JSON shape |
//! | `commands` | one file a noun |
//! | [`render`], [`screen`], [`when`] | what people see; where it is printed; moments and spans |
//! | [`exit`] | exit codes, and failures that say what to do next |
//! | [`pid_file`], [`credentials`] | the two files by which commands find the node of their own machine |
//!
//! [`run`] runs the commands that talk to a node. `start`, `demo`, `bench` and `worker` *are* a node (or several): `main`
//! dispatches those itself.

use std::io::{self, Write};
use std::process::ExitCode;

pub mod args;
pub mod client;
mod commands;
pub mod credentials;
pub mod exit;
pub mod payload;
pub mod pid_file;
pub mod render;
pub mod screen;
pub mod when;

pub use args::{Cli, ClientCommand, Command, ConfigArgs, Global};
pub use exit::{Exit, Failure};

use client::{Client, Login};
use screen::Screen;

use crate::config::{Config, Sources};

/// The user that the first start of a cluster creates; Kylin's name for it.
pub const ADMIN: &str = "ADMIN";

impl ConfigArgs {
    /// The sources that these options name.
    pub fn sources(&self) -> Sources {
        Sources::of_process(self.home.clone(), self.conf.clone(), self.set.clone())
    }
}

/// Runs a command against a node (or this machine's files); prints its result and its failure.
pub async fn run(global: Global, command: ClientCommand) -> ExitCode {
    let mut out = io::stdout();
    let mut screen = Screen::new(&mut out, &global);
    match commands::run(&global, command, &mut screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Prints a failure and gives its exit code.
pub fn report(failure: &Failure) -> ExitCode {
    // Nothing can be done if standard error is gone.
    let _ = writeln!(io::stderr(), "error: {failure}");
    ExitCode::from(failure.exit as u8)
}

/// The client that the global options ask for.
///
/// # Errors
/// If a URL is wrong, or the credentials of this machine can't be used.
pub fn connect(global: &Global) -> Result<Client, Failure> {
    Client::new(&global.url, login(global)?)
}

/// The password given; else, for nodes of this machine, the credentials in the data directory.
fn login(global: &Global) -> Result<Option<Login>, Failure> {
    if let Some(password) = &global.password {
        let user = global.user.clone().unwrap_or_else(|| ADMIN.to_owned());
        return Ok(Some(Login { user, password: password.clone() }));
    }
    if !credentials::are_local(&global.url) {
        return Ok(None);
    }
    // A configuration that is refused is no reason to refuse a command: then there are no credentials here.
    let Ok(config) = Config::load(&ConfigArgs::default().sources()) else { return Ok(None) };
    let login = credentials::read(&config.data_dir).map_err(|e| {
        Failure::new(
            Exit::Auth,
            format!("the credentials of this machine can't be used: {e}"),
            "Give --user and --password.",
        )
    })?;
    Ok(login.filter(|login| global.user.as_ref().is_none_or(|user| *user == login.user)))
}
