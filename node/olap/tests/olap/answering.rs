//! Queries: what an index answers, what it must refuse, and what the errors say.

use crate::shop::*;
use kirin_olap::*;
use std::sync::Arc;

/// Asserts that an index answers, with the raw tables' rows.
async fn answers(snapshot: &Arc<Snapshot>, sql: &str) -> Answered {
    let answer = snapshot.ask(sql, index_only()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert!(!answer.realizations.is_empty() && !answer.push_down, "{sql}");
    let mut expected = shown(&snapshot.ask(sql, raw()).await.unwrap());
    let mut found = shown(&answer);
    if !sql.contains("ORDER BY") {
        expected.sort();
        found.sort();
    }
    assert_eq!(found, expected, "{sql}");
    answer
}

/// Asserts that no index answers and that some reason contains `why`. With push-down, raw tables answer.
async fn refuses(snapshot: &Arc<Snapshot>, sql: &str, why: &str) {
    match snapshot.ask(sql, index_only()).await {
        Err(Error::NoRealization { reasons }) => {
            assert!(reasons.iter().any(|r| r.contains(why)), "{sql}: {reasons:#?}");
        }
        other => panic!("{sql}: {other:?}"),
    }
    let answer = snapshot.ask(sql, mixed()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    assert!(answer.push_down && answer.realizations.is_empty(), "{sql}");
}

async fn full() -> (Shop, Arc<Snapshot>) {
    let shop = Shop::open();
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    let snapshot = shop.snapshot(vec![segment]);
    (shop, snapshot)
}

const STAR: &str = "sales f LEFT JOIN shops s ON f.shop = s.id JOIN items i ON f.item = i.name";

#[tokio::test]
async fn equivalent_forms_of_the_star_are_answered() {
    let (_shop, snapshot) = full().await;
    for from in [
        "sales f JOIN items i ON f.item = i.name",
        "items i JOIN sales f ON i.name = f.item",
        "sales f, items i WHERE f.item = i.name",
        "sales f CROSS JOIN items i WHERE i.name = f.item AND TRUE",
        "(SELECT qty, item AS thing FROM sales) f JOIN items i ON f.thing = i.name",
        "shops s RIGHT JOIN (sales f JOIN items i ON f.item = i.name) ON f.shop = s.id",
        "items i JOIN (sales f LEFT JOIN shops s ON s.id = f.shop) ON f.item = i.name",
    ] {
        answers(&snapshot, &format!("SELECT i.kind, COUNT(*), SUM(f.qty) FROM {from} GROUP BY i.kind")).await;
    }
    answers(
        &snapshot,
        "WITH c AS (SELECT * FROM sales JOIN items ON item = name) SELECT kind, MAX(price) FROM c GROUP BY 1",
    )
    .await;
}

#[tokio::test]
async fn names_match_in_any_case_and_labels_stay_as_written() {
    let (_shop, snapshot) = full().await;
    for sql in [
        "SELECT \"KIND\" AS \"Kind\", COUNT(*) FROM \"SALES\" JOIN \"ITEMS\" ON \"ITEM\" = \"NAME\" GROUP BY \"KIND\"",
        "SELECT Items.Kind AS \"Kind\", Count(*) FROM DEFAULT.SALES JOIN DEFAULT.ITEMS ON Sales.ITEM = Items.NAME GROUP BY Items.Kind",
    ] {
        let answer = answers(&snapshot, sql).await;
        assert_eq!(answer.columns[0].name, "Kind");
    }
    let answer = answers(&snapshot, "SELECT KIND, SUM(qty) FROM sales JOIN items ON item = name GROUP BY KIND").await;
    assert_eq!((answer.columns[0].name.as_str(), answer.columns[0].type_code()), ("KIND", 12));
    assert_eq!((answer.columns[1].name.as_str(), answer.columns[1].type_code()), ("SUM(qty)", -5));
}

#[tokio::test]
async fn operators_above_the_aggregation_work() {
    let (_shop, snapshot) = full().await;
    for sql in [
        "SELECT s.city, COUNT(*) c FROM {} GROUP BY s.city HAVING COUNT(*) > 1 ORDER BY c DESC, 1 NULLS FIRST LIMIT 2",
        "SELECT UPPER(s.city) || '!', SUM(f.qty) * 2 + COUNT(*) FROM {} GROUP BY s.city",
        "SELECT CASE WHEN i.kind = 'fruit' THEN 1 END k, AVG(f.price) FROM {} GROUP BY 1 ORDER BY 1",
        "SELECT MAX(c) FROM (SELECT s.city, COUNT(*) c FROM {} GROUP BY s.city)",
        "SELECT a.city, a.n, b.n FROM (SELECT s.city, COUNT(*) n FROM {} GROUP BY 1) a JOIN (SELECT s.city, SUM(qty) n FROM {} GROUP BY 1) b ON a.city = b.city ORDER BY 1",
        "SELECT s.city, COUNT(*) FROM {} WHERE s.city IN (SELECT s.city FROM {} GROUP BY s.city HAVING COUNT(*) > 1) GROUP BY 1 ORDER BY 1",
        "SELECT s.city, SUM(qty), RANK() OVER (ORDER BY SUM(qty) DESC) FROM {} GROUP BY s.city ORDER BY 1",
        "SELECT i.kind, s.city, COUNT(*) FROM {} GROUP BY ROLLUP(i.kind, s.city) ORDER BY 1, 2, 3",
        "SELECT i.kind, s.city, COUNT(*), GROUPING(s.city) FROM {} GROUP BY CUBE(i.kind, s.city) ORDER BY 1, 2, 3, 4",
        "SELECT DISTINCT s.city FROM {} ORDER BY 1",
        "SELECT i.kind FROM {} GROUP BY i.kind UNION ALL SELECT s.city FROM {} GROUP BY s.city ORDER BY 1",
        "SELECT (SELECT COUNT(*) FROM {}) AS n",
        "SELECT EXTRACT(MONTH FROM f.day) m, COUNT(*) FROM {} GROUP BY 1 ORDER BY 1",
    ] {
        answers(&snapshot, &sql.replace("{}", STAR)).await;
    }
}

#[tokio::test]
async fn aggregates_are_merged_weighted_or_read_from_dimensions() {
    let (_shop, snapshot) = full().await;
    for aggregate in [
        "COUNT(*)",
        "COUNT(1)",
        "COUNT(f.shop)",
        "COUNT(s.city)",
        "COUNT(f.price)",
        "SUM(f.qty)",
        "AVG(f.price)",
        "SUM(f.price)",
        "MAX(f.price)",
        "MIN(f.day)",
        "MAX(s.city)",
        "SUM(f.shop)",
        "AVG(f.shop)",
        "SUM(2)",
        "COUNT(DISTINCT s.city)",
        "COUNT(DISTINCT f.shop % 2)",
        "SUM(CASE WHEN i.kind = 'fruit' THEN 1 ELSE 0 END)",
        "SUM(f.qty) FILTER (WHERE s.city = 'Bonn')",
        "COUNT(*) FILTER (WHERE s.city IS NULL)",
        "SUM(CAST(f.qty AS DOUBLE))",
        "BOOL_OR(s.city = 'Bonn')",
        "COUNT(NULL)",
    ] {
        answers(&snapshot, &format!("SELECT {aggregate} FROM {STAR}")).await;
        answers(
            &snapshot,
            &format!("SELECT i.kind, {aggregate} FROM {STAR} WHERE f.day >= '2020-01-20' GROUP BY 1 ORDER BY 1"),
        )
        .await;
        answers(&snapshot, &format!("SELECT {aggregate} FROM {STAR} WHERE f.item = 'nothing'")).await;
    }
}

#[tokio::test]
async fn aggregations_beyond_the_index_are_refused_with_the_reason() {
    let (_shop, snapshot) = full().await;
    let from = STAR;
    for (sql, why) in [
        ("SELECT note, COUNT(*) FROM {} GROUP BY note", "sales.note is not a dimension of the model"),
        ("SELECT COUNT(*) FROM {} WHERE note = 'x'", "sales.note is not a dimension of the model"),
        ("SELECT MIN(f.price) FROM {}", "sales.price is not a dimension"),
        ("SELECT COUNT(f.qty) FROM {}", "the model has no measure COUNT of sales.qty"),
        ("SELECT AVG(f.qty) FROM {}", "the model has no measure AVG of sales.qty"),
        ("SELECT SUM(f.qty * f.price) FROM {}", "it is not a measure"),
        ("SELECT SUM(CAST(f.price AS BIGINT)) FROM {}", "it is not a measure"),
        ("SELECT SUM(f.qty) FILTER (WHERE note = 'x') FROM {}", "sales.note is not a dimension"),
        ("SELECT STDDEV(f.qty) FROM {}", "cannot be made from stored aggregates"),
        ("SELECT SUM(DISTINCT f.qty) FROM {}", "sales.qty is not a dimension"),
        ("SELECT COUNT(*) FROM {} WHERE RANDOM() > 2", "is volatile"),
        ("SELECT * FROM {} ORDER BY qty", "indexes answer aggregations"),
        ("SELECT COUNT(*) FROM (SELECT * FROM {} LIMIT 3)", "a LIMIT"),
        ("SELECT COUNT(*) FROM (SELECT item FROM sales UNION ALL SELECT name FROM items)", "a UNION"),
        ("SELECT SUM(r) FROM (SELECT RANK() OVER (ORDER BY qty) r FROM {})", "a window function"),
    ] {
        refuses(&snapshot, &sql.replace("{}", from), why).await;
    }
}

#[tokio::test]
async fn joins_that_could_change_the_rows_are_refused() {
    let (_shop, snapshot) = full().await;
    for (sql, why) in [
        ("SELECT COUNT(*) FROM sales", "the model joins items INNER, which may drop rows"),
        ("SELECT COUNT(*) FROM sales LEFT JOIN items ON item = name", "has dropped rows"),
        ("SELECT COUNT(*) FROM sales JOIN items ON item <> name", "the join of items does not match the model"),
        (
            "SELECT COUNT(*) FROM sales JOIN items ON item = name JOIN items j ON item = j.name",
            "the join of items does not",
        ),
        ("SELECT COUNT(*) FROM sales JOIN items ON note = name", "the join of items does not"),
        (
            "SELECT COUNT(*) FROM sales JOIN items ON item = name FULL JOIN shops ON shop = id",
            "Full joins are not answered",
        ),
        (
            "SELECT COUNT(*) FROM sales JOIN items ON item = name LEFT JOIN shops ON shop = id AND city = 'Bonn'",
            "the join of shops does not",
        ),
        (
            "SELECT COUNT(*) FROM sales JOIN items ON item = name LEFT JOIN (SELECT * FROM shops WHERE size > 10) s ON shop = id",
            "LEFT joins a filtered",
        ),
        ("SELECT COUNT(*) FROM sales JOIN items ON UPPER(item) = name", "the join of items does not"),
        ("SELECT COUNT(*) FROM shops", "does not read the fact table"),
        (
            "SELECT COUNT(*) FROM sales JOIN sales t ON sales.item = t.item JOIN items ON sales.item = name",
            "the join of sales does not",
        ),
        ("SELECT name FROM items WHERE 0 < (SELECT COUNT(*) FROM sales WHERE sales.item = items.name)", "outer query"),
    ] {
        refuses(&snapshot, sql, why).await;
    }
}

#[tokio::test]
async fn an_inner_join_on_a_left_model_needs_the_lookups_key() {
    let (mut shop, snapshot) = full().await;
    let sql =
        "SELECT i.kind, COUNT(*) FROM sales f JOIN items i ON f.item = i.name JOIN shops s ON f.shop = s.id GROUP BY 1";
    answers(&snapshot, sql).await;
    // Rows without a match have the fact's own key, too.
    shop.model.dimensions.remove(3);
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    refuses(&shop.snapshot(vec![segment]), sql, "add shops.id as a dimension of the model, or write LEFT JOIN").await;
}

#[tokio::test]
async fn a_group_that_is_named_twice_counts_once() {
    let (_shop, snapshot) = full().await;
    let from = "FROM sales f JOIN items i ON f.item = i.name LEFT JOIN shops s ON f.shop = s.id";
    answers(&snapshot, &format!("SELECT i.kind, COUNT(*) {from} GROUP BY i.kind, i.kind")).await;
    answers(&snapshot, &format!("SELECT i.kind, s.city, COUNT(*) {from} GROUP BY i.kind, s.city, i.kind")).await;
}

#[tokio::test]
async fn an_unknown_name_is_reported_with_the_known_one() {
    let mut shop = Shop::open();
    shop.model.name = "sales_model".into();
    let (model, snapshot) = (shop.model.name.clone(), shop.snapshot(vec![]));
    for (sql, expected) in [
        ("SELECT COUNT(*) FROM sale".to_owned(), "there is no table 'sale'; did you mean 'sales'?".to_owned()),
        ("SELECT COUNT(*) FROM nothing".to_owned(), "there is no table 'nothing'; tables: ".to_owned()),
        (format!("SELECT COUNT(*) FROM {model}"), format!("'{model}' is a model; query its fact table 'SALES'")),
        ("SELECT SUM(qyt) FROM sales".to_owned(), "there is no column 'qyt'; did you mean 'qty'?".to_owned()),
        ("SELECT f.qtx FROM sales f".to_owned(), "there is no column 'f.qtx'; did you mean 'qty'?".to_owned()),
        ("SELECT x.qty FROM sales f".to_owned(), "column 'x.qty' names no table or alias of the query".to_owned()),
        (
            "SELECT item FROM sales a JOIN sales b ON a.item = b.item".to_owned(),
            "column 'item' is ambiguous; write it with its table".to_owned(),
        ),
    ] {
        for options in [index_only(), raw()] {
            let error = snapshot.ask(&sql, options).await.map(|_| ()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, Error::Sql(_)) && text.starts_with(&expected), "{sql}: {text}");
            for word in ["planning", "Schema", "kirin.default"] {
                assert!(!text.contains(word), "{sql}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn the_smallest_covering_index_is_chosen_and_the_others_have_reasons() {
    let (shop, snapshot) = full().await;
    let sql = format!("SELECT i.kind, COUNT(*) FROM {STAR} GROUP BY i.kind");
    let explain = snapshot.explain(&sql, index_only()).await.unwrap();
    let chosen = &explain.realizations[0];
    assert_eq!(shop.model.layout_dimensions(chosen.layout), ["city", "kind"]);
    assert!(explain.raw_tables.is_empty());
    let rejected = &explain.aggregations[0].rejected;
    assert_eq!(rejected.len(), 3);
    assert!(rejected.iter().any(|r| r.reason.contains("a smaller index does too")));
    assert!(rejected.iter().any(|r| r.dimensions == ["item"] && r.reason.contains("lacks the dimension items.kind")));
    assert!(explain.plan.contains("TableScan: index"));
}

#[tokio::test]
async fn segments_are_selected_by_time_and_cut_only_with_the_day_dimension() {
    let shop = Shop::open();
    let (jan, feb) = (shop.build(JAN).await.unwrap(), shop.build(FEB).await.unwrap());
    let snapshot = shop.snapshot(vec![jan.clone(), feb.clone()]);
    let chosen = async |condition: &str| {
        let sql = format!("SELECT COUNT(*) FROM {STAR} WHERE {condition}");
        let answer = snapshot.ask(&sql, index_only()).await.unwrap();
        let realization = answer.realizations[0].clone();
        (shown(&answer).remove(0), shop.model.layout_dimensions(realization.layout), realization.segments)
    };
    let (names, both) = ((jan.name(), feb.name()), vec![jan.name(), feb.name()]);
    // Whole segments: the smallest index, without a day.
    let (rows, dimensions, segments) = chosen("f.day < '2020-02-01'").await;
    assert_eq!((rows.as_str(), segments), ("3", vec![names.0.clone()]));
    assert!(!dimensions.contains(&"day".to_string()));
    let (rows, dimensions, segments) = chosen("f.day >= DATE '2020-01-01' AND f.day <= DATE '2020-02-29'").await;
    assert_eq!((rows.as_str(), segments), ("5", both.clone()));
    assert!(!dimensions.contains(&"day".to_string()));
    // A cut through a segment needs the day.
    let (rows, dimensions, segments) = chosen("f.day > '2020-01-20' AND f.day < '2020-02-05'").await;
    assert_eq!((rows.as_str(), segments), ("2", both));
    assert!(dimensions.contains(&"day".to_string()));
    // No segment covers this range, so READY segments hold no such row.
    let (rows, _, segments) = chosen("f.day >= '2021-01-01'").await;
    assert_eq!((rows.as_str(), segments), ("0", vec![]));
    // Without a condition: the READY segments only.
    let (rows, _, segments) = chosen("TRUE").await;
    assert_eq!((rows.as_str(), segments.len()), ("5", 2));
}

#[tokio::test]
async fn an_incomplete_answer_lists_the_missing_rows_or_is_refused() {
    let shop = Shop::open();
    let snapshot = shop.snapshot(vec![shop.build(FEB).await.unwrap()]);
    let whole = QueryOptions { partial: false, ..index_only() };
    let before = "rows before 2020-02-01";
    for (condition, missing) in [
        ("TRUE", vec![before, "rows from 2020-03-01 on", "rows whose sales.day is NULL"]),
        ("f.day < '2020-02-15'", vec![before]),
        ("f.day > '2020-02-15'", vec!["rows from 2020-03-01 on"]),
        ("f.day >= '2020-02-01' AND f.day < '2020-03-01'", vec![]),
    ] {
        let sql = format!("SELECT COUNT(*) FROM {STAR} WHERE {condition}");
        let answer = snapshot.ask(&sql, index_only()).await.unwrap();
        assert_eq!(answer.realizations[0].missing, missing, "{sql}");
        assert_eq!(answer.is_partial(), !missing.is_empty(), "{sql}");
        match snapshot.ask(&sql, whole.clone()).await {
            Ok(answer) => assert!(missing.is_empty() && !answer.is_partial(), "{sql}"),
            Err(error @ Error::Incomplete { .. }) => {
                let text = error.to_string();
                assert!(missing.iter().all(|rows| text.contains(rows)) && !missing.is_empty(), "{sql}: {text}");
                assert!(!text.contains("partial answer"), "{text}");
            }
            Err(error) => panic!("{sql}: {error}"),
        }
        let mixed = snapshot.ask(&sql, QueryOptions { partial: false, ..mixed() }).await.unwrap();
        assert!(!mixed.is_partial(), "{sql}");
        assert_eq!(shown(&mixed), shown(&snapshot.ask(&sql, raw()).await.unwrap()), "{sql}");
    }
}

#[tokio::test]
async fn push_down_adds_the_raw_rows_of_unbuilt_ranges() {
    let shop = Shop::open();
    let feb = shop.build(FEB).await.unwrap();
    let snapshot = shop.snapshot(vec![feb.clone()]);
    for (condition, is_mixed) in [
        ("TRUE", true),
        ("f.day >= '2020-02-01' AND f.day < '2020-03-01'", false),
        ("f.day BETWEEN '2020-02-03' AND '2020-02-20'", false),
        ("f.day >= '2020-02-01'", true),
        ("f.day IS NULL", true),
        ("f.day < '2020-02-15' AND s.city IS NOT NULL", true),
    ] {
        for select in ["COUNT(*)", "i.kind, SUM(f.qty), AVG(f.price), MAX(f.price), COUNT(DISTINCT s.city)"] {
            let group = if select.contains("kind") { "GROUP BY i.kind ORDER BY 1" } else { "" };
            let sql = format!("SELECT {select} FROM {STAR} WHERE {condition} {group}");
            let answer = snapshot.ask(&sql, mixed()).await.unwrap();
            assert_eq!(shown(&answer), shown(&snapshot.ask(&sql, raw()).await.unwrap()), "{sql}");
            assert_eq!((answer.realizations[0].mixed, answer.push_down), (is_mixed, is_mixed), "{sql}");
        }
    }
}

#[tokio::test]
async fn a_damaged_or_deleted_index_file_names_its_segment() {
    for damage in [|p: &str| std::fs::remove_file(p).unwrap(), |p: &str| std::fs::write(p, b"PAR1 nonsense").unwrap()] {
        let shop = Shop::open();
        let segment = shop.build(JAN).await.unwrap();
        let sql = format!("SELECT s.city, COUNT(*) FROM {STAR} GROUP BY 1");
        let warm = shop.snapshot(vec![segment.clone()]);
        warm.ask(&sql, index_only()).await.unwrap();
        for layout in &segment.manifest.layouts {
            layout.files.iter().for_each(|f| damage(&f.path));
        }
        let cold = Shop { engine: Engine::new(EngineConfig::anywhere()).unwrap(), ..Shop::open() };
        for snapshot in [warm, cold.snapshot(vec![segment.clone()])] {
            let error = snapshot.ask(&sql, index_only()).await.unwrap_err();
            assert!(matches!(&error, Error::SegmentData { segment: s, .. } if *s == segment.name()), "{error}");
            assert!(error.to_string().contains("refresh the segment"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_changed_model_loses_indexes_but_never_reads_them_wrongly() {
    let mut shop = Shop::open();
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    let sql = format!("SELECT i.kind, COUNT(*) FROM {STAR} GROUP BY 1");
    // An added measure: queries that do not need it are still answered.
    shop.model.measures.push(Measure {
        name: "least".into(),
        function: MeasureFunction::Min,
        column: Some("sales.price".into()),
    });
    let snapshot = shop.snapshot(vec![segment.clone()]);
    answers(&snapshot, &sql).await;
    let least = format!("SELECT MIN(price) FROM {STAR}");
    refuses(&snapshot, &least, "was built without min(sales.price); refresh the segment").await;
    // Dimensions in another order: the same indexes, found by their columns.
    shop.model.dimensions.reverse();
    answers(&shop.snapshot(vec![segment.clone()]), &sql).await;
    // A changed join: no index fits.
    shop.model.lookups[0].join = JoinKind::Inner;
    let sql =
        "SELECT i.kind, COUNT(*) FROM sales f JOIN shops s ON f.shop = s.id JOIN items i ON f.item = i.name GROUP BY 1";
    refuses(&shop.snapshot(vec![segment]), sql, "were changed after its segments were built").await;
}

#[tokio::test]
async fn overlapping_segments_are_not_counted_twice() {
    let shop = Shop::open();
    let (jan, full) = (shop.build(JAN).await.unwrap(), shop.build(SegmentRange::Full).await.unwrap());
    let sql = format!("SELECT i.kind, COUNT(*) FROM {STAR} GROUP BY 1");
    refuses(&shop.snapshot(vec![jan, full]), &sql, "overlap; delete one").await;
}

#[tokio::test]
async fn only_single_queries_are_run() {
    let (shop, snapshot) = full().await;
    for (sql, why) in [
        ("", "empty"),
        ("SELECT 1; SELECT 2", "one query at a time"),
        ("DROP TABLE sales", "only SELECT"),
        ("INSERT INTO sales SELECT * FROM sales", "only SELECT"),
        ("COPY sales TO '/tmp/x.csv'", "only SELECT"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'", ""),
        ("SELECT COUNT( FROM sales", "cannot parse"),
        ("SELECT nope FROM sales", "nope"),
        ("SELECT * FROM '/etc/passwd'", ""),
        ("SELECT * FROM information_schema.tables", ""),
    ] {
        let error = snapshot.ask(sql, mixed()).await.unwrap_err();
        assert!(matches!(error, Error::Sql(_)), "{sql}: {error:?}");
        assert!(error.to_string().contains(why), "{sql}: {error}");
    }
    let answer = snapshot.ask("SELECT 1 AS one, NULL, TRUE, DATE '2020-02-03'", index_only()).await.unwrap();
    assert_eq!(shown(&answer), ["1 - true 2020-02-03"]);
    let none = shop.engine.open(Catalog { tables: shop.tables.clone(), ..Catalog::default() }).unwrap();
    refuses(&none, "SELECT COUNT(*) FROM shops", "the project has no model").await;
}

#[tokio::test]
async fn the_model_that_has_the_rows_answers() {
    let mut shop = Shop::open();
    let (jan, feb) = (shop.build(JAN).await.unwrap(), shop.build(FEB).await.unwrap());
    let first = shop.model.clone();
    shop.model.name = "other".into();
    let other = Segment { model: "other".into(), ..feb };
    let catalog =
        Catalog { tables: shop.tables.clone(), models: vec![first, shop.model.clone()], segments: vec![jan, other] };
    let snapshot = shop.engine.open(catalog).unwrap();
    // The first model would answer with no row from no segment, and be smaller.
    let sql = format!("SELECT COUNT(*) FROM {STAR} WHERE f.day >= '2020-02-01' AND f.day < '2020-03-01'");
    let answer = snapshot.ask(&sql, index_only()).await.unwrap();
    assert_eq!((shown(&answer).remove(0).as_str(), answer.realizations[0].model.as_str()), ("2", "other"));
}

#[tokio::test]
async fn a_cached_plan_can_be_run_concurrently() {
    let (_shop, snapshot) = full().await;
    let sql = format!("SELECT s.city, COUNT(*) c FROM {STAR} GROUP BY 1 ORDER BY c DESC, 1 LIMIT 2");
    let first = snapshot.ask(&sql, index_only()).await.unwrap();
    let all = futures::future::join_all((0..50).map(|_| snapshot.ask(&sql, index_only()))).await;
    for answer in all {
        let answer = answer.unwrap();
        assert_eq!((shown(&answer), answer.scanned_rows), (shown(&first), first.scanned_rows));
    }
    // Some queries depend on the time.
    let now = "SELECT COUNT(*), NOW() FROM sales JOIN items ON item = name";
    let first = snapshot.ask(now, index_only()).await.unwrap();
    let second = snapshot.ask(now, index_only()).await.unwrap();
    assert_ne!(first.rows[0][1], second.rows[0][1]);
}

#[tokio::test]
async fn limit_and_offset_cut_the_answer() {
    let (_shop, snapshot) = full().await;
    let sql = format!("SELECT i.name, COUNT(*) FROM {STAR} GROUP BY 1 ORDER BY 1");
    let page = QueryOptions { limit: Some(1), offset: 1, ..index_only() };
    assert_eq!(shown(&snapshot.ask(&sql, page).await.unwrap()), ["pear 2"]);
}
