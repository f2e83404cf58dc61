//! A case for every command: its output, the stream, and its exit code.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::suite::{Printed, Suite, all_commands, model};

/// Help texts, and the commands that need no node or start their own.
pub(crate) async fn commands_beside_a_node(suite: &mut Suite) -> anyhow::Result<()> {
    for (command, _) in all_commands() {
        let words: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        suite.cli_help(&words).await?;
    }
    suite.cli_alone("no arguments", &[]).await?;
    suite.cli_alone("an unknown command", &["jobs"]).await?;
    suite.cli_alone("a command without its subcommand", &["job"]).await?;
    for shell in ["bash", "zsh", "fish"] {
        suite.cli_begins("completions", &["completions", shell], 3).await?;
    }
    suite.cli_alone("an unknown shell", &["completions", "tcl"]).await?;
    properties(suite).await?;
    suite.cli_alone("an invalid metastore URL", &["demo", "--metastore", "nonsense"]).await?;
    for bench in ["takeover", "latency", "throughput", "load", "cluster"] {
        suite.cli_alone("an invalid metastore URL", &["bench", bench, "--metastore", "nonsense"]).await?;
    }
    suite.cli_measures("one job, as JSON", &["bench", "latency", "--runs", "1", "--output", "json"]).await?;
    suite.cli_measures("a few jobs", &["bench", "throughput", "--jobs", "10"]).await?;
    suite.cli_alone("no arguments", &["worker"]).await?;
    from_start_to_stop(suite).await
}

