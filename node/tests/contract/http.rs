//! A case for every endpoint: successes and common refusals.

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::suite::{Answer, Login, Suite, model};

/// A job that runs until it is stopped.
const ENDLESS: u64 = 3_600_000;

/// Everything except stopping the node.
pub(crate) async fn endpoints(suite: &mut Suite) -> anyhow::Result<()> {
    access(suite).await?;
    projects(suite).await?;
    tables(suite).await?;
    models(suite).await?;
    segments(suite).await?;
    queries(suite).await?;
    jobs(suite).await?;
    cluster(suite).await?;
    drops(suite).await
}

/// Cases of a node without `kirin.source.roots` and `kirin.command.enabled`. It cannot run this job.
pub(crate) async fn with_default_settings(suite: &mut Suite, job: &str) -> anyhow::Result<()> {
    let local = json!({ "name": "t", "source": suite.path("sales.csv") });
    suite.http_with("a local file, without kirin.source.roots", "POST /tables", local).await?;
    let command = json!({ "project": "default", "kind": "command", "spec": { "argv": ["true"] } });
    let made = suite.http_with("a command that no node can run", "POST /jobs", command).await?;
    suite.names.add(&id(&made, "/job_id")?, "job:second nowhere");
    suite.http("a job that no node can run", &format!("GET /jobs/{job}")).await?;
    suite.http("a job that no node can run", &format!("GET /jobs/{job}/why")).await?;
    Ok(())
}

/// Logins and unknown endpoints.
async fn access(suite: &mut Suite) -> anyhow::Result<()> {
    for (method, path) in kirin_api::endpoints() {
        let path: Vec<_> = path.split('/').map(|part| part.trim_matches(['{', '}'])).collect();
        let request = format!("{method} {}", path.join("/"));
        suite.http_as(Login::Missing, "without a login", &request, None).await?;
    }
    suite.http_as(Login::WrongPassword, "with a wrong password", "GET /user/authentication", None).await?;
    suite.http("a correct login", "GET /user/authentication").await?;
    suite.http("a correct login", "POST /user/authentication").await?;
    suite.http_astray("an unknown endpoint", "GET /nothing").await?;
    suite.http_astray("a known path, another method", "DELETE /jobs").await?;
    suite.http_astray("outside the API", "GET /kylin").await?;
    Ok(())
}

async fn projects(suite: &mut Suite) -> anyhow::Result<()> {
    let shop = json!({ "name": "shop", "description": "What is sold" });
    suite.http_with("a project is created", "POST /projects", shop.clone()).await?;
    suite.http_with("a project with this name exists", "POST /projects", shop).await?;
    suite.http_with("in another case, too", "POST /projects", json!({ "name": "SHOP" })).await?;
    suite.http_with("a name that is not allowed", "POST /projects", json!({ "name": "a shop" })).await?;
    let limited = json!({ "name": "typo", "override_kylin_properties": { "kylin.job.max-concurrent-jobs": "5" } });
    suite.http_with("with a limit", "POST /projects", limited).await?;
    suite.ask("DELETE /projects/typo", None, Login::Admin).await?;
    let other = json!({ "name": "typo", "override_kylin_properties": { "kylin.query.timeout": "5" } });
    suite.http_with("an unknown setting", "POST /projects", other).await?;
    suite.http_with("no name", "POST /projects", json!({ "description": "" })).await?;
    suite.http_with("a misspelled field", "POST /projects", json!({ "name": "typo", "descripton": "" })).await?;
    // Removes it if it was accepted.
    suite.ask("DELETE /projects/typo", None, Login::Admin).await?;
    suite.http_as(Login::Admin, "a body that is not JSON", "POST /projects", Some("{".to_owned())).await?;
    suite.http("all projects", "GET /projects").await?;
    suite.http("the second page of one", "GET /projects?page_offset=1&page_size=1").await?;
    suite.http("a page size that is not a number", "GET /projects?page_size=many").await?;
    let limit = json!({ "kylin.job.max-concurrent-jobs": 5 });
    suite.http_with("the limit is changed", "PUT /projects/shop/project_config", limit.clone()).await?;
    suite.http_with("no limit", "PUT /projects/shop/project_config", json!({})).await?;
    suite.http_with("an unknown project", "PUT /projects/nowhere/project_config", limit).await?;
    Ok(())
}

