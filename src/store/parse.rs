//! YAML bytes → [`Value`], behind bounds; `serde_yaml` is used here and nowhere else.
//!
//! That crate is no longer developed. It stands behind this one file, so that exchanging it touches
//! one file. What orch itself wrote is usually read by [`super::canon`] instead; this parser reads what
//! people wrote, and finds the place of an error.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::prescan;
use crate::protocol::value::Value;

/// Largest file, in bytes.
pub const FILE_MAX: usize = 1024 * 1024;
/// Deepest nesting of maps and lists.
pub const DEPTH_MAX: usize = 16;
/// Longest text, in bytes.
pub const TEXT_MAX: usize = 64 * 1024;
/// Longest key, in bytes: parsers of YAML read at most 1,024 characters ahead for the colon of a key.
pub const KEY_MAX: usize = 200;
/// Most values (keys included) in one file.
pub const NODES_MAX: usize = 50_000;

/// What is wrong with a YAML text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct YamlError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// One step on the way to a place inside a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into the value under a key.
    Key(String),
    /// To the key itself; always the last step.
    Name(String),
    /// Into an element of a list, from 0.
    Index(usize),
}

/// Bytes as text: UTF-8, a byte order mark is removed, at most [`FILE_MAX`] bytes.
///
/// # Errors
/// The bound that is broken, or the place of the first byte that is no UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, YamlError> {
    if bytes.len() > FILE_MAX {
        let message = format!("the file has {} bytes; at most {FILE_MAX} are read", bytes.len());
        return Err(YamlError { line: 1, column: 1, message });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        let (line, column) = prescan::place(good, good.len());
        YamlError { line, column, message: "the file is not valid UTF-8 text".to_owned() }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Parses one YAML document.
///
/// # Errors
/// The first error, with its place.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    prescan::check(text)?;
    let bounds = Bounds { left: Cell::new(text.len().saturating_mul(2)), ..Bounds::default() };
    let seed = Node { bounds: &bounds, depth: 0 };
    seed.deserialize(serde_yaml::Deserializer::from_str(text)).map_err(|error| {
        let message = bounds.refused.take().unwrap_or_else(|| wording(&error));
        at_place(text, &error, message)
    })
}

/// Line and column, from 1, of the place to which `path` leads; as near as the text goes.
#[must_use]
pub fn locate(text: &str, path: &[Step]) -> (usize, usize) {
    match (Walk { path }).deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(()) => (1, 1),
        Err(error) => {
            let found = at_place(text, &error, String::new());
            (found.line, found.column)
        }
    }
}

fn at_place(text: &str, error: &serde_yaml::Error, message: String) -> YamlError {
    let (line, column) = match error.location() {
        // Behind a last line without a line feed the library counts one more, which nobody has.
        Some(place) if place.line() <= text.split('\n').count() => {
            (place.line().max(1), place.column().max(1))
        }
        _ => prescan::place(text, text.trim_end().len()),
    };
    YamlError { line, column, message }
}

/// The library's message without the place that it repeats.
fn wording(error: &serde_yaml::Error) -> String {
    let full = error.to_string();
    let cut = full.find(" at line ").map_or(full.as_str(), |end| &full[..end]);
    format!("this is not valid YAML: {cut}")
}

#[derive(Default)]
struct Bounds {
    nodes: Cell<usize>,
    /// Bytes of text that may still come. No escape grows to more than twice its length, so only aliases that the look
    /// beforehand took for something else bring more than the file has.
    left: Cell<usize>,
    /// Our own message; the library's error only carries the place.
    refused: RefCell<Option<String>>,
}

