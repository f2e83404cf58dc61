//! `kirin project`.

use serde_json::json;

use super::super::args::Project;
use super::super::client::{Request, decode};
use super::super::exit::Failure;
use super::super::payload::{Page, ProjectView};
use super::super::render;
use super::Session;

pub(super) async fn run(mut it: Session<'_, '_>, command: Project) -> Result<(), Failure> {
    match command {
        Project::List => {
            let request = Request::get(&["projects"]).with("page_offset", 0).with("page_size", i32::MAX);
            let data = it.client.raw(request).await?;
            it.screen.show(&data, |_| Ok(render::projects(&decode::<Page<ProjectView>>(&data)?.value)))
        }
        Project::Create { name, description } => {
            let request = Request::post(&["projects"]).body(&json!({ "name": name, "description": description }))?;
            it.done(request, &format!("project {name} created")).await
        }
    }
}
