//! A small shop: sales with two lookups, in a directory of its own.

use futures::future::BoxFuture;
use kirin_olap::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) const SALES: &str = "\
day,shop,item,qty,price,note
2020-01-05,1,apple,2,1.5,x
2020-01-20,2,pear,,2.0,
2020-01-31,3,apple,1,,y
2020-02-01,1,pear,5,2.5,x
2020-02-10,9,apple,3,1.0,
2020-03-01,,plum,4,0.5,z
,2,plum,7,0.25,z
";
pub(crate) const SHOPS: &str = "id,city,size\n1,Bonn,10\n2,Köln,20\n3,,30\n";
pub(crate) const ITEMS: &str = "name,kind\napple,fruit\npear,fruit\nplum,stone\n";

pub(crate) const JAN: SegmentRange = SegmentRange::Time { start_ms: 1_577_836_800_000, end_ms: 1_580_515_200_000 };
pub(crate) const FEB: SegmentRange = SegmentRange::Time { start_ms: 1_580_515_200_000, end_ms: 1_583_020_800_000 };

pub(crate) struct Shop {
    pub(crate) dir: TempDir,
    pub(crate) engine: Engine,
    pub(crate) tables: Vec<Table>,
    pub(crate) model: Model,
}

impl Shop {
    /// A LEFT star over `shops` and an INNER one over `items`, partitioned by day.
    pub(crate) fn open() -> Shop {
        let dir = tempfile::tempdir().unwrap();
        let tables = vec![
            table(
                dir.path(),
                "sales",
                SALES,
                &["day DATE", "shop INTEGER", "item VARCHAR", "qty BIGINT", "price DOUBLE", "note VARCHAR"],
            ),
            table(dir.path(), "shops", SHOPS, &["id BIGINT", "city VARCHAR", "size BIGINT"]),
            table(dir.path(), "items", ITEMS, &["name VARCHAR", "kind VARCHAR"]),
        ];
        let model = serde_json::from_value(json!({
            "name": "sales", "fact": "SALES",
            "lookups": [
                {"table": "SHOPS", "join": "left", "fact_key": ["SHOP"], "lookup_key": ["ID"]},
                {"table": "ITEMS", "join": "inner", "fact_key": ["ITEM"], "lookup_key": ["NAME"]}
            ],
            "dimensions": [
                {"name": "day", "column": "SALES.DAY"}, {"name": "shop", "column": "SALES.SHOP"},
                {"name": "item", "column": "SALES.ITEM"}, {"name": "shop_id", "column": "SHOPS.ID"},
                {"name": "city", "column": "SHOPS.CITY"}, {"name": "kind", "column": "ITEMS.KIND"}
            ],
            "measures": [
                {"name": "n", "function": "COUNT"}, {"name": "qty", "function": "SUM", "column": "SALES.QTY"},
                {"name": "price", "function": "AVG", "column": "SALES.PRICE"},
                {"name": "best", "function": "MAX", "column": "SALES.PRICE"}
            ],
            "partition": {"column": "DAY"},
            "indexes": [["city", "kind"], ["item"], ["day", "city"]]
        }))
        .unwrap();
        let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
        Shop { dir, engine, tables, model }
    }

    pub(crate) fn job(&self, range: SegmentRange) -> BuildJob {
        BuildJob { model: self.model.clone(), tables: self.tables.clone(), range }
    }

    pub(crate) fn attempt(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn step(
        &self,
        job: &BuildJob,
        step: usize,
        prior: &[serde_json::Value],
        dir: &Path,
    ) -> Result<StepResult> {
        self.engine.run_step(job, step, prior, dir, Arc::new(|_| {}), &Cancel::default()).await
    }

    /// Runs the first `steps` steps, each under a directory of its own, as different attempts would.
    pub(crate) async fn steps(&self, job: &BuildJob, steps: usize) -> Result<Vec<serde_json::Value>> {
        let mut prior = vec![];
        for step in 0..steps {
            let dir = self.attempt(&format!("{}/attempt={step}", job.range.segment_name()));
            let result = self.step(job, step, &prior, &dir).await?;
            prior.push(serde_json::to_value(result).unwrap());
        }
        Ok(prior)
    }

    pub(crate) async fn build(&self, range: SegmentRange) -> Result<Segment> {
        let job = self.job(range);
        let steps = plan(&job.model)?.steps.len();
        let last = self.steps(&job, steps).await?.pop().unwrap();
        let result: StepResult = serde_json::from_value(last).unwrap();
        let manifest = result.manifest().unwrap().clone();
        Ok(Segment { id: range.segment_name(), model: self.model.name.clone(), range, manifest })
    }

    pub(crate) fn snapshot(&self, segments: Vec<Segment>) -> Arc<Snapshot> {
        let (tables, models) = (self.tables.clone(), vec![self.model.clone()]);
        self.engine.open(Catalog { tables, models, segments }).unwrap()
    }
}

pub(crate) fn table(dir: &Path, name: &str, content: &str, columns: &[&str]) -> Table {
    let path = dir.join(format!("{name}.csv"));
    std::fs::write(&path, content).unwrap();
    let column = |text: &&str| {
        let (name, type_name) = text.split_once(' ').unwrap();
        Column { name: name.into(), type_name: type_name.into() }
    };
    Table {
        name: name.into(),
        source: Source { format: Format::Csv, location: path.display().to_string(), csv: None, granted: None },
        columns: columns.iter().map(column).collect(),
    }
}

pub(crate) fn index_only() -> QueryOptions {
    QueryOptions::default()
}

pub(crate) fn mixed() -> QueryOptions {
    QueryOptions { push_down: true, ..QueryOptions::default() }
}

pub(crate) fn raw() -> QueryOptions {
    QueryOptions { push_down: true, use_index: false, ..QueryOptions::default() }
}

/// A whole answer, with its rows as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answered {
    pub(crate) columns: Vec<ColumnMeta>,
    pub(crate) rows: Vec<Vec<Option<String>>>,
    pub(crate) realizations: Vec<Realization>,
    pub(crate) push_down: bool,
    pub(crate) scanned_rows: u64,
    is_partial: bool,
}

impl Answered {
    pub(crate) fn is_partial(&self) -> bool {
        self.is_partial
    }
}

/// Asks a query and reads its answer to the end.
pub(crate) trait Ask {
    fn ask(&self, sql: &str, options: QueryOptions) -> BoxFuture<'static, Result<Answered>>;
}

impl Ask for Arc<Snapshot> {
    fn ask(&self, sql: &str, options: QueryOptions) -> BoxFuture<'static, Result<Answered>> {
        let answer = self.query(sql, options);
        Box::pin(async move {
            let mut answer = answer.await?;
            let mut rows = vec![];
            while let Some(batch) = answer.next_batch().await? {
                let types =
                    |schema: SchemaRef| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
                assert_eq!(types(batch.schema()), types(answer.schema.clone()));
                rows.extend(text_rows(&batch)?);
            }
            let (cost, is_partial) = (answer.cost().expect("the stream has ended"), answer.is_partial());
            let Answer { columns, realizations, push_down, .. } = answer;
            Ok(Answered { columns, rows, realizations, push_down, scanned_rows: cost.scanned_rows, is_partial })
        })
    }
}

/// Rows as text, NULL as `-`.
pub(crate) fn shown(answer: &Answered) -> Vec<String> {
    let cell = |c: &Option<String>| c.clone().unwrap_or_else(|| "-".into());
    answer.rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" ")).collect()
}
