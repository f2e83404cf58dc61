//! The node under test, its recorded answers, and the comparison with the golden files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_config::{Config, Sources};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::normal::{self, Names};

/// The timeout of every wait, sufficient for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The prefix of all paths of the API.
const BASE: &str = "/kylin/api";

/// Commands without a successful case in this suite, with the reason.
const NEED_NO_SUCCESS: [(&str, &str); 5] = [
    ("demo", "takes a minute; tests/run runs it separately"),
    ("bench takeover", "kills nodes for a minute; starts its own nodes"),
    ("bench load", "measures for a minute"),
    ("bench cluster", "tests/tests/it/bench.rs runs it"),
    ("worker", "communicates only with its node; every build and command of this suite runs one"),
];

/// A node, and its recorded answers.
pub(crate) struct Suite {
    dir: tempfile::TempDir,
    /// Keeps the node running.
    _node: kirin_server::Running,
    /// `host:port` of the node.
    address: String,
    password: String,
    http: reqwest::Client,
    /// Receives a message when the API stops the process.
    stop: mpsc::UnboundedReceiver<()>,
    pub(crate) names: Names,
    /// Cases by file.
    endpoints: BTreeMap<String, Vec<String>>,
    commands: BTreeMap<String, String>,
    /// Routes and commands that succeeded in a case.
    covered: BTreeSet<String>,
    cases: usize,
}

/// An answer of a node.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The whole body, if it is JSON.
    pub(crate) body: Value,
}

impl Answer {
    /// `data` of Kylin's envelope.
    pub(crate) fn data(&self) -> &Value {
        &self.body["data"]
    }
}

/// The output of a command.
pub(crate) struct Printed {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) exit: i32,
}

/// The login of a request.
#[derive(Clone, Copy)]
pub(crate) enum Login {
    Admin,
    WrongPassword,
    Missing,
}

