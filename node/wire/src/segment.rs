//! `/models/{model}/segments`.

use serde::{Deserialize, Serialize};

use crate::answer::answers;
use crate::text::{self, Moment};

/// `POST /models/{model}/segments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRequest {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project")]
    pub project: String,
    /// The start of the range. Without start and end, or with Kylin's values for a full build, everything is built.
    #[serde(default, deserialize_with = "text::moment", skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// The end of the range, exclusive.
    #[serde(default, deserialize_with = "text::moment", skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Whether every index is built. Only `true` (the default) is supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_all_indexes: Option<bool>,
    /// 0 (first) to 4 (last); 3 if absent.
    #[serde(default = "crate::normal_priority")]
    pub priority: u8,
    /// The idempotency key: requests with the same key create one job. The header `Idempotency-Key` is equivalent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl BuildRequest {
    /// A build of the range with normal priority.
    pub fn new(project: impl Into<String>, (start, end): (i64, i64)) -> Self {
        Self {
            project: project.into(),
            start: Some(Moment(start)),
            end: Some(Moment(end)),
            build_all_indexes: None,
            priority: crate::NORMAL_PRIORITY,
            idempotency_key: None,
        }
    }
}

/// `PUT /models/{model}/segments`: one job per segment, all or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project")]
    pub project: String,
    /// `REFRESH`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Ids of segments.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Names of segments.
    #[serde(default)]
    pub names: Vec<String>,
    /// 0 (first) to 4 (last); 3 if absent.
    #[serde(default = "crate::normal_priority")]
    pub priority: u8,
    /// The idempotency key: requests with the same key create no further jobs. The header `Idempotency-Key` is equivalent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl RefreshRequest {
    /// A refresh of the segments with these ids, with normal priority.
    pub fn new(project: impl Into<String>, ids: Vec<String>) -> Self {
        Self {
            project: project.into(),
            kind: "REFRESH".to_owned(),
            ids,
            names: Vec::new(),
            priority: crate::NORMAL_PRIORITY,
            idempotency_key: None,
        }
    }
}

/// `POST /models/{model}/segments/verification`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project")]
    pub project: String,
    /// Ids of segments; all READY segments if neither ids nor names are given.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Names of segments.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether to compare groups with the source tables, too.
    #[serde(default)]
    pub deep: bool,
}

/// The query string of `DELETE /models/{model}/segments`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropSegments {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project", alias = "projectName")]
    pub project: String,
    /// Ids of segments, repeated or separated by commas.
    #[serde(default, deserialize_with = "text::list")]
    pub ids: Vec<String>,
    /// Names of segments, repeated or separated by commas.
    #[serde(default, deserialize_with = "text::list")]
    pub names: Vec<String>,
    /// Whether to drop all segments.
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub purge: Option<bool>,
}

answers! {
    /// A segment.
    SegmentView {
        /// Its id.
        id: String,
        /// Its name, derived from its range.
        name: String,
        /// `NEW` during its first build, then `READY`; `WARNING` if queries do not use it.
        status: String,
        /// The same, under Kylin's name.
        status_to_display: String,
        /// The start of its range; 0 if it covers everything.
        start: i64,
        /// The end of its range, exclusive; the largest number if it covers everything.
        end: i64,
        /// When it was reserved.
        create_time_utc: i64,
        /// When it was last published.
        last_build_time: i64,
        /// Rows read from the tables.
        source_count: u64,
        /// The size of its files in bytes.
        bytes_size: u64,
        /// The epoch under which it was last published.
        epoch: u64,
        /// The job that reserved it or last published it.
        job_id: String,
        /// Why queries do not use it.
        wrong: Option<String>,
    }
    /// `POST /models/{model}/segments/verification`.
    VerificationView {
        /// One entry per verified segment.
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
        /// The problems found.
        problems: Vec<ProblemView>,
        /// Files that cannot be read.
        unreadable: Vec<String>,
        /// What could not be compared.
        unchecked: Vec<String>,
        /// Why queries do not use it.
        wrong: Option<String>,
    }
    /// A problem of a segment.
    ProblemView {
        /// The index.
        layout: u64,
        /// The problem.
        problem: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_may_be_absent_null_or_empty() {
        for body in ["{}", r#"{"start":null,"end":""}"#] {
            let build: BuildRequest = serde_json::from_str(body).unwrap();
            assert_eq!((build.start, build.end, build.priority), (None, None, 3), "{body}");
        }
        let body = serde_json::to_string(&BuildRequest::new("p", (5, 9))).unwrap();
        assert_eq!(body, r#"{"project":"p","start":"5","end":"9","priority":3}"#);
    }
}
