//! The grammar of the command line: commands, options and their help texts.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::when::{self, Moment};
use kirin_config::Secret;

/// Kirin: the cluster mode of the Kylin OLAP family.
#[derive(Debug, Parser)]
#[command(name = "kirin", version, max_term_width = 110, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command that talks to a node.
    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "Exit codes: 0 success · 1 failure (for example, a job ended in ERROR) · 2 usage · 3 not found · \
                          4 not allowed in this state · 5 no node reachable · 6 not authenticated or not permitted";

/// Options of every command that talks to a node.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The node's URL, or several separated by commas; unreachable nodes are skipped [env: KIRIN_URL]
    /// [default: the node of the home directory, else http://127.0.0.1:7070]
    #[arg(long, global = true, value_delimiter = ',')]
    pub url: Vec<String>,
    /// The user name [env: KIRIN_USER]
    #[arg(long, global = true)]
    pub user: Option<String>,
    /// The password; KIRIN_PASSWORD keeps it out of the process list. Without a password, commands to a node on this
    /// machine use the credentials in its data directory
    #[arg(long, global = true)]
    pub password: Option<Secret>,
    /// The project [env: KIRIN_PROJECT] [default: default]
    #[arg(long, global = true)]
    pub project: Option<String>,
    /// The output format
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Disables colors [env: NO_COLOR]
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// The global options that a command does not use. `start`, `demo`, `bench` and `worker` start nodes and send no request to
/// a given one.
fn unused(command: &str) -> &'static [&'static str] {
    match command {
        "start" | "demo" | "worker" => &["url", "user", "password", "project", "output", "no_color"],
        "bench" | "get-properties" | "completions" => &["url", "user", "password", "project"],
        _ => &[],
    }
}

impl Cli {
    /// The grammar. No command shows a global option that it does not use.
    pub fn grammar() -> clap::Command {
        let mut grammar = Self::command();
        let names: Vec<String> = grammar.get_subcommands().map(|it| it.get_name().to_owned()).collect();
        let options: Vec<_> = grammar.get_arguments().cloned().collect();
        for name in names {
            let ignored = options.iter().filter(|it| unused(&name).contains(&it.get_id().as_str()));
            let hidden: Vec<_> = ignored.cloned().map(|option| option.hide(true)).collect();
            grammar = grammar.mut_subcommand(name, |command| command.args(hidden));
        }
        grammar
    }

    /// Parses the command line of this process. An invalid one ends the process.
    pub fn read() -> Self {
        Self::parse_words(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Parses a command line.
    ///
    /// # Errors
    /// If it is invalid, or names an option that the command ignores.
    pub fn parse_words<T: Into<OsString> + Clone>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error> {
        let mut grammar = Self::grammar();
        let matches = grammar.try_get_matches_from_mut(words)?;
        let command = matches.subcommand_name().unwrap_or_default();
        let given = |option: &&str| matches.value_source(option) == Some(clap::parser::ValueSource::CommandLine);
        if let Some(option) = unused(command).iter().copied().find(given) {
            let text = format!("`kirin {command}` does not use --{}; omit it", option.replace('_', "-"));
            return Err(grammar.error(clap::error::ErrorKind::UnknownArgument, text));
        }
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut grammar))
    }
}

impl Global {
    /// Fills in missing options from the environment. clap could do this, but would then show these options as required.
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

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// The node's JSON on one line; `job show` puts the job and its steps into one object.
    Json,
}

/// Every command: those that run nodes, and those that send requests to a node.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs a node
    Start(ConfigArgs),
    /// Starts a cluster on this machine, kills a node during a build, and checks that nothing is lost
    Demo(DemoArgs),
    /// Runs benchmarks on this machine
    #[command(subcommand)]
    Bench(Bench),
    /// Shows a node's decisions and their reasons, from its flight recording
    Replay(ReplayArgs),
    /// Runs one attempt of a job; nodes start it
    #[command(hide = true)]
    Worker(WorkerArgs),
    /// A command to a running node, or about this machine's files.
    #[command(flatten)]
    Client(ClientCommand),
}

