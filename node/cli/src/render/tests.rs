//! The output of commands for responses of a node.

use super::*;

fn from<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_cluster_is_one_table() {
    let view: ClusterView = from(
        r#"{"leader":"10.0.0.1:7070","members":[
            {"node":"10.0.0.1:7070","incarnation":3,"state":"up","role":"all","address":"10.0.0.1:7070","beat":812,
             "silent_ms":1200,"running":2,"waiting":1,"slots":30,"able_to_run":["build","command"],"heirs":["10.0.0.2:7070"]},
            {"node":"10.0.0.2:7070","incarnation":1,"state":"fenced","role":"query","beat":7,"slots":30,"trouble":"the disk is full","later":true}]}"#,
    );
    assert_eq!(
        cluster(&view, false),
        "\
NODE             ROLE   STATE   INC  BEAT  SEEN       ABLE           RUNNING  WAITING  HEIRS          ADDRESS
10.0.0.1:7070 *  all    up        3   812  1.2 s ago  build,command     2/30        1  10.0.0.2:7070  10.0.0.1:7070
10.0.0.2:7070    query  fenced    1     7  -          -                 0/30        0  -              -
1 up, 0 draining, leader 10.0.0.1:7070 *
10.0.0.2:7070: the disk is full
"
    );
    let colored = cluster(&view, true);
    assert!(colored.contains("\x1b[32mup\x1b[0m") && colored.contains("\x1b[31mfenced\x1b[0m"), "{colored}");
    let plain = colored.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "");
    assert_eq!(plain, cluster(&view, false), "colors change nothing else");
}

#[test]
fn history_shows_evidence_and_phases() {
    let lines: Vec<HistoryView> = from(
        r#"[{"at":1735689599000,"event":"fenced","node":"b","incarnation":2,"by":"a","evidence":"exited","reason":"link closed",
             "phases":[{"name":"seen","ms":3.24},{"name":"fenced","ms":12.0}]},
            {"at":1735689599050,"event":"took over","node":"a","job_id":"j1"}]"#,
    );
    assert_eq!(
        history(&lines, false),
        "\
TIME                 EVENT      NODE  INC  BY  EVIDENCE  JOB  PHASES                     REASON
2024-12-31 23:59:59  fenced     b       2  a   exited    -    seen 3.2 ms, fenced 12 ms  link closed
2024-12-31 23:59:59  took over  a       -  -   -         j1   -                          -
"
    );
    assert_eq!(history(&[], false), "Nothing has happened yet.\n");
}

const JOBS: &str = r#"{"value":[
    {"id":"j-1","job_name":"INC_BUILD","job_status":"RUNNING","project":"p","target_subject":"flights","node":"a:7070",
     "create_time":1356998400000,"exec_start_time":1356998401000,"duration":192000,"step_ratio":0.666},
    {"id":"j-22","job_name":"command","job_status":"PENDING","project":"p","create_time":1356998400000}],
    "offset":0,"limit":2,"total_size":5}"#;

#[test]
fn a_list_of_jobs_has_one_line_per_job() {
    assert_eq!(
        jobs(&from(JOBS), 0, false, false),
        "\
ID    STATE    DONE  KIND       SUBJECT  NODE    CREATED                TOOK
j-1   RUNNING  66 %  INC_BUILD  flights  a:7070  2013-01-01 00:00:00  3m 12s
j-22  PENDING   0 %  command    -        -       2013-01-01 00:00:00       -
2 of 5 jobs; --page 1 shows more
"
    );
    assert!(jobs(&from(JOBS), 0, true, false).starts_with("ID    PROJECT  STATE "));
    assert!(jobs(&from("{}"), 0, false, false).starts_with("No jobs."));
}

#[test]
fn a_job_is_shown_with_its_steps() {
    let view: JobView = from(
        r#"{"id":"j-1","job_name":"INC_BUILD","job_status":"ERROR","target_subject":"flights","project":"p","priority":3,
            "node":"a:7070","epoch":2,"step_ratio":0.5,"create_time":1356998400000,"wait_time":4}"#,
    );
    let steps: Vec<StepView> = from(
        r#"[{"id":"j-1_00","name":"Detect source","sequence_id":0,"step_status":"FINISHED","epoch":1,"node":"b:7070",
             "exec_start_time":1356998400000,"duration":12},
            {"id":"j-1_01","name":"Flat table","sequence_id":1,"step_status":"ERROR","epoch":2,"node":"a:7070",
             "exec_start_time":1356998401000,"duration":1500,"failed_msg":"no such file\n"}]"#,
    );
    assert_eq!(
        job(&view, &steps, false),
        "\
Job:       j-1
State:     ERROR
Kind:      INC_BUILD
Subject:   flights
Project:   p
Priority:  3
Node:      a:7070
Attempt:   2
Done:      50 %
Created:   2013-01-01 00:00:00
Waited:    4 ms

STEP  NAME           STATE     ATTEMPT  NODE    STARTED               TOOK
   0  Detect source  FINISHED        1  b:7070  2013-01-01 00:00:00  12 ms
   1  Flat table     ERROR           2  a:7070  2013-01-01 00:00:01  1.5 s

Step 1 failed: no such file
"
    );
}

