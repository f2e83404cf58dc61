//! Projects, tables, models, segments.

use crate::metastore::{Doc, DocKind, Extra, NewSegment, ProjectInfo, SegmentInfo, SegmentState};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use kirin_core::{Answer, Ask};
use kirin_olap::{BuildJob, Catalog, Format, Model, SegmentRange, Source, Table};
use serde::Deserialize;
use serde_json::{Value, json};

use super::jobs::{NewJob, accept};
use super::{ApiError, Body, Context, Data, Page, Paging, Params, Result, Shared, header_text, project};
use crate::catalog::ends;
use crate::worker::build::BuildSpec;

type Checked<T> = std::result::Result<T, ApiError>;

/// A writer who looks at more than it writes tries again when others were faster. Each time one of them has got on.
const TRIES_MAX: usize = 16;

// --- projects ---

/// `POST /projects`.
#[derive(Debug, Deserialize)]
pub(super) struct NewProject {
    name: String,
    #[serde(default)]
    description: String,
}

/// `GET /projects`.
pub(super) async fn projects(State(context): Shared, Params(paging): Params<Paging>) -> Result<Page<Value>> {
    let all = context.store.projects().await?;
    Ok(Data(Page::cut(all.iter().map(project_json).collect(), paging.page_offset, paging.page_size.max(100))))
}

fn project_json(project: &ProjectInfo) -> Value {
    json!({
        "uuid": project.id.0.to_string(),
        "name": project.name,
        "owner": super::login::ADMIN,
        "status": "ENABLED",
        "description": project.description,
        "create_time": project.created_ms,
        "create_time_utc": project.created_ms,
        "last_modified": project.created_ms,
        "default_database": "DEFAULT",
        "override_kylin_properties": { "kylin.job.max-concurrent-jobs": project.limit.to_string() },
    })
}

/// `POST /projects`.
pub(super) async fn create_project(State(context): Shared, Body(body): Body<NewProject>) -> Result<Value> {
    named("the project's name", &body.name)?;
    let exists = |name| ApiError::conflict("KE-010001202", format!("there is a project '{name}' already"));
    // The metastore tells upper from lower case, those who name a project don't.
    if let Some(other) = context.store.project(&body.name).await? {
        return Err(exists(other.name));
    }
    let limit = context.config.jobs.per_project;
    let Some(made) = context.store.create_project(&body.name, &body.description, limit).await? else {
        return Err(exists(body.name));
    };
    context.mind.tell(kirin_core::Event::ListsChanged);
    Ok(Data(project_json(&made)))
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
pub(super) async fn drop_project(State(context): Shared, Path(name): Path<String>) -> Result<Value> {
    let project = project(&context, &name).await?;
    let is_empty = context.store.docs(project.id).await?.is_empty();
    if !is_empty || !context.store.drop_project(project.id).await? {
        return Err(ApiError::conflict(
            "KE-010001203",
            format!("project '{name}' still has tables, models or open jobs"),
        )
        .suggest("drop its models and tables, discard its jobs"));
    }
    Ok(Data(json!("")))
}

/// `PUT /projects/{p}/project_config`.
#[derive(Debug, Deserialize)]
pub(super) struct ProjectConfig {
    #[serde(rename = "kylin.job.max-concurrent-jobs")]
    limit: u32,
}

/// `PUT /projects/{p}/project_config`: how many of its jobs run at once.
pub(super) async fn configure_project(
    State(context): Shared,
    Path(name): Path<String>,
    Body(body): Body<ProjectConfig>,
) -> Result<Value> {
    let project = project(&context, &name).await?;
    done(context.store.ask(&Ask::SetLimit { project: project.id, limit: body.limit }, Extra::None).await)?;
    context.mind.tell(kirin_core::Event::ListsChanged);
    Ok(Data(json!("")))
}

fn done(answer: Answer) -> Checked<()> {
    match answer {
        Answer::Done => Ok(()),
        Answer::Refused => Err(ApiError::conflict("KE-010000409", "it changed meanwhile; try again")),
        _ => Err(ApiError::unavailable("the change may or may not have taken place")),
    }
}

// --- tables ---

/// Which project, and which page.
#[derive(Debug, Deserialize)]
pub(super) struct OfProject {
    #[serde(default = "default_project", alias = "projectName")]
    project: String,
    model_name: Option<String>,
    #[serde(flatten)]
    paging: Paging,
}

fn default_project() -> String {
    "default".to_owned()
}

/// `GET /tables`.
pub(super) async fn tables(State(context): Shared, Params(params): Params<OfProject>) -> Result<Page<Value>> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    let broken = context.catalogs.broken(&context.store, &params.project).await?;
    let all = catalog.tables.iter().map(|table| {
        let mut shown = json!({
            "name": table.name,
            "database": "DEFAULT",
            "source": table.source,
            "columns": table.columns.iter().map(|c| json!({ "name": c.name, "type": c.type_name, "datatype": c.type_name })).collect::<Vec<_>>(),
        });
        if let Some(broken) = broken.iter().find(|b| b.kind == "table" && b.name == table.name) {
            shown["broken"] = broken.problem.clone().into();
        }
        shown
    });
    // Their definitions cannot even be read.
    let unread = broken.iter().filter(|b| b.kind == "table" && !catalog.tables.iter().any(|t| t.name == b.name));
    let unread = unread.map(|b| json!({ "name": b.name, "database": "DEFAULT", "columns": [], "broken": b.problem }));
    let all = all.chain(unread);
    Ok(Data(Page::cut(all.collect(), params.paging.page_offset, params.paging.page_size.max(100))))
}

