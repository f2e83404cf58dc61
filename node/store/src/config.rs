//! Where the metastore is and how patient we are with it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::StoreError;
use crate::sql::Planted;
use crate::tls::Tls;

/// Which database, and where.
#[derive(Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file of this host.
    Sqlite {
        /// The file; made if missing.
        path: PathBuf,
    },
    /// PostgreSQL.
    Postgres {
        /// `postgres://host:port/database`; several hosts separated by commas are tried in turn for the primary.
        url: String,
    },
    /// MySQL or MariaDB.
    MySql {
        /// `mysql://host:port/database`; several hosts separated by commas are tried in turn for the primary.
        url: String,
    },
}

/// How to open the metastore.
#[derive(Clone)]
pub struct StoreConfig {
    /// Which database, and where.
    pub backend: Backend,
    /// The prefix of every table: several clusters can share a database (`kylin_metadata@…`).
    pub identifier: String,
    /// The database user, if the URL has none.
    pub user: Option<String>,
    /// Its password, if the URL has none. Never printed.
    pub password: Option<String>,
    /// Whether connections to a server are encrypted; if it is missing, the URL says so.
    pub tls: Option<Tls>,
    /// The schema that holds the tables, on PostgreSQL; the user's own search path if it is missing.
    pub schema: Option<String>,
    /// Whether statements have names on the server. Without them each is parsed again, and a pooler may move a session
    /// between transactions.
    pub named_statements: bool,
    /// How many connections at most, besides those for beats.
    pub connections: u32,
    /// The deadline of every request; must be shorter than the trust window.
    pub ask_timeout: Duration,
    /// How long opening may take, migrations by another node included.
    pub open_timeout: Duration,
    /// Whether concurrent requests of this process share transactions.
    pub batch: bool,
    /// For tests of the tests alone.
    #[doc(hidden)]
    pub planted: Option<Planted>,
    /// Also for tests of the tests: beats wait for a connection like everything else.
    #[doc(hidden)]
    pub one_pool: bool,
}

impl StoreConfig {
    /// The defaults for this backend: identifier `kylin_metadata`, 10 connections, 5 s for a request.
    pub fn new(backend: Backend) -> Self {
        Self {
            backend,
            identifier: "kylin_metadata".to_owned(),
            user: None,
            password: None,
            tls: None,
            schema: None,
            named_statements: true,
            connections: 10,
            ask_timeout: Duration::from_secs(5),
            open_timeout: Duration::from_secs(60),
            batch: true,
            planted: None,
            one_pool: false,
        }
    }

    /// Refuses what can't work.
    pub(crate) fn checked(&self) -> Result<(), StoreError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.identifier.is_empty() || self.identifier.len() > 40 || !self.identifier.chars().all(fits) {
            return Err(StoreError::Config(format!(
                "the metastore identifier {:?} must be 1 to 40 letters, digits or underscores",
                self.identifier
            )));
        }
        if self.connections == 0 {
            return Err(StoreError::Config("the metastore needs at least one connection".to_owned()));
        }
        if self.ask_timeout.is_zero() {
            return Err(StoreError::Config("the timeout of metastore requests must not be zero".to_owned()));
        }
        Ok(())
    }
}

impl Backend {
    /// The word for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgresql",
            Self::MySql { .. } => "mysql",
        }
    }
}

impl FromStr for Backend {
    type Err = StoreError;

    /// Reads `sqlite:PATH`, `postgres://…`, `postgresql://…`, `mysql://…`, `mariadb://…`, each also with `jdbc:` before it.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let url = text.strip_prefix("jdbc:").unwrap_or(text);
        let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
        match scheme {
            "sqlite" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(StoreError::Config("a sqlite metastore needs a path: sqlite:PATH".to_owned()));
                }
                Ok(Self::Sqlite { path: path.into() })
            }
            "postgres" | "postgresql" => Ok(Self::Postgres { url: format!("postgres:{rest}") }),
            "mysql" | "mariadb" => Ok(Self::MySql { url: format!("mysql:{rest}") }),
            _ => Err(StoreError::Config(
                "the metastore URL must begin with sqlite:, postgres://, mysql:// or mariadb:// (optionally after jdbc:)"
                    .to_owned(),
            )),
        }
    }
}

// By hand: a URL may carry a password.
impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { url } | Self::MySql { url } => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
                let place = place.split_once('?').map_or(place, |(place, _)| place);
                write!(f, "{scheme}://{place}")
            }
        }
    }
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("backend", &self.backend)
            .field("identifier", &self.identifier)
            .field("user", &self.user)
            .field("connections", &self.connections)
            .field("ask_timeout", &self.ask_timeout)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
