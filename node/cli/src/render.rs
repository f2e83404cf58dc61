//! Text for users: aligned columns and a few sentences.
//!
//! Every function here turns a payload into text, so that the output of commands is tested without a node. Columns are
//! separated by two blanks and have no borders, so that `awk` and `cut` can process them. Colors only mark states.

use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};
use serde::Serialize;
use serde_json::Value;

use super::exit::Failure;
use super::when::{Moment, readable};
use kirin_wire::{
    AggregationView, ClusterView, ExplainView, HistoryView, JobView, MemberView, ModelView, Page, ProjectView,
    QueryView, RealizationView, SegmentView, StepView, TableAdded, TableView, VerificationView, WhyView,
};

/// Aligned columns.
pub struct Columns {
    headers: Vec<&'static str>,
    right: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Columns {
    /// Columns with these headers.
    pub fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), right: Vec::new(), rows: Vec::new() }
    }

    /// Right-aligns these columns.
    pub fn right(mut self, headers: &[&'static str]) -> Self {
        self.right = headers.to_vec();
        self
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }).collect());
    }

    /// The columns as text, one line per row; states are colored on request.
    pub fn render(&self, color: bool) -> String {
        let right = |header: &str| self.right.contains(&header);
        let grid = grid(self.headers.iter().map(|&h| h.to_owned()).collect(), &self.rows, |i| right(self.headers[i]));
        let state = self.headers.iter().position(|&header| header == "STATE");
        match state.filter(|_| color).and_then(|i| grid.lines().next()?.find(self.headers[i])) {
            Some(at) => grid.lines().map(|line| paint_at(line, at) + "\n").collect(),
            None => grid,
        }
    }
}

