//! What can be typed: the command line's grammar, and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::when::{self, Moment};
use kirin_config::Secret;

/// Kirin: the cluster mode of the Kylin OLAP family.
#[derive(Debug, Parser)]
#[command(name = "kirin", version, max_term_width = 110, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command that talks to a node.
    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "Exit codes: 0 done · 1 what was asked failed (a job ended in ERROR …) · 2 usage · 3 not found · \
                          4 refused in this state · 5 no node can be reached · 6 not authenticated or not allowed";

/// Options of every command that talks to a node.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The node to talk to; of several (comma separated) the next is tried if one can't be reached [env: KIRIN_URL]
    /// [default: the node of this home directory, else http://127.0.0.1:7070]
    #[arg(long, global = true, value_delimiter = ',')]
    pub url: Vec<String>,
    /// The user [env: KIRIN_USER]
    #[arg(long, global = true)]
    pub user: Option<String>,
    /// The password; better given in KIRIN_PASSWORD. Without one, a node on this machine is logged in to with the
    /// credentials in its data directory
    #[arg(long, global = true)]
    pub password: Option<Secret>,
    /// The project [env: KIRIN_PROJECT] [default: default]
    #[arg(long, global = true)]
    pub project: Option<String>,
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// No colours (as does NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Global {
    /// Takes what was not typed from the environment. clap could read it too, but shows what it finds there as required.
    #[must_use]
    pub fn or_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        if self.url.is_empty() {
            self.url = variable("KIRIN_URL").into_iter().flat_map(urls).collect();
        }
        self.user = self.user.or_else(|| variable("KIRIN_USER"));
        self.password = self.password.or_else(|| variable("KIRIN_PASSWORD").map(Secret::new));
        self.project = self.project.or_else(|| variable("KIRIN_PROJECT"));
        self
    }
}

fn urls(text: String) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people.
    Table,
    /// The server's own JSON.
    Json,
}

/// Every command: those that are a node, and those that talk to one.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a node
    Start(ConfigArgs),
    /// Starts a cluster on this machine, kills a node under a running build, and shows that nothing is lost
    Demo(DemoArgs),
    /// Measures this machine
    #[command(subcommand)]
    Bench(Bench),
    /// Shows what a node decided, and why, from its flight recording
    Replay(ReplayArgs),
    /// Runs one attempt of a job (started by a node)
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// A command for a running node, or for this machine's files.
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that talk to a node, or read this machine's files.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Stops the node of this machine, gracefully
    Stop(StopArgs),
    /// Shows the cluster and what happened to it
    #[command(subcommand)]
    Cluster(Cluster),
    /// Submits jobs and looks after them
    #[command(subcommand)]
    Job(Job),
    /// Projects
    #[command(subcommand)]
    Project(Project),
    /// Tables: the raw data
    #[command(subcommand)]
    Table(Table),
    /// Models: what is built from the tables
    #[command(subcommand)]
    Model(Model),
    /// Segments: built parts of a model
    #[command(subcommand)]
    Segment(Segment),
    /// Runs a query
    Sql(SqlArgs),
    /// Makes the configuration of a load balancer in front of the cluster
    Lb(LbArgs),
    /// Prints the effective value of a configuration key
    GetProperties(GetPropertiesArgs),
    /// Prints the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where a node's configuration is.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// The home directory: `conf/` is read from there, `data/` written [env: KIRIN_HOME, KYLIN_HOME] [default: .]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The directory of kylin.properties, if it is not `conf/` in the home directory
    #[arg(long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// Sets a configuration key; wins over the files
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `kirin stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Where the node's configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Asks the node behind --url instead
    #[arg(long, conflicts_with_all = ["home", "conf", "set"])]
    pub remote: bool,
    /// How long to wait for the node to end
    #[arg(long, value_name = "SPAN", default_value = "90s", value_parser = when::span)]
    pub timeout: std::time::Duration,
}

/// `kirin get-properties`.
#[derive(Clone, Debug, Args)]
pub struct GetPropertiesArgs {
    /// The key; without one, every key that has a value
    pub key: Option<String>,
    /// Prints secrets in the clear
    #[arg(long)]
    pub show_secrets: bool,
    /// Where the node's configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `kirin demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Leaves the cluster running at the end
    #[arg(long)]
    pub keep: bool,
    /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
    #[arg(long, value_name = "URL")]
    pub metastore: Option<Secret>,
    /// The ZooKeeper ensemble, as in kylin.env.zookeeper-connect-string
    #[arg(long, value_name = "CONNECT")]
    pub zookeeper: Option<String>,
}

