//! A simulated run that the bytes control: first the acts on the cluster, then every random draw.
//!
//! Domains are tiny (four hosts, four jobs, a few spans), so that a change of one byte gives a similar run and the fuzzer can
//! make progress. When the bytes are used up, further draws come from a seed.

use kirin_sim::act::{Act, Host, Outage, Work};
use kirin_sim::search::Script;
use kirin_sim::setup::{Clock, Weather};
use kirin_sim::{Setup, World};

use kirin_core::ask::ProjectId;
use kirin_core::{Action, Span, Target, Timing};

/// The maximum number of acts, so that runs stay readable.
const ACTS_MAX: usize = 48;

/// Executes the run.
///
/// # Panics
/// If a rule is violated. The message contains the act file and the random bytes.
pub fn run(data: &[u8]) {
    let (script, chance) = decode(data);
    let mut world = World::new(script.setup.clone(), None);
    world.feed(chance);
    for act in &script.acts {
        world.act(act);
        if world.violation().is_some() {
            break;
        }
    }
    if world.violation().is_none() {
        world.heal_and_wait();
    }
    if let Some(violation) = world.violation() {
        panic!("{violation}\n{}fed with {chance:02x?}", script.text());
    }
}

/// Decodes the run, and returns the bytes that are left for random draws.
pub fn decode(data: &[u8]) -> (Script, &[u8]) {
    let mut bytes = Bytes(data);
    let setup = setup(&mut bytes);
    let nodes = setup.nodes();
    let mut acts = Vec::new();
    for _ in 0..usize::from(bytes.next()) % (ACTS_MAX + 1) {
        acts.extend(act(&mut bytes, nodes, acts.len()));
        // Time passes between most acts.
        let wait = bytes.span();
        acts.push(Act::Run(wait));
    }
    (Script { setup, acts }, bytes.0)
}

fn setup(bytes: &mut Bytes<'_>) -> Setup {
    let shape = bytes.next();
    let mut setup = Setup::of(2 + u32::from(shape & 3) % 3);
    setup.seed = u64::from(bytes.next());
    setup.slots = 1 + u32::from(shape >> 2 & 1);
    setup.in_order = shape >> 3 & 3 == 3;
    let (timeout, interval) = [(60, 30), (10, 3), (3, 1), (60, 10)][usize::from(shape >> 6)];
    setup.timing = Timing::new(Span::from_secs(timeout), Span::from_secs(interval)).expect("these are safe");
    let clocks = bytes.next();
    for (n, clock) in setup.clocks.iter_mut().enumerate() {
        let ppm = [0, 49_000, -49_000, 300_000][usize::from(clocks >> (2 * n) & 3)];
        *clock = Clock { offset_us: clock.offset_us, ppm };
    }
    let sky = bytes.next();
    let weather = &mut setup.weather;
    let often = 60_000;
    *weather = Weather {
        tail_ppm: if sky & 1 > 0 { often } else { 0 },
        tail_us: if sky & 1 > 0 { timeout * 1_500_000 } else { 0 },
        lose_request_ppm: if sky & 2 > 0 { often } else { 0 },
        lose_reply_ppm: if sky & 4 > 0 { often } else { 0 },
        late_ppm: if sky & 8 > 0 { often } else { 0 },
        late_us: if sky & 8 > 0 { timeout * 2_000_000 } else { 0 },
        rollback_ppm: if sky & 16 > 0 { often } else { 0 },
        lose_nudge_ppm: if sky & 32 > 0 { 300_000 } else { 0 },
        double_nudge_ppm: if sky & 64 > 0 { 200_000 } else { 0 },
        ..weather.clone()
    };
    setup
}

fn act(bytes: &mut Bytes<'_>, nodes: u32, posted: usize) -> Option<Act> {
    let verb = bytes.next();
    let host = Host(1 + u32::from(bytes.next()) % nodes);
    let other = Host(1 + host.0 % nodes);
    let name = format!("j{}", host.0);
    Some(match verb % 24 {
        0..=3 => Act::Post(Work {
            name: format!("j{}", 1 + posted % 4),
            steps: 1 + u32::from(verb >> 6),
            step: bytes.span(),
            external: verb & 32 > 0,
            ..Work::named("")
        }),
        4 | 5 => Act::Kill(host),
        6 | 7 => Act::Start(host),
        8 => Act::Lose(host),
        9 if verb & 32 > 0 => Act::FreezeAlone(host),
        9 => Act::Freeze(host),
        10 => Act::Suspend(host),
        11 | 12 => Act::Thaw(host),
        13 => Act::CutStore(host),
        14 => Act::Mute(host),
        15 => Act::HealStore(host),
        16 => Act::Cut(host, other),
        17 => Act::Heal(host, other),
        18 => Act::Outage(if verb & 32 > 0 { Outage::Fails } else { Outage::Hangs }),
        19 => Act::OutageOver,
        20 => Act::Drain { host, within: bytes.span(), leave: verb & 32 > 0 },
        21 => Act::Undrain(host),
        22 => {
            let action = [Action::Pause, Action::Resume, Action::Restart, Action::Discard][usize::from(verb >> 6)];
            Act::Do { action, name, via: None }
        }
        _ => {
            let target = if verb & 32 > 0 { Target::Leader } else { Target::Project(ProjectId(1)) };
            Act::Claim { host, target, force: verb & 64 > 0 }
        }
    })
}

/// A reader of bytes; returns 0 at the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A span, from very short to longer than every timeout.
    fn span(&mut self) -> Span {
        let ms = [1, 20, 300, 1_000, 4_000, 20_000, 61_000, 95_000];
        Span::from_millis(ms[usize::from(self.next() % 8)])
    }
}
