//! `/projects`.

use axum::extract::{Path, State};
use kirin_metastore::ProjectInfo;
use kirin_service::projects::NewProject;
use kirin_wire::{ADMIN, DEFAULT_DATABASE, Done, PROJECT_LIMIT, Page, Paging, ProjectConfig, ProjectView};

use super::{ApiError, Body, Data, Params, Result, Shared, Who, cut};

/// The default number of rows per page.
const PAGE: u64 = 100;

/// `GET /projects`.
pub(super) async fn list(
    State(context): Shared,
    Who(who): Who,
    Params(paging): Params<Paging>,
) -> Result<Page<ProjectView>> {
    let all = context.service.projects.list(&who).await?;
    cut(all.iter().map(view).collect(), paging, PAGE).map(Data)
}

fn view(project: &ProjectInfo) -> ProjectView {
    ProjectView {
        uuid: project.id.0.to_string(),
        name: project.name.clone(),
        owner: project.owner.clone().unwrap_or_else(|| ADMIN.to_owned()),
        status: "ENABLED".to_owned(),
        description: project.description.clone(),
        create_time: project.created_ms,
        create_time_utc: project.created_ms,
        last_modified: project.created_ms,
        default_database: DEFAULT_DATABASE.to_owned(),
        override_kylin_properties: [(PROJECT_LIMIT.to_owned(), project.limit.to_string())].into(),
    }
}

/// `POST /projects`.
pub(super) async fn create(
    State(context): Shared,
    Who(who): Who,
    Body(body): Body<kirin_wire::NewProject>,
) -> Result<ProjectView> {
    let mut limit = None;
    for (key, value) in &body.override_kylin_properties {
        if key != PROJECT_LIMIT {
            return Err(ApiError::bad(format!("'{key}' cannot be set for a project; only {PROJECT_LIMIT} can")));
        }
        let wrong = |_| ApiError::bad(format!("{key} is '{value}', which is not a non-negative integer"));
        limit = Some(value.trim().parse().map_err(wrong)?);
    }
    let new = NewProject { name: body.name, description: body.description, limit };
    Ok(Data(view(&context.service.projects.create(&who, new).await?)))
}

/// `DELETE /projects/{p}`: drops an empty project.
pub(super) async fn drop(State(context): Shared, Who(who): Who, Path(name): Path<String>) -> Result<Done> {
    context.service.projects.drop(&who, &name).await?;
    Ok(Data(Done))
}

/// `PUT /projects/{p}/project_config`: the maximum number of its jobs that run at once.
pub(super) async fn configure(
    State(context): Shared,
    Who(who): Who,
    Path(name): Path<String>,
    Body(body): Body<ProjectConfig>,
) -> Result<Done> {
    context.service.projects.set_limit(&who, &name, body.limit).await?;
    Ok(Data(Done))
}
