//! Names that appear in files and refs, each parsed once and valid ever after.
//!
//! Every name that reaches a path, a ref or an argument vector passes through one of these parsers, so
//! that no other room has to think about `..`, `.lock` or a leading dash.

use std::fmt;

/// Longest task id, in bytes.
pub const TASK_ID_MAX: usize = 64;
/// Longest session or author name, in bytes.
pub const NAME_MAX: usize = 200;

/// Why a name was refused; the text completes "`x` is not a task id: …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: {reason}")]
pub struct BadName {
    /// What the name was meant to be.
    pub what: &'static str,
    /// The offending text, cut to a printable length.
    pub given: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl BadName {
    fn new(what: &'static str, given: &str, reason: &'static str) -> Self {
        let given = given.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
        BadName { what, given, reason }
    }
}

/// The name of a task: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, without `..`, not ending in `.` or `.lock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(String);

impl TaskId {
    /// Parses a task id.
    ///
    /// # Errors
    /// [`BadName`] with the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bad = |reason| Err(BadName::new("task id", text, reason));
        if text.is_empty() || text.len() > TASK_ID_MAX {
            return bad("it must have 1 to 64 characters");
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return bad("it must begin with a letter or a digit");
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            return bad("only letters, digits, `.`, `_` and `-` are allowed");
        }
        let lower = text.to_ascii_lowercase();
        if text.contains("..") || text.ends_with('.') || lower.ends_with(".lock") {
            return bad("`..`, a final `.` and a final `.lock` are reserved by git");
        }
        Ok(TaskId(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form under which two ids are the same name: ids are unique without regard to case.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The alphabet of ULIDs (Crockford base 32).
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The random identity of one operation: a ULID, 26 characters.
///
/// Two agents never produce the same object, even with the same content in the same millisecond,
/// because each operation carries 80 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OpId(u128);

impl OpId {
    /// Builds an id from a wall-clock time (milliseconds since 1970, low 48 bits used) and 80 random bits.
    #[must_use]
    pub fn new(at_ms: i64, random: [u8; 10]) -> Self {
        let mut bytes = [0u8; 16];
        bytes[..6].copy_from_slice(&at_ms.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        OpId(u128::from_be_bytes(bytes))
    }

    /// Parses the 26-character form.
    ///
    /// # Errors
    /// [`BadName`] when the text is not a ULID.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        let bad = |reason| BadName::new("operation id", text, reason);
        if text.len() != 26 {
            return Err(bad("a ULID has 26 characters"));
        }
        let mut value: u128 = 0;
        for (position, byte) in text.bytes().enumerate() {
            let digit = CROCKFORD
                .iter()
                .position(|c| *c == byte)
                .ok_or_else(|| bad("a ULID has only digits and capital letters without I, L, O, U"))?;
            if position == 0 && digit > 7 {
                return Err(bad("it is larger than 128 bits"));
            }
            value = (value << 5) | digit as u128;
        }
        Ok(OpId(value))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 26];
        for (place, slot) in text.iter_mut().rev().enumerate() {
            *slot = CROCKFORD[(self.0 >> (5 * place)) as usize & 31];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Checks the name of a session, author or machine: printable, 1 to 200 bytes, no line breaks.
///
/// # Errors
/// [`BadName`] with the rule that the text breaks.
pub fn check_name(what: &'static str, text: &str) -> Result<(), BadName> {
    if text.trim().is_empty() || text.len() > NAME_MAX {
        return Err(BadName::new(what, text, "it must have 1 to 200 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(BadName::new(what, text, "it contains control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_that_git_or_a_path_would_misread_are_refused() {
        for bad in ["", "-a", ".a", "a..b", "a.", "a.lock", "A.LOCK", "a/b", "a b", "a\nb", "ä", "a~b", "a:b"]
        {
            assert!(TaskId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(TaskId::parse(&"a".repeat(65)).is_err());
        for good in ["a", "ORCH-010", "x.y_z-1", "0"] {
            assert_eq!(TaskId::parse(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn ulids_survive_a_round_trip_and_sort_by_time() {
        let early = OpId::new(1_000, [0xff; 10]);
        let late = OpId::new(1_001, [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(OpId::parse(&early.to_string()), Ok(early));
        assert!(OpId::parse("8ZZZZZZZZZZZZZZZZZZZZZZZZZ").is_err());
    }
}
