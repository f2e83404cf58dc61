//! `stop` and `get-properties`, which use this machine's files.

use super::super::args::{GetPropertiesArgs, StopArgs};
use super::super::exit::{Exit, Failure};
use super::super::screen::Screen;
use super::Session;
use kirin_client::Request;
use kirin_config::{Config, Sources};
use kirin_home::pid_file::{PidError, PidFile};

/// Stops the node that uses the data directory.
pub(super) async fn stop(args: &StopArgs, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let config = load(&args.config.sources())?;
    let stopped = PidFile::stop(&config.data_dir, args.timeout).await.map_err(|e| match e {
        PidError::NotRunning(_) => Failure::new(
            Exit::NotFound,
            e.to_string(),
            "If the node was started with --home or --set, give the same options.",
        ),
        PidError::StillRunning(pid) => Failure::new(
            Exit::Failed,
            e.to_string(),
            format!("Wait longer with --timeout, or run `kill -9 {pid}`: its jobs continue on other nodes."),
        ),
        PidError::Unclear(_) | PidError::Taken { .. } | PidError::Io(..) => Failure::failed(e.to_string()),
    })?;
    let name = if stopped.node.is_empty() { "the node".to_owned() } else { stopped.node };
    screen.print(&format!("{name} (process {}) has stopped\n", stopped.pid))
}

/// Stops the node at `--url`.
pub(super) async fn stop_remote(mut session: Session<'_, '_>) -> Result<(), Failure> {
    session.done(Request::post(&["system", "stop"]), "the node is stopping").await
}

/// Prints one effective value, or all.
pub(super) fn get_properties(args: &GetPropertiesArgs, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let config = load(&args.config.sources())?;
    let value = |property: &kirin_config::Property| {
        if args.show_secrets { property.revealed.clone() } else { property.shown.clone() }
    };
    let Some(key) = &args.key else {
        let all: String = config.properties().map(|(key, property)| format!("{key}={}\n", value(property))).collect();
        return screen.print(&all);
    };
    match config.property(key) {
        Some(property) => screen.print(&format!("{}\n", value(property))),
        None => {
            let next = match kirin_config::keys::standing(key) {
                kirin_config::keys::Standing::Unknown(Some(meant)) => format!("Did you mean {meant}?"),
                _ => "`kirin get-properties` prints every key that has a value.".to_owned(),
            };
            Err(Failure::new(Exit::NotFound, format!("{key} has no value"), next))
        }
    }
}

fn load(sources: &Sources) -> Result<Config, Failure> {
    Config::load(sources).map_err(|e| Failure::usage(e.to_string()))
}
