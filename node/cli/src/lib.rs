//! The command line.
//!
//! | module | what it does |
//! |---|---|
//! | [`args`] | what can be typed |
//! | [`client`] | the client of the API, a crate of its own |
//! | `commands` | one file a noun |
//! | [`render`], [`screen`], [`when`] | what people see; where it is printed; moments and spans |
//! | [`exit`] | exit codes, and failures that say what to do next |
//! | [`replay`] | the decisions of a node, from its flight recording |
//!
//! [`run`] runs the commands that talk to a node. `start`, `demo`, `bench` and `worker` *are* a node (or several): `main`
//! dispatches those itself.

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
    /// The sources that these options name.
    pub fn sources(&self) -> Sources {
        Sources::of_process(self.home.clone(), self.conf.clone(), self.set.clone())
    }
}

/// Runs a command against a node (or this machine's files); prints its result and its failure.
pub async fn run(global: Global, command: ClientCommand) -> ExitCode {
    let global = global.or_environment(|name| std::env::var(name).ok());
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
    let home = Home::of_this_machine();
    let urls = if global.url.is_empty() { vec![home.url()] } else { global.url.clone() };
    let login = login(global, &urls, &home)?;
    Ok(Client::new(&urls, login)?)
}

/// What proves to the node of this home that its own user runs the command. Sent to no other node.
fn proof(global: &Global) -> Option<String> {
    let home = Home::of_this_machine();
    let config = home.0.as_ref()?;
    let is_its =
        |url: &String| PidFile::running(&config.data_dir).is_ok_and(|it| *url == format!("http://{}", it.address));
    if !global.url.is_empty() && !global.url.iter().all(is_its) {
        return None;
    }
    kirin_home::local::read(&config.data_dir).ok()?
}

/// What this machine's configuration tells about its own node. A configuration that is refused tells nothing: that is no
/// reason to refuse a command.
struct Home(Option<Config>);

impl Home {
    fn of_this_machine() -> Self {
        Self(Config::load(&ConfigArgs::default().sources()).ok())
    }

    /// Where the node of this home listens: as it wrote down itself, else as configured, else Kylin's default.
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

/// The address of a node that nothing is configured for.
const DEFAULT_URL: &str = "http://127.0.0.1:7070";

/// The password given; else, for nodes of this machine, the credentials in the data directory.
fn login(global: &Global, urls: &[String], home: &Home) -> Result<Option<Login>, Failure> {
    if let Some(password) = &global.password {
        let user = global.user.as_deref().unwrap_or(ADMIN);
        return Ok(Some(Login::new(user, password.reveal())));
    }
    let Some(config) = &home.0 else { return Ok(None) };
    // The address that the node wrote down may be one that others reach too; it is this machine's all the same.
    if !credentials::are_local(urls) && urls != [home.url()] {
        return Ok(None);
    }
    let login = credentials::read(&config.data_dir).map_err(|e| {
        Failure::new(
            Exit::Auth,
            format!("the credentials of this machine can't be used: {e}"),
            "Give --user and --password.",
        )
    })?;
    Ok(login.filter(|login| global.user.as_deref().is_none_or(|user| user == login.user())))
}
