//! A driver's connection to one of three databases: takes text and arguments, and returns rows.
//!
//! All values are nullable integers or texts. A *table* argument contains many rows: one array per column on
//! PostgreSQL, one JSON text elsewhere (see [`crate::sql`] for how a statement reads it).

use std::fmt::Write as _;

use sqlx::mysql::{MySqlConnection, MySqlRow};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Executor, Row as _};

use crate::error::{Oversize, StoreError};
use crate::sql::Statement;
use crate::traffic::Meter;

/// The SQL dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
    MySql,
}

/// An open connection with its traffic counter.
pub(crate) struct RawConnection {
    session: Session,
    meter: Meter,
    /// The maximum size of a statement in bytes.
    limit: usize,
    /// The text that begins a transaction, behind a pooler that may change the session after each transaction.
    pooled: Option<std::sync::Arc<str>>,
}

/// A connection to one of the databases.
pub(crate) enum Session {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

/// A value to bind.
#[derive(Clone, Debug)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Table(Table),
}

/// Many rows to bind as one argument, by column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(Vec<Column>);

#[derive(Clone, Debug)]
enum Column {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
}

/// A row of a result.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
    MySql(MySqlRow),
}

/// A query of one database with its arguments bound in the order of its placeholders.
macro_rules! bound {
    ($database:ty, $statement:ident, $args:ident, $table:ident) => {{
        let mut query = sqlx::query::<$database>(AssertSqlSafe($statement.text.clone())).persistent($statement.keep);
        let places = $statement.order.as_ref().map_or($args.len(), Vec::len);
        for place in 0..places {
            let at = $statement.order.as_ref().map_or(place, |order| usize::from(order[place]) - 1);
            query = match &$args[at] {
                Arg::Int(value) => query.bind(*value),
                Arg::Text(value) => query.bind(value.as_deref()),
                Arg::Table(table) => bound!(@ $table query, table),
            };
        }
        query
    }};
    (@ json $query:ident, $value:ident) => { $query.bind($value.json()) };
    (@ arrays $query:ident, $value:ident) => { arrays($query, $value) };
}

/// The statement with its arguments as literals.
///
/// A statement that is prepared for a single use must be closed, and MySQL does not reply to a close. The socket (sqlx
/// does not set TCP_NODELAY) would delay the next request until the packet is acknowledged, which takes 40 ms. A
/// statement that is kept prepared gets worse plans from MariaDB (10.11) on repeated execution, without covering
/// indexes.
fn spelled_out(statement: &Statement, args: &[Arg]) -> String {
    let mut text = String::with_capacity(2 * statement.text.len());
    let mut places = statement.order.iter().flatten().map(|place| usize::from(*place) - 1);
    debug_assert_eq!(
        statement.text.matches('?').count(),
        statement.order.as_ref().map_or(0, Vec::len),
        "{statement:?}"
    );
    for (at, part) in statement.text.split('?').enumerate() {
        if at > 0 {
            match places.next().and_then(|place| args.get(place)) {
                Some(Arg::Int(Some(number))) => text.push_str(&number.to_string()),
                Some(Arg::Text(Some(value))) => push_literal(&mut text, value),
                Some(Arg::Table(table)) => push_literal(&mut text, &table.json()),
                Some(Arg::Int(None) | Arg::Text(None)) | None => text.push_str("NULL"),
            }
        }
        text.push_str(part);
    }
    text
}

/// Writes a text in hexadecimal digits, so that no character can end the literal.
fn push_literal(text: &mut String, value: &str) {
    text.push_str("_utf8mb4 X'");
    for byte in value.bytes() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\'');
}

impl RawConnection {
    /// Wraps a new connection.
    pub(crate) fn new(session: Session, meter: Meter, limit: usize) -> Self {
        Self { session, meter, limit, pooled: None }
    }

    /// Sets the limit above which statements are refused before they are sent.
    pub(crate) fn limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// Disables prepared statements and sets the text that begins transactions.
    pub(crate) fn is_pooled_with(&mut self, begin: &str) {
        self.pooled = Some(begin.into());
    }

    /// The text that begins a transaction behind a pooler.
    pub(crate) fn begin_when_pooled(&self) -> Option<std::sync::Arc<str>> {
        self.pooled.clone()
    }

