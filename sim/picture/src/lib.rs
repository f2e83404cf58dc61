//! Pictures of recorded runs: one self-contained page for a browser, with a lane for each node.
//!
//! A [`Picture`] is plain data in microseconds: lives of members, trust, leadership, attempts, faults, and the moment at which
//! a rule was violated. It does not know its source, so simulated runs and recordings of production nodes are drawn by the
//! same code.
//!
//! The page loads nothing from elsewhere. The drawing is inline SVG; a small script zooms, pans and shows details under the
//! pointer. Without the script, the page shows the whole run, and the browser's tooltips show the details.
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

/// A recorded run. All times are microseconds on one axis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// The headline.
    pub title: String,
    /// Short facts below the headline.
    pub facts: Vec<String>,
    /// The command that repeats the run or draws it.
    pub again: Option<String>,
    /// Whether a judge watched the run.
    pub judged: bool,
    /// The violated rule, if any.
    pub violation: Option<Broken>,
    /// The beginning of the axis.
    pub start: u64,
    /// The end of the axis.
    pub end: u64,
    /// Acts from outside, in order of time.
    pub acts: Vec<Mark>,
    /// Stretches that concern all lanes, such as an outage of the metastore.
    pub bands: Vec<Stretch>,
    /// One lane per node.
    pub lanes: Vec<Lane>,
    /// Connections between lanes, such as a job that was taken over.
    pub arrows: Vec<Arrow>,
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The time.
    pub at: u64,
    /// The rule.
    pub rule: String,
    /// What happened.
    pub what: String,
}

/// The drawing of one node, from top to bottom. Empty parts take no space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    /// The node's name.
    pub name: String,
    /// A few words below the name.
    pub about: String,
    /// Faults of the node, drawn behind everything else.
    pub shades: Vec<Stretch>,
    /// Its processes and incarnations.
    pub lives: Vec<Stretch>,
    /// Its leadership and claims.
    pub leads: Vec<Stretch>,
    /// When it trusted itself.
    pub trust: Vec<Stretch>,
    /// Its beats, drawn on its trust.
    pub beats: Vec<Mark>,
    /// Its other writes to the metastore.
    pub asks: Vec<Mark>,
    /// Its notes.
    pub notes: Vec<Mark>,
    /// Its attempts.
    pub bars: Vec<Bar>,
    /// The error of its clock in microseconds: one curve per process.
    pub clock: Vec<Vec<(u64, i64)>>,
}

/// Something with a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
    /// Its meaning, which sets its colour.
    pub tone: Tone,
    /// The label on it, if there is room.
    pub label: String,
    /// Further text for the tooltip, besides the label and the times.
    pub hover: String,
}

/// Something at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The time.
    pub at: u64,
    /// Its meaning, which sets its colour.
    pub tone: Tone,
    /// The label beside it, if there is room.
    pub label: String,
    /// The text of the tooltip.
    pub hover: String,
}

/// An attempt with its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its beginning.
    pub from: u64,
    /// Its end.
    pub until: u64,
    /// Bars with the same key have the same colour and are highlighted together.
    pub key: u64,
    /// The label on it, if there is room.
    pub label: String,
    /// The text of the tooltip.
    pub hover: String,
    /// Its steps.
    pub steps: Vec<Stretch>,
    /// Its outcome, if it has ended.
    pub end: Option<Mark>,
}

/// A connection from one lane to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// Where it starts.
    pub from: Place,
    /// Where it ends.
    pub to: Place,
    /// The colour of bars with this key.
    pub key: u64,
    /// The text of the tooltip.
    pub hover: String,
}

/// A place on a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the lane.
    pub lane: usize,
    /// The number of the bar in the lane.
    pub bar: usize,
    /// The time.
    pub at: u64,
}

/// The meaning of a drawn element, which sets its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// As expected.
    Good,
    /// Refused, failed, broken.
    Bad,
    /// Unknown, or about to fail.
    Doubt,
    /// Neutral.
    Quiet,
    /// Leadership.
    Lead,
    /// A claim on a project.
    Claim,
    /// Frozen.
    Frozen,
    /// Cut off.
    Cut,
    /// Slow.
    Slow,
    /// Down.
    Down,
}

impl Picture {
    /// An empty picture with a headline.
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
    /// Something with a duration.
    pub fn new(from: u64, until: u64, tone: Tone, label: impl Into<String>) -> Self {
        Self { from, until, tone, label: label.into(), hover: String::new() }
    }

    /// Adds text to the tooltip.
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

    /// Adds text to the tooltip.
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
    /// All tones.
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

    /// Its class in the page's style sheet.
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

/// Arranges stretches in as few rows as possible without overlap. Returns the row of each and the number of rows.
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
    fn overlapping_stretches_are_drawn_in_different_rows() {
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
    fn a_page_contains_everything_recorded() {
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
    fn a_page_loads_nothing_and_escapes_text() {
        let html = picture().html();
        let links = html.matches("http").count();
        assert_eq!(links, html.matches("http://www.w3.org/2000/svg").count(), "the only URL is the SVG namespace");
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
