//! Models resolved against their tables: names are folded, columns are found, types are known.
//!
//! Builds and queries use the resolved model instead of the strings of the definition. A definition that resolves cannot
//! fail later because of a misspelt name.

use crate::error::Result;
use crate::measure::{MeasureFunction, Partial};
use crate::model::{Cuboid, JoinKind, Model};
use crate::partition::PartitionKind;
use crate::relation::StarColumn;
use crate::sql_type::SqlType;
use crate::table::{Column, Table, fold, table_key};
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use std::hash::Hasher;
use std::sync::Arc;

#[derive(Debug, Clone)]
pub(crate) struct StarLookup {
    pub(crate) alias: String,
    pub(crate) table: Arc<Table>,
    pub(crate) join: JoinKind,
    pub(crate) keys: Vec<LookupKey>,
}

/// One pair of joined columns, folded.
#[derive(Debug, Clone)]
pub(crate) struct LookupKey {
    pub(crate) fact: String,
    pub(crate) lookup: String,
    /// Whether both are integers, possibly of different width.
    pub(crate) integers: bool,
    /// Whether both have the same type, so that equal values are identical.
    pub(crate) same_type: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct StarPartition {
    pub(crate) column: StarColumn,
    pub(crate) kind: PartitionKind,
}

/// A resolved model.
#[derive(Debug, Clone)]
pub(crate) struct Star {
    pub(crate) model: Arc<Model>,
    pub(crate) alias: String,
    pub(crate) fact: Arc<Table>,
    pub(crate) lookups: Vec<StarLookup>,
    pub(crate) dimensions: Vec<(StarColumn, SqlType)>,
    pub(crate) partials: Vec<Partial>,
    pub(crate) partition: Option<StarPartition>,
    pub(crate) cuboids: Vec<Cuboid>,
}

impl Star {
    pub(crate) fn resolve(model: &Model, tables: &[Table]) -> Result<Star> {
        let find = |field: &str, name: &str| {
            tables
                .iter()
                .find(|t| t.key() == table_key(name))
                .cloned()
                .map(Arc::new)
                .ok_or_else(|| model.invalid(field, format!("there is no table \"{name}\"; define it first")))
        };
        if model.name.trim().is_empty() {
            return Err(model.invalid("name", "is empty"));
        }
        let fact = find("fact", &model.fact)?;
        fact.validate()?;
        let mut star = Star {
            model: Arc::new(model.clone()),
            alias: fold(model.fact_alias()),
            fact,
            lookups: vec![],
            dimensions: vec![],
            partials: vec![Partial::rows()],
            partition: None,
            cuboids: model.cuboids()?,
        };
        for (i, lookup) in model.lookups.iter().enumerate() {
            let field = |part: &str| format!("lookups[{i}].{part}");
            let table = find(&field("table"), &lookup.table)?;
            table.validate()?;
            let alias = fold(lookup.alias());
            if alias == star.alias || star.lookups.iter().any(|l| l.alias == alias) {
                return Err(
                    model.invalid(field("alias"), format!("\"{alias}\" is used twice; give each table its own"))
                );
            }
            if lookup.fact_key.is_empty() || lookup.fact_key.len() != lookup.lookup_key.len() {
                return Err(
                    model.invalid(field("lookup_key"), "must name as many columns as \"fact_key\", at least one")
                );
            }
            let mut keys = vec![];
            for (k, (fact_key, lookup_key)) in lookup.fact_key.iter().zip(&lookup.lookup_key).enumerate() {
                let (fact_column, lookup_column) = (last_part(fact_key), last_part(lookup_key));
                let Some(fact_type) = star.fact.column_type(&fact_column) else {
                    return Err(model.invalid(
                        field(&format!("fact_key[{k}]")),
                        format!("table \"{}\" has no column \"{fact_key}\"", model.fact),
                    ));
                };
                let Some(lookup_type) = table.column_type(&lookup_column) else {
                    return Err(model.invalid(
                        field(&format!("lookup_key[{k}]")),
                        format!("table \"{}\" has no column \"{lookup_key}\"", lookup.table),
                    ));
                };
                if fact_type != lookup_type && !(fact_type.is_integer() && lookup_type.is_integer()) {
                    return Err(model.invalid(
                        field(&format!("lookup_key[{k}]")),
                        format!(
                            "joins {} with {}; declare both columns with the same type",
                            fact_type.full_name(),
                            lookup_type.full_name()
                        ),
                    ));
                }
                keys.push(LookupKey {
                    fact: fact_column,
                    lookup: lookup_column,
                    integers: fact_type.is_integer() && lookup_type.is_integer(),
                    same_type: fact_type == lookup_type,
                });
            }
            star.lookups.push(StarLookup { alias, table, join: lookup.join, keys });
        }
        for (i, dimension) in model.dimensions.iter().enumerate() {
            let field = format!("dimensions[{i}].column");
            let (column, sql_type) = star.column(&field, &dimension.column)?;
            if star.dimensions.iter().any(|(other, _)| *other == column) {
                return Err(model.invalid(field, format!("\"{column}\" is already a dimension")));
            }
            star.dimensions.push((column, sql_type));
        }
        for (i, measure) in model.measures.iter().enumerate() {
            star.add_measure(i, measure.function, measure.column.as_deref())?;
        }
        if let Some(partition) = &model.partition {
            let column = StarColumn { alias: star.alias.clone(), column: last_part(&partition.column) };
            let stated = fold(&partition.column);
            let sql_type = star
                .fact
                .column_type(&column.column)
                .filter(|_| stated == column.column || stated == column.to_string());
            let Some(sql_type) = sql_type else {
                return Err(model.invalid(
                    "partition.column",
                    format!("the fact table \"{}\" has no column \"{}\"", model.fact, partition.column),
                ));
            };
            let kind = PartitionKind::of(sql_type, partition.format.as_deref())
                .map_err(|problem| model.invalid("partition.format", problem))?;
            star.partition = Some(StarPartition { column, kind });
        }
        Ok(star)
    }

