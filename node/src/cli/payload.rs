//! What nodes send: every JSON shape that the commands read or write, in one place.
//!
//! Decoding is tolerant: a field that is missing or null is its default, an unknown one is skipped, so that a command of
//! one version can talk to a node of another. Field names are Kylin's where Kylin has the thing.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Kylin's envelope around every answer.
#[derive(Debug, Deserialize)]
pub struct Envelope {
    /// `000`, or an error's code.
    #[serde(default, deserialize_with = "or_default")]
    pub code: String,
    /// The answer, verbatim.
    #[serde(default)]
    pub data: Option<Box<RawValue>>,
    /// An error's text.
    #[serde(default, deserialize_with = "or_default")]
    pub msg: String,
    /// An error's text, again.
    #[serde(default, deserialize_with = "or_default")]
    pub exception: String,
    /// An error's code, as in `KE-010032219`.
    #[serde(default, deserialize_with = "or_default")]
    pub error_code: String,
    /// What the node suggests.
    #[serde(default, deserialize_with = "or_default")]
    pub suggestion: String,
}

/// A page of a list. A bare array is a page too.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on the page.
    pub value: Vec<T>,
    /// How much there is in all.
    pub total_size: u64,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Page<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Whole<T> {
            #[serde(default = "Vec::new")]
            value: Vec<T>,
            #[serde(default, deserialize_with = "or_default")]
            total_size: u64,
        }
        // Not an untagged enum: that could not hold verbatim JSON.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let whole = match raw.get() {
            "null" => Ok(Whole { value: Vec::new(), total_size: 0 }),
            bare if bare.starts_with('[') => serde_json::from_str(bare).map(|value| Whole { value, total_size: 0 }),
            page => serde_json::from_str(page),
        };
        let Whole { value, total_size } = whole.map_err(serde::de::Error::custom)?;
        Ok(Self { total_size: total_size.max(value.len() as u64), value })
    }
}

macro_rules! payloads {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default)]
        pub struct $name { $(
            $(#[$field_meta])*
            #[serde(deserialize_with = "or_default")]
            pub $field: $type,
        )* }
    )*};
}