/// `POST /tables`.
#[derive(Debug, Deserialize)]
pub(super) struct NewTable {
    #[serde(default = "default_project")]
    project: String,
    name: String,
    source: Given,
    /// Types that are declared instead of inferred.
    #[serde(default)]
    columns: Vec<Declared>,
}

/// A column with the type that it shall have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    #[serde(rename = "type", alias = "type_name")]
    type_name: String,
}

/// A source in full, or where it is: then its files' names say what they are.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Given {
    Location(String),
    Full(Source),
}

impl Given {
    fn source(self) -> Checked<Source> {
        let location = match self {
            Self::Full(source) => return Ok(source),
            Self::Location(location) => location,
        };
        if !location.starts_with("file://") && location.contains("://") {
            let format = match Format::of_file_name(&location) {
                Some(format) => format,
                None => {
                    return Err(ApiError::bad(format!("{location} does not say what its files are")).suggest(format!(
                        "name them with a pattern, as in {}/*.parquet",
                        location.trim_end_matches('/')
                    )));
                }
            };
            return Ok(Source { format, location, csv: None });
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
        Ok(Source { format, location, csv: None })
    }
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
pub(super) async fn add_table(State(context): Shared, Body(body): Body<NewTable>) -> Result<Value> {
    named("the table's name", &body.name)?;
    let project = project(&context, &body.project).await?;
    let source = body.source.source()?;
    let described = context.catalogs.engine().describe(&source).await.map_err(|e| ApiError::bad(e.to_string()))?;
    let mut table = Table { name: body.name, source, columns: described.columns };
    for declared in body.columns {
        let column = table.columns.iter_mut().find(|c| c.name.to_lowercase() == declared.name.to_lowercase());
        let unknown = || ApiError::bad(format!("there is no column '{}' in the source", declared.name));
        column.ok_or_else(unknown)?.type_name = declared.type_name;
    }
    // What is accepted can be opened.
    context.catalogs.engine().check(&table).await.map_err(|e| ApiError::bad(e.to_string()))?;
    let value = serde_json::to_value(&table).map_err(|e| ApiError::bad(e.to_string()))?;
    put_new(&context, &project, DocKind::Table, &table.name, &value, |_| Ok(())).await?;
    let skipped: Vec<_> = described.skipped.iter().map(|(name, why)| json!({ "name": name, "reason": why })).collect();
    Ok(Data(json!({
        "name": table.name,
        "rows": described.rows,
        "files": described.files,
        "columns": table.columns.iter().map(|c| json!({ "name": c.name, "type": c.type_name })).collect::<Vec<_>>(),
        "skipped_columns": skipped,
        "notes": described.notes,
    })))
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
            return Err(ApiError::conflict("KE-010000410", format!("there is a {what} '{name}' already"))
                .suggest("drop it first"));
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
) -> Result<Value> {
    for _ in 0..TRIES_MAX {
        let (catalog, revision) = context.catalogs.at_revision(&context.store, &project.name).await?;
        let doc = doc(context, project, kind, name).await?;
        may_go(&catalog, &context.store.segments(project.id, Some(&doc.name)).await?)?;
        if context.store.drop_doc(project.id, &doc, revision).await? {
            return Ok(Data(json!("")));
        }
    }
    Err(changed())
}

fn changed() -> ApiError {
    ApiError::conflict("KE-010000409", "it changed meanwhile; try again")
}

async fn doc(context: &Context, project: &ProjectInfo, kind: DocKind, name: &str) -> Checked<Doc> {
    let docs = context.store.docs(project.id).await?;
    docs.into_iter().find(|doc| doc.kind == kind && doc.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let what = if kind == DocKind::Table { "table" } else { "model" };
        ApiError::not_found("KE-010002201", format!("there is no {what} '{name}' in project '{}'", project.name))
            .suggest(format!("see `kirin {what} list`"))
    })
}

/// `DELETE /tables/{t}`: only one that no model uses.
pub(super) async fn drop_table(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Value> {
    let project = project(&context, &params.project).await?;
    let uses = |model: &&Model| {
        std::iter::once(&model.fact)
            .chain(model.lookups.iter().map(|l| &l.table))
            .any(|t| t.eq_ignore_ascii_case(&name))
    };
    let may_go = |catalog: &Catalog, _: &[SegmentInfo]| {
        let Some(model) = catalog.models.iter().find(uses) else { return Ok(()) };
        let text = format!("table '{name}' is used by model '{}'", model.name);
        Err(ApiError::conflict("KE-010000411", text).suggest("drop the model first"))
    };
    drop_old(&context, &project, DocKind::Table, &name, may_go).await
}

// --- models ---

/// `GET /models`.
pub(super) async fn models(State(context): Shared, Params(params): Params<OfProject>) -> Result<Page<Value>> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    let wanted = |model: &&Model| params.model_name.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&model.name));
    let all: Vec<_> = catalog.models.iter().filter(wanted).map(model_json).collect();
    Ok(Data(Page::cut(all, params.paging.page_offset, params.paging.page_size.max(100))))
}