async fn tables(suite: &mut Suite) -> anyhow::Result<()> {
    let (sales, shops) = (suite.path("sales.csv"), suite.path("shops.csv"));
    let add = "POST /tables";
    let body = json!({ "project": "shop", "name": "sales", "source": sales });
    suite.http_with("a CSV file by its path", add, body.clone()).await?;
    let full = json!({ "format": "csv", "location": shops });
    suite.http_with("a complete source", add, json!({ "project": "shop", "name": "shops", "source": full })).await?;
    suite.http_with("a table with this name exists", add, body).await?;
    suite
        .http_with("no such file", add, json!({ "project": "shop", "name": "t", "source": suite.path("t.csv") }))
        .await?;
    let secret = json!({ "project": "shop", "name": "t", "source": { "format": "csv", "location": "/etc/passwd" } });
    suite.http_with("a file outside of the roots", add, secret).await?;
    let granted = json!({ "format": "csv", "location": "/etc/passwd", "granted": "/etc" });
    let granted = json!({ "project": "shop", "name": "t", "source": granted });
    suite.http_with("a source with a root of its own", add, granted).await?;
    let vague = json!({ "project": "shop", "name": "t", "source": "s3://bucket/t" });
    suite.http_with("a bucket without a format", add, vague).await?;
    suite
        .http_with("a name that is not allowed", add, json!({ "project": "shop", "name": "", "source": sales }))
        .await?;
    suite.http_with("no source", add, json!({ "project": "shop", "name": "t" })).await?;
    suite.http_with("an unknown project", add, json!({ "project": "nowhere", "name": "t", "source": sales })).await?;
    suite.http("the tables of a project", "GET /tables?project=shop").await?;
    suite.http("the second page of one", "GET /tables?project=shop&page_offset=1&page_size=1").await?;
    suite.http("of the default project", "GET /tables").await?;
    suite.http("of an unknown project", "GET /tables?project=nowhere").await?;
    for path in ["/tables_and_columns", "/query/tables_and_columns"] {
        suite.http("the columns of a project's tables", &format!("GET {path}?project=shop")).await?;
        suite.http("without a project", &format!("GET {path}")).await?;
        suite.http("of an unknown project", &format!("GET {path}?project=nowhere")).await?;
    }
    Ok(())
}

async fn models(suite: &mut Suite) -> anyhow::Result<()> {
    let mut by_shop = model("by_shop");
    by_shop["project"] = "shop".into();
    let add = "POST /models";
    suite.http_with("a model is created", add, by_shop.clone()).await?;
    suite.http_with("a model with this name exists", add, by_shop.clone()).await?;
    let mut other = by_shop.clone();
    other["name"] = "other".into();
    other["project"] = "nowhere".into();
    suite.http_with("an unknown project", add, other.clone()).await?;
    other["project"] = "shop".into();
    other["dimensions"][0]["column"] = "sales.dya".into();
    suite.http_with("an unknown column", add, other.clone()).await?;
    other["dimensions"] = json!("day");
    suite.http_with("a field of another type", add, other.clone()).await?;
    other["dimensions"] = json!([{ "name": "city", "column": "shops.city" }]);
    other["indices"] = json!([]);
    suite.http_with("a misspelled field", add, other).await?;
    // Removes it if it was accepted.
    suite.ask("DELETE /models/other?project=shop", None, Login::Admin).await?;
    suite.http("the models of a project", "GET /models?project=shop").await?;
    let mut second = by_shop.clone();
    second["name"] = "second".into();
    suite.ask(add, Some(&second.to_string()), Login::Admin).await?;
    suite.http("the second page of one", "GET /models?project=shop&page_offset=1&page_size=1").await?;
    suite.ask("DELETE /models/second?project=shop", None, Login::Admin).await?;
    suite.http("one model by its name", "GET /models?project=shop&model_name=BY_SHOP").await?;
    suite.http("a name that no model has", "GET /models?project=shop&model_name=nothing").await?;
    suite.http("of an unknown project", "GET /models?project=nowhere").await?;
    suite.http("a model", "GET /models/by_shop?project=shop").await?;
    suite.http("an unknown model", "GET /models/nothing?project=shop").await?;
    suite.http("of an unknown project", "GET /models/by_shop?project=nowhere").await?;
    Ok(())
}

