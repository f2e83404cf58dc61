//! Errors of requests. This module alone maps errors to Kylin's codes, HTTP statuses and advice.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kirin_metastore::StoreError;
use kirin_service::Error;
use kirin_service::error::Thing;
use kirin_service::jobs::Status;
use kirin_wire::{Code, Problem};

/// An error for users and clients. The code determines the HTTP status, unless a client needs another one.
#[derive(Debug)]
pub struct ApiError {
    pub(crate) code: Code,
    pub(crate) text: String,
    pub(crate) suggestion: Option<String>,
    retry_after: Option<Duration>,
    status: Option<StatusCode>,
}

impl ApiError {
    /// An error with its code and a text.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), suggestion: None, retry_after: None, status: None }
    }

    /// Adds advice.
    #[must_use]
    pub fn suggest(mut self, what: impl Into<String>) -> Self {
        self.suggestion = Some(what.into());
        self
    }

    /// Sets the time after which to retry.
    #[must_use]
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets another HTTP status than that of the code.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The request is malformed.
    pub fn bad(text: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, text)
    }

    /// An internal failure of the node.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Error::Internal(error.to_string()).into()
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let (code, suggestion) = code_and_advice(&error);
        Self { code, text: error.to_string(), suggestion, retry_after: None, status: None }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Error::from(error).into()
    }
}

/// The code of an error, with advice.
fn code_and_advice(error: &Error) -> (Code, Option<String>) {
    let plain = |code| (code, None);
    let advice = |code, text: &str| (code, Some(text.to_owned()));
    match error {
        Error::Name { .. }
        | Error::NoColumn(_)
        | Error::Invalid(_)
        | Error::OutsideRoots(_)
        | Error::HalfRange
        | Error::Spec(_)
        | Error::Priority(_)
        | Error::Force => plain(Code::BadRequest),
        Error::UnknownFormat(location) => {
            let pattern =
                format!("select the files with a pattern, for example {}/*.parquet", location.trim_end_matches('/'));
            (Code::BadRequest, Some(pattern))
        }
        Error::SeveralFormats(_) => {
            advice(Code::BadRequest, "select one format with a pattern, for example dir/*.parquet")
        }
        Error::NoFiles(_) => advice(Code::BadRequest, "give a complete source: {\"format\": \"csv\", \"location\": …}"),
        Error::NoSuchFile(_) => {
            advice(Code::BadRequest, "check the path, and that its file system is mounted on this node")
        }
        Error::NoPartition(_) => advice(Code::BadRequest, "omit start and end, or add a partition to the model"),
        Error::NoSegmentNamed => advice(Code::BadRequest, "give segments in ids or names"),
        Error::SubmittedElsewhere(own) => advice(Code::BadRequest, own.instead),

        Error::NoProject(_) => {
            advice(Code::NoProject, "see `kirin project list`, or create it with `kirin project create`")
        }
        Error::ProjectExists(_) => advice(Code::ProjectExists, "choose another name"),
        Error::ProjectInUse(_) => advice(Code::ProjectInUse, "drop its models and tables, and discard its jobs"),
        Error::NoDefinition { what, .. } => (Code::NoModel, Some(see_list(*what))),
        Error::NoModel(_) => (Code::NoModel, Some(see_list(Thing::Model))),
        Error::DefinitionExists { .. } => advice(Code::Exists, "drop it first"),
        Error::TableInUse { .. } => advice(Code::TableInUse, "drop the model first"),
        Error::Changed => plain(Code::Changed),

        Error::NoSegment { .. } => advice(Code::NoSegment, "see `kirin segment list`"),
        Error::SegmentBusy(_) => advice(Code::SegmentBusy, "wait for its job, or discard it"),
        Error::Overlap(_) => advice(
            Code::Overlap,
            "see `kirin segment list`; choose another range, or use `kirin segment drop` or `kirin segment refresh`",
        ),
        Error::DamagedSegment { segment, .. } => (
            Code::DamagedSegment,
            Some(format!("`kirin segment refresh MODEL {segment}` builds it again; `kirin segment drop` drops it")),
        ),

        Error::NoJob(_) => advice(Code::NoJob, "see `kirin job list`"),
        Error::NoStep { job, steps, .. } => {
            (Code::NoJob, Some(format!("use {job}_00 to {job}_{:02}", steps.saturating_sub(1))))
        }
        Error::WrongState { action, .. } => {
            let mut allowed: Vec<_> = action.allowed_in().map(|state| Status::of(state, false).as_str()).collect();
            allowed.dedup();
            let (name, allowed) = (action.name(), allowed.join(", "));
            let text = format!("{name} applies to jobs in status {allowed}; see `kirin job show ID`");
            (Code::WrongState, Some(text))
        }

        Error::Olap(kirin_olap::Error::NoRealization { .. }) => advice(
            Code::QueryFailed,
            "build an index that covers the query, or read the raw tables: `kirin sql --push-down`, \
             \"forcedToPushDown\": true in the request, or kylin.query.pushdown-enabled=true",
        ),
        Error::Olap(kirin_olap::Error::Incomplete { .. }) => advice(
            Code::QueryFailed,
            "build the missing ranges with `kirin segment build`, or add their rows from the raw tables: \
             `kirin sql --push-down`, \"forcedToPushDown\": true in the request, or kylin.query.pushdown-enabled=true",
        ),
        Error::Olap(kirin_olap::Error::SegmentData { model, .. }) => {
            (Code::QueryFailed, Some(format!("`kirin segment refresh {model} ID` builds the segment again")))
        }
        Error::Olap(kirin_olap::Error::Sql(_)) => plain(Code::WrongSql),
        Error::Olap(kirin_olap::Error::Timeout { .. }) => plain(Code::QueryTimeout),
        Error::Olap(kirin_olap::Error::Memory(_)) => {
            advice(Code::QueryMemory, "ask for less at once, build an index for it, or raise kirin.query.memory-limit")
        }
        Error::Olap(_) => plain(Code::QueryFailed),

        Error::NoNode(_) => advice(Code::NoNode, "see `kirin cluster list`"),

        Error::Store(error) if error.is_outage() => unavailable(),
        Error::Store(StoreError::TooLarge { .. }) => plain(Code::TooLarge),
        Error::Store(StoreError::Refused(_)) => plain(Code::BadRequest),
        Error::Store(_) | Error::Internal(_) => plain(Code::Internal),
        Error::Stopping | Error::Unconfirmed(_) => unavailable(),
    }
}

