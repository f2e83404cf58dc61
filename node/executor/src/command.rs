//! The work of a `command`: one program per step, each in its own process group so that its children can be killed too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt as _;
use kirin_core::Capabilities;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::children::{kill_children, runs_in};
use crate::kind::{DirNeed, Kind};
use crate::protocol::Work;
use crate::work::{Published, Reporter, Stop, spec};
use kirin_shell::clock::wall_ms;

/// The timeout for the last output of a program after its exit.
const OUTPUT_WITHIN: Duration = Duration::from_secs(1);

/// Programs of the user.
pub static KIND: Kind = Kind {
    name: "command",
    job_type: |_| "COMMAND",
    own_endpoint: None,
    external: true,
    needs: Capabilities(2),
    setting: Some("kirin.command.enabled=true"),
    dir: DirNeed::Writes,
    has_children: true,
    reads_tables: false,
    steps,
    covers: |_| None,
    precondition: |_, _| async { Ok(()) }.boxed(),
    work: |work, reporter| run(work, reporter).boxed(),
};

/// The specification of a command job: one program, or several in order, one per step.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CommandSpec {
    /// `{"steps": […]}`
    Many {
        /// The programs.
        steps: Vec<CommandStep>,
    },
    /// A single program.
    One(CommandStep),
}

/// One program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandStep {
    /// The name of the step; the program's name if absent.
    pub name: Option<String>,
    /// The program and its arguments, without a shell.
    pub argv: Vec<String>,
    /// The working directory; the attempt's own directory if absent.
    pub cwd: Option<PathBuf>,
    /// Additional environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The time in milliseconds after which it is killed.
    pub timeout_ms: Option<u64>,
}

impl CommandSpec {
    fn steps(self) -> Vec<CommandStep> {
        match self {
            Self::Many { steps } => steps,
            Self::One(step) => vec![step],
        }
    }
}

impl CommandStep {
    fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.argv.first().cloned().unwrap_or_default())
    }
}

/// Checks a specification and returns the names of its steps.
///
/// # Errors
/// Why it is invalid.
pub fn steps(value: &Value) -> Result<Vec<String>, String> {
    let spec = CommandSpec::deserialize(value).map_err(|e| {
        format!("write a command as {{\"argv\": [\"program\", \"argument\"], \"cwd\": …, \"env\": {{…}}, \"timeout_ms\": N}}, or several as {{\"steps\": [{{\"argv\": …}}, …]}}: {e}")
    })?;
    let steps = spec.steps();
    if steps.is_empty() {
        return Err("a command needs at least one step".to_owned());
    }
    match steps.iter().position(|step| step.argv.first().is_none_or(String::is_empty)) {
        Some(at) => Err(format!("steps[{at}].argv must name a program")),
        None => Ok(steps.iter().map(CommandStep::title).collect()),
    }
}

/// Runs the programs whose steps are not committed.
pub async fn run(work: Work, reporter: &mut Reporter) -> Published {
    let steps = spec::<CommandSpec>(&work)?.steps();
    // On this thread, because there may be no memory for another one.
    std::fs::create_dir_all(&work.dir)
        .map_err(|e| Stop::Failed(format!("cannot create the directory {}: {e}", work.dir.display())))?;
    for (at, step) in steps.iter().enumerate().skip(work.done.len()) {
        let started_ms = wall_ms();
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let code = run_step(&work, step, number).await?;
        reporter.step(number, &step.title(), json!({ "exit_code": code }), started_ms).await;
    }
    Ok(Vec::new())
}

async fn run_step(work: &Work, step: &CommandStep, number: u32) -> Result<i32, Stop> {
    let title = step.title();
    let mut command = Command::new(&step.argv[0]);
    command
        .args(&step.argv[1..])
        .current_dir(step.cwd.as_ref().unwrap_or(&work.dir))
        .envs(&step.env)
        // The fence, for programs that can use it in their own writes.
        .env("KIRIN_JOB", &work.job)
        .env("KIRIN_EPOCH", work.epoch.to_string())
        .env("KIRIN_STEP", number.to_string())
        .env("KIRIN_ATTEMPT_DIR", &work.dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .process_group(0)
        .kill_on_drop(true);
    crate::children::die_with_parent(&mut command);
    let mut child = command.spawn().map_err(|e| Stop::Failed(format!("cannot start '{title}': {e}")))?;
    runs_in(child.id());
    // The worker's standard output is its connection to the node, so the program's output goes to the log.
    let copied = child.stdout.take().map(|mut out| {
        tokio::spawn(async move {
            let mut block = [0; 8192];
            while let Ok(n @ 1..) = out.read(&mut block).await {
                if std::io::stderr().write_all(&block[..n]).is_err() {
                    break;
                }
            }
        })
    });
    let limit = step.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
    let status = match tokio::time::timeout(limit, child.wait()).await {
        Ok(status) => status.map_err(|e| Stop::Failed(format!("cannot wait for '{title}': {e}")))?,
        Err(_) => {
            kill_children();
            let _ = child.wait().await;
            return Err(Stop::Failed(format!("'{title}' was killed after its timeout of {limit:?}")));
        }
    };
    kill_children();
    // All its output belongs to this step. A process that it left behind may keep the pipe open.
    if let Some(copied) = copied {
        let _ = tokio::time::timeout(OUTPUT_WITHIN, copied).await;
    }
    match status.code() {
        Some(0) => Ok(0),
        _ => Err(Stop::Failed(format!("'{title}' failed ({status}); see the step's log"))),
    }
}
