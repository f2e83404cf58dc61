//! The page: SVG, a style sheet and a script.
//!
//! Every element with a time carries it as `data-t`, so that the script can move it when the view changes. The positions
//! written here show the whole run in a window of [`WIDTH`].

use std::fmt::Write;

use super::{Arrow, Bar, Lane, Mark, Picture, Place, Stretch, Tone, rows};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The width of the drawing without the script.
const WIDTH: f64 = 1560.0;
/// The width of the column of names.
const GUTTER: f64 = 158.0;
/// Space at the right edge.
const EDGE: f64 = 18.0;
/// The width of a letter of a label.
const LETTER: f64 = 6.3;

const LIFE: f64 = 15.0;
const LEAD: f64 = 10.0;
const TRUST: f64 = 12.0;
const ASKS: f64 = 9.0;
const BAR: f64 = 17.0;
const CLOCK: f64 = 26.0;
const SHADE: f64 = 12.0;
const GAP: f64 = 4.0;
const PAD: f64 = 9.0;
const ACT: f64 = 14.0;
const ACT_ROWS: usize = 3;

pub(super) fn html(picture: &Picture) -> String {
    let mut page = Page::new(picture);
    let body = page.body();
    let mut head = Page::new(picture);
    let head = head.head();
    let mut out = String::with_capacity(body.len() + head.len() + 40_000);
    let title = escape(&picture.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    header(&mut out, picture);
    let _ = write!(out, "<main id=\"run\" data-start=\"{}\" data-end=\"{}\"", picture.start, page.end);
    if let Some(broken) = &picture.violation {
        let _ = write!(out, " data-broken=\"{}\"", broken.at);
    }
    let _ = write!(out, " data-gutter=\"{GUTTER}\" data-edge=\"{EDGE}\">\n{head}\n{body}\n</main>\n");
    legend(&mut out);
    let _ = write!(out, "<div id=\"tip\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn header(out: &mut String, picture: &Picture) {
    let _ = write!(out, "<header>\n<div class=\"line\"><h1>{}</h1>", escape(&picture.title));
    match &picture.violation {
        None if picture.judged => out.push_str("<span class=\"badge held\">every rule held</span>"),
        None => {}
        Some(broken) => {
            let (rule, at) = (escape(&broken.rule), moment(broken.at));
            let _ = write!(out, "<span class=\"badge broken\">{rule} broken at {at}</span>");
        }
    }
    out.push_str(
        "<span class=\"tools\"><button id=\"in\" title=\"zoom in (+)\">+</button>\
         <button id=\"out\" title=\"zoom out (−)\">−</button><button id=\"all\" title=\"the whole run (0)\">all</button>",
    );
    if picture.violation.is_some() {
        out.push_str("<button id=\"broken\" title=\"the moment of the violation (v)\">violation</button>");
    }
    out.push_str("<button id=\"theme\" title=\"light or dark (t)\">◐</button></span></div>\n");
    if let Some(broken) = &picture.violation {
        let _ = writeln!(out, "<p class=\"what\">{}</p>", escape(&broken.what));
    }
    out.push_str("<p class=\"facts\">");
    for fact in &picture.facts {
        let _ = write!(out, "<span>{}</span>", escape(fact));
    }
    if let Some(again) = &picture.again {
        let _ = write!(out, "<code>{}</code>", escape(again));
    }
    out.push_str("</p>\n</header>\n");
}

fn legend(out: &mut String) {
    out.push_str("<footer>\n<div class=\"legend\">");
    let swatch = |out: &mut String, drawing: &str, text: &str| {
        let _ = write!(out, "<span><svg width=\"30\" height=\"14\" aria-hidden=\"true\">{drawing}</svg>{text}</span>");
    };
    let strip = |class: &str| format!("<rect class=\"{class}\" x=\"1\" y=\"2\" width=\"28\" height=\"10\" rx=\"2\"/>");
    swatch(out, &strip("life good"), "incarnation");
    swatch(out, &strip("lead"), "leads");
    swatch(out, &strip("claim"), "project claim");
    swatch(out, "<rect class=\"trust\" x=\"1\" y=\"5\" width=\"28\" height=\"4\"/>", "trusts itself");
    let tick = |tone: &str| format!("<g class=\"mark {tone}\"><path d=\"M15 1V13\"/></g>");
    swatch(out, &tick("good"), "beat");
    swatch(out, &tick("doubt"), "no answer");
    swatch(out, &tick("bad"), "refused");
    swatch(
        out,
        "<g style=\"--h:210\"><rect class=\"bar\" x=\"1\" y=\"1\" width=\"28\" height=\"12\" rx=\"2\"/>\
         <rect class=\"step good\" x=\"2\" y=\"2\" width=\"12\" height=\"10\"/>\
         <rect class=\"step doubt\" x=\"15\" y=\"2\" width=\"8\" height=\"10\"/></g>",
        "attempt, its steps: committed, lost",
    );
    swatch(
        out,
        "<path class=\"arrow\" style=\"--h:210\" d=\"M1 2C15 2 15 12 27 12\"/>",
        "next attempt at the same job",
    );
    for (tone, text) in [
        (Tone::Frozen, "frozen"),
        (Tone::Cut, "cut off"),
        (Tone::Slow, "slow"),
        (Tone::Down, "down"),
        (Tone::Bad, "outage"),
    ] {
        swatch(out, &strip(&format!("shade {}", tone.name())), text);
    }
    swatch(out, "<path class=\"clock\" d=\"M1 11L12 8L29 2\"/>", "clock off true time");
    swatch(out, "<path class=\"broken\" d=\"M15 0V14\"/>", "violation");
    out.push_str(
        "</div>\n<p class=\"keys\">wheel: zoom · drag: move · double click: closer · <kbd>0</kbd> all · <kbd>+</kbd> <kbd>−</kbd> \
         <kbd>←</kbd> <kbd>→</kbd> · <kbd>v</kbd> violation · <kbd>t</kbd> light or dark · point at an attempt to see its job</p>\n</footer>\n",
    );
}

/// The rows of one lane.
struct Rows {
    top: f64,
    life: f64,
    lead: f64,
    trust: f64,
    asks: f64,
    bars: f64,
    clock: f64,
    shade: f64,
    bottom: f64,
    lead_rows: Vec<usize>,
    bar_rows: Vec<usize>,
    shade_rows: Vec<usize>,
}

struct Page<'a> {
    picture: &'a Picture,
    end: u64,
    out: String,
}

impl<'a> Page<'a> {
    fn new(picture: &'a Picture) -> Self {
        Self { picture, end: picture.end.max(picture.start + 1), out: String::new() }
    }

    fn x(&self, at: u64) -> f64 {
        let at = at.clamp(self.picture.start, self.end) - self.picture.start;
        let whole = (self.end - self.picture.start) as f64;
        GUTTER + at as f64 / whole * (WIDTH - GUTTER - EDGE)
    }

    // --- the two drawings ---

    /// The part that does not scroll: the axis, the acts, the violated rule.
    fn head(&mut self) -> String {
        let height = 22.0 + ACT * ACT_ROWS as f64 + 8.0;
        self.open("head", height);
        self.out.push_str("<g id=\"axis\"></g>\n<g clip-path=\"url(#plot-head)\">\n");
        for act in &self.picture.acts {
            let x = self.x(act.at);
            let (tone, width) = (act.tone.name(), text_width(&act.label));
            let _ = write!(
                self.out,
                "<g class=\"act {tone}\" data-t=\"{}\" data-w=\"{width:.0}\" transform=\"translate({x:.1} 24)\">\
                 <path d=\"M0 1L0 12L5 6.5Z\"/><text x=\"8\" y=\"10\">{}</text><rect class=\"hit\" x=\"-4\" width=\"10\" height=\"13\"/>",
                act.at,
                escape(&act.label)
            );
            self.hover(&act.label, act.at, None, &act.hover);
            self.out.push_str("</g>\n");
        }
        self.out.push_str("</g>\n");
        let _ = writeln!(self.out, "<text class=\"row\" x=\"{}\" y=\"34\">acts</text>", GUTTER - 10.0);
        if let Some(broken) = &self.picture.violation {
            let (x, width) = (self.x(broken.at), text_width(&broken.rule) + 14.0);
            let _ = write!(
                self.out,
                "<g clip-path=\"url(#plot-head)\"><g class=\"flag\" data-t=\"{}\" transform=\"translate({x:.1} 0)\">\
                 <path class=\"broken\" d=\"M0 2V{height}\"/><g><rect x=\"0\" y=\"2\" width=\"{width:.0}\" height=\"16\" rx=\"3\"/>\
                 <text x=\"7\" y=\"14\">{}</text></g>",
                broken.at,
                escape(&broken.rule)
            );
            self.hover(&broken.rule, broken.at, None, &broken.what);
            self.out.push_str("</g></g>\n");
        }
        self.out.push_str("</svg>");
        core::mem::take(&mut self.out)
    }

    fn body(&mut self) -> String {
        let bands = if self.picture.bands.is_empty() { 0.0 } else { 20.0 };
        let mut top = bands;
        let mut lanes = Vec::new();
        for lane in &self.picture.lanes {
            let rows = Rows::of(lane, top);
            top = rows.bottom;
            lanes.push(rows);
        }
        let height = top + 4.0;
        self.open("body", height);
        for (lane, rows) in self.picture.lanes.iter().zip(&lanes) {
            self.gutter(lane, rows);
        }
        if bands > 0.0 {
            let _ = writeln!(self.out, "<text class=\"row\" x=\"{}\" y=\"14\">metastore</text>", GUTTER - 10.0);
        }
        self.out.push_str("<g clip-path=\"url(#plot-body)\">\n<g id=\"grid\"></g>\n");
        for act in self.picture.acts.iter().filter(|act| act.tone != Tone::Quiet) {
            let (x, at) = (self.x(act.at), act.at);
            let _ = writeln!(
                self.out,
                "<path class=\"at {}\" data-t=\"{at}\" transform=\"translate({x:.1} 0)\" d=\"M0 0V{height}\"/>",
                act.tone.name()
            );
        }
        for band in &self.picture.bands {
            self.rect(band, 0.0, height, "shade wide");
            self.rect(band, 3.0, 14.0, "strip");
            self.label(band, 14.0);
        }
        for (lane, rows) in self.picture.lanes.iter().zip(&lanes) {
            self.shades(lane, rows);
        }
        for arrow in &self.picture.arrows {
            self.arrow(arrow, &lanes);
        }
        for (lane, rows) in self.picture.lanes.iter().zip(&lanes) {
            self.lane(lane, rows);
        }
        if let Some(broken) = &self.picture.violation {
            let (x, at) = (self.x(broken.at), broken.at);
            let _ = writeln!(
                self.out,
                "<path class=\"broken\" data-t=\"{at}\" transform=\"translate({x:.1} 0)\" d=\"M0 0V{height}\"/>"
            );
        }
        let _ = write!(self.out, "</g>\n<path id=\"hair\" d=\"M0 0V{height}\"/>\n</svg>");
        core::mem::take(&mut self.out)
    }

    fn open(&mut self, id: &str, height: f64) {
        let plot = WIDTH - GUTTER - EDGE;
        let _ = write!(
            self.out,
            "<svg id=\"{id}\" xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
             font-size=\"11\">\n<defs><clipPath id=\"plot-{id}\"><rect class=\"plot\" x=\"{}\" y=\"0\" width=\"{}\" height=\"{height:.0}\"/>\
             </clipPath>",
            GUTTER - 1.0,
            plot + EDGE
        );
        if id == "body" {
            self.out.push_str(
                "<marker id=\"tip-of-arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
                 markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0.5L8 4L0 7.5Z\"/></marker>",
            );
            for tone in [Tone::Frozen, Tone::Cut, Tone::Slow, Tone::Down, Tone::Bad] {
                let (name, turn) = (tone.name(), if tone == Tone::Frozen { -45 } else { 45 });
                let _ = write!(
                    self.out,
                    "<pattern id=\"hatch-{name}\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" \
                     patternTransform=\"rotate({turn})\"><rect class=\"paper {name}\" width=\"7\" height=\"7\"/>\
                     <path class=\"pen {name}\" d=\"M0 0V7\"/></pattern>"
                );
            }
        }
        self.out.push_str("</defs>\n");
    }

    // --- a lane ---

    fn gutter(&mut self, lane: &Lane, rows: &Rows) {
        let (x, right) = (10.0, GUTTER - 10.0);
        let _ = write!(
            self.out,
            "<path class=\"edge\" d=\"M0 {0:.1}H4000\"/>\n<text class=\"name\" x=\"{x}\" y=\"{1:.1}\">{2}</text>\n",
            rows.top,
            rows.life + 12.5,
            escape(&lane.name)
        );
        let mut y = rows.life + 26.0;
        for line in lane.about.lines() {
            let _ = writeln!(self.out, "<text class=\"about\" x=\"{x}\" y=\"{y:.1}\">{}</text>", escape(line));
            y += 12.0;
        }
        let worst = lane.clock.iter().flatten().map(|(_, off)| *off).max_by_key(|off| off.unsigned_abs());
        let clock = worst.map(|off| format!("clock {}", offset(off))).unwrap_or_default();
        for (text, y, there) in [
            ("leads", rows.lead + 8.5, !lane.leads.is_empty()),
            ("trust, beats", rows.trust + 9.5, !lane.trust.is_empty() || !lane.beats.is_empty()),
            ("writes", rows.asks + 8.0, !lane.asks.is_empty()),
            ("attempts", rows.bars + 12.5, !lane.bars.is_empty()),
            (clock.as_str(), rows.clock + CLOCK / 2.0 + 4.0, !lane.clock.is_empty()),
        ] {
            if there {
                let _ = writeln!(self.out, "<text class=\"row\" x=\"{right}\" y=\"{y:.1}\">{text}</text>");
            }
        }
    }

    fn shades(&mut self, lane: &Lane, rows: &Rows) {
        for (shade, row) in lane.shades.iter().zip(&rows.shade_rows) {
            let y = rows.shade + *row as f64 * (SHADE + 1.0);
            self.rect(shade, rows.top + 1.0, rows.bottom - rows.top - 1.0, "shade");
            self.rect(shade, y, SHADE, "strip");
            self.label(shade, y + 9.5);
        }
    }

    fn lane(&mut self, lane: &Lane, rows: &Rows) {
        for life in &lane.lives {
            self.rect(life, rows.life, LIFE, "life");
            self.label(life, rows.life + 11.5);
        }
        for note in &lane.notes {
            self.mark(note, rows.life, LIFE, "M0 2.5L5 7.5L0 12.5L-5 7.5Z");
        }
        for (lead, row) in lane.leads.iter().zip(&rows.lead_rows) {
            let y = rows.lead + *row as f64 * (LEAD + 1.0);
            self.rect(lead, y, LEAD, "strip");
            self.label(lead, y + 8.5);
        }
        for trust in &lane.trust {
            self.rect(trust, rows.trust + 4.0, 4.0, "trust");
        }
        for beat in &lane.beats {
            self.mark(beat, rows.trust, TRUST, "M0 0V12");
        }
        for ask in &lane.asks {
            self.mark(ask, rows.asks, ASKS, "M0 1V8");
        }
        for (bar, row) in lane.bars.iter().zip(&rows.bar_rows) {
            self.bar(bar, rows.bars + *row as f64 * (BAR + 2.0));
        }
        self.clock(lane, rows);
    }

    fn bar(&mut self, bar: &Bar, y: f64) {
        let (from, until) = (self.x(bar.from), self.x(bar.until));
        let _ = write!(
            self.out,
            "<g data-k=\"{}\" style=\"--h:{}\"><rect class=\"bar\" data-t=\"{} {}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
             height=\"{BAR}\" rx=\"2.5\">",
            bar.key,
            hue(bar.key),
            bar.from,
            bar.until,
            (until - from).max(1.5)
        );
        self.hover(&bar.label, bar.from, Some(bar.until), &bar.hover);
        self.out.push_str("</rect>\n");
        for step in &bar.steps {
            self.rect(step, y + 1.5, BAR - 3.0, "step");
        }
        let text = Stretch::new(bar.from, bar.until, Tone::Quiet, bar.label.as_str());
        self.label(&text, y + 12.5);
        if let Some(end) = &bar.end {
            let glyph = match end.tone {
                Tone::Good => "M-2.6 0.2L-0.8 2.2L2.8 -2",
                Tone::Bad => "M-2.2 -2.2L2.2 2.2M2.2 -2.2L-2.2 2.2",
                Tone::Quiet => "M-2.6 0H2.4M0.4 -2.2L2.6 0L0.4 2.2",
                _ => "M-2 -2H2V2H-2Z",
            };
            let (x, tone) = (self.x(end.at), end.tone.name());
            let _ = write!(
                self.out,
                "<g class=\"end {tone}\" data-t=\"{}\" transform=\"translate({x:.1} {:.1})\"><circle r=\"5\"/><path d=\"{glyph}\"/>",
                end.at,
                y + BAR / 2.0
            );
            self.hover(&end.label, end.at, None, &end.hover);
            self.out.push_str("</g>\n");
        }
        self.out.push_str("</g>\n");
    }

    fn clock(&mut self, lane: &Lane, rows: &Rows) {
        let all = self.picture.lanes.iter().flat_map(|lane| lane.clock.iter().flatten());
        let most = all.map(|(_, off)| off.unsigned_abs()).max().unwrap_or(0).max(1_000) as f64;
        let middle = rows.clock + CLOCK / 2.0;
        if !lane.clock.is_empty() {
            let _ = writeln!(self.out, "<path class=\"zero\" d=\"M0 {middle:.1}H4000\"/>");
        }
        for curve in &lane.clock {
            let y = |off: i64| middle - off as f64 / most * (CLOCK / 2.0 - 2.0);
            let points: Vec<_> = curve.iter().map(|(at, off)| format!("{at},{:.2}", y(*off))).collect();
            let drawn: Vec<_> = curve.iter().map(|(at, off)| format!("{:.1} {:.2}", self.x(*at), y(*off))).collect();
            let _ = write!(
                self.out,
                "<path class=\"clock\" data-curve=\"{}\" d=\"M{}\">",
                points.join(" "),
                drawn.join("L")
            );
            let (Some(first), Some(last)) = (curve.first(), curve.last()) else { continue };
            let (from, until) = (offset(first.1), offset(last.1));
            self.hover("clock against true time", first.0, Some(last.0), &format!("from {from} to {until}"));
            self.out.push_str("</path>\n");
        }
    }

    fn arrow(&mut self, arrow: &Arrow, lanes: &[Rows]) {
        let y = |place: Place| {
            let rows = lanes.get(place.lane)?;
            let row = *rows.bar_rows.get(place.bar)? as f64;
            Some(rows.bars + row * (BAR + 2.0) + BAR / 2.0)
        };
        let (Some(from), Some(to)) = (y(arrow.from), y(arrow.to)) else { return };
        let (a, b) = (self.x(arrow.from.at), self.x(arrow.to.at));
        let bend = (b - a).abs().clamp(14.0, 60.0);
        let _ = write!(
            self.out,
            "<path class=\"arrow\" marker-end=\"url(#tip-of-arrow)\" data-k=\"{}\" style=\"--h:{}\" data-arrow=\"{} {from:.1} {} {to:.1}\" \
             d=\"M{a:.1} {from:.1}C{:.1} {from:.1} {:.1} {to:.1} {b:.1} {to:.1}\">",
            arrow.key,
            hue(arrow.key),
            arrow.from.at,
            arrow.to.at,
            a + bend,
            b - bend
        );
        self.hover("the next attempt", arrow.to.at, None, &arrow.hover);
        self.out.push_str("</path>\n");
    }

    // --- pieces ---

    fn rect(&mut self, stretch: &Stretch, y: f64, height: f64, class: &str) {
        let (from, until) = (self.x(stretch.from), self.x(stretch.until));
        let _ = write!(
            self.out,
            "<rect class=\"{class} {}\" data-t=\"{} {}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\">",
            stretch.tone.name(),
            stretch.from,
            stretch.until,
            (until - from).max(1.0)
        );
        self.hover(&stretch.label, stretch.from, Some(stretch.until), &stretch.hover);
        self.out.push_str("</rect>\n");
    }

    fn label(&mut self, stretch: &Stretch, y: f64) {
        if stretch.label.is_empty() {
            return;
        }
        let (from, until, width) = (self.x(stretch.from), self.x(stretch.until), text_width(&stretch.label));
        let hidden = if until - from < width + 6.0 { " display=\"none\"" } else { "" };
        let _ = writeln!(
            self.out,
            "<text class=\"on {}\" data-l=\"{} {} {width:.0}\" x=\"{:.1}\" y=\"{y:.1}\"{hidden}>{}</text>",
            stretch.tone.name(),
            stretch.from,
            stretch.until,
            from + 4.0,
            escape(&stretch.label)
        );
    }

    fn mark(&mut self, mark: &Mark, y: f64, height: f64, shape: &str) {
        let (x, tone) = (self.x(mark.at), mark.tone.name());
        let _ = write!(
            self.out,
            "<g class=\"mark {tone}\" data-t=\"{}\" transform=\"translate({x:.1} {y:.1})\"><path d=\"{shape}\"/>\
             <rect class=\"hit\" x=\"-3\" width=\"6\" height=\"{height}\"/>",
            mark.at
        );
        self.hover(&mark.label, mark.at, None, &mark.hover);
        self.out.push_str("</g>\n");
    }

    /// The browser's tooltip; the script replaces it with its own.
    fn hover(&mut self, label: &str, from: u64, until: Option<u64>, more: &str) {
        let mut text = label.to_owned();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&moment(from));
        if let Some(until) = until {
            let _ = write!(text, " – {} ({})", moment(until), long(until.saturating_sub(from)));
        }
        if !more.is_empty() {
            let _ = write!(text, "\n{more}");
        }
        let _ = write!(self.out, "<title>{}</title>", escape(&text));
    }
}

