//! Acts: everything that can be done to a cluster, as one enum with one text form.
//!
//! Stories, transcripts, searched runs and regression files all use it. An act that is impossible at its moment (thaw a
//! host that is not frozen, pause a job that has ended) does nothing. Therefore any sequence of acts is a valid run,
//! even after a shrinker has removed some.
//!
//! ```text
//! cluster seed=7 nodes=3 slots=2
//! post a steps=5
//! run 3s
//! kill n2
//! run 90s
//! ```

use core::fmt;
use core::str::FromStr;

use kirin_core::ask::{ProjectId, Target};
use kirin_core::{Action, Capabilities, Role, Span};

/// The number of a host, from 1. Its node has the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u32);

/// The properties of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its name in the acts.
    pub name: String,
    /// Its project.
    pub project: u32,
    /// Its priority.
    pub prio: u8,
    /// How many steps it has.
    pub steps: u32,
    /// How long a step lasts.
    pub step: Span,
    /// Whether it has side effects that the metastore cannot refuse.
    pub external: bool,
    /// The capabilities that a node needs to take it.
    pub needs: Capabilities,
    /// How many attempts fail before one succeeds.
    pub fails: u32,
    /// How many attempts hang in their first step until they are told to stop.
    pub stuck: u32,
    /// The host that the client talks to; any if `None`.
    pub via: Option<Host>,
}

/// The kind of an outage of the metastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// It refuses connections.
    Fails,
    /// It accepts requests and never answers.
    Hangs,
}

/// An action on the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Time passes.
    Run(Span),
    /// The process starts. Its host recovers from its faults.
    Start(Host),
    /// kill -9 of the process: its host closes its connections and refuses new ones.
    Kill(Host),
    /// The host disappears: nothing answers.
    Lose(Host),
    /// The process and its executors stop; its clock continues.
    Freeze(Host),
    /// The process stops. Its executors, which are other processes, and its clock continue.
    FreezeAlone(Host),
    /// The machine is suspended: its monotonic clock stops as well.
    Suspend(Host),
    /// A frozen or suspended process continues.
    Thaw(Host),
    /// The host cannot reach the metastore.
    CutStore(Host),
    /// The metastore's replies to the host are lost.
    Mute(Host),
    /// The host's connections to the metastore break under everything that it writes, except beats: nothing is written,
    /// and the outcome is unknown at once. Reads succeed.
    Reset(Host),
    /// The metastore's replies to the host take this much longer.
    Slow(Host, Span),
    /// Two hosts cannot reach each other.
    Cut(Host, Host),
    /// Nothing from the first host reaches the second; the other direction works.
    CutWay(Host, Host),
    /// The host cannot reach ZooKeeper.
    CutZooKeeper(Host),
    /// The host reaches ZooKeeper again.
    HealZooKeeper(Host),
    /// ZooKeeper has no quorum: it answers no requests, and no session expires.
    ZooKeeperDown,
    /// ZooKeeper answers again; every session gets its full timeout again.
    ZooKeeperUp,
    /// ZooKeeper ends the host's session although its process is healthy.
    Expire(Host),
    /// The host's wall clock jumps forward or back. Nothing may notice.
    Jump(Host, i64),
    /// The host's monotonic clock leaps forward, as after a migration of its virtual machine.
    Leap(Host, Span),
    /// The host is slow: all its events are delayed by this span. Zero ends it.
    Crawl(Host, Span),
    /// The host's disk is full: steps fail there.
    Fill(Host),
    /// The host's disk has free space again.
    Free(Host),
    /// The host's next start uses the other version of the program.
    Upgrade(Host),
    /// From this moment, the host has exactly these capabilities.
    Can(Host, Capabilities),
    /// The host's next start uses this role.
    Become(Host, Role),
    /// The links between two hosts break, and can be opened again.
    Break(Host, Host),
    /// The host can reach the metastore again, and receives its replies.
    HealStore(Host),
    /// Two hosts can reach each other again.
    Heal(Host, Host),
    /// An outage of the metastore begins.
    Outage(Outage),
    /// The outage of the metastore ends.
    OutageOver,
    /// Everything recovers: hosts are started and thawed, connections healed, the weather is calm, limits and slots are
    /// not 0.
    HealAll,
    /// A client submits a job.
    Post(Work),
    /// A client acts on a job.
    Do {
        /// The action.
        action: Action,
        /// The job's name.
        name: String,
        /// The host that it talks to.
        via: Option<Host>,
    },
    /// An operator drains a node.
    Drain {
        /// The node.
        host: Host,
        /// The deadline for hand-overs.
        within: Span,
        /// Whether it leaves afterwards.
        leave: bool,
    },
    /// An operator wants a drained node to take jobs again.
    Undrain(Host),
    /// An operator sets the slots of a node.
    Slots(Host, u32),
    /// An operator sets the limit of a project.
    Limit(u32, u32),
    /// The row of a claim is deleted directly in the database.
    Forget(Target),
    /// An operator wants the node to hold a claim.
    Claim {
        /// The node.
        host: Host,
        /// The claim.
        target: Target,
        /// Whether to take it even from a living holder.
        force: bool,
    },
}

