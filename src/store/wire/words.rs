//! The words that stand for the variants of the protocol's enums.

use super::WireError;
use super::fields::{Wire, expected};
use crate::protocol::op::{Role, Verdict};
use crate::protocol::task::{OnNeedFailed, Priority, Reason, Review, Status};
use crate::protocol::value::Value;
use crate::store::nearest;

/// A type whose every value is one word.
pub trait Word: Copy + PartialEq + 'static {
    /// All of them, in the order in which they are listed in messages.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for a value.
    #[must_use]
    fn word(self) -> &'static str {
        // Every table names every variant; a test checks it.
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("?", |(word, _)| word)
    }

    /// The value for a word.
    ///
    /// # Errors
    /// "`P9` is none of P0, P1, P2, P3", with the nearest one named.
    fn from_word(text: &str) -> Result<Self, String> {
        let found = Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            nearest::none_of(text, &words)
        })
    }
}

pub(super) fn word<T: Word>(value: &Value) -> Result<T, WireError> {
    match value {
        Value::Str(text) => T::from_word(text).map_err(WireError::new),
        other => {
            let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
            Err(expected(&format!("one of {}", words.join(", ")), other))
        }
    }
}

impl<T: Word> From<T> for Wire {
    fn from(value: T) -> Self {
        Wire(Value::str(value.word()))
    }
}

impl Word for Priority {
    const WORDS: &'static [(&'static str, Self)] =
        &[("P0", Priority::P0), ("P1", Priority::P1), ("P2", Priority::P2), ("P3", Priority::P3)];
}

impl Word for Status {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("pending", Status::Pending),
        ("in_progress", Status::InProgress),
        ("in_review", Status::InReview),
        ("done", Status::Done),
        ("failed", Status::Failed),
        ("blocked", Status::Blocked),
        ("cancelled", Status::Cancelled),
    ];
}

impl Word for OnNeedFailed {
    const WORDS: &'static [(&'static str, Self)] =
        &[("block", OnNeedFailed::Block), ("skip", OnNeedFailed::Skip), ("run", OnNeedFailed::Run)];
}

impl Word for Review {
    const WORDS: &'static [(&'static str, Self)] = &[("none", Review::None), ("required", Review::Required)];
}

impl Word for Role {
    const WORDS: &'static [(&'static str, Self)] =
        &[("author", Role::Author), ("reviewer", Role::Reviewer), ("source", Role::Source)];
}

impl Word for Verdict {
    const WORDS: &'static [(&'static str, Self)] =
        &[("PASS", Verdict::Pass), ("RETRY", Verdict::Retry), ("BLOCK", Verdict::Block)];
}

impl Word for Reason {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("success", Reason::Success),
        ("error", Reason::Error),
        ("timeout", Reason::Timeout),
        ("stalled", Reason::Stalled),
        ("budget_exceeded", Reason::BudgetExceeded),
        ("policy_blocked", Reason::PolicyBlocked),
        ("spawn_failed", Reason::SpawnFailed),
        ("lease_lost", Reason::LeaseLost),
        ("cancelled", Reason::Cancelled),
        ("dep_failed", Reason::DepFailed),
        ("review_blocked", Reason::ReviewBlocked),
        ("rate_limited", Reason::RateLimited),
        ("shutdown", Reason::Shutdown),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_and_reason_has_its_word() {
        assert!(Status::ALL.iter().all(|s| Status::from_word(s.word()) == Ok(*s)));
        assert!(Reason::ALL.iter().all(|r| Reason::from_word(r.word()) == Ok(*r)));
    }

    #[test]
    fn an_unknown_word_is_answered_with_the_known_ones() {
        assert_eq!(
            Priority::from_word("P9"),
            Err("`P9` is none of P0, P1, P2, P3; did you mean `P0`?".to_owned())
        );
        assert!(Status::from_word("in progress").is_err_and(|e| e.contains("did you mean `in_progress`?")));
    }
}
