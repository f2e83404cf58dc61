//! The statements: files under `sql/`, one each, expanded for one dialect and one table prefix.
//!
//! A file is SQL with placeholders in braces, where the dialects differ:
//!
//! | placeholder | means |
//! |---|---|
//! | `$1`, `$2` … | the first, second … argument |
//! | `{p}_job` | the table `job` under this cluster's prefix, quoted |
//! | `{rows $1 q(job int, name text)}` | a table argument as a derived table `q` with these columns |
//! | `UPDATE {join job $1 q(…)} SET … {from} WHERE …` | an update of `job AS j` joined with such a table |
//! | `{for_update}`, `{for_share}` | the lock clause of a read; nothing on SQLite, whose writers exclude each other |
//! | `{uuid …}`, `{text …}` | from text to the type of uuid columns, and back |
//! | `{or_skip column}` | an insert with an existing key does nothing; `column` is part of the key |
//! | `{whole}` | the type to which a sum is cast |
//! | `{serial}`, `{long}`, `{int}`, `{small}`, `{name}`, `{body}`, `{guid}`, `{end}` | column types and table options |

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::wire::Dialect;

/// A statement in one dialect.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The text.
    pub(crate) text: Arc<str>,
    /// The argument of each placeholder, for dialects with positional placeholders.
    pub(crate) order: Option<Vec<u8>>,
    /// Whether the connection keeps it as a prepared statement.
    pub(crate) keep: bool,
}

impl Statement {
    /// Expands a file's text.
    pub(crate) fn read(source: &str, dialect: Dialect, prefix: &str) -> Self {
        let source: String = source.lines().filter(|line| !line.trim_start().starts_with("--")).fold(
            String::with_capacity(source.len()),
            |mut text, line| {
                text.push_str(line.trim());
                text.push('\n');
                text
            },
        );
        let mut reader =
            Reader { dialect, prefix, widths: widths(&source, dialect), order: Vec::new(), joined: String::new() };
        let text = reader.expand(source.trim().trim_end_matches(';'));
        let order = (dialect == Dialect::MySql).then_some(reader.order);
        Self { text: text.into(), order, keep: true }
    }

    /// A statement that is composed at run time and not kept as a prepared statement.
    pub(crate) fn once(source: &str, dialect: Dialect, prefix: &str) -> Self {
        Self { keep: false, ..Self::read(source, dialect, prefix) }
    }

    /// The same, but not kept as a prepared statement.
    pub(crate) fn unkept(&self) -> Self {
        Self { text: self.text.clone(), order: self.order.clone(), keep: false }
    }
}

/// The number of parameters of each table argument on PostgreSQL: one per column.
fn widths(source: &str, dialect: Dialect) -> BTreeMap<usize, usize> {
    let mut widths = BTreeMap::new();
    if dialect != Dialect::Postgres {
        return widths;
    }
    for start in ["{rows $", "{join job $"] {
        for (at, _) in source.match_indices(start) {
            let rest = &source[at + start.len()..];
            let argument = leading_number(rest).0;
            let columns = rest.split(')').next().map_or(0, |list| list.matches(',').count() + 1);
            widths.insert(argument, columns);
        }
    }
    widths
}

fn leading_number(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..end].parse().unwrap_or(0), &text[end..])
}

struct Reader<'a> {
    dialect: Dialect,
    prefix: &'a str,
    widths: BTreeMap<usize, usize>,
    order: Vec<u8>,
    joined: String,
}

