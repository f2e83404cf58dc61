//! Concurrent writes of definitions through several nodes.

use anyhow::ensure;
use kirin_client::{Client, Kind, Request};
use kirin_lab::local_cluster::Cluster;
use kirin_wire::Page;
use serde_json::{Value, json};

use crate::cluster::plan;

const NODES: usize = 3;
const ROUNDS: usize = 12;

async fn names(client: &Client, what: &str) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Named {
        name: String,
    }
    let page: Page<Named> = client.call(Request::get(&[what])).await?;
    Ok(page.value.into_iter().map(|row| row.name).collect())
}

/// Whether the request succeeded. A refusal is false, and any other error is returned.
async fn is_done(client: &Client, request: Request) -> anyhow::Result<bool> {
    match client.call::<Value>(request).await {
        Ok(_) => Ok(true),
        Err(failure) if matches!(failure.kind, Kind::Refused | Kind::Usage) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_always_has_its_table_and_names_are_unique_ignoring_case() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::start(dir.path(), NODES, plan()).await?;
    let file = dir.path().join("shops.csv");
    std::fs::write(&file, "shop,city\n1,Lyon\n2,Oslo\n")?;
    let clients = cluster.nodes.iter().map(|node| node.client()).collect::<Result<Vec<_>, _>>()?;
    let source = json!({ "format": "csv", "location": file.display().to_string() });
    let shops = |name: &str| json!({ "name": name, "source": source });
    let model = |name: &str| json!({ "name": name, "fact": "shops", "dimensions": [{ "name": "city", "column": "shops.city" }] });

    // One client drops the table while another adds a model of it. One of them must be first.
    let mut won = [0, 0];
    for round in 0..ROUNDS {
        let one = |shift| clients[(round + shift) % NODES];
        ensure!(is_done(one(0), Request::post(&["tables"]).body(&shops("shops"))?).await?);
        let (dropped, added) = tokio::join!(
            is_done(one(1), Request::delete(&["tables", "shops"]).with("project", "default")),
            is_done(one(2), Request::post(&["models"]).body(&model("m"))?),
        );
        let (dropped, added) = (dropped?, added?);
        ensure!(dropped != added, "round {round}: dropped: {dropped}, added: {added}");
        won[usize::from(added)] += 1;
        ensure!(names(one(0), "models").await?.len() == usize::from(added));
        ensure!(names(one(0), "tables").await?.len() == usize::from(added));
        if added {
            ensure!(is_done(one(1), Request::delete(&["models", "m"]).with("project", "default")).await?);
            ensure!(is_done(one(2), Request::delete(&["tables", "shops"]).with("project", "default")).await?);
        }
    }
    println!("the drop of the table was first {} times, the model was first {} times", won[0], won[1]);

    // Lookups ignore case.
    ensure!(is_done(clients[0], Request::post(&["tables"]).body(&shops("shops"))?).await?);
    ensure!(is_done(clients[1], Request::post(&["models"]).body(&model("m"))?).await?);
    ensure!(!is_done(clients[2], Request::post(&["tables"]).body(&shops("SHOPS"))?).await?);
    ensure!(!is_done(clients[0], Request::post(&["models"]).body(&model("M"))?).await?);
    ensure!(!is_done(clients[1], Request::post(&["projects"]).body(&json!({ "name": "Default" }))?).await?);
    cluster.stop_all().await
}
