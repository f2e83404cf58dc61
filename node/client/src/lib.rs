//! The client of the HTTP API: requests and answers of [`kirin_wire`], sent to a list of nodes.
//!
//! The client skips a node that it can't connect to. It repeats a request that was *sent* and got no answer at the next
//! node only if that does no harm: reads, and submits under an idempotency key. Otherwise the error says that the request
//! may have been carried out. Nothing else is retried.
//!
//! Not here: terminals, exit codes and rendering.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use kirin_wire::{Code, Envelope};

mod error;

pub use error::{Error, Kind};

type Result<T> = std::result::Result<T, Error>;

/// What the public API is asked for with.
pub const ACCEPT: &str = "application/vnd.apache.kylin-v4-public+json";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(30);
const NEXT_LOGIN: &str =
    "Give --user and --password (or KIRIN_PASSWORD); the first start of a cluster prints the admin's password.";

/// The user and the password that requests carry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl Login {
    /// A login.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password, in the clear.
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// Without the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A client of one or several nodes.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    nodes: Vec<Url>,
    login: Option<Login>,
}

/// One request, before it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    params: String,
    headers: Vec<(&'static str, String)>,
    body: Option<serde_json::Value>,
    repeatable: bool,
    timeout: Option<Duration>,
}

impl Request {
    fn new(method: Method, path: &[&str]) -> Self {
        let repeatable = method == Method::GET;
        let path = path.iter().map(|&part| part.to_owned()).collect();
        let (query, headers, params, timeout) = (Vec::new(), Vec::new(), String::new(), Some(TIMEOUT));
        Self { method, path, query, params, headers, body: None, repeatable, timeout }
    }

    /// Reads something; the path's parts are encoded.
    pub fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path)
    }

    /// Makes something.
    pub fn post(path: &[&str]) -> Self {
        Self::new(Method::POST, path)
    }

    /// Changes something.
    pub fn put(path: &[&str]) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Deletes something.
    pub fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    /// Sets the query string.
    ///
    /// # Errors
    /// If the parameters have no form in a query string.
    pub fn query(mut self, params: &impl Serialize) -> Result<Self> {
        self.params = serde_html_form::to_string(params)
            .map_err(|e| Error::failed(format!("the parameters can't be encoded: {e}")))?;
        Ok(self)
    }

    /// Sets the body.
    ///
    /// # Errors
    /// If the body has no JSON form.
    pub fn body(mut self, body: &impl Serialize) -> Result<Self> {
        let body =
            serde_json::to_value(body).map_err(|e| Error::failed(format!("the request has no JSON form: {e}")))?;
        self.body = Some(body);
        Ok(self)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Allows the client to send the request twice although it is not a read.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Waits for the answer without a timeout.
    #[must_use]
    pub fn patient(mut self) -> Self {
        self.timeout = None;
        self
    }
}

impl Client {
    /// The login that requests carry.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// A client of the nodes at `urls`, tried in that order.
    ///
    /// # Errors
    /// If one of them is not an http URL.
    pub fn new(urls: &[String], login: Option<Login>) -> Result<Self> {
        let nodes = urls.iter().map(|text| base(text)).collect::<Result<Vec<_>>>()?;
        if nodes.is_empty() {
            return Err(Error::usage("--url names no node"));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("kirin/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::failed(format!("the HTTP client can't be set up: {e}")))?;
        Ok(Self { http, nodes, login })
    }

    /// Sends a request; gives the envelope's data, verbatim.
    ///
    /// # Errors
    /// An [`Error`] whose kind says what to do.
    pub async fn raw(&self, request: Request) -> Result<Box<RawValue>> {
        let (status, text) = self.send(&request).await?;
        let envelope = serde_json::from_str::<Envelope<Box<RawValue>>>(&text);
        match envelope {
            Ok(envelope) if status.is_success() && matches!(envelope.code.as_str(), "000" | "") => {
                Ok(envelope.data.unwrap_or_else(|| RawValue::NULL.to_owned()))
            }
            Ok(envelope) => Err(failure(status, &envelope)),
            Err(_) if !status.is_success() => Err(foreign(status, &text)),
            Err(e) => Err(Error::new(
                Kind::Failed,
                format!("the answer is not Kylin's envelope: {e}"),
                "Is there a Kirin node behind --url?",
            )),
        }
    }

    /// Sends a request; gives the envelope's data, decoded.
    ///
    /// # Errors
    /// An [`Error`] whose kind says what to do.
    pub async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        decode(&self.raw(request).await?)
    }

    /// Sends a request whose answer is plain text, not an envelope.
    ///
    /// # Errors
    /// An [`Error`] whose kind says what to do.
    pub async fn text(&self, request: Request) -> Result<String> {
        let (status, text) = self.send(&request).await?;
        if status.is_success() {
            return Ok(text);
        }
        Err(serde_json::from_str::<Envelope<Box<RawValue>>>(&text)
            .map_or_else(|_| foreign(status, &text), |envelope| failure(status, &envelope)))
    }

    async fn send(&self, request: &Request) -> Result<(StatusCode, String)> {
        let mut tried = Vec::new();
        for node in &self.nodes {
            match self.send_to(node, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_connect() || request.repeatable => {
                    tried.push(format!("{}: {}", node.origin().ascii_serialization(), reason(&error)));
                }
                Err(error) => {
                    return Err(Error::new(
                        Kind::Unreachable,
                        format!("{} did not answer: {}", node.origin().ascii_serialization(), reason(&error)),
                        "The request may have been carried out: look with `kirin job list` before trying again.",
                    ));
                }
            }
        }
        Err(Error::new(
            Kind::Unreachable,
            format!("no node can be reached (tried {})", tried.join("; ")),
            "Start one with `kirin start`, or name one with --url or KIRIN_URL (several: comma separated).",
        ))
    }

    async fn send_to(
        &self,
        node: &Url,
        request: &Request,
    ) -> std::result::Result<(StatusCode, String), reqwest::Error> {
        let mut url = node.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["kylin", "api"]).extend(&request.path);
        }
        if !request.params.is_empty() {
            url.set_query(Some(&request.params));
        }
        let mut builder = self.http.request(request.method.clone(), url).header("Accept", ACCEPT);
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(login) = &self.login {
            builder = builder.basic_auth(&login.user, Some(&login.password));
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        if let Some(timeout) = request.timeout {
            builder = builder.timeout(timeout);
        }
        let response = builder.send().await?;
        let status = response.status();
        Ok((status, response.text().await?))
    }
}

