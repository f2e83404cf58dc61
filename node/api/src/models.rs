//! `/models`.

use axum::extract::{Path, State};
use kirin_olap::Model;
use kirin_wire::{
    AggregationGroupView, DEFAULT_DATABASE, DEFAULT_PROJECT, DimensionView, Done, IndexView, LookupView, MeasureView,
    ModelDefinition, ModelView, OfProject, Page, PartitionView, StoredModel,
};
use serde::Deserialize as _;

use super::{ApiError, Body, Data, Params, Result, Shared, Who, cut};

/// The default number of rows per page.
const PAGE: u64 = 100;

/// `GET /models`.
pub(super) async fn list(
    State(context): Shared,
    Who(who): Who,
    Params(params): Params<OfProject>,
) -> Result<Page<ModelView>> {
    let catalog = context.service.models.list(&who, &params.project).await?;
    let wanted = |model: &&Model| params.model_name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&model.name));
    let all: Vec<_> = catalog.models.iter().filter(wanted).map(view).collect();
    cut(all, params.paging(), PAGE).map(Data)
}

fn view(model: &Model) -> ModelView {
    let layouts = model.layouts().unwrap_or_default().into_iter();
    let index = |layout| IndexView { layout, dimensions: model.layout_dimensions(layout) };
    let definition = stored(model);
    ModelView {
        uuid: model.name.clone(),
        name: model.name.clone(),
        alias: model.name.clone(),
        fact: model.fact.clone(),
        fact_table: format!("{DEFAULT_DATABASE}.{}", model.fact),
        lookups: definition.lookups.clone(),
        dimensions: definition.dimensions.clone(),
        measures: definition.measures.clone(),
        partition: definition.partition.clone(),
        aggregation_groups: definition.aggregation_groups.clone(),
        indexes: layouts.map(index).collect(),
        definition: Some(definition),
    }
}

fn stored(model: &Model) -> StoredModel {
    let Model { name, fact, lookups, dimensions, measures, partition, aggregation_groups, indexes } = model.clone();
    let lookup = |it: kirin_olap::Lookup| LookupView {
        table: it.table,
        alias: it.alias,
        join: it.join.name().to_owned(),
        fact_key: it.fact_key,
        lookup_key: it.lookup_key,
    };
    let dimension = |it: kirin_olap::Dimension| DimensionView { name: it.name, column: it.column };
    let measure =
        |it: kirin_olap::Measure| MeasureView { name: it.name, function: it.function.name(), column: it.column };
    let group =
        |it: kirin_olap::AggregationGroup| AggregationGroupView { include: it.include, mandatory: it.mandatory };
    StoredModel {
        name,
        fact,
        lookups: lookups.into_iter().map(lookup).collect(),
        dimensions: dimensions.into_iter().map(dimension).collect(),
        measures: measures.into_iter().map(measure).collect(),
        partition: partition.map(|it| PartitionView { column: it.column, format: it.format }),
        aggregation_groups: aggregation_groups.into_iter().map(group).collect(),
        indexes,
    }
}

/// `POST /models`.
pub(super) async fn add(
    State(context): Shared,
    Who(who): Who,
    Body(mut body): Body<ModelDefinition>,
) -> Result<ModelView> {
    let project = body.project.take().unwrap_or_else(|| DEFAULT_PROJECT.to_owned());
    let value = serde_json::to_value(&body).map_err(ApiError::internal)?;
    let model = Model::deserialize(value).map_err(|error| ApiError::bad(format!("invalid model: {error}")))?;
    Ok(Data(view(&context.service.models.add(&who, &project, model).await?)))
}

/// `GET /models/{m}`.
pub(super) async fn show(
    State(context): Shared,
    Who(who): Who,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<ModelView> {
    Ok(Data(view(&context.service.models.find(&who, &params.project, &name).await?)))
}

/// `DELETE /models/{m}`: drops the model and its segments, unless a job builds one of them.
pub(super) async fn drop(
    State(context): Shared,
    Who(who): Who,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Done> {
    context.service.models.drop(&who, &params.project, &name).await?;
    Ok(Data(Done))
}
