//! Projects, tables, models, segments.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use kirin_core::{Answer, Ask};
use kirin_metastore::{Doc, DocKind, Extra, NewSegment, ProjectInfo, SegmentInfo, SegmentState};
use kirin_olap::{BuildJob, Catalog, Format, Model, SegmentRange, Source, Table};
use kirin_wire::{
    ADMIN, BuildRequest, Code, ColumnView, DEFAULT_DATABASE, DEFAULT_PROJECT, Done, DropSegments, Given, IndexView,
    ModelDefinition, ModelView, Moment, NewProject, NewTable, OfProject, PROJECT_LIMIT, Page, Paging, ProjectConfig,
    ProjectView, RefreshRequest, SegmentView, SkippedColumn, Submitted, TableAdded, TableView, VerificationView,
    VerifyRequest,
};
use serde::Deserialize;
use serde_json::Value;

use super::jobs::{NewJob, accept, accept_all};
use super::{ApiError, Body, Context, Data, Params, Result, Shared, cut, header_text, is_local, project};
use kirin_executor::build::{self, BuildSpec};
use kirin_service::catalog::{FULL, ends};

type Checked<T> = std::result::Result<T, ApiError>;

/// A write that depends on the whole catalog is tried again when another write came first. Each time one of them succeeds.
const TRIES_MAX: usize = 16;

/// Rows of a page of projects, tables or models, if the request does not say.
const PAGE: u64 = 100;
/// Rows of a page of segments, if the request does not say.
const SEGMENTS_PAGE: u64 = 1000;

// --- projects ---

/// `GET /projects`.
pub(super) async fn projects(State(context): Shared, Params(paging): Params<Paging>) -> Result<Page<ProjectView>> {
    let all = context.store.projects().await?;
    cut(all.iter().map(project_view).collect(), paging, PAGE).map(Data)
}

fn project_view(project: &ProjectInfo) -> ProjectView {
    ProjectView {
        uuid: project.id.0.to_string(),
        name: project.name.clone(),
        owner: ADMIN.to_owned(),
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
pub(super) async fn create_project(State(context): Shared, Body(body): Body<NewProject>) -> Result<ProjectView> {
    named("the project's name", &body.name)?;
    let mut limit = context.config.jobs.per_project;
    for (key, value) in &body.override_kylin_properties {
        if key != PROJECT_LIMIT {
            return Err(ApiError::bad(format!("'{key}' can't be set for a project; only {PROJECT_LIMIT} can")));
        }
        limit = value.trim().parse().map_err(|_| ApiError::bad(format!("{key} is '{value}', not a number from 0")))?;
    }
    let exists = |name| {
        ApiError::new(Code::ProjectExists, format!("there is a project '{name}' already"))
            .suggest("choose another name")
    };
    // The metastore tells upper from lower case; users do not.
    if let Some(other) = context.store.project(&body.name).await? {
        return Err(exists(other.name));
    }
    let Some(made) = context.store.create_project(&body.name, &body.description, limit).await? else {
        return Err(exists(body.name));
    };
    context.mind.tell(kirin_core::Event::ListsChanged);
    Ok(Data(project_view(&made)))
}

/// A name that can stand in a path, a table and a query.
fn named(what: &str, name: &str) -> Checked<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 100 || !name.chars().all(fits) || !name.starts_with(char::is_alphanumeric) {
        return Err(ApiError::bad(format!(
            "{what} is '{name}'; allowed are 1 to 100 letters, digits, '_' and '-', beginning with a letter or digit"
        )));
    }
    Ok(())
}

/// `DELETE /projects/{p}`: only one in which nothing is left.
pub(super) async fn drop_project(State(context): Shared, Path(name): Path<String>) -> Result<Done> {
    let project = project(&context, &name).await?;
    let is_empty = context.store.docs(project.id).await?.is_empty();
    if !is_empty || !context.store.drop_project(project.id).await? {
        return Err(ApiError::new(
            Code::ProjectInUse,
            format!("project '{name}' still has tables, models or open jobs"),
        )
        .suggest("drop its models and tables, discard its jobs"));
    }
    Ok(Data(Done))
}

/// `PUT /projects/{p}/project_config`: how many of its jobs run at once.
pub(super) async fn configure_project(
    State(context): Shared,
    Path(name): Path<String>,
    Body(body): Body<ProjectConfig>,
) -> Result<Done> {
    let project = project(&context, &name).await?;
    done(context.store.ask(&Ask::SetLimit { project: project.id, limit: body.limit }, Extra::None).await)?;
    context.mind.tell(kirin_core::Event::ListsChanged);
    Ok(Data(Done))
}

fn done(answer: Answer) -> Checked<()> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Refused => Err(changed()),
        _ => Err(ApiError::unavailable("the change may or may not have taken place")),
    }
}

