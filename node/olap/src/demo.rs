//! The demo: flight data, embedded in the binary, with tables and a model over them.
//!
//! nycflights13: all 336,776 flights that left New York City in 2013, with airlines, airports, planes and hourly
//! weather. From the US DOT and NOAA, licence CC0; see `data/nycflights13/README.md`.

use crate::error::{Error, Result};
use crate::measure::MeasureFunction;
use crate::model::{AggregationGroup, Dimension, JoinKind, Lookup, Measure, Model, Partition};
use crate::segment::SegmentRange;
use crate::table::{Column, Format, Source, Table};
use std::path::Path;

const FILES: [(&str, &[u8]); 5] = [
    ("flights.parquet", include_bytes!("../data/nycflights13/flights.parquet")),
    ("airlines.parquet", include_bytes!("../data/nycflights13/airlines.parquet")),
    ("airports.parquet", include_bytes!("../data/nycflights13/airports.parquet")),
    ("planes.parquet", include_bytes!("../data/nycflights13/planes.parquet")),
    ("weather.parquet", include_bytes!("../data/nycflights13/weather.parquet")),
];

/// Writes the demo's files into a directory, which is created if missing. Existing files of the right length are kept.
pub fn write_files(dir: &Path) -> Result<()> {
    let failed =
        |path: &Path, e: std::io::Error| Error::build_file(path.display().to_string(), format!("cannot write it: {e}"));
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    for (name, content) in FILES {
        let path = dir.join(name);
        if std::fs::metadata(&path).is_ok_and(|m| m.len() == content.len() as u64) {
            continue;
        }
        // Written under another name and renamed, so that a partial file is never read.
        let aside = dir.join(format!(".{name}.{}", std::process::id()));
        std::fs::write(&aside, content).and_then(|()| std::fs::rename(&aside, &path)).map_err(|e| failed(&path, e))?;
    }
    Ok(())
}

/// The demo's tables over files that [`write_files`] wrote to `dir`.
pub fn tables(dir: &Path) -> Vec<Table> {
    let table = |name: &str, columns: &[(&str, &str)]| Table {
        name: name.into(),
        source: Source {
            format: Format::Parquet,
            location: dir.join(format!("{name}.parquet")).display().to_string(),
            csv: None,
            granted: None,
        },
        columns: columns
            .iter()
            .map(|(name, type_name)| Column { name: name.to_string(), type_name: type_name.to_string() })
            .collect(),
    };
    const INT: &str = "BIGINT";
    vec![
        table(
            "flights",
            &[
                ("year", INT),
                ("month", INT),
                ("day", INT),
                ("dep_time", INT),
                ("sched_dep_time", INT),
                ("dep_delay", INT),
                ("arr_time", INT),
                ("sched_arr_time", INT),
                ("arr_delay", INT),
                ("carrier", "VARCHAR"),
                ("flight", INT),
                ("tailnum", "VARCHAR"),
                ("origin", "VARCHAR"),
                ("dest", "VARCHAR"),
                ("air_time", INT),
                ("distance", INT),
                ("hour", INT),
                ("minute", INT),
                ("time_hour", "TIMESTAMP"),
            ],
        ),
        table("airlines", &[("carrier", "VARCHAR"), ("name", "VARCHAR")]),
        table(
            "airports",
            &[
                ("faa", "VARCHAR"),
                ("name", "VARCHAR"),
                ("lat", "DOUBLE"),
                ("lon", "DOUBLE"),
                ("alt", INT),
                ("tz", INT),
                ("dst", "VARCHAR"),
                ("tzone", "VARCHAR"),
            ],
        ),
        table(
            "planes",
            &[
                ("tailnum", "VARCHAR"),
                ("year", INT),
                ("type", "VARCHAR"),
                ("manufacturer", "VARCHAR"),
                ("model", "VARCHAR"),
                ("engines", INT),
                ("seats", INT),
                ("speed", INT),
                ("engine", "VARCHAR"),
            ],
        ),
        table(
            "weather",
            &[
                ("origin", "VARCHAR"),
                ("year", INT),
                ("month", INT),
                ("day", INT),
                ("hour", INT),
                ("temp", "DOUBLE"),
                ("dewp", "DOUBLE"),
                ("humid", "DOUBLE"),
                ("wind_dir", "DOUBLE"),
                ("wind_speed", "DOUBLE"),
                ("wind_gust", "DOUBLE"),
                ("precip", "DOUBLE"),
                ("pressure", "DOUBLE"),
                ("visib", "DOUBLE"),
                ("time_hour", "TIMESTAMP"),
            ],
        ),
    ]
}

