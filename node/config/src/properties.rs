//! A parser for Java `.properties` files, compatible with `java.util.Properties`, that records the location of every key.
//!
//! Comments start with `#` or `!`. A key ends at the first unescaped `=`, `:` or blank. A backslash at the end of a
//! line joins the next line without its indentation. `\t \n \r \f \uXXXX`, and `\x` for any other x, are escapes.
//! Entries are returned in file order, including repeated keys, which the caller handles.
//!
//! Three differences to Java are deliberate. A byte order mark at the start of a file is dropped; Java makes it a part
//! of the first key. Half of a surrogate pair is an error; Java accepts it. A file that ends with a single backslash on
//! a line has no further entry; Java may add one with an empty key and value.
//!
//! This module does not substitute `${…}` and knows no keys.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::Arc;

/// The location of a value: a line of a file, a `--set` option, an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    source: Arc<str>,
    line: u32,
}

impl Origin {
    /// A location without a line, such as `--set`.
    pub fn named(source: &str) -> Self {
        Self { source: source.into(), line: 0 }
    }

    /// Whether both come from the same file (or both from the command line).
    pub fn same_source(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { f.write_str(&self.source) } else { write!(f, "{}:{}", self.source, self.line) }
    }
}

/// A key with its value and location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, including trailing blanks as in Java.
    pub value: String,
    /// The location of the key.
    pub origin: Origin,
}

/// The only syntax errors: a `\u` without four hexadecimal digits, or half of a surrogate pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed \\uXXXX escape")]
pub struct Malformed {
    /// The line on which the entry starts.
    pub origin: Origin,
    /// The key, as far as it is known.
    pub key: String,
}

/// Parses every entry of `text`. `source` is the file's name in locations.
pub fn parse(source: &str, text: &str) -> (Vec<Entry>, Vec<Malformed>) {
    let source: Arc<str> = source.into();
    let (mut entries, mut malformed) = (Vec::new(), Vec::new());
    for (line, content) in logical_lines(text) {
        let origin = Origin { source: Arc::clone(&source), line };
        let (key, value) = split(&content);
        match (unescape(key), unescape(value)) {
            (Some(key), Some(value)) => entries.push(Entry { key, value, origin }),
            (key, _) => malformed.push(Malformed { origin, key: key.unwrap_or_else(|| key_prefix(&content)) }),
        }
    }
    (entries, malformed)
}

/// Decodes a file: as UTF-8 if valid, else as ISO-8859-1, which Java's reader assumes.
pub fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text).to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Joins continued lines, and drops comments and blank lines. Escapes are unchanged.
fn logical_lines(text: &str) -> Vec<(u32, String)> {
    let mut lines = Vec::new();
    let mut natural = natural_lines(text).into_iter().zip(1_u32..).peekable();
    while let Some((first, number)) = natural.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut content = String::new();
        let mut part = first;
        let is_entry = loop {
            if !ends_open(part) {
                content.push_str(part);
                break !content.is_empty();
            }
            content.push_str(&part[..part.len() - 1]);
            match natural.next() {
                Some((next, _)) => part = next.trim_start_matches(is_blank),
                None => break !content.is_empty(),
            }
            if content.is_empty() && part.starts_with(['#', '!']) {
                // The line is not a continuation, so it is a comment.
                break false;
            }
        };
        if is_entry {
            lines.push((number, content));
        }
    }
    lines
}

fn natural_lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(['\n', '\r']) {
        lines.push(&rest[..end]);
        let ending = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + ending..];
    }
    lines.push(rest);
    lines
}

/// Whether the line ends with an odd number of backslashes, so that the next line continues it.
fn ends_open(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

fn split(content: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = content.find(|c: char| {
        let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
        escaped = !escaped && c == '\\';
        ends
    });
    let Some(end) = end else { return (content, "") };
    let (key, rest) = content.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_blank);
    (key, value)
}

