//! [`Value`] ↔ `serde_json`, with the order of keys kept.

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
    to_json(value).to_string()
}

/// JSON text as a value; `None` if it is no JSON or exceeds the bounds of files.
#[must_use]
pub fn from_text(text: &str) -> Option<Value> {
    from_json(&serde_json::from_str(text).ok()?).ok()
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
            let json: Json = serde_json::from_str(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(from_json(&json), Ok(value));
        }
    }

    #[test]
    fn nesting_and_lengths_are_bounded() {
        let deep = (0..20).fold(Json::Null, |inner, _| Json::Array(vec![inner]));
        assert!(from_json(&deep).is_err());
        assert!(from_json(&Json::String("x".repeat(TEXT_MAX + 1))).is_err());
        assert!(from_json(&serde_json::json!(u64::MAX)).is_err());
    }
}
