//! `kylin.metadata.url`, the address of the metastore.
//!
//! Two forms are supported. Kylin's form:
//!
//! ```text
//! kylin_metadata@jdbc,driverClassName=org.postgresql.Driver,url=jdbc:postgresql://db:5432/kylin,username=k,password="a,b"
//! ```
//! and a plain URL, with or without `identifier@` before it: `postgres://user:password@host:port/database?options`,
//! `mysql://…`, `mariadb://…`, `sqlite:path`. The identifier is the prefix of every table.
//!
//! A password may contain any character. In Kylin's form, a value that contains a comma or starts with `"` is in double
//! quotes, with `""` for a quote. `${…}` is substituted within a single value, so its result needs no quotes. In a
//! plain URL, special characters are percent-encoded (`%2C`, `%40`).
//!
//! Several hosts are allowed: `jdbc:postgresql://h1:5432,h2:5432/kylin?targetServerType=primary`. Holders are read only
//! from the primary, so the hosts are searched for it. In Kylin's form, such a URL contains a comma and must be quoted.
//!
//! This module opens no connection.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::substitute::Unresolved;
use super::url_options::{self, Meant};
use kirin_shell::Secret;

/// The default identifier, which is Kylin's.
pub const DEFAULT_IDENTIFIER: &str = "kylin_metadata";

/// The allowed forms of `kylin.metadata.url`, for messages and the reference.
pub const ALLOWED: &str = "identifier@jdbc,driverClassName=…,url=jdbc:postgresql://host:port/database,username=…,password=… (or \
     jdbc:mysql, jdbc:mariadb), or postgres://user:password@host:port/database, mysql://…, mariadb://…, sqlite:path";

/// The schema of PostgreSQL without `currentSchema`.
const DEFAULT_SCHEMA: &str = "public";
/// The characters of a schema that are encoded in a path of ZooKeeper.
const SCHEMA_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_');

const DEFAULT_POOL: u32 = 10;
const POOL_MAX: u32 = 1_000;
/// The maximum length. PostgreSQL truncates names to 63 bytes, and the longest suffixes of tables and indexes need the rest.
const IDENTIFIER_MAX: usize = 32;

/// The configured metastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metastore {
    /// The prefix of every table: a letter or `_`, then letters, digits and `_`.
    pub identifier: String,
    /// The database.
    pub backend: Backend,
    /// Parameters of the connection pool in Kylin's form that have no effect here.
    pub unused: Vec<String>,
    jdbc_base: String,
}

/// The database that holds the metastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file that the nodes of one machine share.
    Sqlite {
        /// The absolute path of the file.
        path: PathBuf,
    },
    /// PostgreSQL.
    Postgres(Server),
    /// MySQL or MariaDB.
    MySql(Server),
}

/// A database server with login. `Debug` omits secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// The hosts, one of which is the primary.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// The password; may be empty.
    pub password: Secret,
    /// The maximum number of connections in the pool (`maxTotal` or `maxActive`).
    pub pool_size: u32,
    /// The options after the URL's `?`, except user and password.
    pub options: BTreeMap<String, String>,
    /// The parsed options, after [`Metastore::understood`].
    pub meant: Meant,
}

/// A host of a database server. `Display` writes it in the format of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name or address; an IPv6 address without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// Why the text is refused, without any part that could belong to a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(String);

type Expand<'a> = &'a dyn Fn(&str) -> Result<String, Unresolved>;

impl Metastore {
    /// The embedded metastore in `file`.
    pub fn sqlite(identifier: &str, file: PathBuf) -> Self {
        let jdbc_base = format!("jdbc:sqlite:{}", file.display());
        Self {
            identifier: identifier.to_owned(),
            backend: Backend::Sqlite { path: file },
            unused: Vec::new(),
            jdbc_base,
        }
    }