/// A line that is not an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAct {
    /// The line.
    pub line: String,
    /// The reason.
    pub wrong: &'static str,
}

impl Work {
    /// A job with this name and three steps of one second.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            project: 1,
            prio: 3,
            steps: 3,
            step: Span::from_secs(1),
            external: false,
            needs: Capabilities::NONE,
            fails: 0,
            stuck: 0,
            via: None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(span) => write!(f, "run {span:?}"),
            Self::Start(host) => write!(f, "start {host}"),
            Self::Kill(host) => write!(f, "kill {host}"),
            Self::Lose(host) => write!(f, "lose {host}"),
            Self::Freeze(host) => write!(f, "freeze {host}"),
            Self::FreezeAlone(host) => write!(f, "freeze {host} alone"),
            Self::Suspend(host) => write!(f, "suspend {host}"),
            Self::Thaw(host) => write!(f, "thaw {host}"),
            Self::CutStore(host) => write!(f, "cut {host} store"),
            Self::Mute(host) => write!(f, "mute {host}"),
            Self::Reset(host) => write!(f, "reset {host}"),
            Self::Slow(host, span) => write!(f, "slow {host} {span:?}"),
            Self::Cut(a, b) => write!(f, "cut {a} {b}"),
            Self::CutWay(a, b) => write!(f, "cut {a}>{b}"),
            Self::CutZooKeeper(host) => write!(f, "cut {host} zookeeper"),
            Self::HealZooKeeper(host) => write!(f, "heal {host} zookeeper"),
            Self::ZooKeeperDown => f.write_str("zookeeper down"),
            Self::ZooKeeperUp => f.write_str("zookeeper up"),
            Self::Expire(host) => write!(f, "expire {host}"),
            Self::Jump(host, us) => {
                let sign = if *us < 0 { '-' } else { '+' };
                write!(f, "jump {host} {sign}{:?}", Span::from_micros(us.unsigned_abs()))
            }
            Self::Leap(host, span) => write!(f, "leap {host} {span:?}"),
            Self::Crawl(host, span) => write!(f, "crawl {host} {span:?}"),
            Self::Fill(host) => write!(f, "fill {host}"),
            Self::Free(host) => write!(f, "free {host}"),
            Self::Upgrade(host) => write!(f, "upgrade {host}"),
            Self::Become(host, role) => write!(f, "become {host} {}", role.name()),
            Self::Can(host, can) => write!(f, "can {host} {}", can.0),
            Self::Break(a, b) => write!(f, "break {a} {b}"),
            Self::HealStore(host) => write!(f, "heal {host} store"),
            Self::Heal(a, b) => write!(f, "heal {a} {b}"),
            Self::Outage(Outage::Fails) => f.write_str("outage fails"),
            Self::Outage(Outage::Hangs) => f.write_str("outage hangs"),
            Self::OutageOver => f.write_str("outage over"),
            Self::HealAll => f.write_str("heal all"),
            Self::Post(work) => {
                write!(f, "post {} steps={} step={:?}", work.name, work.steps, work.step)?;
                if work.project != 1 {
                    write!(f, " project={}", work.project)?;
                }
                if work.prio != 3 {
                    write!(f, " prio={}", work.prio)?;
                }
                if work.external {
                    f.write_str(" external")?;
                }
                if work.needs != Capabilities::NONE {
                    write!(f, " needs={}", work.needs.0)?;
                }
                if work.fails > 0 {
                    write!(f, " fails={}", work.fails)?;
                }
                if work.stuck > 0 {
                    write!(f, " stuck={}", work.stuck)?;
                }
                via(f, work.via)
            }
            Self::Do { action, name, via: host } => {
                write!(f, "{} {name}", action.name().to_ascii_lowercase())?;
                via(f, *host)
            }
            Self::Drain { host, within, leave } => {
                write!(f, "drain {host} within={within:?}{}", if *leave { " leave" } else { "" })
            }
            Self::Undrain(host) => write!(f, "undrain {host}"),
            Self::Slots(host, slots) => write!(f, "slots {host} {slots}"),
            Self::Forget(target) => write!(f, "forget {}", target_name(*target)),
            Self::Limit(project, limit) => write!(f, "limit p{project} {limit}"),
            Self::Claim { host, target, force } => {
                let force = if *force { " force" } else { "" };
                write!(f, "claim {host} {}{force}", target_name(*target))
            }
        }
    }
}

