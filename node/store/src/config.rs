//! The address of the metastore, and timeouts.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::error::StoreError;
use crate::sql::Planted;
use crate::tls::Tls;

/// The database and its address.
#[derive(Clone, PartialEq, Eq)]
pub enum Backend {
    /// A file on this host.
    Sqlite {
        /// The file, which is created if it does not exist.
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
    /// The database and its address.
    pub backend: Backend,
    /// The prefix of every table: several clusters can share a database (`kylin_metadata@…`).
    pub identifier: String,
    /// The database user, if the URL has none.
    pub user: Option<String>,
    /// The password, if the URL has none. It is never printed.
    pub password: Option<String>,
    /// Encryption of connections to a server. If missing, the URL decides.
    pub tls: Option<Tls>,
    /// The schema of the tables, on PostgreSQL. If missing, the user's search path applies.
    pub schema: Option<String>,
    /// Whether statements are named on the server. Without names, each statement is parsed again, and a pooler may
    /// change the
    /// session between transactions.
    pub named_statements: bool,
    /// The maximum number of connections, not counting those for beats.
    pub connections: u32,
    /// The timeout of every request. It must be shorter than the trust window.
    pub ask_timeout: Duration,
    /// How long opening may take, including migrations by another node.
    pub open_timeout: Duration,
    /// Whether concurrent requests of this process share transactions.
    pub batch: bool,
    /// Only for tests of the tests: a planted fault.
    #[doc(hidden)]
    pub planted: Option<Planted>,
    /// Only for tests of the tests: beats wait for a connection like other requests.
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

    /// Refuses values that cannot work.
    pub(crate) fn checked(&self) -> Result<(), StoreError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if self.identifier.is_empty() || self.identifier.len() > 40 || !self.identifier.chars().all(fits) {
            return Err(StoreError::Config(format!(
                "the metastore identifier {:?} must be 1 to 40 letters, digits or underscores",
                self.identifier
            )));
        }
        if self.connections == 0 {
            return Err(StoreError::Config("the number of metastore connections must be at least 1".to_owned()));
        }
        if self.ask_timeout.is_zero() {
            return Err(StoreError::Config("the timeout of metastore requests must not be zero".to_owned()));
        }
        Ok(())
    }
}

impl Backend {
    /// The name for users.
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

    /// Parses `sqlite:PATH`, `postgres://…`, `postgresql://…`, `mysql://…`, `mariadb://…`, each with an optional `jdbc:` prefix.
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

// Written by hand, because a URL may contain a password.
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