fn grid(headers: Vec<String>, rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> String {
    let mut grid = Grid::new();
    grid.load_preset(presets::NOTHING);
    grid.set_content_arrangement(ContentArrangement::Disabled);
    grid.set_header(headers);
    for row in rows {
        grid.add_row(row);
    }
    for (i, column) in grid.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    grid.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// Colors the state word that starts in column `at`, if there is one.
fn paint_at(line: &str, at: usize) -> String {
    let Some((start, _)) = line.char_indices().nth(at) else { return line.to_owned() };
    let (before, rest) = line.split_at(start);
    let word = rest.split(' ').next().unwrap_or_default();
    format!("{before}{}{}", paint(word, true), &rest[word.len()..])
}

/// A state in its color: green is good, yellow in progress, red needs attention.
pub fn paint(state: &str, color: bool) -> String {
    let code = match state {
        "FINISHED" | "SUCCEED" | "READY" | "up" => 32,
        "RUNNING" | "PENDING" | "NEW" | "draining" => 33,
        "ERROR" | "fenced" | "WARNING" => 31,
        "STOPPED" | "PAUSED" | "DISCARDED" | "left" => 90,
        _ => return state.to_owned(),
    };
    if color { format!("\x1b[{code}m{state}\x1b[0m") } else { state.to_owned() }
}

/// `cluster list`.
pub fn cluster(view: &ClusterView, color: bool) -> String {
    let headers = &["NODE", "ROLE", "STATE", "INC", "BEAT", "SEEN", "ABLE", "RUNNING", "WAITING", "HEIRS", "ADDRESS"];
    let mut columns = Columns::new(headers).right(&["INC", "BEAT", "RUNNING", "WAITING"]);
    for member in &view.members {
        let leads = !view.leader.is_empty() && view.leader == member.node;
        columns.row([
            if leads { format!("{} *", member.node) } else { member.node.clone() },
            member.role.clone(),
            member.state.clone(),
            member.incarnation.to_string(),
            member.beat.map(|beat| beat.to_string()).unwrap_or_default(),
            member.silent_ms.map(|ms| format!("{} ago", readable(ms))).unwrap_or_default(),
            member.able_to_run.join(","),
            slots(member),
            member.waiting.to_string(),
            member.heirs.join(","),
            member.address.clone(),
        ]);
    }
    let count = |state: &str| view.members.iter().filter(|m| m.state == state).count();
    let leader = if view.leader.is_empty() { "no leader".to_owned() } else { format!("leader {} *", view.leader) };
    let mut text = format!("{}{} up, {} draining, {leader}\n", columns.render(color), count("up"), count("draining"));
    for member in &view.members {
        if let Some(trouble) = &member.trouble {
            text.push_str(&format!("{}: {trouble}\n", member.node));
        }
    }
    text
}

fn slots(member: &MemberView) -> String {
    format!("{}/{}", member.running, member.slots)
}

/// `cluster history`.
pub fn history(lines: &[HistoryView], color: bool) -> String {
    let mut columns =
        Columns::new(&["TIME", "EVENT", "NODE", "INC", "BY", "EVIDENCE", "JOB", "PHASES", "REASON"]).right(&["INC"]);
    for line in lines {
        let phase = |ms: f64| if ms < 10.0 { format!("{ms:.1} ms") } else { readable(ms.round() as u64) };
        let phases: Vec<_> = line.phases.iter().map(|p| format!("{} {}", p.name, phase(p.ms))).collect();
        columns.row([
            moment(line.at),
            line.event.clone(),
            line.node.clone(),
            if line.incarnation == 0 { String::new() } else { line.incarnation.to_string() },
            line.by.clone(),
            line.evidence.clone().unwrap_or_default(),
            line.job_id.clone().unwrap_or_default(),
            phases.join(", "),
            line.reason.clone(),
        ]);
    }
    if lines.is_empty() { "Nothing has happened yet.\n".to_owned() } else { columns.render(color) }
}

/// `job list`.
pub fn jobs(page: &Page<JobView>, number: u32, with_project: bool, color: bool) -> String {
    if page.value.is_empty() {
        return "No jobs. Submit one with `kirin job submit` or `kirin segment build`.\n".to_owned();
    }
    let mut headers = vec!["ID", "STATE", "DONE", "KIND", "SUBJECT", "NODE", "CREATED", "TOOK"];
    if with_project {
        headers.insert(1, "PROJECT");
    }
    let mut columns = Columns::new(&headers).right(&["DONE", "TOOK"]);
    for job in &page.value {
        let mut cells = vec![
            job.id.clone(),
            job.job_status.clone(),
            percent(job.step_ratio),
            job.job_name.clone(),
            job.target_subject.clone(),
            job.node.clone(),
            moment(job.create_time),
            took(job.duration, job.exec_start_time),
        ];
        if with_project {
            cells.insert(1, job.project.clone());
        }
        columns.row(cells);
    }
    let mut text = columns.render(color);
    if page.total_size > page.value.len() as u64 {
        text.push_str(&format!("{} of {} jobs; --page {} shows more\n", page.value.len(), page.total_size, number + 1));
    }
    text
}

/// `job show`.
pub fn job(job: &JobView, steps: &[StepView], color: bool) -> String {
    let mut text = fields(&[
        ("Job", job.id.clone()),
        ("State", paint(&job.job_status, color)),
        ("Kind", job.job_name.clone()),
        ("Subject", job.target_subject.clone()),
        ("Project", job.project.clone()),
        ("Priority", job.priority.to_string()),
        ("Submitter", job.submitter.clone()),
        ("Node", job.node.clone()),
        ("Attempt", if job.epoch == 0 { String::new() } else { job.epoch.to_string() }),
        ("Done", percent(job.step_ratio)),
        ("Created", moment(job.create_time)),
        ("Started", moment(job.exec_start_time)),
        ("Ended", moment(job.exec_end_time)),
        ("Waited", readable(job.wait_time)),
        ("Worked", took(job.duration, job.exec_start_time)),
    ]);
    if !steps.is_empty() {
        let mut columns = Columns::new(&["STEP", "NAME", "STATE", "ATTEMPT", "NODE", "STARTED", "TOOK"])
            .right(&["STEP", "ATTEMPT", "TOOK"]);
        for step in steps {
            columns.row([
                step.sequence_id.to_string(),
                step.name.clone(),
                step.step_status.clone(),
                if step.epoch == 0 { String::new() } else { step.epoch.to_string() },
                step.node.clone(),
                moment(step.exec_start_time),
                took(step.duration, step.exec_start_time),
            ]);
        }
        text.push('\n');
        text.push_str(&columns.render(color));
    }
    for step in steps {
        let Some(why) = step.failed_msg.as_deref().filter(|why| !why.is_empty()) else { continue };
        text.push_str(&format!("\nStep {} failed: {}\n", step.sequence_id, why.trim_end()));
    }
    text
}

/// `job why`.
pub fn why(id: &str, why: &WhyView, color: bool) -> String {
    let sentence = [&why.detail, &why.reason].into_iter().find(|text| !text.is_empty());
    let mut text = match sentence {
        Some(sentence) => format!("{id} is {}: {sentence}\n", paint(&why.state, color)),
        None => format!("{id} is {}; nothing blocks it\n", paint(&why.state, color)),
    };
    if !why.node.is_empty() {
        text.push_str(&format!("  placed on {}\n", why.node));
    }
    if let Some(ahead) = why.ahead {
        text.push_str(&format!("  jobs ahead of it: {ahead}\n"));
    }
    if !why.next.is_empty() {
        text.push_str(&format!("  {}\n", why.next));
    }
    text
}

/// `project list`.
pub fn projects(projects: &[ProjectView]) -> String {
    let mut columns = Columns::new(&["NAME", "OWNER", "CREATED", "DESCRIPTION"]);
    for it in projects {
        columns.row([it.name.clone(), it.owner.clone(), moment(it.create_time), it.description.clone()]);
    }
    if projects.is_empty() {
        "No projects. Create one with `kirin project create NAME`.\n".into()
    } else {
        columns.render(false)
    }
}

/// `table list`.
pub fn tables(tables: &[TableView]) -> String {
    let mut columns = Columns::new(&["NAME", "COLUMNS", "ROWS", "SOURCE"]).right(&["COLUMNS", "ROWS"]);
    for it in tables {
        let rows = it.rows.map(|rows| rows.to_string()).unwrap_or_default();
        columns.row([it.name.clone(), it.columns.len().to_string(), rows, location(it)]);
    }
    if tables.is_empty() {
        return "No tables. Add one with `kirin table add NAME FILE`.\n".into();
    }
    let broken = tables.iter().filter_map(|it| it.broken.as_ref().map(|why| format!("{} is broken: {why}\n", it.name)));
    broken.fold(columns.render(false), |text, line| text + &line)
}

/// `table add`.
pub fn added(name: &str, table: &TableAdded) -> String {
    let skipped = table.skipped_columns.iter();
    let skipped = skipped.map(|it| format!("  column \"{}\" is skipped: {}\n", it.name, it.reason));
    let notes = table.notes.iter().map(|note| format!("  {note}\n"));
    notes.chain(skipped).fold(format!("table {name} added\n"), |text, line| text + &line)
}

/// `table show`.
pub fn table(table: &TableView) -> String {
    let rows = table.rows.map(|rows| rows.to_string()).unwrap_or_default();
    // Every column is nullable.
    let mut columns = Columns::new(&["COLUMN", "TYPE"]);
    for it in &table.columns {
        columns.row([it.name.clone(), it.data_type.clone()]);
    }
    let head = fields(&[("Table", table.name.clone()), ("Source", location(table)), ("Rows", rows)]);
    let broken = table.broken.as_ref().map(|why| format!("broken: {why}\n")).unwrap_or_default();
    format!("{head}\n{}{broken}", columns.render(false))
}

/// `model list`.
pub fn models(models: &[ModelView]) -> String {
    let mut columns = Columns::new(&["NAME", "FACT TABLE", "DIMENSIONS", "MEASURES", "INDEXES"]).right(&[
        "DIMENSIONS",
        "MEASURES",
        "INDEXES",
    ]);
    for it in models {
        let counts = [it.dimensions.len(), it.measures.len(), it.indexes.len()].map(|n| n.to_string());
        columns.row([it.name.clone(), it.fact_table.clone()].into_iter().chain(counts));
    }
    if models.is_empty() { "No models. Add one with `kirin model add FILE`.\n".into() } else { columns.render(false) }
}

/// `segment list`.
pub fn segments(segments: &[SegmentView], color: bool) -> String {
    let mut columns = Columns::new(&["ID", "STATE", "FROM", "TO", "ROWS", "SIZE", "NAME"]).right(&["ROWS", "SIZE"]);
    for it in segments {
        columns.row([
            it.id.clone(),
            it.status.clone(),
            edge(it.start),
            edge(it.end),
            it.source_count.to_string(),
            size(it.bytes_size),
            it.name.clone(),
        ]);
    }
    if segments.is_empty() {
        "No segments. Build one with `kirin segment build MODEL`.\n".into()
    } else {
        columns.render(color)
    }
}

/// `segment verify`.
pub fn verification(view: &VerificationView, color: bool) -> String {
    let mut columns = Columns::new(&["ID", "NAME", "INDEXES", "GROUPS", "RESULT"]).right(&["INDEXES", "GROUPS"]);
    let mut details = String::new();
    for it in &view.segments {
        let result = match (it.problems.is_empty(), it.unreadable.is_empty(), &it.wrong) {
            (false, ..) => "wrong",
            (true, false, _) => "unreadable",
            (true, true, Some(_)) => "already marked wrong",
            (true, true, None) => "correct",
        };
        columns.row([it.id.clone(), it.name.clone(), it.indexes.to_string(), it.groups.to_string(), result.to_owned()]);
        let problems = it.problems.iter().map(|p| format!("index {}: {}", p.layout, p.problem));
        let unchecked = it.unchecked.iter().map(|text| format!("not compared: {text}"));
        for line in problems.chain(it.unreadable.iter().cloned()).chain(unchecked) {
            details.push_str(&format!("{}: {line}\n", it.name));
        }
    }
    match view.segments.is_empty() {
        true => "No segments to verify.\n".into(),
        false => columns.render(color) + &details,
    }
}

/// `sql`.
pub fn query(view: &QueryView) -> String {
    let numbers = ["INT", "DECIMAL", "NUMERIC", "DOUBLE", "FLOAT", "REAL"];
    let is_number = |i: usize| numbers.iter().any(|n| view.columns[i].type_name.to_uppercase().contains(n));
    let rows: Vec<Vec<String>> = view
        .results
        .iter()
        .map(|row| row.iter().map(|cell| cell.clone().unwrap_or_else(|| "NULL".to_owned())).collect())
        .collect();
    let headers = view.columns.iter().map(|column| column.label.clone()).collect();
    let mut text = if view.columns.is_empty() { String::new() } else { grid(headers, &rows, is_number) };
    let mut sources: Vec<String> = view.realizations.iter().map(realization).collect();
    if view.push_down && !view.realizations.iter().any(|it| it.mixed) {
        sources.push("the raw tables".to_owned());
    }
    let source = if sources.is_empty() { String::new() } else { format!(" from {}", sources.join(", ")) };
    let server = if view.server.is_empty() { String::new() } else { format!(" by {}", view.server) };
    let missing: Vec<&str> = view.realizations.iter().flat_map(|it| &it.missing).map(String::as_str).collect();
    let cut = match (missing.is_empty(), view.partial) {
        (false, _) => format!("; not included, if there are any: {}", missing.join(", ")),
        (true, true) => "; more rows exist (--limit)".to_owned(),
        (true, false) => String::new(),
    };
    let plural = if rows.len() == 1 { "" } else { "s" };
    text.push_str(&format!("{} row{plural} in {}{source}{server}{cut}\n", rows.len(), readable(view.duration)));
    text
}

/// A definition or plan as an indented outline.
pub fn outlined(of: &impl Serialize) -> Result<String, Failure> {
    let value = serde_json::to_value(of).map_err(|error| Failure::failed(error.to_string()))?;
    Ok(outline(&value))
}

/// `sql --explain`. The indexes of a model that are rejected for the same reason are one entry.
pub fn explanation(of: &ExplainView) -> Result<String, Failure> {
    outlined(&Explanation {
        aggregations: of.aggregations.iter().map(aggregation).collect(),
        plan: &of.plan,
        raw_tables: &of.raw_tables,
        realizations: &of.realizations,
    })
}

/// [`ExplainView`] as it is shown.
#[derive(Serialize)]
struct Explanation<'a> {
    aggregations: Vec<Aggregation<'a>>,
    plan: &'a str,
    raw_tables: &'a [String],
    realizations: &'a [RealizationView],
}

#[derive(Serialize)]
struct Aggregation<'a> {
    aggregation: &'a str,
    chosen: Option<&'a RealizationView>,
    rejected: Vec<Rejected<'a>>,
}

