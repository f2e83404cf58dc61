//! `/jobs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::answers;
use crate::text;

/// `POST /jobs`: a job of any kind except a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The project.
    pub project: String,
    /// The kind of job, for example `command`.
    pub kind: String,
    /// The specification, whose structure depends on the kind.
    #[serde(default)]
    pub spec: Value,
    /// The subject; the kind if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// 0 (first) to 4 (last); 3 if absent.
    #[serde(default = "crate::normal_priority")]
    pub priority: u8,
    /// The idempotency key: requests with the same key create one job. The header `Idempotency-Key` is equivalent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl Submit {
    /// A job with the normal priority.
    pub fn new(project: impl Into<String>, kind: impl Into<String>, spec: Value) -> Self {
        Self {
            project: project.into(),
            kind: kind.into(),
            spec,
            subject: None,
            priority: crate::NORMAL_PRIORITY,
            idempotency_key: None,
        }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// The specification of a job of kind `command` with one program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSpec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The working directory; the attempt's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables that are added to the environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The time in milliseconds after which the program is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl CommandSpec {
    /// The kind of job that it specifies.
    pub const KIND: &str = "command";
}

/// `PUT /jobs/status`: an action on the named jobs, or on all jobs of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobAction {
    /// The project, if no job is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Ids of jobs.
    #[serde(default)]
    pub job_ids: Vec<String>,
    /// `RESUME`, `PAUSE`, `RESTART` or `DISCARD`.
    pub action: String,
    /// For a whole project: only jobs with these statuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<String>,
    /// With `DISCARD` of `job_ids`: also discards jobs whose row in the metastore cannot be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// The query string of `GET /jobs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsQuery {
    /// Only jobs of this project; all projects if absent or empty.
    #[serde(default, alias = "projectName", skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Jobs accepted within the last day (0), week (1), month (2), year (3), or ever (4, the default).
    #[serde(default, alias = "timeFilter", deserialize_with = "text::number", skip_serializing_if = "Option::is_none")]
    pub time_filter: Option<u64>,
    /// Only jobs with these statuses, repeated or separated by commas.
    #[serde(default, deserialize_with = "text::list")]
    pub statuses: Vec<String>,
    /// Only jobs with this id, or with this text in the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only jobs with this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The column to sort by; `last_modified` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort_by: Option<String>,
    /// Whether the order is descending (the default).
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub reverse: Option<bool>,
    /// As in [`crate::Paging`].
    #[serde(default, alias = "pageOffset", deserialize_with = "text::number", skip_serializing_if = "Option::is_none")]
    pub page_offset: Option<u64>,
    /// As in [`crate::Paging`]; 10 if absent.
    #[serde(
        default,
        alias = "pageSize",
        alias = "limit",
        deserialize_with = "text::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