fn id(answer: &Answer, pointer: &str) -> anyhow::Result<String> {
    let id = answer.data().pointer(pointer).and_then(|id| id.as_str());
    Ok(id.with_context(|| format!("no {pointer} in {}", answer.body))?.to_owned())
}

async fn segments(suite: &mut Suite) -> anyhow::Result<()> {
    let all = "GET /models/by_shop/segments?project=shop";
    suite.http("no segments", all).await?;
    let (january, february, march) = ("1356998400000", "1359676800000", "1362096000000");
    let build = "POST /models/by_shop/segments";
    let body = json!({ "project": "shop", "start": january, "end": february, "idempotency_key": "january" });
    let built = suite.http_with("a month is built", build, body.clone()).await?;
    let (job, segment) = (id(&built, "/jobs/0/job_id")?, id(&built, "/segment_id")?);
    suite.names.add(&job, "job:january");
    suite.names.add(&segment, "segment:january");
    suite.http_with("the same key returns the same job", build, body).await?;
    suite.until_job(&job, "FINISHED").await?;
    let overlap = json!({ "project": "shop", "start": january, "end": march });
    suite.http_with("the range overlaps", build, overlap).await?;
    suite.http_with("a start without an end", build, json!({ "project": "shop", "start": january })).await?;
    let backwards = json!({ "project": "shop", "start": march, "end": february });
    suite.http_with("the end is before the start", build, backwards).await?;
    let words = json!({ "project": "shop", "start": "January", "end": "February" });
    suite.http_with("a start that is not a number", build, words).await?;
    let urgent = json!({ "project": "shop", "start": february, "end": march, "priority": 9 });
    suite.http_with("a priority that is not allowed", build, urgent).await?;
    let body = json!({ "project": "shop", "start": january, "end": february });
    suite.http_with("an unknown model", "POST /models/nothing/segments", body.clone()).await?;
    suite.http_with("an unknown project", build, json!({ "project": "nowhere" })).await?;
    suite.http("a segment is ready", all).await?;
    suite.http("of an unknown model", "GET /models/nothing/segments?project=shop").await?;

    let refresh = "PUT /models/by_shop/segments";
    let body = json!({ "project": "shop", "type": "REFRESH", "ids": [segment] });
    let refreshed = suite.http_with("a segment is refreshed", refresh, body).await?;
    let again = id(&refreshed, "/jobs/0/job_id")?;
    suite.names.add(&again, "job:january again");
    suite.until_job(&again, "FINISHED").await?;
    suite.http("the job of a refresh", &format!("GET /jobs/{again}")).await?;
    let merge = json!({ "project": "shop", "type": "MERGE", "ids": [segment] });
    suite.http_with("a type that is not supported", refresh, merge).await?;
    let lost = json!({ "project": "shop", "type": "REFRESH", "ids": ["00000000-0000-0000-0000-000000000000"] });
    suite.http_with("an unknown segment", refresh, lost).await?;
    suite.http_with("no segment", refresh, json!({ "project": "shop", "type": "REFRESH" })).await?;

    // A project that runs nothing keeps a segment in the state NEW.
    let limit = |n: u32| json!({ "kylin.job.max-concurrent-jobs": n }).to_string();
    suite.ask("PUT /projects/shop/project_config", Some(&limit(0)), Login::Admin).await?;
    let body = json!({ "project": "shop", "start": february, "end": march });
    let waits = suite.http_with("a month that is not built yet", build, body).await?;
    let (waiting, new) = (id(&waits, "/jobs/0/job_id")?, id(&waits, "/segment_id")?);
    suite.names.add(&waiting, "job:february");
    suite.names.add(&new, "segment:february");
    suite.http("a segment is ready, one is not", all).await?;
    suite.http("a page of one", "GET /models/by_shop/segments?project=shop&page_size=1").await?;
    let body = json!({ "project": "shop", "type": "REFRESH", "ids": [new] });
    suite.http_with("a segment that is being built", refresh, body).await?;
    let both = json!({ "project": "shop", "type": "REFRESH", "ids": [segment, new] });
    suite.http_with("one that is ready and one that is being built", refresh, both).await?;
    suite
        .http("a segment that is being built", &format!("DELETE /models/by_shop/segments?project=shop&ids={new}"))
        .await?;
    suite.http("a build that waits", &format!("GET /jobs/{waiting}")).await?;
    suite.http("a full project", &format!("GET /jobs/{waiting}/why")).await?;
    suite.ask("PUT /projects/shop/project_config", Some(&limit(5)), Login::Admin).await?;
    suite.until_job(&waiting, "FINISHED").await?;
    let both = json!({ "project": "shop", "type": "REFRESH", "ids": [segment, new], "idempotency_key": "both" });
    let refreshed = suite.ask(refresh, Some(&both.to_string()), Login::Admin).await?.1;
    for (at, name) in ["job:first of two", "job:second of two"].into_iter().enumerate() {
        let job = id(&refreshed, &format!("/jobs/{at}/job_id"))?;
        suite.names.add(&job, name);
        suite.until_job(&job, "FINISHED").await?;
    }
    suite.http_with("the same key returns the same two jobs", refresh, both).await?;
    let verify = "POST /models/by_shop/segments/verification";
    suite.http_with("all segments", verify, json!({ "project": "shop" })).await?;
    let one = json!({ "project": "shop", "ids": [segment], "deep": true });
    suite.http_with("one segment, against the source", verify, one).await?;
    suite.http_with("an unknown segment", verify, json!({ "project": "shop", "ids": ["nothing"] })).await?;
    suite.http_with("a misspelled field", verify, json!({ "project": "shop", "dep": true })).await?;
    suite.http_with("an unknown project", verify, json!({ "project": "nowhere" })).await?;
    let unknown = "POST /models/nothing/segments/verification";
    suite.http_with("an unknown model", unknown, json!({ "project": "shop" })).await?;
    suite.http("a finished build", &format!("GET /jobs/{job}")).await?;
    suite.http("the steps of a build", &format!("GET /jobs/{job}/detail")).await?;
    Ok(())
}

