//! The command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | the grammar |
//! | [`client`] | the client of the API, in its own crate |
//! | `commands` | one file per noun |
//! | [`render`], [`screen`], [`when`] | text for users; where it is printed; times and durations |
//! | [`exit`] | exit codes and failures |
//! | [`replay`] | the decisions of a node, from its flight recording |
//!
//! [`run`] runs the commands that send requests to a node. `start`, `demo`, `bench` and `worker` run nodes themselves; `main`
//! dispatches these.

use std::io::{self, Write};
use std::process::ExitCode;

pub mod args;
mod commands;
pub mod exit;
pub mod render;
pub mod replay;
pub mod screen;
pub mod when;

pub use args::{Cli, ClientCommand, Command, ConfigArgs, Global};
pub use exit::{Exit, Failure};
pub use kirin_client as client;
pub use kirin_wire::ADMIN;

use client::{Client, Login};
use kirin_home::credentials;
use kirin_home::pid_file::PidFile;
use screen::Screen;

use kirin_config::{Config, Sources};

impl ConfigArgs {
    /// The configuration sources that these options select.
    pub fn sources(&self) -> Sources {
        Sources::of_process(self.home.clone(), self.conf.clone(), self.set.clone())
    }
}

/// Runs a command against a node or this machine's files, and prints its result or failure.
pub async fn run(global: Global, command: ClientCommand) -> ExitCode {
    let global = global.or_environment(|name| std::env::var(name).ok());
    let mut out = io::stdout();
    let mut screen = Screen::new(&mut out, &global);
    match commands::run(&global, command, &mut screen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

/// Prints a failure and returns its exit code.
pub fn report(failure: &Failure) -> ExitCode {
    // If standard error is closed, the message is lost.
    let _ = writeln!(io::stderr(), "error: {failure}");
    ExitCode::from(failure.exit as u8)
}

/// The client for the global options.
///
/// # Errors
/// If a URL is invalid, or the credentials of this machine cannot be used.
pub fn connect(global: &Global) -> Result<Client, Failure> {
    let home = Home::of_this_machine();
    let urls = if global.url.is_empty() { vec![home.url()] } else { global.url.clone() };
    let login = login(global, &urls, &home)?;
    Ok(Client::new(&urls, login)?)
}

/// The token by which the node of this home directory recognises its own user. It is sent to no other node.
fn local_token(global: &Global) -> Option<String> {
    let home = Home::of_this_machine();
    let config = home.0.as_ref()?;
    let is_its =
        |url: &String| PidFile::running(&config.data_dir).is_ok_and(|it| kirin_home::local::reaches(url, &it.address));
    if !global.url.is_empty() && !global.url.iter().all(is_its) {
        return None;
    }
    kirin_home::local::read(&config.data_dir).ok()?
}

/// The configuration of this machine's own node. An invalid configuration counts as none, so that it does not fail commands
/// to other nodes.
struct Home(Option<Config>);

impl Home {
    fn of_this_machine() -> Self {
        Self(Config::load(&ConfigArgs::default().sources()).ok())
    }

    /// The node's address: from its pid file, else from the configuration, else Kylin's default.
    fn url(&self) -> String {
        let Some(config) = &self.0 else { return DEFAULT_URL.to_owned() };
        let running = PidFile::running(&config.data_dir).ok();
        match running.map(|running| running.address).filter(|address| !address.is_empty()) {
            Some(address) => format!("http://{address}"),
            None if config.port == 0 => DEFAULT_URL.to_owned(),
            None => format!("http://127.0.0.1:{}", config.port),
        }
    }
}

/// The address if nothing is configured.
const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// The login from the options; else, for nodes of this machine, the credentials in the data directory.
fn login(global: &Global, urls: &[String], home: &Home) -> Result<Option<Login>, Failure> {
    if let Some(password) = &global.password {
        let user = global.user.as_deref().unwrap_or(ADMIN);
        return Ok(Some(Login::new(user, password.reveal())));
    }
    let Some(config) = &home.0 else { return Ok(None) };
    // The address in the pid file belongs to this machine, although other machines may reach it as well.
    if !credentials::are_local(urls) && urls != [home.url()] {
        return Ok(None);
    }
    let login = credentials::read(&config.data_dir).map_err(|e| {
        Failure::new(
            Exit::Auth,
            format!("cannot use the credentials of this machine: {e}"),
            "Give --user and --password.",
        )
    })?;
    Ok(login.filter(|login| global.user.as_deref().is_none_or(|user| user == login.user())))
}
