//! The schema, migrated forward when the metastore is opened.
//!
//! Any number of nodes may start at once on an empty database. One of them holds a lock while it migrates. The others
//! wait and find nothing left to do. SQLite and PostgreSQL migrate in one transaction. MySQL commits after each
//! statement, so every statement there is repeatable, and the version is written last.

use crate::clock::wall_ms;
use crate::connection::{Connection, Work};
use crate::error::{Fault, StoreError};
use crate::sql::Statement;
use crate::wire::{Dialect, args};

/// The statements of one version, in order, for each dialect.
struct Version {
    common: &'static [&'static str],
    sqlite: &'static [&'static str],
    postgres: &'static [&'static str],
    mysql: &'static [&'static str],
}

macro_rules! files {
    ($($file:literal),* $(,)?) => { &[$(include_str!(concat!("../sql/schema/", $file, ".sql"))),*] };
}

const VERSION_TABLE: &str = include_str!("../sql/schema/version.sql");

/// Version 1 is the first of these.
const VERSIONS: &[Version] = &[
    Version {
        common: files![
            "1/node",
            "1/member",
            "1/beat",
            "1/claim",
            "1/project",
            "1/job",
            "1/over",
            "1/step",
            "1/attempt",
            "1/segment",
            "1/doc",
            "1/catalog",
            "1/setting",
            "1/history",
            "1/segment_by_model",
            "1/segment_by_job",
        ],
        sqlite: files!["1/sqlite/job_open", "1/sqlite/job_held", "1/sqlite/job_over"],
        postgres: files![
            "1/postgres/job_open",
            "1/postgres/job_held",
            "1/postgres/job_over",
            "1/postgres/job_storage",
            "1/postgres/beat_storage"
        ],
        mysql: files!["1/mysql/job_open", "1/mysql/job_held", "1/mysql/job_over"],
    },
    Version {
        common: files!["2/member_can", "2/job_needs", "2/job_needs_of_kind"],
        sqlite: &[],
        postgres: &[],
        mysql: &[],
    },
    Version { common: files!["3/member_token", "3/member_trouble"], sqlite: &[], postgres: &[], mysql: &[] },
    Version { common: files!["4/project_own_limit"], sqlite: &[], postgres: &[], mysql: &[] },
];

/// Brings the schema up to date.
pub(crate) struct Migrate;

impl Work for Migrate {
    type Out = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), Fault> {
        let dialect = connection.dialect();
        let name = format!("kirin_schema_{}", connection.sql.prefix);
        match dialect {
            Dialect::Sqlite => connection.begin().await?,
            Dialect::Postgres => {
                connection.begin().await?;
                let wait =
                    Statement::once("SELECT 1 FROM (SELECT pg_advisory_xact_lock(hashtext($1))) AS held", dialect, "");
                // Waiting for another node's migration is not a failure of this statement.
                connection.raw("SET LOCAL statement_timeout = 0").await?;
                connection.rows_of(&wait, args![&name]).await?;
            }
            Dialect::MySql => {
                let wait = Statement::once("SELECT CAST(GET_LOCK($1, 1) AS SIGNED)", dialect, "");
                let rows = connection.rows_of(&wait, args![&name]).await?;
                if rows.first().map(|row| row.int(0)).transpose()?.flatten() != Some(1) {
                    return Err(Fault::Again(StoreError::Busy("another node migrates the schema".to_owned())));
                }
            }
        }
        let done = migrate(connection).await;
        match dialect {
            Dialect::Sqlite | Dialect::Postgres => {
                done?;
                connection.commit().await
            }
            Dialect::MySql => {
                let release = Statement::once("SELECT CAST(RELEASE_LOCK($1) AS SIGNED)", dialect, "");
                connection.rows_of(&release, args![&name]).await?;
                done
            }
        }
    }
}

async fn migrate(connection: &mut Connection) -> Result<(), Fault> {
    let (dialect, prefix) = (connection.dialect(), connection.sql.prefix.clone());
    let known = i64::try_from(VERSIONS.len()).expect("few versions");
    let text = |source: &str| Statement::once(source, dialect, &prefix).text;
    connection.raw(&text(VERSION_TABLE)).await?;
    let read = Statement::once("SELECT COALESCE(MAX(version), 0) FROM {p}_schema", dialect, &prefix);
    let rows = connection.rows_of(&read, &[]).await?;
    let found = rows.first().map(|row| row.num::<i64>(0)).transpose()?.unwrap_or(0);
    if found > known {
        return Err(Fault::Certain(StoreError::Newer { found, known }));
    }
    for (version, statements) in (1_i64..).zip(VERSIONS).skip_while(|(version, _)| *version <= found) {
        let own = match dialect {
            Dialect::Sqlite => statements.sqlite,
            Dialect::Postgres => statements.postgres,
            Dialect::MySql => statements.mysql,
        };
        for source in statements.common.iter().chain(own) {
            match connection.raw(&text(source)).await {
                Ok(()) => {}
                // An earlier, interrupted migration to this version has created this index or column.
                Err(Fault::Certain(StoreError::Refused(why)))
                    if dialect == Dialect::MySql && (why.contains("1061") || why.contains("1060")) => {}
                Err(fault) => return Err(fault),
            }
        }
        let note = format!("INSERT INTO {{p}}_schema (version, at_ms) VALUES ({version}, {})", wall_ms());
        connection.raw(&text(&note)).await?;
        tracing::info!(version, "metastore schema migrated");
    }
    Ok(())
}
