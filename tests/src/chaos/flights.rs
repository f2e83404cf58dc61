//! The demo's flights, which users build and query: four quarters with known counts and sums. So an answer shows which published
//! segments it was made of.

use std::path::Path;

use anyhow::Context as _;
use kirin_client::{Client, Request};
use kirin_lab::demo::{new_model, new_table};
use kirin_olap::{SegmentRange, Source, demo};
use kirin_wire::{ModelView, NewProject, ProjectView, QueryRequest, QueryView, TableAdded};

/// The project of the flights.
pub const PROJECT: &str = "flights";

/// The query that users repeat.
pub const SQL: &str = "SELECT COUNT(*) AS flights, SUM(distance) AS miles FROM flights";

/// A quarter of the year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarter {
    /// Its beginning.
    pub start_ms: i64,
    /// Its end, exclusive.
    pub end_ms: i64,
    /// The number of its flights.
    pub flights: i64,
    /// The sum of their miles.
    pub miles: i64,
}

/// Defines tables and a model. Returns the quarters, computed from the raw tables.
///
/// # Errors
/// If the node refuses something.
pub async fn define(client: &Client, dir: &Path) -> anyhow::Result<Vec<Quarter>> {
    demo::write_files(dir)?;
    let project = NewProject { name: PROJECT.to_owned(), ..NewProject::default() };
    let _: ProjectView = client.call(Request::post(&["projects"]).body(&project)?).await?;
    for table in demo::tables(dir) {
        let _: TableAdded = client.call(Request::post(&["tables"]).body(&new_table(PROJECT, table)?)?).await?;
    }
    let _: ModelView = client.call(Request::post(&["models"]).body(&new_model(PROJECT)?)?).await?;
    let mut quarters = Vec::new();
    for months in demo::months().chunks(3) {
        let (Some(SegmentRange::Time { start_ms, .. }), Some(SegmentRange::Time { end_ms, .. })) =
            (months.first().cloned(), months.last().cloned())
        else {
            continue;
        };
        let (from, until) = (text(start_ms), text(end_ms));
        let sql = format!("{SQL} WHERE time_hour >= TIMESTAMP '{from}' AND time_hour < TIMESTAMP '{until}'");
        let body = QueryRequest::new(PROJECT, sql).raw();
        let answer: QueryView = client.call(Request::post(&["query"]).body(&body)?).await?;
        let (flights, miles) = numbers(&answer).with_context(|| format!("the raw tables say {:?}", answer.results))?;
        quarters.push(Quarter { start_ms, end_ms, flights, miles });
    }
    Ok(quarters)
}

/// The source of a small table.
///
/// # Errors
/// If the demo has no such table.
pub fn smallest(dir: &Path) -> anyhow::Result<Source> {
    let table = demo::tables(dir).into_iter().find(|table| table.name == "airlines");
    Ok(table.context("the demo has no airlines")?.source)
}

/// A time as an SQL literal.
fn text(ms: i64) -> String {
    let at = chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The count and the sum of an answer to [`SQL`].
pub fn numbers(answer: &QueryView) -> Option<(i64, i64)> {
    let row = answer.results.first()?;
    // The sum of no rows is NULL.
    let number =
        |cell: &Option<String>| cell.as_ref().map_or(Some(0.0), |text| text.parse::<f64>().ok()).map(|n| n as i64);
    Some((number(row.first()?)?, number(row.get(1)?)?))
}

/// Whether these are the count and sum of some subset of the quarters.
pub fn is_whole(quarters: &[Quarter], (flights, miles): (i64, i64)) -> bool {
    (0..1_u32 << quarters.len()).any(|set| {
        let chosen = quarters.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, quarter)| quarter);
        chosen.fold((0, 0), |(f, m), quarter| (f + quarter.flights, m + quarter.miles)) == (flights, miles)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_segment_is_noticed() {
        let quarter = |flights, miles| Quarter { start_ms: 0, end_ms: 1, flights, miles };
        let quarters = [quarter(3, 10), quarter(5, 7), quarter(9, 1)];
        for whole in [(0, 0), (3, 10), (8, 17), (17, 18), (12, 11)] {
            assert!(is_whole(&quarters, whole), "{whole:?}");
        }
        for torn in [(2, 10), (8, 16), (6, 20)] {
            assert!(!is_whole(&quarters, torn), "{torn:?}");
        }
    }
}
