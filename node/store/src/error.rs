//! Errors, and the essential distinction: whether a failed request certainly did not happen.

use std::time::Duration;

/// Why the metastore could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting is invalid.
    #[error("{0}")]
    Config(String),
    /// The server cannot be reached, or the connection broke.
    #[error("cannot reach the metastore: {0}")]
    Unreachable(String),
    /// The request conflicted with others until its timeout. It may succeed later.
    #[error("the metastore is busy: {0}")]
    Busy(String),
    /// The server refused the request's data. The same request never succeeds.
    #[error("the metastore refused the request: {0}")]
    Refused(String),
    /// The request is larger than the metastore accepts.
    #[error("the request needs {bytes} bytes, but the metastore accepts at most {limit} per statement")]
    TooLarge {
        /// Bytes of the statement's arguments.
        bytes: usize,
        /// The server's limit.
        limit: usize,
    },
    /// The server cannot execute the statement for any data, for example because a table or a privilege is missing.
    #[error("cannot use the metastore: {0}")]
    Unusable(String),
    /// No reply before the deadline.
    #[error("the metastore did not respond within {0:?}")]
    Late(Duration),
    /// The schema was written by a newer version of this program.
    #[error(
        "the metastore has schema version {found}, but this program supports at most version {known}: install a newer version"
    )]
    Newer {
        /// The version of the schema.
        found: i64,
        /// The newest version that this program supports.
        known: i64,
    },
    /// The server is a standby or read-only. Holders are read only from the primary.
    #[error("the metastore server is a standby or read-only; connect to the primary")]
    Standby,
    /// The server is a former primary that does not know that another server replaced it.
    #[error(
        "the metastore server is on timeline {found}, but a server on timeline {seen} has replaced it; connect to the primary"
    )]
    Outdated {
        /// The server's timeline.
        found: i64,
        /// The newest known timeline.
        seen: i64,
    },
    /// A row contains data that no version of this program writes.
    #[error("unreadable metastore row: {0}")]
    Corrupt(String),
}

/// Why a transaction failed, and whether it happened.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It certainly did not happen, and may succeed at once if repeated: a deadlock victim, a busy file.
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
    /// Whether the metastore is currently unusable. The same request may succeed later.
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

    /// Whether the request's data is the cause. The same request never succeeds, but another may.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge { .. })
    }
}

/// The meaning of a driver's error for the statement.
pub(crate) enum Nature {
    /// The statement was rolled back because of a conflict.
    Conflict,
    /// The server refused the statement because of its data.
    Denied,
    /// The server cannot execute the statement for any data.
    Unusable,
    /// The server is out of resources: no connection is free, or it does not accept connections yet.
    Full,
    /// The server does not write, because it is or became a standby.
    ReadOnly,
    /// The connection broke or is closing. The outcome is unknown.
    Broken,
}

/// Classifies a driver's error.
pub(crate) fn nature(error: &sqlx::Error) -> Nature {
    let Some(db) = error.as_database_error() else {
        return match error {
            // Raised by the driver, before or after the server executed: the values do not fit the statement.
            sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Nature::Denied,
            // The server does not encrypt, or its certificate is refused. A retry does not help.
            sqlx::Error::Tls(_) => Nature::Unusable,
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => Nature::Unusable,
            _ => Nature::Broken,
        };
    };
    if let Some(pg) = db.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return match pg.code() {
            "40001" | "40P01" | "55P03" => Nature::Conflict,
            // It is unknown whether the statement was executed.
            "40003" => Nature::Broken,
            // A duplicate key means that another request was faster, not that the request is invalid.
            "23505" => Nature::Unusable,
            // Too many connections, out of memory, disk full.
            code if code.starts_with("53") => Nature::Full,
            // `statement_timeout`, or cancelled by an administrator: rolled back.
            "57014" => Nature::Full,
            "25006" => Nature::ReadOnly,
            // The server is shutting down or ending the session, possibly after the commit.
            code if code.starts_with("57P") || code.starts_with("08") || code == "25P03" || code == "25P04" => {
                Nature::Broken
            }
            // Caused by values: cardinality, data, constraints, triggers, program limits.
            code if ["21", "22", "23", "27", "38", "39", "44", "54", "P0"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Nature::Denied
            }
            // Privileges, missing tables, an aborted transaction, lost prepared statements, damage.
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
            // `max_statement_time` and `max_execution_time`: rolled back. Disk full.
            1969 | 3024 | 1021 | 1114 => Nature::Full,
            // Caused by values: nulls, foreign keys, checks, trigger signals, ranges, lengths, characters, JSON.
            // Also an existing table, column or index, which migrations handle.
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
            // Duplicate keys (another request was faster); files and memory; privileges; missing tables and columns; prepared
            // statements; a cluster that is not ready.
            _ => Nature::Unusable,
        };
    }
    match db.code().and_then(|code| code.parse::<i64>().ok()) {
        // The low byte is the primary code: SQLITE_BUSY, SQLITE_LOCKED.
        Some(code) if matches!(code & 0xff, 5 | 6) => Nature::Conflict,
        // After an I/O error it is unknown whether the commit reached the disk.
        Some(code) if code & 0xff == 10 => Nature::Broken,
        // SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE: another request was faster.
        Some(1555 | 2067) => Nature::Unusable,
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_RANGE.
        Some(code) if matches!(code & 0xff, 18 | 19 | 20 | 25) => Nature::Denied,
        // SQLITE_FULL: rolled back.
        Some(code) if code & 0xff == 13 => Nature::Full,
        _ => Nature::Unusable,
    }
}

/// A statement that was not sent because it exceeds the server's limit.
#[derive(Debug, thiserror::Error)]
#[error("{bytes} bytes exceed the server's limit of {limit}")]
pub(crate) struct Oversize {
    pub(crate) bytes: usize,
    pub(crate) limit: usize,
}

/// Converts the driver's error. Driver errors never contain the password.
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
