//! Draws the acts of a run from its seed.
//!
//! A run leaves out about half of the kinds of faults (swarm testing), because a run with every fault hides what a run
//! with one fault shows. A [`Profile`] leaves out more on purpose. Faults last longer than the constants that they
//! attack: pauses reach several heart-beat timeouts.

use core::fmt;

use kirin_core::ask::ProjectId;
use kirin_core::{Action, Capabilities, Role, Span, Target};

use crate::act::{Act, Host, Outage, Work};
use crate::dice::Dice;
use crate::setup::{DRAWN, Setup, Weather, abilities};

/// The faults that a run may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Any fault; some kinds are left out by chance.
    #[default]
    Swarm,
    /// None: jobs, users, and good weather.
    Calm,
    /// One death or drain at a time, with time to recover, so the promised takeover times apply.
    Gentle,
    /// Processes and hosts die, freeze and become slow.
    Hosts,
    /// Links break, in both directions or one.
    Network,
    /// The metastore fails, hangs, is slow, or loses replies.
    Store,
    /// Clocks jump, leap and run at wrong rates.
    Clocks,
    /// Only faults of ZooKeeper.
    ZooKeeper,
    /// Drains, claims, limits, slots, roles.
    Operators,
    /// Nodes are upgraded or downgraded one after the other.
    Upgrade,
    /// Jobs fail, hang, outlive their process, and fill disks.
    Executors,
    /// Many nodes and many jobs.
    Crowd,
}

/// A kind of act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Kill,
    Restart,
    Lose,
    Freeze,
    FreezeAlone,
    Suspend,
    Crawl,
    DiskFull,
    CutStore,
    Mute,
    SlowThenCut,
    Outage,
    Flapping,
    Cut,
    CutWay,
    Break,
    Partition,
    Jump,
    Leap,
    ZooKeeperDown,
    CutZooKeeper,
    Expire,
    Drain,
    Slots,
    Limit,
    Can,
    Forget,
    Claim,
    Become,
    Upgrade,
    UserActs,
    UserInsists,
}

use Kind::{
    Become, Break, Can, Claim, Crawl, Cut, CutStore, CutWay, CutZooKeeper, DiskFull, Drain, Expire, Flapping, Forget,
    Freeze, FreezeAlone, Jump, Kill, Leap, Limit, Lose, Mute, Partition, Restart, Slots, SlowThenCut, Suspend,
    UserActs, UserInsists, ZooKeeperDown,
};

const ALL: [Kind; 32] = [
    Kill,
    Restart,
    Lose,
    Freeze,
    FreezeAlone,
    Suspend,
    Crawl,
    DiskFull,
    CutStore,
    Mute,
    SlowThenCut,
    Kind::Outage,
    Flapping,
    Cut,
    CutWay,
    Break,
    Partition,
    Jump,
    Leap,
    ZooKeeperDown,
    CutZooKeeper,
    Expire,
    Drain,
    Slots,
    Limit,
    Can,
    Forget,
    Claim,
    Become,
    Kind::Upgrade,
    UserActs,
    UserInsists,
];

impl Profile {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 12] = [
        ("swarm", Self::Swarm),
        ("calm", Self::Calm),
        ("gentle", Self::Gentle),
        ("hosts", Self::Hosts),
        ("network", Self::Network),
        ("store", Self::Store),
        ("clocks", Self::Clocks),
        ("zookeeper", Self::ZooKeeper),
        ("operators", Self::Operators),
        ("upgrade", Self::Upgrade),
        ("executors", Self::Executors),
        ("crowd", Self::Crowd),
    ];

    /// The profile with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, profile)| *profile)
    }

    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Swarm | Self::Crowd => &ALL,
            Self::Calm => &[UserActs],
            Self::Gentle => &[Restart, Lose, Drain],
            Self::Hosts => &[Kill, Restart, Lose, Freeze, FreezeAlone, Suspend, Crawl],
            Self::Network => &[Cut, CutWay, Break, Partition, Kill],
            Self::Store => &[CutStore, Mute, SlowThenCut, Kind::Outage, Flapping],
            Self::Clocks => &[Jump, Leap, Suspend, Freeze, CutStore],
            Self::ZooKeeper => &[ZooKeeperDown, CutZooKeeper, Expire],
            Self::Operators => &[Drain, Slots, Limit, Can, Forget, Claim, Become, UserActs],
            Self::Upgrade => &[Kind::Upgrade, Kill, UserActs],
            Self::Executors => &[DiskFull, Can, Kill, Restart, UserActs, UserInsists, Freeze, FreezeAlone],
        }
    }

    /// Whether the cluster recovers from each act before the next one.
    const fn is_gentle(self) -> bool {
        matches!(self, Self::Gentle | Self::ZooKeeper)
    }
}