/// `kirin bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// From kill -9 of a node to the next committed step of its job on another
    Takeover {
        /// How many kills
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// From submit to start on an idle cluster
    Latency {
        /// How many jobs, one after the other
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// How quickly people and jobs are served when very many jobs are in the metastore
    Load {
        /// How many jobs that are over
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        finished: u32,
        /// How many jobs that wait
        #[arg(long, default_value_t = 10_000)]
        waiting: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Many nodes on this machine: how soon all see who came and who died, what an idle one asks of the metastore, its memory
    Cluster {
        /// How many nodes
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=1000))]
        nodes: u16,
        /// How many kills, each with a restart
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// For how long each size of the cluster idles
        #[arg(long, value_name = "SPAN", default_value = "90s", value_parser = when::span)]
        idle: std::time::Duration,
        /// The metastore, as in kylin.metadata.url; a database server for more than a few nodes, with two to three
        /// connections for each [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
        /// The ZooKeeper ensemble [default: none]
        #[arg(long, value_name = "HOST:PORT,…")]
        zookeeper: Option<String>,
    },
    /// Queries and beats of one node, without a flood of wrong passwords and beside one
    Strangers {
        /// Connections that log in with wrong passwords
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        connections: u32,
        /// Wrong logins per second, over all connections
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        per_second: u32,
        /// Connections that never finish their request
        #[arg(long, default_value_t = 200)]
        unfinished: u32,
        /// The duration of each of the two phases
        #[arg(long, value_name = "SPAN", default_value = "15s", value_parser = when::span)]
        span: std::time::Duration,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Trivial jobs a second, each committed durably
    Throughput {
        /// How many jobs
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        jobs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
        /// One transaction for each submit, claim and finish, over ten connections
        #[arg(long)]
        unbatched: bool,
    },
}