    fn add_measure(&mut self, i: usize, function: MeasureFunction, column: Option<&str>) -> Result<()> {
        let field = format!("measures[{i}].column");
        let measure = function.kind();
        let Some(text) = column.filter(|c| !matches!(*c, "*" | "1" | "")) else {
            return match measure.needs_column() {
                false => Ok(()),
                true => {
                    let name = measure.aggregate().to_uppercase();
                    Err(self.model.invalid(field, format!("is missing; {name} needs one, as \"alias.column\"")))
                }
            };
        };
        let (column, sql_type) = self.column(&field, text)?;
        let stored = measure.partials(text, sql_type).map_err(|problem| self.model.invalid(&field, problem))?;
        for (kind, sql_type) in stored {
            let partial = Partial { kind, column: Some(column.clone()), sql_type };
            if !self.partials.contains(&partial) {
                self.partials.push(partial);
            }
        }
        Ok(())
    }

    fn column(&self, field: &str, text: &str) -> Result<(StarColumn, SqlType)> {
        let Some((alias, column)) = text.split_once('.') else {
            return Err(self.model.invalid(field, format!("\"{text}\" has no alias; write \"alias.column\"")));
        };
        let (alias, column) = (fold(alias), fold(column));
        let Some(table) = self.table(&alias) else {
            let known: Vec<_> =
                std::iter::once(&self.alias).chain(self.lookups.iter().map(|l| &l.alias)).cloned().collect();
            return Err(self.model.invalid(field, format!("\"{alias}\" is none of the aliases {}", known.join(", "))));
        };
        match table.column_type(&column) {
            Some(sql_type) => Ok((StarColumn { alias, column }, sql_type)),
            None => Err(self.model.invalid(field, format!("table \"{}\" has no column \"{column}\"", table.name))),
        }
    }

    /// The table behind an alias.
    pub(crate) fn table(&self, alias: &str) -> Option<&Arc<Table>> {
        if alias == self.alias {
            return Some(&self.fact);
        }
        self.lookups.iter().find(|l| l.alias == alias).map(|l| &l.table)
    }

    pub(crate) fn column_type(&self, column: &StarColumn) -> Option<SqlType> {
        self.table(&column.alias)?.column_type(&column.column)
    }