fn model_json(model: &Model) -> Value {
    let mut value = serde_json::to_value(model).unwrap_or_default();
    let indexes: Vec<_> = model
        .layouts()
        .unwrap_or_default()
        .into_iter()
        .map(|layout| json!({ "layout": layout, "dimensions": model.layout_dimensions(layout) }))
        .collect();
    value["uuid"] = model.name.clone().into();
    value["alias"] = model.name.clone().into();
    value["fact_table"] = format!("DEFAULT.{}", model.fact).into();
    value["definition"] = serde_json::to_value(model).unwrap_or_default();
    value["indexes"] = indexes.into();
    value
}

/// `POST /models`: the model itself, with `project` beside its fields.
#[derive(Debug, Deserialize)]
pub(super) struct NewModel {
    #[serde(default = "default_project")]
    project: String,
    #[serde(flatten)]
    model: Value,
}

/// `POST /models`.
pub(super) async fn add_model(State(context): Shared, Body(body): Body<NewModel>) -> Result<Value> {
    let project = project(&context, &body.project).await?;
    let model: Model = serde_json::from_value(body.model).map_err(|e| ApiError::bad(format!("the model: {e}")))?;
    named("the model's name", &model.name)?;
    let value = serde_json::to_value(&model).map_err(|e| ApiError::bad(e.to_string()))?;
    let may_be = |catalog: &Catalog| model.validate(&catalog.tables).map_err(|e| ApiError::bad(e.to_string()));
    put_new(&context, &project, DocKind::Model, &model.name, &value, may_be).await?;
    Ok(Data(model_json(&model)))
}