payloads! {
    /// `GET /cluster`.
    ClusterView {
        /// The name of the leader; empty if there is none.
        leader: String,
        /// The nodes.
        members: Vec<MemberView>,
    }
    /// One member.
    MemberView {
        /// The node's name.
        node: String,
        /// Which of its runs.
        incarnation: u64,
        /// up, draining, left or fenced.
        state: String,
        /// all, job or query.
        role: String,
        /// Where it listens.
        address: String,
        /// Its beat.
        beat: u64,
        /// How long ago the answering node saw the beat change.
        silent_ms: Option<u64>,
        /// Jobs it runs.
        running: u64,
        /// Jobs placed on it that wait.
        waiting: u64,
        /// Jobs it may run.
        slots: Option<u64>,
        /// Who takes over most of what it runs.
        heirs: Vec<String>,
    }
    /// One line of `GET /cluster/history`.
    HistoryView {
        /// When, by the wall clock of the node that wrote it; milliseconds.
        at: i64,
        /// joined, left, fenced, took over …
        event: String,
        /// Whom it is about.
        node: String,
        /// Which of its runs.
        incarnation: u64,
        /// Who wrote it down, or took over.
        by: String,
        /// Why.
        reason: String,
        /// left, replaced, exited or silent.
        evidence: String,
        /// The job, of a takeover.
        job_id: String,
        /// How long each phase took.
        phases: Vec<PhaseView>,
    }
    /// One phase of an event.
    PhaseView {
        /// Its name.
        name: String,
        /// Milliseconds.
        ms: f64,
    }
    /// A job.
    JobView {
        /// Its id.
        #[serde(alias = "job_id")]
        id: String,
        /// Its kind, as in `INC_BUILD`.
        job_name: String,
        /// PENDING, RUNNING, FINISHED, ERROR, STOPPED or DISCARDED.
        job_status: String,
        /// Its project.
        project: String,
        /// What it is for.
        target_subject: String,
        /// Who submitted it.
        submitter: String,
        /// Milliseconds since 1970.
        create_time: i64,
        /// Milliseconds since 1970; 0 before it starts.
        exec_start_time: i64,
        /// Milliseconds since 1970; 0 before it ends.
        exec_end_time: i64,
        /// Milliseconds of work.
        duration: u64,
        /// Milliseconds from submit to end.
        total_duration: u64,
        /// Milliseconds of waiting.
        wait_time: u64,
        /// The part of the steps that is done, 0 to 1.
        step_ratio: f64,
        /// 0 (first) to 4 (last).
        priority: Option<u64>,
        /// Which try at it.
        epoch: u64,
        /// The node that runs it.
        node: String,
        /// Its steps, if the answer has them.
        steps: Vec<StepView>,
    }
    /// A step of a job.
    StepView {
        /// Its id.
        id: String,
        /// What it does.
        name: String,
        /// Its number, from 0.
        sequence_id: u64,
        /// As of jobs.
        step_status: String,
        /// Milliseconds since 1970; 0 before it starts.
        exec_start_time: i64,
        /// Milliseconds.
        duration: u64,
        /// The attempt that did it.
        epoch: u64,
        /// The node that did it.
        node: String,
        /// Why it failed.
        failed_msg: String,
    }
    /// `GET /jobs/{id}/why`.
    WhyView {
        /// The rule that holds the job back, as one word.
        reason: String,
        /// The same as a sentence.
        detail: String,
        /// The job's state.
        state: String,
        /// How many jobs are before it.
        ahead: Option<u64>,
        /// Where it is placed.
        node: String,
        /// What would let it start.
        next: String,
    }
    /// What a submit returns.
    Submitted {
        /// The jobs; of a generic submit, one.
        jobs: Vec<SubmittedJob>,
        /// The job, if it is one.
        job_id: String,
    }
    /// One job of a submit.
    SubmittedJob {
        /// Its kind.
        job_name: String,
        /// Its id.
        job_id: String,
    }
    /// A project.
    ProjectView {
        /// Its name.
        name: String,
        /// Its owner.
        owner: String,
        /// A line about it.
        description: String,
        /// Milliseconds since 1970.
        create_time: i64,
    }
    /// A table.
    TableView {
        /// Its name.
        name: String,
        /// Where its data is.
        source: Value,
        /// Rows, if they were counted.
        rows: Option<u64>,
        /// Its columns.
        columns: Vec<ColumnView>,
    }
    /// A column.
    ColumnView {
        /// Its name.
        name: String,
        /// Its type.
        #[serde(rename = "type")]
        data_type: String,
        /// Whether it may be null.
        nullable: Option<bool>,
    }
    /// A model.
    ModelView {
        /// Its name.
        name: String,
        /// Its fact table.
        fact_table: String,
        /// Its dimensions.
        dimensions: Vec<Value>,
        /// Its measures.
        measures: Vec<Value>,
        /// Its indexes.
        indexes: Vec<Value>,
    }
    /// `POST /models/{m}/segments/verification`.
    VerificationView {
        /// One for each verified segment.
        segments: Vec<VerifiedView>,
    }
    /// A verified segment.
    VerifiedView {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// Indexes that were checked.
        indexes: u64,
        /// Groups in them.
        groups: u64,
        /// What is wrong.
        problems: Vec<ProblemView>,
        /// Files that cannot be read.
        unreadable: Vec<String>,
        /// What could not be compared.
        unchecked: Vec<String>,
        /// Why queries do not use it.
        wrong: Option<String>,
    }
    /// Something wrong in a segment.
    ProblemView {
        /// The index.
        layout: u64,
        /// What is wrong with it.
        problem: String,
    }
    /// A segment.
    SegmentView {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// NEW, READY …
        status: String,
        /// From here, milliseconds.
        start: i64,
        /// Up to here, exclusive.
        end: i64,
        /// Rows that were read.
        source_count: u64,
        /// Bytes that were written.
        bytes_size: u64,
    }
    /// `POST /query`.
    QueryView {
        /// The columns.
        #[serde(rename = "columnMetas")]
        columns: Vec<QueryColumn>,
        /// The rows; null or text.
        results: Vec<Vec<Option<String>>>,
        /// Whether the query failed.
        #[serde(rename = "isException")]
        failed: bool,
        /// Why.
        #[serde(rename = "exceptionMessage")]
        why: String,
        /// Milliseconds.
        duration: u64,
        /// Whether raw tables were read.
        #[serde(rename = "pushDown")]
        push_down: bool,
        /// Whether the limit cut the answer.
        partial: bool,
        /// The node that answered.
        server: String,
        /// The indexes that answered.
        realizations: Vec<Value>,
    }
    /// A column of an answer.
    QueryColumn {
        /// Its label.
        label: String,
        /// Its type, as in `BIGINT`.
        #[serde(rename = "columnTypeName")]
        type_name: String,
    }
}

