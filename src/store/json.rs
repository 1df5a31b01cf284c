//! [`Value`] ↔ `serde_json`, with the order of keys kept.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};
use serde_json::{Map, Number, Value as Json};

use super::parse::{DEPTH_MAX, KEY_MAX, TEXT_MAX};
use crate::protocol::value::Value;

/// A value as JSON. Numbers that JSON cannot hold become null.
#[must_use]
pub fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(yes) => Json::Bool(*yes),
        Value::Int(number) => Json::Number((*number).into()),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Str(text) => Json::String(text.clone()),
        Value::List(items) => Json::Array(items.iter().map(to_json).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(k, v)| (k.clone(), to_json(v))).collect::<Map<_, _>>())
        }
    }
}

/// A value as compact JSON text.
#[must_use]
pub fn to_text(value: &Value) -> String {
    // Neither the keys nor the memory that is written to can fail.
    serde_json::to_string(&Plain(value)).unwrap_or_default()
}

/// JSON text as a value; `None` if it is no JSON or exceeds the bounds of files.
#[must_use]
pub fn from_text(text: &str) -> Option<Value> {
    let mut source = serde_json::Deserializer::from_str(text);
    let value = Node { depth: 0 }.deserialize(&mut source).ok()?;
    source.end().ok().map(|()| value)
}

/// A value that is written without the detour over a tree of the library's own.
struct Plain<'v>(&'v Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => out.serialize_unit(),
            Value::Bool(yes) => out.serialize_bool(*yes),
            Value::Int(number) => out.serialize_i64(*number),
            Value::Float(number) => out.serialize_f64(*number),
            Value::Str(text) => out.serialize_str(text),
            Value::List(items) => out.collect_seq(items.iter().map(Plain)),
            Value::Map(entries) => out.collect_map(entries.iter().map(|(key, value)| (key, Plain(value)))),
        }
    }
}

/// Reads one value of a document, within the bounds of files.
#[derive(Clone, Copy)]
struct Node {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(D::Error::custom("nested too deep"));
        }
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value within the bounds of files")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Value, E> {
        Ok(Value::Bool(yes))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i64::try_from(number).map(Value::Int).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        if number.is_finite() { Ok(Value::Float(number)) } else { Err(E::custom("no finite number")) }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        bounded(text, TEXT_MAX).map(Value::Str).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Node { depth: self.depth + 1 })? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: Vec<(String, Value)> = Vec::new();
        while let Some(key) = entries.next_key::<String>()? {
            let key = bounded(&key, KEY_MAX).map_err(A::Error::custom)?;
            let value = entries.next_value_seed(Node { depth: self.depth + 1 })?;
            // As everywhere in JSON, the last of two equal keys counts.
            match map.iter_mut().find(|(known, _)| *known == key) {
                Some((_, slot)) => *slot = value,
                None => map.push((key, value)),
            }
        }
        Ok(Value::Map(map))
    }
}

/// JSON as a value, within the bounds of files.
///
/// # Errors
/// A sentence that names the bound that is broken.
pub fn from_json(json: &Json) -> Result<Value, String> {
    convert(json, 0)
}

fn convert(json: &Json, depth: usize) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err(format!("nested more than {DEPTH_MAX} levels deep"));
    }
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::Number(number) => number_value(number)?,
        Json::String(text) => Value::Str(bounded(text, TEXT_MAX)?),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| convert(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Json::Object(entries) => Value::Map(
            entries
                .iter()
                .map(|(k, v)| Ok((bounded(k, KEY_MAX)?, convert(v, depth + 1)?)))
                .collect::<Result<_, String>>()?,
        ),
    })
}

fn number_value(number: &Number) -> Result<Value, String> {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(whole), _, _) => Ok(Value::Int(whole)),
        (None, None, Some(float)) if float.is_finite() => Ok(Value::Float(float)),
        _ => Err(format!("the number {number} is too large")),
    }
}

fn bounded(text: &str, max: usize) -> Result<String, String> {
    if text.len() > max {
        return Err(format!("a text of {} bytes; at most {max} are allowed", text.len()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_survive_a_round_trip_through_json_text(value in crate::store::emit::tests::value()) {
            let text = to_json(&value).to_string();
            prop_assert_eq!(&to_text(&value), &text);
            prop_assert_eq!(from_text(&text), Some(value.clone()));
            let json: Json = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(from_json(&json), Ok(value));
        }
    }

    #[test]
    fn nesting_and_lengths_are_bounded() {
        let deep = (0..20).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
        assert!(from_json(&deep).is_err() && from_text(&deep.to_string()).is_none());
        assert!(from_json(&Json::String("x".repeat(TEXT_MAX + 1))).is_err());
        assert!(from_json(&serde_json::json!(u64::MAX)).is_err());
    }
}