/// Decodes data that a node sent.
///
/// # Errors
/// If it has a shape that this version does not know.
pub fn decode<T: DeserializeOwned>(data: &RawValue) -> Result<T> {
    serde_json::from_str(data.get()).map_err(|e| {
        Error::new(
            Kind::Failed,
            format!("the node's answer has another shape than expected: {e}"),
            "Is the node of another version? `-o json` prints the answer as it is.",
        )
    })
}

/// A node's base URL; a bare `host:port` is taken as http.
fn base(text: &str) -> Result<Url> {
    let text = text.trim();
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    match Url::parse(&full) {
        Ok(url) if url.scheme() == "http" && url.host().is_some() => Ok(url),
        Ok(url) if url.scheme() == "https" => {
            Err(Error::usage(format!("--url {text}: https is not built in; go through a local proxy that ends TLS")))
        }
        _ => Err(Error::usage(format!("--url {text} is not the URL of a node, such as http://127.0.0.1:7070"))),
    }
}

/// The last link of an error's chain: the one that says what happened.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// An error without an envelope: it comes from a proxy, or from something that is not a Kirin node.
fn foreign(status: StatusCode, text: &str) -> Error {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().take(200).collect();
    let what = format!("the answer is {status} and not the JSON of a Kirin node: {line}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::new(Kind::Auth, what, NEXT_LOGIN),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Error::new(Kind::Unreachable, what, "A proxy answers, but no node behind it does.")
        }
        _ => Error::new(Kind::Failed, what, "Is there a Kirin node behind --url?"),
    }
}

fn failure(status: StatusCode, envelope: &Envelope<Box<RawValue>>) -> Error {
    let code = Code::parse(&envelope.error_code);
    let kind = kind(status, code);
    let text = [&envelope.msg, &envelope.exception].into_iter().find(|text| !text.is_empty());
    let what = match text {
        Some(text) if envelope.error_code.is_empty() || text.contains(&envelope.error_code) => text.clone(),
        Some(text) => format!("{}: {text}", envelope.error_code),
        None => format!("the node answered {status}"),
    };
    let next = match (kind, status) {
        _ if !envelope.suggestion.is_empty() => envelope.suggestion.as_str(),
        (Kind::Auth, StatusCode::FORBIDDEN) => "This user may not do that: ask for the right, or log in as another.",
        (Kind::Auth, _) => NEXT_LOGIN,
        (Kind::NotFound, _) => "The `list` commands show what there is; --project or KIRIN_PROJECT names the project.",
        (Kind::Refused, _) => "`kirin job show ID` tells the state; RESUME is for failed and paused jobs only.",
        (_, StatusCode::SERVICE_UNAVAILABLE) => "The node is starting or draining: try again, or another node.",
        _ => "",
    };
    Error { kind, code, what, next: next.to_owned() }
}