// --- tables ---

/// A table's document: its definition, and what was found out when it was added.
#[derive(serde::Serialize, Deserialize)]
struct TableDoc {
    #[serde(flatten)]
    table: Table,
    /// Rows of all files, where the format tells without reading them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

/// `GET /tables`.
pub(super) async fn tables(State(context): Shared, Params(params): Params<OfProject>) -> Result<Page<TableView>> {
    let project = project(&context, &params.project).await?;
    let broken = context.catalogs.broken(&context.store, &params.project).await?;
    let docs = context.store.docs(project.id).await?;
    let all = docs.into_iter().filter(|doc| doc.kind == DocKind::Table).map(|doc| {
        let problem = broken.iter().find(|b| b.kind == "table" && b.name == doc.name).map(|b| b.problem.clone());
        match TableDoc::deserialize(doc.value) {
            Ok(known) => TableView { broken: problem, ..table_view(known) },
            Err(error) => TableView {
                name: doc.name,
                database: DEFAULT_DATABASE.to_owned(),
                broken: Some(problem.unwrap_or_else(|| error.to_string())),
                ..TableView::default()
            },
        }
    });
    cut(all.collect(), params.paging(), PAGE).map(Data)
}

fn table_view(TableDoc { table, rows }: TableDoc) -> TableView {
    TableView {
        name: table.name,
        database: DEFAULT_DATABASE.to_owned(),
        source: serde_json::to_value(Source { granted: None, ..table.source }).unwrap_or_default(),
        rows,
        columns: columns(&table.columns),
        broken: None,
    }
}

fn columns(all: &[kirin_olap::Column]) -> Vec<ColumnView> {
    all.iter().map(|column| ColumnView::new(&column.name, &column.type_name)).collect()
}

/// What is granted to a source outside of the roots, because the administrator of the machine names it. Before anything
/// else: the files of others are not looked at.
fn granted(context: &Context, headers: &HeaderMap, given: &Given) -> Checked<Option<String>> {
    let location = match given {
        Given::Full(source) => &source.location,
        Given::Location(location) => location,
    };
    // Its format does not matter here.
    let source = Source { format: Format::Csv, location: location.clone(), csv: None, granted: None };
    let Err(problem) = context.catalogs.engine().may_read(&source) else { return Ok(None) };
    if !is_local(context, headers) {
        return Err(ApiError::bad(problem));
    }
    match source.local_root() {
        Some(root) => Ok(Some(root.display().to_string())),
        None => Err(ApiError::bad(format!("there is no file or directory at {location}"))),
    }
}

/// The source that is given, or the one that the names of the files tell.
fn source(given: Given) -> Checked<Source> {
    let location = match given {
        Given::Full(source) => {
            let value = serde_json::to_value(source).map_err(ApiError::internal)?;
            return Source::deserialize(value).map_err(|e| ApiError::bad(format!("the source: {e}")));
        }
        Given::Location(location) => location,
    };
    if !location.starts_with("file://") && location.contains("://") {
        let format = match Format::of_file_name(&location) {
            Some(format) => format,
            None => {
                return Err(ApiError::bad(format!("{location} does not say what its files are"))
                    .suggest(format!("name them with a pattern, as in {}/*.parquet", location.trim_end_matches('/'))));
            }
        };
        return Ok(Source { format, location, csv: None, granted: None });
    }
    let path = std::path::Path::new(location.strip_prefix("file://").unwrap_or(&location));
    let mut formats = Vec::new();
    formats_at(path, &mut formats);
    let format = match (formats.contains(&Format::Parquet), formats.contains(&Format::Csv)) {
        (true, false) => Format::Parquet,
        (false, true) => Format::Csv,
        (true, true) => {
            return Err(ApiError::bad(format!("{location} holds both Parquet and CSV files"))
                .suggest("name one of them with a pattern, as in dir/*.parquet"));
        }
        (false, false) => {
            return Err(ApiError::bad(format!(
                "{location} is not a .parquet, .csv or .tsv file, nor a directory with any"
            ))
            .suggest("give the source in full: {\"format\": \"csv\", \"location\": …}"));
        }
    };
    Ok(Source { format, location, csv: None, granted: None })
}

/// The formats of a file, or of the files in a directory and its `key=value` directories.
fn formats_at(path: &std::path::Path, formats: &mut Vec<Format>) {
    let Ok(entries) = std::fs::read_dir(path) else {
        formats.extend(path.file_name().and_then(|name| Format::of_file_name(name.to_str()?)));
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match Format::of_file_name(&name) {
            Some(format) if !name.starts_with(['.', '_']) => formats.push(format),
            None if name.contains('=') => formats_at(&entry.path(), formats),
            _ => {}
        }
    }
}

/// `POST /tables`: a table over files that are there.
pub(super) async fn add_table(
    State(context): Shared,
    headers: HeaderMap,
    Body(body): Body<NewTable>,
) -> Result<TableAdded> {
    named("the table's name", &body.name)?;
    let project = project(&context, &body.project).await?;
    let granted = granted(&context, &headers, &body.source)?;
    let source = Source { granted, ..source(body.source)? };
    let described = context.catalogs.engine().describe(&source).await.map_err(|e| ApiError::bad(e.to_string()))?;
    let mut table = Table { name: body.name, source, columns: described.columns };
    for declared in body.columns {
        let column = table.columns.iter_mut().find(|c| c.name.to_lowercase() == declared.name.to_lowercase());
        let unknown = || ApiError::bad(format!("there is no column '{}' in the source", declared.name));
        column.ok_or_else(unknown)?.type_name = declared.data_type;
    }
    // What is accepted can be opened.
    context.catalogs.engine().check(&table).await.map_err(|e| ApiError::bad(e.to_string()))?;
    let doc = TableDoc { table, rows: described.rows };
    let value = serde_json::to_value(&doc).map_err(ApiError::internal)?;
    let TableDoc { table, rows } = doc;
    put_new(&context, &project, DocKind::Table, &table.name, &value, |_| Ok(())).await?;
    let skipped = described.skipped.into_iter().map(|(name, reason)| SkippedColumn { name, reason });
    Ok(Data(TableAdded {
        rows,
        files: described.files as u64,
        columns: columns(&table.columns),
        name: table.name,
        skipped_columns: skipped.collect(),
        notes: described.notes,
    }))
}

/// Writes a new definition, if the catalog is so that it may be.
async fn put_new(
    context: &Context,
    project: &ProjectInfo,
    kind: DocKind,
    name: &str,
    value: &Value,
    may_be: impl Fn(&Catalog) -> Checked<()>,
) -> Checked<()> {
    for _ in 0..TRIES_MAX {
        let (catalog, revision) = context.catalogs.at_revision(&context.store, &project.name).await?;
        may_be(&catalog)?;
        // Damaged ones are not in the catalog.
        let docs = context.store.docs(project.id).await?;
        if docs.iter().any(|doc| doc.kind == kind && doc.name.eq_ignore_ascii_case(name)) {
            let what = if kind == DocKind::Table { "table" } else { "model" };
            return Err(
                ApiError::new(Code::Exists, format!("there is a {what} '{name}' already")).suggest("drop it first")
            );
        }
        if context.store.add_doc(project.id, kind, name, value, revision).await? {
            return Ok(());
        }
    }
    Err(changed())
}

/// Drops a definition, if the catalog is so that nothing needs it.
async fn drop_old(
    context: &Context,
    project: &ProjectInfo,
    kind: DocKind,
    name: &str,
    may_go: impl Fn(&Catalog, &[SegmentInfo]) -> Checked<()>,
) -> Result<Done> {
    for _ in 0..TRIES_MAX {
        let (catalog, revision) = context.catalogs.at_revision(&context.store, &project.name).await?;
        let doc = doc(context, project, kind, name).await?;
        may_go(&catalog, &context.store.segments(project.id, Some(&doc.name)).await?)?;
        if context.store.drop_doc(project.id, &doc, revision).await? {
            return Ok(Data(Done));
        }
    }
    Err(changed())
}

fn changed() -> ApiError {
    ApiError::new(Code::Changed, "it changed meanwhile; try again")
}

async fn doc(context: &Context, project: &ProjectInfo, kind: DocKind, name: &str) -> Checked<Doc> {
    let docs = context.store.docs(project.id).await?;
    docs.into_iter().find(|doc| doc.kind == kind && doc.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let what = if kind == DocKind::Table { "table" } else { "model" };
        ApiError::new(Code::NoModel, format!("there is no {what} '{name}' in project '{}'", project.name))
            .suggest(format!("see `kirin {what} list`"))
    })
}

