//! A private load balancer, nginx or the Apache HTTP Server, with the file that `kirin lb` generates.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use kirin_client::Login;
use reqwest::StatusCode;

use super::process::{Server, directory, free_ports, program, until, user};

const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_secs(10);
/// Debian's directory of httpd's modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// The kind of load balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// nginx.
    Nginx,
    /// The Apache HTTP Server.
    Httpd,
}

/// How `kirin lb` reads the members.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The program `kirin`.
    pub program: PathBuf,
    /// The URLs of nodes.
    pub urls: Vec<String>,
    /// The login.
    pub login: Login,
}

/// A load balancer in a temporary directory, on a port of its own.
#[derive(Debug)]
pub struct Balancer {
    kind: Kind,
    method: &'static str,
    asked: Asked,
    directory: tempfile::TempDir,
    program: PathBuf,
    listen: String,
    server: Option<Server>,
    watch: Option<Server>,
}

impl Balancer {
    /// Starts a load balancer in front of the members; `method` is the value of `kirin lb --method`.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub fn start(kind: Kind, method: &'static str, asked: Asked) -> anyhow::Result<Self> {
        let program = match kind {
            Kind::Nginx => program(&["/usr/sbin/nginx"], "nginx-light")?,
            Kind::Httpd => program(&["/usr/sbin/apache2"], "apache2-bin")?,
        };
        let (directory, listen) = (directory(None)?, format!("127.0.0.1:{}", free_ports(1)?[0]));
        let mut balancer = Self { kind, method, asked, directory, program, listen, server: None, watch: None };
        ensure!(balancer.lb(&[])?.status()?.success(), "kirin lb generated no configuration: {}", balancer.said());
        std::fs::write(balancer.path("main.conf"), balancer.around()?)?;
        let mut server = balancer.command();
        if kind == Kind::Httpd {
            server.arg("-DFOREGROUND");
        }
        balancer.server = Some(Server::spawn(quiet(server), libc::SIGTERM)?);
        let answers = || Ok(TcpStream::connect(&balancer.listen).is_ok());
        until("the load balancer listens", START_MAX, answers).with_context(|| balancer.errors())?;
        Ok(balancer)
    }

    /// Starts `kirin lb --watch` on its file; `keep` is the value of `--keep`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn keep_current(&mut self, keep: &str) -> anyhow::Result<()> {
        let signal = match self.kind {
            Kind::Nginx => "-s reload",
            Kind::Httpd => "-k graceful",
        };
        let command = self.command();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let reload = format!("{} {signal}", words.join(" "));
        let watch = self.lb(&["--watch", "--keep", keep, "--reload", &reload])?;
        self.watch = Some(Server::spawn(watch, libc::SIGKILL)?);
        Ok(())
    }

    /// Its URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    /// Its answer if it has sent a request, got no answer, and has no older connection of the client to close instead.
    pub fn lost(&self) -> Option<StatusCode> {
        // nginx answers 502 as well, but only to requests that it must not repeat.
        (self.kind == Kind::Httpd).then_some(StatusCode::BAD_GATEWAY)
    }

    /// The members that its file names.
    ///
    /// # Errors
    /// If there is no file.
    pub fn members(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(self.path("kirin.conf"))?;
        let word = match self.kind {
            Kind::Nginx => "server",
            Kind::Httpd => "BalancerMember",
        };
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(word)?.split_whitespace().next());
        let members = lines.map(|member| member.trim_matches('"').trim_start_matches("http://").to_owned());
        Ok(members.filter(|member| member != "{").collect())
    }

    /// How often the file was written since the start of the watch.
    pub fn changes(&self) -> usize {
        let first = 1;
        self.said().lines().filter(|line| line.contains("kirin.conf: ")).count().saturating_sub(first)
    }

    fn lb(&self, more: &[&str]) -> anyhow::Result<Command> {
        let kind = match self.kind {
            Kind::Nginx => "nginx",
            Kind::Httpd => "httpd",
        };
        let said = std::fs::OpenOptions::new().create(true).append(true).open(self.path("lb.log"))?;
        let mut lb = Command::new(&self.asked.program);
        lb.args(["--url", &self.asked.urls.join(","), "lb", kind, "--listen", &self.listen, "--method", self.method]);
        lb.arg("--out").arg(self.path("kirin.conf")).args(more);
        lb.env("KIRIN_USER", self.asked.login.user()).env("KIRIN_PASSWORD", self.asked.login.password());
        lb.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        Ok(lb)
    }

    /// The command that runs it with the configuration in its directory.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let (own, main) = (self.directory.path(), self.path("main.conf"));
        match self.kind {
            Kind::Nginx => command.arg("-p").arg(own).arg("-c").arg(main),
            Kind::Httpd => command.arg("-d").arg(own).arg("-f").arg(main),
        };
        command
    }

    /// The configuration around the file, with all paths below its own directory.
    fn around(&self) -> anyhow::Result<String> {
        let own = self.directory.path().display();
        Ok(match self.kind {
            Kind::Nginx => {
                let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
                let temp = temp.map(|what| format!("{what}_temp_path {own}/{what};")).join(" ");
                let root = if user("root")?.is_some() { "user root;" } else { "" };
                format!(
                    "daemon off; {root} pid {own}/pid; error_log {own}/error.log; worker_processes 2;\n\
                     events {{ worker_connections 4096; }}\n\
                     http {{ access_log off; {temp}\ninclude {own}/kirin.conf; }}\n"
                )
            }
            Kind::Httpd => {
                let modules = [
                    "mpm_event",
                    "authz_core",
                    "proxy",
                    "proxy_http",
                    "slotmem_shm",
                    "proxy_balancer",
                    "lbmethod_byrequests",
                    "headers",
                ];
                let modules = modules.map(|module| format!("LoadModule {module}_module {MODULES}/mod_{module}.so\n"));
                let root = if user("www-data")?.is_some() { "User www-data\nGroup www-data\n" } else { "" };
                format!(
                    "{}{root}ServerName 127.0.0.1\nDefaultRuntimeDir {own}\nPidFile {own}/pid\nErrorLog {own}/error.log\n\
                     KeepAliveTimeout 5\nInclude {own}/kirin.conf\n",
                    modules.concat()
                )
            }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The output of `kirin lb`.
    fn said(&self) -> String {
        read(&self.path("lb.log"))
    }

    /// Its error log.
    fn errors(&self) -> String {
        read(&self.path("error.log"))
    }
}

/// The master ends its workers only on SIGTERM, not when it is killed.
impl Drop for Balancer {
    fn drop(&mut self) {
        self.watch = None;
        if let Some(server) = &mut self.server {
            server.signal(libc::SIGTERM);
            // If it does not end in time, it is killed.
            let _ = server.wait(STOP_MAX);
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A command without output to the terminal.
fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