fn via(f: &mut fmt::Formatter<'_>, host: Option<Host>) -> fmt::Result {
    host.map_or(Ok(()), |host| write!(f, " via={host}"))
}

impl fmt::Display for NoAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not an act: {}", self.line, self.wrong)
    }
}

impl core::error::Error for NoAct {}

impl FromStr for Act {
    type Err = NoAct;

    fn from_str(line: &str) -> Result<Self, NoAct> {
        parse(line).map_err(|wrong| NoAct { line: line.to_owned(), wrong })
    }
}

fn parse(line: &str) -> Result<Act, &'static str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = |at: usize| words.get(at).copied().ok_or("a word is missing");
    let host_at = |at: usize| word(at).and_then(host);
    Ok(match word(0)? {
        "run" => Act::Run(span(word(1)?)?),
        "start" => Act::Start(host_at(1)?),
        "kill" => Act::Kill(host_at(1)?),
        "lose" => Act::Lose(host_at(1)?),
        "freeze" if words.get(2) == Some(&"alone") => Act::FreezeAlone(host_at(1)?),
        "freeze" => Act::Freeze(host_at(1)?),
        "suspend" => Act::Suspend(host_at(1)?),
        "thaw" => Act::Thaw(host_at(1)?),
        "mute" => Act::Mute(host_at(1)?),
        "reset" => Act::Reset(host_at(1)?),
        "slow" => Act::Slow(host_at(1)?, span(word(2)?)?),
        "break" => Act::Break(host_at(1)?, host_at(2)?),
        "cut" if words.len() == 2 => {
            let (from, to) =
                word(1)?.split_once('>').ok_or("write cut n1 n2, cut n1>n2, cut n1 store or cut n1 zookeeper")?;
            Act::CutWay(host(from)?, host(to)?)
        }
        "cut" if word(2)? == "store" => Act::CutStore(host_at(1)?),
        "cut" if word(2)? == "zookeeper" => Act::CutZooKeeper(host_at(1)?),
        "cut" => Act::Cut(host_at(1)?, host_at(2)?),
        "heal" if word(1)? == "all" => Act::HealAll,
        "heal" if word(2)? == "store" => Act::HealStore(host_at(1)?),
        "heal" if word(2)? == "zookeeper" => Act::HealZooKeeper(host_at(1)?),
        "heal" => Act::Heal(host_at(1)?, host_at(2)?),
        "outage" => match word(1)? {
            "fails" => Act::Outage(Outage::Fails),
            "hangs" => Act::Outage(Outage::Hangs),
            "over" => Act::OutageOver,
            _ => return Err("write outage fails, outage hangs or outage over"),
        },
        "zookeeper" => match word(1)? {
            "down" => Act::ZooKeeperDown,
            "up" => Act::ZooKeeperUp,
            _ => return Err("write zookeeper down or zookeeper up"),
        },
        "expire" => Act::Expire(host_at(1)?),
        "jump" => Act::Jump(host_at(1)?, jump(word(2)?)?),
        "leap" => Act::Leap(host_at(1)?, span(word(2)?)?),
        "crawl" => Act::Crawl(host_at(1)?, span(word(2)?)?),
        "fill" => Act::Fill(host_at(1)?),
        "free" => Act::Free(host_at(1)?),
        "upgrade" => Act::Upgrade(host_at(1)?),
        "become" => Act::Become(host_at(1)?, role(word(2)?)?),
        "can" => Act::Can(host_at(1)?, Capabilities(number(word(2)?)?)),
        "post" => Act::Post(work(word(1)?, &words[2..])?),
        verb @ ("pause" | "resume" | "restart" | "discard") => Act::Do {
            action: match verb {
                "pause" => Action::Pause,
                "resume" => Action::Resume,
                "restart" => Action::Restart,
                _ => Action::Discard,
            },
            name: word(1)?.to_owned(),
            via: words.get(2).and_then(|w| w.strip_prefix("via=")).map(host).transpose()?,
        },
        "drain" => Act::Drain {
            host: host_at(1)?,
            within: match words.iter().find_map(|w| w.strip_prefix("within=")) {
                Some(within) => span(within)?,
                None => Span::from_secs(10),
            },
            leave: words.contains(&"leave"),
        },
        "undrain" => Act::Undrain(host_at(1)?),
        "slots" => Act::Slots(host_at(1)?, number(word(2)?)?),
        "forget" => Act::Forget(target(word(1)?)?),
        "limit" => Act::Limit(project(word(1)?)?, number(word(2)?)?),
        "claim" => Act::Claim { host: host_at(1)?, target: target(word(2)?)?, force: words.contains(&"force") },
        _ => return Err("unknown verb"),
    })
}

