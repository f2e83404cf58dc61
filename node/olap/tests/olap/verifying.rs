//! Verification of published segments: a correct segment passes, and each kind of fault is named.

use crate::shop::*;
use kirin_olap::*;
use std::fs;

async fn verified(shop: &Shop, segment: &Segment, deep: bool) -> Verification {
    shop.engine.verify_segment(&shop.model, &shop.tables, segment, deep).await.unwrap()
}

/// A segment with a planted fault in the index of that step, as published by a version without checks.
async fn spoiled(shop: &Shop, plant: Plant, step: usize) -> Segment {
    let job = shop.job(SegmentRange::Full);
    let mut prior = shop.steps(&job, 6).await.unwrap();
    let engine = Engine::new(EngineConfig { plant, ..EngineConfig::anywhere() }).unwrap();
    let bad = Shop { engine, ..Shop::open() };
    // Without the flat table's totals the step has nothing to compare with, as in older versions.
    let mut old = prior[..step].to_vec();
    old[1].as_object_mut().unwrap().remove("totals");
    let index = bad.step(&job, step, &old, &shop.attempt("bad")).await.unwrap();
    let mut index = serde_json::to_value(index).unwrap();
    index["outcome"]["indexed"]["conserved"] = true.into();
    prior[step] = index;
    let last = shop.step(&job, 6, &prior, &shop.attempt("publish")).await.unwrap();
    let manifest = last.manifest().unwrap().clone();
    Segment { id: "s".into(), model: shop.model.name.clone(), range: SegmentRange::Full, manifest }
}

#[tokio::test]
async fn a_correct_segment_passes_at_both_depths() {
    let shop = Shop::open();
    for range in [JAN, FEB, SegmentRange::Full] {
        let segment = shop.build(range).await.unwrap();
        for deep in [false, true] {
            let found = verified(&shop, &segment, deep).await;
            assert_eq!(
                (found.problems, found.unreadable, found.unchecked),
                (vec![], vec![], vec![]),
                "{range:?} {deep}"
            );
            assert_eq!(found.indexes, 4);
        }
    }
}

#[tokio::test]
async fn a_segment_of_a_version_without_checks_is_found_wrong() {
    for plant in [Plant::LostBatch, Plant::SwappedGroup] {
        for step in [2, 3] {
            for totals in [true, false] {
                let shop = Shop::open();
                let mut segment = spoiled(&shop, plant, step).await;
                if !totals {
                    segment.manifest.totals = None;
                }
                // A swapped group in the index that the others are compared with is found in the others, or deep.
                let found = verified(&shop, &segment, true).await;
                assert!(!found.problems.is_empty(), "{plant:?}, step {step}, totals {totals}: {found:?}");
                if totals {
                    let layout = segment.manifest.layouts[step - 2].layout;
                    assert_eq!(found.problems[0].layout, layout, "{found:?}");
                    assert_eq!(verified(&shop, &segment, false).await.problems[0].layout, layout);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_deep_verification_names_the_groups_that_differ_from_the_source() {
    let shop = Shop::open();
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    // The same number of rows and one changed value, as if the build had read another state.
    fs::write(shop.dir.path().join("sales.csv"), SALES.replace("2020-01-31,3,apple,1", "2020-01-31,3,apple,100"))
        .unwrap();
    assert_eq!(verified(&shop, &segment, false).await.problems, []);
    let found = verified(&shop, &segment, true).await;
    assert_eq!(found.problems.len(), 1, "{found:?}");
    let problem = &found.problems[0];
    assert!(problem.problem.starts_with("1 groups differ from the source: (sales.day 2020-01-31"), "{problem:?}");
    assert!(problem.problem.contains("least sum(sales.qty) 1, most sum(sales.qty) 100"), "{problem:?}");
}

#[tokio::test]
async fn a_changed_source_is_reported_but_is_not_a_fault_of_the_segment() {
    let shop = Shop::open();
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    fs::write(shop.dir.path().join("sales.csv"), format!("{SALES}2020-03-09,1,apple,1,1.0,late\n")).unwrap();
    let found = verified(&shop, &segment, true).await;
    assert_eq!(found.problems, []);
    assert_eq!(found.unchecked.len(), 1);
    assert!(found.unchecked[0].contains("has 8 rows in this range; it had 7"), "{found:?}");
}

#[tokio::test]
async fn a_damaged_file_is_a_problem_and_a_missing_one_is_unreadable() {
    let shop = Shop::open();
    let segment = shop.build(SegmentRange::Full).await.unwrap();
    let path = &segment.manifest.layouts[1].files[0].path;
    let mut content = fs::read(path).unwrap();
    content[20] ^= 1;
    fs::write(path, content).unwrap();
    let found = verified(&shop, &segment, false).await;
    assert_eq!(found.problems.len(), 1);
    assert!(found.problems[0].problem.contains("is damaged"), "{found:?}");
    fs::remove_file(path).unwrap();
    let found = verified(&shop, &segment, false).await;
    assert_eq!((found.problems.len(), found.unreadable.len()), (0, 1));
}

#[tokio::test]
async fn a_query_does_not_use_a_segment_that_was_found_wrong() {
    let shop = Shop::open();
    let (mut jan, feb) = (shop.build(JAN).await.unwrap(), shop.build(FEB).await.unwrap());
    jan.manifest.wrong = Some("index 63: total of count(*): expected 3, found 2".into());
    let snapshot = shop.snapshot(vec![jan, feb]);
    let sql = |from: &str, to: &str| {
        format!("SELECT COUNT(*) FROM sales JOIN items ON item = name WHERE day >= '{from}' AND day < '{to}'")
    };
    let error = snapshot.ask(&sql("2020-01-01", "2020-03-01"), index_only()).await.unwrap_err().to_string();
    assert!(error.contains("was found wrong (index 63: total of count(*)"), "{error}");
    assert!(error.contains("refresh it"), "{error}");
    let february = snapshot.ask(&sql("2020-02-01", "2020-03-01"), index_only()).await.unwrap();
    assert_eq!(shown(&february), ["2"], "a range that the wrong segment does not touch is answered");
    let push_down = QueryOptions { push_down: true, ..QueryOptions::default() };
    let both = snapshot.ask(&sql("2020-01-01", "2020-03-01"), push_down).await.unwrap();
    assert_eq!(shown(&both), ["5"], "raw rows take its place");
    assert_eq!(both.realizations[0].segments, ["20200201000000_20200301000000"]);
}