/// `DELETE /tables/{t}`: only one that no model uses.
pub(super) async fn drop_table(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Done> {
    let project = project(&context, &params.project).await?;
    let uses = |model: &&Model| {
        std::iter::once(&model.fact)
            .chain(model.lookups.iter().map(|l| &l.table))
            .any(|t| t.eq_ignore_ascii_case(&name))
    };
    let may_go = |catalog: &Catalog, _: &[SegmentInfo]| {
        let Some(model) = catalog.models.iter().find(uses) else { return Ok(()) };
        let text = format!("table '{name}' is used by model '{}'", model.name);
        Err(ApiError::new(Code::TableInUse, text).suggest("drop the model first"))
    };
    drop_old(&context, &project, DocKind::Table, &name, may_go).await
}

// --- models ---

/// `GET /models`.
pub(super) async fn models(State(context): Shared, Params(params): Params<OfProject>) -> Result<Page<ModelView>> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    let wanted = |model: &&Model| params.model_name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&model.name));
    let all: Vec<_> = catalog.models.iter().filter(wanted).map(model_view).collect();
    cut(all, params.paging(), PAGE).map(Data)
}

fn model_view(model: &Model) -> ModelView {
    let layouts = model.layouts().unwrap_or_default().into_iter();
    let index = |layout| IndexView { layout, dimensions: model.layout_dimensions(layout) };
    let value = serde_json::to_value(model).unwrap_or_default();
    let list = |field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    ModelView {
        uuid: model.name.clone(),
        name: model.name.clone(),
        alias: model.name.clone(),
        fact: model.fact.clone(),
        fact_table: format!("{DEFAULT_DATABASE}.{}", model.fact),
        lookups: list("lookups"),
        dimensions: list("dimensions"),
        measures: list("measures"),
        partition: value.get("partition").cloned(),
        aggregation_groups: list("aggregation_groups"),
        indexes: layouts.map(index).collect(),
        definition: value.clone(),
    }
}