impl Rows {
    fn of(lane: &Lane, top: f64) -> Self {
        let mut y = top + PAD;
        let mut row = |height: f64, count: usize| {
            let at = y;
            if count > 0 {
                y += height * count as f64 + GAP;
            }
            at
        };
        let (lead_rows, leads) = rows(lane.leads.iter().map(|s| (s.from, s.until)));
        // Short attempts are drawn with a minimum width.
        let (bar_rows, bars) = rows(lane.bars.iter().map(|b| (b.from, b.until)));
        let (shade_rows, shades) = rows(lane.shades.iter().map(|s| (s.from, s.until)));
        let there = |empty: bool| usize::from(!empty);
        let life = row(LIFE, 1);
        let lead = row(LEAD + 1.0, leads);
        let trust = row(TRUST, there(lane.trust.is_empty() && lane.beats.is_empty()));
        let asks = row(ASKS, there(lane.asks.is_empty()));
        let bars = row(BAR + 2.0, bars);
        let clock = row(CLOCK, there(lane.clock.is_empty()));
        let shade = row(SHADE + 1.0, shades);
        // The labels in the left column need space, too.
        let words = top + PAD + LIFE + 12.0 * lane.about.lines().count() as f64 + 4.0;
        let bottom = y.max(words) + PAD - GAP;
        Self { top, life, lead, trust, asks, bars, clock, shade, bottom, lead_rows, bar_rows, shade_rows }
    }
}

