//! Timestamps as text; `chrono` is used here and nowhere else.
//!
//! Written in UTC with milliseconds, always 24 characters; read in any zone and in the shorter forms
//! that people type.

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

use crate::protocol::time::Timestamp;

/// 0000-01-01T00:00:00.000Z: nothing earlier can be written with four digits.
const FIRST: i64 = -62_167_219_200_000;
/// 9999-12-31T23:59:59.999Z.
const LAST: i64 = 253_402_300_799_999;
/// Korean standard time, which has no summer time.
const KST_SECONDS: i32 = 9 * 3600;

const FORMS: [&str; 8] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M",
    "%Y.%m.%d %H:%M:%S%.f",
    "%Y.%m.%d %H:%M",
];
const DATES: [&str; 3] = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"];

/// Writes a moment as `2026-02-08T09:00:00.000Z`; moments outside the years 0 to 9999 are moved to the
/// nearest end.
#[must_use]
pub fn format(at: Timestamp) -> String {
    let clamped = at.0.clamp(FIRST, LAST);
    DateTime::<Utc>::from_timestamp_millis(clamped)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a moment: RFC 3339 in any zone, or without seconds, time or zone (then UTC).
///
/// # Errors
/// A sentence that names the expected form.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    canonical(text).map_or_else(|| in_zone(text, 0), Ok)
}

/// Reads a moment like [`parse`], but takes a time without a zone as Korean time (UTC+9).
///
/// # Errors
/// A sentence that names the expected form.
pub fn parse_kst(text: &str) -> Result<Timestamp, String> {
    in_zone(text, KST_SECONDS)
}

fn in_zone(text: &str, default_zone: i32) -> Result<Timestamp, String> {
    let trimmed = text.trim();
    let moment = zoned(trimmed).or_else(|| local(trimmed, default_zone));
    match moment.map(|m| m.timestamp_millis()) {
        Some(ms) if (FIRST..=LAST).contains(&ms) => Ok(Timestamp(ms)),
        Some(_) => Err(format!("`{}` lies outside the years 0 to 9999", shown(text))),
        None => {
            Err(format!("`{}` is no date; write it like 2026-02-08 or 2026-02-08T09:00:00Z", shown(text)))
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// With a zone: RFC 3339 proper, or `2026-02-08T09:00Z`, `2026-02-08 09:00+09:00`, `2026-02-08 09:00 KST`.
fn zoned(text: &str) -> Option<DateTime<FixedOffset>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment);
    }
    for (name, seconds) in [("KST", KST_SECONDS), ("UTC", 0), ("GMT", 0), ("Z", 0), ("z", 0)] {
        if let Some(rest) = text.strip_suffix(name) {
            return local(rest.trim_end(), seconds);
        }
    }
    FORMS.iter().find_map(|form| {
        DateTime::parse_from_str(text, &format!("{form}%:z"))
            .or_else(|_| DateTime::parse_from_str(text, &format!("{form} %:z")))
            .or_else(|_| DateTime::parse_from_str(text, &format!("{form}%z")))
            .ok()
    })
}

fn local(text: &str, zone: i32) -> Option<DateTime<FixedOffset>> {
    let naive =
        FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).or_else(|| {
            DATES.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok()?.and_hms_opt(0, 0, 0))
        })?;
    naive.and_local_timezone(FixedOffset::east_opt(zone)?).single()
}

/// The one form that orch itself writes, read without the general machinery: a queue of 100,000 tasks
/// holds a million of them.
fn canonical(text: &str) -> Option<Timestamp> {
    let b: &[u8; 24] = text.as_bytes().try_into().ok()?;
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if shape.iter().any(|(place, byte)| b[*place] != *byte) {
        return None;
    }
    let number = |from: usize, to: usize| {
        b[from..to].iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)?;
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> String {
        parse(text).map_or_else(|e| e, format)
    }

    #[test]
    fn every_form_that_people_type_is_read() {
        for text in [
            "2026-02-08T09:00:00.000Z",
            "2026-02-08T09:00:00Z",
            "2026-02-08T18:00:00+09:00",
            "2026-02-08 09:00",
            "2026-02-08T09:00",
            "2026-02-08T09:00Z",
            "2026-02-08 09:00:00",
            "2026-02-08 18:00+09:00",
            "2026-02-08 18:00 +0900",
            "2026-02-08 18:00 KST",
            "2026-02-08 09:00 UTC",
            "2026/02/08 09:00",
        ] {
            assert_eq!(read(text), "2026-02-08T09:00:00.000Z", "{text}");
        }
        assert_eq!(read("2026-02-08"), "2026-02-08T00:00:00.000Z");
        assert_eq!(read("2026-02-08T09:00:00.25Z"), "2026-02-08T09:00:00.250Z");
    }

    #[test]
    fn korean_time_is_nine_hours_ahead_unless_a_zone_says_otherwise() {
        assert_eq!(parse_kst("2026-02-08 18:00").map(format).as_deref(), Ok("2026-02-08T09:00:00.000Z"));
        assert_eq!(parse_kst("2026-02-08").map(format).as_deref(), Ok("2026-02-07T15:00:00.000Z"));
        assert_eq!(parse_kst("2026-02-08T09:00:00Z").map(format).as_deref(), Ok("2026-02-08T09:00:00.000Z"));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in [
            "",
            "tomorrow",
            "2026-02-30",
            "2026-13-01",
            "2026-02-08T25:00:00.000Z",
            "12026-02-08",
            "09:00",
            "1",
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was read as {}", read(bad));
        }
    }

    #[test]
    fn moments_beyond_four_digit_years_are_written_as_the_last_one() {
        assert_eq!(format(Timestamp(i64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(format(Timestamp(i64::MIN)), "0000-01-01T00:00:00.000Z");
    }

    proptest! {
        #[test]
        fn every_writable_moment_survives(ms in FIRST..=LAST) {
            let text = format(Timestamp(ms));
            prop_assert_eq!(text.len(), 24);
            prop_assert_eq!(canonical(&text), Some(Timestamp(ms)));
            prop_assert_eq!(in_zone(&text, 0), Ok(Timestamp(ms)));
        }
    }
}
