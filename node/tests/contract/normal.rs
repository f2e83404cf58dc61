//! Replaces values that differ between runs: in JSON by the field's name, in text by their form.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Fields with a time. 0 means "not yet" and is kept.
const MOMENTS: [&str; 13] = [
    "at",
    "create_time",
    "create_time_utc",
    "ended_ms",
    "ended_us",
    "exec_end_time",
    "exec_start_time",
    "joined_at",
    "last_build_time",
    "last_modified",
    "modified_ms",
    "started_ms",
    "started_us",
];

/// Fields with a measured number.
const MEASURED: [&str; 25] = [
    "beat",
    "build_ms",
    "bytes",
    "bytes_received",
    "bytes_sent",
    "bytes_size",
    "connections",
    "duration",
    "elapsed_ms",
    "micros",
    "millis",
    "ms",
    "planned_ms",
    "scanned_bytes",
    "silent_ms",
    "statements",
    "total_duration",
    "totalScanBytes",
    "trust_left_ms",
    "unchanged_us",
    "wait_time",
    "file_bytes",
    "read_ms",
    "write_ms",
    "took_ms",
];

/// The number of random letters at the end of a temporary directory's name.
const RANDOM: usize = 6;

/// Known varying values with their replacements.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// Replaces the value by `<name>` from now on.
    pub(crate) fn add(&mut self, value: &str, name: &str) {
        if !value.is_empty() {
            self.0.push((value.to_owned(), format!("<{name}>")));
        }
    }

    /// JSON without varying values.
    pub(crate) fn json(&self, value: &Value) -> Value {
        self.field("", value)
    }

    fn field(&self, name: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let named = |(key, value): (&String, &Value)| (self.words(key), self.field(key, value));
                // Sorted, independent of the features of serde_json.
                Value::Object(fields.iter().map(named).collect::<BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>())
            }
            Value::Array(all) => all.iter().map(|one| self.field(name, one)).collect(),
            Value::Number(number) if MOMENTS.contains(&name) && number.as_i64() != Some(0) => "<time>".into(),
            Value::Number(_) if MEASURED.contains(&name) => "<number>".into(),
            Value::String(_) if name == "version" => "<version>".into(),
            // Fingerprints are internal to the engine.
            Value::String(text) if text.len() == 16 && fits(text, "xxxxxxxxxxxxxxxx") => "<fingerprint>".into(),
            Value::String(text) => self.words(text).into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// Text without varying values. Durations vary in width, so runs of blanks become two blanks.
    pub(crate) fn text(&self, text: &str) -> String {
        let (plain, has_spans) = scan(&self.known(text));
        if !has_spans {
            return plain;
        }
        plain.lines().map(|line| squeeze(line) + "\n").collect()
    }

    fn words(&self, text: &str) -> String {
        scan(&self.known(text)).0
    }

    fn known(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (value, name)| text.replace(value, name))
    }
}

/// Replaces ids, times and durations. Returns whether there was a duration.
fn scan(text: &str) -> (String, bool) {
    let (mut out, mut has_spans) = (String::new(), false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_word = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '.');
        if !after_word && let Some((length, stands)) = volatile(rest) {
            has_spans |= stands == "<span>";
            out.push_str(stands);
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (out, has_spans)
}

/// The varying value at the start of the text: its length in bytes and its replacement.
fn volatile(text: &str) -> Option<(usize, &'static str)> {
    if fits(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") {
        return Some((36, "<uuid>"));
    }
    if let Some(prefix) = ["kirin-bench-", "kirin-demo-"].into_iter().find(|prefix| text.starts_with(prefix)) {
        return Some((prefix.len() + RANDOM, "<temporary>"));
    }
    if fits(text, "run xxxxxxxx part") {
        return Some((12, "run <run>"));
    }
    // Flights and sales have earlier dates, which are kept.
    if fits(text, "20dd-dd-dd dd:dd:dd") && text.get(2..4)? >= "24" {
        return Some((19, "<time>"));
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|length| *length > 0)?;
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let unit = [" ms", " s"].into_iter().find(|unit| text[digits..].starts_with(unit))?;
    let end = digits + unit.len();
    let ends = text[end..].chars().next().is_none_or(|c| !c.is_alphanumeric());
    ends.then_some((end, "<span>"))
}

/// Whether the text starts with this form: x is a hexadecimal digit, d a digit, and any other character itself.
fn fits(text: &str, form: &str) -> bool {
    let is = |(c, form): (u8, u8)| match form {
        b'x' => c.is_ascii_hexdigit(),
        b'd' => c.is_ascii_digit(),
        other => c == other,
    };
    text.len() >= form.len() && text.bytes().zip(form.bytes()).all(is)
}

fn squeeze(line: &str) -> String {
    let mut out = String::new();
    for part in line.split("  ").map(str::trim).filter(|part| !part.is_empty()) {
        if !out.is_empty() {
            out.push_str("  ");
        }
        out.push_str(part);
    }
    out
}

/// JSON in which every number is measured.
pub(crate) fn measured(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), measured(value))).collect(),
        Value::Array(all) => all.iter().map(measured).collect(),
        Value::Number(_) => "<number>".into(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}

/// Replaces every number by `#`, for measured figures.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' | '.' | ',' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            other => out.push(other),
        }
    }
    out.lines().map(|line| squeeze(line) + "\n").collect()
}