async fn queries(suite: &mut Suite) -> anyhow::Result<()> {
    let by_city = "SELECT city, SUM(amount) AS total FROM sales JOIN shops ON shop = id GROUP BY city ORDER BY city";
    let in_range = "SELECT city, SUM(amount) AS total FROM sales JOIN shops ON shop = id \
                    WHERE day >= '2013-01-01' AND day < '2013-03-01' GROUP BY city ORDER BY city";
    let of = |sql: &str| json!({ "project": "shop", "sql": sql });
    for (request, verb) in [("POST /query", "answers"), ("POST /query/explain", "would answer")] {
        suite.http_with(&format!("an index {verb}"), request, of(in_range)).await?;
        let mut raw = of("SELECT day, amount FROM sales WHERE amount IS NULL OR amount > 25 ORDER BY day");
        suite.http_with("no index answers", request, raw.clone()).await?;
        raw["forcedToPushDown"] = true.into();
        suite.http_with(&format!("the raw tables {}", verb.replace("answers", "answer")), request, raw).await?;
        suite.http_with("the time range is not built", request, of(by_city)).await?;
        suite.http_with("an unknown table", request, of("SELECT 1 FROM nothing")).await?;
        suite.http_with("a syntax error", request, of("SELEC 1")).await?;
        suite.http_with("no SQL", request, json!({ "project": "shop" })).await?;
        suite.http_with("an unknown project", request, json!({ "project": "nowhere", "sql": "SELECT 1" })).await?;
    }
    let mut first = of(in_range);
    first["limit"] = 1.into();
    first["queryId"] = "mine".into();
    suite.http_with("one row, with an id of the client", "POST /query", first).await?;
    Ok(())
}