impl Bounds {
    fn refuse<E: serde::de::Error>(&self, message: impl Into<String>) -> E {
        *self.refused.borrow_mut() = Some(message.into());
        E::custom("refused")
    }

    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        self.nodes.set(self.nodes.get() + 1);
        if self.nodes.get() > NODES_MAX {
            return Err(self.refuse(format!("more than {NODES_MAX} values in one file")));
        }
        Ok(())
    }

    fn count_text<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        self.count()?;
        match self.left.get().checked_sub(text.len()) {
            Some(left) => self.left.set(left),
            None => return Err(self.refuse("the file repeats its texts; aliases (`*`) are not allowed")),
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'b> {
    bounds: &'b Bounds,
    depth: usize,
}

impl Node<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return Err(self.bounds.refuse(format!("nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(Node { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.bounds.count()?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        // serde_yaml says so of a text without a document; a null is a unit.
        Err(self.bounds.refuse("the file is empty"))
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Value, E> {
        self.bounds.count()?;
        Ok(Value::Bool(v))
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Value, E> {
        self.bounds.count()?;
        Ok(Value::Int(v))
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
        self.bounds.count()?;
        i64::try_from(v).map(Value::Int).map_err(|_| self.bounds.refuse("the number is too large"))
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<Value, E> {
        Err(self.bounds.refuse("the number is too large"))
    }

    fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<Value, E> {
        Err(self.bounds.refuse("the number is too large"))
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        self.bounds.count()?;
        if !v.is_finite() {
            return Err(self.bounds.refuse("infinity and NaN are not allowed"));
        }
        Ok(Value::Float(v))
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.bounds.count_text(v)?;
        if v.len() > TEXT_MAX {
            let message = format!("a text of {} bytes; at most {TEXT_MAX} are allowed", v.len());
            return Err(self.bounds.refuse(message));
        }
        Ok(Value::Str(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        self.bounds.count()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        self.bounds.count()?;
        let mut map: Vec<(String, Value)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = entries.next_key_seed(Key { bounds: self.bounds, seen: &mut seen })? {
            map.push((key, entries.next_value_seed(inner)?));
        }
        Ok(Value::Map(map))
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(self.bounds.refuse("tags (`!`) are not allowed; put the text in quotes if it is text"))
    }
}

/// A key: text that its map does not have yet.
struct Key<'b, 's> {
    bounds: &'b Bounds,
    seen: &'s mut std::collections::HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<String, E> {
        self.bounds.count_text(v)?;
        if v.len() > KEY_MAX {
            return Err(self
                .bounds
                .refuse(format!("a key of {} bytes; at most {KEY_MAX} are allowed", v.len())));
        }
        if !self.seen.insert(v.to_owned()) {
            return Err(self.bounds.refuse(format!("the key `{v}` stands here for the second time")));
        }
        Ok(v.to_owned())
    }
}

/// Follows a path and fails where it ends: the library adds the place to the error.
struct Walk<'p> {
    path: &'p [Step],
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn here<T, E: serde::de::Error>() -> Result<T, E> {
        Err(E::custom("here"))
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Self::here()
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Self::here()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Self::here()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Self::here()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Self::here()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Self::here()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Some((Step::Index(wanted), rest)) = self.path.split_first() else { return Self::here() };
        for _ in 0..*wanted {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Self::here();
            }
        }
        items.next_element_seed(Walk { path: rest })?;
        Self::here()
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (wanted, rest, stop) = match self.path.split_first() {
            Some((Step::Key(key), rest)) => (key, rest, false),
            Some((Step::Name(key), rest)) => (key, rest, true),
            _ => return Self::here(),
        };
        while let Some(found) = entries.next_key_seed(Wanted { key: wanted, stop })? {
            if found {
                entries.next_value_seed(Walk { path: rest })?;
                return Self::here();
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Self::here()
    }
}

/// Compares a key; with `stop` it fails at the key that is wanted.
struct Wanted<'k> {
    key: &'k str,
    stop: bool,
}

impl<'de> DeserializeSeed<'de> for Wanted<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Wanted<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<bool, E> {
        if v == self.key && self.stop {
            return Err(E::custom("here"));
        }
        Ok(v == self.key)
    }
}

#[cfg(test)]
mod tests;
