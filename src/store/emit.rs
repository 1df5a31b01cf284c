//! [`Value`] → canonical YAML, written by hand so that equal values are equal bytes on every machine.
//!
//! Maps are blocks, entries named in `one_line` are single flow lines, short lists are flow, and every
//! element of a longer list is one line: a change of one thing is a diff of one line. Text is plain only
//! where every YAML reader (also of version 1.1) reads the same text again.

use std::fmt::Write as _;

use super::scalar::{self, Place};
use crate::protocol::value::Value;

/// A list stays on one line up to this column.
const LINE_MAX: usize = 100;
/// A list of texts stays on one line only if each is at most this long.
const ITEM_MAX: usize = 40;

/// Writes a map as a YAML document that ends in a line feed; another value becomes a single line.
///
/// Top-level entries whose key is in `one_line`, if they are maps, are written as one flow line.
#[must_use]
pub fn emit(value: &Value, one_line: &[&str]) -> String {
    let mut out = String::with_capacity(2048);
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                entry(&mut out, key, value, 0, one_line.contains(&key.as_str()));
            }
        }
        value => {
            flow(&mut out, value);
            out.push('\n');
        }
    }
    out
}

/// One `key: value` of a block map whose keys stand at column `indent`.
fn entry(out: &mut String, key: &str, value: &Value, indent: usize, on_one_line: bool) {
    spaces(out, indent);
    scalar::text(out, key, Place::Key);
    out.push(':');
    match value {
        Value::Map(entries) if !entries.is_empty() && !on_one_line => {
            out.push('\n');
            for (key, value) in entries {
                entry(out, key, value, indent + 2, false);
            }
        }
        Value::List(items) if !items.is_empty() => list(out, items, indent),
        Value::Str(text) => {
            out.push(' ');
            if !scalar::literal(out, text, indent + 2) {
                scalar::text(out, text, Place::Block);
                out.push('\n');
            }
        }
        value => {
            out.push(' ');
            flow(out, value);
            out.push('\n');
        }
    }
}

/// A list after its key: on the same line if it is short, else one line for each element.
fn list(out: &mut String, items: &[Value], indent: usize) {
    let start = out.len();
    if items.iter().all(is_short) {
        let line = out.rfind('\n').map_or(0, |n| n + 1);
        out.push(' ');
        flow_list(out, items);
        if out.len() - line <= LINE_MAX {
            out.push('\n');
            return;
        }
        out.truncate(start);
    }
    out.push('\n');
    for item in items {
        spaces(out, indent + 2);
        out.push_str("- ");
        match item {
            Value::Str(text) => scalar::text(out, text, Place::Block),
            item => flow(out, item),
        }
        out.push('\n');
    }
}

fn is_short(item: &Value) -> bool {
    match item {
        Value::Str(text) => text.len() <= ITEM_MAX && !text.contains('\n'),
        Value::List(_) | Value::Map(_) => false,
        _ => true,
    }
}

/// A value on one line.
pub(super) fn flow(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(number) => {
            // Writing into a String cannot fail.
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => float(out, *number),
        Value::Str(text) => scalar::text(out, text, Place::Flow),
        Value::List(items) => flow_list(out, items),
        Value::Map(entries) => flow_map(out, entries),
    }
}

/// Whole numbers keep a fraction, so that a float stays one; the shortest form that reads back exactly.
fn float(out: &mut String, number: f64) {
    if number.is_finite() {
        let _ = write!(out, "{number:?}");
    } else {
        // Nothing that was parsed holds one; a reader must not take it for a number.
        out.push_str("null");
    }
}

fn flow_list(out: &mut String, items: &[Value]) {
    out.push('[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        flow(out, item);
    }
    out.push(']');
}

