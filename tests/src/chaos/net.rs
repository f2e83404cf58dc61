//! A network of hosts on this machine: each host is a network namespace, all are on one switch, and the switch can be told to
//! lose what goes from one to another.
//!
//! The whole network lives in namespaces of this process: nothing of it is seen outside, and it is gone with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, ensure};

use crate::servers::process::Place;

/// The first three numbers of every address.
const SUBNET: &str = "10.231.7";

/// The switch and its hosts.
#[derive(Debug)]
pub struct Net {
    hosts: Vec<Place>,
    /// From which host nothing reaches which other.
    cuts: BTreeSet<(usize, usize)>,
    /// How many of a hundred packets are lost on the way from and to a host.
    losses: BTreeMap<usize, u32>,
}

/// Puts this process into a network of its own. It must not have any other thread yet.
///
/// # Errors
/// If it may not (it needs to be root), or a tool is missing.
pub fn enter() -> anyhow::Result<()> {
    unshare().context("a network of its own needs root")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "br0", "type", "bridge"])?;
    ip(&["addr", "add", &format!("{SUBNET}.1/24"), "dev", "br0"])?;
    ip(&["link", "set", "br0", "up"])
}

#[expect(unsafe_code, reason = "unshare(2) takes a number")]
fn unshare() -> io::Result<()> {
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "gettid(2) takes nothing")]
fn own_thread() -> libc::pid_t {
    unsafe { libc::gettid() }
}

impl Net {
    /// A switch with so many hosts.
    ///
    /// # Errors
    /// If a host can't be made.
    pub fn of(hosts: usize) -> anyhow::Result<Self> {
        let mut net = Self { hosts: Vec::new(), cuts: BTreeSet::new(), losses: BTreeMap::new() };
        for _ in 0..hosts {
            net.add()?;
        }
        Ok(net)
    }

    fn add(&mut self) -> anyhow::Result<()> {
        let host = self.hosts.len();
        let address = format!("{SUBNET}.{}", host + 10);
        let (tell, told) = mpsc::channel();
        let place = Place::new(&address, move || {
            unshare()?;
            // Whoever wants it waits for it.
            let _ = tell.send(own_thread());
            Ok(())
        })?;
        let thread = told.recv().context("the host's thread has ended")?;
        let (port, thread) = (port(host), thread.to_string());
        ip(&["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &thread])?;
        ip(&["link", "set", &port, "master", "br0", "up"])?;
        let own = format!("{address}/24");
        place.within(move || {
            ip(&["link", "set", "lo", "up"])?;
            ip(&["addr", "add", &own, "dev", "eth0"])?;
            ip(&["link", "set", "eth0", "up"])
        })?;
        self.hosts.push(place);
        Ok(())
    }

    /// A host.
    pub fn host(&self, host: usize) -> &Place {
        &self.hosts[host]
    }

    /// From here on nothing that `from` sends reaches `to`; nobody is told.
    ///
    /// # Errors
    /// If the switch can't be told.
    pub fn cut(&mut self, from: usize, to: usize) -> anyhow::Result<()> {
        self.cuts.insert((from, to));
        self.tell_switch()
    }

    /// Nothing passes between the two sides.
    ///
    /// # Errors
    /// If the switch can't be told.
    pub fn part(&mut self, some: &[usize], others: &[usize]) -> anyhow::Result<()> {
        for a in some {
            for b in others {
                self.cuts.extend([(*a, *b), (*b, *a)]);
            }
        }
        self.tell_switch()
    }

    /// So many of a hundred packets from and to the host are lost.
    ///
    /// # Errors
    /// If the switch can't be told.
    pub fn lose(&mut self, host: usize, percent: u32) -> anyhow::Result<()> {
        self.losses.insert(host, percent);
        self.tell_switch()
    }

    /// Pulls the host's plug: also whoever looks on from outside reaches it no more.
    ///
    /// # Errors
    /// If the switch can't be told.
    pub fn unplug(&self, host: usize) -> anyhow::Result<()> {
        ip(&["link", "set", &port(host), "down"])
    }

    /// Everything passes again.
    ///
    /// # Errors
    /// If the switch can't be told.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.cuts.clear();
        self.losses.clear();
        for host in 0..self.hosts.len() {
            ip(&["link", "set", &port(host), "up"])?;
        }
        self.tell_switch()
    }

    fn tell_switch(&self) -> anyhow::Result<()> {
        // Adding it first makes that it can be deleted in any case.
        let mut rules = String::from("add table bridge faults\ndelete table bridge faults\n");
        rules.push_str("table bridge faults {\n chain passing {\n  type filter hook forward priority 0;\n");
        for (from, to) in &self.cuts {
            rules.push_str(&format!("  iifname \"{}\" oifname \"{}\" drop\n", port(*from), port(*to)));
        }
        for (host, percent) in &self.losses {
            for way in ["iifname", "oifname"] {
                rules.push_str(&format!("  {way} \"{}\" numgen random mod 100 < {percent} drop\n", port(*host)));
            }
        }
        rules.push_str(" }\n}\n");
        let mut nft = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("nft can't be started: apt-get install --no-install-recommends nftables")?;
        nft.stdin.take().context("it has an input")?.write_all(rules.as_bytes())?;
        succeeded("nft", &nft.wait_with_output()?)
    }
}

/// The switch's end of a host's cable.
fn port(host: usize) -> String {
    format!("port{host}")
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("ip").args(words).output();
    let done = done.context("ip can't be started: apt-get install --no-install-recommends iproute2")?;
    succeeded(&format!("ip {}", words.join(" ")), &done)
}

fn succeeded(what: &str, done: &Output) -> anyhow::Result<()> {
    ensure!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