// --- words and numbers ---

/// Adjacent keys get distant colours (the golden angle).
fn hue(key: u64) -> u64 {
    (key.wrapping_mul(137) + 205) % 360
}

fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// A time of the run: `1:02.345`, without trailing zeros.
fn moment(us: u64) -> String {
    let (seconds, rest) = (us / 1_000_000, us % 1_000_000);
    let decimals = if rest == 0 { String::new() } else { format!(".{rest:06}").trim_end_matches('0').to_owned() };
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}{decimals}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}{decimals}"),
    }
}

fn long(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..120_000_000 => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{:.1} min", us as f64 / 6e7),
    }
}

fn offset(us: i64) -> String {
    let sign = if us < 0 { "−" } else { "+" };
    match us.unsigned_abs() {
        0 => "±0".to_owned(),
        us => format!("{sign}{}", long(us)),
    }
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_for_people() {
        assert_eq!(moment(62_345_000), "1:02.345");
        assert_eq!(moment(3_600_000_000), "1:00:00");
        assert_eq!((long(250), long(2_500), long(2_650_000)), ("250 µs".into(), "2.5 ms".into(), "2.65 s".into()));
        assert_eq!((offset(-1_500), offset(0)), ("−1.5 ms".into(), "±0".into()));
    }
}