/// Commands that send requests to a node, or read this machine's files.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Stops the node on this machine gracefully
    Stop(StopArgs),
    /// Shows the cluster and its history, and drains nodes
    #[command(subcommand)]
    Cluster(Cluster),
    /// Submits, shows and controls jobs
    #[command(subcommand)]
    Job(Job),
    /// Lists, creates and drops projects
    #[command(subcommand)]
    Project(Project),
    /// Adds, shows and drops tables, which are the raw data
    #[command(subcommand)]
    Table(Table),
    /// Adds, shows and drops models, which define what is built from the tables
    #[command(subcommand)]
    Model(Model),
    /// Builds, refreshes, verifies and drops segments, which are the built parts of a model
    #[command(subcommand)]
    Segment(Segment),
    /// Runs a query
    Sql(SqlArgs),
    /// Generates the configuration of a load balancer for the cluster
    Lb(LbArgs),
    /// Prints the effective value of a configuration key
    GetProperties(GetPropertiesArgs),
    /// Prints the completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Where a node's configuration is.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// The home directory, with configuration in `conf/` and data in `data/` [env: KIRIN_HOME, KYLIN_HOME] [default: .]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// The directory of kylin.properties [default: `conf/` in the home directory]
    #[arg(long, value_name = "DIR")]
    pub conf: Option<PathBuf>,
    /// Sets a configuration key; overrides the files
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// `kirin stop`.
#[derive(Clone, Debug, Args)]
pub struct StopArgs {
    /// Where the node's configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Stops the node at --url instead
    #[arg(long, conflicts_with_all = ["home", "conf", "set"])]
    pub remote: bool,
    /// How long to wait for the node to exit
    #[arg(long, value_name = "SPAN", default_value = "90s", value_parser = when::span)]
    pub timeout: std::time::Duration,
}

/// `kirin get-properties`.
#[derive(Clone, Debug, Args)]
pub struct GetPropertiesArgs {
    /// The key [default: every key that has a value]
    pub key: Option<String>,
    /// Prints secrets in clear text
    #[arg(long)]
    pub show_secrets: bool,
    /// Where the node's configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `kirin demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Keeps the cluster running at the end
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
    /// Measures from kill -9 of a node to the next committed step of its job on another node
    Takeover {
        /// The number of kills
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Measures from submit to start on an idle cluster
    Latency {
        /// The number of jobs, submitted one at a time
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Measures response and start times with very many jobs in the metastore
    Load {
        /// The number of finished jobs
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
        finished: u32,
        /// The number of waiting jobs
        #[arg(long, default_value_t = 10_000)]
        waiting: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Measures many nodes on this machine: detection of joins and deaths, and statements and memory of an idle node
    Cluster {
        /// The number of nodes
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=1000))]
        nodes: u16,
        /// The number of kills, each followed by a restart
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        runs: u32,
        /// How long the cluster idles at each size
        #[arg(long, value_name = "SPAN", default_value = "90s", value_parser = when::span)]
        idle: std::time::Duration,
        /// The metastore, as in kylin.metadata.url. More than a few nodes need a database server with two to three
        /// connections per node [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
        /// The ZooKeeper ensemble [default: none]
        #[arg(long, value_name = "HOST:PORT,…")]
        zookeeper: Option<String>,
    },
    /// Measures queries and heart beats of one node, without and with a flood of wrong passwords
    Strangers {
        /// The number of connections that log in with wrong passwords
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        connections: u32,
        /// Wrong logins per second, over all connections
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        per_second: u32,
        /// The number of connections that never finish their request
        #[arg(long, default_value_t = 200)]
        unfinished: u32,
        /// The duration of each of the two phases
        #[arg(long, value_name = "SPAN", default_value = "15s", value_parser = when::span)]
        span: std::time::Duration,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
    },
    /// Measures submitted and finished empty jobs per second, with durable commits
    Throughput {
        /// The number of jobs
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
        jobs: u32,
        /// The metastore, as in kylin.metadata.url [default: SQLite in a temporary directory]
        #[arg(long, value_name = "URL")]
        metastore: Option<Secret>,
        /// Uses one transaction for each submit, claim and finish, on ten connections
        #[arg(long)]
        unbatched: bool,
    },
}

impl Bench {
    /// The given metastore.
    pub fn metastore(&self) -> Option<&Secret> {
        match self {
            Self::Takeover { metastore, .. }
            | Self::Latency { metastore, .. }
            | Self::Load { metastore, .. }
            | Self::Cluster { metastore, .. }
            | Self::Strangers { metastore, .. }
            | Self::Throughput { metastore, .. } => metastore.as_ref(),
        }
    }
}