/// The setup of a run in this profile.
pub fn setup(seed: u64, profile: Profile) -> Setup {
    let mut setup = Setup::swarm(seed);
    match profile {
        Profile::Swarm | Profile::Store | Profile::Network | Profile::Hosts | Profile::Executors => {}
        Profile::Calm | Profile::Gentle | Profile::Operators | Profile::Upgrade => setup.weather = Weather::calm(),
        Profile::ZooKeeper => {
            let lose_watch_ppm = setup.weather.lose_watch_ppm;
            setup.weather = Weather { lose_watch_ppm, ..Weather::calm() };
            setup.zookeeper = setup.zookeeper + Span::from_millis(500);
        }
        Profile::Clocks => {
            let mut dice = Dice::new(seed, "clocks");
            for clock in &mut setup.clocks {
                clock.ppm = dice.between(0, 800_000).cast_signed() - 400_000;
            }
        }
        Profile::Crowd => setup = crowd(setup),
    }
    setup
}

fn crowd(small: Setup) -> Setup {
    let mut dice = Dice::new(small.seed, "crowd");
    let nodes = dice.between(12, 40) as u32;
    let roles: Vec<_> = (0..nodes).map(|_| if dice.chance(200_000) { Role::Query } else { Role::All }).collect();
    let limits = vec![200, 50, 10];
    let calm = Setup::of(nodes);
    let can = if small.leader_only { vec![Capabilities::ALL; roles.len()] } else { abilities(small.seed, &roles) };
    Setup { roles, can, limits, clocks: calm.clocks, versions: calm.versions, slots: 6, ..small }
}

/// The acts of a run in this profile.
pub fn acts(setup: &Setup, profile: Profile) -> Vec<Act> {
    let dice = Dice::new(setup.seed, "acts");
    let hosts = (1..=setup.nodes()).map(Host).collect();
    let abilities = Dice::new(setup.seed, "needs");
    let resets = Dice::new(setup.seed, "resets");
    let mut draw = Draw { setup, dice, abilities, resets, hosts, names: Vec::new(), acts: Vec::new(), profile };
    draw.all();
    draw.acts
}

struct Draw<'a> {
    setup: &'a Setup,
    dice: Dice,
    /// The capabilities of jobs and nodes, with a stream of their own.
    abilities: Dice,
    /// Broken connections, likewise.
    resets: Dice,
    hosts: Vec<Host>,
    names: Vec<String>,
    acts: Vec<Act>,
    profile: Profile,
}

