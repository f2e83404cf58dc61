//! `kirin job`.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::args::{Job, JobIds, JobListArgs, SubmitArgs};
use super::super::exit::{Exit, Failure};
use super::super::render;
use super::{Session, read_argument};
use kirin_client::{Kind, Request, decode};
use kirin_shell::clock::Clock;
use kirin_wire::{CommandSpec, JobAction, JobView, JobsQuery, Page, StepView, Submit, Submitted, WhyView};

/// The polling interval of a waiting command, which grows from the first value to the second.
const ASK_EVERY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How long a waiting command tolerates a cluster in which no node responds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(mut it: Session<'_, '_>, command: Job) -> Result<(), Failure> {
    match command {
        Job::Submit(args) => submit(&mut it, &args).await,
        Job::List(args) => list(&mut it, &args).await,
        Job::Show { id } => show(&mut it, &id).await,
        Job::Log { id, step } => log(&mut it, &id, step.as_deref()).await,
        Job::Wait { ids, timeout } => wait(&mut it, &ids, timeout).await,
        Job::Pause(jobs) => act(&mut it, &jobs, "PAUSE", "paused", false).await,
        Job::Resume(jobs) => act(&mut it, &jobs, "RESUME", "resumed", false).await,
        Job::Restart(jobs) => act(&mut it, &jobs, "RESTART", "restarted", false).await,
        Job::Discard { jobs, force } => {
            it.screen.confirm(&format!("permanently discard {}", jobs.ids.join(", ")), jobs.yes)?;
            act(&mut it, &jobs, "DISCARD", "discarded", force).await
        }
        Job::Why { id } => {
            let data = it.client.raw(Request::get(&["jobs", &id, "why"])).await?;
            it.screen.show(&data, |color| Ok(render::why(&id, &decode::<WhyView>(&data)?, color)))
        }
    }
}

async fn submit(it: &mut Session<'_, '_>, args: &SubmitArgs) -> Result<(), Failure> {
    let key = args.idempotency_key.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    let body = Submit { priority: args.priority, ..Submit::new(it.project, &args.kind, spec(args)?).key(key) };
    let data = it.client.raw(Request::post(&["jobs"]).body(&body)?.repeatable()).await?;
    let reply: Submitted = decode(&data)?;
    submitted(it, &data, &reply, args.wait).await
}

/// Prints the ids of submitted jobs, one per line, and optionally waits for the jobs.
pub(super) async fn submitted(
    it: &mut Session<'_, '_>,
    data: &RawValue,
    reply: &Submitted,
    then_wait: bool,
) -> Result<(), Failure> {
    let mut ids: Vec<String> = reply.jobs.iter().map(|job| job.job_id.clone()).collect();
    if ids.is_empty() && !reply.job_id.is_empty() {
        ids.push(reply.job_id.clone());
    }
    it.screen.show(data, |_| Ok(ids.iter().map(|id| format!("{id}\n")).collect()))?;
    if let Some(warning) = &reply.warning {
        it.screen.warn(warning);
    }
    if then_wait { wait(it, &ids, None).await } else { Ok(()) }
}

fn spec(args: &SubmitArgs) -> Result<Value, Failure> {
    match &args.spec {
        Some(given) => {
            let text = match given.strip_prefix('@') {
                Some(file) => read_argument(file)?,
                None if given == "-" => read_argument("-")?,
                None => given.clone(),
            };
            serde_json::from_str(&text).map_err(|e| Failure::usage(format!("--spec is not valid JSON: {e}")))
        }
        None if args.kind != CommandSpec::KIND => {
            Err(Failure::usage(format!("a job of kind '{}' needs --spec", args.kind)))
        }
        None if args.argv.is_empty() => {
            Err(Failure::new(Exit::Usage, "no command to run", "Add the command after --, or use --kind and --spec."))
        }
        None => {
            let variable = |text: &'_ String| match text.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                _ => Err(Failure::usage(format!("--env '{text}' is not NAME=VALUE"))),
            };
            let spec = CommandSpec {
                argv: args.argv.clone(),
                cwd: args.cwd.clone(),
                env: args.env.iter().map(variable).collect::<Result<BTreeMap<_, _>, _>>()?,
                timeout_ms: args.timeout.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
            };
            serde_json::to_value(&spec).map_err(|e| Failure::usage(format!("cannot encode the command as JSON: {e}")))
        }
    }
}

