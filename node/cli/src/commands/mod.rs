//! The commands that send requests to a node, one file per noun.

mod cluster;
mod job;
mod lb;
mod local;
mod model;
mod project;
mod segment;
mod sql;
mod table;

use std::io::Read;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::args::{Cli, ClientCommand, Global};
use super::connect;
use super::exit::{Exit, Failure};
use super::screen::Screen;
use kirin_client::{Client, Request, decode};
use kirin_wire::{DEFAULT_PROJECT, Page};

/// The client, project and output of a command.
pub(super) struct Session<'a, 'b> {
    client: Client,
    project: &'a str,
    screen: &'a mut Screen<'b>,
}

/// Runs one command.
pub(super) async fn run(global: &Global, command: ClientCommand, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let project = global.project.as_deref().unwrap_or(DEFAULT_PROJECT);
    let session = |screen| Ok::<_, Failure>(Session { client: connect(global)?, project, screen });
    match command {
        ClientCommand::Stop(args) if args.remote => local::stop_remote(session(screen)?).await,
        ClientCommand::Stop(args) => local::stop(&args, screen).await,
        ClientCommand::GetProperties(args) => local::get_properties(&args, screen),
        ClientCommand::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::grammar(), "kirin", &mut text);
            screen.print(&String::from_utf8_lossy(&text))
        }
        ClientCommand::Cluster(command) => cluster::run(session(screen)?, command).await,
        ClientCommand::Lb(args) => lb::run(session(screen)?, args).await,
        ClientCommand::Job(command) => job::run(session(screen)?, command).await,
        ClientCommand::Project(command) => project::run(session(screen)?, command).await,
        ClientCommand::Table(command) => table::run(session(screen)?, command, super::local_token(global)).await,
        ClientCommand::Model(command) => model::run(session(screen)?, command).await,
        ClientCommand::Segment(command) => segment::run(session(screen)?, command).await,
        ClientCommand::Sql(args) => sql::run(session(screen)?, args).await,
    }
}

impl Session<'_, '_> {
    /// Fetches a list of the project and prints it.
    async fn list<T: DeserializeOwned>(
        &mut self,
        path: &[&str],
        render: impl FnOnce(&[T], bool) -> String,
    ) -> Result<(), Failure> {
        let data = self.client.raw(self.whole_list(path)).await?;
        self.screen.show(&data, |color| Ok(render(&decode::<Page<T>>(&data)?.value, color)))
    }

    /// The JSON of the table with that name, ignoring case.
    async fn table(&self, name: &str) -> Result<Box<RawValue>, Failure> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
        }
        let page: Page<Box<RawValue>> = self.client.call(self.whole_list(&["tables"])).await?;
        let is_it = |one: &RawValue| decode::<Named>(one).is_ok_and(|named| named.name.eq_ignore_ascii_case(name));
        page.value.into_iter().find(|one| is_it(one)).ok_or_else(|| {
            Failure::new(
                Exit::NotFound,
                format!("no table '{name}' in project '{}'", self.project),
                "`kirin table list` lists the tables; --project selects another project.",
            )
        })
    }

    fn whole_list(&self, path: &[&str]) -> Request {
        Request::get(path).with("project", self.project).with("page_offset", 0).with("page_size", i32::MAX)
    }

    /// Sends a request whose response has nothing to show, and reports success with the text `said`.
    async fn done(&mut self, request: Request, said: &str) -> Result<(), Failure> {
        let data = self.client.raw(request).await?;
        self.screen.show(&data, |_| Ok(format!("{said}\n")))
    }
}

/// The text of a file, or of standard input for `-`.
fn read_argument(name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if name == "-" {
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(name)
    };
    read.map_err(|e| Failure::usage(format!("cannot read {}: {e}", origin(name))))
}

/// The source of an argument, as messages name it.
fn origin(name: &str) -> String {
    if name == "-" { "standard input".to_owned() } else { format!("'{name}'") }
}

#[cfg(test)]
mod tests;
