//! A cheap look at YAML text before the parser sees it.
//!
//! One pass over the bytes refuses what the format forbids (anchors, aliases, tags, merge keys, further
//! documents, conflict markers, tabs as indentation) and what would make a parser work hard (nesting,
//! number of nodes). It knows quotes, comments and block scalars, so text may contain anything.

use super::parse::{DEPTH_MAX, NODES_MAX, YamlError};

/// Scans text that is valid UTF-8 without a byte order mark.
///
/// # Errors
/// The first thing that is refused, with its place.
pub(super) fn check(text: &str) -> Result<(), YamlError> {
    check_characters(text)?;
    let mut scan = Scan { line: 0, quote: None, depth: 0, nodes: 0, block: None, started: false };
    for line in text.split('\n') {
        scan.line += 1;
        scan.one_line(line.strip_suffix('\r').unwrap_or(line))?;
    }
    Ok(())
}

/// Control characters never belong into these files, and libyaml does not say where it found one. Nor does what is
/// the end of a line to libyaml alone: it would see keys and anchors where everybody else sees text or a comment.
fn check_characters(text: &str) -> Result<(), YamlError> {
    let bytes = text.as_bytes();
    let printable = |b: &u8| matches!(b, b'\n' | b'\t' | b' '..=b'~');
    if bytes.iter().all(printable) {
        return Ok(());
    }
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let alone = c == '\r' && chars.peek().is_none_or(|(_, next)| *next != '\n');
        let refused = match c {
            '\n' | '\t' => false,
            '\r' => alone,
            '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}' => true,
            c => c.is_control(),
        };
        if refused {
            let (line, column) = place(text, at);
            let message = format!(
                "the control character U+{:04X} is not allowed; write it as an escape in double quotes",
                u32::from(c)
            );
            return Err(YamlError { line, column, message });
        }
    }
    Ok(())
}

/// Line and column, from 1, of a byte position.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    (line, String::from_utf8_lossy(&before[start..]).chars().count() + 1)
}

struct Scan {
    line: usize,
    /// Inside a quoted text that goes on in the next line.
    quote: Option<u8>,
    /// Open `[` and `{`.
    depth: usize,
    nodes: usize,
    /// Inside a block scalar: its lines are indented more than this.
    block: Option<usize>,
    /// Something other than comments has been seen.
    started: bool,
}

impl Scan {
    fn error(&self, column: usize, message: impl Into<String>) -> YamlError {
        YamlError { line: self.line, column: column + 1, message: message.into() }
    }

    fn one_line(&mut self, text: &str) -> Result<(), YamlError> {
        let line = text.as_bytes();
        let indent = line.iter().take_while(|b| **b == b' ').count();
        if let Some(parent) = self.block {
            if indent > parent || indent == line.len() {
                return Ok(());
            }
            self.block = None;
        }
        if self.quote.is_none() {
            self.check_line_start(line, indent)?;
        }
        self.tokens(line, indent)
    }

    fn check_line_start(&mut self, line: &[u8], indent: usize) -> Result<(), YamlError> {
        let conflict = [&b"<<<<<<<"[..], b"=======", b">>>>>>>", b"|||||||"];
        if conflict.iter().any(|mark| line.starts_with(mark)) {
            return Err(self.error(0, "a conflict marker of a merge was left here; these files are not merged as text: keep one side, or move the file out of the way: the next command brings back the version that git knows"));
        }
        let marker = |mark: &[u8]| line.starts_with(mark) && line.get(3).is_none_or(u8::is_ascii_whitespace);
        if (marker(b"---") && self.started) || marker(b"...") {
            return Err(self.error(0, "a file holds one document; `---` and `...` are not allowed here"));
        }
        if line.first() == Some(&b'%') {
            return Err(self.error(0, "YAML directives (`%`) are not allowed"));
        }
        if line.get(indent) == Some(&b'\t') && self.depth == 0 && !line.trim_ascii().is_empty() {
            return Err(self.error(indent, "a tab is used as indentation; use spaces"));
        }
        if line.get(indent).is_some_and(|b| *b != b'#') {
            self.started = true;
        }
        Ok(())
    }