impl Draw<'_> {
    fn all(&mut self) {
        if self.profile == Profile::Swarm && self.setup.weather.is_calm() {
            // Some runs have one fault at a time.
            match self.dice.below(8) {
                0..3 => self.profile = Profile::Gentle,
                3 if self.setup.zookeeper > Span::ZERO => self.profile = Profile::ZooKeeper,
                _ => {}
            }
        }
        let kinds = self.profile.kinds();
        let mut kinds: Vec<_> = kinds.iter().copied().filter(|_| self.dice.chance(500_000)).collect();
        if kinds.is_empty() {
            kinds = self.profile.kinds().to_vec();
        }
        let crowd = self.profile == Profile::Crowd;
        let posts = if crowd { self.dice.between(50, 400) } else { self.dice.between(3, 25) };
        let rounds = match self.profile {
            Profile::Crowd => posts * 3 / 2,
            _ if self.dice.chance(100_000) => posts * 8,
            _ => posts * 3,
        };
        let resets = matches!(self.profile, Profile::Swarm | Profile::Store | Profile::Operators | Profile::Crowd)
            && self.resets.chance(200_000);
        let (mut reset, mut healed_in) = (None, 0);
        for _ in 0..rounds {
            // The writes of a host fail for a few rounds.
            if resets && healed_in == 0 && self.resets.chance(100_000) {
                let host = *self.resets.pick(&self.hosts).expect("there are hosts");
                self.acts.push(Act::Reset(host));
                healed_in = self.resets.between(1, 4);
                reset = Some(host);
            } else if healed_in > 0 {
                healed_in -= 1;
                if let Some(host) = reset.take_if(|_| healed_in == 0) {
                    self.acts.push(Act::HealStore(host));
                }
            }
            if (self.names.len() as u64) < posts && self.dice.chance(if crowd { 900_000 } else { 500_000 }) {
                self.post();
            }
            if !crowd || self.dice.chance(100_000) {
                let kind = self.dice.pick(&kinds).copied();
                let gentle = self.profile.is_gentle();
                if let Some(kind) = kind {
                    self.one(kind);
                }
                if gentle {
                    self.breathe();
                }
            }
            if self.dice.chance(700_000) {
                self.pause(1);
            }
            // Occasionally the faults are undone, so that a run reaches later stages.
            if !crowd && self.dice.chance(200_000) {
                let host = self.host();
                self.acts.push(Act::Start(host));
            }
        }
    }

    fn timeout(&self) -> Span {
        self.setup.timing.timeout()
    }

    fn host(&mut self) -> Host {
        *self.dice.pick(&self.hosts).expect("there are hosts")
    }

    fn name(&self) -> String {
        format!("j{}", self.names.len() + 1)
    }

    fn post(&mut self) {
        let name = self.name();
        let work = self.work(&name);
        self.acts.push(Act::Post(work));
        self.names.push(name);
    }

    fn work(&mut self, name: &str) -> Work {
        let (timeout, calm) = (self.timeout().micros(), self.profile == Profile::Calm);
        let needs = if self.abilities.chance(400_000) {
            *self.abilities.pick(&DRAWN).expect("not empty")
        } else {
            Capabilities::NONE
        };
        let dice = &mut self.dice;
        let longest = *dice.pick(&[timeout / 200, timeout / 10, timeout * 2]).expect("not empty");
        Work {
            project: 1 + dice.below(self.setup.limits.len() as u64) as u32,
            prio: if dice.chance(700_000) { 3 } else { dice.below(5) as u8 },
            steps: dice.between(0, 5) as u32,
            step: Span::from_micros(dice.between(2_000, longest.max(4_000))),
            external: dice.chance(300_000),
            needs,
            fails: if !calm && dice.chance(150_000) { dice.between(1, 2) as u32 } else { 0 },
            stuck: u32::from(!calm && dice.chance(50_000)),
            ..Work::named(name)
        }
    }

    /// A pause: often short, sometimes up to this many timeouts.
    fn pause(&mut self, timeouts: u64) {
        let timeout = self.timeout().micros();
        let most = match self.dice.below(4) {
            0 => timeout / 1_000,
            1 => timeout / 20,
            _ => timeout * timeouts,
        };
        let span = Span::from_micros(self.dice.between(1, most));
        self.acts.push(Act::Run(span));
    }

    /// Time to recover from the last act; some job runs when the next one happens.
    fn breathe(&mut self) {
        let breath = self.timeout().scaled(3, 1);
        let name = self.name();
        let work = Work { steps: 3, step: breath, stuck: 0, ..self.work(&name) };
        self.acts.push(Act::Run(breath));
        for host in self.hosts.clone() {
            self.acts.push(Act::Start(host));
            if self.profile == Profile::Gentle {
                self.acts.push(Act::Undrain(host));
            }
        }
        self.acts.extend([Act::Post(work), Act::Run(breath)]);
        self.names.push(name);
    }

    /// Performs an act, lets some time pass, and undoes it.
    fn for_a_while(&mut self, act: Act, timeouts: u64, undo: Act) {
        self.acts.push(act);
        self.pause(timeouts);
        self.acts.push(undo);
    }

    fn one(&mut self, kind: Kind) {
        let (a, b) = (self.host(), self.host());
        match kind {
            Kill => self.acts.push(Act::Kill(a)),
            Restart => {
                let at_once = self.dice.chance(300_000);
                self.acts.push(Act::Kill(a));
                if !at_once {
                    self.pause(1);
                }
                self.acts.push(Act::Start(a));
            }
            Lose => self.acts.push(Act::Lose(a)),
            Freeze => self.for_a_while(Act::Freeze(a), 3, Act::Thaw(a)),
            FreezeAlone => self.for_a_while(Act::FreezeAlone(a), 3, Act::Thaw(a)),
            Suspend => self.for_a_while(Act::Suspend(a), 3, Act::Thaw(a)),
            Crawl => {
                let most = self.timeout().micros() / 2;
                let late = Span::from_micros(self.dice.between(1_000, most));
                self.for_a_while(Act::Crawl(a, late), 2, Act::Crawl(a, Span::ZERO));
            }
            DiskFull => self.for_a_while(Act::Fill(a), 1, Act::Free(a)),
            CutStore => self.for_a_while(Act::CutStore(a), 3, Act::HealStore(a)),
            Mute => self.for_a_while(Act::Mute(a), 1, Act::HealStore(a)),
            SlowThenCut => {
                // Replies that arrive just in time, and then none at all.
                let slow = self.setup.timing.ask_timeout().scaled(self.dice.between(50, 95), 100);
                let beats = self.setup.timing.interval().scaled(2, 1);
                self.acts.extend([Act::Slow(a, slow), Act::Run(beats), Act::CutStore(a)]);
                self.acts.extend([Act::Run(self.timeout().scaled(2, 1)), Act::HealStore(a)]);
            }
            Kind::Outage => {
                let kind = if self.dice.chance(500_000) { Outage::Fails } else { Outage::Hangs };
                self.for_a_while(Act::Outage(kind), 3, Act::OutageOver);
            }
            Flapping => {
                for _ in 0..self.dice.between(3, 10) {
                    self.acts.push(Act::Outage(Outage::Fails));
                    self.moment();
                    self.acts.push(Act::OutageOver);
                    self.moment();
                }
            }
            Cut => self.for_a_while(Act::Cut(a, b), 2, Act::Heal(a, b)),
            CutWay => self.for_a_while(Act::CutWay(a, b), 2, Act::Heal(a, b)),
            Break => self.acts.push(Act::Break(a, b)),
            Partition => {
                // The node is isolated from all others. The metastore may or may not be reachable.
                let others: Vec<_> = self.hosts.iter().copied().filter(|h| *h != a).collect();
                let store = self.dice.chance(500_000);
                self.acts.extend(others.iter().map(|other| Act::Cut(a, *other)));
                if store {
                    self.acts.push(Act::CutStore(a));
                }
                self.pause(3);
                self.acts.extend(others.iter().map(|other| Act::Heal(a, *other)));
                self.acts.push(Act::HealStore(a));
            }
            Jump => {
                let span = self.dice.between(1, self.timeout().micros() * 100).cast_signed();
                let back = self.dice.chance(500_000);
                self.acts.push(Act::Jump(a, if back { -span } else { span }));
            }
            Leap => {
                let span = Span::from_micros(self.dice.between(1, self.timeout().micros() * 2));
                self.acts.push(Act::Leap(a, span));
            }
            ZooKeeperDown => self.for_a_while(Act::ZooKeeperDown, 3, Act::ZooKeeperUp),
            CutZooKeeper => self.for_a_while(Act::CutZooKeeper(a), 2, Act::HealZooKeeper(a)),
            Expire => self.acts.push(Act::Expire(a)),
            Drain => {
                let within = Span::from_micros(self.dice.below(self.timeout().micros() / 2));
                self.acts.push(Act::Drain { host: a, within, leave: self.dice.chance(500_000) });
                if self.dice.chance(500_000) {
                    self.pause(1);
                    self.acts.push(Act::Undrain(a));
                }
            }
            Slots => {
                let slots = self.dice.below(4) as u32;
                self.acts.push(Act::Slots(a, slots));
            }
            Limit => {
                let project = 1 + self.dice.below(self.setup.limits.len() as u64) as u32;
                self.acts.push(Act::Limit(project, self.dice.below(5) as u32));
            }
            Can => {
                let usual = self.setup.can.get(a.0 as usize - 1).copied().unwrap_or_default();
                let lost = *self.abilities.pick(&DRAWN).expect("not empty");
                let left = if self.abilities.chance(800_000) { usual.without(lost) } else { Capabilities::NONE };
                if self.abilities.chance(500_000) {
                    // Lost at the very moment at which a job that requires it is taken.
                    let name = self.name();
                    let work = Work { needs: lost, ..self.work(&name) };
                    let moment = Span::from_micros(self.abilities.between(1, 8_000));
                    self.acts.extend([Act::Post(work), Act::Run(moment)]);
                    self.names.push(name);
                }
                // Usually because the disk is full: attempts that run there and require it fail.
                let full = self.abilities.chance(700_000);
                if full {
                    self.acts.push(Act::Fill(a));
                }
                self.for_a_while(Act::Can(a, left), 2, Act::Can(a, usual));
                if full {
                    self.acts.push(Act::Free(a));
                }
            }
            Forget => {
                let leader = self.dice.chance(500_000);
                let target = if leader { Target::Leader } else { Target::Project(ProjectId(1)) };
                // Enough time to recreate the row.
                self.acts.extend([Act::Forget(target), Act::Run(self.timeout().scaled(5, 1))]);
            }
            Claim => {
                let leader = self.dice.chance(500_000);
                let target = if leader { Target::Leader } else { Target::Project(ProjectId(1)) };
                self.acts.push(Act::Claim { host: a, target, force: self.dice.chance(500_000) });
            }
            Become => {
                // At least two nodes continue to run jobs.
                let able = self.setup.roles.iter().filter(|role| role.runs_jobs()).count();
                let was = self.setup.roles.get(a.0 as usize - 1).copied().unwrap_or_default();
                let role = if was.runs_jobs() && able <= 2 || self.dice.chance(600_000) { was } else { Role::Query };
                self.acts.push(Act::Become(a, role));
                self.restart_gracefully(a);
            }
            Kind::Upgrade => {
                self.acts.push(Act::Upgrade(a));
                self.restart_gracefully(a);
            }
            UserActs => self.user(Some(a)),
            UserInsists => {
                // The same job many times in quick succession.
                for _ in 0..self.dice.between(2, 6) {
                    self.user(None);
                    self.moment();
                }
            }
        }
    }

    fn moment(&mut self) {
        let span = Span::from_micros(self.dice.between(1, self.timeout().micros() / 100));
        self.acts.push(Act::Run(span));
    }

    /// What an operator or a supervisor does to one node after another.
    fn restart_gracefully(&mut self, host: Host) {
        let within = Span::from_micros(self.dice.below(self.timeout().micros() / 4));
        self.acts.push(Act::Drain { host, within, leave: true });
        self.acts.push(Act::Run(within));
        self.moment();
        self.acts.push(Act::Start(host));
        self.pause(1);
    }

    fn user(&mut self, via: Option<Host>) {
        let actions = [Action::Pause, Action::Resume, Action::Restart, Action::Discard];
        let action = *self.dice.pick(&actions).expect("not empty");
        if let Some(name) = self.dice.pick(&self.names).cloned() {
            self.acts.push(Act::Do { action, name, via });
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, profile)| profile == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}