/// `POST /jobs`.
#[derive(Debug, Serialize)]
pub struct SubmitBody<'a> {
    /// The project.
    pub project: &'a str,
    /// The kind of job.
    pub kind: &'a str,
    /// What to do.
    pub spec: Value,
    /// 0 (first) to 4 (last).
    pub priority: u8,
    /// Submitting twice under one key makes one job.
    pub idempotency_key: &'a str,
}

/// The spec of a job of the kind `command`.
#[derive(Debug, Serialize)]
pub struct CommandSpec<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// The working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<&'a str>,
    /// Variables added to the environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Killed after so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// `PUT /jobs/status`.
#[derive(Debug, Serialize)]
pub struct ActionBody<'a> {
    /// The jobs; their ids say which project they are of.
    pub job_ids: &'a [String],
    /// RESUME, PAUSE, RESTART or DISCARD.
    pub action: &'a str,
}

/// `POST /models/{m}/segments`; moments are milliseconds as text, as in Kylin.
#[derive(Debug, Serialize)]
pub struct BuildBody<'a> {
    /// The project.
    pub project: &'a str,
    /// From here.
    pub start: String,
    /// Up to here, exclusive.
    pub end: String,
    /// 0 (first) to 4 (last).
    pub priority: u8,
    /// Submitting twice under one key makes one job.
    pub idempotency_key: &'a str,
}

/// `POST /models/{m}/segments/verification`.
#[derive(Debug, Serialize)]
pub struct VerifyBody<'a> {
    /// The project.
    pub project: &'a str,
    /// Which segments; all if none is named.
    pub ids: Vec<String>,
    /// Whether groups are compared with the source tables, too.
    pub deep: bool,
}

/// `POST /query` and `POST /query/explain`.
#[derive(Debug, Serialize)]
pub struct QueryBody<'a> {
    /// The query.
    pub sql: &'a str,
    /// The project.
    pub project: &'a str,
    /// At most so many rows.
    pub limit: u64,
    /// The first row.
    pub offset: u64,
    /// Whether a part of the answer would do.
    #[serde(rename = "acceptPartial")]
    pub accept_partial: bool,
    /// Whether raw tables are read where no index answers.
    #[serde(rename = "forcedToPushDown")]
    pub push_down: bool,
}

/// Null is the default, as a missing field is.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_null_and_unknown_fields_are_tolerated() {
        let job: JobView = serde_json::from_str(r#"{"id":"j","job_status":null,"later":{"x":1}}"#).unwrap();
        assert_eq!((job.id.as_str(), job.job_status.as_str(), job.steps.len()), ("j", "", 0));
        let envelope: Envelope = serde_json::from_str(r#"{"code":"000","data":{"b":1,  "a":2},"msg":null}"#).unwrap();
        assert_eq!(envelope.data.unwrap().get(), r#"{"b":1,  "a":2}"#, "data is kept verbatim");
    }

    #[test]
    fn a_page_may_be_a_bare_array() {
        let page: Page<ProjectView> = serde_json::from_str(r#"[{"name":"a"}]"#).unwrap();
        assert_eq!((page.value.len(), page.total_size), (1, 1));
        let page: Page<ProjectView> =
            serde_json::from_str(r#"{"value":[{"name":"a"}],"offset":0,"limit":1,"total_size":7}"#).unwrap();
        assert_eq!((page.value.len(), page.total_size), (1, 7));
    }

    #[test]
    fn bodies_have_kylins_names() {
        let body = QueryBody { sql: "s", project: "p", limit: 1, offset: 0, accept_partial: false, push_down: true };
        let expected =
            r#"{"sql":"s","project":"p","limit":1,"offset":0,"acceptPartial":false,"forcedToPushDown":true}"#;
        assert_eq!(serde_json::to_string(&body).unwrap(), expected);
    }
}