    /// Parses either form. `expand` substitutes `${…}`, and `base` is the base of relative paths.
    ///
    /// # Errors
    /// [`Refused`] with the reason, without quoting what may be a password.
    pub fn parse(raw: &str, expand: Expand<'_>, base: &Path) -> Result<Self, Refused> {
        let raw = raw.trim();
        let whole;
        let verbatim = |text: &str| Ok(text.to_owned());
        let (text, expand): (&str, Expand<'_>) = if kylin_form(raw).is_some() {
            (raw, expand)
        } else {
            whole = expand(raw).map_err(|e| Refused(e.to_string()))?;
            (whole.trim(), &verbatim)
        };
        let (identifier, rest) = match text.split_once('@') {
            Some((before, rest)) if !before.contains(':') || kylin_form(text).is_some() => {
                (expanded(expand, before.trim())?, rest.trim())
            }
            _ => (DEFAULT_IDENTIFIER.to_owned(), text),
        };
        check_identifier(&identifier)?;
        if let Some(parameters) = kylin_form(text) {
            return from_parameters(identifier, parameters, expand);
        }
        match rest.split_once(':').map(|(scheme, place)| (scheme.to_ascii_lowercase(), place)) {
            Some((scheme, place)) if scheme == "sqlite" => from_sqlite(&identifier, place, base),
            Some((scheme, _)) if matches!(scheme.as_str(), "postgres" | "postgresql" | "mysql" | "mariadb") => {
                from_plain_url(identifier, rest)
            }
            Some((scheme, _)) if scheme == "jdbc" => {
                refuse("a plain JDBC URL has no user; write identifier@jdbc,url=jdbc:…,username=…,password=…")
            }
            _ => match rest.split([',', ':']).next() {
                Some(kind @ ("hbase" | "hdfs" | "file" | "testing" | "ifile" | "jdbc")) => {
                    refuse(&format!("a metastore of kind @{kind} cannot be shared safely; use a database"))
                }
                _ => refuse("neither Kylin's form nor the URL of a supported database"),
            },
        }
    }

    /// Parses the options of the URL, and reads the files that they name. `base` is the base of relative paths.
    ///
    /// # Errors
    /// [`Refused`] if an option is not supported.
    pub fn understood(mut self, base: &Path) -> Result<Self, Refused> {
        let (server, meant) = match &mut self.backend {
            Backend::Sqlite { .. } => return Ok(self),
            Backend::Postgres(server) => {
                let meant = url_options::postgres(&server.options, base);
                (server, meant)
            }
            Backend::MySql(server) => {
                let meant = url_options::mysql(&server.options, base);
                (server, meant)
            }
        };
        server.meant = meant.map_err(Refused)?;
        self.unused.extend(server.meant.unused.iter().cloned());
        Ok(self)
    }

    /// The name of the cluster in ZooKeeper, which distinguishes clusters that share an ensemble.
    ///
    /// This is Kylin's rule: `<identifier>_<JDBC URL up to "?">`, with `_` for every character other than an ASCII letter,
    /// digit or `_`. Another schema of the same database is another cluster, so a schema other than `public` is appended
    /// after `-`, which occurs nowhere else in the name. A local file has no unique address, so `cluster_id` takes its place.
    pub fn unique_id(&self, cluster_id: &str) -> String {
        let database = match &self.backend {
            Backend::Sqlite { .. } => Cow::Owned(format!("sqlite:{cluster_id}")),
            Backend::Postgres(_) | Backend::MySql(_) => Cow::Borrowed(self.jdbc_base.as_str()),
        };
        let full = format!("{}_{database}", self.identifier);
        let name: String = full.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        match self.schema().filter(|schema| *schema != DEFAULT_SCHEMA) {
            None => name,
            Some(schema) => format!("{name}-{}", utf8_percent_encode(schema, SCHEMA_ENCODED)),
        }
    }

    /// The schema of the tables, from `currentSchema`.
    fn schema(&self) -> Option<&str> {
        let Backend::Postgres(server) = &self.backend else { return None };
        server.options.get("currentSchema").map(|schema| schema.trim()).filter(|schema| !schema.is_empty())
    }

    /// Whether the metastore is embedded.
    pub fn is_embedded(&self) -> bool {
        matches!(self.backend, Backend::Sqlite { .. })
    }

    /// The metastore in Kylin's form, with passwords. [`Display`](fmt::Display) hides them.
    pub fn revealed(&self) -> String {
        self.written(&|_, value| Cow::Borrowed(value))
    }

