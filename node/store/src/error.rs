//! What can go wrong, and the one distinction that matters: whether a failed request certainly did not happen.

use std::time::Duration;

/// Why the metastore could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The server can't be reached, or the connection broke.
    #[error("the metastore can't be reached: {0}")]
    Unreachable(String),
    /// The request was in the way of others until its time was up: it may succeed later.
    #[error("the metastore is busy: {0}")]
    Busy(String),
    /// The server refused what this request brings, for certain: the same request never succeeds.
    #[error("the metastore refused the request: {0}")]
    Refused(String),
    /// The request is larger than what the metastore takes, for certain.
    #[error("the request needs {bytes} bytes, but the metastore takes at most {limit} in one statement")]
    TooLarge {
        /// Bytes of the statement's arguments.
        bytes: usize,
        /// The most that the server takes.
        limit: usize,
    },
    /// The server answered and can't do its work, whatever the request brings: a missing table or privilege.
    #[error("the metastore can't be used: {0}")]
    Unusable(String),
    /// No reply within the deadline.
    #[error("the metastore did not answer within {0:?}")]
    Late(Duration),
    /// The schema was written by a newer version of this program.
    #[error(
        "the metastore has schema version {found}, this program knows versions up to {known}: start a newer version of it"
    )]
    Newer {
        /// The version that was found.
        found: i64,
        /// The newest version that is known here.
        known: i64,
    },
    /// The server is a standby or read-only: who holds what is read from the primary only.
    #[error("the metastore server is a standby or read-only; connect to the primary")]
    Standby,
    /// A server of the past: another one has taken its place, and this one does not know.
    #[error("the metastore server is on timeline {found}, but one on timeline {seen} has taken its place")]
    Outdated {
        /// The timeline that was found.
        found: i64,
        /// The newest that was seen.
        seen: i64,
    },
    /// A row holds what no version of this program writes.
    #[error("unreadable metastore row: {0}")]
    Corrupt(String),
}

/// Why a request failed, seen from the transaction that it was.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It certainly did not happen, and the same request may succeed at once: a deadlock victim, a busy file.
    Again(StoreError),
    /// It certainly did not happen.
    Certain(StoreError),
    /// It may have happened.
    Maybe(StoreError),
}

impl Fault {
    /// The error without its certainty, for callers that only read.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Again(error) | Self::Certain(error) | Self::Maybe(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Certain(error)
    }
}

impl StoreError {
    /// Whether it is the metastore that can't be used at the moment: the same request may succeed later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Busy(_) | Self::Late(_) | Self::Standby | Self::Outdated { .. } => true,
            Self::Config(_)
            | Self::Refused(_)
            | Self::TooLarge { .. }
            | Self::Unusable(_)
            | Self::Newer { .. }
            | Self::Corrupt(_) => false,
        }
    }

    /// Whether the cause is what this request brings: the same request never succeeds, another one may.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge { .. })
    }
}

/// What a driver's error says about the statement.
pub(crate) enum Nature {
    /// The statement was rolled back because of a conflict.
    Conflict,
    /// The server answered and did not do it, because of what the request brings.
    Denied,
    /// The server answered and can't do it, whatever the request brings.
    Unusable,
    /// The server answered that it has no room: no connection is left, or it does not take any yet.
    Full,
    /// The server answered that it does not write: it is a standby, or has become one.
    ReadOnly,
    /// The connection is gone or going: nobody knows.
    Broken,
}

