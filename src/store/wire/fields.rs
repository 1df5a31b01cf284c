//! Reading maps field by field, and writing them with or without defaults.

use std::time::Duration;

use super::{Step, WireError};
use crate::protocol::id::TaskId;
use crate::protocol::time::{Timestamp, format_span, parse_span};
use crate::protocol::value::Value;
use crate::store::{nearest, time};

/// Most fields of one map that is read field by field.
const FIELDS_MAX: usize = 120;
/// Numbers from here on are not exact in JSON programs that know only floating point.
const EXACT: i64 = 1 << 53;

/// The fields of one map; each is taken once, and what remains at the end is unknown.
pub(super) struct Fields<'v> {
    entries: &'v [(String, Value)],
    taken: u128,
    /// Where the next field probably is: files keep the canonical order.
    cursor: usize,
    asked: Vec<&'static str>,
}

impl<'v> Fields<'v> {
    pub(super) fn of(value: &'v Value) -> Result<Self, WireError> {
        let Value::Map(entries) = value else {
            return Err(WireError::new(format!("expected a map, found {}", value.kind())));
        };
        if entries.len() > FIELDS_MAX {
            return Err(WireError::new(format!("more than {FIELDS_MAX} fields")));
        }
        Ok(Fields { entries, taken: 0, cursor: 0, asked: Vec::with_capacity(24) })
    }

    /// The value under a key; null counts as a value.
    pub(super) fn take(&mut self, key: &'static str) -> Option<&'v Value> {
        self.asked.push(key);
        let count = self.entries.len();
        let at = (0..count).map(|n| (self.cursor + n) % count).find(|at| self.entries[*at].0 == key)?;
        self.cursor = at + 1;
        self.taken |= 1 << at;
        Some(&self.entries[at].1)
    }

    /// A field that may be absent or null.
    pub(super) fn opt<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, WireError>,
    ) -> Result<Option<T>, WireError> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).map_err(|e| e.under(key)),
        }
    }

    /// A field that may be absent, but not null.
    pub(super) fn or_default<T: Default>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.take(key).map_or_else(|| Ok(T::default()), |value| read(value).map_err(|e| e.under(key)))
    }

    /// A field that has to be there.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        match self.take(key) {
            Some(value) => read(value).map_err(|e| e.under(key)),
            None => Err(WireError::new(format!("`{key}` is missing{}", self.mistyped(key)))),
        }
    }

    /// Names the field that may have been meant for the missing one.
    fn mistyped(&self, key: &str) -> String {
        let others = self.rest().map(|(name, _)| name.as_str());
        nearest::nearest(key, others).map(|name| format!("; is `{name}` meant to be it?")).unwrap_or_default()
    }

    /// What nobody has taken.
    pub(super) fn rest(&self) -> impl Iterator<Item = &'v (String, Value)> {
        let taken = self.taken;
        self.entries.iter().enumerate().filter(move |(at, _)| taken & (1 << at) == 0).map(|(_, entry)| entry)
    }

    /// Refuses what nobody has taken; `what` completes "`x` is no field of …".
    pub(super) fn finish(self, what: &str) -> Result<(), WireError> {
        let Some((name, _)) = self.rest().next() else { return Ok(()) };
        let hint = nearest::hint(name, self.asked.iter().copied());
        let shown: String = name.chars().take(60).collect();
        Err(WireError::new(format!("`{shown}` is no field of {what}{hint}")).within(Step::Name(name.clone())))
    }
}

pub(super) fn expected(what: &str, found: &Value) -> WireError {
    let quoted = match found {
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Null if what.starts_with("text") => {
            "; put it in quotes"
        }
        _ => "",
    };
    WireError::new(format!("expected {what}, found {}{quoted}", found.kind()))
}

pub(super) fn text(value: &Value) -> Result<String, WireError> {
    value.as_str().map(str::to_owned).ok_or_else(|| expected("text", value))
}

pub(super) fn flag(value: &Value) -> Result<bool, WireError> {
    match value {
        Value::Bool(yes) => Ok(*yes),
        other => Err(expected("true or false", other)),
    }
}

/// A whole number from 0, below 2^53.
pub(super) fn count(value: &Value) -> Result<u64, WireError> {
    match value {
        Value::Int(number) if (0..EXACT).contains(number) => Ok(number.unsigned_abs()),
        Value::Int(number) => Err(WireError::new(format!("{number} is not between 0 and 2^53"))),
        other => Err(expected("a whole number", other)),
    }
}

/// A whole number from 0 that fits 32 bits.
pub(super) fn small(value: &Value) -> Result<u32, WireError> {
    let number = count(value)?;
    u32::try_from(number).map_err(|_| WireError::new(format!("{number} is too large")))
}