fn unavailable() -> (Code, Option<String>) {
    let text = "the metastore does not respond; try again with the same idempotency key";
    (Code::Unavailable, Some(text.to_owned()))
}

fn see_list(of: Thing) -> String {
    format!("see `kirin {of} list`")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let of_code = || StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let status = self.status.unwrap_or_else(of_code);
        let problem = Problem::new(self.code, self.text, self.suggestion);
        let mut response = (status, axum::Json(&problem)).into_response();
        let wait = self.retry_after.or((self.code == Code::Unavailable).then_some(Duration::from_secs(1)));
        if let Some(wait) = wait {
            // Whole seconds, rounded up.
            let secs = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs.max(1)));
        }
        if self.code == Code::NotAuthenticated {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Kylin\""));
        }
        response.extensions_mut().insert(problem);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_status_of_its_code_and_an_outage_has_a_retry_time() {
        let response = ApiError::from(StoreError::Late(std::time::Duration::from_secs(5))).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let response = ApiError::from(Error::NoProject("p".to_owned())).into_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(!response.headers().contains_key(header::RETRY_AFTER));
    }

    #[test]
    fn mistakes_in_sql_limits_and_failures_of_queries_have_different_codes() {
        use kirin_olap::Error as Olap;
        let of = |error| {
            let error = ApiError::from(Error::Olap(error));
            (error.code, error.into_response().status().as_u16())
        };
        assert_eq!(of(Olap::Sql("no such column".into())), (Code::WrongSql, 400));
        assert_eq!(of(Olap::Timeout { millis: 5 }), (Code::QueryTimeout, 500));
        assert_eq!(of(Olap::Memory("1 GB".into())), (Code::QueryMemory, 500));
        assert_eq!(of(Olap::Execution("a thread ended".into())), (Code::QueryFailed, 500));
        assert_eq!(of(Olap::NoRealization { reasons: Vec::new() }), (Code::QueryFailed, 500));
    }

    #[test]
    fn the_push_down_advice_names_existing_options() {
        let error = ApiError::from(Error::Olap(kirin_olap::Error::NoRealization { reasons: Vec::new() }));
        let body = r#"{"sql":"s","forcedToPushDown":true}"#;
        assert!(
            crate::body::read::<kirin_wire::QueryRequest>(body.as_bytes())
                .is_ok_and(|q| q.forced_to_push_down == Some(true))
        );
        assert!(error.suggestion.is_some_and(|text| text.contains("\"forcedToPushDown\": true")));
        assert!(!error.text.contains("\"push_down\""), "{}", error.text);
        let key = kirin_config::keys::standing("kylin.query.pushdown-enabled");
        assert!(!matches!(key, kirin_config::keys::Standing::Unknown(_)));
    }

    #[test]
    fn an_impossible_action_is_refused_with_the_allowed_statuses() {
        use kirin_core::{Action, JobState};
        use kirin_service::error::Refusal;
        let job = uuid::Uuid::from_u128(7);
        let error = Error::WrongState { action: Action::Resume, job, why: Refusal::State(JobState::Running), more: 2 };
        let error = ApiError::from(error);
        assert_eq!(error.code, Code::WrongState);
        assert_eq!(error.text.to_lowercase(), format!("cannot resume job {job}: it is in running status (and 2 more)"));
        let advice = error.suggestion.unwrap_or_default();
        assert!(advice.contains("ERROR") && advice.contains("STOPPED") && !advice.contains("RUNNING"), "{advice}");
    }
}
