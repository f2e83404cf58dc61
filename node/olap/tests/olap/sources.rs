//! Unusual sources: files, names, values. Raw tables and indexes give the right answer, or both refuse with the cause.

use crate::shop::*;
use arrow_array::*;
use arrow_schema::{Field, Schema};
use kirin_olap::*;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A directory of files, and an engine.
pub(crate) struct Files {
    pub(crate) dir: TempDir,
    pub(crate) engine: Engine,
}

impl Files {
    pub(crate) fn new() -> Files {
        let engine = Engine::new(EngineConfig { threads: 2, ..EngineConfig::anywhere() }).unwrap();
        Files { dir: tempfile::tempdir().unwrap(), engine }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("t").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn text(self, name: &str, content: impl AsRef<[u8]>) -> Files {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    pub(crate) fn parquet(self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Files {
        write_parquet(&self.path(name), columns);
        self
    }

    pub(crate) fn source(&self, format: Format) -> Source {
        Source { format, location: self.dir.path().join("t").display().to_string(), csv: None, granted: None }
    }

    /// The table `t`, as `table add` defines it.
    pub(crate) async fn add(&self, source: Source) -> Result<Table> {
        let described = self.engine.describe(&source).await?;
        let table = Table { name: "t".into(), source, columns: described.columns };
        self.engine.check(&table).await?;
        Ok(table)
    }

    pub(crate) fn snapshot(&self, table: Table) -> Arc<Snapshot> {
        self.engine.open(Catalog { tables: vec![table], ..Catalog::default() }).unwrap()
    }

    /// The answer of the raw table `t`.
    pub(crate) async fn raw(&self, source: Source, sql: &str) -> Vec<String> {
        let snapshot = self.snapshot(self.add(source).await.unwrap());
        shown(&snapshot.ask(sql, raw()).await.unwrap_or_else(|e| panic!("{sql}: {e}")))
    }

    /// A snapshot with a model over `t` that was built in full.
    pub(crate) async fn built(&self, table: Table, model: serde_json::Value) -> Result<Arc<Snapshot>> {
        self.built_star(vec![table], model).await
    }

    /// The same over several tables.
    pub(crate) async fn built_star(&self, tables: Vec<Table>, model: serde_json::Value) -> Result<Arc<Snapshot>> {
        let model: Model = serde_json::from_value(model).unwrap();
        let segment = self.segment(&tables, &model).await?;
        self.engine.open(Catalog { tables, models: vec![model], segments: vec![segment] })
    }

    /// A full build.
    pub(crate) async fn segment(&self, tables: &[Table], model: &Model) -> Result<Segment> {
        let job = BuildJob { model: model.clone(), tables: tables.to_vec(), range: SegmentRange::Full };
        let mut prior = vec![];
        let mut manifest = None;
        for step in 0..plan(model).unwrap().steps.len() {
            let dir = self.dir.path().join(format!("build/{step}"));
            let result = self.engine.run_step(&job, step, &prior, &dir, Arc::new(|_| {}), &Cancel::default()).await?;
            manifest = result.manifest().cloned();
            prior.push(serde_json::to_value(result).unwrap());
        }
        Ok(Segment { id: "1".into(), model: model.name.clone(), range: job.range, manifest: manifest.unwrap() })
    }
}

pub(crate) fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<_> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, a)| a).collect()).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(std::fs::File::create(path).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(crate) fn array(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

pub(crate) fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn csv(delimiter: Option<char>, header: bool, null_value: Option<&str>) -> Option<CsvOptions> {
    Some(CsvOptions { header, delimiter, null_value: null_value.map(str::to_owned) })
}

pub(crate) fn model(dimensions: &[&str], measures: &[(&str, &str)]) -> serde_json::Value {
    serde_json::json!({
        "name": "m", "fact": "t",
        "dimensions": dimensions.iter().map(|d| serde_json::json!({"name": d, "column": format!("t.{d}")})).collect::<Vec<_>>(),
        "measures": measures.iter().enumerate()
            .map(|(i, (f, c))| serde_json::json!({"name": format!("m{i}"), "function": f, "column": format!("t.{c}")}))
            .collect::<Vec<_>>(),
    })
}

fn types(table: &Table) -> Vec<(&str, &str)> {
    table.columns.iter().map(|c| (c.name.as_str(), c.type_name.as_str())).collect()
}

#[tokio::test]
async fn newlines_between_quotes_do_not_end_a_record() {
    let mut content = "name,address,n\r\n".to_string();
    for i in 0..60_000 {
        write!(content, "Customer {i},\"{} Main Street\nSpringfield, \"\"XY\"\"\",{i}\r\n", i % 900).unwrap();
    }
    let files = Files::new().text("a.csv", &content);
    let sql =
        "SELECT COUNT(*), SUM(n), SUM(CASE WHEN name LIKE 'Spring%' THEN 1 ELSE 0 END), COUNT(DISTINCT address) FROM t";
    assert_eq!(files.raw(files.source(Format::Csv), sql).await, ["60000 1799970000 0 900"]);
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let snapshot = files.built(table, model(&["address"], &[("SUM", "n")])).await.unwrap();
    let answer = snapshot.ask("SELECT COUNT(*), SUM(n) FROM t", index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["60000 1799970000"]);
}

#[tokio::test]
async fn columns_of_delimited_files_are_found_by_name() {
    let files =
        Files::new().text("1.csv", "a,b\n10,20\n").text("2.csv", "B,a\n10,20\n").text("3.csv", "a,b,c\n1,2,x\n");
    let sql = "SELECT a, b, c FROM t ORDER BY a";
    assert_eq!(files.raw(files.source(Format::Csv), sql).await, ["1 2 x", "10 20 -", "20 10 -"]);
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let snapshot = files.built(table.clone(), model(&["a", "b", "c"], &[])).await.unwrap();
    let answer = snapshot.ask("SELECT a, b, c FROM t GROUP BY a, b, c ORDER BY a", index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["1 2 x", "10 20 -", "20 10 -"]);
    // A later file without a header would lose its first row.
    let files = files.text("4.csv", "7,8,y\n9,9,z\n");
    let error = files.snapshot(table.clone()).ask(sql, raw()).await.unwrap_err().to_string();
    assert!(error.contains("4.csv begins with a field \"7\"") && error.contains("header is missing"), "{error}");
    let error = files.built(table, model(&["a"], &[])).await.unwrap_err().to_string();
    assert!(error.contains("4.csv begins with a field \"7\""), "{error}");
}

#[tokio::test]
async fn added_columns_are_null_in_older_files_and_integers_are_widened() {
    let files = Files::new()
        .parquet("1.parquet", vec![("a", array(Int32Array::from(vec![1, 2])))])
        .parquet("2.parquet", vec![("b", array(StringArray::from(vec!["x"]))), ("A", ints(&[3_000_000_000]))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    assert_eq!(types(&table), [("a", "BIGINT"), ("b", "VARCHAR")]);
    let right = ["1 -", "2 -", "3000000000 x"];
    assert_eq!(files.raw(files.source(Format::Parquet), "SELECT a, b FROM t ORDER BY a").await, right);
    assert_eq!(files.raw(files.source(Format::Parquet), "SELECT COUNT(*), COUNT(b) FROM t").await, ["3 1"]);
    assert_eq!(
        files.raw(files.source(Format::Parquet), "SELECT a FROM t WHERE b = 'x' AND a > 2").await,
        ["3000000000"]
    );
    let snapshot = files.built(table, model(&["a", "b"], &[])).await.unwrap();
    let answer = snapshot.ask("SELECT a, b FROM t GROUP BY a, b ORDER BY a", index_only()).await.unwrap();
    assert_eq!(shown(&answer), right);
}

#[tokio::test]
async fn unsupported_types_are_refused_when_a_table_is_added() {
    let files = Files::new()
        .parquet("1.parquet", vec![("a", ints(&[1]))])
        .parquet("2.parquet", vec![("a", array(StringArray::from(vec!["x"])))]);
    let error = files.add(files.source(Format::Parquet)).await.unwrap_err().to_string();
    for part in ["\"a\"", "BIGINT in", "1.parquet", "VARCHAR in", "2.parquet"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn hidden_files_are_not_data() {
    let four = || vec![("v", ints(&[400]))];
    let files = Files::new()
        .parquet("part-0.parquet", vec![("v", ints(&[3]))])
        .parquet(".hidden.parquet", four())
        .parquet("._x.parquet", four())
        .parquet("_old.parquet", four())
        .parquet("_temporary/0/part.parquet", four())
        .parquet("backup/part.parquet", four())
        .text("_SUCCESS", "");
    assert_eq!(files.raw(files.source(Format::Parquet), "SELECT SUM(v) FROM t").await, ["3"]);
    let described = files.engine.describe(&files.source(Format::Parquet)).await.unwrap();
    assert!(
        described.notes[0].contains("_old.parquet") && described.notes[0].contains("backup/"),
        "{:?}",
        described.notes
    );
    let mut glob = files.source(Format::Parquet);
    glob.location.push_str("/*.parquet");
    assert_eq!(files.raw(glob.clone(), "SELECT SUM(v) FROM t").await, ["3"]);
    glob.location = glob.location.replace("*.parquet", "**/*.parquet");
    assert_eq!(files.raw(glob, "SELECT SUM(v) FROM t").await, ["403"]);
}

#[tokio::test]
async fn partition_directories_are_columns() {
    let files = Files::new()
        .parquet("dt=2024-02-28/region=a%2Fb/part.parquet", vec![("v", ints(&[1]))])
        .parquet("dt=2024-02-29/region=__HIVE_DEFAULT_PARTITION__/part.parquet", vec![("v", ints(&[2]))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    assert_eq!(types(&table), [("v", "BIGINT"), ("dt", "DATE"), ("region", "VARCHAR")]);
    let sql = "SELECT region, dt, v FROM t ORDER BY dt";
    assert_eq!(files.raw(files.source(Format::Parquet), sql).await, ["a/b 2024-02-28 1", "- 2024-02-29 2"]);
    let sql = "SELECT SUM(v) FROM t WHERE dt > '2024-02-28'";
    assert_eq!(files.raw(files.source(Format::Parquet), sql).await, ["2"]);
    let snapshot = files.built(table.clone(), model(&["dt", "region"], &[("SUM", "v")])).await.unwrap();
    let sql = "SELECT dt, SUM(v) FROM t GROUP BY dt ORDER BY dt";
    assert_eq!(shown(&snapshot.ask(sql, index_only()).await.unwrap()), ["2024-02-28 1", "2024-02-29 2"]);
    let files = files.parquet("dt=tomorrow/region=c/part.parquet", vec![("v", ints(&[2]))]);
    let error = files.snapshot(table).ask("SELECT SUM(v) FROM t", raw()).await.unwrap_err().to_string();
    assert!(error.contains("dt=tomorrow is not a DATE"), "{error}");
    let texts = Files::new().text("y=2024/1.csv", "v\n1\n").text("y=2023/1.csv", "v\n2\n");
    assert_eq!(texts.raw(texts.source(Format::Csv), "SELECT y, v FROM t ORDER BY 1").await, ["2023 2", "2024 1"]);
}

#[tokio::test]
async fn file_names_may_have_any_character() {
    let names = [
        "p=x%3Ay.parquet",
        "[1].parquet",
        "a b#c.parquet",
        "ü?.parquet",
        "UPPER.PARQUET",
        "back\\slash.parquet",
        "s*r.parquet",
        "q'\"+&.parquet",
    ];
    let mut files = Files::new();
    for name in names {
        files = files.parquet(name, vec![("v", ints(&[1]))]);
    }
    assert_eq!(files.raw(files.source(Format::Parquet), "SELECT COUNT(*), SUM(v) FROM t").await, ["8 8"]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.built(table, model(&["v"], &[])).await.unwrap();
    assert_eq!(shown(&snapshot.ask("SELECT v, COUNT(*) FROM t GROUP BY v", index_only()).await.unwrap()), ["1 8"]);
    for name in names {
        let mut one = files.source(Format::Parquet);
        one.location = format!("{}/{name}", one.location);
        assert_eq!(files.raw(one, "SELECT COUNT(*) FROM t").await, ["1"], "{name}");
    }
}

#[tokio::test]
async fn delimited_text_is_read_as_it_is_written() {
    let bytes = b"\xef\xbb\xbfid;name\r\n1;Ann\r\n2;B\xc3\xb6b\r\n".to_vec();
    let files = Files::new().text("t.csv", &bytes);
    let error = files.add(files.source(Format::Csv)).await.unwrap_err().to_string();
    assert!(
        error.contains("\"id;name\"") && error.contains("--delimiter ';'") && error.contains("csv.delimiter"),
        "{error}"
    );
    let source = Source { csv: csv(Some(';'), true, None), ..files.source(Format::Csv) };
    assert_eq!(files.raw(source.clone(), "SELECT id, name FROM t ORDER BY id").await, ["1 Ann", "2 Böb"]);
    let files = Files::new().text("t.TSV", "id\tv\n1\t2\n");
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT id, v FROM t").await, ["1 2"]);
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, b"\xef\xbb\xbfid,v\n1,2\n").unwrap();
    let packed = gzip.finish().unwrap();
    // Two members, as `cat a.gz b.gz` writes them.
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, b"3,4\n").unwrap();
    let packed = [packed, gzip.finish().unwrap()].concat();
    let files = Files::new().text("t.csv.gz", &packed);
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT id, v FROM t ORDER BY 1").await, ["1 2", "3 4"]);
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let files = files.text("t.csv.gz", &packed[..packed.len() - 9]);
    let error = files.snapshot(table).ask("SELECT COUNT(id) FROM t", raw()).await.unwrap_err().to_string();
    assert!(error.contains("t.csv.gz: cannot be decompressed"), "{error}");
    let files = Files::new().text("1.csv", "1,x\n2,y\n").text("2.csv", "");
    let source = Source { csv: csv(None, false, None), ..files.source(Format::Csv) };
    assert_eq!(files.raw(source, "SELECT column_1, column_2 FROM t ORDER BY 1").await, ["1 x", "2 y"]);
}

#[tokio::test]
async fn inferred_types_keep_every_value() {
    let late: String = (0..1500).map(|i| format!("{i},{i}\n")).collect();
    let files = Files::new().text("t.csv", format!("id,v\n{late}1500,2.5\n"));
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT SUM(v) FROM t").await, ["1124252.5"]);
    let files = Files::new().text("t.csv", format!("id,v\n{late}1500,n/a\n"));
    let sql = "SELECT COUNT(*), MAX(v) FROM t";
    assert_eq!(files.raw(files.source(Format::Csv), sql).await, ["1501 n/a"]);
    let source = Source { csv: csv(None, true, Some("n/a")), ..files.source(Format::Csv) };
    assert_eq!(files.raw(source, "SELECT COUNT(*), COUNT(v), SUM(v) FROM t").await, ["1501 1500 1124250"]);
    let files = Files::new().text("t.csv", "zip,v\n01234,1\n00501,2\n");
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT zip FROM t ORDER BY v").await, ["01234", "00501"]);
    let files = Files::new().text("t.csv", "id,fax,v\n1,,5\n2,,6\n");
    let described = files.engine.describe(&files.source(Format::Csv)).await.unwrap();
    assert!(described.notes.iter().any(|n| n.contains("\"fax\" is VARCHAR: it has no value")), "{:?}", described.notes);
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT * FROM t ORDER BY id").await, ["1 - 5", "2 - 6"]);
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let snapshot = files.built(table, model(&["id", "fax"], &[("SUM", "v")])).await.unwrap();
    let answer = snapshot.ask("SELECT id, fax, SUM(v) FROM t GROUP BY 1, 2 ORDER BY 1", index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["1 - 5", "2 - 6"]);
    // Larger than the bound for reading whole files: the deciding value is in the middle, or at the end.
    for at in [1_550_000, 2_999_999] {
        let mut content = "id,v,text\n".to_string();
        for i in 0..3_000_000 {
            let v = if i / 1000 == at / 1000 { "0.5" } else { "1" };
            writeln!(content, "{i},{v},\"some, text\"").unwrap();
        }
        assert!(content.len() > 64 << 20);
        let files = Files::new().text("t.csv", &content);
        let table = files.add(files.source(Format::Csv)).await.unwrap();
        assert_eq!(types(&table), [("id", "BIGINT"), ("v", "DOUBLE"), ("text", "VARCHAR")]);
    }
}

#[tokio::test]
async fn declared_types_are_authoritative_and_errors_show_the_value() {
    let files = Files::new().text("t.csv", "id,v\n1,2.5\n2,oops\n3,1.239\n");
    let mut table = files.add(files.source(Format::Csv)).await.unwrap();
    for (type_name, value, record) in [("DOUBLE", "oops", 2), ("DECIMAL(9,2)", "1.239", 3), ("INTEGER", "2.5", 1)] {
        table.columns[1].type_name = type_name.into();
        let error = files.snapshot(table.clone()).ask("SELECT SUM(v) FROM t", raw()).await.unwrap_err().to_string();
        let told = format!("t.csv: record {record}, column \"v\": '{value}' is not a {type_name}");
        assert!(error.contains(&told), "{type_name}: {error}");
    }
    table.columns[1].type_name = "VARCHAR".into();
    assert_eq!(shown(&files.snapshot(table).ask("SELECT MAX(v) FROM t", raw()).await.unwrap()), ["oops"]);
    let files = Files::new().text("t.csv", "id,v\n1,2\n3\n");
    let error = files.add(files.source(Format::Csv)).await.unwrap_err().to_string();
    assert!(error.contains("t.csv: record 3 has 1 fields, not 2"), "{error}");
}

#[tokio::test]
async fn a_source_that_cannot_be_opened_is_refused_when_it_is_added() {
    let files = Files::new().text("t.csv", "");
    let error = files.add(files.source(Format::Csv)).await.unwrap_err().to_string();
    assert!(error.contains("t.csv: is empty"), "{error}");
    let files = Files::new().text("t.parquet", "");
    let error = files.add(files.source(Format::Parquet)).await.unwrap_err().to_string();
    assert!(error.contains("t.parquet: is empty"), "{error}");
    let files = Files::new().text("t.csv", "Name,name\nx,y\n");
    let error = files.add(files.source(Format::Csv)).await.unwrap_err().to_string();
    assert!(error.contains("t.csv") && error.contains("\"Name\" and \"name\""), "{error}");
    let files = Files::new().parquet("t.parquet", vec![("ID", ints(&[1])), ("id", ints(&[2]))]);
    let error = files.add(files.source(Format::Parquet)).await.unwrap_err().to_string();
    assert!(error.contains("t.parquet") && error.contains("\"ID\" and \"id\""), "{error}");
    for delimiter in ['§', '"', '\n'] {
        let files = Files::new().text("t.csv", "a§b\n1§2\n");
        let source = Source { csv: csv(Some(delimiter), true, None), ..files.source(Format::Csv) };
        let error = files.add(source).await.unwrap_err().to_string();
        assert!(error.contains("csv.delimiter") && error.contains("one ASCII character"), "{error}");
    }
    let wrong = serde_json::json!({"format": "csv", "location": "/d", "csv": {"delimiter": "||"}});
    assert!(serde_json::from_value::<Source>(wrong).is_err());
    // A file with only a header is a table without rows.
    let files = Files::new().text("t.csv", "id,name\n");
    assert_eq!(files.raw(files.source(Format::Csv), "SELECT COUNT(*) FROM t").await, ["0"]);
    let table = files.add(files.source(Format::Csv)).await.unwrap();
    let snapshot = files.built(table, model(&["id", "name"], &[])).await.unwrap();
    assert_eq!(shown(&snapshot.ask("SELECT COUNT(*) FROM t", index_only()).await.unwrap()), ["0"]);
}

#[tokio::test]
async fn a_missing_source_is_an_error_instead_of_an_empty_table() {
    let files = Files::new().text("t.csv", "id,v\n1,2\n");
    let source = files.source(Format::Csv);
    let table = files.add(source.clone()).await.unwrap();
    let snapshot = files.snapshot(table.clone());
    assert_eq!(shown(&snapshot.ask("SELECT COUNT(*) FROM t", raw()).await.unwrap()), ["1"]);
    std::fs::remove_file(files.path("t.csv")).unwrap();
    let gone = |error: Error| {
        let error = error.to_string();
        assert!(error.contains(&source.location), "{error}");
    };
    gone(snapshot.ask("SELECT COUNT(*) FROM t", raw()).await.unwrap_err());
    gone(files.built(table.clone(), model(&["id"], &[])).await.unwrap_err());
    std::fs::remove_dir_all(&source.location).unwrap();
    gone(snapshot.ask("SELECT COUNT(*) FROM t", raw()).await.unwrap_err());
    gone(files.add(source.clone()).await.unwrap_err());
}

#[tokio::test]
async fn a_file_replaced_by_one_of_the_same_length_and_time_is_another_file() {
    let files = Files::new().parquet("t.parquet", vec![("v", ints(&[1, 2, 3]))]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let snapshot = files.snapshot(table.clone());
    assert_eq!(shown(&snapshot.ask("SELECT SUM(v) FROM t WHERE v < 10", raw()).await.unwrap()), ["6"]);
    let model: Model = serde_json::from_value(model(&["v"], &[])).unwrap();
    let job = BuildJob { model, tables: vec![table], range: SegmentRange::Full };
    let step = async |step: usize, prior: &[serde_json::Value]| {
        let dir = files.dir.path().join(step.to_string());
        files.engine.run_step(&job, step, prior, &dir, Arc::new(|_| {}), &Cancel::default()).await
    };
    let detected = serde_json::to_value(step(0, &[]).await.unwrap()).unwrap();
    let path = files.path("t.parquet");
    let before = std::fs::metadata(&path).unwrap();
    let other = files.path("other.tmp");
    write_parquet(&other, vec![("v", ints(&[7, 8, 9]))]);
    std::fs::File::options().write(true).open(&other).unwrap().set_modified(before.modified().unwrap()).unwrap();
    std::fs::rename(&other, &path).unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
    assert_eq!(shown(&snapshot.ask("SELECT SUM(v) FROM t WHERE v < 10", raw()).await.unwrap()), ["24"]);
    let error = step(1, &[detected]).await.unwrap_err().to_string();
    assert!(error.contains("t.parquet changed since the build began"), "{error}");
}

#[tokio::test]
async fn a_stored_table_that_does_not_open_does_not_affect_others() {
    let files = Files::new().text("t.csv", "id,v\n1,2\n");
    let good = files.add(files.source(Format::Csv)).await.unwrap();
    let mut bad = Table { name: "bad".into(), ..good.clone() };
    bad.columns[0].name = "V".into();
    let models = ["t", "bad"].map(|fact| {
        let mut json = model(&["v"], &[]);
        json["name"] = format!("over_{fact}").into();
        json["fact"] = fact.into();
        json["dimensions"][0]["column"] = format!("{fact}.v").into();
        serde_json::from_value::<Model>(json).unwrap()
    });
    let catalog = Catalog { tables: vec![bad, good], models: models.into(), segments: vec![] };
    let snapshot = files.engine.open(catalog).unwrap();
    let broken: Vec<_> = snapshot.broken().iter().map(|b| (b.kind.as_str(), b.name.as_str())).collect();
    assert_eq!(broken, [("table", "bad"), ("model", "over_bad")]);
    assert_eq!(shown(&snapshot.ask("SELECT SUM(v) FROM t", raw()).await.unwrap()), ["2"]);
    let error = snapshot.ask("SELECT COUNT(*) FROM bad", raw()).await.unwrap_err().to_string();
    assert!(error.contains("\"bad\" cannot be used") && error.contains("differ only in case"), "{error}");
}

#[tokio::test]
async fn odd_values_of_floats_are_ordered_grouped_and_found() {
    let x: ArrayRef =
        Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), Some(-0.0), Some(0.0), None, Some(f64::INFINITY)]));
    let files = Files::new().parquet("t.parquet", vec![("x", x)]);
    let table = files.add(files.source(Format::Parquet)).await.unwrap();
    let built = files.built(table, model(&["x"], &[("MIN", "x"), ("MAX", "x")])).await.unwrap();
    for (sql, right) in [
        ("SELECT COUNT(*) FROM t WHERE x = 'NaN'", vec!["1"]),
        ("SELECT COUNT(*) FROM t WHERE x = CAST('NaN' AS DOUBLE)", vec!["1"]),
        ("SELECT COUNT(*) FROM t WHERE x > 5", vec!["2"]),
        ("SELECT COUNT(*) FROM t WHERE x = 0", vec!["2"]),
        ("SELECT MAX(x), MIN(x) FROM t", vec!["NaN 0.0"]),
        ("SELECT MAX(x), MIN(x) FROM t WHERE x < CAST('NaN' AS DOUBLE)", vec!["inf 0.0"]),
        ("SELECT MIN(x) FROM t WHERE x > 1", vec!["inf"]),
        ("SELECT MIN(x), MAX(x) FROM t WHERE x = 'NaN'", vec!["NaN NaN"]),
        ("SELECT MIN(x), MAX(x) FROM t WHERE x < -1", vec!["- -"]),
        (
            "SELECT x, COUNT(*), MIN(x), MAX(x) FROM t GROUP BY x ORDER BY x",
            vec!["0.0 2 0.0 0.0", "1.0 1 1.0 1.0", "inf 1 inf inf", "NaN 1 NaN NaN", "- 1 - -"],
        ),
    ] {
        for options in [raw(), index_only()] {
            let answer = built.ask(sql, options.clone()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
            assert_eq!(shown(&answer), right, "{sql} {options:?}");
        }
    }
    for sql in ["SELECT x FROM t ORDER BY x DESC NULLS LAST LIMIT 2", "SELECT x FROM t WHERE x > 1 ORDER BY x DESC"] {
        assert_eq!(shown(&built.ask(sql, raw()).await.unwrap()), ["NaN", "inf"], "{sql}");
    }
}