pub(super) fn fraction(value: &Value) -> Result<f64, WireError> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) if number.abs() < EXACT => Ok(*number as f64),
        Value::Int(number) => Err(WireError::new(format!("{number} is too large"))),
        other => Err(expected("a number", other)),
    }
}

pub(super) fn span(value: &Value) -> Result<Duration, WireError> {
    match value {
        Value::Str(text) => parse_span(text).map_err(WireError::new),
        Value::Int(0) => Ok(Duration::ZERO),
        other => Err(expected("a duration like 90s, 15m or 2h", other)),
    }
}

pub(super) fn moment(value: &Value) -> Result<Timestamp, WireError> {
    match value {
        Value::Str(text) => time::parse(text).map_err(WireError::new),
        other => Err(expected("a date like 2026-02-08T09:00:00Z", other)),
    }
}

pub(super) fn task_id(value: &Value) -> Result<TaskId, WireError> {
    match value {
        Value::Str(text) => TaskId::parse(text).map_err(|e| WireError::new(e.to_string())),
        other => Err(expected("text (a task id)", other)),
    }
}

pub(super) fn list<T>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let Value::List(items) = value else { return Err(expected("a list like [a, b]", value)) };
    items.iter().enumerate().map(|(at, item)| read(item).map_err(|e| e.within(Step::Index(at)))).collect()
}

pub(super) fn texts(value: &Value) -> Result<Vec<String>, WireError> {
    list(value, text)
}

/// A list that means a set: sorted, without duplicates.
pub(super) fn set<T: Ord>(
    value: &Value,
    read: impl Fn(&Value) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut items = list(value, read)?;
    items.sort_unstable();
    items.dedup();
    Ok(items)
}

/// A map that is being written.
pub(super) struct Out {
    entries: Vec<(String, Value)>,
    full: bool,
}

impl Out {
    /// With `full`, fields at their default are written, too.
    pub(super) fn new(full: bool) -> Self {
        Out { entries: Vec::with_capacity(16), full }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    pub(super) fn put(&mut self, key: &str, value: impl Into<Wire>) {
        self.entries.push((key.to_owned(), value.into().0));
    }

    /// A field whose default is null.
    pub(super) fn maybe<T: Into<Wire>>(&mut self, key: &str, value: Option<T>) {
        match value {
            Some(value) => self.put(key, value),
            None if self.full => self.put(key, Value::Null),
            None => {}
        }
    }

    /// A field that is written in any case, as null if there is none.
    pub(super) fn nullable<T: Into<Wire>>(&mut self, key: &str, value: Option<T>) {
        self.put(key, value.map_or(Value::Null, |value| value.into().0));
    }

    /// A field that is left out if it is at its default.
    pub(super) fn unless(&mut self, key: &str, is_default: bool, value: impl Into<Wire>) {
        if self.full || !is_default {
            self.put(key, value);
        }
    }

    pub(super) fn done(self) -> Value {
        Value::Map(self.entries)
    }
}

/// Anything that has one way to be written.
pub(super) struct Wire(pub(super) Value);

impl From<Value> for Wire {
    fn from(value: Value) -> Self {
        Wire(value)
    }
}

impl From<&str> for Wire {
    fn from(text: &str) -> Self {
        Wire(Value::str(text))
    }
}

impl From<&String> for Wire {
    fn from(text: &String) -> Self {
        Wire(Value::Str(text.clone()))
    }
}

impl From<&TaskId> for Wire {
    fn from(id: &TaskId) -> Self {
        Wire(Value::str(id.as_str()))
    }
}

impl From<bool> for Wire {
    fn from(yes: bool) -> Self {
        Wire(Value::Bool(yes))
    }
}

impl From<u64> for Wire {
    fn from(number: u64) -> Self {
        Wire(Value::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Wire {
    fn from(number: u32) -> Self {
        Wire(Value::Int(number.into()))
    }
}

impl From<f64> for Wire {
    fn from(number: f64) -> Self {
        Wire(Value::Float(number))
    }
}

impl From<Duration> for Wire {
    fn from(span: Duration) -> Self {
        Wire(Value::Str(format_span(span)))
    }
}

impl From<Timestamp> for Wire {
    fn from(at: Timestamp) -> Self {
        Wire(Value::Str(time::format(at)))
    }
}

impl From<&Vec<String>> for Wire {
    fn from(items: &Vec<String>) -> Self {
        Wire(Value::List(items.iter().map(Value::str).collect()))
    }
}

impl From<&Vec<TaskId>> for Wire {
    fn from(items: &Vec<TaskId>) -> Self {
        Wire(Value::List(items.iter().map(|id| Value::str(id.as_str())).collect()))
    }
}