/// One index or model, or several indexes of a model.
#[derive(Debug, PartialEq, Serialize)]
struct Rejected<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<&'a [String]>,
    layout: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layouts: Vec<u64>,
    model: &'a str,
    reason: &'a str,
}

fn aggregation(of: &AggregationView) -> Aggregation<'_> {
    let mut rejected: Vec<Rejected<'_>> = Vec::new();
    for one in &of.rejected {
        let alike = rejected.iter_mut().find(|other| other.model == one.model && other.reason == one.reason);
        match (alike, one.layout) {
            (Some(group), Some(layout)) => {
                group.layouts.extend(group.layout.take());
                group.layouts.push(layout);
                group.dimensions = None;
            }
            _ => rejected.push(Rejected {
                dimensions: Some(&one.dimensions),
                layout: one.layout,
                layouts: Vec::new(),
                model: &one.model,
                reason: &one.reason,
            }),
        }
    }
    Aggregation { aggregation: &of.aggregation, chosen: of.chosen.as_ref(), rejected }
}

/// Any JSON as an indented outline.
fn outline(value: &Value) -> String {
    let mut text = String::new();
    outline_into(value, 0, &mut text);
    text
}

fn outline_into(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                if is_flat(value) {
                    text.push_str(&format!("{indent}{key}: {}\n", scalar(value)));
                } else {
                    text.push_str(&format!("{indent}{key}:\n"));
                    outline_into(value, depth + 1, text);
                }
            }
        }
        Value::Array(all) => {
            for (i, value) in all.iter().enumerate() {
                if is_flat(value) {
                    text.push_str(&format!("{indent}- {}\n", scalar(value)));
                } else {
                    if i > 0 {
                        text.push('\n');
                    }
                    outline_into(value, depth, text);
                }
            }
        }
        Value::String(lines) => lines.lines().for_each(|line| text.push_str(&format!("{indent}{line}\n"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&format!("{indent}{value}\n")),
    }
}