/// The demo's model: flights with their airline, destination, plane and the weather at departure.
pub fn model() -> Model {
    let text = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let lookup = |table: &str, alias: &str, join, fact_key: &[&str], lookup_key: &[&str]| Lookup {
        table: table.into(),
        alias: alias.into(),
        join,
        fact_key: text(fact_key),
        lookup_key: text(lookup_key),
    };
    let dimension = |name: &str, column: &str| Dimension { name: name.into(), column: column.into() };
    let measure =
        |name: &str, function, column: &str| Measure { name: name.into(), function, column: Some(column.into()) };
    Model {
        name: "flights".into(),
        fact: "flights".into(),
        lookups: vec![
            // Every flight has an airline in the table, so this join drops no row.
            lookup("airlines", "airlines", JoinKind::Left, &["carrier"], &["carrier"]),
            lookup("airports", "airports", JoinKind::Left, &["dest"], &["faa"]),
            lookup("planes", "planes", JoinKind::Left, &["tailnum"], &["tailnum"]),
            lookup("weather", "weather", JoinKind::Left, &["origin", "time_hour"], &["origin", "time_hour"]),
        ],
        dimensions: vec![
            dimension("month", "flights.month"),
            dimension("hour", "flights.hour"),
            dimension("origin", "flights.origin"),
            dimension("dest", "flights.dest"),
            dimension("dest_faa", "airports.faa"),
            dimension("dest_name", "airports.name"),
            dimension("carrier", "flights.carrier"),
            dimension("airline_carrier", "airlines.carrier"),
            dimension("airline", "airlines.name"),
            dimension("manufacturer", "planes.manufacturer"),
            dimension("engine", "planes.engine"),
        ],
        measures: vec![
            Measure { name: "flights".into(), function: MeasureFunction::Count, column: None },
            measure("distance", MeasureFunction::Sum, "flights.distance"),
            measure("longest", MeasureFunction::Max, "flights.distance"),
            measure("air_time", MeasureFunction::Sum, "flights.air_time"),
            measure("dep_delay", MeasureFunction::Avg, "flights.dep_delay"),
            measure("dep_delay_max", MeasureFunction::Max, "flights.dep_delay"),
            measure("arr_delay", MeasureFunction::Avg, "flights.arr_delay"),
            measure("arr_delay_min", MeasureFunction::Min, "flights.arr_delay"),
            measure("arr_delay_max", MeasureFunction::Max, "flights.arr_delay"),
            measure("wind", MeasureFunction::Avg, "weather.wind_speed"),
            measure("precipitation", MeasureFunction::Max, "weather.precip"),
        ],
        partition: Some(Partition { column: "time_hour".into(), format: None }),
        aggregation_groups: vec![AggregationGroup {
            include: text(&["month", "origin", "carrier", "airline_carrier", "airline"]),
            mandatory: text(&["carrier", "airline_carrier", "airline"]),
        }],
        indexes: vec![
            text(&["month", "hour"]),
            text(&["month", "origin"]),
            text(&["hour", "origin"]),
            text(&["month"]),
            text(&["origin"]),
            text(&["origin", "dest", "dest_faa", "dest_name"]),
            text(&["dest", "dest_faa", "dest_name"]),
            text(&["month", "origin", "dest", "dest_faa", "dest_name", "carrier", "airline_carrier", "airline"]),
            text(&["manufacturer", "engine"]),
            text(&["carrier", "airline_carrier", "airline", "manufacturer", "engine"]),
        ],
    }
}

/// The months of the demo's data, one segment each. Times are UTC, so the year in New York ends five hours into the
/// thirteenth month.
pub fn months() -> Vec<SegmentRange> {
    let first = |month: u32| {
        let (year, month) = if month > 12 { (2014, month - 12) } else { (2013, month) };
        let day = chrono::NaiveDate::from_ymd_opt(year, month, 1).unwrap_or_default();
        day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_millis()
    };
    (1..=13).map(|m| SegmentRange::Time { start_ms: first(m), end_ms: first(m + 1) }).collect()
}