async fn list(it: &mut Session<'_, '_>, args: &JobListArgs) -> Result<(), Failure> {
    let query = JobsQuery {
        project: (!args.all_projects).then(|| it.project.to_owned()),
        time_filter: Some(args.since as u64),
        statuses: args.status.iter().map(|status| status.to_uppercase()).collect(),
        key: args.key.clone(),
        sort_by: Some(args.sort.clone()),
        reverse: Some(!args.ascending),
        page_offset: Some(args.page.into()),
        page_size: Some(args.limit.into()),
        ..JobsQuery::default()
    };
    let request = Request::get(&["jobs"]).query(&query)?;
    let data = it.client.raw(request).await?;
    it.screen
        .show(&data, |color| Ok(render::jobs(&decode::<Page<JobView>>(&data)?, args.page, args.all_projects, color)))
}

async fn show(it: &mut Session<'_, '_>, id: &str) -> Result<(), Failure> {
    let data = it.client.raw(Request::get(&["jobs", id])).await?;
    let job: JobView = decode(&data)?;
    let detail = it.client.raw(detail(&job, id)).await?;
    if it.screen.wants_json() {
        return it.screen.print(&format!("{{\"job\":{},\"steps\":{}}}\n", data.get(), detail.get()));
    }
    let steps: Vec<StepView> = decode(&detail)?;
    let text = render::job(&job, &steps, it.screen.color);
    it.screen.print(&text)
}

fn detail(job: &JobView, id: &str) -> Request {
    Request::get(&["jobs", id, "detail"]).with("project", &job.project)
}

async fn log(it: &mut Session<'_, '_>, id: &str, step: Option<&str>) -> Result<(), Failure> {
    let job: JobView = it.client.call(Request::get(&["jobs", id])).await?;
    let steps: Vec<StepView> = it.client.call(detail(&job, id)).await?;
    let Some(step) = chosen(&steps, step) else {
        let there: Vec<_> = steps.iter().map(|s| format!("{} {}", s.sequence_id, s.name)).collect();
        let what = match step {
            Some(step) => format!("job {id} has no step '{step}'"),
            None => format!("no step of job {id} has started"),
        };
        return Err(Failure::new(Exit::NotFound, what, format!("Its steps: {}.", there.join(", "))));
    };
    let request = Request::get(&["jobs", id, "steps", &step.id, "log"]).with("project", &job.project);
    let text = it.client.text(request).await?;
    it.screen.print(&text)
}

/// The step with this number or id. Without one, the failed step, else the step started last.
fn chosen<'a>(steps: &'a [StepView], named: Option<&str>) -> Option<&'a StepView> {
    match named {
        Some(name) => steps.iter().find(|step| step.id == name || step.sequence_id.to_string() == name),
        None => steps
            .iter()
            .find(|step| step.step_status == "ERROR")
            .or_else(|| steps.iter().filter(|step| step.exec_start_time > 0).max_by_key(|step| step.sequence_id)),
    }
}

async fn act(it: &mut Session<'_, '_>, jobs: &JobIds, action: &str, said: &str, force: bool) -> Result<(), Failure> {
    let request = Request::put(&["jobs", "status"]).body(&JobAction {
        job_ids: jobs.ids.clone(),
        action: action.to_owned(),
        force,
        ..JobAction::default()
    })?;
    it.done(request, &format!("{} {said}", jobs.ids.join(", "))).await
}

/// A job that the command waits for.
struct Awaited {
    id: String,
    bar: ProgressBar,
    /// The last response, once the job has ended or stopped.
    last: Option<(JobView, Box<RawValue>)>,
}