fn unescape(text: &str) -> Option<String> {
    if !text.contains('\\') {
        return Some(text.to_owned());
    }
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut buffer = [0_u16; 2];
    while let Some(c) = chars.next() {
        let c = if c == '\\' {
            match chars.next() {
                Some('u') => {
                    units.push(four_digits(&mut chars)?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            }
        } else {
            c
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    String::from_utf16(&units).ok()
}

fn four_digits(chars: &mut Peekable<Chars<'_>>) -> Option<u16> {
    (0..4).try_fold(0_u16, |value, _| {
        let digit = chars.next()?.to_digit(16)?;
        Some(value << 4 | u16::try_from(digit).ok()?)
    })
}

/// A key with a malformed escape, up to that escape.
fn key_prefix(content: &str) -> String {
    content.chars().take_while(|&c| c != '\\' && c != '=' && c != ':').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        let (entries, malformed) = parse("f", text);
        assert_eq!(malformed, []);
        entries.into_iter().map(|e| (e.key, e.value)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{text:?} gave {all:?}");
        all.remove(0)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn separators_and_blanks_follow_java() {
        for text in ["a=b", "a:b", "a b", "a = b", "  a\t:\tb", "a   b", "a=b\r\n", "\u{c}a\u{c}=\u{c}b"] {
            assert_eq!(one(text), pair("a", "b"), "{text:?}");
        }
        assert_eq!(one("a==b"), pair("a", "=b"));
        assert_eq!(one("a = = b"), pair("a", "= b"));
        assert_eq!(one("a"), pair("a", ""));
        assert_eq!(one("a="), pair("a", ""));
        assert_eq!(one("=b"), pair("", "b"));
        assert_eq!(one("a=b "), pair("a", "b "), "trailing blanks belong to the value");
        assert_eq!(one("url=jdbc:mysql://h:1/d?a=b&c=d"), pair("url", "jdbc:mysql://h:1/d?a=b&c=d"));
    }

    #[test]
    fn comments_start_only_at_the_start_of_a_line() {
        assert_eq!(pairs("# x=1\n  ! y=2\n\na=b # not a comment\n"), [pair("a", "b # not a comment")]);
        assert_eq!(pairs("#ends in a backslash \\\na=b"), [pair("a", "b")], "a comment is never continued");
    }

    #[test]
    fn a_backslash_joins_lines_and_drops_their_indentation() {
        assert_eq!(one("a=1,\\\n     2,\\\r\n\t3"), pair("a", "1,2,3"));
        assert_eq!(one("a=b\\\n#c"), pair("a", "b#c"), "a continuation is not a comment");
        assert_eq!(
            pairs("a=b\\\\\nc=d"),
            [pair("a", "b\\"), pair("c", "d")],
            "an escaped backslash does not continue the line"
        );
        assert_eq!(pairs("a=b\\\n\nc=d"), [pair("a", "b"), pair("c", "d")], "a blank line ends the entry");
        assert_eq!(one("a=b\\"), pair("a", "b"));
        assert_eq!(pairs("\\"), []);
        assert_eq!(pairs("\\\n!c\na=b\\\n!d"), [pair("a", "b!d")], "a line that is not a continuation is a comment");
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(one(r"a\ b\=c\:d=\u0041\t\n\r\f\q\\"), pair("a b=c:d", "A\t\n\r\x0cq\\"));
        assert_eq!(one(r"smile=\uD83D\uDE00"), pair("smile", "😀"));
        assert_eq!(one("naïve=größe"), pair("naïve", "größe"));
    }

    #[test]
    fn a_malformed_escape_is_reported_with_its_line_and_the_rest_is_parsed() {
        let (entries, malformed) = parse("f", "a=1\nb=\\u12g4\nc=\\ud83d\nd=4");
        assert_eq!(entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        let places: Vec<_> = malformed.iter().map(|m| (m.origin.to_string(), m.key.as_str())).collect();
        assert_eq!(places, [("f:2".to_owned(), "b"), ("f:3".to_owned(), "c")]);
    }

    #[test]
    fn an_entry_has_the_line_on_which_it_starts() {
        let (entries, _) = parse("conf/x", "# c\na=1\\\n  2\n\nb=3");
        let places: Vec<_> = entries.iter().map(|e| e.origin.to_string()).collect();
        assert_eq!(places, ["conf/x:2", "conf/x:5"]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_read_as_latin_1() {
        assert_eq!(decode(b"a=gr\xf6\xdfe"), "a=größe");
        assert_eq!(decode("\u{feff}a=1".as_bytes()), "a=1");
    }

    /// Writes entries as `java.util.Properties.store` does, in a layout that depends on `style`.
    fn write(entries: &[(String, String)], style: &[u8]) -> String {
        let mut style = style.iter().copied().cycle();
        let mut pick = move |n: u8| style.next().unwrap_or(0) % n;
        let mut text = String::new();
        for (key, value) in entries {
            match pick(4) {
                0 => text.push_str("# a comment = with : signs \\\n"),
                1 => text.push_str("  \t\n! another\r\n"),
                _ => {}
            }
            text.push_str(["", " ", "\t"][usize::from(pick(3))]);
            text.push_str(&escape(key, true, false));
            text.push_str(["=", ":", " = ", "\t:", "=  "][usize::from(pick(5))]);
            text.push_str(&escape(value, false, pick(3) == 0));
            text.push_str(["\n", "\r\n", "\r"][usize::from(pick(3))]);
        }
        text
    }

    fn escape(text: &str, key: bool, fold: bool) -> String {
        let mut out = String::new();
        for (i, c) in text.chars().enumerate() {
            if fold && i % 5 == 4 {
                out.push_str("\\\n    ");
            }
            match c {
                ' ' if key || i == 0 || fold => out.push_str("\\ "),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\x0c' => out.push_str("\\f"),
                '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
                ' '..='~' => out.push(c),
                other => {
                    let mut units = [0_u16; 2];
                    for unit in other.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn output_of_java_is_parsed_correctly(
            entries in proptest::collection::vec((any::<String>(), any::<String>()), 0..8),
            style in proptest::collection::vec(any::<u8>(), 1..40),
        ) {
            let entries: Vec<_> = entries.into_iter().filter(|(k, _)| !k.is_empty()).collect();
            let text = write(&entries, &style);
            prop_assert_eq!(pairs(&text), entries);
        }

        #[test]
        fn no_text_causes_a_panic(text in any::<String>()) {
            let _ = parse("f", &text);
        }

        #[test]
        fn no_mixture_of_escapes_and_line_ends_causes_a_panic(
            text in r"[ab=: \t\\u0-9#!\n\r]{0,60}",
        ) {
            let (entries, _) = parse("f", &text);
            prop_assert!(entries.len() <= text.len());
        }
    }
}