/// Reads a driver's error.
pub(crate) fn nature(error: &sqlx::Error) -> Nature {
    let Some(db) = error.as_database_error() else {
        return match error {
            // Raised on this side, after or before the server did its part: the values do not fit the statement.
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Nature::Denied,
            // The server does not encrypt, or its certificate is refused: waiting does not help.
            sqlx::Error::Tls(_) => Nature::Unusable,
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Nature::Unusable,
            _ => Nature::Broken,
        };
    };
    if let Some(pg) = db.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return match pg.code() {
            "40001" | "40P01" | "55P03" => Nature::Conflict,
            // Whether the statement was carried out is not known.
            "40003" => Nature::Broken,
            // A duplicate key is no fault of the request: another one was quicker.
            "23505" => Nature::Unusable,
            // Too many connections, no memory, no room on its disk.
            code if code.starts_with("53") => Nature::Full,
            // `statement_timeout`, or an administrator: it was rolled back.
            "57014" => Nature::Full,
            "25006" => Nature::ReadOnly,
            // The server is shutting down or the session is being ended, perhaps after the commit.
            code if code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code == "25P04" => {
                Nature::Broken
            }
            // What a value does: cardinality, data, constraints, triggers, limits of the program.
            code if ["21", "22", "23", "27", "38", "39", "44", "54", "P0"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Nature::Denied
            }
            // Privileges, missing tables, an aborted transaction, prepared statements that are gone, damage.
            _ => Nature::Unusable,
        };
    }
    if let Some(my) = db.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return match my.number() {
            // Deadlock, lock wait timeout, record has changed since last read.
            1213 | 1205 | 1020 => Nature::Conflict,
            // Too many connections, of all or of this user; out of memory or threads for one more.
            1040 | 1203 | 1226 | 1041 | 1135 => Nature::Full,
            // `read_only`, and the same in a transaction.
            1290 | 1792 | 1836 => Nature::ReadOnly,
            // Shutdown, interrupted, connection killed, gone, lost, idle transaction ended.
            1053 | 1317 | 1927 | 2006 | 2013 | 4031 | 1152 | 1184 | 1158..=1161 => Nature::Broken,
            // `max_statement_time` and `max_execution_time`: it was rolled back. No room on its disk.
            1969 | 3024 | 1021 | 1114 => Nature::Full,
            // What a value does: nulls, foreign keys, checks, signals of triggers, ranges, lengths, characters, JSON.
            // And a table, column or index that exists, of which migrations know what it means.
            1048
            | 1050
            | 1060
            | 1061
            | 1118
            | 1153
            | 1216
            | 1217
            | 1264
            | 1265
            | 1292
            | 1301
            | 1364
            | 1365
            | 1366
            | 1367
            | 1406
            | 1411
            | 1441
            | 1451
            | 1452
            | 1642..=1644
            | 1690
            | 3140
            | 3141
            | 3156
            | 3819
            | 3854
            | 4025
            | 4037
            | 4038 => Nature::Denied,
            // Duplicate keys, as another request was quicker; files and memory; privileges; missing tables and columns; prepared
            // statements; a cluster that is not ready.
            _ => Nature::Unusable,
        };
    }
    match db.code().and_then(|code| code.parse::<i64>().ok()) {
        // The low byte is the primary code: SQLITE_BUSY, SQLITE_LOCKED.
        Some(code) if matches!(code & 0xff, 5 | 6) => Nature::Conflict,
        // I/O errors leave open whether the commit reached the disk.
        Some(code) if code & 0xff == 10 => Nature::Broken,
        // SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE: another request was quicker.
        Some(1555 | 2067) => Nature::Unusable,
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE.
        Some(code) if matches!(code & 0xff, 18 | 19 | 20 | 25) => Nature::Denied,
        // SQLITE_FULL: rolled back.
        Some(code) if code & 0xff == 13 => Nature::Full,
        _ => Nature::Unusable,
    }
}

/// A statement that was not sent, because the server would not take it.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes are more than the {limit} that the server takes")]
pub(crate) struct Oversize {
    pub(crate) bytes: usize,
    pub(crate) limit: usize,
}

/// The driver's error as ours. Driver errors never carry the password: it is not part of any message.
pub(crate) fn told(error: &sqlx::Error) -> StoreError {
    if let sqlx::Error::Encode(why) = error
        && let Some(Oversize { bytes, limit }) = why.downcast_ref()
    {
        return StoreError::TooLarge { bytes: *bytes, limit: *limit };
    }
    match nature(error) {
        Nature::Conflict => StoreError::Busy(error.to_string()),
        Nature::Denied => StoreError::Refused(error.to_string()),
        Nature::Unusable => StoreError::Unusable(error.to_string()),
        Nature::Full | Nature::Broken => StoreError::Unreachable(error.to_string()),
        Nature::ReadOnly => StoreError::Standby,
    }
}