/// Waits until every job has ended, or has stopped until a user resumes it.
async fn wait(it: &mut Session<'_, '_>, ids: &[String], timeout: Option<Duration>) -> Result<(), Failure> {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3} %  {msg}  {elapsed}");
    let style = style.map_err(|e| Failure::failed(e.to_string()))?.progress_chars("=> ");
    let mut awaited: Vec<_> = ids
        .iter()
        .map(|id| {
            let bar = bars.add(ProgressBar::new(1_000).with_style(style.clone()).with_prefix(id.clone()));
            Awaited { id: id.clone(), bar, last: None }
        })
        .collect();
    let clock = Clock::start();
    let elapsed = || Duration::from_micros(clock.now().micros());
    let mut answered = Duration::ZERO;
    let mut pause = ASK_EVERY.0;
    loop {
        for job in awaited.iter_mut().filter(|job| job.last.is_none()) {
            match it.client.raw(Request::get(&["jobs", &job.id])).await {
                Ok(data) => {
                    answered = elapsed();
                    job.saw(data)?;
                }
                // A node may be restarting.
                Err(e) if e.kind == Kind::Unreachable && elapsed() - answered < PATIENCE => {
                    job.bar.set_message("no node responds");
                }
                Err(e) => return Err(e.into()),
            }
        }
        if awaited.iter().all(|job| job.last.is_some()) {
            break;
        }
        if timeout.is_some_and(|timeout| elapsed() >= timeout) {
            let left: Vec<_> = awaited.iter().filter(|job| job.last.is_none()).map(|job| job.id.as_str()).collect();
            let next = format!("The jobs continue. `kirin job why {}` explains why a job waits.", left[0]);
            return Err(Failure::new(Exit::Failed, format!("timed out waiting for {}", left.join(", ")), next));
        }
        let left = timeout.map_or(pause, |timeout| pause.min(timeout.saturating_sub(elapsed())));
        tokio::time::sleep(left).await;
        pause = (pause * 2).min(ASK_EVERY.1);
    }
    ended(it, &awaited)
}

impl Awaited {
    fn saw(&mut self, data: Box<RawValue>) -> Result<(), Failure> {
        let job: JobView = decode(&data)?;
        self.bar.set_position((job.step_ratio.clamp(0.0, 1.0) * 1_000.0) as u64);
        let at = if job.node.is_empty() { String::new() } else { format!(" on {}", job.node) };
        self.bar.set_message(format!("{}{at}", job.job_status));
        if !matches!(job.job_status.as_str(), "PENDING" | "RUNNING" | "READY" | "NEW") {
            self.bar.finish();
            self.last = Some((job, data));
        }
        Ok(())
    }
}

fn ended(it: &mut Session<'_, '_>, awaited: &[Awaited]) -> Result<(), Failure> {
    let all: Vec<_> = awaited.iter().filter_map(|job| job.last.as_ref()).collect();
    for (job, data) in &all {
        if it.screen.wants_json() {
            it.screen.json(data)?;
        } else {
            let took = super::super::when::readable(job.total_duration.max(job.duration));
            let text = format!("{}  {}  {took}\n", job.id, render::paint(&job.job_status, it.screen.color));
            it.screen.print(&text)?;
        }
    }
    let bad: Vec<_> = all.iter().filter(|(job, _)| job.job_status != "FINISHED").map(|(job, _)| job).collect();
    let Some(first) = bad.first() else { return Ok(()) };
    let what: Vec<_> = bad.iter().map(|job| format!("job {} {}", job.id, ending(&job.job_status))).collect();
    // The progress bars are on standard error too. The message starts on a new line.
    let _ = std::io::stderr().flush();
    let next = match first.job_status.as_str() {
        "ERROR" => {
            format!("`kirin job log {0}` shows why; `kirin job resume {0}` continues at the failed step.", first.id)
        }
        "STOPPED" => format!("`kirin job resume {}` continues it.", first.id),
        _ => String::new(),
    };
    Err(Failure::new(Exit::Failed, what.join(", "), next))
}

/// How a job that did not finish is described.
fn ending(status: &str) -> String {
    match status {
        "ERROR" => "ended in ERROR".to_owned(),
        "DISCARDED" => "was discarded".to_owned(),
        "STOPPED" | "STOPPING" => "was stopped".to_owned(),
        other => format!("is {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(sequence_id: u64, status: &str, began: i64) -> StepView {
        StepView {
            id: format!("j_{sequence_id:02}"),
            sequence_id,
            step_status: status.into(),
            exec_start_time: began,
            ..StepView::default()
        }
    }

    #[test]
    fn the_default_log_is_of_the_failed_step_or_the_one_started_last() {
        let id = |steps: &[StepView], named| chosen(steps, named).map(|step| step.id.clone());
        let failed = [step(0, "FINISHED", 1), step(1, "ERROR", 2), step(2, "STOPPED", 3)];
        assert_eq!(id(&failed, None).as_deref(), Some("j_01"));
        let running = [step(0, "FINISHED", 1), step(1, "RUNNING", 2), step(2, "PENDING", 0)];
        assert_eq!(id(&running, None).as_deref(), Some("j_01"));
        assert_eq!(id(&running, Some("2")).as_deref(), Some("j_02"));
        assert_eq!(id(&running, Some("j_00")).as_deref(), Some("j_00"));
        assert_eq!(id(&running, Some("7")), None);
        assert_eq!(id(&[step(0, "PENDING", 0)], None), None);
    }
}