/// `kirin replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Recordings, or directories of them [default: those of the node in this directory]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only what concerns this job or node: by the number that the replay shows, or by the job's id, for which a node is
    /// asked
    #[arg(long, value_name = "job=ID|job=N|node=N")]
    pub why: Option<About>,
    /// Up to so long after the beginning of each recording
    #[arg(long, value_name = "SPAN", value_parser = when::span)]
    pub until: Option<std::time::Duration>,
    /// Also what decides nothing: beats, lists, time that passes
    #[arg(long)]
    pub all: bool,
    /// Waits for Enter after each event; q ends
    #[arg(long)]
    pub step: bool,
    /// Draws the recordings, those of several nodes side by side, as a page for a browser
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["set", "why", "step"])]
    pub explain: Option<PathBuf>,
    /// Decides anew with another setting, and shows what differs
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The subject of `--why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A job, by its number in the core.
    Job(u64),
    /// A job, by its id; a node knows its number.
    JobId(String),
    /// A node, by its number.
    Node(u32),
}

impl std::str::FromStr for About {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write job=ID, job=NUMBER or node=NUMBER, with the numbers that the replay shows".to_owned();
        let (what, number) = text.split_once('=').ok_or_else(wrong)?;
        match what {
            "job" if is_uuid(number) => Ok(Self::JobId(number.to_owned())),
            "job" => number.parse().map(Self::Job).map_err(|_| wrong()),
            "node" => number.parse().map(Self::Node).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

/// `kirin worker`: started by a node, which knows what to pass.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// Whatever the node passes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// `kirin cluster`.
#[derive(Clone, Debug, Subcommand)]
pub enum Cluster {
    /// The nodes: role, incarnation, beat, what they run, who would take over
    List,
    /// Every join, leave, fence and takeover, with its evidence and how long each phase took
    History {
        /// The most recent so many
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Lets a node hand over its jobs and take no new ones
    Drain {
        /// The node's name, as in `cluster list`
        node: String,
        /// Ends the drain: the node takes jobs again
        #[arg(long)]
        undo: bool,
    },
}

/// `kirin lb`.
#[derive(Clone, Debug, Args)]
pub struct LbArgs {
    /// The load balancer
    #[arg(value_enum)]
    pub balancer: Balancer,
    /// Where it listens: a port, or an address and a port
    #[arg(long, default_value = "8080", value_parser = listen)]
    pub listen: String,
    /// Which node gets a request: the next one, or the one that gets all of this client (httpd tells clients apart by a
    /// cookie)
    #[arg(long, value_enum, default_value_t = Method::RoundRobin)]
    pub method: Method,
    /// Writes into this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Writes the file again whenever the members change, until it is stopped
    #[arg(long, requires = "out")]
    pub watch: bool,
    /// What to run when the file has changed, as in "nginx -s reload"
    #[arg(long, value_name = "COMMAND", requires = "out")]
    pub reload: Option<String>,
    /// With --watch: for how long a member stays in the file that is away, as in a restart
    #[arg(long, value_name = "SPAN", default_value = "60s", value_parser = when::span)]
    pub keep: std::time::Duration,
}

/// Which load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Balancer {
    /// nginx.
    Nginx,
    /// The Apache HTTP Server.
    Httpd,
}

/// Which node gets a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// One after the other.
    RoundRobin,
    /// The same for all requests of a client.
    IpHash,
}

fn listen(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("*", text));
    let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_[]*".contains(c));
    match port.parse::<u16>() {
        Ok(1..) if is_plain && !host.is_empty() => Ok(text.to_owned()),
        _ => Err("a port, or an address and a port, as in 8080 or 127.0.0.1:8080".to_owned()),
    }
}

/// `kirin job`.
#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Submits a job
    Submit(SubmitArgs),
    /// Lists jobs
    List(JobListArgs),
    /// Shows a job and its steps
    Show {
        /// The job
        id: String,
    },
    /// Prints the log of a step
    Log {
        /// The job
        id: String,
        /// The step's number, from 0, or id [default: the one that failed, else the one begun last]
        step: Option<String>,
    },
    /// Waits until jobs end; the exit code tells whether all of them succeeded
    Wait {
        /// The jobs
        #[arg(required = true)]
        ids: Vec<String>,
        /// Gives up after so long
        #[arg(long, value_name = "SPAN", value_parser = when::span)]
        timeout: Option<std::time::Duration>,
    },
    /// Stops jobs; what they have done is kept
    Pause(JobIds),
    /// Goes on with paused or failed jobs, at the first step that is not done
    Resume(JobIds),
    /// Starts jobs again from their first step
    Restart(JobIds),
    /// Gives jobs up, for good
    Discard {
        /// The jobs
        #[command(flatten)]
        jobs: JobIds,
        /// Also jobs whose row in the metastore is broken
        #[arg(long)]
        force: bool,
    },
    /// Says why a job does not run
    Why {
        /// The job
        id: String,
    },
}

/// The jobs that an action is for.
#[derive(Clone, Debug, Args)]
pub struct JobIds {
    /// The jobs
    #[arg(required = true)]
    pub ids: Vec<String>,
    /// Does not ask before it discards; `job discard` requires it without a terminal
    #[arg(long, short)]
    pub yes: bool,
}

/// `kirin job submit`.
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The kind of job
    #[arg(long, default_value = "command")]
    pub kind: String,
    /// What to do, as JSON: the text itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "argv")]
    pub spec: Option<String>,
    /// 0 (first) to 4 (last)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=4))]
    pub priority: u8,
    /// Submitting twice under one key makes one job [default: a random one]
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Waits until the job ends
    #[arg(long)]
    pub wait: bool,
    /// The working directory of the command
    #[arg(long, value_name = "DIR", requires = "argv")]
    pub cwd: Option<String>,
    /// An environment variable of the command
    #[arg(long, value_name = "NAME=VALUE", requires = "argv")]
    pub env: Vec<String>,
    /// Kills the command after so long
    #[arg(long, value_name = "SPAN", requires = "argv", value_parser = when::span)]
    pub timeout: Option<std::time::Duration>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// `kirin job list`.
#[derive(Clone, Debug, Args)]
pub struct JobListArgs {
    /// Only in these states (PENDING, RUNNING, FINISHED, ERROR, STOPPED, DISCARDED)
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = JOB_STATES)]
    pub status: Vec<String>,
    /// Jobs of every project
    #[arg(long)]
    pub all_projects: bool,
    /// How far back
    #[arg(long, value_enum, default_value_t = Since::All)]
    pub since: Since,
    /// Only jobs whose id or subject contains this
    #[arg(long)]
    pub key: Option<String>,
    /// The column to sort by
    #[arg(long, default_value = "create_time", value_parser = JOB_ORDERS)]
    pub sort: String,
    /// Least first
    #[arg(long)]
    pub ascending: bool,
    /// The page, from 0
    #[arg(long, default_value_t = 0)]
    pub page: u32,
    /// Jobs a page
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

const JOB_STATES: [&str; 6] = ["PENDING", "RUNNING", "FINISHED", "ERROR", "STOPPED", "DISCARDED"];
const JOB_ORDERS: [&str; 6] =
    ["create_time", "last_modified", "project", "job_name", "target_subject", "total_duration"];

/// How far back a list of jobs goes; the numbers are Kylin's `time_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Since {
    /// The last day.
    Day = 0,
    /// The last week.
    Week = 1,
    /// The last month.
    Month = 2,
    /// The last year.
    Year = 3,
    /// Everything.
    All = 4,
}

