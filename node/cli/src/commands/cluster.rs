//! `kirin cluster`.

use super::super::args::Cluster;
use super::super::exit::Failure;
use super::super::render;
use super::Session;
use kirin_client::{Request, decode};
use kirin_wire::{ClusterView, HistoryView, Page};

pub(super) async fn run(mut it: Session<'_, '_>, command: Cluster) -> Result<(), Failure> {
    match command {
        Cluster::List => {
            let data = it.client.raw(Request::get(&["cluster"])).await?;
            it.screen.show(&data, |color| Ok(render::cluster(&decode::<ClusterView>(&data)?, color)))
        }
        Cluster::History { limit } => {
            let data = it.client.raw(Request::get(&["cluster", "history"]).with("limit", limit)).await?;
            it.screen.show(&data, |color| Ok(render::history(&decode::<Page<HistoryView>>(&data)?.value, color)))
        }
        Cluster::Drain { node, undo: false } => {
            let request = Request::post(&["cluster", "nodes", &node, "drain"]).repeatable();
            it.done(request, &format!("{node} is draining: it hands over its jobs and takes no new ones")).await
        }
        Cluster::Drain { node, undo: true } => {
            let request = Request::delete(&["cluster", "nodes", &node, "drain"]).repeatable();
            it.done(request, &format!("{node} takes jobs again")).await
        }
    }
}
