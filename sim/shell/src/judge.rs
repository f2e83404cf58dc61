//! The conditions that must hold after the faults.

use std::collections::BTreeSet;

use kirin_core::ask::Target;
use kirin_core::{JobState, Member};
use zookeeper::Ensemble;

use crate::board::Board;
use crate::database::Database;
use crate::hosts::{Host, Hosts};
use crate::node::{CLUSTER, HTTP};
use crate::users::{Served, Users};

/// Every living node is registered exactly once, and no other node is. Every living node sees exactly the living nodes
/// and reports its discovery as up. There are no other sessions.
///
/// # Errors
/// The first condition that does not hold yet.
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
        return Err(format!("registered: {registered:?}, alive: {addresses:?}"));
    }
    for number in &living {
        let post = board.get(*number).ok_or_else(|| format!("node {number} did not start"))?;
        let mut seen: Vec<String> = post.peers.borrow().iter().map(kirin_discovery::Peer::address).collect();
        seen.sort();
        if seen != addresses {
            return Err(format!("node {number} sees {seen:?}, alive: {addresses:?}"));
        }
        let health = post.health.borrow().clone();
        if !health.is_up() {
            return Err(format!("discovery of node {number} is {health}"));
        }
    }
    let sessions = ensemble.sessions().len();
    if sessions != living.len() {
        return Err(format!("{sessions} sessions for {} living nodes", living.len()));
    }
    Ok(())
}

/// Every accepted job has succeeded and was published once, by its last attempt, or was discarded and never published.
/// Every living node is a member exactly once, no other node is, and one member leads.
///
/// # Errors
/// The first condition that does not hold yet.
pub fn settled(hosts: &Hosts, board: &Board, database: &Database, users: &Users) -> Result<(), String> {
    let served = users.served()?;
    let tables = database.tables();
    for Served { job, discarded } in &served {
        let row = tables.store.job(*job).ok_or_else(|| format!("{job:?} was accepted but is gone"))?;
        let end = if *discarded { JobState::Discarded } else { JobState::Succeed };
        if row.state != end || row.holder.is_some() {
            return Err(format!("{job:?} is {:?}, held by {:?}", row.state, row.holder));
        }
        let published = tables.published.get(job).map_or(&[][..], Vec::as_slice);
        let right: &[_] = if *discarded { &[] } else { &[row.epoch] };
        if published != right {
            return Err(format!("{job:?} was published by {published:?}, but its last attempt was {:?}", row.epoch));
        }
    }
    if tables.store.jobs().count() != served.len() {
        return Err(format!("{} jobs exist, but {} were accepted", tables.store.jobs().count(), served.len()));
    }
    let members: Vec<Member> = tables.store.living().map(|row| row.member).collect();
    let mut living = Vec::new();
    for number in living_nodes(hosts) {
        let me = board.get(number).and_then(|post| post.me).and_then(|me| *me.borrow());
        living.push(me.ok_or_else(|| format!("node {number} is not a member"))?);
    }
    if members != living {
        return Err(format!("members: {members:?}, alive: {living:?}"));
    }
    let leader = tables.store.claim(Target::Leader).and_then(|claim| claim.holder);
    if !leader.is_some_and(|leader| members.contains(&leader)) {
        return Err(format!("the leader is {leader:?}, the members are {members:?}"));
    }
    Ok(())
}

/// No violation was recorded during the run.
///
/// # Errors
/// The recorded violations.
pub fn blameless(database: &Database) -> Result<(), String> {
    let tables = database.tables();
    if tables.violations.is_empty() { Ok(()) } else { Err(tables.violations.join("\n")) }
}

/// ZooKeeper is advice: despite its faults, no member was fenced, and every job was done by the first node that took
/// it.
///
/// # Errors
/// The members that were fenced, or the jobs that moved.
pub fn undisturbed(hosts: &Hosts, database: &Database) -> Result<(), String> {
    let tables = database.tables();
    let again: Vec<Member> =
        tables.store.living().map(|row| row.member).filter(|member| member.incarnation.get() > 1).collect();
    if !again.is_empty() || tables.store.living().count() != living_nodes(hosts).len() {
        return Err(format!("members had to join again: {again:?}"));
    }
    let moved: Vec<_> = tables.store.jobs().filter(|row| row.epoch.0 > 1).map(|row| row.fence()).collect();
    if moved.is_empty() { Ok(()) } else { Err(format!("jobs moved: {moved:?}")) }
}

fn living_nodes(hosts: &Hosts) -> BTreeSet<usize> {
    let number = |host| if let Host::Node(number) = host { Some(number) } else { None };
    hosts.all().filter(|host| hosts.is_alive(*host)).filter_map(number).collect()
}