async fn properties(suite: &mut Suite) -> anyhow::Result<()> {
    let home = suite.dir().join("configured");
    std::fs::create_dir_all(home.join("conf"))?;
    let url = "kylin.metadata.url=k@jdbc,url=jdbc:postgresql://h/d,username=u,password=hunter2\n";
    std::fs::write(home.join("conf/kylin.properties"), url)?;
    let get = ["get-properties", "--home", "configured"];
    let with = |words: &[&'static str]| get.iter().copied().chain(words.iter().copied()).collect::<Vec<_>>();
    suite.cli_alone("a secret", &with(&["kylin.metadata.url"])).await?;
    suite.cli_alone("a secret in clear text", &with(&["kylin.metadata.url", "--show-secrets"])).await?;
    suite.cli_alone("a value from the command line", &with(&["server.port", "--set", "server.port=1"])).await?;
    suite.cli_alone("a misspelled key", &with(&["server.prot"])).await?;
    suite.cli_alone("a value that is not allowed", &with(&["--set", "server.port=high"])).await?;
    suite.cli_begins("every key", &with(&["--set", "server.address=127.0.0.1"]), 5).await?;
    Ok(())
}

/// A node in its own process: start, recording, stop.
async fn from_start_to_stop(suite: &mut Suite) -> anyhow::Result<()> {
    let conf = suite.dir().join("home/conf");
    std::fs::create_dir_all(&conf)?;
    let beats = "kylin.server.leader-race.heart-beat-interval=3600\nkylin.server.leader-race.heart-beat-timeout=7200\n";
    std::fs::write(conf.join("kylin.properties"), beats)?;
    let home = ["--home", "home"];
    suite.cli_alone("a value that is not allowed", &["start", "--home", "home", "--set", "server.port=high"]).await?;
    suite.cli_alone("no node runs", &["stop", "--home", "home"]).await?;
    let words: Vec<_> =
        ["start"].into_iter().chain(home).chain(["--set", "server.port=0", "--set", "kirin.node.name=alone"]).collect();
    let mut child = suite.program(&words, false).stdin(Stdio::null()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a node prints")?).lines();
    let mut errors = child.stderr.take().context("a node logs")?;
    let log = tokio::spawn(async move {
        let mut text = String::new();
        errors.read_to_string(&mut text).await.map(|_| text)
    });
    let (mut out, mut password) = (String::new(), String::new());
    let up = async {
        while let Some(line) = lines.next_line().await? {
            if let Some((_, shown)) = line.split_once("with the password ") {
                suite.names.add(shown, "password");
                password = shown.to_owned();
            }
            out.push_str(&format!("{line}\n"));
            if let Some((_, address)) = line.split_once(" is up at http://") {
                suite.names.add(address, "address");
                return anyhow::Ok(address.to_owned());
            }
        }
        anyhow::bail!("a node ended before it was up: {out}")
    };
    let address = tokio::time::timeout(Duration::from_secs(60), up).await.context("a node is not up")??;
    // Commands read the password from the node's data directory.
    suite.names.add(&child.id().context("a node has a process")?.to_string(), "pid");
    suite.cli_alone("a node already runs in the directory", &words).await?;
    let own =
        suite.cli_alone_at(&address, "home", "the credentials of this machine are used", &["cluster", "list"]).await?;
    ensure!(own.exit == 0, "{}", own.err);
    occupied(suite, &address).await?;
    with_default_settings(suite, &address, &password).await?;
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    let add = ["table", "add", "deliveries", "../sales.csv"];
    let case = "the node of this machine, by another name";
    let added = suite.cli_alone_at(&format!("localhost:{port}"), "home", case, &add).await?;
    ensure!(added.exit == 0, "{}", added.err);
    suite.cli_alone("a node is stopped", &["stop", "--home", "home"]).await?;
    let exit = child.wait().await?.code().context("a node was killed")?;
    let log = log.await??;
    ensure!(exit == 0, "a node ended with {exit}: {log}");
    suite.record("a node, until it is stopped", &words, &Printed { out, err: String::new(), exit }, |names, text| {
        names.text(text)
    });
    let recordings = "home/data/recorder";
    suite.cli_measures("only one job", &["replay", recordings, "--why", "job=999"]).await?;
    suite.cli_measures("as an HTML page", &["replay", recordings, "--explain", "run.html"]).await?;
    suite.cli_alone("no recording", &["replay", "configured"]).await?;
    suite.cli_alone("neither a job nor a node", &["replay", recordings, "--why", "x"]).await?;
    Ok(())
}

/// A start on an occupied port, which must not create a cluster.
async fn occupied(suite: &mut Suite, address: &str) -> anyhow::Result<()> {
    let (_, port) = address.rsplit_once(':').context("an address has a port")?;
    suite.names.add(port, "port");
    let port = format!("server.port={port}");
    let start = ["start", "--home", "occupied", "--set", &port, "--set", "server.address=127.0.0.1"];
    let refused = suite.cli_alone("an occupied port", &start).await?;
    ensure!(refused.exit != 0 && !refused.out.contains("password"), "{}", refused.out);
    let metastore = suite.dir().join("occupied/data/metastore.db");
    ensure!(!metastore.exists(), "{} was created", metastore.display());
    Ok(())
}

/// A node as a new user has it: without `kirin.source.roots` and `kirin.command.enabled`.
async fn with_default_settings(suite: &mut Suite, address: &str, password: &str) -> anyhow::Result<()> {
    std::fs::write(suite.dir().join("home/model.json"), model("by_shop").to_string())?;
    for (case, words) in [
        ("a local file, without kirin.source.roots", &["table", "add", "sales", "../sales.csv"][..]),
        ("a second one", &["table", "add", "shops", "../shops.csv"]),
        ("a model of these tables", &["model", "add", "model.json"]),
        ("a whole model, until it is built", &["segment", "build", "by_shop", "--wait"]),
        ("of these tables", &["sql", "SELECT SUM(amount) AS total FROM sales JOIN shops ON shop = id"]),
    ] {
        let printed = suite.cli_alone_at(address, "home", case, words).await?;
        ensure!(printed.exit == 0, "{case}: {}", printed.err);
    }
    let submit = ["job", "submit", "--", "true"];
    let made = suite.cli_alone_at(address, "home", "a command that no node can run", &submit).await?;
    let job = first_word(&made)?;
    suite.names.add(&job, "job:nowhere");
    suite.cli_alone_at(address, "home", "a job that no node can run", &["job", "why", &job]).await?;
    let others = suite.turn_to((address.to_owned(), password.to_owned()));
    crate::http::with_default_settings(suite, &job).await?;
    suite.turn_to(others);
    Ok(())
}

/// The commands that send requests to a node.
pub(crate) async fn commands(suite: &mut Suite) -> anyhow::Result<()> {
    connections(suite).await?;
    definitions(suite).await?;
    segments(suite).await?;
    jobs(suite).await?;
    cluster(suite).await?;
    suite.cli("the node is stopped", &["stop", "--remote"]).await?;
    suite.until_asked_to_stop().await
}

async fn connections(suite: &mut Suite) -> anyhow::Result<()> {
    suite.cli("a wrong password", &["job", "list", "--password", "KYLIN"]).await?;
    suite.cli("no node at the address", &["job", "list", "--url", "http://127.0.0.1:1"]).await?;
    suite
        .cli(
            "the second of two nodes responds",
            &["project", "list", "--url", &format!("127.0.0.1:1,{}", suite.address())],
        )
        .await?;
    suite.cli("an invalid address", &["job", "list", "--url", "ftp://127.0.0.1"]).await?;
    Ok(())
}

async fn definitions(suite: &mut Suite) -> anyhow::Result<()> {
    suite.cli("a project is created", &["project", "create", "cli", "--description", "Typed by hand"]).await?;
    suite.cli("a project with this name exists", &["project", "create", "cli"]).await?;
    suite.cli("a name that is not allowed", &["project", "create", "a b"]).await?;
    suite.ignored(&["project", "create", "spare"]).await?;
    suite.cli("without a terminal and without --yes", &["project", "drop", "spare"]).await?;
    suite.cli("an empty project", &["project", "drop", "spare", "--yes"]).await?;
    suite.cli("an unknown project", &["project", "drop", "spare", "--yes"]).await?;
    suite.cli("all projects", &["project", "list"]).await?;
    suite.cli("as JSON", &["project", "list", "-o", "json"]).await?;

    let of = |words: &[&'static str]| words.iter().copied().chain(["--project", "cli"]).collect::<Vec<_>>();
    suite.cli("no table", &of(&["table", "list"])).await?;
    suite.cli("a file", &of(&["table", "add", "sales", "sales.csv"])).await?;
    suite.cli("a second table, as JSON", &of(&["table", "add", "shops", "shops.csv", "-o", "json"])).await?;
    suite.cli("a table with this name exists", &of(&["table", "add", "sales", "sales.csv"])).await?;
    suite.cli("a project with tables", &["project", "drop", "cli", "--yes"]).await?;
    suite.cli("no such file", &of(&["table", "add", "t", "t.csv"])).await?;
    let german = "kunde;datum;betrag\n7;31.12.2023;1.234,50\n8;01.01.2024;NA\n";
    std::fs::write(suite.dir().join("german.csv"), german)?;
    suite.cli("a semicolon without --delimiter", &of(&["table", "add", "german", "german.csv"])).await?;
    let null = ["table", "add", "german", "german.csv", "--delimiter", ";", "--null", "NA"];
    suite.cli("dates and numbers in a local format", &of(&null)).await?;
    std::fs::write(suite.dir().join("amounts.csv"), "north,4.50\nsouth,7.25\n")?;
    suite.cli("amounts without a header", &of(&["table", "add", "amounts", "amounts.csv", "--no-header"])).await?;
    suite.cli("a delimiter of two characters", &of(&["table", "add", "t", "german.csv", "--delimiter", ";;"])).await?;
    let text = ["table", "add", "texts", "shops.csv", "--type", "id=STRING"];
    suite.cli("a declared type", &of(&text)).await?;
    suite.cli("a declared type has one name", &of(&["table", "show", "texts"])).await?;
    suite.cli("an unknown project", &["table", "add", "t", "sales.csv", "--project", "nowhere"]).await?;
    suite.cli("the tables", &of(&["table", "list"])).await?;
    suite.cli("of an unknown project", &["table", "list", "--project", "nowhere"]).await?;
    suite.cli("a table", &of(&["table", "show", "SALES"])).await?;
    suite.cli("as JSON", &of(&["table", "show", "sales", "-o", "json"])).await?;
    suite.cli("an unknown table", &of(&["table", "show", "nothing"])).await?;

    std::fs::write(suite.dir().join("model.json"), model("typed").to_string())?;
    let mut broken = model("broken");
    broken["fact"] = "sale".into();
    std::fs::write(suite.dir().join("broken.json"), broken.to_string())?;
    suite.cli("no model", &of(&["model", "list"])).await?;
    suite.cli("from a file", &of(&["model", "add", "model.json"])).await?;
    suite.cli("a model with this name exists", &of(&["model", "add", "model.json"])).await?;
    suite.cli_reads("from standard input", &of(&["model", "add", "-"]), &model("piped").to_string()).await?;
    suite.cli_reads("not JSON", &of(&["model", "add", "-"]), "name: piped").await?;
    suite.cli("an unknown table in it", &of(&["model", "add", "broken.json"])).await?;
    let mut total = model("total");
    total["measures"][0]["function"] = "total".into();
    suite.cli_reads("an unknown function of a measure", &of(&["model", "add", "-"]), &total.to_string()).await?;
    suite.cli("no such file", &of(&["model", "add", "nothing.json"])).await?;
    suite.cli("the models", &of(&["model", "list"])).await?;
    suite.cli("a model", &of(&["model", "show", "typed"])).await?;
    suite.cli("an unknown model", &of(&["model", "show", "nothing"])).await?;
    suite.cli("an unknown model", &of(&["model", "drop", "nothing", "--yes"])).await?;
    suite.cli("without a terminal and without --yes", &of(&["model", "drop", "piped"])).await?;
    suite.cli("a model without segments", &of(&["model", "drop", "piped", "--yes"])).await?;
    suite.cli("a table that a model uses", &of(&["table", "drop", "sales", "--yes"])).await?;
    suite.cli("without a terminal and without --yes", &of(&["table", "drop", "sales"])).await?;
    Ok(())
}

async fn segments(suite: &mut Suite) -> anyhow::Result<()> {
    let of = |words: &[&'static str]| words.iter().copied().chain(["--project", "cli"]).collect::<Vec<_>>();
    suite.cli("no segment", &of(&["segment", "list", "typed"])).await?;
    let january = ["segment", "build", "typed", "--start", "2013-01-01", "--end", "2013-02-01"];
    suite.cli("a month, until it is built", &of(&[&january[..], &["--wait"]].concat())).await?;
    suite.cli("the range overlaps", &of(&january)).await?;
    suite
        .cli(
            "the end is before the start",
            &of(&["segment", "build", "typed", "--start", "2013-02-01", "--end", "2013-01-01"]),
        )
        .await?;
    suite.cli("a start without an end", &of(&["segment", "build", "typed", "--start", "2013-02-01"])).await?;
    suite.cli("an unknown model", &of(&["segment", "build", "nothing"])).await?;
    let february =
        ["segment", "build", "typed", "--start", "2013-02-01", "--end", "2013-03-01", "--wait", "-o", "json"];
    suite.ignored(&of(&february)).await?;
    suite.cli("the segments", &of(&["segment", "list", "typed"])).await?;
    suite.cli("of an unknown model", &of(&["segment", "list", "nothing"])).await?;
    suite.cli("all segments", &of(&["segment", "verify", "typed"])).await?;
    suite.cli("against the source, as JSON", &of(&["segment", "verify", "typed", "--deep", "-o", "json"])).await?;
    suite.cli("an unknown segment", &of(&["segment", "verify", "typed", "nothing"])).await?;
    suite.cli("an unknown model", &of(&["segment", "verify", "nothing"])).await?;
    suite.cli("all segments, until they are built", &of(&["segment", "refresh", "typed", "--all", "--wait"])).await?;
    suite
        .cli("a segment by its name", &of(&["segment", "refresh", "typed", "20130101000000_20130201000000", "--wait"]))
        .await?;
    suite.cli("an unknown segment", &of(&["segment", "refresh", "typed", "nothing"])).await?;
    suite.cli("neither a segment nor --all", &of(&["segment", "refresh", "typed"])).await?;

    let total = "SELECT city, SUM(amount) AS total FROM sales JOIN shops ON shop = id \
                 WHERE day >= '2013-01-01' AND day < '2013-03-01' GROUP BY city ORDER BY city";
    let raw = "SELECT day, amount FROM sales ORDER BY day";
    suite.cli("an index answers", &of(&["sql", total])).await?;
    suite.cli("as JSON", &of(&["sql", total, "-o", "json"])).await?;
    suite.cli("which index would answer", &of(&["sql", "--explain", total])).await?;
    suite.cli("no index answers", &of(&["sql", raw])).await?;
    suite.cli("why none would", &of(&["sql", "--explain", raw])).await?;
    suite.cli("the raw tables answer, two rows of them", &of(&["sql", "--push-down", raw, "--limit", "2"])).await?;
    suite
        .cli_reads("from standard input", &of(&["sql", "-", "--push-down"]), "SELECT COUNT(*) AS n FROM shops;\n")
        .await?;
    suite
        .cli(
            "not all rows are built",
            &of(&["sql", "--complete", "SELECT COUNT(*) FROM sales JOIN shops ON shop = id"]),
        )
        .await?;
    suite
        .cli("rows that may not be built", &of(&["sql", "SELECT COUNT(*) AS n FROM sales JOIN shops ON shop = id"]))
        .await?;
    suite.cli("a model in place of a table", &of(&["sql", "SELECT COUNT(*) FROM typed"])).await?;
    suite.cli("a misspelled table", &of(&["sql", "SELECT COUNT(*) FROM sale"])).await?;
    suite.cli("a misspelled column", &of(&["sql", "SELECT SUM(amuont) FROM sales"])).await?;
    suite.cli("a syntax error", &of(&["sql", "SELEC 1"])).await?;
    suite.cli("an unknown project", &["sql", "SELECT 1", "--project", "nowhere"]).await?;

    let listed = suite.data("GET /models/typed/segments?project=cli").await?;
    let ids: Vec<_> = listed["value"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    ensure!(ids.len() == 2, "{listed}");
    suite.cli("an unknown segment", &of(&["segment", "drop", "typed", "nothing", "--yes"])).await?;
    suite.cli("without a terminal and without --yes", &of(&["segment", "drop", "typed", "nothing"])).await?;
    suite.cli("two segments", &["segment", "drop", "typed", ids[0], ids[1], "--yes", "--project", "cli"]).await?;
    suite.cli("a model without segments", &of(&["segment", "refresh", "typed", "--all"])).await?;
    suite.cli("a whole model", &of(&["segment", "build", "typed", "--wait"])).await?;
    suite.cli("all segments, without --yes", &of(&["segment", "drop", "typed", "--all"])).await?;
    suite.cli("all segments", &of(&["segment", "drop", "typed", "--all", "--yes"])).await?;
    let left = suite.data("GET /models/typed/segments?project=cli").await?;
    ensure!(left["total_size"] == 0, "{left}");
    suite.ignored(&of(&["segment", "build", "typed", "--wait"])).await?;
    suite.cli("a model with segments", &of(&["model", "drop", "typed", "--yes"])).await?;
    Ok(())
}

async fn jobs(suite: &mut Suite) -> anyhow::Result<()> {
    let of = |words: &[&'static str]| words.iter().copied().chain(["--project", "jobs"]).collect::<Vec<_>>();
    suite.ignored(&["project", "create", "jobs"]).await?;
    suite.cli("no job", &of(&["job", "list"])).await?;
    let echo = [
        "job",
        "submit",
        "--project",
        "jobs",
        "--env",
        "WHAT=hello",
        "--timeout",
        "30s",
        "--idempotency-key",
        "echo",
        "--wait",
        "--",
    ];
    let made = suite.cli("a command, until it ends", &[&echo[..], &["/bin/sh", "-c", "echo $WHAT"]].concat()).await?;
    let done = first_word(&made)?;
    suite.names.add(&done, "job:echo");
    suite.cli("nothing to run", &of(&["job", "submit"])).await?;
    suite
        .cli("a variable without a value", &["job", "submit", "--project", "jobs", "--env", "WHAT", "--", "true"])
        .await?;
    suite.cli("a specification that is not JSON", &of(&["job", "submit", "--kind", "probe", "--spec", "{"])).await?;
    suite
        .cli("a specification that is wrong", &of(&["job", "submit", "--kind", "probe", "--spec", r#"{"stesp":1}"#]))
        .await?;
    suite.cli("an unknown kind", &of(&["job", "submit", "--kind", "spark", "--spec", "{}"])).await?;
    suite.cli("an unknown project", &["job", "submit", "--project", "nowhere", "--", "true"]).await?;
    let fails = ["job", "submit", "--kind", "probe", "--spec", r#"{"steps":2,"fails_at":1}"#, "--wait"];
    let made = suite.cli("a job that fails, until it ends", &of(&fails)).await?;
    let failed = first_word(&made)?;
    suite.names.add(&failed, "job:failed");
    let endless =
        ["job", "submit", "--kind", "probe", "--spec", r#"{"step_ms":3600000}"#, "--priority", "1", "-o", "json"];
    let made = suite.cli("as JSON", &of(&endless)).await?;
    let submitted: serde_json::Value = serde_json::from_str(&made.out)?;
    let endless = submitted["job_id"].as_str().context("a job has an id")?.to_owned();
    suite.names.add(&endless, "job:endless");
    suite.until_job(&endless, "RUNNING").await?;

    suite.cli("the jobs of a project", &of(&["job", "list"])).await?;
    suite.cli("in two states", &of(&["job", "list", "--status", "running,error"])).await?;
    suite
        .cli(
            "in one state, of every project",
            &["job", "list", "--all-projects", "--status", "error", "--key", &failed],
        )
        .await?;
    suite.cli("a page of one", &of(&["job", "list", "--limit", "1", "--sort", "create_time", "--ascending"])).await?;
    suite.cli("as JSON", &of(&["job", "list", "--status", "ERROR", "-o", "json"])).await?;
    suite.cli("an unknown state", &of(&["job", "list", "--status", "sleeping"])).await?;
    suite.cli("a job that succeeded", &["job", "show", &done]).await?;
    suite.cli("a job that failed", &["job", "show", &failed]).await?;
    suite.cli("as JSON", &["job", "show", &failed, "-o", "json"]).await?;
    suite.cli("an unknown job", &["job", "show", "nothing"]).await?;
    suite.cli("the step started last", &["job", "log", &done]).await?;
    suite.cli("a step by its number", &["job", "log", &done, "0"]).await?;
    let breaks = ["job", "submit", "--project", "jobs", "--wait", "--", "/bin/sh", "-c", "echo boom; exit 3"];
    let made = suite.cli("a command that fails, until it ends", &breaks).await?;
    let broken = first_word(&made)?;
    suite.names.add(&broken, "job:broken");
    suite.cli("the step that failed", &["job", "log", &broken]).await?;
    suite.cli("an unknown step", &["job", "log", &done, "7"]).await?;
    suite.cli("an unknown job", &["job", "log", "nothing"]).await?;
    suite.cli("a job that runs", &["job", "why", &endless]).await?;
    suite.cli("a job that failed", &["job", "why", &failed]).await?;
    suite.cli("an unknown job", &["job", "why", "nothing"]).await?;
    suite.cli("a finished job", &["job", "wait", &done]).await?;
    suite.cli("a successful job and a failed job", &["job", "wait", &done, &failed]).await?;
    suite.cli("a job that does not end in time", &["job", "wait", &endless, "--timeout", "100ms"]).await?;
    suite.cli("an unknown job", &["job", "wait", "nothing"]).await?;

    suite.cli("a job that runs", &["job", "pause", &endless]).await?;
    suite.until_job(&endless, "STOPPED").await?;
    suite.cli("a paused job", &["job", "wait", &endless]).await?;
    suite.cli("a finished job", &["job", "pause", &done]).await?;
    suite.cli("a paused job", &["job", "resume", &endless]).await?;
    suite.until_job(&endless, "RUNNING").await?;
    suite.cli("a job that runs", &["job", "resume", &endless]).await?;
    suite.cli("a job that runs", &["job", "restart", &endless]).await?;
    suite.cli("an unknown job", &["job", "restart", "nothing"]).await?;
    suite.cli("without a terminal and without --yes", &["job", "discard", "nothing"]).await?;
    suite.cli("two jobs", &["job", "discard", &endless, &failed, "--yes"]).await?;
    suite.cli("a finished job", &["job", "discard", &done, "--yes"]).await?;
    suite.until_job(&endless, "DISCARDED").await?;
    Ok(())
}

async fn cluster(suite: &mut Suite) -> anyhow::Result<()> {
    suite.cli("the nodes", &["cluster", "list"]).await?;
    suite.cli("as JSON", &["cluster", "list", "-o", "json"]).await?;
    suite.cli("nginx", &["lb", "nginx", "--listen", "127.0.0.1:8081", "--method", "ip-hash"]).await?;
    suite.cli("httpd", &["lb", "httpd"]).await?;
    let file = ["lb", "nginx", "--out", "kirin.conf", "--reload", "echo reloaded >> reloads"];
    suite.cli("a file and a command to run after a change", &file).await?;
    suite.cli("the file is up to date", &file).await?;
    let reloads = std::fs::read_to_string(suite.dir().join("reloads"))?;
    ensure!(reloads == "reloaded\n", "the command ran once: {reloads:?}");
    ensure!(std::fs::read_to_string(suite.dir().join("kirin.conf"))?.contains(suite.address()));
    suite.cli("an invalid port", &["lb", "nginx", "--listen", "80;"]).await?;
    suite.cli("the command fails", &["lb", "httpd", "--out", "kirin.conf", "--reload", "exit 3"]).await?;
    suite.cli("an unknown node", &["cluster", "drain", "nowhere"]).await?;
    suite.cli("a node drains", &["cluster", "drain", "node-1"]).await?;
    suite.until_node("draining", |node| node["state"] == "draining").await?;
    suite.cli("a draining node", &["cluster", "list"]).await?;
    suite.cli("a node takes jobs again", &["cluster", "drain", "node-1", "--undo"]).await?;
    suite.until_node("up", |node| node["state"] == "up").await?;
    Ok(())
}

fn first_word(printed: &Printed) -> anyhow::Result<String> {
    Ok(printed.out.split_whitespace().next().context("a submit prints the job's id")?.to_owned())
}
