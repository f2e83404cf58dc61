//! What must be true when the faults are over.

use std::collections::BTreeSet;

use kirin_core::ask::Target;
use kirin_core::{JobState, Member};
use zookeeper::Ensemble;

use crate::board::Board;
use crate::database::Database;
use crate::hosts::{Host, Hosts};
use crate::node::{CLUSTER, HTTP};
use crate::users::{Served, Users};

/// Every living node is registered exactly once, nobody else is, and every living node sees exactly the living and calls its
/// discovery up; and no session is left over.
///
/// # Errors
/// What is not so yet.
pub fn discovered(hosts: &Hosts, board: &Board, ensemble: &Ensemble) -> Result<(), String> {
    let living = living_nodes(hosts);
    let addresses: Vec<String> =
        living.iter().map(|number| format!("{}:{HTTP}", Host::Node(*number).address())).collect();
    let mut registered = Vec::new();
    for (path, _, data) in ensemble.ephemerals(&format!("/kylin/{CLUSTER}/")) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let peer = kirin_discovery::parse_registration(name, Some(kirin_discovery::Role::All), &data)?;
        registered.push(peer.address());
    }
    registered.sort();
    if registered != addresses {
        return Err(format!("registered are {registered:?}, alive are {addresses:?}"));
    }
    for number in &living {
        let post = board.get(*number).ok_or_else(|| format!("node {number} did not begin"))?;
        let mut seen: Vec<String> = post.peers.borrow().iter().map(kirin_discovery::Peer::address).collect();
        seen.sort();
        if seen != addresses {
            return Err(format!("node {number} sees {seen:?}, alive are {addresses:?}"));
        }
        let health = post.health.borrow().clone();
        if !health.is_up() {
            return Err(format!("discovery of node {number} is {health}"));
        }
    }
    let sessions = ensemble.sessions().len();
    if sessions != living.len() {
        return Err(format!("{sessions} sessions of {} living nodes", living.len()));
    }
    Ok(())
}

/// Every accepted job has succeeded, and was published once, by its last attempt, or was discarded and never published; every
/// living node is a member exactly once and nobody else is; one of them leads.
///
/// # Errors
/// What is not so yet.
pub fn settled(hosts: &Hosts, board: &Board, database: &Database, users: &Users) -> Result<(), String> {
    let served = users.served()?;
    let tables = database.tables();
    for Served { job, discarded } in &served {
        let row = tables.store.job(*job).ok_or_else(|| format!("{job:?} was accepted and is gone"))?;
        let end = if *discarded { JobState::Discarded } else { JobState::Succeed };
        if row.state != end || row.holder.is_some() {
            return Err(format!("{job:?} is {:?} of {:?}", row.state, row.holder));
        }
        let published = tables.published.get(job).map_or(&[][..], Vec::as_slice);
        let right: &[_] = if *discarded { &[] } else { &[row.epoch] };
        if published != right {
            return Err(format!("{job:?} was published by {published:?}, its last attempt was {:?}", row.epoch));
        }
    }
    if tables.store.jobs().count() != served.len() {
        return Err(format!("{} jobs, {} were accepted", tables.store.jobs().count(), served.len()));
    }
    let members: Vec<Member> = tables.store.living().map(|row| row.member).collect();
    let mut living = Vec::new();
    for number in living_nodes(hosts) {
        let me = board.get(number).and_then(|post| post.me).and_then(|me| *me.borrow());
        living.push(me.ok_or_else(|| format!("node {number} is no member"))?);
    }
    if members != living {
        return Err(format!("members are {members:?}, alive are {living:?}"));
    }
    let leader = tables.store.claim(Target::Leader).and_then(|claim| claim.holder);
    if !leader.is_some_and(|leader| members.contains(&leader)) {
        return Err(format!("{leader:?} leads {members:?}"));
    }
    Ok(())
}

/// Nothing was seen in the whole run that no run may show.
///
/// # Errors
/// What was seen.
pub fn blameless(database: &Database) -> Result<(), String> {
    let tables = database.tables();
    if tables.violations.is_empty() { Ok(()) } else { Err(tables.violations.join("\n")) }
}

/// ZooKeeper is advice: whatever befell it, nobody was fenced, and every job was done by the node that took it first.
///
/// # Errors
/// Who was, or which was not.
pub fn undisturbed(hosts: &Hosts, database: &Database) -> Result<(), String> {
    let tables = database.tables();
    let again: Vec<Member> =
        tables.store.living().map(|row| row.member).filter(|member| member.incarnation.get() > 1).collect();
    if !again.is_empty() || tables.store.living().count() != living_nodes(hosts).len() {
        return Err(format!("had to join again: {again:?}"));
    }
    let moved: Vec<_> = tables.store.jobs().filter(|row| row.epoch.0 > 1).map(|row| row.fence()).collect();
    if moved.is_empty() { Ok(()) } else { Err(format!("jobs moved: {moved:?}")) }
}

fn living_nodes(hosts: &Hosts) -> BTreeSet<usize> {
    let number = |host| if let Host::Node(number) = host { Some(number) } else { None };
    hosts.all().filter(|host| hosts.is_alive(*host)).filter_map(number).collect()
}