impl Suite {
    /// Starts a node in this process.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("kirin-contract-").tempdir()?;
        let root = dir.path().canonicalize()?;
        let home = root.join("node");
        std::fs::create_dir_all(home.join("data"))?;
        std::fs::create_dir_all(root.join("tmp"))?;
        write_sales(&root)?;
        let settings = [
            "server.port=0",
            "server.address=127.0.0.1",
            "spring.cloud.zookeeper.discovery.instance-host=127.0.0.1",
            "kirin.node.name=node-1",
            "kirin.command.enabled=true",
            // Lists show the beat of a node: it stays 1 while the suite runs.
            "kylin.server.leader-race.heart-beat-interval=3600",
            "kylin.server.leader-race.heart-beat-timeout=7200",
        ];
        let roots = format!("kirin.source.roots={}", root.display());
        let config = Config::load(&Sources {
            home: home.clone(),
            conf: None,
            set: settings.map(str::to_owned).into_iter().chain([roots]).collect(),
            env: BTreeMap::new(),
            host_name: "localhost".to_owned(),
        })?;
        let (asked, stop) = mpsc::unbounded_channel();
        let running = Box::pin(kirin_server::start(&config, asked, tokio::runtime::Handle::current())).await?;
        let address = running.address().to_owned();
        let login = kirin_home::credentials::read(&home.join("data"))?.context("the node wrote no credentials")?;
        let mut names = Names::default();
        names.add(&address, "address");
        names.add(&root.display().to_string(), "dir");
        names.add(login.password(), "password");
        let suite = Self {
            dir,
            _node: running,
            address,
            password: login.password().to_owned(),
            http: reqwest::Client::builder().no_proxy().build()?,
            stop,
            names,
            endpoints: BTreeMap::new(),
            commands: BTreeMap::new(),
            covered: BTreeSet::new(),
            cases: 0,
        };
        suite
            .until("the node joins", async |suite| {
                let health = suite.ask("GET /health", None, Login::Missing).await?.1;
                Ok(health.body["components"]["member"]["details"]["phase"] == "up")
            })
            .await?;
        Ok(suite)
    }

    /// The directory of this run, with `sales.csv`, `shops.csv`, and files of the cases.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap_or_else(|_| self.dir.path().to_owned())
    }

    /// A path in that directory as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir().join(name).display().to_string()
    }

    /// `host:port` of the node.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends requests to the node at this address, with this password, from now on. Returns the address and password before.
    pub(crate) fn turn_to(&mut self, (address, password): (String, String)) -> (String, String) {
        (std::mem::replace(&mut self.address, address), std::mem::replace(&mut self.password, password))
    }

    // --- endpoints ---

    /// Sends a request without a body and records the answer.
    pub(crate) async fn http(&mut self, case: &str, request: &str) -> anyhow::Result<Answer> {
        self.http_as(Login::Admin, case, request, None).await
    }

    /// Sends a request with a JSON body and records the answer.
    pub(crate) async fn http_with(&mut self, case: &str, request: &str, body: Value) -> anyhow::Result<Answer> {
        self.http_as(Login::Admin, case, request, Some(body.to_string())).await
    }

    /// Sends a request with this text as its body and records the answer.
    pub(crate) async fn http_as(
        &mut self,
        login: Login,
        case: &str,
        request: &str,
        body: Option<String>,
    ) -> anyhow::Result<Answer> {
        let route = route_of(request).with_context(|| format!("{case}: the router has no route for {request}"))?;
        let (text, answer) = self.ask(request, body.as_deref(), login).await?;
        let mut fields = vec![("case", case.into()), ("request", self.names.text(request).into())];
        if let Some(body) = body {
            let json = serde_json::from_str(&body).map(|body| self.names.json(&body));
            fields.push(("body", json.unwrap_or_else(|_| self.names.text(&body).into())));
        }
        fields.extend(self.answered(&text, &answer));
        self.endpoints.entry(file_of(&route)).or_default().push(in_order(&fields));
        if (200..300).contains(&answer.status) {
            self.covered.insert(route);
        }
        self.cases += 1;
        Ok(answer)
    }

    /// Sends a request without a route and records the answer.
    pub(crate) async fn http_astray(&mut self, case: &str, request: &str) -> anyhow::Result<()> {
        ensure!(route_of(request).is_none(), "{case}: the router has a route for {request}");
        let (text, answer) = self.ask(request, None, Login::Admin).await?;
        let mut fields = vec![("case", case.into()), ("request", self.names.text(request).into())];
        fields.extend(self.answered(&text, &answer));
        self.endpoints.entry("no_such_endpoint".to_owned()).or_default().push(in_order(&fields));
        self.cases += 1;
        Ok(())
    }

    fn answered(&self, text: &str, answer: &Answer) -> [(&'static str, Value); 2] {
        let shown = if answer.body.is_null() { self.names.text(text).into() } else { self.names.json(&answer.body) };
        [("status", answer.status.into()), ("answer", shown)]
    }

    /// Sends a request that is not a case.
    pub(crate) async fn ask(
        &self,
        request: &str,
        body: Option<&str>,
        login: Login,
    ) -> anyhow::Result<(String, Answer)> {
        let (method, path) = request.split_once(' ').context("a request is METHOD /path")?;
        let url = format!("http://{}{}", self.address, whole(path));
        let mut builder = self.http.request(method.parse()?, url).timeout(PATIENCE);
        builder = match login {
            Login::Admin => builder.basic_auth("ADMIN", Some(&self.password)),
            Login::WrongPassword => builder.basic_auth("ADMIN", Some("KYLIN")),
            Login::Missing => builder,
        };
        if let Some(body) = body {
            builder = builder.header("Content-Type", "application/json").body(body.to_owned());
        }
        let response = builder.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or_default();
        Ok((text, Answer { status, body }))
    }

    /// `data` of a successful request that is not a case.
    pub(crate) async fn data(&self, request: &str) -> anyhow::Result<Value> {
        let (text, mut answer) = self.ask(request, None, Login::Admin).await?;
        ensure!(answer.status == 200, "{request}: {} {text}", answer.status);
        Ok(answer.body["data"].take())
    }

    /// Waits until the job has this public status.
    pub(crate) async fn until_job(&self, job: &str, status: &str) -> anyhow::Result<()> {
        let request = format!("GET /jobs/{job}");
        let is_so = async |suite: &Self| {
            let view = suite.data(&request).await?;
            let is_over = ["FINISHED", "ERROR", "DISCARDED"].iter().any(|over| view["job_status"] == *over);
            ensure!(!is_over || view["job_status"] == status, "job {job} should be {status}: {view}");
            Ok(view["job_status"] == status)
        };
        self.until(&format!("job {job} is {status}"), is_so).await
    }

    /// Waits until a condition is true.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl AsyncFn(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let looked = tokio::time::timeout(PATIENCE, async {
            while !is_so(self).await? {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            anyhow::Ok(())
        });
        looked.await.with_context(|| format!("timed out: {what}"))?
    }

    /// Waits until the node's entry in the list of members satisfies a condition.
    pub(crate) async fn until_node(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let looks = async |suite: &Self| {
            let view = suite.data("GET /cluster").await?;
            Ok(view["members"].as_array().into_iter().flatten().any(|node| node["node"] == "node-1" && is_so(node)))
        };
        self.until(&format!("the node is {what}"), looks).await
    }

    /// Waits until the API has asked this process to stop.
    pub(crate) async fn until_asked_to_stop(&mut self) -> anyhow::Result<()> {
        tokio::time::timeout(PATIENCE, self.stop.recv()).await?.context("the node has ended")
    }

    // --- commands ---

    /// Runs a command against the node and records what it prints.
    pub(crate) async fn cli(&mut self, case: &str, words: &[&str]) -> anyhow::Result<Printed> {
        let printed = self.kirin(words, "", true).await?;
        self.record(case, words, &printed, |names, text| names.text(text));
        Ok(printed)
    }

    /// Runs a command that is not a case. It must succeed.
    pub(crate) async fn ignored(&self, words: &[&str]) -> anyhow::Result<()> {
        let printed = self.kirin(words, "", true).await?;
        ensure!(printed.exit == 0, "kirin {}: {}", words.join(" "), printed.err);
        Ok(())
    }

    /// Runs a command in another directory against another node, without a password.
    pub(crate) async fn cli_alone_at(
        &mut self,
        address: &str,
        dir: &str,
        case: &str,
        words: &[&str],
    ) -> anyhow::Result<Printed> {
        let mut command = self.program(words, false);
        command.current_dir(self.dir().join(dir)).env("KIRIN_URL", format!("http://{address}"));
        let printed = ended(command, "", words).await?;
        self.record(case, words, &printed, |names, text| names.text(text));
        Ok(printed)
    }

    /// Runs a command with this standard input.
    pub(crate) async fn cli_reads(&mut self, case: &str, words: &[&str], input: &str) -> anyhow::Result<Printed> {
        let printed = self.kirin(words, input, true).await?;
        self.record(case, words, &printed, |names, text| names.text(text));
        Ok(printed)
    }

    /// Runs a command without a node.
    pub(crate) async fn cli_alone(&mut self, case: &str, words: &[&str]) -> anyhow::Result<Printed> {
        let printed = self.kirin(words, "", false).await?;
        self.record(case, words, &printed, |names, text| names.text(text));
        Ok(printed)
    }

    /// Prints a command's help, up to the global options.
    pub(crate) async fn cli_help(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let printed = self.kirin(words, "", false).await?;
        let is_root = words.len() == 1;
        self.record("its help", words, &printed, |_, text| {
            let own = if is_root { text } else { text.split("\nGlobal options:").next().unwrap_or_default() };
            own.to_owned()
        });
        Ok(())
    }

    /// Runs a command that measures: its numbers are not recorded.
    pub(crate) async fn cli_measures(&mut self, case: &str, words: &[&str]) -> anyhow::Result<Printed> {
        let printed = self.kirin(words, "", false).await?;
        let shown = match serde_json::from_str::<Value>(&printed.out) {
            Ok(figures) => pretty(&normal::measured(&figures)),
            Err(_) => printed.out.clone(),
        };
        let shown = Printed { out: shown, err: printed.err.clone(), exit: printed.exit };
        self.record(case, words, &shown, |names, text| normal::without_numbers(&names.text(text)));
        Ok(printed)
    }

    /// Runs a command that prints a lot: only the first lines are recorded.
    pub(crate) async fn cli_begins(&mut self, case: &str, words: &[&str], lines: usize) -> anyhow::Result<Printed> {
        let printed = self.kirin(words, "", false).await?;
        self.record(case, words, &printed, |names, text| {
            let all = names.text(text);
            let cut = if all.lines().count() > lines { "…\n" } else { "" };
            all.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>() + cut
        });
        Ok(printed)
    }

    /// Runs the program.
    async fn kirin(&self, words: &[&str], input: &str, with_node: bool) -> anyhow::Result<Printed> {
        ended(self.program(words, with_node), input, words).await
    }

    /// The program with these words, not yet started.
    pub(crate) fn program(&self, words: &[&str], with_node: bool) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_kirin"));
        command
            .args(words)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TMPDIR", self.dir().join("tmp"));
        if with_node {
            command.env("KIRIN_URL", format!("http://{}", self.address));
            command.env("KIRIN_USER", "ADMIN").env("KIRIN_PASSWORD", &self.password);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Records what a command printed.
    pub(crate) fn record(
        &mut self,
        case: &str,
        words: &[&str],
        printed: &Printed,
        normal: impl Fn(&Names, &str) -> String,
    ) {
        let path = command_of(words);
        if printed.exit == 0 {
            self.covered.insert(path.clone());
        }
        let is_json = words.windows(2).any(|pair| matches!(pair, ["-o" | "--output", "json"]));
        let out = match is_json.then(|| serde_json::from_str::<Value>(&printed.out)) {
            Some(Ok(value)) => pretty(&self.names.json(&value)),
            _ => normal(&self.names, &printed.out),
        };
        let shown = words.iter().map(|word| match word {
            word if word.contains('\'') => format!("\"{word}\""),
            word if word.contains([' ', '"', '{', ';', '$']) => format!("'{word}'"),
            word => (*word).to_owned(),
        });
        let line = self.names.text(&shown.collect::<Vec<_>>().join(" "));
        let file = self.commands.entry(path).or_default();
        if !file.is_empty() {
            file.push('\n');
        }
        // Writing to a string can't fail.
        let _ = writeln!(file, "# {case}\n$ kirin {}", line.trim_end());
        for line in out.lines() {
            let _ = writeln!(file, "{}", line.trim_end());
        }
        if !out.is_empty() && !out.ends_with('\n') {
            file.push_str("(no end of line)\n");
        }
        for line in normal(&self.names, &printed.err).lines() {
            let _ = writeln!(file, "{}", format!("! {line}").trim_end());
        }
        let _ = writeln!(file, "[exit {}]", printed.exit);
        self.cases += 1;
    }

    // --- the comparison ---

    /// Fails if a route or command has no case, or if a golden file differs.
    pub(crate) fn finish(self) -> anyhow::Result<String> {
        let mut missing = Vec::new();
        for (method, path) in kirin_api::endpoints() {
            let route = format!("{method} {path}");
            if !self.covered.contains(&route) {
                missing.push(route);
            }
        }
        for command in leaves() {
            let needs_success = !NEED_NO_SUCCESS.iter().any(|(name, _)| *name == command);
            if !self.commands.contains_key(&command) || needs_success && !self.covered.contains(&command) {
                missing.push(format!("kirin {command}"));
            }
        }
        let missing = if missing.is_empty() {
            String::new()
        } else {
            format!("\nno case succeeds for\n  {}\n", missing.join("\n  "))
        };
        let mut files = BTreeMap::new();
        for (name, cases) in &self.endpoints {
            files.insert(format!("http/{name}.json"), format!("[\n{}\n]\n", cases.join(",\n")));
        }
        for (command, text) in &self.commands {
            let name = if command.is_empty() { "kirin".to_owned() } else { command.replace([' ', '-'], "_") };
            files.insert(format!("cli/{name}.txt"), text.clone());
        }
        let done = format!("{} cases in {} files", self.cases, files.len());
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contract/golden");
        if std::env::var_os("KIRIN_BLESS").is_some_and(|value| value == "1") {
            bless(&golden, &files)?;
            ensure!(missing.is_empty(), "{missing}");
            return Ok(format!("{done} blessed"));
        }
        let differences = compare(&golden, &files)?;
        ensure!(missing.is_empty() && differences.is_empty(), "{missing}{differences}");
        Ok(format!("{done} as blessed"))
    }
}