/// `GET /models/{m}`.
pub(super) async fn model(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Value> {
    let catalog = context.catalogs.catalog(&context.store, &params.project).await?;
    Ok(Data(model_json(model_of(&catalog.models, &name)?)))
}

fn model_of<'a>(models: &'a [Model], name: &str) -> Checked<&'a Model> {
    models.iter().find(|model| model.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        ApiError::not_found("KE-010002201", format!("there is no model '{name}'")).suggest("see `kirin model list`")
    })
}

/// `DELETE /models/{m}`: only one without segments.
pub(super) async fn drop_model(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Value> {
    let project = project(&context, &params.project).await?;
    let may_go = |_: &Catalog, segments: &[SegmentInfo]| {
        if segments.is_empty() {
            return Ok(());
        }
        Err(ApiError::conflict("KE-010000412", format!("model '{name}' has segments"))
            .suggest("discard its jobs and drop its segments first"))
    };
    drop_old(&context, &project, DocKind::Model, &name, may_go).await
}

// --- segments ---

/// `GET /models/{m}/segments`.
pub(super) async fn segments(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<OfProject>,
) -> Result<Page<Value>> {
    let project = project(&context, &params.project).await?;
    let model = doc(&context, &project, DocKind::Model, &name).await?;
    let rows = context.store.segments(project.id, Some(&model.name)).await?;
    let all = rows.iter().map(segment_json).collect();
    Ok(Data(Page::cut(all, params.paging.page_offset, params.paging.page_size.max(1000))))
}

fn range_of(segment: &SegmentInfo) -> SegmentRange {
    crate::catalog::range(segment.start_ms, segment.end_ms)
}

fn segment_json(segment: &SegmentInfo) -> Value {
    let manifest = segment.manifest.as_ref();
    let number = |key: &str| manifest.and_then(|m| m.get(key)).and_then(Value::as_u64).unwrap_or(0);
    let status = match segment.state {
        SegmentState::New => "NEW",
        SegmentState::Ready => "READY",
    };
    json!({
        "id": segment.id.to_string(),
        "name": range_of(segment).segment_name(),
        "status": status,
        "status_to_display": status,
        "start": segment.start_ms,
        "end": segment.end_ms,
        "create_time_utc": segment.created_ms,
        "last_build_time": segment.changed_ms,
        "source_count": number("source_rows"),
        "bytes_size": number("bytes"),
        "epoch": segment.epoch.0,
        "job_id": segment.job.to_string(),
    })
}

/// `POST /models/{m}/segments`.
#[derive(Debug, Deserialize)]
pub(super) struct Build {
    #[serde(default = "default_project")]
    project: String,
    start: Option<Value>,
    end: Option<Value>,
    #[serde(default = "super::jobs::normal")]
    priority: u8,
    idempotency_key: Option<String>,
}

/// Kylin's clients send moments as text, and a full range as "everything but the ends".
fn moment(what: &str, value: Option<&Value>) -> Checked<Option<i64>> {
    let parsed = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.is_empty() => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => number.as_i64(),
        Some(_) => None,
    };
    parsed.map(Some).ok_or_else(|| ApiError::bad(format!("{what} has to be milliseconds since 1970")))
}

