//! Commands from the typed line to what is printed, against a node that answers from a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use clap::Parser;

use super::super::args::Command;
use super::*;

/// What the node answers to `METHOD /path`, and what it was asked.
#[derive(Default)]
struct Script {
    answers: BTreeMap<String, VecDeque<(u16, String)>>,
    asked: Vec<String>,
}

#[derive(Clone, Default)]
struct Node(Arc<Mutex<Script>>);

impl Node {
    /// Answers with this data; the last answer is repeated for ever.
    fn on(self, request: &str, data: &str) -> Self {
        self.answers(request, 200, &format!(r#"{{"code":"000","data":{data},"msg":""}}"#))
    }

    fn answers(self, request: &str, status: u16, body: &str) -> Self {
        let answer = (status, body.to_owned());
        self.0.lock().unwrap().answers.entry(request.to_owned()).or_default().push_back(answer);
        self
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Runs a command line against the node.
    async fn run(&self, line: &[&str]) -> (String, Result<(), Failure>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(self.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let options = ["kirin", "--url", &url, "--user", "u", "--password", "p"];
        let line = options.iter().chain(line);
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Client(command) = cli.command else { panic!("{:?} talks to no node", cli.command) };
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, &cli.global);
        (screen.color, screen.interactive) = (false, false);
        let result = run(&cli.global, command, &mut screen).await;
        server.abort();
        (String::from_utf8(out).unwrap(), result)
    }

    /// Runs a command line that succeeds; gives what it prints.
    async fn prints(&self, line: &[&str]) -> String {
        let (out, result) = self.run(line).await;
        result.unwrap_or_else(|failure| panic!("{line:?}: {failure}"));
        out
    }
}

async fn answer(State(node): State<Node>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let mut script = node.0.lock().unwrap();
    let path = uri.path().strip_prefix("/kylin/api").unwrap_or("?");
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    script.asked.push(format!("{method} {path}{query} {}", String::from_utf8_lossy(&body)).trim_end().to_owned());
    let request = format!("{method} {path}");
    match script.answers.get_mut(&request) {
        Some(answers) => {
            let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
            let (status, text) = answer.unwrap();
            (StatusCode::from_u16(status).unwrap(), text)
        }
        None => (StatusCode::NOT_FOUND, format!(r#"{{"code":"999","msg":"no {request} in the script"}}"#)),
    }
}

#[tokio::test]
async fn a_command_is_submitted_and_waited_for_over_a_takeover() {
    let node = Node::default()
        .on("POST /jobs", r#"{"job_id":"j1","jobs":[]}"#)
        .on("GET /jobs/j1", r#"{"id":"j1","job_status":"PENDING"}"#)
        .on("GET /jobs/j1", r#"{"id":"j1","job_status":"RUNNING","step_ratio":0.5,"node":"a"}"#)
        .on("GET /jobs/j1", r#"{"id":"j1","job_status":"RUNNING","step_ratio":0.5,"node":"b"}"#)
        .on("GET /jobs/j1", r#"{"id":"j1","job_status":"FINISHED","total_duration":1500}"#);
    let line = [
        "job",
        "submit",
        "--wait",
        "--env",
        "A=b=c",
        "--timeout",
        "3s",
        "--idempotency-key",
        "k",
        "--",
        "sh",
        "-c",
        "x",
    ];
    assert_eq!(node.prints(&line).await, "j1\nj1  FINISHED  1.5 s\n");
    let body = r#"{"idempotency_key":"k","kind":"command","priority":3,"project":"default","spec":{"argv":["sh","-c","x"],"env":{"A":"b=c"},"timeout_ms":3000}}"#;
    assert_eq!(node.asked()[0], format!("POST /jobs {body}"));
    assert_eq!(node.asked().len(), 5);
}

#[tokio::test]
async fn waiting_for_a_job_that_fails_is_exit_1_and_says_where_to_look() {
    let node = Node::default()
        .on("GET /jobs/j1", r#"{"id":"j1","job_status":"ERROR"}"#)
        .on("GET /jobs/j2", r#"{"id":"j2","job_status":"FINISHED"}"#);
    let (out, result) = node.run(&["job", "wait", "j1", "j2"]).await;
    let failure = result.unwrap_err();
    assert_eq!(out, "j1  ERROR  0 ms\nj2  FINISHED  0 ms\n");
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::Failed, "j1 is ERROR"));
    assert!(failure.next.contains("kirin job log j1"), "{failure}");
}

#[tokio::test]
async fn waiting_ends_in_time() {
    let node = Node::default().on("GET /jobs/j1", r#"{"id":"j1","job_status":"RUNNING"}"#);
    let failure = node.run(&["job", "wait", "j1", "--timeout", "120ms"]).await.1.unwrap_err();
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::Failed, "not ended in time: j1"));
}

#[tokio::test]
async fn json_is_the_servers_own_to_the_letter() {
    let data = r#"{"value":[ {"id":"j1","later":1.50} ],"total_size":1}"#;
    let node = Node::default().on("GET /jobs", data);
    assert_eq!(node.prints(&["job", "list", "-o", "json"]).await, format!("{data}\n"));
}

#[tokio::test]
async fn a_list_is_asked_for_with_kylins_parameters() {
    let node = Node::default().on("GET /jobs", r#"{"value":[],"total_size":0}"#);
    node.prints(&["job", "list", "--status", "running,error", "--since", "week", "--key", "x", "--project", "p"]).await;
    assert_eq!(
        node.asked(),
        [
            "GET /jobs?time_filter=1&page_offset=0&page_size=20&sort_by=create_time&reverse=true&project=p&statuses=RUNNING\
          &statuses=ERROR&key=x"
        ]
    );
}

#[tokio::test]
async fn actions_go_to_the_job_wherever_it_is_and_a_refusal_is_exit_4() {
    let node = Node::default().on("PUT /jobs/status", "\"\"").answers(
        "PUT /jobs/status",
        500,
        r#"{"code":"999","msg":"Can't RESUME job j2, as it is in FINISHED status","error_code":"KE-010032211"}"#,
    );
    assert_eq!(node.prints(&["job", "discard", "j1", "j2"]).await, "j1, j2 discarded\n");
    let failure = node.run(&["job", "resume", "j2"]).await.1.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert_eq!(failure.what, "KE-010032211: Can't RESUME job j2, as it is in FINISHED status");
    assert_eq!(node.asked()[0], r#"PUT /jobs/status {"action":"DISCARD","job_ids":["j1","j2"]}"#);
}

#[tokio::test]
async fn the_log_of_the_failed_step_is_printed() {
    let node = Node::default()
        .on("GET /jobs/j", r#"{"id":"j","project":"p q"}"#)
        .on(
            "GET /jobs/j/detail",
            r#"[{"id":"j_00","step_status":"FINISHED","exec_start_time":1},
                                     {"id":"j_01","sequence_id":1,"step_status":"ERROR","exec_start_time":2}]"#,
        )
        .answers("GET /jobs/j/steps/j_01/log", 200, "boom\n");
    assert_eq!(node.prints(&["job", "log", "j"]).await, "boom\n");
    assert!(node.asked().contains(&"GET /jobs/j/steps/j_01/log?project=p+q".to_owned()), "{:?}", node.asked());
    let failure = node.run(&["job", "log", "j", "7"]).await.1.unwrap_err();
    assert_eq!(failure.exit, Exit::NotFound);
}

#[tokio::test]
async fn a_segment_is_built_for_a_range_of_days_or_for_everything() {
    let node = Node::default().on("POST /models/m/segments", r#"{"jobs":[{"job_name":"INC_BUILD","job_id":"j9"}]}"#);
    let range = ["segment", "build", "m", "--start", "2013-01-01", "--end", "2013-02-01"];
    assert_eq!(node.prints(&range).await, "j9\n");
    node.prints(&["segment", "build", "m"]).await;
    assert!(node.asked()[0].contains(r#""start":"1356998400000""#), "{:?}", node.asked());
    assert!(node.asked()[0].contains(r#""end":"1359676800000""#), "{:?}", node.asked());
    assert!(node.asked()[1].contains(r#""end":"9223372036854775807""#), "{:?}", node.asked());
    let backwards = ["segment", "build", "m", "--start", "2013-02-01", "--end", "2013-01-01"];
    assert_eq!(node.run(&backwards).await.1.unwrap_err().exit, Exit::Usage);
}

#[tokio::test]
async fn a_query_that_fails_is_exit_1_also_inside_an_answer_that_succeeded() {
    let node = Node::default()
        .on(
            "POST /query",
            r#"{"columnMetas":[{"label":"N","columnTypeName":"BIGINT"}],"results":[["1"]],"duration":3}"#,
        )
        .on("POST /query", r#"{"isException":true,"exceptionMessage":"no model found"}"#);
    assert_eq!(node.prints(&["sql", "select count(*) n from t;"]).await, "N\n1\n1 row in 3 ms\n");
    assert!(node.asked()[0].contains(r#""sql":"select count(*) n from t""#), "{:?}", node.asked());
    let failure = node.run(&["sql", "select"]).await.1.unwrap_err();
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::Failed, "no model found"));
}

#[tokio::test]
async fn one_thing_is_shown_out_of_the_list() {
    let node = Node::default().on("GET /tables", r#"{"value":[{"name":"A"},{"name":"flights","source":"/d"}]}"#);
    assert!(node.prints(&["table", "show", "FLIGHTS"]).await.starts_with("Table:   flights\nSource:  /d\n"));
    assert_eq!(node.prints(&["table", "show", "a", "-o", "json"]).await, "{\"name\":\"A\"}\n");
    let failure = node.run(&["table", "show", "b"]).await.1.unwrap_err();
    assert_eq!((failure.exit, failure.what.as_str()), (Exit::NotFound, "there is no table b in the project default"));
}

#[tokio::test]
async fn things_are_made_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("m.json");
    std::fs::write(&file, r#"{"name":"m","fact_table":"t"}"#).unwrap();
    let node = Node::default()
        .on("POST /models", "\"\"")
        .on("POST /tables", "\"\"")
        .on("POST /projects", "{}")
        .on("DELETE /models/m/segments", "\"\"")
        .on("POST /cluster/nodes/10.0.0.1:7070/drain", "\"\"");
    assert_eq!(node.prints(&["model", "add", file.to_str().unwrap()]).await, "model m added\n");
    node.prints(&["table", "add", "t", "s3://bucket/t"]).await;
    node.prints(&["project", "create", "p"]).await;
    node.prints(&["segment", "drop", "m", "s1", "s2"]).await;
    node.prints(&["cluster", "drain", "10.0.0.1:7070"]).await;
    assert_eq!(
        node.asked(),
        [
            r#"POST /models {"fact_table":"t","name":"m","project":"default"}"#,
            r#"POST /tables {"name":"t","project":"default","source":"s3://bucket/t"}"#,
            r#"POST /projects {"description":"","name":"p"}"#,
            "DELETE /models/m/segments?project=default&purge=false&ids=s1&ids=s2",
            "POST /cluster/nodes/10.0.0.1:7070/drain",
        ]
    );
}

#[tokio::test]
async fn properties_are_read_from_files_and_secrets_only_on_demand() {
    let home = tempfile::tempdir().unwrap();
    let conf = home.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    let url = "kylin.metadata.url=k@jdbc,url=jdbc:postgresql://h/d,username=u,password=hunter2";
    std::fs::write(conf.join("kylin.properties"), url).unwrap();
    let (home, node) = (home.path().to_str().unwrap(), Node::default());
    let shown = node.prints(&["get-properties", "kylin.metadata.url", "--home", home]).await;
    assert!(shown.starts_with("k@jdbc,") && shown.contains("password=***"), "{shown}");
    let shown = node.prints(&["get-properties", "kylin.metadata.url", "--home", home, "--show-secrets"]).await;
    assert!(shown.contains("password=hunter2"), "{shown}");
    assert!(node.prints(&["get-properties", "--home", home]).await.contains("server.port=7070\n"));
    let failure = node.run(&["get-properties", "server.prot", "--home", home]).await.1.unwrap_err();
    assert_eq!((failure.exit, failure.next.as_str()), (Exit::NotFound, "Did you mean server.port?"));
    let stop = node.run(&["stop", "--home", home]).await.1.unwrap_err();
    assert_eq!(stop.exit, Exit::NotFound, "no node runs there");
    assert!(node.asked().is_empty());
}

#[tokio::test]
async fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(Node::default().prints(&["completions", shell]).await.contains("get-properties"), "{shell}");
    }
}

const THREE: &str = r#"{ "leader": "a", "members": [
    { "node": "b", "state": "up", "address": "10.0.0.2:7070" },
    { "node": "a", "state": "up", "address": "10.0.0.1:7070" },
    { "node": "c", "state": "draining", "address": "10.0.0.3:7070" },
    { "node": "d", "state": "left", "address": "10.0.0.4:7070" } ] }"#;

#[tokio::test]
async fn a_load_balancer_gets_the_members_that_answer() {
    let node = Node::default().on("GET /cluster", THREE);
    let text = node.prints(&["lb", "nginx", "--listen", "127.0.0.1:8081", "--method", "ip-hash"]).await;
    let servers: Vec<_> = text.lines().filter(|line| line.trim().starts_with("server 10.")).map(str::trim).collect();
    assert_eq!(servers, [1, 2, 3].map(|node| format!("server 10.0.0.{node}:7070 max_fails=1 fail_timeout=1s;")));
    assert!(text.contains("    ip_hash;\n") && text.contains("listen 127.0.0.1:8081;"), "{text}");
    assert!(!node.prints(&["lb", "nginx"]).await.contains("ip_hash"));
    let text = node.prints(&["lb", "httpd", "--method", "ip-hash"]).await;
    assert!(text.contains("BalancerMember \"http://10.0.0.2:7070\"") && text.contains("route=n2"), "{text}");
    assert!(text.contains("stickysession=ROUTE") && !text.contains("10.0.0.4"), "{text}");
}

#[tokio::test]
async fn a_load_balancers_file_is_written_when_it_changes_and_then_something_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let (file, ran) = (dir.path().join("kirin.conf"), dir.path().join("ran"));
    let reload = format!("echo x >> {}", ran.display());
    let line = ["lb", "nginx", "--out", file.to_str().unwrap(), "--reload", &reload];
    let node = Node::default().on("GET /cluster", THREE);
    assert!(node.prints(&line).await.contains("10.0.0.1:7070 10.0.0.2:7070 10.0.0.3:7070\n"));
    assert_eq!(node.prints(&line).await, "", "nothing has changed");
    assert_eq!(std::fs::read_to_string(&ran).unwrap(), "x\n");
    assert!(std::fs::read_to_string(&file).unwrap().contains("server 10.0.0.2:7070"));
    for (members, said) in
        [("[]", "no member is up"), (r#"[{ "state": "up", "address": "x; }" }]"#, "no host and port")]
    {
        let node = Node::default().on("GET /cluster", &format!(r#"{{ "members": {members} }}"#));
        let (_, result) = node.run(&line).await;
        assert!(result.unwrap_err().to_string().contains(said));
        assert!(std::fs::read_to_string(&file).unwrap().contains("server 10.0.0.2:7070"), "it stays as it is");
    }
}

#[test]
fn what_a_load_balancer_listens_on_is_a_port_perhaps_with_an_address() {
    let parse = |listen: &str| Cli::try_parse_from(["kirin", "lb", "nginx", "--listen", listen]).is_ok();
    assert!(["8080", "127.0.0.1:80", "[::]:80", "*:80"].into_iter().all(parse));
    assert!(!["", "0", "80;", "x:y", ":80", "70000", "a b:80"].into_iter().any(parse));
}