/// Runs a command to its end.
async fn ended(mut command: tokio::process::Command, input: &str, words: &[&str]) -> anyhow::Result<Printed> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that reads nothing may be over already.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = tokio::time::timeout(PATIENCE * 2, child.wait_with_output()).await;
    let output = output.with_context(|| format!("kirin {} does not end", words.join(" ")))??;
    Ok(Printed {
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
        exit: output.status.code().context("a command was killed")?,
    })
}

fn bless(golden: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for old in present(golden)? {
        if !files.contains_key(&old) {
            std::fs::remove_file(golden.join(old))?;
        }
    }
    for (name, text) in files {
        let path = golden.join(name);
        std::fs::create_dir_all(path.parent().context("a file has a directory")?)?;
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// What differs from the golden files; nothing if they are the same.
fn compare(golden: &Path, files: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let mut differences = String::new();
    for (name, text) in files {
        let path = golden.join(name);
        match std::fs::read_to_string(&path) {
            Ok(blessed) if blessed == *text => {}
            Ok(blessed) => {
                let _ = write!(differences, "\n--- {name}\n{}", difference(&blessed, text));
            }
            Err(error) => {
                let _ = write!(differences, "\n--- {name}: {error}\n");
            }
        }
    }
    for old in present(golden)? {
        if !files.contains_key(&old) {
            let _ = write!(differences, "\n--- {old}: no case writes it\n");
        }
    }
    if !differences.is_empty() {
        let _ = write!(
            differences,
            "\n- is blessed, + is now; the files are in {}\nIf this is wanted: KIRIN_BLESS=1 cargo test -p kirin --test contract\n",
            golden.display()
        );
    }
    Ok(differences)
}

/// The existing golden files.
fn present(golden: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for kind in ["http", "cli"] {
        let Ok(entries) = std::fs::read_dir(golden.join(kind)) else { continue };
        for entry in entries {
            names.push(format!("{kind}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    Ok(names)
}

/// The lines that differ, each with the lines around it.
fn difference(blessed: &str, now: &str) -> String {
    const AROUND: usize = 3;
    const SHOWN: usize = 80;
    let (old, new): (Vec<_>, Vec<_>) = (blessed.lines().collect(), now.lines().collect());
    // How many lines the rest of the one and the rest of the other have in common, in order.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            let skipped = common[i + 1][j].max(common[i][j + 1]);
            common[i][j] = if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { skipped };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let is_same = i < old.len() && j < new.len() && old[i] == new[j];
        if is_same {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let is_near = |at: usize| {
        lines[at.saturating_sub(AROUND)..lines.len().min(at + AROUND + 1)].iter().any(|(sign, _)| *sign != ' ')
    };
    let near: Vec<_> = (0..lines.len()).filter(|at| is_near(*at)).collect();
    let mut text: String = near.iter().take(SHOWN).map(|at| format!("{} {}\n", lines[*at].0, lines[*at].1)).collect();
    if near.len() > SHOWN {
        let _ = writeln!(text, "… and {} more lines", near.len() - SHOWN);
    }
    text
}

/// A JSON object with its fields in this order, indented as part of a list.
fn in_order(fields: &[(&str, Value)]) -> String {
    let fields =
        fields.iter().map(|(name, value)| format!("    \"{name}\": {}", format!("{value:#}").replace('\n', "\n    ")));
    format!("  {{\n{}\n  }}", fields.collect::<Vec<_>>().join(",\n"))
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn whole(path: &str) -> String {
    let is_whole = path.starts_with("/kylin") || path.split('?').next().is_some_and(|path| path.starts_with("/health"));
    if is_whole { path.to_owned() } else { format!("{BASE}{path}") }
}

/// The route of the router's table that a request takes. If several match, the one with
/// the fewest parameters, as the router does.
fn route_of(request: &str) -> Option<String> {
    let (method, path) = request.split_once(' ')?;
    let path = whole(path.split('?').next()?);
    let parts: Vec<_> = path.split('/').collect();
    let takes = |route: &str| {
        let route: Vec<_> = route.split('/').collect();
        route.len() == parts.len()
            && route.iter().zip(&parts).all(|(route, part)| route.starts_with('{') || route == part)
    };
    let routes = kirin_api::endpoints().into_iter().filter(|(by, route)| *by == method && takes(route));
    let best = routes.min_by_key(|(_, route)| route.matches('{').count())?;
    Some(format!("{} {}", best.0, best.1))
}

fn file_of(route: &str) -> String {
    let route = route.to_lowercase().replace("/kylin/", "/").replace(" /", "/");
    route.replace(['/', ' '], "_").replace(['{', '}'], "")
}

/// The names of the command that the words name, as in `job submit`.
fn command_of(words: &[&str]) -> String {
    let root = kirin_cli::Cli::grammar();
    let (mut at, mut path) = (&root, Vec::new());
    for word in words {
        let Some(below) = at.find_subcommand(word) else { break };
        path.push(*word);
        at = below;
    }
    path.join(" ")
}

/// All commands: those with others below them, and those without.
pub(crate) fn all_commands() -> Vec<(String, bool)> {
    fn below(at: &clap::Command, path: &str, all: &mut Vec<(String, bool)>) {
        all.push((path.to_owned(), at.has_subcommands()));
        for command in at.get_subcommands() {
            below(command, format!("{path} {}", command.get_name()).trim_start(), all);
        }
    }
    let mut all = Vec::new();
    below(&kirin_cli::Cli::grammar(), "", &mut all);
    all
}

fn leaves() -> impl Iterator<Item = String> {
    all_commands().into_iter().filter(|(_, has_more)| !has_more).map(|(path, _)| path)
}

/// Two small tables: what was sold, and where.
fn write_sales(dir: &Path) -> anyhow::Result<()> {
    let sales = "day,shop,amount\n2013-01-05,1,10\n2013-01-20,2,20\n2013-02-03,1,30\n2013-02-14,3,40\n2013-03-01,2,50\n2013-03-02,3,\n";
    let shops = "id,city\n1,Aachen\n2,Bonn\n3,Celle\n";
    std::fs::write(dir.join("sales.csv"), sales)?;
    std::fs::write(dir.join("shops.csv"), shops)?;
    Ok(())
}

/// The model over these tables.
pub(crate) fn model(name: &str) -> Value {
    json!({
        "name": name,
        "fact": "sales",
        "lookups": [{ "table": "shops", "join": "inner", "fact_key": ["shop"], "lookup_key": ["id"] }],
        "dimensions": [{ "name": "day", "column": "sales.day" }, { "name": "city", "column": "shops.city" }],
        "measures": [{ "name": "total", "function": "SUM", "column": "sales.amount" }],
        "partition": { "column": "day" },
        "indexes": [["city"]],
    })
}