impl Reader<'_> {
    fn expand(&mut self, source: &str) -> String {
        let mut out = String::with_capacity(source.len() * 2);
        let mut rest = source;
        while let Some(at) = rest.find(['{', '$']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{p}_") {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                let quote = if self.dialect == Dialect::MySql { '`' } else { '"' };
                out.push(quote);
                out.push_str(self.prefix);
                out.push('_');
                out.push_str(&after[..end]);
                out.push(quote);
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix('$') {
                let (argument, after) = leading_number(after);
                self.argument(argument, &mut out);
                rest = after;
            } else {
                let end = rest.find('}').expect("a placeholder is closed");
                let token = rest[1..end].to_owned();
                rest = &rest[end + 1..];
                self.token(&token, &mut out);
            }
        }
        out.push_str(rest);
        out
    }

    /// The number of an argument's first parameter on PostgreSQL.
    fn parameter(&self, argument: usize) -> usize {
        (1..argument).map(|before| self.widths.get(&before).copied().unwrap_or(1)).sum::<usize>() + 1
    }

    fn argument(&mut self, argument: usize, out: &mut String) {
        match self.dialect {
            Dialect::MySql => {
                self.order.push(u8::try_from(argument).expect("few arguments"));
                out.push('?');
            }
            Dialect::Sqlite => out.push_str(&format!("?{argument}")),
            Dialect::Postgres => out.push_str(&format!("${}", self.parameter(argument))),
        }
    }

    fn token(&mut self, token: &str, out: &mut String) {
        use Dialect::{MySql, Postgres, Sqlite};
        let (word, rest) = token.split_once(' ').unwrap_or((token, ""));
        let by_dialect = |sqlite: &'static str, postgres: &'static str, mysql: &'static str| match self.dialect {
            Sqlite => sqlite,
            Postgres => postgres,
            MySql => mysql,
        };
        let fixed = match word {
            "for_update" => by_dialect("", "FOR NO KEY UPDATE", "FOR UPDATE"),
            "for_share" => by_dialect("", "FOR SHARE", "LOCK IN SHARE MODE"),
            "serial" => by_dialect(
                "INTEGER PRIMARY KEY AUTOINCREMENT",
                "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
                "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
            ),
            "long" => by_dialect("INTEGER", "bigint", "BIGINT"),
            "int" => by_dialect("INTEGER", "integer", "INT"),
            // The type to which sums are cast. The databases widen sums, one of them to a decimal type.
            "whole" => by_dialect("INTEGER", "bigint", "SIGNED"),
            "small" => by_dialect("INTEGER", "smallint", "SMALLINT"),
            "name" => by_dialect("TEXT", "text", "VARCHAR(190)"),
            "body" => by_dialect("TEXT", "text", "MEDIUMTEXT"),
            "guid" => by_dialect("TEXT", "uuid", "CHAR(36)"),
            "end" => by_dialect("", "", "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"),
            "from" => {
                if self.dialect != MySql {
                    out.push_str("FROM ");
                    out.push_str(&self.joined);
                }
                return;
            }
            "uuid" | "text" => {
                let inner = self.expand(rest);
                out.push_str(&inner);
                if self.dialect == Postgres {
                    out.push_str("::");
                    out.push_str(word);
                }
                return;
            }
            "or_skip" => {
                out.push_str(&match self.dialect {
                    MySql => format!("ON DUPLICATE KEY UPDATE {rest} = VALUES({rest})"),
                    Sqlite | Postgres => "ON CONFLICT DO NOTHING".to_owned(),
                });
                return;
            }
            "rows" => {
                let derived = self.derived(rest);
                out.push_str(&derived);
                return;
            }
            "join" => {
                let (table, rows) = rest.split_once(' ').expect("a table and its rows");
                let table = self.expand(&format!("{{p}}_{table} AS j"));
                let derived = self.derived(rows);
                if self.dialect == MySql {
                    out.push_str(&derived);
                    out.push_str(" STRAIGHT_JOIN ");
                }
                out.push_str(&table);
                self.joined = derived;
                return;
            }
            _ => panic!("unknown placeholder {{{token}}}"),
        };
        out.push_str(fixed);
    }

    /// `$1 q(job int, name text)` as a derived table.
    fn derived(&mut self, spec: &str) -> String {
        let (argument, spec) = leading_number(spec.trim_start_matches('$'));
        let (alias, columns) = spec.trim().trim_end_matches(')').split_once('(').expect("an alias and its columns");
        let columns: Vec<(&str, &str)> =
            columns.split(',').map(|column| column.trim().split_once(' ').expect("a name and a type")).collect();
        let names = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let mut place = String::new();
        self.argument(argument, &mut place);
        match self.dialect {
            Dialect::Sqlite => {
                let fields: Vec<String> =
                    (columns.iter().enumerate()).map(|(at, (name, _))| format!("value ->> {at} AS {name}")).collect();
                format!("(SELECT {} FROM json_each({place})) AS {alias}", fields.join(", "))
            }
            Dialect::Postgres => {
                let first = self.parameter(argument);
                let arrays: Vec<String> = (columns.iter().enumerate())
                    .map(|(at, (_, kind))| {
                        format!("${}::{}[]", first + at, if *kind == "int" { "int8" } else { "text" })
                    })
                    .collect();
                format!("unnest({}) AS {alias}({names})", arrays.join(", "))
            }
            Dialect::MySql => {
                let fields: Vec<String> = (columns.iter().enumerate())
                    .map(|(at, (name, kind))| {
                        let kind = if *kind == "int" { "BIGINT" } else { "LONGTEXT COLLATE utf8mb4_bin" };
                        format!("{name} {kind} PATH '$[{at}]'")
                    })
                    .collect();
                format!("JSON_TABLE({place}, '$[*]' COLUMNS ({})) AS {alias}", fields.join(", "))
            }
        }
    }
}

