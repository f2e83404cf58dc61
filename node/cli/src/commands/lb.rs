//! `kirin lb`: generates the configuration of a load balancer from the members of the cluster, and keeps it current.
//!
//! The balancer itself detects failed nodes, through the requests that fail. The configuration permits a retry at
//! another
//! node for reads and for queries, which are POST requests but change nothing. If the answer to a submit is lost, the
//! client
//! repeats the submit with the same idempotency key. httpd tries another node only if it could send nothing, or if the
//! node
//! did not respond with `100 Continue`, which httpd awaits before it sends a body.
//!
//! The file changes rarely, because a reload closes client connections that may carry requests. A new member is added

//! once. A draining member stays, because it still serves requests. A member that is down stays for `--keep`: the
//! balancer
//! sends a refused request to another node, and a restart is short.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::super::args::{Balancer, LbArgs, Method};
use super::super::exit::Failure;
use super::Session;
use kirin_client::Request;
use kirin_shell::clock;
use kirin_wire::{ClusterView, Code, Problem};

/// The interval between reads of the members.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(it: Session<'_, '_>, args: LbArgs) -> Result<(), Failure> {
    let Some(out) = &args.out else {
        let text = configuration(&args, &members(&it).await?);
        return it.screen.print(&text);
    };
    let (mut seen, mut is_stale) = (BTreeMap::new(), false);
    loop {
        match members(&it).await {
            Ok(members) => {
                let now = clock::instant();
                seen.extend(members.into_iter().map(|member| (member, now)));
                seen.retain(|_, at| now.duration_since(*at) <= args.keep);
                let listed: Vec<_> = seen.keys().cloned().collect();
                if write(out, &configuration(&args, &listed))? {
                    it.screen.print(&format!("{}: {}\n", out.display(), listed.join(" ")))?;
                    is_stale = true;
                }
            }
            Err(failure) if !args.watch => return Err(failure),
            // The balancer continues with the members in the file.
            Err(failure) => tracing::warn!(%failure, "cannot read the members; the file is unchanged"),
        }
        if is_stale {
            match reload(args.reload.as_deref()).await {
                Ok(()) => is_stale = false,
                Err(failure) if !args.watch => return Err(failure),
                // The balancer may not run yet.
                Err(failure) => tracing::warn!(%failure, "the reload failed and will be retried"),
            }
        }
        if !args.watch {
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The sorted addresses of the members that serve requests.
async fn members(it: &Session<'_, '_>) -> Result<Vec<String>, Failure> {
    let view: ClusterView = it.client.call(Request::get(&["cluster"])).await?;
    let answer = view.members.into_iter().filter(|member| matches!(member.state.as_str(), "up" | "draining"));
    let mut up: Vec<_> = answer.map(|member| member.address).collect();
    up.sort();
    up.dedup();
    // A privileged program reads the file, so addresses are checked strictly.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ".:-_[]".contains(c);
    match up.iter().find(|address| address.is_empty() || !address.chars().all(is_plain)) {
        Some(odd) => Err(Failure::failed(format!("a member's address is not HOST:PORT: {odd:?}"))),
        None if up.is_empty() => Err(Failure::failed("no member is up".to_owned())),
        None => Ok(up),
    }
}

fn configuration(args: &LbArgs, members: &[String]) -> String {
    match args.balancer {
        Balancer::Nginx => nginx(args, members),
        Balancer::Httpd => httpd(args, members),
    }
}

/// nginx's response if no node can serve a request, in the form of a node's error.
fn unavailable() -> String {
    let suggestion = Some("try again with the same idempotency key".to_owned());
    let problem = Problem::new(Code::Unavailable, "no node of the cluster answers", suggestion);
    // A structure of texts always serializes.
    serde_json::to_string(&problem).unwrap_or_default()
}

fn nginx(args: &LbArgs, members: &[String]) -> String {
    // The balancer avoids a failed node for one second only. In a rolling restart, the next node stops soon after.
    let servers = members.iter().fold(String::new(), |mut all, member| {
        // Writing to a string cannot fail.
        let _ = writeln!(all, "    server {member} max_fails=1 fail_timeout=1s;");
        all
    });
    let unavailable = unavailable();
    let method = if args.method == Method::IpHash { "    ip_hash;\n" } else { "" };
    let listen = &args.listen;
    format!(
        "# Generated by `kirin lb nginx`. Include this file in the http block.
map $upstream_addr $kirin_had_none {{
    default 0;
    \"~(^|, )kirin$\" 1;
}}
upstream kirin {{
    zone kirin 64k;
{method}{servers}    keepalive 64;
}}
server {{
    listen {listen};
    client_max_body_size 64m;
    proxy_http_version 1.1;
    proxy_set_header Connection \"\";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_connect_timeout 1s;
    proxy_read_timeout 1h;
    proxy_next_upstream error timeout http_502 http_503;
    proxy_next_upstream_tries 3;
    error_page 502 = @unanswered;
    location / {{
        proxy_pass http://kirin;
    }}
    # A query changes nothing, so it may be retried at another node although it is a POST.
    location = /kylin/api/query {{
        proxy_next_upstream error timeout http_502 http_503 non_idempotent;
        proxy_pass http://kirin;
    }}
    # Every node failed within the last second, so no node received the request. The client may repeat it.
    location @unanswered {{
        default_type application/json;
        if ($kirin_had_none) {{
            add_header Retry-After 1 always;
            return 503 '{unavailable}';
        }}
        return 502;
    }}
}}
"
    )
}

fn httpd(args: &LbArgs, members: &[String]) -> String {
    let sticky = args.method == Method::IpHash;
    let servers = members.iter().zip(1..).fold(String::new(), |mut all, (member, number)| {
        let route = if sticky { format!(" route=n{number}") } else { String::new() };
        let _ = writeln!(
            all,
            "    BalancerMember \"http://{member}\" retry=1 connectiontimeout=1 ping=5 timeout=3600{route}"
        );
        all
    });
    // httpd identifies clients by a cookie, not by their address.
    let (header, stick) = if sticky {
        let cookie = "ROUTE=.%{BALANCER_WORKER_ROUTE}e; path=/; HttpOnly";
        (format!("  Header add Set-Cookie \"{cookie}\" env=BALANCER_ROUTE_CHANGED\n"), " stickysession=ROUTE")
    } else {
        (String::new(), "")
    };
    let listen = &args.listen;
    let port = listen.rsplit(':').next().unwrap_or(listen);
    format!(
        "# Generated by `kirin lb httpd`. Requires the modules proxy, proxy_http, proxy_balancer, lbmethod_byrequests, slotmem_shm, headers.
Listen {listen}
<VirtualHost *:{port}>
{header}  <Proxy \"balancer://kirin\">
{servers}    ProxySet lbmethod=byrequests forcerecovery=On failonstatus=502,503{stick}
  </Proxy>
  Header always setifempty Retry-After 1 \"expr=%{{REQUEST_STATUS}} == 503\"
  ProxyPreserveHost On
  ProxyPass \"/\" \"balancer://kirin/\"
  ProxyPassReverse \"/\" \"balancer://kirin/\"
</VirtualHost>
"
    )
}

/// Replaces the file atomically if its content differs. Returns whether it was written.
fn write(out: &Path, text: &str) -> Result<bool, Failure> {
    if std::fs::read_to_string(out).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let new = out.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, out));
    written.map(|()| true).map_err(|error| Failure::failed(format!("cannot write '{}': {error}", out.display())))
}

async fn reload(command: Option<&str>) -> Result<(), Failure> {
    let Some(command) = command else { return Ok(()) };
    let mut shell = tokio::process::Command::new("/bin/sh");
    let ended = shell.arg("-c").arg(command).stdin(Stdio::null()).status().await;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::failed(format!("`{command}` failed ({status}); the file is written"))),
        Err(error) => Err(Failure::failed(format!("cannot run `{command}`: {error}; the file is written"))),
    }
}