    /// Walks over one line. `parent` is the column to which a block scalar on this line belongs.
    fn tokens(&mut self, line: &[u8], indent: usize) -> Result<(), YamlError> {
        let mut at = if self.quote.is_some() { 0 } else { indent };
        let mut parent = indent;
        let mut quoted_from = indent;
        if self.quote.is_none() && line.starts_with(b"---") {
            at = 3;
        }
        loop {
            if let Some(quote) = self.quote {
                match end_of_quote(line, at, quote) {
                    Some(end) => (at, self.quote) = (end, None),
                    None => return Ok(()),
                }
                if self.depth == 0 && line.get(at) == Some(&b':') {
                    parent = quoted_from;
                }
            }
            while line.get(at).is_some_and(|b| matches!(b, b' ' | b'\t')) {
                at += 1;
            }
            let Some(&byte) = line.get(at) else { return Ok(()) };
            let next = line.get(at + 1).copied();
            let gap = next.is_none_or(|b| matches!(b, b' ' | b'\t'));
            match byte {
                b'#' => return Ok(()),
                b'"' | b'\'' => {
                    self.count(at)?;
                    self.quote = Some(byte);
                    quoted_from = at;
                    at += 1;
                }
                b'[' | b'{' => {
                    self.count(at)?;
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(self.error(at, format!("nested more than {DEPTH_MAX} levels deep")));
                    }
                    at += 1;
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    at += 1;
                }
                b',' | b':' => at += 1,
                b'-' | b'?' if gap && self.depth == 0 => {
                    self.count(at)?;
                    parent = at;
                    at += 1;
                }
                b'&' => {
                    return Err(
                        self.error(at, "anchors (`&`) are not allowed; put the text in quotes if it is text")
                    );
                }
                b'*' => {
                    return Err(
                        self.error(at, "aliases (`*`) are not allowed; put the text in quotes if it is text")
                    );
                }
                b'!' => {
                    return Err(
                        self.error(at, "tags (`!`) are not allowed; put the text in quotes if it is text")
                    );
                }
                b'|' | b'>' if self.depth == 0 && is_block_header(&line[at + 1..]) => {
                    self.count(at)?;
                    self.block = Some(parent);
                    return Ok(());
                }
                _ => {
                    self.count(at)?;
                    let start = at;
                    at = end_of_plain(line, at, self.depth > 0);
                    let word = line[start..at].trim_ascii_end();
                    let is_key = line.get(at) == Some(&b':');
                    if word == b"<<" && is_key {
                        return Err(self.error(start, "merge keys (`<<`) are not allowed"));
                    }
                    if is_key && self.depth == 0 {
                        parent = start;
                    }
                    if at == start {
                        at += 1;
                    }
                }
            }
        }
    }

    fn count(&mut self, column: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(self.error(column, format!("more than {NODES_MAX} values in one file")));
        }
        Ok(())
    }
}

/// The position after the closing quote, if the line has it.
fn end_of_quote(line: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        at += 1;
        if byte == b'\\' && quote == b'"' {
            at += 1;
        } else if byte == quote {
            if quote == b'\'' && line.get(at) == Some(&b'\'') {
                at += 1;
                continue;
            }
            return Some(at);
        }
    }
    None
}

/// The position after a plain scalar on this line: a `: `, a ` #`, or in flow context one of `,[]{}`.
fn end_of_plain(line: &[u8], mut at: usize, flow: bool) -> usize {
    while let Some(&byte) = line.get(at) {
        let next = line.get(at + 1).copied();
        let ends = match byte {
            b':' => next.is_none_or(|b| {
                matches!(b, b' ' | b'\t') || (flow && matches!(b, b',' | b'[' | b']' | b'{' | b'}'))
            }),
            b'#' => at > 0 && matches!(line[at - 1], b' ' | b'\t'),
            b',' | b'[' | b']' | b'{' | b'}' => flow,
            _ => false,
        };
        if ends {
            return at;
        }
        at += 1;
    }
    at
}

/// Whether `|` or `>` is followed by nothing but indicators and a comment.
fn is_block_header(rest: &[u8]) -> bool {
    let indicators = rest.iter().take_while(|b| matches!(b, b'+' | b'-' | b'0'..=b'9')).count();
    let rest = rest[indicators..].trim_ascii();
    indicators <= 2 && (rest.is_empty() || rest[0] == b'#')
}
