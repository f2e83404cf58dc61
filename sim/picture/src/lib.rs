//! Pictures of recorded runs: one self-contained page with a lane for each node, to be looked at in any browser.
//!
//! A [`Picture`] is plain data in microseconds: who lived when, who trusted itself, who led, what ran, what was broken, and the
//! moment at which a rule did not hold. It knows nothing of where that comes from, so a simulated run and the
//! recording of a production node are drawn by the same hand.
//!
//! The page needs nothing from anywhere: the drawing is inline SVG, the little script in it zooms, pans and shows what is under
//! the pointer. Without the script it is still the whole run, and the browser's own tooltips tell the same.
//!
//! ```
//! use kirin_picture::{Bar, Lane, Picture, Stretch, Tone};
//!
//! let mut lane = Lane::named("n1");
//! lane.lives.push(Stretch::new(0, 60_000_000, Tone::Good, "n1.1"));
//! lane.bars.push(Bar::new(2_000_000, 40_000_000, 7, "nightly @1"));
//! let picture = Picture { lanes: vec![lane], end: 60_000_000, ..Picture::titled("a quiet minute") };
//! assert!(picture.html().contains("nightly @1"));
//! ```

mod page;

/// A recorded run, ready to be drawn. All times are microseconds on one common axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The headline.
    pub title: String,
    /// Short facts that stand below it.
    pub facts: Vec<String>,
    /// The command that repeats the run or draws it again.
    pub again: Option<String>,
    /// Whether a judge watched the run.
    pub judged: bool,
    /// The rule that did not hold, if one did not.
    pub violation: Option<Broken>,
    /// Where the axis begins.
    pub start: u64,
    /// Where it ends.
    pub end: u64,
    /// What was done from outside, in the order of time.
    pub acts: Vec<Mark>,
    /// What concerned all lanes at once, like an outage of the metastore.
    pub bands: Vec<Stretch>,
    /// One for each node.
    pub lanes: Vec<Lane>,
    /// What went from one lane to another, like a job that was taken over.
    pub arrows: Vec<Arrow>,
}

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When.
    pub at: u64,
    /// Which rule.
    pub rule: String,
    /// What happened.
    pub what: String,
}

/// What is drawn of one node, from top to bottom. Whatever is empty takes no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The node's name.
    pub name: String,
    /// A few words below the name.
    pub about: String,
    /// When something was wrong with the node, behind all the rest.
    pub shades: Vec<Stretch>,
    /// Its processes and incarnations.
    pub lives: Vec<Stretch>,
    /// What it led.
    pub leads: Vec<Stretch>,
    /// When it trusted itself.
    pub trust: Vec<Stretch>,
    /// Its beats, on the trust that they bring.
    pub beats: Vec<Mark>,
    /// Its other writes to the metastore.
    pub asks: Vec<Mark>,
    /// What it noted.
    pub notes: Vec<Mark>,
    /// What it ran.
    pub bars: Vec<Bar>,
    /// How far its clock was off, in microseconds: one curve for each process.
    pub clock: Vec<Vec<(u64, i64)>>,
}

/// Something that lasted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub until: u64,
    /// How it looks.
    pub tone: Tone,
    /// What is written on it, if there is room.
    pub label: String,
    /// What is shown when one points at it, besides the label and the times.
    pub hover: String,
}

/// Something that happened at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: u64,
    /// How it looks.
    pub tone: Tone,
    /// What is written beside it, if there is room.
    pub label: String,
    /// What is shown when one points at it.
    pub hover: String,
}

/// An attempt at something, made of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub until: u64,
    /// Bars with the same key have the same colour, and are shown together when one points at one of them.
    pub key: u64,
    /// What is written on it, if there is room.
    pub label: String,
    /// What is shown when one points at it.
    pub hover: String,
    /// Its steps.
    pub steps: Vec<Stretch>,
    /// How it ended, if it did.
    pub end: Option<Mark>,
}

/// Something that went from one lane to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// From which lane and bar of it, at what time.
    pub from: Place,
    /// To which.
    pub to: Place,
    /// The colour of bars with this key.
    pub key: u64,
    /// What is shown when one points at it.
    pub hover: String,
}

/// A place on a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the lane.
    pub lane: usize,
    /// The number of the bar in the lane.
    pub bar: usize,
    /// When.
    pub at: u64,
}

/// How something looks: what it means, not a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Refused, failed, broken.
    Bad,
    /// Nobody knows, or it is about to go wrong.
    Doubt,
    /// Not worth a colour.
    Quiet,
    /// Leadership.
    Lead,
    /// A claim on a project.
    Claim,
    /// It does not move.
    Frozen,
    /// It does not reach somebody.
    Cut,
    /// It is slow.
    Slow,
    /// It is not there.
    Down,
}

impl Picture {
    /// An empty picture with that headline.
    pub fn titled(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    /// The picture as one self-contained page.
    pub fn html(&self) -> String {
        page::html(self)
    }
}

impl Lane {
    /// An empty lane.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

impl Stretch {
    /// Something that lasted.
    pub fn new(from: u64, until: u64, tone: Tone, label: impl Into<String>) -> Self {
        Self { from, until, tone, label: label.into(), hover: String::new() }
    }