async fn jobs(suite: &mut Suite) -> anyhow::Result<()> {
    let submit = "POST /jobs";
    let probe = |spec: serde_json::Value| json!({ "project": "shop", "kind": "probe", "spec": spec });
    let mut body = probe(json!({ "steps": 2 }));
    body["idempotency_key"] = "once".into();
    let made = suite.http_with("a job is submitted", submit, body.clone()).await?;
    let job = id(&made, "/job_id")?;
    suite.names.add(&job, "job:probe");
    suite.http_with("the same key returns the same job", submit, body).await?;
    suite
        .http_with("a build must be submitted through its model", submit, json!({ "project": "shop", "kind": "build" }))
        .await?;
    suite.http_with("an unknown kind", submit, json!({ "project": "shop", "kind": "spark" })).await?;
    suite.http_with("a wrong specification", submit, probe(json!({ "stesp": 2 }))).await?;
    let mut urgent = probe(json!({}));
    urgent["priority"] = 9.into();
    suite.http_with("a priority that is not allowed", submit, urgent).await?;
    suite.http_with("an unknown project", submit, json!({ "project": "nowhere", "kind": "probe" })).await?;
    suite.http_with("no project", submit, json!({ "kind": "probe" })).await?;
    for (what, subject) in
        [("a subject with a NUL character", "a\0b".to_owned()), ("a subject of 181 characters", "x".repeat(181))]
    {
        let body = json!({ "project": "shop", "kind": "probe", "subject": subject, "spec": { "steps": 1 } });
        suite.http_with(what, submit, body).await?;
    }
    suite.until_job(&job, "FINISHED").await?;
    suite.http("a finished job", &format!("GET /jobs/{job}")).await?;
    suite.http("its steps", &format!("GET /jobs/{job}/detail")).await?;
    suite.http("a finished job", &format!("GET /jobs/{job}/why")).await?;

    let shell = json!({ "argv": ["/bin/sh", "-c", "echo one; echo two"] });
    let command = json!({ "project": "shop", "kind": "command", "spec": shell });
    let made = suite.http_with("a command is submitted", submit, command).await?;
    let command = id(&made, "/job_id")?;
    suite.names.add(&command, "job:command");
    suite.until_job(&command, "FINISHED").await?;
    suite.http("a finished command", &format!("GET /jobs/{command}")).await?;
    for (what, kind) in [("log", "the log of a step"), ("output", "the output of a step")] {
        suite.http(kind, &format!("GET /jobs/{command}/steps/{command}_00/{what}")).await?;
        suite.http("a step by its number", &format!("GET /jobs/{command}/steps/0/{what}")).await?;
        suite.http("an unknown step", &format!("GET /jobs/{command}/steps/7/{what}")).await?;
        suite.http("an unknown job", &format!("GET /jobs/nothing/steps/0/{what}")).await?;
    }
    let print = |text: &str| json!({ "argv": ["/bin/sh", "-c", text] });
    let steps = json!({ "steps": [print("printf one"), print("echo two")] });
    let command = json!({ "project": "shop", "kind": "command", "spec": steps }).to_string();
    let made = suite.ask(submit, Some(&command), Login::Admin).await?.1;
    let steps = id(&made, "/job_id")?;
    suite.names.add(&steps, "job:steps");
    suite.until_job(&steps, "FINISHED").await?;
    suite.http("output without a newline", &format!("GET /jobs/{steps}/steps/0/log")).await?;
    suite.http("the step after it", &format!("GET /jobs/{steps}/steps/1/log")).await?;
    for path in ["", "/detail", "/why"] {
        suite.http("an unknown job", &format!("GET /jobs/00000000-0000-0000-0000-000000000000{path}")).await?;
        suite.http("an invalid id", &format!("GET /jobs/nothing{path}")).await?;
    }

    let made = suite.ask(submit, Some(&probe(json!({ "steps": 3, "fails_at": 1 })).to_string()), Login::Admin).await?.1;
    let failed = id(&made, "/job_id")?;
    suite.names.add(&failed, "job:failed");
    suite.until_job(&failed, "ERROR").await?;
    suite.http("a job that failed", &format!("GET /jobs/{failed}")).await?;
    suite.http("the steps of a job that failed", &format!("GET /jobs/{failed}/detail")).await?;
    suite.http("a job that failed", &format!("GET /jobs/{failed}/why")).await?;
    acts(suite, &failed).await?;

    for (case, filter) in [
        ("all jobs of a project", "sort_by=create_time"),
        ("the second page of two, the oldest first", "sort_by=create_time&reverse=false&page_offset=1&page_size=2"),
        ("in one state", "statuses=ERROR"),
        ("in two states, separated by a comma", "statuses=error,discarded&sort_by=create_time"),
        ("in two states, as two parameters", "statuses=ERROR&statuses=DISCARDED&sort_by=create_time"),
        ("about one subject", "subject=command"),
        ("with a key", "key=by_sh&sort_by=create_time"),
        ("of the last day", "time_filter=0&statuses=ERROR"),
        ("an unknown state", "statuses=SLEEPING"),
        ("an unknown column", "sort_by=colour"),
        ("an unknown time", "time_filter=9"),
        ("a page size that is not a number", "page_size=many"),
        ("a key with a NUL character", "key=%00"),
        ("a subject with a NUL character", "subject=a%00"),
        ("a key that is not UTF-8", "key=%ff"),
    ] {
        suite.http(case, &format!("GET /jobs?project=shop&{filter}")).await?;
    }
    suite.http("of an unknown project", "GET /jobs?project=nowhere").await?;
    Ok(())
}