    /// Whether a pooler may change the session after each transaction.
    pub(crate) const fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }

    fn fits(&self, statement: &Statement, args: &[Arg]) -> Result<(), sqlx::Error> {
        // Encoding grows a value at most sixfold. Only values near the limit must be encoded to be measured.
        if statement.text.len() + args.iter().map(|arg| 64 + 8 * arg.size()).sum::<usize>() <= self.limit {
            return Ok(());
        }
        let bytes = match &self.session {
            Session::MySql(_) if !statement.keep => spelled_out(statement, args).len(),
            Session::MySql(_) | Session::Sqlite(_) => args.iter().map(Arg::written).sum(),
            Session::Postgres(_) => args.iter().map(Arg::size).sum(),
        };
        if bytes <= self.limit {
            return Ok(());
        }
        Err(sqlx::Error::Encode(Box::new(Oversize { bytes, limit: self.limit })))
    }

    /// Runs a statement and returns its rows.
    pub(crate) async fn rows(&mut self, statement: &Statement, args: &[Arg]) -> Result<Vec<Row>, sqlx::Error> {
        self.fits(statement, args)?;
        self.meter.asks(args.iter().map(Arg::size).sum());
        let rows: Vec<Row> = match &mut self.session {
            Session::Sqlite(conn) => {
                let query = bound!(sqlx::Sqlite, statement, args, json);
                query.fetch_all(conn).await?.into_iter().map(Row::Sqlite).collect()
            }
            Session::Postgres(conn) => {
                let query =
                    bound!(sqlx::Postgres, statement, args, arrays).persistent(statement.keep && self.pooled.is_none());
                query.fetch_all(conn).await?.into_iter().map(Row::Postgres).collect()
            }
            Session::MySql(conn) => {
                let rows = if statement.keep {
                    bound!(sqlx::MySql, statement, args, json).fetch_all(conn).await?
                } else {
                    conn.fetch_all(sqlx::raw_sql(AssertSqlSafe(spelled_out(statement, args)))).await?
                };
                rows.into_iter().map(Row::MySql).collect()
            }
        };
        self.meter.hears(&rows);
        Ok(rows)
    }

    /// Runs a statement and returns the number of matched rows.
    pub(crate) async fn run(&mut self, statement: &Statement, args: &[Arg]) -> Result<u64, sqlx::Error> {
        self.fits(statement, args)?;
        self.meter.asks(args.iter().map(Arg::size).sum());
        Ok(match &mut self.session {
            Session::Sqlite(conn) => bound!(sqlx::Sqlite, statement, args, json).execute(conn).await?.rows_affected(),
            Session::Postgres(conn) => bound!(sqlx::Postgres, statement, args, arrays)
                .persistent(statement.keep && self.pooled.is_none())
                .execute(conn)
                .await?
                .rows_affected(),
            Session::MySql(conn) => bound!(sqlx::MySql, statement, args, json).execute(conn).await?.rows_affected(),
        })
    }

    /// Runs a text without arguments and without preparation: transaction control, session settings, schema.
    pub(crate) async fn raw(&mut self, text: &str) -> Result<(), sqlx::Error> {
        self.meter.asks(text.len());
        let text = AssertSqlSafe(text.to_owned());
        match &mut self.session {
            Session::Sqlite(conn) => conn.execute(sqlx::raw_sql(text)).await.map(drop),
            Session::Postgres(conn) => conn.execute(sqlx::raw_sql(text)).await.map(drop),
            Session::MySql(conn) => conn.execute(sqlx::raw_sql(text)).await.map(drop),
        }
    }

    /// Checks that the server responds.
    pub(crate) async fn ping(&mut self) -> Result<(), sqlx::Error> {
        self.meter.asks(0);
        match &mut self.session {
            Session::Sqlite(conn) => conn.ping().await,
            Session::Postgres(conn) => conn.ping().await,
            Session::MySql(conn) => conn.ping().await,
        }
    }

    /// Closes the connection in an orderly way.
    pub(crate) async fn close(self) {
        // Best effort: the server notices a closed socket too.
        let _ = match self.session {
            Session::Sqlite(conn) => conn.close().await,
            Session::Postgres(conn) => conn.close().await,
            Session::MySql(conn) => conn.close().await,
        };
    }
}

