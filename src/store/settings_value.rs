//! Small readers for the values of settings, with messages that say what was expected.

use std::time::Duration;

use super::wire::Word;
use crate::protocol::time::parse_span;
use crate::protocol::value::Value;

pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("expected text, found {}", value.kind()))
}

pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    list(value)?.iter().map(|item| text(item).map(str::to_owned)).collect()
}

pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(yes) => Ok(*yes),
        other => Err(format!("expected true or false, found {}", other.kind())),
    }
}

/// A whole number between both ends, inclusive.
pub(super) fn count(value: &Value, min: u32, max: u32) -> Result<u32, String> {
    let wrong = || format!("expected a whole number from {min} to {max}");
    let Value::Int(number) = value else { return Err(format!("{}, found {}", wrong(), value.kind())) };
    u32::try_from(*number).ok().filter(|n| (min..=max).contains(n)).ok_or_else(wrong)
}

/// A number between both ends, inclusive.
pub(super) fn fraction(value: &Value, min: f64, max: f64) -> Result<f64, String> {
    let number = match value {
        Value::Int(number) => *number as f64,
        Value::Float(number) => *number,
        other => return Err(format!("expected a number from {min} to {max}, found {}", other.kind())),
    };
    if (min..=max).contains(&number) {
        Ok(number)
    } else {
        Err(format!("{number} is not between {min} and {max}"))
    }
}

pub(super) fn span(value: &Value) -> Result<Duration, String> {
    match value {
        Value::Str(text) => parse_span(text),
        Value::Int(0) => Ok(Duration::ZERO),
        other => Err(format!("expected a duration like 90s, 15m or 2h, found {}", other.kind())),
    }
}

/// At least one duration.
pub(super) fn spans(value: &Value) -> Result<Vec<Duration>, String> {
    match list(value)? {
        [] => Err("expected at least one duration".to_owned()),
        items if items.len() > 100 => Err("more than 100 durations".to_owned()),
        items => items.iter().map(span).collect(),
    }
}

pub(super) fn word<T: Word>(value: &Value) -> Result<T, String> {
    text(value).and_then(T::from_word)
}

fn list(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::List(items) => Ok(items),
        other => Err(format!("expected a list like [a, b], found {}", other.kind())),
    }
}