/// Every action, on a job in an allowed state and in a forbidden state.
async fn acts(suite: &mut Suite, failed: &str) -> anyhow::Result<()> {
    let act = "PUT /jobs/status";
    let endless = json!({ "project": "shop", "kind": "probe", "spec": { "steps": 2, "step_ms": ENDLESS } }).to_string();
    let made = suite.ask("POST /jobs", Some(&endless), Login::Admin).await?.1;
    let job = id(&made, "/job_id")?;
    suite.names.add(&job, "job:endless");
    let of = |job: &str, action: &str| json!({ "job_ids": [job], "action": action });
    suite.until_job(&job, "RUNNING").await?;
    suite.http("a job that runs", &format!("GET /jobs/{job}/why")).await?;
    suite.http_with("a job that runs is resumed", act, of(&job, "RESUME")).await?;
    suite.http_with("a job that runs is paused", act, of(&job, "PAUSE")).await?;
    suite.until_job(&job, "STOPPED").await?;
    suite.http("a job that is paused", &format!("GET /jobs/{job}/why")).await?;
    suite.http_with("a paused job is resumed, in lower case", act, of(&job, "resume")).await?;
    suite.until_job(&job, "RUNNING").await?;
    let twice = json!({ "job_ids": [job, job], "action": "PAUSE" });
    suite.http_with("a job that is named twice is paused", act, twice).await?;
    suite.until_job(&job, "STOPPED").await?;
    suite.http_with("a job is restarted", act, of(&job, "RESTART")).await?;
    suite.until_job(&job, "RUNNING").await?;
    suite.http_with("a job is discarded", act, of(&job, "DISCARD")).await?;
    suite.until_job(&job, "DISCARDED").await?;
    suite.http_with("a discarded job is resumed", act, of(&job, "RESUME")).await?;
    suite
        .http_with("two jobs, one in a forbidden state", act, json!({ "job_ids": [failed, job], "action": "PAUSE" }))
        .await?;
    suite.http_with("an unknown action", act, of(&job, "STOP")).await?;
    suite.http_with("an unknown job", act, of("nothing", "PAUSE")).await?;
    let mut forced = of(&job, "DISCARD");
    forced["force"] = true.into();
    suite.http_with("a discarded job is discarded by force", act, forced.clone()).await?;
    forced["action"] = "PAUSE".into();
    suite.http_with("force without DISCARD", act, forced).await?;
    suite.http_with("no job and no project", act, json!({ "action": "PAUSE" })).await?;
    suite.http_with("an unknown project", act, json!({ "project": "nowhere", "action": "PAUSE" })).await?;
    suite
        .http_with("an unknown state", act, json!({ "project": "shop", "action": "PAUSE", "statuses": ["X"] }))
        .await?;
    suite
        .http_with(
            "all jobs of a project in a state",
            act,
            json!({ "project": "shop", "action": "DISCARD", "statuses": ["ERROR"] }),
        )
        .await?;
    suite.until_job(failed, "DISCARDED").await?;
    suite.http_with("no action", act, json!({ "job_ids": [job] })).await?;
    Ok(())
}