answers! {
    /// A job.
    JobView {
        /// Its id.
        #[serde(alias = "job_id")]
        id: String,
        /// Its id again, for Kylin's clients.
        uuid: String,
        /// Its type: `INC_BUILD`, `INDEX_REFRESH`, `COMMAND` or `PROBE`.
        job_name: String,
        /// `PENDING`, `RUNNING`, `FINISHED`, `ERROR`, `STOPPING`, `STOPPED` or `DISCARDED`.
        job_status: String,
        /// Its state in the scheduler, finer than the status.
        scheduler_state: String,
        /// The kind of executor that runs it.
        kind: String,
        /// Its project.
        project: String,
        /// The user that submitted it.
        submitter: String,
        /// Its subject, under Kylin's name.
        target_model: String,
        /// Its subject.
        target_subject: String,
        /// Always false.
        target_subject_error: bool,
        /// The segments that it builds.
        target_segments: Vec<String>,
        /// When it was accepted.
        create_time: i64,
        /// When it last changed.
        last_modified: i64,
        /// When its first attempt started; 0 before that.
        exec_start_time: i64,
        /// When it ended; 0 before that.
        exec_end_time: i64,
        /// Milliseconds from its first attempt to its end, or until now.
        duration: u64,
        /// Milliseconds from its submit to its end, or until now.
        total_duration: u64,
        /// Milliseconds from its submit to its first attempt, or until now.
        wait_time: u64,
        /// The fraction of its steps that are committed, 0 to 1.
        step_ratio: f64,
        /// The percentage of its work, as reported by its executor.
        progress: f64,
        /// The start of its segment's range.
        data_range_start: i64,
        /// The end of its segment's range, exclusive.
        data_range_end: i64,
        /// Its steps; none in lists.
        steps: Option<Vec<StepView>>,
        /// Always true.
        discard_safety: bool,
        /// Always `CHAIN`: steps run one after the other.
        job_scheduler_mode: String,
        /// 0 (first) to 4 (last).
        priority: u8,
        /// The number of its attempts.
        epoch: u64,
        /// Its number in the order of acceptance, as in flight recordings.
        number: u64,
        /// The node that holds it. For a finished or failed job, the node of its last attempt. Empty without one.
        node: String,
        /// The node in whose queue it waits.
        placed: Option<String>,
        /// Why its last attempt failed, or why its row in the metastore cannot be read.
        failed_msg: Option<String>,
        /// Whether its row in the metastore cannot be read. Then only `DISCARD` with `force` is possible.
        broken: bool,
        /// Always 0.
        version: u32,
    }
    /// A step of a job.
    StepView {
        /// Its id: the job's id, `_` and its number in two digits.
        id: String,
        /// What it does.
        name: String,
        /// Its number, from 0.
        sequence_id: u64,
        /// As for jobs.
        step_status: String,
        /// When it started; 0 before it is committed.
        exec_start_time: i64,
        /// When it ended; 0 before it is committed.
        exec_end_time: i64,
        /// Milliseconds.
        duration: u64,
        /// The epoch under which it was committed; absent (0) before that.
        #[serde(skip_serializing_if = "is_zero")]
        epoch: u64,
        /// The node that ran it, or on which it failed; empty before that.
        node: String,
        /// The node in Kylin's form; absent before the step is committed.
        #[serde(skip_serializing_if = "Option::is_none")]
        info: Option<StepInfoView>,
        /// Its result, whose structure depends on the kind of job. Absent before the step is committed.
        #[serde(skip_serializing_if = "Value::is_null")]
        result: Value,
        /// Why it failed.
        failed_msg: Option<String>,
    }
    /// Details of a step, in Kylin's form.
    StepInfoView {
        /// The node that ran it.
        node_info: String,
    }
    /// `GET /jobs/{job}/steps/{step}/output`.
    StepOutput {
        /// The job.
        #[serde(rename = "jobId")]
        job_id: String,
        /// The step.
        #[serde(rename = "stepId")]
        step_id: String,
        /// Its log.
        cmd_output: String,
    }
    /// `GET /jobs/{job}/why`: the rule that prevents the start of the job.
    WhyView {
        /// The rule, as one word.
        reason: String,
        /// The rule, as a sentence.
        detail: String,
        /// What would let the job start; may be empty.
        next: String,
        /// The rule with its numbers; none if the job is about to start.
        rule: Option<RuleView>,
        /// The job's status, like [`JobView::job_status`].
        state: String,
        /// The number of waiting jobs ahead of it; none if it does not wait.
        ahead: Option<u64>,
        /// The node in whose queue it waits; may be empty.
        node: String,
    }
    /// A rule that prevents the start of a job. Each rule has some of the fields.
    RuleView {
        /// Its name: `state`, `stopping`, `taking`, `no_job_node`, `no_node_can`, `project_full`, `behind`, `node_full`,
        /// `elsewhere` or `no_trust`.
        rule: String,
        /// `state`: the state.
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        /// `stopping`: the member that runs the last attempt.
        #[serde(skip_serializing_if = "Option::is_none")]
        holder: Option<RuleMember>,
        /// `no_node_can`: the capabilities that the job requires, as a bit set.
        #[serde(skip_serializing_if = "Option::is_none")]
        needs: Option<u32>,
        /// `project_full`: the limit of the project.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// `project_full`: the number of its jobs that run.
        #[serde(skip_serializing_if = "Option::is_none")]
        running: Option<u32>,
        /// `behind`: the number of the next job.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
        /// `node_full` and `elsewhere`: the number of the node.
        #[serde(skip_serializing_if = "Option::is_none")]
        node: Option<u32>,
        /// `node_full`: the limit of the node.
        #[serde(skip_serializing_if = "Option::is_none")]
        slots: Option<u32>,
    }
    /// A member, by its numbers in the metastore.
    RuleMember {
        /// The node.
        node: u32,
        /// The run of the node.
        incarnation: u32,
    }
    /// An accepted submit or build.
    Submitted {
        /// The job, if there is exactly one.
        #[serde(skip_serializing_if = "String::is_empty")]
        job_id: String,
        /// The jobs.
        jobs: Vec<SubmittedJob>,
        /// The segment that a build reserved.
        #[serde(skip_serializing_if = "Option::is_none")]
        segment_id: Option<String>,
        /// Why the job will wait until the cluster changes, if so.
        #[serde(skip_serializing_if = "Option::is_none")]
        warning: Option<String>,
    }
    /// An accepted job.
    SubmittedJob {
        /// Its type, as in [`JobView::job_name`].
        job_name: String,
        /// Its id.
        job_id: String,
    }
}

const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Submitted {
    /// The id of the first job; empty if there is none.
    pub fn first(&self) -> &str {
        self.jobs.first().map_or(self.job_id.as_str(), |job| job.job_id.as_str())
    }
}

impl JobView {
    /// The number of committed steps, and the number of all steps. Both are 0 in lists.
    pub fn steps_done(&self) -> (usize, usize) {
        let steps = self.steps.as_deref().unwrap_or_default();
        (steps.iter().filter(|step| step.step_status == "FINISHED").count(), steps.len())
    }

    /// Whether it has ended, successfully or not.
    pub fn is_over(&self) -> bool {
        matches!(self.job_status.as_str(), "FINISHED" | "ERROR" | "DISCARDED")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tolerate_missing_null_and_unknown_fields() {
        let job: JobView = serde_json::from_str(r#"{"id":"j","job_status":null,"later":{"x":1}}"#).unwrap();
        assert_eq!((job.id.as_str(), job.job_status.as_str(), job.steps), ("j", "", None));
    }

    #[test]
    fn a_body_with_an_unknown_field_is_refused() {
        let wrong = serde_json::from_str::<Submit>(r#"{"project":"p","kind":"k","prioritty":1}"#).unwrap_err();
        assert!(
            wrong.to_string().starts_with("unknown field `prioritty`, expected one of `project`, `kind`"),
            "{wrong}"
        );
    }
}
