//! Measures the throughput of a metastore for jobs without work: submitted, taken under an epoch, finished, all
//! committed.
//!
//! `cargo run --release -p kirin-store --example throughput -- URL [JOBS] [WAITING]`
//!
//! Phases: submits with 1000 jobs per statement; takes and finishes with group commit, from many workers that each wait
//! for their own answers; the same without group commit, with ten workers and one commit per submit, take and finish;
//! the duration of a take and of the list of open jobs while 10,000 jobs wait and 100,000 are finished.

#![expect(clippy::disallowed_methods, reason = "it measures")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kirin_core::ask::{Epoch, Fence, JobId, ProjectId};
use kirin_core::{Answer, Ask, Member, Outcome, Role};
use kirin_store::{Backend, Extra, NewJob, Store, StoreConfig, Submitted};
use tokio::sync::Mutex;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: throughput URL [JOBS]")?;
    let jobs: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let backend: Backend = url.parse()?;
    let mut config = StoreConfig::new(backend);
    config.identifier = format!("bench{}", std::process::id());
    config.connections = 16;
    config.ask_timeout = Duration::from_secs(30);

    let store = Store::open(&config).await?;
    let (project, me) = prepare(&store).await?;

    let begun = Instant::now();
    let ids = submit(&store, project, jobs).await?;
    report("submit, 1000 a statement", jobs, begun.elapsed());

    let begun = Instant::now();
    work(&store, me, ids, 4096).await?;
    report("take and finish, batched", jobs, begun.elapsed());

    config.batch = false;
    let plain = Store::open(&config).await?;
    let few = (jobs / 10).max(1000);
    let begun = Instant::now();
    submit_singly(&plain, project, few, 10).await?;
    report("submit, one commit each, 10 workers", few, begun.elapsed());
    let ids = submit(&store, project, few).await?;
    let begun = Instant::now();
    work(&plain, me, ids, 10).await?;
    report("take and finish, one commit each, 10 workers", few, begun.elapsed());

    crowd(&store, project, me, jobs).await
}

fn report(what: &str, jobs: usize, took: Duration) {
    println!("{what:<48} {jobs:>8} jobs {:>8.0} jobs/s", jobs as f64 / took.as_secs_f64());
}

async fn prepare(store: &Store) -> Result<(ProjectId, Member), Failure> {
    let project = store.project_add("bench", 1_000_000, "", "{}").await?.ok_or("the project exists")?;
    let extra =
        Extra::Join { node: "bench".to_owned(), link: String::new(), http: String::new(), version: String::new() };
    match store.ask(&Ask::Join { role: Role::All, slots: 1000, can: kirin_core::Capabilities::ALL }, extra).await {
        Answer::Joined(me) => Ok((project, me)),
        other => Err(format!("unexpected answer to a join: {other:?}").into()),
    }
}

fn fresh_key() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

async fn submit(store: &Store, project: ProjectId, jobs: usize) -> Result<Vec<JobId>, Failure> {
    let mut ids = Vec::with_capacity(jobs);
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..4 {
        let store = store.clone();
        let mine = jobs / 4 + usize::from(part < jobs % 4);
        tasks.spawn(async move {
            let mut ids = Vec::with_capacity(mine);
            while ids.len() < mine {
                let batch: Vec<NewJob> =
                    (0..1000.min(mine - ids.len())).map(|_| NewJob::new(project, fresh_key())).collect();
                for answer in store.submit_many(&batch).await? {
                    match answer {
                        Submitted::Accepted { row, .. } => ids.push(row.id),
                        other => return Err(format!("unexpected answer to a submit: {other:?}").into()),
                    }
                }
            }
            Ok::<_, Failure>(ids)
        });
    }
    while let Some(part) = tasks.join_next().await {
        ids.extend(part??);
    }
    ids.sort_unstable();
    Ok(ids)
}

async fn submit_singly(store: &Store, project: ProjectId, jobs: usize, workers: usize) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..jobs / workers {
                store.submit(NewJob::new(project, fresh_key())).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Workers that each take a job, finish it, and continue until no job is left.
async fn work(store: &Store, me: Member, mut ids: Vec<JobId>, workers: usize) -> Result<(), Failure> {
    ids.reverse();
    let ids = Arc::new(Mutex::new(ids));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (store, ids) = (store.clone(), ids.clone());
        tasks.spawn(async move {
            loop {
                let Some(job) = ids.lock().await.pop() else { return Ok::<_, Failure>(()) };
                take_and_finish(&store, me, job).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn take_and_finish(store: &Store, me: Member, job: JobId) -> Result<(), Failure> {
    let fence = Fence { job, epoch: Epoch(0) };
    let epoch = match store.ask(&Ask::Take { fence, by: me, in_order: false }, Extra::None).await {
        Answer::Granted { epoch, .. } => epoch,
        other => return Err(format!("unexpected answer to a take: {other:?}").into()),
    };
    let finish = Ask::Finish { fence: Fence { job, epoch }, by: me, outcome: Outcome::Succeeded };
    match store.ask(&finish, Extra::None).await {
        Answer::Done => Ok(()),
        other => Err(format!("unexpected answer to a finish: {other:?}").into()),
    }
}

async fn crowd(store: &Store, project: ProjectId, me: Member, over: usize) -> Result<(), Failure> {
    let waiting = submit(store, project, 10_000).await?;
    let begun = Instant::now();
    for job in waiting.iter().take(200) {
        take_and_finish(store, me, *job).await?;
    }
    let each = begun.elapsed() / 200;
    println!("take and finish of one job, 10,000 wait, {over} are finished: {each:?}");
    let begun = Instant::now();
    let Answer::Jobs(open) = store.ask(&Ask::ListJobs, Extra::None).await else {
        return Err("no list".into());
    };
    println!("list of {} open jobs: {:?}", open.len(), begun.elapsed());
    let begun = Instant::now();
    let page = store.jobs(&kirin_store::JobFilter { reverse: true, ..Default::default() }).await?;
    println!("page of {} of {} jobs: {:?}", page.jobs.len(), page.total, begun.elapsed());
    Ok(())
}