async fn cluster(suite: &mut Suite) -> anyhow::Result<()> {
    suite.http("the name of the node", "GET /system/host").await?;
    suite
        .until("the node is found through discovery", async |suite| {
            Ok(suite.data("GET /system/servers").await?["servers"].as_array().is_some_and(|all| !all.is_empty()))
        })
        .await?;
    suite.http("the discovered nodes", "GET /system/servers").await?;
    suite.http("with their roles", "GET /system/servers?ext=true").await?;
    suite.http_with("claims are taken", "POST /epoch", json!({ "projects": ["shop"], "force": true })).await?;
    suite.http_with("an unknown project", "POST /epoch", json!({ "projects": ["nowhere"] })).await?;
    suite.http_with("a field of another type", "POST /epoch", json!({ "projects": "shop" })).await?;
    suite
        .until("the claim is taken", async |suite| {
            let view = suite.data("GET /cluster").await?;
            let mut claims = view["claims"].as_array().into_iter().flatten();
            Ok(claims.any(|claim| claim["target"] == "project/shop" && claim["epoch"] == 2))
        })
        .await?;
    suite.http("the cluster", "GET /cluster").await?;
    suite.http("the node's own knowledge", "GET /cluster?own=true").await?;
    suite.http("an invalid flag", "GET /cluster?own=perhaps").await?;
    // Before the node joins again, because the order of lines with equal times is not fixed.
    suite
        .until("the history begins", async |suite| {
            Ok(suite.data("GET /cluster/history").await?["total_size"].as_u64() > Some(0))
        })
        .await?;
    suite.http("the history", "GET /cluster/history").await?;
    suite.http("the second page of one", "GET /cluster/history?page_size=1&page_offset=1").await?;
    suite.cli("the history", &["cluster", "history"]).await?;
    suite.cli("the last line of the history, as JSON", &["cluster", "history", "--limit", "1", "-o", "json"]).await?;
    let slots = json!({ "slots": 7 });
    suite.http_with("the number of slots is changed", "PUT /cluster/nodes/node-1/slots", slots.clone()).await?;
    suite.http_with("an unknown node", "PUT /cluster/nodes/nowhere/slots", slots).await?;
    suite.http_with("no number", "PUT /cluster/nodes/node-1/slots", json!({})).await?;
    suite.until_node("7 slots", |node| node["slots"] == 7).await?;
    suite.http_with("a node drains", "POST /cluster/nodes/node-1/drain", json!({ "within_ms": 1000 })).await?;
    suite.http_with("an unknown node", "POST /cluster/nodes/nowhere/drain", json!({})).await?;
    suite
        .http_with("a time that is not a number", "POST /cluster/nodes/node-1/drain", json!({ "within_ms": "soon" }))
        .await?;
    suite.until_node("draining", |node| node["state"] == "draining").await?;
    suite.http("a node that drains", "GET /health").await?;
    suite.http("a node that drains", "GET /health/live").await?;
    suite.http("a node takes jobs again", "DELETE /cluster/nodes/node-1/drain").await?;
    suite.http("an unknown node", "DELETE /cluster/nodes/nowhere/drain").await?;
    suite.until_node("up", |node| node["state"] == "up").await?;
    Ok(())
}