/// `POST /models`.
pub(super) async fn add_model(State(context): Shared, Body(mut body): Body<ModelDefinition>) -> Result<ModelView> {
    let project = project(&context, body.project.take().as_deref().unwrap_or(DEFAULT_PROJECT)).await?;
    let value = serde_json::to_value(&body).map_err(ApiError::internal)?;
    let model = Model::deserialize(value).map_err(|e| ApiError::bad(format!("the model: {e}")))?;
    named("the model's name", &model.name)?;
    let value = serde_json::to_value(&model).map_err(ApiError::internal)?;
    let may_be = |catalog: &Catalog| model.validate(&catalog.tables).map_err(|e| ApiError::bad(e.to_string()));
    put_new(&context, &project, DocKind::Model, &model.name, &value, may_be).await?;
    Ok(Data(model_view(&model)))
}

/// `GET /models/{m}`.
pub(super) async fn model(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<ModelView> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    Ok(Data(model_view(model_of(&catalog.models, &name)?)))
}

fn model_of<'a>(models: &'a [Model], name: &str) -> Checked<&'a Model> {
    models.iter().find(|model| model.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        ApiError::new(Code::NoModel, format!("there is no model '{name}'")).suggest("see `kirin model list`")
    })
}

/// `DELETE /models/{m}`: the model and its segments, unless one of them is being built.
pub(super) async fn drop_model(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Done> {
    let project = project(&context, &params.project).await?;
    let model = doc(&context, &project, DocKind::Model, &name).await?;
    // Nothing is dropped if a segment is being built.
    let segments = context.store.segments(project.id, Some(&model.name)).await?;
    all_ready(&segments)?;
    for segment in &segments {
        if !context.store.drop_segment(segment.id).await? {
            return Err(being_built(segment));
        }
    }
    // A build may have reserved a range since.
    let may_go = |_: &Catalog, segments: &[SegmentInfo]| segments.first().map_or(Ok(()), |busy| Err(being_built(busy)));
    drop_old(&context, &project, DocKind::Model, &name, may_go).await
}

fn being_built(segment: &SegmentInfo) -> ApiError {
    ApiError::new(Code::SegmentBusy, format!("segment {} is being built", segment.id))
        .suggest("wait for its job, or discard it")
}

// --- segments ---

/// `GET /models/{m}/segments`.
pub(super) async fn segments(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Page<SegmentView>> {
    let project = project(&context, &params.project).await?;
    let model = doc(&context, &project, DocKind::Model, &name).await?;
    let rows = context.store.segments(project.id, Some(&model.name)).await?;
    cut(rows.iter().map(segment_view).collect(), params.paging(), SEGMENTS_PAGE).map(Data)
}

fn range_of(segment: &SegmentInfo) -> SegmentRange {
    kirin_service::catalog::range(segment.start_ms, segment.end_ms)
}

fn segment_view(segment: &SegmentInfo) -> SegmentView {
    let manifest = segment.manifest.as_ref();
    let number = |key: &str| manifest.and_then(|m| m.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let wrong = manifest.and_then(|m| m.get("wrong")).and_then(Value::as_str);
    let status = match (segment.state, wrong) {
        (SegmentState::New, _) => "NEW",
        (SegmentState::Ready, None) => "READY",
        // As Kylin calls a segment that is there and that queries must not trust.
        (SegmentState::Ready, Some(_)) => "WARNING",
    };
    SegmentView {
        id: segment.id.to_string(),
        name: range_of(segment).segment_name(),
        status: status.to_owned(),
        status_to_display: status.to_owned(),
        start: segment.start_ms,
        end: segment.end_ms,
        create_time_utc: segment.created_ms,
        last_build_time: segment.changed_ms,
        source_count: number("source_rows"),
        bytes_size: number("bytes"),
        epoch: segment.epoch.0,
        job_id: segment.job.to_string(),
        wrong: wrong.map(str::to_owned),
    }
}

/// Kylin's clients write a full range as its ends, exactly or nearly.
fn wished_range(model: &Model, build: &BuildRequest) -> Checked<SegmentRange> {
    let range = match (build.start, build.end) {
        (None, None) => SegmentRange::Full,
        (Some(Moment(start)), Some(Moment(end))) if start <= FULL.0 + 1 && end >= FULL.1 - 1 => SegmentRange::Full,
        (Some(Moment(start_ms)), Some(Moment(end_ms))) => SegmentRange::Time { start_ms, end_ms },
        _ => return Err(ApiError::bad("give both start and end, or neither for everything")),
    };
    range.validate().map_err(|e| ApiError::bad(e.to_string()))?;
    if matches!(range, SegmentRange::Time { .. }) && model.partition.is_none() {
        return Err(ApiError::bad(format!(
            "model '{}' has no partition column, so it is built as a whole",
            model.name
        ))
        .suggest("leave out start and end, or add a partition to the model"));
    }
    Ok(range)
}

/// `POST /models/{m}/segments`: a build of a new segment.
pub(super) async fn build_segment(
    State(context): Shared,
    headers: HeaderMap,
    Path(name): Path<String>,
    Body(body): Body<BuildRequest>,
) -> Result<Submitted> {
    if body.build_all_indexes == Some(false) {
        return Err(ApiError::bad("build_all_indexes is false; a build always builds every index"));
    }
    let project = project(&context, &body.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?.clone();
    let range = wished_range(&model, &body)?;
    let (start_ms, end_ms) = ends(&range);
    let key = body.idempotency_key.or_else(|| header_text(&headers, "idempotency-key").map(str::to_owned));
    // The same key has to reserve the same segment.
    let segment = key.as_ref().map_or_else(uuid::Uuid::now_v7, |key| {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, format!("{}/{}/{key}", project.id.0, model.name).as_bytes())
    });
    let reserve = NewSegment { id: segment, model: model.name.clone(), start_ms, end_ms };
    let build = NewBuild { model, range, segment, priority: body.priority, key, reserve: Some(reserve) };
    let job = build_job(&catalog, build)?;
    let job = accept(&context, &project, job).await?;
    Ok(Data(Submitted { job_id: String::new(), jobs: vec![job], segment_id: Some(segment.to_string()) }))
}

struct NewBuild {
    model: Model,
    range: SegmentRange,
    segment: uuid::Uuid,
    priority: u8,
    key: Option<String>,
    /// Nothing, if a segment that is there is built again.
    reserve: Option<NewSegment>,
}

fn build_job(catalog: &kirin_olap::Catalog, build: NewBuild) -> Checked<NewJob> {
    let NewBuild { model, range, segment, priority, key, reserve } = build;
    let subject = model.name.clone();
    let used = |table: &&Table| {
        std::iter::once(&model.fact)
            .chain(model.lookups.iter().map(|l| &l.table))
            .any(|t| t.eq_ignore_ascii_case(&table.name))
    };
    let tables = catalog.tables.iter().filter(used).cloned().collect();
    let spec = BuildSpec {
        segment: segment.to_string(),
        refresh: reserve.is_none(),
        build: BuildJob { model, tables, range },
    };
    let spec = serde_json::to_value(spec).map_err(ApiError::internal)?;
    Ok(NewJob { kind: build::KIND.name, subject, spec, priority, key, reserve: reserve.into_iter().collect() })
}

/// `PUT /models/{m}/segments`: builds segments again; each keeps answering from what it has until the new one is published.
/// One job for each segment, all or none of them, under one idempotency key.
pub(super) async fn refresh_segment(
    State(context): Shared,
    headers: HeaderMap,
    Path(name): Path<String>,
    Body(body): Body<RefreshRequest>,
) -> Result<Submitted> {
    if !body.kind.eq_ignore_ascii_case("REFRESH") {
        return Err(ApiError::bad(format!("type is '{}', allowed is REFRESH", body.kind)));
    }
    let project = project(&context, &body.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?.clone();
    let rows = chosen(&context, &project, &model, &body.ids, &body.names).await?;
    all_ready(&rows)?;
    let key = body.idempotency_key.as_deref().or_else(|| header_text(&headers, "idempotency-key"));
    let job = |row: SegmentInfo| {
        let build = NewBuild {
            model: model.clone(),
            range: range_of(&row),
            segment: row.id,
            priority: body.priority,
            // Each job has a key of its own, made from the one of the request.
            key: key.map(|key| format!("{key}/{}", row.id)),
            reserve: None,
        };
        build_job(&catalog, build)
    };
    let jobs = rows.into_iter().map(job).collect::<Checked<Vec<_>>>()?;
    let jobs = accept_all(&context, &project, jobs).await?;
    Ok(Data(Submitted { job_id: String::new(), jobs, segment_id: None }))
}

/// Refuses a request before it does anything, if one of its segments is being built.
fn all_ready(rows: &[SegmentInfo]) -> Checked<()> {
    rows.iter().find(|row| row.state != SegmentState::Ready).map_or(Ok(()), |row| Err(being_built(row)))
}

async fn chosen(
    context: &Context,
    project: &ProjectInfo,
    model: &Model,
    ids: &[String],
    names: &[String],
) -> Checked<Vec<SegmentInfo>> {
    if ids.is_empty() && names.is_empty() {
        return Err(ApiError::bad("no segment is named").suggest("name segments in ids or names"));
    }
    let rows = context.store.segments(project.id, Some(&model.name)).await?;
    let wanted = |row: &SegmentInfo| ids.contains(&row.id.to_string()) || names.contains(&range_of(row).segment_name());
    let rows: Vec<_> = rows.into_iter().filter(wanted).collect();
    if rows.is_empty() || rows.len() < ids.len() + names.len() {
        return Err(ApiError::new(Code::NoSegment, format!("model '{}' has no such segment", model.name))
            .suggest("see `kirin segment list`"));
    }
    Ok(rows)
}

/// `POST /models/{m}/segments/verification`: checks what is published, and keeps queries from what is wrong.
pub(super) async fn verify_segments(
    State(context): Shared,
    Path(name): Path<String>,
    Body(verify): Body<VerifyRequest>,
) -> Result<VerificationView> {
    let project = project(&context, &verify.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?;
    let rows = if verify.ids.is_empty() && verify.names.is_empty() {
        context.store.segments(project.id, Some(&model.name)).await?
    } else {
        chosen(&context, &project, model, &verify.ids, &verify.names).await?
    };
    let mut segments = vec![];
    for row in rows {
        let engine = context.catalogs.engine();
        let verified = kirin_service::verification::verify(&context.store, engine, &catalog, row, verify.deep).await?;
        segments.extend(verified.map(kirin_service::verification::view));
    }
    Ok(Data(VerificationView { segments }))
}

/// `DELETE /models/{m}/segments`: queries do not see them from here on; their files are swept later.
pub(super) async fn drop_segments(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<DropSegments>,
) -> Result<Done> {
    let project = project(&context, &params.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?.clone();
    let rows = if params.purge == Some(true) {
        context.store.segments(project.id, Some(&model.name)).await?
    } else {
        chosen(&context, &project, &model, &params.ids, &params.names).await?
    };
    all_ready(&rows)?;
    for row in &rows {
        if !context.store.drop_segment(row.id).await? {
            return Err(being_built(row));
        }
    }
    Ok(Data(Done))
}
