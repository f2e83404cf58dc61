//! `kirin model`.

use serde_json::Value;

use super::super::args::Model;
use super::super::exit::Failure;
use super::super::render;
use super::{Session, origin, read_argument};
use kirin_client::{Request, decode};
use kirin_wire::ModelView;

pub(super) async fn run(mut it: Session<'_, '_>, command: Model) -> Result<(), Failure> {
    match command {
        Model::Add { file } => {
            let text = read_argument(&file)?;
            let mut model: Value = serde_json::from_str(&text)
                .map_err(|e| Failure::usage(format!("{} is not valid JSON: {e}", origin(&file))))?;
            let Some(object) = model.as_object_mut() else {
                return Err(Failure::usage(format!("{} does not contain a JSON object", origin(&file))));
            };
            object.entry("project").or_insert_with(|| it.project.into());
            let name = object.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            it.done(Request::post(&["models"]).body(&model)?, &format!("model {name} added")).await
        }
        Model::List => it.list::<ModelView>(&["models"], |models, _| render::models(models)).await,
        Model::Show { name } => {
            let request = Request::get(&["models", &name]).with("project", it.project);
            let data = it.client.raw(request).await?;
            it.screen.show(&data, |_| {
                // The definition repeats the other fields.
                let model = ModelView { definition: None, ..decode(&data)? };
                render::outlined(&model)
            })
        }
        Model::Drop { name, yes } => {
            it.screen.confirm(&format!("drop model '{name}' of project '{}' and all its segments", it.project), yes)?;
            let request = Request::delete(&["models", &name]).with("project", it.project);
            it.done(request, &format!("model {name} dropped")).await
        }
    }
}
