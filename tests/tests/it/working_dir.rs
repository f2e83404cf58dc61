//! Nodes whose working directory is unwritable, full, or different from that of the other nodes.
//!
//! Each node's home contains a link `own` to the directory, so that a test can break and restore it for one node.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use kirin_client::Request;
use kirin_lab::local_cluster::{Cluster, Plan};
use kirin_wire::{BuildRequest, ClusterView, JobView, MemberView, ModelView, Submitted, TableAdded, WhyView};
use serde_json::Value;

use crate::cluster::{ask_plainly, plan, until};

/// A cluster whose nodes have their own links to the working directory, and the shared directory.
struct Broken {
    cluster: Cluster,
    shared: PathBuf,
    dir: tempfile::TempDir,
}

const EVERY: &str = "kirin.working-dir.check-interval";

impl Broken {
    async fn start(modes: &[&str], every: &str, prepare: impl Fn(&Path)) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let shared = dir.path().join("shared");
        std::fs::create_dir(&shared)?;
        for number in 1..=modes.len() {
            let home = dir.path().join(format!("node-{number}"));
            std::fs::create_dir(&home)?;
            std::os::unix::fs::symlink(&shared, home.join("own"))?;
        }
        prepare(dir.path());
        let settings = [("kylin.env.hdfs-working-dir", "own"), (EVERY, every), ("kylin.job.retry", "2")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let modes = modes.iter().map(|&mode| mode.to_owned()).collect();
        let cluster = Cluster::start(dir.path(), 0, Plan { modes, settings, ..plan() }).await?;
        Ok(Self { cluster, shared, dir })
    }

    /// Starts the nodes one after the other: of two equal groups, the one with the node that joined first is right.
    async fn grow(&mut self, nodes: usize) -> anyhow::Result<()> {
        for count in self.cluster.nodes.len() + 1..=nodes {
            self.cluster.grow(count).await?;
            self.cluster.wait_for_members(count).await?;
        }
        Ok(())
    }

    async fn define(&self) -> anyhow::Result<()> {
        let data = self.dir.path().join("data");
        kirin_olap::demo::write_files(&data)?;
        let client = self.cluster.nodes[0].client()?;
        for table in kirin_olap::demo::tables(&data) {
            let table = kirin_lab::demo::new_table("default", table)?;
            let _: TableAdded = client.call(Request::post(&["tables"]).body(&table)?).await?;
        }
        let model = kirin_lab::demo::new_model("default")?;
        let _: ModelView = client.call(Request::post(&["models"]).body(&model)?).await?;
        Ok(())
    }

    /// Submits the build of a month through a node.
    async fn build(&self, node: usize, month: usize) -> anyhow::Result<String> {
        let range = kirin_service::catalog::ends(&kirin_olap::demo::months()[month]);
        let body = BuildRequest::new("default", range);
        let request = Request::post(&["models", "flights", "segments"]).body(&body)?;
        let made: Submitted = self.cluster.nodes[node].client()?.call(request).await?;
        Ok(made.first().to_owned())
    }

    /// Replaces this node's working directory.
    fn replace(&self, node: usize, by: &Own) -> anyhow::Result<()> {
        let own = self.cluster.nodes[node].home().join("own");
        // Metadata of the link itself, whose target may not exist.
        if own.symlink_metadata()?.is_dir() {
            std::fs::remove_dir_all(&own)?;
        } else {
            std::fs::remove_file(&own)?;
        }
        match by {
            Own::Shared => std::os::unix::fs::symlink(&self.shared, own)?,
            Own::File => std::fs::write(own, "not a directory")?,
            Own::Directory => std::fs::create_dir(own)?,
        }
        Ok(())
    }

    async fn member(&self, through: usize, node: usize) -> anyhow::Result<MemberView> {
        let view: ClusterView = self.cluster.nodes[through].client()?.call(Request::get(&["cluster"])).await?;
        let name = &self.cluster.nodes[node].name;
        view.members.into_iter().find(|member| member.node == *name).with_context(|| format!("{name} is not listed"))
    }

    /// Waits until all nodes list that a node can run builds, or that it cannot.
    async fn until_able(&self, node: usize, able: bool) -> anyhow::Result<MemberView> {
        let what = format!("node {node} to be able to build: {able}");
        self.cluster
            .wait(&what, async || {
                for through in 0..self.cluster.nodes.len() {
                    let member = self.member(through, node).await?;
                    if member.able_to_run.contains(&"build".to_owned()) != able || member.trouble.is_none() != able {
                        return Ok(None);
                    }
                }
                Ok(Some(self.member(0, node).await?))
            })
            .await
    }

    async fn health(&self, node: usize) -> anyhow::Result<(u16, Value)> {
        ask_plainly(&format!("{}/health", self.cluster.nodes[node].url)).await
    }