/// `kirin project`.
#[derive(Clone, Debug, Subcommand)]
pub enum Project {
    /// Lists projects
    List,
    /// Creates a project
    Create {
        /// Its name
        name: String,
        /// A line about it
        #[arg(long, default_value = "")]
        description: String,
    },
}

/// `kirin table`.
#[derive(Clone, Debug, Subcommand)]
pub enum Table {
    /// Makes a Parquet or CSV file, or a directory of them, known as a table
    Add {
        /// Its name
        name: String,
        /// Where the data is: a file, a directory or a URL
        source: String,
        /// Declares the type of a column instead of inferring it, as in zip=VARCHAR; repeatable
        #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = declared)]
        types: Vec<(String, String)>,
    },
    /// Lists tables
    List,
    /// Shows a table's columns
    Show {
        /// The table
        name: String,
    },
    /// Forgets a table; the data stays where it is
    Drop {
        /// The table
        name: String,
        /// Does not ask; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// A column and its type.
fn declared(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((column, data_type)) if !column.is_empty() && !data_type.is_empty() => {
            Ok((column.to_owned(), data_type.to_owned()))
        }
        _ => Err("write it as COLUMN=TYPE".to_owned()),
    }
}

/// `kirin model`.
#[derive(Clone, Debug, Subcommand)]
pub enum Model {
    /// Creates a model from its JSON definition
    Add {
        /// The file; - for standard input
        file: String,
    },
    /// Lists models
    List,
    /// Shows a model
    Show {
        /// The model
        name: String,
    },
    /// Drops a model with its segments, unless one is being built
    Drop {
        /// The model
        name: String,
        /// Does not ask; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// `kirin segment`.
#[derive(Clone, Debug, Subcommand)]
pub enum Segment {
    /// Builds a segment: a time range, or everything if none is given
    Build {
        /// The model
        model: String,
        /// From this moment on: 2013-01-31, 2013-01-31T06:00 (UTC) or milliseconds
        #[arg(long, requires = "end")]
        start: Option<Moment>,
        /// Up to this moment, exclusive
        #[arg(long, requires = "start")]
        end: Option<Moment>,
        /// 0 (first) to 4 (last)
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=4))]
        priority: u8,
        /// Waits until the build ends
        #[arg(long)]
        wait: bool,
    },
    /// Lists the segments of a model
    List {
        /// The model
        model: String,
    },
    /// Verifies published segments; queries do not use one that is wrong
    Verify {
        /// The model
        model: String,
        /// The segments' ids; all if none is given
        ids: Vec<String>,
        /// Compares each group with the source tables, too; takes about as long as a build
        #[arg(long)]
        deep: bool,
    },
    /// Drops segments
    Drop {
        /// The model
        model: String,
        /// The segments' ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Does not ask; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// `kirin sql`.
#[derive(Clone, Debug, Args)]
pub struct SqlArgs {
    /// The query; - for standard input
    pub query: String,
    /// Says which index answers, and why others don't, instead of running the query
    #[arg(long)]
    pub explain: bool,
    /// Reads the raw tables where no index answers
    #[arg(long)]
    pub push_down: bool,
    /// Fails if rows of ranges that are not built are missing
    #[arg(long)]
    pub complete: bool,
    /// At most so many rows
    #[arg(long, default_value_t = 500)]
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Cli {
        let words = std::iter::once("kirin").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn refused(line: &str) -> i32 {
        let words = std::iter::once("kirin").chain(line.split_whitespace());
        Cli::try_parse_from(words).err().unwrap_or_else(|| panic!("{line} is accepted")).exit_code()
    }

    fn job(line: &str) -> Job {
        match parse(line).command {
            Command::Client(ClientCommand::Job(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        for line in [
            "start",
            "start --home /h --conf /c --set a=b --set c=d",
            "stop",
            "stop --home /h --timeout 5s",
            "stop --remote --url http://h:1",
            "cluster list",
            "cluster history --limit 5",
            "cluster drain 127.0.0.1:7070",
            "cluster drain n --undo",
            "job submit -- echo -n hello",
            "job submit --cwd /tmp --env A=B --timeout 30s --priority 0 --wait -- sh -c true",
            "job submit --kind call --spec {} --idempotency-key k",
            "job list",
            "job list --status running,error --all-projects --since week --key x --sort project --ascending --page 1 --limit 5",
            "job show j",
            "job log j",
            "job log j 2",
            "job wait j k --timeout 1h",
            "job pause j",
            "job resume j k",
            "job restart j",
            "job discard j --yes",
            "job why j",
            "project list",
            "project create p --description d",
            "table add flights /data/flights.parquet",
            "table list",
            "table show flights",
            "table drop flights -y",
            "model add model.json",
            "model list",
            "model show m",
            "model drop m -y",
            "segment build m",
            "segment build m --start 2013-01-01 --end 1359676800000 --priority 1 --wait",
            "segment list m",
            "segment drop m s1 s2 -y",
            "sql -",
            "sql select --explain",
            "sql select --push-down --limit 7",
            "get-properties kylin.metadata.url",
            "get-properties kylin.metadata.url --show-secrets --home /h",
            "demo",
            "demo --keep --metastore postgres://u@h/d --zookeeper h:2181",
            "bench takeover --runs 5 --metastore sqlite:x -o json",
            "bench latency --runs 5",
            "bench cluster --nodes 100 --runs 5 --idle 30s --metastore postgres://u@h/d --zookeeper h:2181",
            "bench throughput --jobs 5",
            "replay --why job=539a3053-986f-5868-b80e-788d1b8c253f --set heart-beat-timeout=3",
            "completions bash",
            "worker --anything goes 1",
        ] {
            parse(line);
        }
    }

    #[test]
    fn no_global_option_is_shown_as_required() {
        // What clap reads from the environment itself, it shows in the usage of an error.
        let mut kirin = Cli::command();
        kirin.build();
        for option in kirin.get_arguments() {
            assert!(option.get_env().is_none() && !option.is_required_set(), "{option}");
        }
    }

    #[test]
    fn what_is_not_typed_comes_from_the_environment() {
        let variable = |name: &str| match name {
            "KIRIN_URL" => Some("http://a:1,b:2".to_owned()),
            "KIRIN_PROJECT" => Some("p".to_owned()),
            "KIRIN_USER" => Some(String::new()),
            _ => None,
        };
        let global = parse("job list").global.or_environment(variable);
        assert_eq!((global.url.len(), global.project.as_deref(), global.user), (2, Some("p"), None));
        let global = parse("job list --url http://c --project q").global.or_environment(variable);
        assert_eq!((global.url, global.project.as_deref()), (vec!["http://c".to_owned()], Some("q")));
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = parse("job --url http://a:1,http://b:2 list --project p -o json --no-color --user u --password x");
        assert_eq!(cli.global.url, ["http://a:1", "http://b:2"]);
        assert_eq!((cli.global.project.as_deref(), cli.global.output), (Some("p"), Format::Json));
        assert!(cli.global.no_color && !format!("{cli:?}").contains("\"x\""));
    }

    #[test]
    fn a_commands_own_options_do_not_swallow_kirins() {
        let Job::Submit(args) = job("job submit --wait -- sh --wait -o json") else { panic!() };
        assert_eq!((args.argv.join(" ").as_str(), args.wait), ("sh --wait -o json", true));
        let Job::List(args) = job("job list --status running") else { panic!() };
        assert_eq!((args.status.join(","), args.since as u8), ("running".to_owned(), 4));
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for line in [
            "",
            "jobs",
            "job wait",
            "job submit --priority 5 -- x",
            "job submit --spec {} -- x",
            "job submit --cwd /tmp",
            "job list --status SLEEPING",
            "job list --limit 0",
            "segment build m --start 2013-01-01",
            "segment build m --start 2013-02-30 --end 2013-03-01",
            "stop --remote --home /h",
            "stop --timeout soon",
            "bench takeover --runs 0",
            "bench cluster --nodes 2",
            "sql",
            "completions tcl",
        ] {
            assert_eq!(refused(line), 2, "{line}");
        }
    }
}