    fn written(&self, show: &dyn for<'a> Fn(&str, &'a str) -> Cow<'a, str>) -> String {
        let (driver, server) = match &self.backend {
            Backend::Sqlite { path } => return format!("{}@sqlite:{}", self.identifier, path.display()),
            Backend::Postgres(server) => ("org.postgresql.Driver", server),
            Backend::MySql(server) => ("com.mysql.cj.jdbc.Driver", server),
        };
        let mut url = self.jdbc_base.clone();
        for (i, (name, value)) in server.options.iter().enumerate() {
            let value = show(name, value);
            url.push(if i == 0 { '?' } else { '&' });
            url.push_str(&format!("{}={}", encoded(name), if value == "***" { value } else { encoded(&value) }));
        }
        format!(
            "{}@jdbc,driverClassName={driver},url={},username={},password={},maxTotal={}",
            self.identifier,
            quoted(&url),
            quoted(&server.user),
            quoted(&show("password", server.password.reveal())),
            server.pool_size,
        )
    }
}

impl fmt::Display for Metastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(&|name, value| {
            if super::keys::looks_secret(name) { Cow::Borrowed("***") } else { Cow::Borrowed(value) }
        }))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}@{}/{})", self.user, listed(&self.hosts), self.database)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl Server {
    /// Its hosts in the format of a URL.
    pub fn places(&self) -> String {
        listed(&self.hosts)
    }
}

fn listed(hosts: &[Host]) -> String {
    hosts.iter().map(Host::to_string).collect::<Vec<_>>().join(",")
}

fn refuse<T>(why: &str) -> Result<T, Refused> {
    Err(Refused(why.to_owned()))
}

fn expanded(expand: Expand<'_>, text: &str) -> Result<String, Refused> {
    expand(text).map_err(|e| Refused(e.to_string()))
}

fn encoded(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, NON_ALPHANUMERIC).into()
}

fn decoded(text: &str) -> Result<String, Refused> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Cow::into_owned).map_err(|_| Refused("a percent-encoded part is not UTF-8".into()))
}

/// The parameters of `identifier@jdbc,…`; `None` if it is not of that form.
fn kylin_form(text: &str) -> Option<&str> {
    let (before, rest) = text.split_once('@')?;
    let (scheme, parameters) = rest.split_once(',')?;
    (!before.contains([',', ':']) || before.starts_with("${")).then_some(())?;
    scheme.trim().eq_ignore_ascii_case("jdbc").then_some(parameters)
}

fn check_identifier(identifier: &str) -> Result<(), Refused> {
    let mut chars = identifier.chars();
    let starts_well = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return refuse("the identifier before @ must be a table prefix: a letter or _, then letters, digits and _");
    }
    if identifier.len() > IDENTIFIER_MAX {
        return refuse(&format!("the identifier before @ is longer than {IDENTIFIER_MAX} characters"));
    }
    Ok(())
}

fn from_sqlite(identifier: &str, place: &str, base: &Path) -> Result<Metastore, Refused> {
    let path = place.strip_prefix("//").unwrap_or(place);
    if path.is_empty() {
        return refuse("sqlite: requires the path of a file");
    }
    if path.contains(":memory:") || path.contains('?') {
        return refuse("sqlite: requires the path of a file, without options; a metastore in memory is not supported");
    }
    let joined = base.join(path);
    Ok(Metastore::sqlite(identifier, std::path::absolute(&joined).unwrap_or(joined)))
}

fn from_plain_url(identifier: String, text: &str) -> Result<Metastore, Refused> {
    let mut parts = UrlParts::of(text)?;
    let Some(user) = parts.user.take() else { return refuse("the URL has no user") };
    let pool_size = match parts.options.remove("maxTotal").or_else(|| parts.options.remove("maxActive")) {
        Some(text) => pool_size(&text)?,
        None => DEFAULT_POOL,
    };
    let scheme = if parts.postgres { "postgresql" } else { "mysql" };
    let jdbc_base = format!("jdbc:{scheme}://{}/{}", listed(&parts.hosts), parts.database);
    let password = Secret::new(parts.password.take().unwrap_or_default());
    Ok(parts.metastore(identifier, user, password, pool_size, Vec::new(), jdbc_base))
}