    async fn why(&self, job: &str) -> anyhow::Result<WhyView> {
        Ok(self.cluster.nodes[0].client()?.call(Request::get(&["jobs", job, "why"])).await?)
    }
}

enum Own {
    Shared,
    File,
    Directory,
}

fn nodes_of(view: &JobView) -> Vec<&str> {
    view.steps.iter().flatten().map(|step| step.node.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_fail_in_a_broken_directory_are_handed_back_and_none_ends_in_error() -> anyhow::Result<()> {
    // There are no regular checks. The node detects the problem at the first build that fails.
    let mut it = Broken::start(&["all", "job"], "1d", |_| ()).await?;
    it.grow(2).await?;
    it.define().await?;
    ensure!(it.health(1).await?.0 == 200);
    it.replace(1, &Own::File)?;
    let mut jobs = Vec::new();
    for month in 0..8 {
        jobs.push(it.build(month % 2, month).await?);
    }
    let mut handed_back = 0;
    for job in &jobs {
        let view = until(&it.cluster, job, "FINISHED").await?;
        ensure!(nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
        handed_back += usize::from(view.epoch > 1);
    }
    ensure!(handed_back > 0, "the broken node has begun none");
    let member = it.until_able(1, false).await?;
    let trouble = member.trouble.unwrap_or_default();
    ensure!(trouble.contains("Not a directory") && trouble.contains("own"), "{trouble}");
    ensure!(member.running == 0 && member.waiting == 0);
    let (status, body) = it.health(1).await?;
    ensure!(status == 503 && body["status"] == "DOWN", "a job node is not ready without it: {body}");
    let part = &body["components"]["workingDirectory"];
    ensure!(part["status"] == "DOWN" && part["details"]["reason"].to_string().contains("cannot write"), "{body}");
    ensure!(!body.to_string().contains("own"), "without a login, no file names are shown: {body}");
    let (status, body) = it.health(0).await?;
    ensure!(status == 200 && body["components"]["workingDirectory"]["status"] == "UP", "{body}");
    it.cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_while_no_node_has_a_usable_directory_and_then_runs() -> anyhow::Result<()> {
    let mut it = Broken::start(&["all", "all"], "200ms", |_| ()).await?;
    it.grow(2).await?;
    it.define().await?;
    it.until_able(0, true).await?;
    it.replace(0, &Own::File)?;
    it.until_able(0, false).await?;
    let on_the_other = it.build(0, 0).await?;
    let view = until(&it.cluster, &on_the_other, "FINISHED").await?;
    ensure!(nodes_of(&view).iter().all(|node| *node == "node-2") && view.epoch == 1, "{view:?}");
    // A directory that is not mounted is empty.
    it.replace(1, &Own::Directory)?;
    it.until_able(1, false).await?;
    let job = it.build(1, 1).await?;
    let why = it
        .cluster
        .wait("the reason of the waiting job", async || {
            let why = it.why(&job).await?;
            Ok((why.reason == "no_node_can").then_some(why))
        })
        .await?;
    ensure!(
        why.detail.contains("no job node that is up has the required capability") && why.detail.contains("build"),
        "{why:?}"
    );
    ensure!(why.detail.contains("node-1: ") && why.detail.contains("Not a directory"), "{why:?}");
    ensure!(
        why.detail.contains("node-2: ") && why.detail.contains("not the working directory of this cluster"),
        "{why:?}"
    );
    ensure!(it.health(1).await?.0 == 200, "it still answers queries of tables");
    it.replace(0, &Own::Shared)?;
    let view = until(&it.cluster, &job, "FINISHED").await?;
    ensure!(nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
    it.replace(1, &Own::Shared)?;
    it.until_able(1, true).await?;
    ensure!(it.health(1).await?.1["components"]["workingDirectory"]["status"] == "UP");
    it.cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_different_directory_never_takes_a_build() -> anyhow::Result<()> {
    let other = |dir: &Path| {
        for node in ["node-2", "node-3"] {
            let own = dir.join(node).join("own");
            std::fs::remove_file(&own).and_then(|()| std::fs::create_dir(own)).expect("a directory of its own");
        }
    };
    let mut it = Broken::start(&["all", "all", "query"], "200ms", other).await?;
    // The first node writes the cluster's token.
    it.grow(1).await?;
    it.define().await?;
    it.grow(3).await?;
    let member = it.until_able(1, false).await?;
    let trouble = member.trouble.unwrap_or_default();
    ensure!(trouble.contains("not the working directory of this cluster"), "{trouble}");
    let asker = it.cluster.wait("the problem of the query node", async || Ok(it.member(0, 2).await?.trouble)).await?;
    ensure!(asker.contains("not the working directory of this cluster"), "{asker}");
    let (status, body) = it.health(2).await?;
    ensure!(status == 200 && body["components"]["workingDirectory"]["status"] == "DOWN", "{body}");
    for month in 0..4 {
        let job = it.build(1, month).await?;
        let view = until(&it.cluster, &job, "FINISHED").await?;
        ensure!(view.epoch == 1 && nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
    }
    // The first node is down. Its jobs must not run on a different disk.
    it.cluster.kill(0).await?;
    let client = it.cluster.nodes[1].client()?;
    let body = BuildRequest::new("default", kirin_service::catalog::ends(&kirin_olap::demo::months()[5]));
    let made: Submitted = client.call(Request::post(&["models", "flights", "segments"]).body(&body)?).await?;
    let job = made.first().to_owned();
    it.cluster
        .wait("the reason of the waiting job", async || {
            let why: WhyView = client.call(Request::get(&["jobs", &job, "why"])).await?;
            Ok((why.reason == "no_node_can").then_some(()))
        })
        .await?;
    it.cluster.restart(0).await?;
    let view = until(&it.cluster, &job, "FINISHED").await?;
    ensure!(nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
    it.cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_directory_is_detected_by_the_tokens_of_the_other_nodes() -> anyhow::Result<()> {
    let mut it = Broken::start(&["all", "all"], "200ms", |_| ()).await?;
    it.grow(2).await?;
    it.define().await?;
    it.until_able(0, true).await?;
    it.until_able(1, true).await?;
    let own = it.cluster.nodes[1].home().join("own");
    it.replace(1, &Own::Directory)?;
    copy(&it.shared, &own)?;
    // The copy contains the current token of the first node until that node restarts.
    it.cluster.stop(0).await?;
    it.cluster.restart(0).await?;
    it.cluster.wait_for_members(2).await?;
    // During the copy, a check may have found no cluster token.
    it.cluster
        .wait("the copy to be detected", async || {
            let trouble = it.member(0, 1).await?.trouble.unwrap_or_default();
            Ok(trouble.contains("not the directory that node-1 uses").then_some(()))
        })
        .await?;
    it.until_able(1, false).await?;
    it.until_able(0, true).await?;
    let job = it.build(1, 0).await?;
    let view = until(&it.cluster, &job, "FINISHED").await?;
    ensure!(nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
    it.cluster.stop_all().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_the_oldest_node_is_detected_when_another_node_restarts() -> anyhow::Result<()> {
    let mut it = Broken::start(&["all", "all", "all"], "200ms", |_| ()).await?;
    it.grow(3).await?;
    it.define().await?;
    for node in 0..3 {
        it.until_able(node, true).await?;
    }
    let own = it.cluster.nodes[0].home().join("own");
    it.replace(0, &Own::Directory)?;
    copy(&it.shared, &own)?;
    // The copy contains the tokens of the others, and they see the last token of the first node, until one of them restarts.
    it.cluster.stop(1).await?;
    it.cluster.restart(1).await?;
    it.cluster.wait_for_members(3).await?;
    it.cluster
        .wait("the copy to be detected", async || {
            let trouble = it.member(1, 0).await?.trouble.unwrap_or_default();
            Ok(trouble.contains("not the directory that node-2, node-3 uses").then_some(()))
        })
        .await?;
    it.until_able(0, false).await?;
    it.until_able(1, true).await?;
    it.until_able(2, true).await?;
    let job = it.build(0, 0).await?;
    let view = until(&it.cluster, &job, "FINISHED").await?;
    ensure!(nodes_of(&view).iter().all(|node| *node != "node-1"), "{view:?}");
    it.replace(0, &Own::Shared)?;
    it.until_able(0, true).await?;
    it.cluster.stop_all().await
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else if let Err(error) = std::fs::copy(entry.path(), to)
            // A token is first written under a temporary name.
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_is_full_starts_without_builds() -> anyhow::Result<()> {
    let mut it = Broken::start(&["all", "all"], "200ms", |_| ()).await?;
    it.grow(2).await?;
    it.define().await?;
    it.cluster.stop(1).await?;
    let conf = it.cluster.nodes[1].home().join("conf/kylin.properties");
    let before = std::fs::read_to_string(&conf)?;
    // More than the disk of any test machine.
    std::fs::write(&conf, format!("{before}kirin.working-dir.free-mib-min=4000000000\n"))?;
    it.cluster.restart(1).await?;
    it.cluster.wait_for_members(2).await?;
    let trouble = it.until_able(1, false).await?.trouble.unwrap_or_default();
    ensure!(trouble.contains("MiB of free space") && trouble.contains("kirin.working-dir.free-mib-min"), "{trouble}");
    for month in 0..4 {
        let job = it.build(1, month).await?;
        let view = until(&it.cluster, &job, "FINISHED").await?;
        ensure!(view.epoch == 1 && nodes_of(&view).iter().all(|node| *node == "node-1"), "{view:?}");
    }
    it.cluster.stop_all().await
}
