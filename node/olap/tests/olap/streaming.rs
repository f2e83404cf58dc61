//! Answers as streams of record batches.

use crate::faults::small_engine;
use crate::shop::*;
use futures::TryStreamExt;
use kirin_olap::*;

/// 4,000,000 rows of 800 bytes, where the engine has 64 MB. All rows have one length: their order is not defined.
const LARGE: &str = "SELECT rpad(a.name, 800) FROM t a, t b";

fn is_exhausted(error: &str) -> bool {
    error.contains("kirin.query.memory-limit")
}

#[tokio::test]
async fn an_answer_is_read_while_it_is_made_and_a_later_failure_ends_its_stream() {
    let (_files, snapshot) = small_engine().await;
    let mut answer = snapshot.query(LARGE, raw()).await.unwrap();
    assert_eq!(answer.columns.len(), 1);
    let mut rows = 0;
    let error = loop {
        match answer.next_batch().await {
            Ok(batch) => rows += batch.expect("the answer is larger than the memory").num_rows(),
            Err(error) => break error.to_string(),
        }
    };
    assert!(rows > 0 && rows < 4_000_000, "{rows} rows");
    assert!(is_exhausted(&error), "{error}");
    assert_eq!(answer.cost(), None);
    assert!(answer.next_batch().await.unwrap().is_none());
}

#[tokio::test]
async fn the_batches_of_an_answer_count_until_it_is_dropped() {
    let (_files, snapshot) = small_engine().await;
    let third = QueryOptions { limit: Some(22_000), ..raw() };
    let read = async || {
        let mut answer = snapshot.query(LARGE, third.clone()).await?;
        let batches: Vec<RecordBatch> = (&mut answer).try_collect().await?;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 22_000);
        Ok::<Answer, Error>(answer)
    };
    let kept = [read().await.unwrap(), read().await.unwrap(), read().await.unwrap()];
    assert!(kept.iter().all(|answer| answer.cost().is_some_and(|cost| cost.scanned_rows >= 2_000)), "{kept:?}");
    let error = read().await.unwrap_err().to_string();
    assert!(is_exhausted(&error), "{error}");
    drop(kept);
    read().await.unwrap();
}

#[tokio::test]
async fn an_answer_without_rows_has_a_schema_and_a_cost() {
    let (_files, snapshot) = small_engine().await;
    let mut answer = snapshot.query("SELECT k, name FROM t WHERE k < 0", raw()).await.unwrap();
    assert_eq!(answer.schema.fields().len(), 2);
    let batches: Vec<RecordBatch> = (&mut answer).try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    assert_eq!(answer.cost().map(|cost| cost.scanned_rows), Some(2_000));
}
