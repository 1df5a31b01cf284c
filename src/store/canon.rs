//! Reads canonical YAML, and nothing else, quickly.
//!
//! A queue of 100,000 tasks is read again within seconds only if the general parser is left out for the
//! files that orch itself wrote. Whatever [`super::emit`] would not have written is answered with `None`
//! and left to [`super::parse`]; the two agree on everything that this reader accepts (a test compares
//! them, also on damaged text).

use super::parse::{DEPTH_MAX, KEY_MAX, TEXT_MAX};
use super::scalar::{Place, is_plain, must_escape};
use crate::protocol::value::Value;

/// Maps with more keys are left to the general parser: looking for duplicates here is quadratic.
const KEYS_MAX: usize = 64;

/// Reads a document whose top is a block map; `None` if any of it is not canonical.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let map = reader.block_map(0, 1)?;
    (reader.at == text.len()).then_some(map)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over an expected text.
    fn eat(&mut self, expected: &str) -> Option<()> {
        self.rest().starts_with(expected).then(|| self.at += expected.len())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Whether the next line is indented by exactly `indent` spaces.
    fn is_indented(&self, indent: usize) -> bool {
        let line = self.rest().as_bytes();
        line.len() > indent
            && line[..indent].iter().all(|b| *b == b' ')
            && !matches!(line[indent], b' ' | b'\n')
    }

    fn block_map(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut entries = Vec::with_capacity(16);
        while self.is_indented(indent) {
            self.at += indent;
            let key = self.key()?;
            self.eat(":")?;
            let value = self.after_key(indent, depth)?;
            add(&mut entries, key, value)?;
        }
        (!entries.is_empty() && depth <= DEPTH_MAX).then_some(Value::Map(entries))
    }

    /// What stands after `key:` up to and including the end of its last line.
    fn after_key(&mut self, indent: usize, depth: usize) -> Option<Value> {
        if self.eat("\n").is_some() {
            let list =
                self.is_indented(indent + 2) && self.rest().as_bytes()[indent + 2..].starts_with(b"- ");
            return if list {
                self.block_list(indent + 2, depth + 1)
            } else {
                self.block_map(indent + 2, depth + 1)
            };
        }
        self.eat(" ")?;
        if self.peek() == Some(b'|') {
            return self.literal(indent + 2);
        }
        self.rest_of_line(depth)
    }

    fn block_list(&mut self, indent: usize, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        while self.is_indented(indent) {
            self.at += indent;
            self.eat("- ")?;
            items.push(self.rest_of_line(depth)?);
        }
        (depth <= DEPTH_MAX).then_some(Value::List(items))
    }

    fn rest_of_line(&mut self, depth: usize) -> Option<Value> {
        let value = match self.peek()? {
            b'[' | b'{' | b'"' => self.flow(depth)?,
            _ => {
                let end = self.rest().find('\n')?;
                let text = &self.rest()[..end];
                self.at += end;
                plain(text, Place::Block)?
            }
        };
        self.eat("\n")?;
        Some(value)
    }

    fn literal(&mut self, indent: usize) -> Option<Value> {
        self.eat("|")?;
        let clipped = self.eat("-").is_none();
        self.eat("\n")?;
        let mut text = String::new();
        loop {
            if self.peek() == Some(b'\n') {
                self.at += 1;
                text.push('\n');
                continue;
            }
            let line = self.rest();
            if !line.as_bytes().starts_with(&[b' '; 64][..indent.min(64)]) {
                break;
            }
            let end = line.find('\n')?;
            text.push_str(line.get(indent..end)?);
            text.push('\n');
            self.at += end + 1;
        }
        if !clipped {
            text.pop();
        }
        // The writer's own rule says whether this is exactly what the lines mean.
        let canonical = super::scalar::fits_literal(&text) && text.ends_with('\n') == clipped;
        (canonical && text.len() <= TEXT_MAX).then_some(Value::Str(text))
    }

    fn flow(&mut self, depth: usize) -> Option<Value> {
        match self.peek()? {
            b'"' => self.quoted().map(Value::Str),
            b'[' => self.flow_list(depth + 1),
            b'{' => self.flow_map(depth + 1),
            _ => {
                let end = self.rest().find([',', ']', '}', '\n'])?;
                let text = &self.rest()[..end];
                self.at += end;
                plain(text, Place::Flow)
            }
        }
    }

    fn flow_list(&mut self, depth: usize) -> Option<Value> {
        self.eat("[")?;
        let mut items = Vec::new();
        while self.eat("]").is_none() {
            if !items.is_empty() {
                self.eat(", ")?;
            }
            if depth > DEPTH_MAX {
                return None;
            }
            items.push(self.flow(depth)?);
        }
        Some(Value::List(items))
    }

    fn flow_map(&mut self, depth: usize) -> Option<Value> {
        self.eat("{")?;
        let mut entries = Vec::with_capacity(8);
        while self.eat("}").is_none() {
            if !entries.is_empty() {
                self.eat(", ")?;
            }
            if depth > DEPTH_MAX {
                return None;
            }
            let key = self.key()?;
            self.eat(": ")?;
            let value = self.flow(depth)?;
            add(&mut entries, key, value)?;
        }
        Some(Value::Map(entries))
    }

    fn key(&mut self) -> Option<String> {
        let key = if self.peek()? == b'"' {
            self.quoted()?
        } else {
            let end = self.rest().find(':')?;
            let text = &self.rest()[..end];
            self.at += end;
            is_plain(text, Place::Key).then(|| text.to_owned())?
        };
        (key.len() <= KEY_MAX).then_some(key)
    }

    fn quoted(&mut self) -> Option<String> {
        self.eat("\"")?;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let run = rest.find(['"', '\\', '\n'])?;
            let piece = &rest[..run];
            if piece.chars().any(must_escape) {
                return None;
            }
            text.push_str(piece);
            self.at += run + 1;
            match rest.as_bytes()[run] {
                b'"' => break,
                b'\\' => text.push(self.escape()?),
                _ => return None,
            }
        }
        (text.len() <= TEXT_MAX).then_some(text)
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.at += 1;
        let digits = match kind {
            b'"' => return Some('"'),
            b'\\' => return Some('\\'),
            b'n' => return Some('\n'),
            b't' => return Some('\t'),
            b'r' => return Some('\r'),
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => return None,
        };
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.at += digits;
        char::from_u32(u32::from_str_radix(hex, 16).ok()?)
    }
}

