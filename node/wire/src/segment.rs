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
    /// The beginning of the range. Without both ends, or with Kylin's marks of a full build, everything is built.
    #[serde(default, deserialize_with = "text::moment", skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// The end of the range, exclusive.
    #[serde(default, deserialize_with = "text::moment", skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Whether every index is built. Only `true` (the default) is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_all_indexes: Option<bool>,
    /// 0 (first) to 4 (last); 3 if absent.
    #[serde(default = "crate::normal_priority")]
    pub priority: u8,
    /// The same key again makes no second job. The header `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl BuildRequest {
    /// A build of the range, with the normal priority.
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

/// `PUT /models/{model}/segments`: one job for each segment, all or none of them.
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
    /// The same key again makes no more jobs. The header `Idempotency-Key` does the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl RefreshRequest {
    /// A refresh of the segments with these ids, with the normal priority.
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
    /// Ids of segments; all that are READY if no id and no name is given.
    #[serde(default)]
    pub ids: Vec<String>,
    /// Names of segments.
    #[serde(default)]
    pub names: Vec<String>,
    /// Whether groups are compared with the source tables, too.
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
    /// Whether all segments are dropped.
    #[serde(default, deserialize_with = "text::flag", skip_serializing_if = "Option::is_none")]
    pub purge: Option<bool>,
}

answers! {
    /// A segment.
    SegmentView {
        /// Its id.
        id: String,
        /// Its name, made of its range.
        name: String,
        /// `NEW` while it is built for the first time, then `READY`; `WARNING` if queries do not use it.
        status: String,
        /// The same again, as Kylin has it.
        status_to_display: String,
        /// Where it begins; 0 if it covers everything.
        start: i64,
        /// Where it ends, exclusive; the largest number if it covers everything.
        end: i64,
        /// When it was reserved.
        create_time_utc: i64,
        /// When it was published last.
        last_build_time: i64,
        /// Rows that were read from the tables.
        source_count: u64,
        /// Bytes of its files.
        bytes_size: u64,
        /// The epoch under which it was published last.
        epoch: u64,
        /// The job that reserved it or published it last.
        job_id: String,
        /// Why queries do not use it.
        wrong: Option<String>,
    }
    /// `POST /models/{model}/segments/verification`.
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