fn work(name: &str, words: &[&str]) -> Result<Work, &'static str> {
    let mut work = Work::named(name);
    for word in words {
        match word.split_once('=') {
            None if *word == "external" => work.external = true,
            Some(("project", n)) => work.project = number(n)?,
            Some(("prio", n)) => work.prio = number(n)?,
            Some(("steps", n)) => work.steps = number(n)?,
            Some(("step", n)) => work.step = span(n)?,
            Some(("needs", n)) => work.needs = Capabilities(number(n)?),
            Some(("fails", n)) => work.fails = number(n)?,
            Some(("stuck", n)) => work.stuck = number(n)?,
            Some(("via", n)) => work.via = Some(host(n)?),
            _ => {
                return Err(
                    "the options of a job are project=, prio=, steps=, step=, needs=, fails=, stuck=, via= and external",
                );
            }
        }
    }
    Ok(work)
}

fn number<T: FromStr>(word: &str) -> Result<T, &'static str> {
    word.parse().map_err(|_| "expected a number")
}

pub(crate) fn host(word: &str) -> Result<Host, &'static str> {
    word.strip_prefix('n').and_then(|n| n.parse().ok()).map(Host).ok_or("expected a host such as n1")
}

fn project(word: &str) -> Result<u32, &'static str> {
    word.strip_prefix('p').and_then(|n| n.parse().ok()).ok_or("expected a project such as p1")
}

fn target(word: &str) -> Result<Target, &'static str> {
    if word == "leader" { Ok(Target::Leader) } else { project(word).map(|id| Target::Project(ProjectId(id))) }
}

fn target_name(target: Target) -> String {
    match target {
        Target::Leader => "leader".to_owned(),
        Target::Project(project) => format!("p{}", project.0),
    }
}

/// Parses a role.
pub(crate) fn role(word: &str) -> Result<Role, &'static str> {
    match word {
        "all" => Ok(Role::All),
        "job" => Ok(Role::Job),
        "query" => Ok(Role::Query),
        _ => Err("expected a role: all, job or query"),
    }
}

fn jump(word: &str) -> Result<i64, &'static str> {
    let wrong = "expected a jump such as +90s or -250ms";
    let (back, rest) = match word.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, word.strip_prefix('+').ok_or(wrong)?),
    };
    let us = i64::try_from(span(rest)?.micros()).map_err(|_| wrong)?;
    Ok(if back { -us } else { us })
}

/// Parses a span: `90s`, `250ms`, `7us`.
pub(crate) fn span(word: &str) -> Result<Span, &'static str> {
    let wrong = "expected a span such as 90s, 250ms or 7us";
    let digits = word.find(|c: char| !c.is_ascii_digit()).ok_or(wrong)?;
    let n: u64 = word[..digits].parse().map_err(|_| wrong)?;
    match &word[digits..] {
        "s" => Ok(Span::from_secs(n)),
        "ms" => Ok(Span::from_millis(n)),
        "us" => Ok(Span::from_micros(n)),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_parses_to_itself_after_printing() {
        let lines = [
            "run 90s",
            "start n1",
            "kill n2",
            "lose n3",
            "freeze n1",
            "freeze n1 alone",
            "suspend n1",
            "thaw n1",
            "cut n2 store",
            "mute n2",
            "reset n2",
            "slow n2 250ms",
            "cut n1 n2",
            "cut n1>n2",
            "cut n1 zookeeper",
            "heal n1 zookeeper",
            "zookeeper down",
            "zookeeper up",
            "expire n1",
            "jump n1 +3600s",
            "jump n1 -90s",
            "leap n1 30s",
            "crawl n1 200ms",
            "fill n1",
            "free n1",
            "upgrade n1",
            "become n2 query",
            "can n1 3",
            "break n1 n2",
            "heal n2 store",
            "heal n1 n2",
            "outage fails",
            "outage hangs",
            "outage over",
            "heal all",
            "post a steps=5 step=1500ms project=2 prio=0 external needs=2 fails=1 stuck=2 via=n3",
            "pause a via=n2",
            "restart a",
            "drain n1 within=10s leave",
            "undrain n1",
            "slots n1 0",
            "limit p1 7",
            "claim n1 leader force",
            "claim n1 p2",
            "forget leader",
            "forget p2",
        ];
        for line in lines {
            let act: Act = line.parse().expect(line);
            assert_eq!(act.to_string(), line);
        }
        assert!("jump n1".parse::<Act>().is_err());
        assert!("run 90".parse::<Act>().is_err());
    }
}