    /// Columns of a cuboid's files: its dimensions, then every partial.
    pub(crate) fn layout_schema(&self, cuboid: Cuboid) -> SchemaRef {
        let dimensions = cuboid.dimensions().map(|i| &self.dimensions[i]);
        let fields = dimensions
            .map(|(column, sql_type)| (column.to_string(), *sql_type))
            .chain(self.partials.iter().map(|p| (p.name(), p.sql_type)))
            .map(|(name, sql_type)| Field::new(name, sql_type.arrow(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Columns of the flat table.
    pub(crate) fn flat_schema(&self) -> SchemaRef {
        let fields = self.flat_columns().into_iter().map(|c| {
            let sql_type = self.column_type(&c).unwrap_or(SqlType::Varchar);
            Field::new(c.to_string(), sql_type.arrow(), true)
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The columns of a layout's files as a manifest records them.
    pub(crate) fn layout_columns(&self, cuboid: Cuboid) -> Vec<Column> {
        let dimensions = cuboid.dimensions().map(|i| &self.dimensions[i]);
        dimensions
            .map(|(c, t)| Column { name: c.to_string(), type_name: t.full_name() })
            .chain(self.partials.iter().map(|p| Column { name: p.name(), type_name: p.sql_type.full_name() }))
            .collect()
    }

    /// Columns of the flat table: dimensions and measured columns, each once.
    pub(crate) fn flat_columns(&self) -> Vec<StarColumn> {
        let mut columns: Vec<StarColumn> = self.dimensions.iter().map(|(c, _)| c.clone()).collect();
        for column in self.partials.iter().filter_map(|p| p.column.as_ref()) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        columns
    }

    /// A hash of the definition of the joined rows: tables, joins, partition column. A segment with another signature cannot
    /// answer for this model.
    pub(crate) fn signature(&self) -> String {
        let mut hash = twox_hash::XxHash64::with_seed(0);
        let mut put = |text: &str| {
            hash.write(text.as_bytes());
            hash.write_u8(0);
        };
        put(&self.fact.key());
        put(&self.alias);
        for lookup in &self.lookups {
            put(&lookup.alias);
            put(&lookup.table.key());
            let keys: Vec<_> = lookup.keys.iter().map(|k| (&k.fact, &k.lookup)).collect();
            put(&format!("{:?} {keys:?}", lookup.join));
        }
        if let Some(partition) = &self.partition {
            put(&format!("{} {:?}", partition.column, partition.kind));
        }
        format!("{:016x}", hash.finish())
    }
}

fn last_part(name: &str) -> String {
    fold(name.rsplit('.').next().unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Format, Source};
    use serde_json::json;

    fn table(name: &str, columns: &[(&str, &str)]) -> Table {
        Table {
            name: name.into(),
            source: Source { format: Format::Parquet, location: "/x".into(), csv: None, granted: None },
            columns: columns.iter().map(|(n, t)| Column { name: n.to_string(), type_name: t.to_string() }).collect(),
        }
    }

    fn tables() -> Vec<Table> {
        vec![
            table("sales", &[("day", "DATE"), ("shop_id", "INTEGER"), ("price", "DOUBLE"), ("note", "VARCHAR")]),
            table("geo.shops", &[("id", "BIGINT"), ("city", "VARCHAR")]),
        ]
    }

    fn model(change: impl Fn(&mut serde_json::Value)) -> Model {
        let mut json = json!({
            "name": "m", "fact": "SALES",
            "lookups": [{"table": "GEO.SHOPS", "join": "left", "fact_key": ["SHOP_ID"], "lookup_key": ["ID"]}],
            "dimensions": [{"name": "Day", "column": "SALES.DAY"}, {"name": "City", "column": "shops.City"}],
            "measures": [{"name": "n", "function": "COUNT"}, {"name": "p", "function": "AVG", "column": "sales.price"},
                         {"name": "s", "function": "SUM", "column": "sales.price"}],
            "partition": {"column": "day"}
        });
        change(&mut json);
        serde_json::from_value(json).unwrap()
    }

    fn problem(change: impl Fn(&mut serde_json::Value)) -> String {
        Star::resolve(&model(change), &tables()).unwrap_err().to_string()
    }

    #[test]
    fn names_resolve_in_any_case_and_partials_are_stored_once() {
        let star = Star::resolve(&model(|_| {}), &tables()).unwrap();
        let names: Vec<_> = star.partials.iter().map(Partial::name).collect();
        assert_eq!(names, ["count(*)", "sum(sales.price)", "count(sales.price)"]);
        assert_eq!(star.flat_columns().len(), 3);
        assert_eq!(star.layout_schema(Cuboid(0b10)).field(0).name(), "shops.city");
    }

    #[test]
    fn each_mistake_names_its_field() {
        for (change, field) in [
            (("/fact", json!("nope")), "fact"),
            (("/lookups/0/table", json!("nope")), "lookups[0].table"),
            (("/lookups/0/alias", json!("sales")), "lookups[0].alias"),
            (("/lookups/0/fact_key", json!([])), "lookups[0].lookup_key"),
            (("/lookups/0/fact_key", json!(["note"])), "lookups[0].lookup_key[0]"),
            (("/dimensions/0/column", json!("day")), "dimensions[0].column"),
            (("/dimensions/1/column", json!("SALES.day")), "dimensions[1].column"),
            (("/dimensions/1/column", json!("x.day")), "dimensions[1].column"),
            (("/measures/1/column", json!("sales.note")), "measures[1].column"),
            (("/measures/1/column", json!(null)), "measures[1].column"),
            (("/partition/column", json!("city")), "partition.column"),
            (("/partition/column", json!("shop_id")), "partition.format"),
        ] {
            let text = problem(|json| {
                let (parent, key) = change.0.rsplit_once('/').unwrap();
                let parent = json.pointer_mut(parent).unwrap();
                match key.parse::<usize>() {
                    Ok(i) => parent[i] = change.1.clone(),
                    Err(_) => parent[key] = change.1.clone(),
                }
            });
            assert!(text.starts_with(&format!("model \"m\", {field}:")), "{field}: {text}");
        }
    }

    #[test]
    fn the_signature_sees_joins_but_not_measures() {
        let plain = Star::resolve(&model(|_| {}), &tables()).unwrap().signature();
        let measured = model(|json| json["measures"] = json!([]));
        assert_eq!(plain, Star::resolve(&measured, &tables()).unwrap().signature());
        let joined = model(|json| json["lookups"][0]["join"] = json!("inner"));
        assert_ne!(plain, Star::resolve(&joined, &tables()).unwrap().signature());
    }
}