/// A bug that a test plants in a statement, to prove that the conformance suite finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The statement's name.
    pub statement: &'static str,
    /// A part of its text.
    pub part: &'static str,
    /// The replacement, at every occurrence.
    pub instead: &'static str,
}

fn plant<'a>(planted: Option<&Planted>, name: &str, source: &'a str) -> std::borrow::Cow<'a, str> {
    match planted {
        Some(planted) if planted.statement == name => {
            assert!(source.contains(planted.part), "the statement does not contain the part to replace: {planted:?}");
            source.replace(planted.part, planted.instead).into()
        }
        _ => source.into(),
    }
}

/// Declares the registry: `all` has one file for every dialect, `each` one per dialect, `embedded` one for SQLite and
/// MySQL, `postgres` one for PostgreSQL alone.
macro_rules! statements {
    ($($kind:ident $name:ident;)*) => {
        /// Every statement in one dialect.
        #[derive(Debug)]
        pub(crate) struct Sql {
            pub(crate) dialect: Dialect,
            pub(crate) prefix: String,
            $(pub(crate) $name: Statement,)*
        }

        impl Sql {
            /// Expands all statements for one dialect and prefix, with the planted bug, if any.
            pub(crate) fn new(dialect: Dialect, prefix: &str, planted: Option<&Planted>) -> Self {
                Self {
                    dialect,
                    prefix: prefix.to_owned(),
                    $($name: {
                        let source = statements!(@ $kind $name dialect);
                        Statement::read(&plant(planted, stringify!($name), source), dialect, prefix)
                    },)*
                }
            }
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
    (@ all $name:ident $dialect:ident) => { include_str!(concat!("../sql/", stringify!($name), ".sql")) };
    (@ each $name:ident $dialect:ident) => {
        match $dialect {
            Dialect::Sqlite => include_str!(concat!("../sql/sqlite/", stringify!($name), ".sql")),
            Dialect::Postgres => include_str!(concat!("../sql/postgres/", stringify!($name), ".sql")),
            Dialect::MySql => include_str!(concat!("../sql/mysql/", stringify!($name), ".sql")),
        }
    };
    (@ embedded $name:ident $dialect:ident) => {
        match $dialect {
            Dialect::Sqlite | Dialect::MySql => include_str!(concat!("../sql/embedded/", stringify!($name), ".sql")),
            Dialect::Postgres => "",
        }
    };
    (@ postgres $name:ident $dialect:ident) => {
        match $dialect {
            Dialect::Postgres => include_str!(concat!("../sql/postgres/", stringify!($name), ".sql")),
            Dialect::Sqlite | Dialect::MySql => "",
        }
    };
}

statements! {
    all node_next;
    all node_find;
    all node_add;
    all member_add;
    all member_alive_of_node;
    all member_lock;
    all member_die;
    all member_drain;
    all member_up;
    all member_shared;
    all member_slots;
    all member_can;
    all member_proof;
    all beat_add;
    all beat;
    all beat_brief;
    all beat_end;
    all beat_end_if;
    all list;
    all orphan_lock;
    all orphan_clear;
    all claim_add;
    all claim_take;
    all claim_yield;
    all jobs_open;
    all jobs_by_id;
    all jobs_by_uuid;
    all jobs_of_node;
    all loads;
    each submit;
    all project_share;
    all place;
    all act_read;
    all act;
    all act_steps;
    all force_read;
    all discard_by_force;
    all attempt_add;
    all project_lock;
    embedded take_scope;
    embedded take_room;
    embedded take_member;
    embedded take_candidates;
    embedded take_earlier;
    embedded take_write;
    embedded step_lock;
    embedded step_write;
    embedded step_add;
    embedded finish_lock;
    embedded finish_write;
    embedded release_lock;
    embedded release_write;
    postgres take_scope_lock;
    postgres take;
    postgres step;
    postgres finish;
    postgres release;
    all segment_overlap;
    all segment_add;
    all segment_publish;
    all vanish;
    all vanish_attempt;
    all segment_unreserve;
    all segment_list;
    all segment_get;
    all segment_annotate;
    all segment_drop;
    all catalog_read;
    each catalog_bump;
    all project_of_job;
    each project_add;
    all project_find;
    all project_list;
    all project_update;
    all project_limit;
    all project_default_limit;
    all project_open_jobs;
    all project_drop;
    all project_drop_claim;
    all project_docs;
    all project_drop_segments;
    all project_drop_catalog;
    all doc_get;
    all doc_list;
    each doc_add;
    all doc_replace;
    all doc_drop;
    all setting_get;
    each setting_add;
    each setting_put;
    all history_add;
    all steps;
    all attempts;
    all directory;
    all progress;
    all over_add;
    all over_lock;
    all retain_jobs;
    all retain_history;
    all retain_members;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_argument_shifts_the_parameters_after_it_on_postgres_only() {
        let source =
            "UPDATE {join job $1 q(job int, name text)} SET at = $2 {from} WHERE j.id = q.job AND {uuid $3} = j.uuid";
        let read = |dialect| Statement::read(source, dialect, "k");
        assert_eq!(
            &*read(Dialect::Postgres).text,
            "UPDATE \"k_job\" AS j SET at = $3 FROM unnest($1::int8[], $2::text[]) AS q(job, name) \
             WHERE j.id = q.job AND $4::uuid = j.uuid"
        );
        assert_eq!(
            &*read(Dialect::Sqlite).text,
            "UPDATE \"k_job\" AS j SET at = ?2 FROM (SELECT value ->> 0 AS job, value ->> 1 AS name FROM json_each(?1)) AS q \
             WHERE j.id = q.job AND ?3 = j.uuid"
        );
        let mysql = read(Dialect::MySql);
        assert_eq!(
            &*mysql.text,
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (job BIGINT PATH '$[0]', name LONGTEXT COLLATE utf8mb4_bin PATH '$[1]')) AS q \
             STRAIGHT_JOIN `k_job` AS j SET at = ?  WHERE j.id = q.job AND ? = j.uuid"
        );
        assert_eq!(mysql.order.as_deref(), Some(&[1, 2, 3][..]));
    }

    #[test]
    fn every_statement_expands_in_every_dialect_and_every_file_is_used() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
            let _ = Sql::new(dialect, "kylin_metadata", None);
        }
        for folder in ["sql", "sql/sqlite", "sql/postgres", "sql/mysql", "sql/embedded"] {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in std::fs::read_dir(folder).expect("the folder is there").flatten() {
                let name = file.file_name().to_string_lossy().into_owned();
                if let Some(name) = name.strip_suffix(".sql") {
                    assert!(NAMES.contains(&name), "{name}.sql is not used");
                }
            }
        }
    }
}