fn flow_map(out: &mut String, entries: &[(String, Value)]) {
    out.push('{');
    for (place, (key, value)) in entries.iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        scalar::text(out, key, Place::Key);
        out.push_str(": ");
        flow(out, value);
    }
    out.push('}');
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::value::map;
    use crate::store::parse;
    use proptest::prelude::*;

    #[test]
    fn the_shape_is_stable() {
        let value = map([
            ("title", Some(Value::str("Bring the README up to date"))),
            ("description", Some(Value::str("Two lines,\n  one indented: with a colon\n"))),
            ("needs", Some(Value::List(vec![Value::str("ORCH-009"), Value::str("7")]))),
            (
                "long",
                Some(Value::List(vec![
                    Value::str("a criterion that takes more than forty bytes to say"),
                    Value::str("b"),
                ])),
            ),
            (
                "retry",
                Some(map([("max_attempts", Some(Value::Int(3))), ("jitter", Some(Value::Float(1.0)))])),
            ),
            ("run", Some(map([("agent", Some(Value::str("coding")))]))),
            ("by", Some(Value::str("jq@house: yes"))),
            ("empty", Some(Value::List(vec![]))),
        ]);
        let expected = "\
title: Bring the README up to date
description: |
  Two lines,
    one indented: with a colon
needs: [ORCH-009, \"7\"]
long:
  - a criterion that takes more than forty bytes to say
  - b
retry: {max_attempts: 3, jitter: 1.0}
run:
  agent: coding
by: \"jq@house: yes\"
empty: []
";
        assert_eq!(emit(&value, &["retry"]), expected);
    }

    /// Text that has gone wrong in some YAML writer before, and any other text.
    pub fn nasty() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(""),
            Just(" "),
            Just("\n"),
            Just("\n\n"),
            Just("\t"),
            Just("#"),
            Just(" #"),
            Just(": "),
            Just(":"),
            Just("- "),
            Just("-"),
            Just("? "),
            Just("? "),
            Just("'"),
            Just("\""),
            Just("\\"),
            Just("|"),
            Just(">"),
            Just("&a"),
            Just("*a"),
            Just("!t"),
            Just("%"),
            Just("@"),
            Just("`"),
            Just("["),
            Just("]"),
            Just("{"),
            Just("}"),
            Just(","),
            Just("---"),
            Just("..."),
            Just("<<"),
            Just("null"),
            Just("~"),
            Just("yes"),
            Just("No"),
            Just("true"),
            Just("0x1F"),
            Just("1e3"),
            Just("1_000"),
            Just(".5"),
            Just(".inf"),
            Just("+1"),
            Just("-1"),
            Just("2026-02-08"),
            Just("12:30:45"),
            Just("0o7"),
            Just("\u{85}"),
            Just("\u{2028}"),
            Just("\u{feff}"),
            Just("\u{0}"),
            Just("\u{7f}"),
            Just("\u{202e}"),
            Just("\r"),
            Just("그리고"),
            Just("🦀"),
            Just("a"),
            Just("Z"),
            Just("9"),
            Just("word"),
            Just("="),
            Just("\u{a0}"),
            Just("\u{fffe}"),
        ];
        prop_oneof![
            prop::collection::vec(piece, 0..8).prop_map(|v| v.concat()),
            any::<String>(),
            "[ -~\n]{0,30}",
        ]
    }

    /// Any value that a file may hold. Its floats are decimals of few digits: `serde_json` is exact for
    /// those, and up to one unit in the last place off for others.
    pub fn value() -> impl Strategy<Value = Value> {
        value_with((-1_000_000i32..1_000_000).prop_map(|n| f64::from(n) / 1000.0))
    }

    fn value_with(float: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            float.prop_map(Value::Float),
            nasty().prop_map(Value::Str),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                entries(inner).prop_map(Value::Map),
            ]
        })
    }

    fn entries(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(String, Value)>> {
        let key = nasty().prop_filter("keys are bounded", |k| k.len() <= parse::KEY_MAX);
        prop::collection::vec((key, value), 0..5).prop_map(|mut entries| {
            let mut seen = std::collections::HashSet::new();
            entries.retain(|(key, _)| seen.insert(key.clone()));
            entries
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same_value(
            value in prop_oneof![value(), value_with(prop::num::f64::NORMAL)],
            one_line in any::<bool>(),
        ) {
            let keys: Vec<String> = match &value {
                Value::Map(entries) if one_line => entries.iter().map(|(k, _)| k.clone()).collect(),
                _ => vec![],
            };
            let text = emit(&value, &keys.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert!(text.ends_with('\n'));
            match parse::parse(&text) {
                Ok(read) => prop_assert_eq!(read, value, "{}", text),
                Err(error) => prop_assert!(false, "{error}\n{text}"),
            }
        }
    }
}
