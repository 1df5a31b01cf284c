//! How one text is written in YAML: plain, as a `|` block, or in double quotes.
//!
//! Plain is only what every reader takes for the same text, in whatever place it stands. Characters that
//! are invisible or turn the direction of writing are always escapes.

use std::fmt::Write as _;

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Alone after a key or a dash.
    Block,
    /// Inside `[…]` or `{…}`.
    Flow,
    /// Before a colon.
    Key,
}

/// Words that some version of YAML takes for something other than text.
const WORDS: [&str; 14] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan", "=", "~", "none"];

/// Writes a text on one line.
pub(super) fn text(out: &mut String, text: &str, place: Place) {
    if is_plain(text, place) {
        out.push_str(text);
    } else {
        quoted(out, text);
    }
}

/// Writes a text of several lines as `|` or `|-`, if that says exactly this text; else writes nothing.
pub(super) fn literal(out: &mut String, text: &str, indent: usize) -> bool {
    if !fits_literal(text) {
        return false;
    }
    out.push_str(if text.ends_with('\n') { "|\n" } else { "|-\n" });
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(line);
        }
        out.push('\n');
    }
    true
}

/// Whether a `|` block says exactly this text.
pub(super) fn fits_literal(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    // More than one final line feed would need `|+`, a leading space an indentation indicator.
    text.contains('\n')
        && !body.ends_with('\n')
        && !body.is_empty()
        && !body.trim_start_matches('\n').starts_with([' ', '\t'])
        && !body.chars().any(|c| c != '\n' && c != '\t' && must_escape(c))
}

/// Whether every reader takes the bare text for this text.
pub(super) fn is_plain(text: &str, place: Place) -> bool {
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    let starts_well =
        first.is_ascii_alphanumeric() || matches!(first, b'_' | b'/' | b'.' | b'(' | b'$') || first >= 0x80;
    if !starts_well || matches!(last, b' ' | b':') {
        return false;
    }
    if bytes.len() <= 5 && WORDS.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        return false;
    }
    if looks_like_number(bytes) || text.starts_with("...") {
        return false;
    }
    let mut before = 0u8;
    for (at, &byte) in bytes.iter().enumerate() {
        let good = match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'-' | b'.' | b'/' | b' ' | b'(' | b')' => true,
            b'+' | b';' | b'=' | b'~' | b'^' | b'$' | b'<' | b'>' | b'!' | b'*' | b'&' | b'@' | b'%'
            | b'|' | b'\\' | b'\'' => true,
            b':' => {
                place != Place::Key
                    && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
                    && (place == Place::Block || before.is_ascii_digit())
            }
            b'#' => before != b' ',
            b',' | b'?' | b'"' | b'[' | b']' | b'{' | b'}' | b'`' => place == Place::Block,
            byte => byte >= 0x80,
        };
        if !good {
            return false;
        }
        before = byte;
    }
    text.is_ascii() || !text.chars().any(must_escape)
}

/// Whether some reader may take it for a number, a date or a time of day.
fn looks_like_number(bytes: &[u8]) -> bool {
    let prefixed =
        bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X' | b'o' | b'O' | b'b' | b'B');
    let begins = bytes[0].is_ascii_digit() || bytes[0] == b'.';
    begins
        && (prefixed
            || bytes
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'_' | b'.' | b':' | b'+' | b'-' | b'e' | b'E' | b',')))
}

/// Characters that YAML cannot hold as they are, or that a reader of the file would not see.
pub(super) fn must_escape(c: char) -> bool {
    match c {
        ' '..='~' => false,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{a0}' | '\u{ad}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}' => true,
        c => c.is_control(),
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if must_escape(c) => escape(out, u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, code: u32) {
    // Writing into a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02X}"),
        0x100..=0xffff => write!(out, "\\u{code:04X}"),
        _ => write!(out, "\\U{code:08X}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(t: &str, place: Place) -> String {
        let mut out = String::new();
        text(&mut out, t, place);
        out
    }

    #[test]
    fn what_another_reader_could_mistake_is_quoted() {
        for bad in [
            "",
            "yes",
            "No",
            "null",
            "~",
            "1",
            "1.5",
            "1e3",
            "0x1F",
            "0o7",
            ".5",
            ".inf",
            "2026-02-08",
            "12:30",
            "-1",
            "+1",
            "- a",
            "a: b",
            "a #b",
            " a",
            "a ",
            "#a",
            "&a",
            "*a",
            "!a",
            "%a",
            "@a",
            "`a",
            "[a",
            "{a",
            "<<",
            "---",
            "...",
            "a:",
        ] {
            assert!(written(bad, Place::Block).starts_with('"'), "{bad:?} was written plain");
        }
    }

    #[test]
    fn ordinary_text_stays_plain() {
        for good in [
            "Fix the build",
            "15m",
            "30d",
            "2026-02-08T09:00:00.000Z",
            "01K5QX3T0000000000000000AB",
            "ORCH-010",
            "그리고",
            "a,b",
            "it's",
        ] {
            assert_eq!(written(good, Place::Block), good);
        }
        assert_eq!(written("a, b", Place::Flow), "\"a, b\"");
        assert_eq!(written("agent:main:7", Place::Flow), "\"agent:main:7\"");
        assert_eq!(written("2026-02-08T09:00:00.000Z", Place::Flow), "2026-02-08T09:00:00.000Z");
        assert_eq!(written("a\u{202e}b", Place::Flow), "\"a\\u202Eb\"");
    }
}