fn from_parameters(identifier: String, text: &str, expand: Expand<'_>) -> Result<Metastore, Refused> {
    let (mut url, mut user, mut password, mut pool) = (None, None, None, None);
    let mut unused = Vec::new();
    for (name, raw) in parameters(text)? {
        let value = expanded(expand, &raw)?;
        match name {
            "url" => url = Some(value),
            "username" | "user" => user = Some(value),
            "password" if value.starts_with("ENC(") => {
                return refuse("its password is encrypted with a key of Kylin; use password=${env:NAME} instead");
            }
            "password" => password = Some(value),
            "maxTotal" | "maxActive" => pool = Some(pool_size(&value)?),
            "driverClassName" => {}
            other => unused.push(other.to_owned()),
        }
    }
    let Some(url) = url else { return refuse("the parameter url is missing") };
    let Some(plain) = url.strip_prefix("jdbc:") else { return refuse("its url must start with jdbc:") };
    if plain.starts_with("mysql:replication:") || plain.starts_with("mysql:loadbalance:") || plain.starts_with("h2:") {
        return refuse(
            "its url must be jdbc:postgresql://, jdbc:mysql:// or jdbc:mariadb:// with the hosts, one of which is the primary",
        );
    }
    let mut parts = UrlParts::of(plain)?;
    let Some(user) = user.or_else(|| parts.user.take()) else { return refuse("the parameter username is missing") };
    let password = Secret::new(password.or_else(|| parts.password.take()).unwrap_or_default());
    let jdbc_base = url.split('?').next().unwrap_or(&url).to_owned();
    Ok(parts.metastore(identifier, user, password, pool.unwrap_or(DEFAULT_POOL), unused, jdbc_base))
}

/// Parses `name=value,name="va""lue",…`, without substitution.
fn parameters(text: &str) -> Result<Vec<(&str, String)>, Refused> {
    let mut all = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let number = all.len() + 1;
        let name_end = rest.find(['=', ',']).filter(|&at| rest[at..].starts_with('='));
        let Some(name_end) = name_end else {
            return refuse(&format!(
                "parameter {number} after @jdbc is not name=value; put a value with a comma in double quotes"
            ));
        };
        let name = rest[..name_end].trim();
        let after = rest[name_end + 1..].trim_start();
        let (value, tail) = if let Some(inner) = after.strip_prefix('"') {
            quoted_value(inner).ok_or_else(|| {
                Refused(format!(
                    "the quoted value of parameter {number} ({name}) has no closing quote before a comma or the end"
                ))
            })?
        } else {
            let end = bare_end(after);
            (after[..end].trim_end().to_owned(), after[end..].strip_prefix(',').unwrap_or(""))
        };
        all.push((name, value));
        rest = tail;
    }
    Ok(all)
}

/// The text before the closing quote, and the text after the following comma.
fn quoted_value(inner: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = inner;
    loop {
        let (before, after) = rest.split_once('"')?;
        value.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                value.push('"');
                rest = more;
            }
            None => {
                let tail = after.trim_start();
                return if tail.is_empty() { Some((value, "")) } else { Some((value, tail.strip_prefix(',')?)) };
            }
        }
    }
}

/// The first comma outside `${…}`.
fn bare_end(text: &str) -> usize {
    let mut inside = false;
    text.char_indices()
        .find(|&(at, c)| {
            if text[at..].starts_with("${") {
                inside = true;
            } else if c == '}' {
                inside = false;
            }
            c == ',' && !inside
        })
        .map_or(text.len(), |(at, _)| at)
}

/// Quotes a value if necessary.
fn quoted(value: &str) -> Cow<'_, str> {
    let needs = value.contains(',') || value.starts_with('"') || value.trim() != value || value.contains("${");
    if needs { format!("\"{}\"", value.replace('"', "\"\"").replace("${", "$${")).into() } else { value.into() }
}

fn pool_size(text: &str) -> Result<u32, Refused> {
    match text.trim().parse() {
        Ok(n @ 1..=POOL_MAX) => Ok(n),
        _ => refuse(&format!("maxTotal (maxActive) must be an integer from 1 to {POOL_MAX}")),
    }
}

/// Options of pgjdbc and libpq that select one of several hosts. The store searches for the primary itself.
const ROLE: [&str; 2] = ["targetServerType", "target_session_attrs"];

/// Whether the option allows the primary.
fn is_primary(wanted: &str) -> bool {
    ["primary", "master", "preferPrimary", "any", "read-write"].contains(&wanted)
}

fn parsed(text: &str) -> Result<Url, Refused> {
    Url::parse(text).map_err(|_| {
        Refused("cannot parse its URL: it needs a host, a numeric port, and percent-encoded special characters".into())
    })
}

