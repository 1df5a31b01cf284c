//! What every implementation of a seam of [`orch::world`] must do, as statements that are tried one by one: the
//! real ones and the simulated ones run the very same bodies, so a fake cannot drift away from reality.
//!
//! Each body takes a maker and gives the statements that failed, with the reason; an empty list means that the
//! implementation conforms. Every statement gets a thing of its own from the maker.

#[cfg(test)]
mod bite;
pub mod clock;
pub mod disk;
pub mod objects;
pub mod process;
#[cfg(test)]
mod real;
pub mod remote;

use std::fmt::Debug;

/// What a statement gives: nothing, or why it does not hold.
pub type Outcome = Result<(), String>;

/// A sentence and how it is tried.
type Statement<T> = (&'static str, fn(&T) -> Outcome);

/// Tries each statement on a thing of its own.
fn try_all<T>(make: &dyn Fn() -> T, statements: &[Statement<T>]) -> Vec<String> {
    let failed = statements.iter().filter_map(|(sentence, holds)| {
        let why = holds(&make()).err()?;
        Some(format!("{sentence}: {why}"))
    });
    failed.collect()
}

/// Statements that an implementation cannot hold, each with the reason. What is not in such a list is demanded.
pub type Impossible = [(&'static str, &'static str)];

/// What failed beyond such a list; and what stands there although it holds, or is no statement any more.
#[must_use]
pub fn beyond(failed: Vec<String>, listed: &Impossible) -> Vec<String> {
    let about =
        |why: &str, sentence: &str| why.strip_prefix(sentence).is_some_and(|rest| rest.starts_with(": "));
    let stale = listed.iter().filter(|(sentence, _)| !failed.iter().any(|why| about(why, sentence)));
    let stale: Vec<String> = stale
        .map(|(sentence, _)| format!("{sentence}: it is listed as impossible, and does not fail"))
        .collect();
    let unlisted = failed.into_iter().filter(|why| !listed.iter().any(|(sentence, _)| about(why, sentence)));
    unlisted.chain(stale).collect()
}

/// Holds if the condition does.
fn ensure(condition: bool, why: &str) -> Outcome {
    if condition { Ok(()) } else { Err(why.to_owned()) }
}

/// Holds if both are the same.
fn same<T: PartialEq + Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?} instead of {wanted:?}")) }
}

/// The value, or the error in words.
fn fine<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Holds if there was an error.
fn fails<T, E>(what: &str, result: &Result<T, E>) -> Outcome {
    if result.is_err() { Ok(()) } else { Err(format!("{what} succeeded")) }
}
