//! `/projects`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::answer::answers;
use crate::text;

/// The only setting of a project: the maximum number of its jobs that run at once.
pub const PROJECT_LIMIT: &str = "kylin.job.max-concurrent-jobs";

/// `POST /projects`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Its name: 1 to 100 letters, digits, `_` and `-`, starting with a letter or digit.
    pub name: String,
    /// Its description.
    #[serde(default)]
    pub description: String,
    /// Its settings; [`PROJECT_LIMIT`] is the only one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub override_kylin_properties: BTreeMap<String, String>,
}

/// `PUT /projects/{project}/project_config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectConfig {
    /// The maximum number of the project's jobs that run at once.
    #[serde(rename = "kylin.job.max-concurrent-jobs")]
    pub limit: u32,
}

/// The page of a list. `page_offset` counts pages, not rows, as in Kylin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paging {
    /// The number of the page, from 0 (the default).
    #[serde(default, alias = "pageOffset", deserialize_with = "text::number", skip_serializing_if = "Option::is_none")]
    pub page_offset: Option<u64>,
    /// Rows per page, at least 1. Each list has its own default.
    #[serde(
        default,
        alias = "pageSize",
        alias = "limit",
        deserialize_with = "text::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

/// A list within a project, and its page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfProject {
    /// The project; `default` if absent.
    #[serde(default = "crate::default_project", alias = "projectName")]
    pub project: String,
    /// For `GET /models`: only the model with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_name: Option<String>,
    /// As in [`Paging`].
    #[serde(default, alias = "pageOffset", deserialize_with = "text::number", skip_serializing_if = "Option::is_none")]
    pub page_offset: Option<u64>,
    /// As in [`Paging`].
    #[serde(
        default,
        alias = "pageSize",
        alias = "limit",
        deserialize_with = "text::number",
        skip_serializing_if = "Option::is_none"
    )]
    pub page_size: Option<u64>,
}

impl OfProject {
    /// The first page of a list of this project.
    pub fn new(project: impl Into<String>) -> Self {
        Self { project: project.into(), ..Self::default() }
    }

    /// The page.
    pub const fn paging(&self) -> Paging {
        Paging { page_offset: self.page_offset, page_size: self.page_size }
    }
}

answers! {
    /// A project.
    ProjectView {
        /// Its id.
        uuid: String,
        /// Its name.
        name: String,
        /// Its owner.
        owner: String,
        /// Always `ENABLED`.
        status: String,
        /// Its description.
        description: String,
        /// When it was created.
        create_time: i64,
        /// The same, under Kylin's name.
        create_time_utc: i64,
        /// When it was created. Later only its settings change.
        last_modified: i64,
        /// The database of tables without a schema.
        default_database: String,
        /// Its settings.
        override_kylin_properties: BTreeMap<String, String>,
    }
}