/// What is dropped in the end, and what can't be.
async fn drops(suite: &mut Suite) -> anyhow::Result<()> {
    suite.http("a table that a model uses", "DELETE /tables/shops?project=shop").await?;
    suite.http("an unknown table", "DELETE /tables/nothing?project=shop").await?;
    suite.http("of an unknown project", "DELETE /tables/shops?project=nowhere").await?;
    suite.http("a project that is not empty", "DELETE /projects/shop").await?;
    let limit = |n: u32| json!({ "kylin.job.max-concurrent-jobs": n }).to_string();
    suite.ask("PUT /projects/shop/project_config", Some(&limit(0)), Login::Admin).await?;
    let march = json!({ "project": "shop", "start": "1362096000000", "end": "1364774400000" }).to_string();
    let built = suite.ask("POST /models/by_shop/segments", Some(&march), Login::Admin).await?.1;
    suite.names.add(&id(&built, "/segment_id")?, "segment:march");
    suite.http("a model of which a segment is being built", "DELETE /models/by_shop?project=shop").await?;
    suite.ask("PUT /projects/shop/project_config", Some(&limit(5)), Login::Admin).await?;
    suite.until_job(&id(&built, "/jobs/0/job_id")?, "FINISHED").await?;
    suite.http("an unknown model", "DELETE /models/nothing?project=shop").await?;
    let segments = suite.data("GET /models/by_shop/segments?project=shop").await?;
    let ids: Vec<_> = segments["value"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    let drop = "DELETE /models/by_shop/segments?project=shop";
    suite.http("an unknown segment", &format!("{drop}&ids=nothing")).await?;
    suite.http("no segment is named", drop).await?;
    suite.http("of an unknown model", "DELETE /models/nothing/segments?project=shop&purge=true").await?;
    ensure!(ids.len() == 3, "a model that can't be dropped keeps its segments: {segments}");
    suite.http("a segment by its id", &format!("{drop}&ids={}", ids[0])).await?;
    suite.http("two segments, separated by a comma", &format!("{drop}&ids={}", ids[1..].join(","))).await?;
    suite.http("all that there are", &format!("{drop}&purge=true")).await?;
    let built = suite.ask("POST /models/by_shop/segments", Some(&march), Login::Admin).await?.1;
    suite.until_job(&id(&built, "/jobs/0/job_id")?, "FINISHED").await?;
    suite.http("a model with its segments", "DELETE /models/by_shop?project=shop").await?;
    for table in ["sales", "shops"] {
        suite.http("a table", &format!("DELETE /tables/{table}?project=shop")).await?;
    }
    suite.http("a project", "DELETE /projects/shop").await?;
    suite.http("an unknown project", "DELETE /projects/nowhere").await?;
    Ok(())
}

/// What ends the process.
pub(crate) async fn the_end(suite: &mut Suite) -> anyhow::Result<()> {
    suite.http("the node stops", "POST /system/stop").await?;
    suite.until_asked_to_stop().await
}