fn host(url: &Url, postgres: bool) -> Result<Host, Refused> {
    let name = decoded(url.host_str().unwrap_or_default())?;
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    if name.is_empty() || name.contains([',', '/', '@']) {
        return refuse("its URL must name a host, or several separated by commas");
    }
    Ok(Host { name, port: url.port().unwrap_or(if postgres { 5_432 } else { 3_306 }) })
}

/// The parts of a database URL.
struct UrlParts {
    postgres: bool,
    hosts: Vec<Host>,
    database: String,
    user: Option<String>,
    password: Option<String>,
    options: BTreeMap<String, String>,
}

impl UrlParts {
    fn of(text: &str) -> Result<Self, Refused> {
        // The URL parser supports one host only. It gets the first host with the rest of the URL, and each other host alone.
        let places = text.find("://").map_or(0, |at| at + 3);
        let end = text[places..].find(['/', '?', '#']).map_or(text.len(), |at| places + at);
        let places = text[places..end].rfind('@').map_or(places, |at| places + at + 1);
        let mut others = text[places..end].split(',');
        let first = others.next().unwrap_or_default();
        let url = parsed(&format!("{}{first}{}", &text[..places], &text[end..]))?;
        let postgres = match url.scheme() {
            "postgres" | "postgresql" => true,
            "mysql" | "mariadb" => false,
            _ => return refuse("its database must be PostgreSQL, MySQL or MariaDB"),
        };
        let mut hosts = vec![host(&url, postgres)?];
        for other in others {
            hosts.push(host(&parsed(&format!("{}://{other}/", url.scheme()))?, postgres)?);
        }
        let database = decoded(url.path().trim_start_matches('/'))?;
        if database.is_empty() || database.contains('/') {
            return refuse("its URL must name a database: //host:port/database");
        }
        let mut options = BTreeMap::new();
        for (name, value) in url.query_pairs().into_owned() {
            if options.contains_key(&name) {
                return refuse(&format!("its URL has the option {name} twice"));
            }
            options.insert(name, value);
        }
        let (user_option, password_option) = (options.remove("user"), options.remove("password"));
        if let Some((name, wanted)) =
            options.iter().find(|(name, wanted)| ROLE.contains(&name.as_str()) && !is_primary(wanted))
        {
            return refuse(&format!("its {name} is {wanted}, but holders are read from the primary only"));
        }
        let user = (!url.username().is_empty()).then(|| decoded(url.username())).transpose()?;
        Ok(Self {
            postgres,
            hosts,
            database,
            user: user.or(user_option),
            password: url.password().map(decoded).transpose()?.or(password_option),
            options,
        })
    }