fn kind(status: StatusCode, code: Option<Code>) -> Kind {
    // Nodes of Kylin answer 500 to everything that they refuse; then only the code tells.
    let status = match code {
        Some(code) if status == StatusCode::INTERNAL_SERVER_ERROR => code.status(),
        _ => status.as_u16(),
    };
    match status {
        401 | 403 => Kind::Auth,
        404 => Kind::NotFound,
        409 | 412 | 423 => Kind::Refused,
        400 | 422 => Kind::Usage,
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Answers each connection with the next of `answers`; gives the requests back.
    fn serve(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let answer = |answer: &String| {
                let mut stream = listener.accept().unwrap().0;
                let mut request = Vec::new();
                let mut chunk = [0; 4_096];
                while !whole(&request) {
                    let n = stream.read(&mut chunk).unwrap();
                    request.extend_from_slice(&chunk[..n]);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(request).unwrap()
            };
            answers.iter().map(answer).collect()
        });
        (url, thread)
    }

    fn whole(request: &[u8]) -> bool {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |n| n.trim().parse().unwrap())
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// An address where nobody listens.
    fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    }

    fn client(urls: &[String]) -> Client {
        Client::new(urls, Some(Login::new("u", "p"))).unwrap()
    }

    #[tokio::test]
    async fn the_next_node_is_tried_and_the_request_is_kylins() {
        let (url, served) = serve(vec![answer("200 OK", r#"{"code":"000","data":{"x":  1},"msg":""}"#)]);
        let request = Request::post(&["jobs", "a b/c", "d"]).with("project", "p q").body(&[1]).unwrap();
        let data = client(&[nobody(), url]).raw(request).await.unwrap();
        assert_eq!(data.get(), r#"{"x":  1}"#);
        let seen = served.join().unwrap().remove(0);
        assert!(seen.starts_with("POST /kylin/api/jobs/a%20b%2Fc/d?project=p+q HTTP/1.1"), "{seen}");
        let lower = seen.to_lowercase();
        assert!(lower.contains(&format!("accept: {ACCEPT}")) && lower.contains("authorization: basic"), "{seen}");
        assert!(seen.ends_with("[1]"), "{seen}");
    }

    #[tokio::test]
    async fn unreachable_nodes_are_listed_in_the_error() {
        let failure = client(&[nobody(), nobody()]).raw(Request::get(&["x"])).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(failure.what.matches("refused").count(), 2, "{failure}");
        assert!(failure.next.contains("kirin start"));
    }

    #[tokio::test]
    async fn a_write_whose_answer_is_lost_is_not_repeated_but_a_repeatable_one_is() {
        let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned();
        let good = || answer("200 OK", r#"{"code":"000","data":7,"msg":""}"#);
        let (first, served) = serve(vec![cut.clone()]);
        let failure = client(&[first, nobody()]).raw(Request::post(&["x"])).await.unwrap_err();
        assert!(failure.kind == Kind::Unreachable && failure.next.contains("may have been carried out"), "{failure}");
        served.join().unwrap();
        let ((first, one), (second, two)) = (serve(vec![cut]), serve(vec![good()]));
        let data: u32 = client(&[first, second]).call(Request::post(&["x"]).repeatable()).await.unwrap();
        assert_eq!(data, 7);
        one.join().unwrap();
        two.join().unwrap();
    }

    #[tokio::test]
    async fn status_and_code_tell_the_kind_of_an_error() {
        let kylin = |code: &str| format!(r#"{{"code":"999","data":null,"msg":"{code}: no","error_code":"{code}"}}"#);
        for (status, body, kind) in [
            ("401 Unauthorized", String::new(), Kind::Auth),
            ("403 Forbidden", kylin("unknown-1"), Kind::Auth),
            ("500 Oops", kylin(Code::NoJob.as_str()), Kind::NotFound),
            ("500 Oops", kylin(Code::NoProject.as_str()), Kind::NotFound),
            ("500 Oops", kylin(Code::WrongState.as_str()), Kind::Refused),
            ("409 Conflict", kylin(Code::Overlap.as_str()), Kind::Refused),
            ("409 Conflict", kylin(""), Kind::Refused),
            ("404 Not Found", kylin(""), Kind::NotFound),
            ("404 Not Found", "<html>\n".into(), Kind::Failed),
            ("502 Bad Gateway", "<html>\n".into(), Kind::Unreachable),
            ("400 Bad Request", kylin("unknown-2"), Kind::Usage),
            ("500 Oops", kylin("unknown-3"), Kind::Failed),
            ("200 OK", kylin("unknown-3"), Kind::Failed),
            ("200 OK", "<html>".into(), Kind::Failed),
        ] {
            let (url, served) = serve(vec![answer(status, &body)]);
            let failure = client(&[url]).raw(Request::get(&["x"])).await.unwrap_err();
            assert_eq!(failure.kind, kind, "{status} {body}: {failure}");
            served.join().unwrap();
        }
    }

    #[test]
    fn a_node_is_named_by_a_url_or_by_host_and_port() {
        assert_eq!(base("h:7070").unwrap().as_str(), "http://h:7070/");
        assert!(base("https://h").unwrap_err().what.contains("https is not built in"));
        assert_eq!(base("ftp://h").unwrap_err().kind, Kind::Usage);
    }
}
