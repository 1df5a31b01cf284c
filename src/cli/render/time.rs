//! Moments and spans in the words of people.

use std::time::Duration;

use crate::protocol::time::{Timestamp, format_span};
use crate::store::time;

/// A moment as `2026-02-08 09:00:00Z`.
#[must_use]
pub fn moment(at: Timestamp) -> String {
    let text = time::format(at);
    format!("{}Z", text[..text.len() - 5].replace('T', " "))
}

/// A moment with its distance: `2026-02-08 09:00:00Z (in 2h)`.
#[must_use]
pub fn moment_and_distance(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", moment(at), distance(at, now))
}

/// How far away a moment is: `in 2h`, `3d ago`, `now`.
#[must_use]
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (at.since(now), now.since(at));
    if ahead >= Duration::from_secs(1) {
        format!("in {}", rough(ahead))
    } else if behind >= Duration::from_secs(1) {
        format!("{} ago", rough(behind))
    } else {
        "now".to_owned()
    }
}

/// A span in its two largest units: `2h5m`, `41s`, `3d4h`.
#[must_use]
pub fn rough(span: Duration) -> String {
    let seconds = span.saturating_add(Duration::from_millis(500)).as_secs();
    let unit = [86_400, 3_600, 60].into_iter().find(|unit| seconds >= *unit);
    let kept = match unit {
        Some(86_400) => seconds / 3_600 * 3_600,
        Some(3_600) => seconds / 60 * 60,
        _ => seconds,
    };
    format_span(Duration::from_secs(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_keep_their_two_largest_units() {
        let rough_s = |seconds| rough(Duration::from_secs(seconds));
        assert_eq!(rough_s(41), "41s");
        assert_eq!(rough_s(125), "2m5s");
        assert_eq!(rough_s(7_505), "2h5m");
        assert_eq!(rough_s(273_999), "3d4h");
        assert_eq!(rough_s(0), "0s");
    }

    #[test]
    fn distance_names_the_direction() {
        let now = Timestamp(1_000_000);
        assert_eq!(distance(Timestamp(1_060_000), now), "in 1m");
        assert_eq!(distance(Timestamp(940_000), now), "1m ago");
        assert_eq!(distance(now, now), "now");
        assert_eq!(moment(Timestamp(0)), "1970-01-01 00:00:00Z");
    }
}
