//! `kirin project`.

use super::super::args::Project;
use super::super::exit::Failure;
use super::super::render;
use super::Session;
use kirin_client::{Request, decode};
use kirin_wire::{NewProject, Page, ProjectView};

pub(super) async fn run(mut it: Session<'_, '_>, command: Project) -> Result<(), Failure> {
    match command {
        Project::List => {
            let request = Request::get(&["projects"]).with("page_offset", 0).with("page_size", i32::MAX);
            let data = it.client.raw(request).await?;
            it.screen.show(&data, |_| Ok(render::projects(&decode::<Page<ProjectView>>(&data)?.value)))
        }
        Project::Create { name, description } => {
            let said = format!("project {name} created");
            let body = NewProject { name, description, ..NewProject::default() };
            it.done(Request::post(&["projects"]).body(&body)?, &said).await
        }
        Project::Drop { name, yes } => {
            it.screen.confirm(&format!("drop project '{name}'"), yes)?;
            it.done(Request::delete(&["projects", &name]), &format!("project {name} dropped")).await
        }
    }
}
