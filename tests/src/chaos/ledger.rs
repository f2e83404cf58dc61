//! Invariants of the metastore's tables, checked in SQL on the database. No clock is compared.

use super::deployment::{Deployment, PREFIX};

/// Rows that must not exist: their meaning, and the query that finds them. `@` stands for the prefix of tables.
const NEVER: [(&str, &str); 5] = [
    (
        "a step was committed by an attempt after another had taken the job over without it (job, step, epoch)",
        "SELECT s.job, s.idx, s.epoch FROM @step s JOIN @attempt a ON a.job = s.job \
         WHERE a.epoch > s.epoch AND a.from_step <= s.idx",
    ),
    (
        "a step was committed by an attempt that is not the job's last, although the last one began before it (job, step, epoch)",
        "SELECT s.job, s.idx, s.epoch FROM @step s JOIN @job j ON j.id = s.job \
         WHERE j.epoch > s.epoch AND j.from_step <= s.idx",
    ),
    (
        "a segment is published, but not by the last attempt at its job (segment, job, epoch)",
        "SELECT s.id, s.job, s.epoch FROM @segment s JOIN @job j ON j.uuid = s.job \
         WHERE s.state = 1 AND (j.state <> 6 OR j.epoch <> s.epoch)",
    ),
    (
        "a job's counter of steps and its steps differ (job, counter, steps)",
        "SELECT j.id, j.steps, COUNT(s.idx) FROM @job j LEFT JOIN @step s ON s.job = j.id \
         GROUP BY j.id, j.steps HAVING j.steps <> COUNT(s.idx)",
    ),
    (
        "the stored count of ended jobs is wrong (project, state, difference)",
        "SELECT c.project, c.state, SUM(c.jobs) FROM (SELECT project, state, jobs FROM @over \
         UNION ALL SELECT project, state, -1 FROM @job WHERE state > 4) c \
         GROUP BY c.project, c.state HAVING SUM(c.jobs) <> 0",
    ),
];

/// Returns descriptions of the violations.
///
/// # Errors
/// If the database does not answer.
pub fn check(cluster: &Deployment) -> anyhow::Result<Vec<String>> {
    check_in(PREFIX, |sql| cluster.sql(sql))
}

/// The same for tables with this prefix.
///
/// # Errors
/// If the database does not answer.
pub fn check_in(prefix: &str, ask: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (what, sql) in NEVER {
        let rows = ask(&sql.replace('@', &format!("{prefix}_")))?;
        wrong.extend(rows.lines().map(|row| format!("{what}: {}", row.replace('\t', "|"))));
    }
    Ok(wrong)
}