impl Arg {
    /// The size of its value in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Int(_) => 8,
            Self::Text(text) => text.as_ref().map_or(0, String::len),
            Self::Table(table) => table.0.iter().map(Column::size).sum(),
        }
    }

    /// The size of its value in bytes, with tables as JSON text.
    fn written(&self) -> usize {
        match self {
            Self::Int(_) | Self::Text(_) => self.size(),
            Self::Table(table) => table.json().len(),
        }
    }
}

impl Column {
    fn size(&self) -> usize {
        match self {
            Self::Int(values) => values.len() * 8,
            Self::Text(values) => values.iter().flatten().map(String::len).sum(),
        }
    }
}

/// Binds a table as one array per column.
fn arrays<'q>(
    mut query: sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>,
    table: &Table,
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    for column in &table.0 {
        query = match column {
            Column::Int(values) => query.bind(values.as_slice()),
            Column::Text(values) => query.bind(values.as_slice()),
        };
    }
    query
}

impl Table {
    /// Adds a column of integers.
    pub(crate) fn ints<T: Into<Option<i64>>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.0.push(Column::Int(values.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a column of texts.
    pub(crate) fn texts<T: Into<Option<String>>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.0.push(Column::Text(values.into_iter().map(Into::into).collect()));
        self
    }

    /// An array of rows, each an array of values.
    fn json(&self) -> String {
        let height = self.0.first().map_or(0, |column| match column {
            Column::Int(values) => values.len(),
            Column::Text(values) => values.len(),
        });
        let mut out = String::with_capacity(16 * height * self.0.len() + 2);
        out.push('[');
        for row in 0..height {
            out.push_str(if row == 0 { "[" } else { ",[" });
            for (at, column) in self.0.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                match column {
                    Column::Int(values) => match values[row] {
                        Some(value) => out.push_str(&value.to_string()),
                        None => out.push_str("null"),
                    },
                    Column::Text(values) => match &values[row] {
                        Some(value) => out.push_str(&serde_json::Value::from(value.as_str()).to_string()),
                        None => out.push_str("null"),
                    },
                }
            }
            out.push(']');
        }
        out.push(']');
        out
    }
}

impl Row {
    /// The size of its values in bytes as sent by the server; 0 for a file.
    pub(crate) fn size(&self) -> usize {
        let of = |value: Result<Option<&[u8]>, sqlx::Error>| value.ok().flatten().map_or(0, <[u8]>::len);
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(row) => (0..row.len()).map(|at| of(row.try_get_unchecked(at))).sum(),
            Self::MySql(row) => (0..row.len()).map(|at| of(row.try_get_unchecked(at))).sum(),
        }
    }

    /// The integer in this column, if not null.
    pub(crate) fn int(&self, at: usize) -> Result<Option<i64>, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get_unchecked(at),
            Self::Postgres(row) => row.try_get_unchecked(at),
            Self::MySql(row) => row.try_get_unchecked(at),
        }
        .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// The text in this column, if not null.
    pub(crate) fn text(&self, at: usize) -> Result<Option<String>, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get_unchecked(at),
            Self::Postgres(row) => row.try_get_unchecked(at),
            Self::MySql(row) => row.try_get_unchecked(at),
        }
        .map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    /// The integer in this column, which must not be null and must fit.
    pub(crate) fn num<T: TryFrom<i64>>(&self, at: usize) -> Result<T, StoreError> {
        self.int(at)?
            .and_then(|value| T::try_from(value).ok())
            .ok_or_else(|| StoreError::Corrupt(format!("column {at} has no integer of the expected range")))
    }

    /// The integer in this column, which must fit if it is not null.
    pub(crate) fn opt<T: TryFrom<i64>>(&self, at: usize) -> Result<Option<T>, StoreError> {
        self.int(at)?
            .map(|value| {
                T::try_from(value)
                    .map_err(|_| StoreError::Corrupt(format!("column {at} has no integer of the expected range")))
            })
            .transpose()
    }

    /// The text in this column, which must not be null.
    pub(crate) fn string(&self, at: usize) -> Result<String, StoreError> {
        self.text(at)?.ok_or_else(|| StoreError::Corrupt(format!("column {at} has no text")))
    }
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<u32>> for Arg {
    fn from(value: Option<u32>) -> Self {
        Self::Int(value.map(i64::from))
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<Option<&str>> for Arg {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Table> for Arg {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

/// The arguments of a statement: `args![by.node, "text", table]`.
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::wire::Arg::from($value)),*] };
}
pub(crate) use args;