    /// The same, with more to tell.
    #[must_use]
    pub fn telling(self, hover: impl Into<String>) -> Self {
        Self { hover: hover.into(), ..self }
    }
}

impl Mark {
    /// Something that happened.
    pub fn new(at: u64, tone: Tone, label: impl Into<String>) -> Self {
        Self { at, tone, label: label.into(), hover: String::new() }
    }

    /// The same, with more to tell.
    #[must_use]
    pub fn telling(self, hover: impl Into<String>) -> Self {
        Self { hover: hover.into(), ..self }
    }
}

impl Bar {
    /// An attempt without steps.
    pub fn new(from: u64, until: u64, key: u64, label: impl Into<String>) -> Self {
        Self { from, until, key, label: label.into(), hover: String::new(), steps: Vec::new(), end: None }
    }
}

impl Tone {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Good,
        Self::Bad,
        Self::Doubt,
        Self::Quiet,
        Self::Lead,
        Self::Claim,
        Self::Frozen,
        Self::Cut,
        Self::Slow,
        Self::Down,
    ];

    /// Its name in the page's style.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Doubt => "doubt",
            Self::Quiet => "quiet",
            Self::Lead => "lead",
            Self::Claim => "claim",
            Self::Frozen => "frozen",
            Self::Cut => "cut",
            Self::Slow => "slow",
            Self::Down => "down",
        }
    }
}

/// Puts stretches into as few rows as possible so that none covers another: the row of each, and how many there are.
fn rows(stretches: impl Iterator<Item = (u64, u64)>) -> (Vec<usize>, usize) {
    let mut by_start: Vec<_> = stretches.enumerate().collect();
    by_start.sort_by_key(|(at, (from, _))| (*from, *at));
    let mut ends: Vec<u64> = Vec::new();
    let mut rows = vec![0; by_start.len()];
    for (at, (from, until)) in by_start {
        let row = ends.iter().position(|end| *end <= from).unwrap_or(ends.len());
        if row == ends.len() {
            ends.push(0);
        }
        ends[row] = until.max(from + 1);
        rows[at] = row;
    }
    (rows, ends.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_stands_in_different_rows() {
        let (rows, count) = rows([(0, 10), (5, 7), (10, 12), (6, 20)].into_iter());
        assert_eq!((rows, count), (vec![0, 1, 0, 2], 3));
    }

    fn picture() -> Picture {
        let mut a = Lane::named("n<1>");
        a.lives.push(Stretch::new(0, 9_000_000, Tone::Good, "n1.1").telling("joined \"once\" & for all"));
        a.trust.push(Stretch::new(100, 9_000_000, Tone::Good, ""));
        a.beats.push(Mark::new(1_000_000, Tone::Doubt, "").telling("no answer"));
        a.clock.push(vec![(0, 0), (9_000_000, -450_000)]);
        let mut bar = Bar::new(2_000_000, 5_000_000, 3, "j3 @1");
        bar.steps.push(Stretch::new(2_000_000, 4_000_000, Tone::Good, "0"));
        bar.end = Some(Mark::new(5_000_000, Tone::Bad, "lost"));
        a.bars.push(bar);
        let mut b = Lane::named("n2");
        b.bars.push(Bar::new(6_000_000, 10_000_000, 3, "j3 @2"));
        let (from, to) = (Place { lane: 0, bar: 0, at: 5_000_000 }, Place { lane: 1, bar: 0, at: 6_000_000 });
        Picture {
            facts: vec!["2 nodes".to_owned()],
            again: Some("kirin-sim --seed 3".to_owned()),
            violation: Some(Broken {
                at: 8_000_000,
                rule: "one-holder".to_owned(),
                what: "two </script> of them".to_owned(),
            }),
            end: 10_000_000,
            acts: vec![Mark::new(5_000_000, Tone::Bad, "kill n1")],
            bands: vec![Stretch::new(7_000_000, 8_000_000, Tone::Bad, "outage")],
            lanes: vec![a, b],
            arrows: vec![Arrow { from, to, key: 3, hover: "took over".to_owned() }],
            ..Picture::titled("seed 3")
        }
    }

    #[test]
    fn a_page_holds_all_that_was_recorded() {
        let html = picture().html();
        for text in
            ["seed 3", "n1.1", "j3 @1", "j3 @2", "outage", "kill n1", "one-holder", "took over", "no answer", "2 nodes"]
        {
            assert!(html.contains(text), "{text} is missing");
        }
        for tone in Tone::ALL {
            assert!(html.contains(&format!(".{}", tone.name())), "{tone:?} has no style");
        }
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_text_stays_text() {
        let html = picture().html();
        let links = html.matches("http").count();
        assert_eq!(links, html.matches("http://www.w3.org/2000/svg").count(), "only the name of SVG is an address");
        assert!(!html.contains("n<1>") && html.contains("n&lt;1&gt;"));
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(html.contains("joined &quot;once&quot; &amp; for all"));
    }

    #[test]
    fn an_empty_picture_is_a_page_too() {
        let html = Picture::titled("nothing").html();
        assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"));
        assert!(!html.contains("NaN"));
    }
}