fn is_flat(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().all(|v| matches!(v, Value::Bool(_) | Value::Number(_) | Value::String(_))),
        Value::String(text) => !text.contains('\n'),
        Value::Object(map) => map.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// A value on one line; an object is shown by its name.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(scalar).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let name = ["url", "path", "name", "indexName", "modelAlias", "layoutId", "id"]
                .iter()
                .find_map(|key| map.get(*key));
            name.map_or_else(|| value.to_string(), scalar)
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// `Name:  value` lines; empty values are omitted.
fn fields(all: &[(&str, String)]) -> String {
    let shown: Vec<_> = all.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 3;
    shown.iter().map(|(name, value)| format!("{:width$}{value}\n", format!("{name}:"))).collect()
}

fn moment(ms: i64) -> String {
    if ms <= 0 { String::new() } else { Moment(ms).to_string() }
}

/// A boundary of a range. Kylin encodes an open start as 0 or 1, and an open end as a number near the maximum.
fn edge(ms: i64) -> String {
    match ms {
        ..=1 => "beginning".to_owned(),
        ms if ms >= i64::MAX - 1 => "end".to_owned(),
        ms => Moment(ms).to_string(),
    }
}

fn took(ms: u64, started: i64) -> String {
    if started <= 0 { String::new() } else { readable(ms) }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", (ratio * 100.0).clamp(0.0, 100.0).floor())
}

fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1_000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1_000.0;
    }
    format!("{value:.1} TB")
}

/// The location of a table's data, without its format.
fn location(table: &TableView) -> String {
    table.source.as_ref().map(|source| source.location.clone()).unwrap_or_default()
}

/// The index that answered, in words.
fn realization(one: &RealizationView) -> String {
    let mixed = if one.mixed { " and raw data" } else { "" };
    format!("index {} of model {}{mixed}", one.layout, one.model)
}

#[cfg(test)]
mod tests;
