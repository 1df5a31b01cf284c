//! Time as the protocol sees it: a number somebody else read, and spans with units.
//!
//! Nothing here reads a clock. Timestamps in files are for people; no decision about who may act
//! compares two of them from different machines.

use std::time::Duration;

/// A wall-clock moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment `span` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The longest span that settings and tasks may name: ten years.
pub const SPAN_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The span times a factor; saturates at the longest span instead of panicking, whatever the factor is.
#[must_use]
pub fn scale(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Parses spans like `90s`, `15m`, `1h30m`, `2d`, `250ms`; `0` needs no unit.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write a number with a unit, like 90s, 15m, 2h or 30d");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let unit = &rest[digits..digits + letters];
        let factor = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
        total = number.checked_mul(factor).and_then(|ms| total.checked_add(ms)).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    let span = Duration::from_millis(total);
    if span > SPAN_MAX {
        return Err(format!("`{text}` is longer than ten years"));
    }
    Ok(span)
}

/// Writes a span in the shortest exact form that [`parse_span`] reads: `15m`, `1h30m`, `250ms`.
#[must_use]
pub fn format_span(span: Duration) -> String {
    let mut left = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (name, factor) in UNITS.iter().rev() {
        if left >= *factor {
            text.push_str(&format!("{}{name}", left / factor));
            left %= factor;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_survive_a_round_trip() {
        for text in ["90s", "15m", "2h", "1h30m", "250ms", "30d", "1d1h1m1s1ms"] {
            let span = parse_span(text).unwrap_or_default();
            assert_eq!(parse_span(&format_span(span)), Ok(span), "{text}");
        }
        assert_eq!(format_span(Duration::from_secs(900)), "15m");
    }

    #[test]
    fn spans_without_a_unit_or_beyond_ten_years_are_refused() {
        for bad in ["", "5", "m", "5 m", "-1s", "1y", "99999999999d", "4000d1h9", "15minutes"] {
            assert!(parse_span(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