    fn metastore(
        self,
        identifier: String,
        user: String,
        password: Secret,
        pool_size: u32,
        unused: Vec<String>,
        jdbc_base: String,
    ) -> Metastore {
        let Self { postgres, hosts, database, options, .. } = self;
        let server = Server { hosts, database, user, password, pool_size, options, meant: Meant::default() };
        let backend = if postgres { Backend::Postgres(server) } else { Backend::MySql(server) };
        Metastore { identifier, backend, unused, jdbc_base }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Metastore, Refused> {
        let expand = |text: &str| Ok(text.replace("${env:PW}", "s,e=c@r\"e${t}"));
        Metastore::parse(text, &expand, Path::new("/home/kirin"))
    }

    fn server(text: &str) -> Server {
        match parse(text).unwrap().backend {
            Backend::Postgres(server) | Backend::MySql(server) => server,
            Backend::Sqlite { .. } => panic!("{text} is not a server"),
        }
    }

    fn why(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn kylins_form_is_parsed_for_postgresql() {
        let text = "kylin_meta@jdbc,driverClassName=org.postgresql.Driver,url=jdbc:postgresql://db1:6432/kylin?sslmode=disable\
                    &connectTimeout=10,username=kylin,password=pa=ss,maxTotal=50,maxIdle=8";
        let metastore = parse(text).unwrap();
        assert_eq!(metastore.identifier, "kylin_meta");
        assert_eq!(metastore.unused, ["maxIdle"]);
        assert_eq!(metastore.jdbc_base, "jdbc:postgresql://db1:6432/kylin");
        assert_eq!(metastore.unique_id("c"), "kylin_meta_jdbc_postgresql___db1_6432_kylin");
        let Backend::Postgres(server) = &metastore.backend else { panic!("{metastore:?}") };
        assert_eq!((server.places().as_str(), server.database.as_str()), ("db1:6432", "kylin"));
        assert_eq!((server.user.as_str(), server.password.reveal(), server.pool_size), ("kylin", "pa=ss", 50));
        assert_eq!(
            server.options.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("&"),
            "connectTimeout=10&sslmode=disable"
        );
    }

    #[test]
    fn kylins_form_is_parsed_for_mysql_and_mariadb() {
        for scheme in ["mysql", "mariadb"] {
            let text =
                format!("k@jdbc,url=jdbc:{scheme}://[::1]/kylin?useUnicode=true,username=u,password=,maxActive=3");
            let metastore = parse(&text).unwrap();
            assert!(matches!(metastore.backend, Backend::MySql(_)));
            let server = server(&text);
            assert_eq!((server.places().as_str(), server.pool_size), ("[::1]:3306", 3));
            assert!(server.password.is_empty());
        }
    }

    #[test]
    fn plain_urls_are_parsed() {
        let it = server("postgresql://us%40er:p%2Ca%3Ds%22s@[fe80::1]:5433/k?sslmode=require&maxTotal=7");
        assert_eq!((it.user.as_str(), it.password.reveal()), ("us@er", "p,a=s\"s"));
        assert_eq!((it.places().as_str(), it.pool_size, it.options.len()), ("[fe80::1]:5433", 7, 1));
        assert_eq!(parse("mysql://u@h/d").unwrap().unique_id("c"), "kylin_metadata_jdbc_mysql___h_3306_d");
        assert_eq!(parse("mine@mariadb://u@h/d").unwrap().identifier, "mine");
    }

    #[test]
    fn several_hosts_are_parsed() {
        let text = "k@jdbc,url=\"jdbc:postgresql://db1,[::2]:6432,db3/kylin?targetServerType=primary\",username=u";
        let metastore = parse(text).unwrap();
        assert_eq!(server(text).places(), "db1:5432,[::2]:6432,db3:5432");
        assert_eq!(metastore.jdbc_base, "jdbc:postgresql://db1,[::2]:6432,db3/kylin");
        assert_eq!(parse(&metastore.revealed()), Ok(metastore));
        let plain = parse("postgres://u:p%2Cw@h1:1,h2/d?target_session_attrs=read-write").unwrap();
        assert_eq!(plain.unique_id("c"), "kylin_metadata_jdbc_postgresql___h1_1_h2_5432_d");
        assert_eq!(server("mysql://u@h1,h2:7/d").places(), "h1:3306,h2:7");
        assert!(why("postgres://u@h1,/d").contains("name a host"));
        assert!(why("postgres://u@h1,h2:x/d").contains("a numeric port"));
        let standby = why("postgres://u@h1,h2/d?targetServerType=preferSecondary");
        assert!(standby.contains("preferSecondary") && standby.contains("primary only"), "{standby}");
    }

    #[test]
    fn clusters_have_different_names_if_database_or_schema_differ() {
        let name = |text: &str| parse(text).unwrap().unique_id("0c-1");
        let kylin = |options: &str| name(&format!("kylin@jdbc,url=jdbc:postgresql://db1:5432/k{options},username=u"));
        assert_eq!(kylin(""), "kylin_jdbc_postgresql___db1_5432_k");
        for same in ["?sslmode=require", "?currentSchema=public", "?currentSchema="] {
            assert_eq!(kylin(same), kylin(""), "{same}");
        }
        assert_eq!(kylin("?sslmode=require&currentSchema=sales"), "kylin_jdbc_postgresql___db1_5432_k-sales");
        let schemas =
            ["", "?currentSchema=a_b", "?currentSchema=a-b", "?currentSchema=a.b", "?currentSchema=../b", "_a_b"];
        let names: std::collections::BTreeSet<_> = schemas.iter().map(|options| kylin(options)).collect();
        assert_eq!(names.len(), schemas.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.contains(['/', '.'])), "{names:?}");
        assert_eq!(name("sqlite:/var/m.db"), "kylin_metadata_sqlite_0c_1");
        assert_ne!(name("mysql://u@db1/k"), name("mysql://u@db2/k"));
    }

    #[test]
    fn sqlite_paths_are_relative_to_the_home_directory() {
        let path = |text: &str| match parse(text).unwrap().backend {
            Backend::Sqlite { path } => path.display().to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("sqlite:meta.db"), "/home/kirin/meta.db");
        assert_eq!(path("sqlite:///var/m.db"), "/var/m.db");
        assert_eq!(path("mine@sqlite:/var/m.db"), "/var/m.db");
        assert!(why("sqlite::memory:").contains("in memory is not supported"));
    }

    #[test]
    fn a_quoted_or_substituted_password_may_contain_any_character() {
        let url = "url=jdbc:postgresql://h/d,username=u";
        assert_eq!(server(&format!("k@jdbc,{url},password=\"a,b\"\"c=\",maxTotal=2")).password.reveal(), "a,b\"c=");
        assert_eq!(server(&format!("k@jdbc,{url},password=${{env:PW}}")).password.reveal(), "s,e=c@r\"e${t}");
        assert_eq!(server(&format!("k@jdbc,password=${{env:PW}},{url}")).user, "u");
    }

    #[test]
    fn refusals_give_the_reason_and_never_quote_a_password() {
        let url = "url=jdbc:postgresql://h/d,username=u";
        let cut = why(&format!("k@jdbc,{url},password=hun,ter2"));
        assert!(cut.contains("parameter 4") && cut.contains("double quotes") && !cut.contains("ter2"), "{cut}");
        assert!(why(&format!("k@jdbc,{url},password=\"open")).contains("no closing quote"));
        assert!(why(&format!("k@jdbc,{url},password=ENC('x')")).contains("${env:NAME}"));
        assert!(why("k@jdbc,username=u").contains("url is missing"));
        assert!(why("k@jdbc,url=jdbc:postgresql://h/d").contains("username is missing"));
        assert!(why("k@jdbc,url=jdbc:postgresql://h1:1,h2:2/d,username=u").contains("parameter 2"));
        assert!(why("k@jdbc,url=\"jdbc:mysql:replication://h1,h2/d\",username=u").contains("is the primary"));
        assert!(why("k@jdbc,url=jdbc:postgresql://h/,username=u").contains("name a database"));
        assert!(why("k@jdbc,url=jdbc:h2:mem:x,username=u").contains("jdbc:mysql://"));
        assert!(why("k@jdbc,url=jdbc:oracle://h/d,username=u").contains("must be PostgreSQL"));
        assert!(why("k@hbase").contains("@hbase"));
        assert!(why("my-id@jdbc,url=jdbc:mysql://h/d,username=u").contains("table prefix"));
        assert!(why(&format!("{}@sqlite:x", "a".repeat(33))).contains("longer"));
        assert!(why(&format!("k@jdbc,{url},maxTotal=0")).contains("from 1 to 1000"));
        assert!(why("kylin_metadata").contains("neither"));
        assert!(why("postgres://h/d").contains("has no user"));
    }

    #[test]
    fn printing_hides_passwords() {
        let text = "k@jdbc,url=jdbc:postgresql://h/d?sslpassword=hunter3&a=b,username=u,password=hunter2";
        let metastore = parse(text).unwrap();
        for printed in [metastore.to_string(), format!("{metastore:?}")] {
            assert!(!printed.contains("hunter"), "{printed}");
        }
        assert!(metastore.to_string().contains("a=b"));
        assert!(metastore.revealed().contains("hunter2"));
    }

    proptest! {
        #[test]
        fn a_formatted_url_parses_to_the_same_metastore(user in "[^\r\n]{1,12}", password in any::<String>(), option in "[^\r\n]{0,12}") {
            prop_assume!(!password.starts_with("ENC("));
            let server = Server {
                hosts: vec![Host { name: "h".into(), port: 1 }], database: "d".into(), user,
                password: Secret::new(password), pool_size: 9,
                options: BTreeMap::from([("o".to_owned(), option)]), meant: Meant::default(),
            };
            let metastore = Metastore {
                identifier: "k".into(), backend: Backend::Postgres(server), unused: Vec::new(),
                jdbc_base: "jdbc:postgresql://h:1/d".into(),
            };
            let expand = |text: &str| {
                super::super::substitute::Substitutes { entries: &BTreeMap::new(), env: &BTreeMap::new() }.expand("k", text)
            };
            prop_assert_eq!(Metastore::parse(&metastore.revealed(), &expand, Path::new("/")), Ok(metastore));
        }

        #[test]
        fn no_text_causes_a_panic(text in r#"(k@jdbc,)?[a-z@:/,="$\{\}%?&\[\]]{0,40}"#) {
            let _ = parse(&text);
        }
    }
}