/// `kirin replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Recordings, or directories of recordings [default: those of the node of the home directory]
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Shows only this job (id or replay number) or node (number). An id needs a running node
    #[arg(long, value_name = "job=ID|job=N|node=N")]
    pub why: Option<About>,
    /// Stops at this time after the beginning of each recording
    #[arg(long, value_name = "SPAN", value_parser = when::span)]
    pub until: Option<std::time::Duration>,
    /// Also shows routine events: beats, lists and timers
    #[arg(long)]
    pub all: bool,
    /// Waits for Enter after each event; q quits
    #[arg(long)]
    pub step: bool,
    /// Writes an HTML page that shows the recordings of all nodes side by side
    #[arg(long, value_name = "FILE.html", conflicts_with_all = ["set", "why", "step"])]
    pub explain: Option<PathBuf>,
    /// Replays with another setting and shows the decisions that differ
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The subject of `--why`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A job, by its number in the core.
    Job(u64),
    /// A job, by its id, whose number a node is asked for.
    JobId(String),
    /// A node, by its number.
    Node(u32),
}

impl std::str::FromStr for About {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write job=ID, job=NUMBER or node=NUMBER, with a number shown by the replay".to_owned();
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

/// `kirin worker`, which a node starts.
#[derive(Clone, Debug, Args)]
pub struct WorkerArgs {
    /// The arguments that the node passes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// `kirin cluster`.
#[derive(Clone, Debug, Subcommand)]
pub enum Cluster {
    /// Lists the nodes with role, incarnation, beat, running jobs and heirs
    List,
    /// Shows every join, leave, fence and takeover, with evidence and the duration of each phase
    History {
        /// The number of most recent lines
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Makes a node hand over its jobs and take no new ones
    Drain {
        /// The node's name, as shown by `cluster list`
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
    /// Where it listens: PORT or ADDRESS:PORT
    #[arg(long, default_value = "8080", value_parser = listen)]
    pub listen: String,
    /// Which node gets a request: the next in turn, or always the same for one client (httpd identifies clients by a
    /// cookie)
    #[arg(long, value_enum, default_value_t = Method::RoundRobin)]
    pub method: Method,
    /// Writes to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Keeps running and rewrites the file when the members change
    #[arg(long, requires = "out")]
    pub watch: bool,
    /// The command to run after each change of the file, for example "nginx -s reload"
    #[arg(long, value_name = "COMMAND", requires = "out")]
    pub reload: Option<String>,
    /// With --watch: how long a member stays in the file while it is down, for example during a restart
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
    /// The next node in turn.
    RoundRobin,
    /// The same node for all requests of a client.
    IpHash,
}

fn listen(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("*", text));
    let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-_[]*".contains(c));
    match port.parse::<u16>() {
        Ok(1..) if is_plain && !host.is_empty() => Ok(text.to_owned()),
        _ => Err("write PORT or ADDRESS:PORT, for example 8080 or 127.0.0.1:8080".to_owned()),
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
        /// The step's number, from 0, or its id [default: the failed step, else the one started last]
        step: Option<String>,
    },
    /// Waits until jobs end; the exit code is 0 if all of them succeeded
    Wait {
        /// The jobs
        #[arg(required = true)]
        ids: Vec<String>,
        /// Stops waiting after this time
        #[arg(long, value_name = "SPAN", value_parser = when::span)]
        timeout: Option<std::time::Duration>,
    },
    /// Pauses jobs; their finished steps are kept
    Pause(JobIds),
    /// Resumes paused or failed jobs at their first unfinished step
    Resume(JobIds),
    /// Restarts jobs from their first step
    Restart(JobIds),
    /// Discards jobs permanently
    Discard {
        /// The jobs
        #[command(flatten)]
        jobs: JobIds,
        /// Also discards jobs whose row in the metastore is damaged
        #[arg(long)]
        force: bool,
    },
    /// Explains why a job does not run
    Why {
        /// The job
        id: String,
    },
}

/// The jobs that an action applies to.
#[derive(Clone, Debug, Args)]
pub struct JobIds {
    /// The jobs
    #[arg(required = true)]
    pub ids: Vec<String>,
    /// Does not ask for confirmation; `job discard` requires this without a terminal
    #[arg(long, short)]
    pub yes: bool,
}

/// `kirin job submit`.
#[derive(Clone, Debug, Args)]
pub struct SubmitArgs {
    /// The kind of job
    #[arg(long, default_value = "command")]
    pub kind: String,
    /// The job's specification as JSON: the text itself, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", conflicts_with = "argv")]
    pub spec: Option<String>,
    /// 0 (first) to 4 (last)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=4))]
    pub priority: u8,
    /// Two submits with the same key create one job [default: a random key]
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
    /// Kills the command after this time
    #[arg(long, value_name = "SPAN", requires = "argv", value_parser = when::span)]
    pub timeout: Option<std::time::Duration>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub argv: Vec<String>,
}

/// `kirin job list`.
#[derive(Clone, Debug, Args)]
pub struct JobListArgs {
    /// Lists only jobs in these states (PENDING, RUNNING, FINISHED, ERROR, STOPPED, DISCARDED)
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = JOB_STATES)]
    pub status: Vec<String>,
    /// Lists the jobs of all projects
    #[arg(long)]
    pub all_projects: bool,
    /// How far back the list goes, by time of creation
    #[arg(long, value_enum, default_value_t = Since::All)]
    pub since: Since,
    /// Lists only jobs whose id or subject contains this text
    #[arg(long)]
    pub key: Option<String>,
    /// The column to sort by
    #[arg(long, default_value = "create_time", value_parser = JOB_ORDERS)]
    pub sort: String,
    /// Sorts in ascending order
    #[arg(long)]
    pub ascending: bool,
    /// The number of the page, from 0
    #[arg(long, default_value_t = 0)]
    pub page: u32,
    /// The number of jobs per page
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
        /// The project's name
        name: String,
        /// A description
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Drops a project without tables, models and open jobs
    Drop {
        /// The project's name
        name: String,
        /// Does not ask for confirmation; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// `kirin table`.
#[derive(Clone, Debug, Subcommand)]
pub enum Table {
    /// Registers a Parquet or CSV file, or a directory of them, as a table
    Add {
        /// The table's name
        name: String,
        /// The location of the data: a file, a directory or a URL
        source: String,
        /// Declares a column's type instead of inferring it, for example zip=VARCHAR; repeatable
        #[arg(long = "type", value_name = "COLUMN=TYPE", value_parser = declared)]
        types: Vec<(String, String)>,
        /// How CSV files are written.
        #[command(flatten)]
        csv: CsvArgs,
    },
    /// Lists tables
    List,
    /// Shows a table's columns
    Show {
        /// The table
        name: String,
    },
    /// Drops a table; its files are kept
    Drop {
        /// The table
        name: String,
        /// Does not ask for confirmation; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// How CSV files are written. Any of these options means that the source is CSV.
#[derive(Clone, Debug, Default, Args)]
pub struct CsvArgs {
    /// The field separator of CSV files: one ASCII character, or \t for a tab [default: a comma; a tab in .tsv files]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub delimiter: Option<char>,
    /// CSV files have no header line; the columns are named column_1, column_2, …
    #[arg(long)]
    pub no_header: bool,
    /// A word that means NULL in CSV files, for example NA; an empty field is always NULL
    #[arg(long, value_name = "WORD")]
    pub null: Option<String>,
}

fn delimiter(text: &str) -> Result<char, String> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii() => Ok(c),
        _ if text == "\\t" => Ok('\t'),
        _ => Err("write one ASCII character, for example ';', or \\t for a tab".to_owned()),
    }
}

/// A column and its type.
fn declared(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((column, data_type)) if !column.is_empty() && !data_type.is_empty() => {
            Ok((column.to_owned(), data_type.to_owned()))
        }
        _ => Err("write COLUMN=TYPE".to_owned()),
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
    /// Drops a model and its segments, unless a build is running
    Drop {
        /// The model
        name: String,
        /// Does not ask for confirmation; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// `kirin segment`.
#[derive(Clone, Debug, Subcommand)]
pub enum Segment {
    /// Builds a segment for a time range [default: all data]
    Build {
        /// The model
        model: String,
        /// The start of the range: 2013, 2013-01, 2013-01-31, 2013-01-31T06:00 (UTC) or milliseconds since 1970
        #[arg(long, requires = "end")]
        start: Option<Moment>,
        /// The end of the range, exclusive
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
    /// Verifies published segments; queries do not use damaged segments
    Verify {
        /// The model
        model: String,
        /// The segments' ids or names [default: all]
        ids: Vec<String>,
        /// Also compares each group with the source tables; takes about as long as a build
        #[arg(long)]
        deep: bool,
    },
    /// Builds segments again from the source tables; queries use the previous content until then
    Refresh {
        /// The model
        model: String,
        /// The segments' ids or names
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// Refreshes all segments of the model
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// 0 (first) to 4 (last)
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=4))]
        priority: u8,
        /// Waits until the builds end
        #[arg(long)]
        wait: bool,
    },
    /// Drops segments
    Drop {
        /// The model
        model: String,
        /// The segments' ids or names
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// Drops all segments of the model
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Does not ask for confirmation; required without a terminal
        #[arg(long, short)]
        yes: bool,
    },
}

/// `kirin sql`.
#[derive(Clone, Debug, Args)]
pub struct SqlArgs {
    /// The query; - for standard input
    pub query: String,
    /// Shows which index would answer, and why others would not, without running the query
    #[arg(long)]
    pub explain: bool,
    /// Reads the raw tables if no index can answer
    #[arg(long)]
    pub push_down: bool,
    /// Fails if the answer lacks rows of ranges that are not built
    #[arg(long)]
    pub complete: bool,
    /// The maximum number of rows
    #[arg(long, default_value_t = 500)]
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        let words = std::iter::once("kirin").chain(line.split_whitespace());
        Cli::parse_words(words).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn refused(line: &str) -> i32 {
        let words = std::iter::once("kirin").chain(line.split_whitespace());
        Cli::parse_words(words).err().unwrap_or_else(|| panic!("{line} is accepted")).exit_code()
    }

    fn job(line: &str) -> Job {
        match parse(line).command {
            Command::Client(ClientCommand::Job(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_grammar_is_consistent() {
        Cli::grammar().debug_assert();
    }

    #[test]
    fn every_command_is_parsed() {
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
            "project drop p -y",
            "table add flights /data/flights.parquet",
            "table add orders /data/orders --delimiter ; --no-header --null NA --type column_1=DATE",
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
            "segment refresh m s1 s2 --priority 1 --wait",
            "segment refresh m --all",
            "segment drop m s1 s2 -y",
            "segment drop m --all -y",
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
        // Options that clap reads from the environment appear in the usage text of errors.
        let mut kirin = Cli::grammar();
        kirin.build();
        for option in kirin.get_arguments() {
            assert!(option.get_env().is_none() && !option.is_required_set(), "{option}");
        }
    }

    #[test]
    fn missing_options_come_from_the_environment() {
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
    fn unused_global_options_are_hidden_and_refused() {
        let mut kirin = Cli::grammar();
        kirin.build();
        for command in kirin.get_subcommands() {
            for mut one in command.get_subcommands().chain([command]).cloned() {
                let help = one.render_long_help().to_string();
                for option in ["url", "user", "password", "project", "output", "no_color"] {
                    let is_shown = help.contains(&format!("--{}", option.replace('_', "-")));
                    assert_eq!(is_shown, !unused(command.get_name()).contains(&option), "{option}: {help}");
                }
            }
        }
        for line in [
            "start --url http://a:1",
            "--project p start",
            "start -o json",
            "demo --user u",
            "demo --no-color",
            "bench throughput --password x",
            "bench --url a load",
        ] {
            assert_eq!(refused(line), 2, "{line}");
        }
        assert_eq!(parse("bench throughput -o json").global.output, Format::Json);
    }

    #[test]
    fn global_options_are_accepted_in_any_position() {
        let cli = parse("job --url http://a:1,http://b:2 list --project p -o json --no-color --user u --password x");
        assert_eq!(cli.global.url, ["http://a:1", "http://b:2"]);
        assert_eq!((cli.global.project.as_deref(), cli.global.output), (Some("p"), Format::Json));
        assert!(cli.global.no_color && !format!("{cli:?}").contains("\"x\""));
    }

    #[test]
    fn options_after_the_separator_belong_to_the_submitted_command() {
        let Job::Submit(args) = job("job submit --wait -- sh --wait -o json") else { panic!() };
        assert_eq!((args.argv.join(" ").as_str(), args.wait), ("sh --wait -o json", true));
        let Job::List(args) = job("job list --status running") else { panic!() };
        assert_eq!((args.status.join(","), args.since as u8), ("running".to_owned(), 4));
    }

    #[test]
    fn invalid_command_lines_are_usage_errors() {
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
            "table add t /d --delimiter ;;",
            "table add t /d --delimiter §",
            "segment drop m",
            "segment drop m s1 --all",
            "segment refresh m",
            "bench takeover --runs 0",
            "bench cluster --nodes 2",
            "sql",
            "completions tcl",
        ] {
            assert_eq!(refused(line), 2, "{line}");
        }
    }
}