fn wished_range(model: &Model, build: &Build) -> Checked<SegmentRange> {
    let (start, end) = (moment("start", build.start.as_ref())?, moment("end", build.end.as_ref())?);
    let range = match (start, end) {
        (None, None) => SegmentRange::Full,
        (Some(..=1), Some(end)) if end >= i64::MAX - 1 => SegmentRange::Full,
        (Some(start_ms), Some(end_ms)) => SegmentRange::Time { start_ms, end_ms },
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
    Body(body): Body<Build>,
) -> Result<Value> {
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
    let (id, job_name) = accept(&context, &project, job).await?;
    Ok(Data(json!({ "jobs": [{ "job_name": job_name, "job_id": id }], "segment_id": segment.to_string() })))
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
    let name = if reserve.is_some() { "INC_BUILD" } else { "INDEX_REFRESH" };
    let spec = BuildSpec { segment: segment.to_string(), build: BuildJob { model, tables, range } };
    let spec = serde_json::to_value(spec).map_err(|e| ApiError::bad(e.to_string()))?;
    Ok(NewJob { kind: "build", subject, spec, priority, key, name, reserve: reserve.into_iter().collect() })
}

/// `PUT /models/{m}/segments`.
#[derive(Debug, Deserialize)]
pub(super) struct Refresh {
    #[serde(default = "default_project")]
    project: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default = "super::jobs::normal")]
    priority: u8,
}

/// `PUT /models/{m}/segments`: builds segments again; each keeps answering from what it has until the new one is published.
pub(super) async fn refresh_segment(
    State(context): Shared,
    Path(name): Path<String>,
    Body(body): Body<Refresh>,
) -> Result<Value> {
    if !body.kind.eq_ignore_ascii_case("REFRESH") {
        return Err(ApiError::bad(format!("type is '{}', allowed is REFRESH", body.kind)));
    }
    let project = project(&context, &body.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?.clone();
    let rows = chosen(&context, &project, &model, &body.ids, &body.names).await?;
    let mut jobs = Vec::new();
    for row in rows {
        if row.state != SegmentState::Ready {
            return Err(ApiError::conflict("KE-010022203", format!("segment {} is being built", row.id)));
        }
        let range = range_of(&row);
        let build = NewBuild {
            model: model.clone(),
            range,
            segment: row.id,
            priority: body.priority,
            key: None,
            reserve: None,
        };
        let job = build_job(&catalog, build)?;
        let (id, job_name) = accept(&context, &project, job).await?;
        jobs.push(json!({ "job_name": job_name, "job_id": id }));
    }
    Ok(Data(json!({ "jobs": jobs })))
}

async fn chosen(
    context: &Context,
    project: &ProjectInfo,
    model: &Model,
    ids: &[String],
    names: &[String],
) -> Checked<Vec<SegmentInfo>> {
    let rows = context.store.segments(project.id, Some(&model.name)).await?;
    let wanted = |row: &SegmentInfo| ids.contains(&row.id.to_string()) || names.contains(&range_of(row).segment_name());
    let rows: Vec<_> = rows.into_iter().filter(wanted).collect();
    if rows.is_empty() || rows.len() < ids.len() + names.len() {
        return Err(ApiError::not_found("KE-010022201", format!("model '{}' has no such segment", model.name))
            .suggest("see `kirin segment list`"));
    }
    Ok(rows)
}

/// `DELETE /models/{m}/segments`.
#[derive(Debug, Deserialize)]
pub(super) struct DropSegments {
    #[serde(default = "default_project")]
    project: String,
    #[serde(default)]
    ids: String,
    #[serde(default)]
    names: String,
    purge: Option<String>,
}

/// `DELETE /models/{m}/segments`: queries do not see them from here on; their files are swept later.
pub(super) async fn drop_segments(
    State(context): Shared,
    Path(name): Path<String>,
    Params(params): Params<DropSegments>,
) -> Result<Value> {
    let project = project(&context, &params.project).await?;
    let catalog = context.catalogs.catalog(&context.store, &project.name).await?;
    let model = model_of(&catalog.models, &name)?.clone();
    let list =
        |text: &str| text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let rows = if params.purge.is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        context.store.segments(project.id, Some(&model.name)).await?
    } else {
        chosen(&context, &project, &model, &list(&params.ids), &list(&params.names)).await?
    };
    for row in &rows {
        if row.state != SegmentState::Ready || !context.store.drop_segment(row.id).await? {
            return Err(ApiError::conflict("KE-010022203", format!("segment {} is being built", row.id))
                .suggest("discard its job first"));
        }
    }
    Ok(Data(json!("")))
}
