//! A network of hosts on this machine: each host is a network namespace, all are connected to one switch, and the switch can drop
//! packets between hosts.
//!
//! The network is in namespaces of this process. It is invisible outside and disappears with the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, ensure};

use crate::servers::process::Place;

/// The first three parts of every address.
const SUBNET: &str = "10.231.7";

/// The switch and its hosts.
#[derive(Debug)]
pub struct Net {
    hosts: Vec<Place>,
    /// Pairs of hosts with dropped packets from the first to the second.
    cuts: BTreeSet<(usize, usize)>,
    /// The percentage of packets lost from and to a host.
    losses: BTreeMap<usize, u32>,
}

/// Moves this process into network and mount namespaces of its own. Must be called before other threads start.
///
/// # Errors
/// If the process is not root, or a tool is missing.
pub fn enter() -> anyhow::Result<()> {
    unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS).context("cannot create namespaces; run as root")?;
    let private = Command::new("mount").args(["--make-rprivate", "/"]).output().context("cannot start mount")?;
    succeeded("mount --make-rprivate", &private)?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "br0", "type", "bridge"])?;
    ip(&["addr", "add", &format!("{SUBNET}.1/24"), "dev", "br0"])?;
    ip(&["link", "set", "br0", "up"])
}

#[expect(unsafe_code, reason = "unshare(2) takes a number")]
fn unshare(what: libc::c_int) -> io::Result<()> {
    if unsafe { libc::unshare(what) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "gettid(2) takes nothing")]
fn own_thread() -> libc::pid_t {
    unsafe { libc::gettid() }
}

impl Net {
    /// Creates a switch with this many hosts.
    ///
    /// # Errors
    /// If a host cannot be created.
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
            unshare(libc::CLONE_NEWNET)?;
            // The receiver waits for the message.
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

    /// Silently drops everything that `from` sends to `to`.
    ///
    /// # Errors
    /// If the rules cannot be changed.
    pub fn cut(&mut self, from: usize, to: usize) -> anyhow::Result<()> {
        self.cuts.insert((from, to));
        self.tell_switch()
    }

    /// Drops everything between the two sides.
    ///
    /// # Errors
    /// If the rules cannot be changed.
    pub fn part(&mut self, some: &[usize], others: &[usize]) -> anyhow::Result<()> {
        for a in some {
            for b in others {
                self.cuts.extend([(*a, *b), (*b, *a)]);
            }
        }
        self.tell_switch()
    }

    /// Drops a percentage of the packets from and to the host.
    ///
    /// # Errors
    /// If the rules cannot be changed.
    pub fn lose(&mut self, host: usize, percent: u32) -> anyhow::Result<()> {
        self.losses.insert(host, percent);
        self.tell_switch()
    }

    /// Disconnects the host from everything, including this process.
    ///
    /// # Errors
    /// If the rules cannot be changed.
    pub fn unplug(&self, host: usize) -> anyhow::Result<()> {
        ip(&["link", "set", &port(host), "down"])
    }

    /// Removes all drops.
    ///
    /// # Errors
    /// If the rules cannot be changed.
    pub fn heal(&mut self) -> anyhow::Result<()> {
        self.cuts.clear();
        self.losses.clear();
        for host in 0..self.hosts.len() {
            ip(&["link", "set", &port(host), "up"])?;
        }
        self.tell_switch()
    }

    fn tell_switch(&self) -> anyhow::Result<()> {
        // `add` before `delete`, so that the deletion cannot fail.
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
            .context("cannot start nft: apt-get install --no-install-recommends nftables")?;
        nft.stdin.take().context("nft has an input")?.write_all(rules.as_bytes())?;
        succeeded("nft", &nft.wait_with_output()?)
    }
}

/// The switch's end of a host's cable.
fn port(host: usize) -> String {
    format!("port{host}")
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("ip").args(words).output();
    let done = done.context("cannot start ip: apt-get install --no-install-recommends iproute2")?;
    succeeded(&format!("ip {}", words.join(" ")), &done)
}

fn succeeded(what: &str, done: &Output) -> anyhow::Result<()> {
    ensure!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}