#[test]
fn why_shows_the_reason_for_waiting() {
    let waits: WhyView = from(
        r#"{"state":"PENDING","reason":"project-limit","detail":"the project p runs 20 of 20 jobs","ahead":3,"node":"a:7070"}"#,
    );
    assert_eq!(
        why("j", &waits, false),
        "j is PENDING: the project p runs 20 of 20 jobs\n  placed on a:7070\n  jobs ahead of it: 3\n"
    );
    assert_eq!(why("j", &from(r#"{"state":"RUNNING"}"#), false), "j is RUNNING; nothing blocks it\n");
}

#[test]
fn numbers_in_query_results_are_right_aligned() {
    let view: QueryView = from(
        r#"{"columnMetas":[{"label":"CARRIER","columnTypeName":"VARCHAR"},{"label":"N","columnTypeName":"BIGINT"}],
            "results":[["UA","58665"],[null,"5"]],"duration":4,"pushDown":false,"server":"a:7070",
            "realizations":[{"model":"flights","layout":4}]}"#,
    );
    assert_eq!(
        query(&view),
        "CARRIER      N\nUA       58665\nNULL         5\n2 rows in 4 ms from index 4 of model flights by a:7070\n"
    );
    let empty: QueryView = from(r#"{"columnMetas":[{"label":"N","columnTypeName":"INTEGER"}],"pushDown":true}"#);
    assert_eq!(query(&empty), "N\n0 rows in 0 ms from the raw tables\n");
}

#[test]
fn tables_models_segments_and_projects_are_listed() {
    let listed: Vec<TableView> = from(
        r#"[{"name":"flights","source":{"format":"parquet","location":"/d/f.parquet"},"rows":336776,"columns":[{"name":"year","type":"INT"}]}]"#,
    );
    assert_eq!(tables(&listed), "NAME     COLUMNS    ROWS  SOURCE\nflights        1  336776  /d/f.parquet\n");
    assert_eq!(
        table(&listed[0]),
        "Table:   flights\nSource:  /d/f.parquet\nRows:    336776\n\nCOLUMN  TYPE\nyear    INT\n"
    );
    let listed: Vec<ModelView> = from(
        r#"[{"name":"m","fact_table":"flights","dimensions":[{"name":"a"},{"name":"b"}],"measures":[{"name":"c"}]}]"#,
    );
    assert_eq!(
        models(&listed),
        "NAME  FACT TABLE  DIMENSIONS  MEASURES  INDEXES\nm     flights              2         1        0\n"
    );
    let listed: Vec<SegmentView> = from(
        r#"[{"id":"s1","name":"FULL_BUILD","status":"READY","start":0,"end":9223372036854775807,"source_count":7,"bytes_size":1536},
            {"id":"s2","status":"NEW","start":1356998400000,"end":1359676800000}]"#,
    );
    assert_eq!(
        segments(&listed, false),
        "\
ID  STATE  FROM                 TO                   ROWS    SIZE  NAME
s1  READY  beginning            end                     7  1.5 kB  FULL_BUILD
s2  NEW    2013-01-01 00:00:00  2013-02-01 00:00:00     0     0 B  -
"
    );
    let listed: Vec<ProjectView> = from(r#"[{"name":"p","owner":"ADMIN","create_time":1356998400000}]"#);
    assert_eq!(
        projects(&listed),
        "NAME  OWNER  CREATED              DESCRIPTION\np     ADMIN  2013-01-01 00:00:00  -\n"
    );
}

#[test]
fn definitions_are_shown_as_an_outline() {
    let value = from(
        r#"{"name":"m","dimensions":["a","b"],"joins":[{"table":"t","on":"x"},{"table":"u"}],"none":null,"plan":"one\ntwo"}"#,
    );
    assert_eq!(
        outline(&value),
        "dimensions: a, b\njoins:\n  on: x\n  table: t\n\n  table: u\nname: m\nplan:\n  one\n  two\n"
    );
    assert_eq!(outline(&from(r#""a plan""#)), "a plan\n");
}

#[test]
fn indexes_that_are_rejected_for_one_reason_are_one_entry() {
    let no = |layout: u64, reason: &str| {
        format!(r#"{{"model":"m","layout":{layout},"dimensions":["a"],"reason":"{reason}"}}"#)
    };
    let whole = r#"{"model":"m","layout":null,"dimensions":[],"reason":"z"}"#.to_owned();
    let all = [no(3, "x"), no(2, "y"), no(1, "x"), whole, no(4, "x")].join(",");
    let explained: ExplainView =
        from(&format!(r#"{{"plan":"p","aggregations":[{{"aggregation":"a","rejected":[{all}]}}]}}"#));
    let rejected = aggregation(&explained.aggregations[0]).rejected;
    let shown: Vec<_> = rejected.iter().map(|it| (it.layout, &it.layouts[..], it.dimensions.is_some())).collect();
    assert_eq!(shown, [(None, &[3, 1, 4][..], false), (Some(2), &[][..], true), (None, &[][..], true)], "{rejected:?}");
    let text = explanation(&explained).unwrap();
    assert!(text.contains("    layouts: 3, 1, 4\n    model: m\n    reason: x\n"), "{text}");
}
