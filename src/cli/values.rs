//! Parsers of option values: ids, spans, moments. Each gives a sentence that clap puts after the option.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::time::{Timestamp, parse_span};
use crate::store::time;

/// A task id.
pub fn id(text: &str) -> Result<TaskId, String> {
    TaskId::parse(text).map_err(|why| why.to_string())
}

/// An entry of a list of ids; an empty one says that the list is to be empty.
pub fn id_or_nothing(text: &str) -> Result<Option<TaskId>, String> {
    if is_nothing(text) { Ok(None) } else { id(text).map(Some) }
}

/// A span like `15m`.
pub fn span(text: &str) -> Result<Duration, String> {
    parse_span(text)
}

/// A moment, or how far ahead it lies; resolved when the clock is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// None: an existing date is removed.
    Never,
    /// This moment.
    At(Timestamp),
    /// This far from now.
    In(Duration),
}

impl When {
    /// The moment that is meant.
    #[must_use]
    pub fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            When::Never => None,
            When::At(at) => Some(at),
            When::In(span) => Some(now.after(span)),
        }
    }
}

/// A moment in any zone (UTC where none is named), `+2h` for two hours from now, `none` to remove a date.
pub fn when(text: &str) -> Result<When, String> {
    when_by(text, time::parse)
}

/// The same, but Korean time where no zone is named.
pub fn when_kst(text: &str) -> Result<When, String> {
    when_by(text, time::parse_kst)
}

fn when_by(text: &str, parse: fn(&str) -> Result<Timestamp, String>) -> Result<When, String> {
    match text.strip_prefix('+') {
        _ if is_nothing(text) => Ok(When::Never),
        Some(ahead) => parse_span(ahead).map(When::In),
        None => parse(text).map(When::At).map_err(|why| match parse_span(text) {
            Ok(_) => format!("`{text}` is a span, no moment; +{text} is that far from now"),
            Err(_) => format!("{why}, or +2h for two hours from now"),
        }),
    }
}

/// Whether a value says that there is to be none.
#[must_use]
pub fn is_nothing(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_absolute_relative_or_none() {
        let now = Timestamp(1_000);
        assert_eq!(when("+2s").map(|w| w.resolve(now)), Ok(Some(Timestamp(3_000))));
        assert_eq!(when("1970-01-01T00:00:05Z").map(|w| w.resolve(now)), Ok(Some(Timestamp(5_000))));
        assert_eq!(when("none").map(|w| w.resolve(now)), Ok(None));
        assert_eq!(when_kst("1970-01-01 09:00:05").map(|w| w.resolve(now)), Ok(Some(Timestamp(5_000))));
        assert_eq!(when("2h"), Err("`2h` is a span, no moment; +2h is that far from now".to_owned()));
        assert!(when("tomorrow").is_err() && when("+soon").is_err());
    }
}
