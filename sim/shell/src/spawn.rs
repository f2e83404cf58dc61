//! Runs the background work of `zookeeper-client` as a task of the machine that starts it.

use madsim::runtime::Handle;
use spawns_core::{COMPATS, Compat, Task};

#[linkme::distributed_slice(COMPATS)]
static MADSIM: Compat = Compat::Local(spawner);

fn spawner() -> Option<fn(Task)> {
    Handle::try_current().is_ok().then_some(spawn)
}

fn spawn(task: Task) {
    drop(tokio::spawn(Box::into_pin(task.future)));
}