/// A scalar without quotes.
fn plain(text: &str, place: Place) -> Option<Value> {
    if is_plain(text, place) {
        return (text.len() <= TEXT_MAX).then(|| Value::str(text));
    }
    match text {
        "null" => return Some(Value::Null),
        "true" => return Some(Value::Bool(true)),
        "false" => return Some(Value::Bool(false)),
        _ => {}
    }
    if let Ok(number) = text.parse::<i64>() {
        return (number.to_string() == text).then_some(Value::Int(number));
    }
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && format!("{number:?}") == text).then_some(Value::Float(number))
}

fn add(entries: &mut Vec<(String, Value)>, key: String, value: Value) -> Option<()> {
    if entries.len() >= KEYS_MAX || entries.iter().any(|(known, _)| *known == key) {
        return None;
    }
    entries.push((key, value));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::emit::{
        emit,
        tests::{nasty, value},
    };
    use crate::store::{parse, wire};
    use proptest::prelude::*;

    fn agrees(text: &str) -> Result<(), TestCaseError> {
        if let Some(quick) = read(text) {
            prop_assert_eq!(parse::parse(text), Ok(quick), "{}", text);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here(entries in prop::collection::vec((nasty(), value()), 1..5)) {
            let mut seen = std::collections::HashSet::new();
            let map: Vec<_> = entries.into_iter().filter(|(k, _)| k.len() <= KEY_MAX && seen.insert(k.clone())).collect();
            prop_assume!(!map.is_empty());
            let keys: Vec<String> = map.iter().map(|(k, _)| k.clone()).take(1).collect();
            let value = Value::Map(map);
            let text = emit(&value, &keys.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(read(&text), Some(value), "{}", text);
        }

        #[test]
        fn what_is_read_here_means_the_same_elsewhere(value in value(), key in nasty(), at in any::<prop::sample::Index>(), piece in nasty(), cut in 0usize..4) {
            let text = emit(&Value::Map(vec![("k".to_owned(), value.clone()), (key, value)]), &["k"]);
            let places: Vec<usize> = text.char_indices().map(|(n, _)| n).collect();
            let start = places[at.index(places.len())];
            let end = text[start..].char_indices().nth(cut).map_or(text.len(), |(n, _)| start + n);
            agrees(&format!("{}{piece}{}", &text[..start], &text[end..]))?;
        }

        #[test]
        fn tasks_are_read_here(task in wire::arbitrary::task()) {
            let value = wire::task_to_value(&task, wire::Form::File);
            let text = emit(&value, &["lease"]);
            prop_assert_eq!(read(&text), Some(value));
        }
    }

    #[test]
    fn what_is_not_canonical_is_left_to_the_general_parser() {
        for text in [
            "",
            "a: b",
            "a: 'b'\n",
            "a:  b\n",
            "a: b # c\n",
            "a: [b,c]\n",
            "- a\n",
            "a: 01\n",
            "a: 1.50\n",
            "a: b\na: c\n",
            "a: &x b\n",
            "a: yes\n",
            "a: \"\\e\"\n",
            "# c\na: b\n",
            "<<: {a: b}\n",
            "a: |\n   b\n",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
