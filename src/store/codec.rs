//! Task files: canonical bytes ↔ [`Task`], with the seal.

use super::parse::{self, YamlError};
use super::seal::{self, Seal};
use super::wire::{self, FORMAT, Form, Step, WireError};
use super::{canon, emit, json};
use crate::protocol::id::TaskId;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Definition, Task};
use crate::protocol::value::Value;

pub use super::parse::FILE_MAX;

/// Maps that are one line in a file, so that a heartbeat is a diff of one line.
const ONE_LINE: [&str; 4] = ["retry", "limits", "lease", "result"];

/// A task file that could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// What it holds. Nobody has compared it with the replay of its history yet.
    pub task: Task,
    /// Whether these are the bytes that orch wrote.
    pub seal: Seal,
}

/// What kind of trouble a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// Torn or no text: to be restored from git.
    Damaged,
    /// Somebody's edit does not fit the format: to be corrected.
    Invalid,
    /// Written by a newer version of orch.
    NewerFormat,
}

/// Why a file could not be read, and where; the text is `line:column: message`, after the file's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Problem {
    /// What kind of trouble it is.
    pub kind: ProblemKind,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// The canonical bytes of a task, sealed. Equal tasks are equal bytes.
///
/// The result may be larger than [`FILE_MAX`], then nobody can read it: see [`fits`].
#[must_use]
pub fn encode(task: &Task) -> Vec<u8> {
    let mut text = emit::emit(&wire::task_to_value(task, Form::File), &ONE_LINE);
    seal::add(&mut text);
    text.into_bytes()
}

/// Whether [`decode`] will read bytes of this number. An operation that makes a task larger must be refused.
#[must_use]
pub fn fits(bytes: &[u8]) -> bool {
    bytes.len() <= FILE_MAX
}

/// How large a file may become by what one machine does. What others add at the same time may take it further,
/// see [`is_shareable`].
pub const TASK_MAX: usize = 256 * 1024;
/// How large the texts of machines that did not know of each other may make a file together. The rest up to
/// [`FILE_MAX`] is for what a lease ref adds meanwhile, which is never refused when it is folded.
const SHARED_MAX: usize = 2 * TASK_MAX;
/// Bytes of a file that are kept for what decides a status: a task that is full of notes can still be claimed,
/// finished and given up.
const ROOM: usize = 32 * 1024;
/// Fewer bytes cannot hold more nodes than a file may have.
const SURELY_READ: usize = 64 * 1024;

/// Whether a task may become this by an operation. Everybody must be able to read the result: an object on a lease
/// ref that nobody can read is an end of the task that nobody decided.
#[must_use]
pub fn has_room(before: Option<&Task>, after: &Task, op: &Op) -> bool {
    let bytes = encode(after);
    let talks = op.action.based_on().is_none() || matches!(op.action, Action::Checkpoint { .. });
    if !fits(&bytes) {
        return false;
    }
    let most = if talks { TASK_MAX - ROOM } else { TASK_MAX };
    if bytes.len() > most {
        let before = before.map_or(0, |before| encode(before).len());
        // A task that became larger than that by a merge can still be finished.
        let room = if talks { 0 } else { ROOM };
        if bytes.len() > before.saturating_add(room).max(most) {
            return false;
        }
    }
    is_read(&bytes)
}

/// Whether what several machines wrote may stand in one file on the state branch.
#[must_use]
pub fn is_shareable(task: &Task) -> bool {
    let bytes = encode(task);
    bytes.len() <= SHARED_MAX && is_read(&bytes)
}

/// Whether these versions of one task are so small that whatever is merged from them [`is_shareable`].
#[must_use]
pub fn surely_shareable(one: &Task, other: &Task) -> bool {
    encode(one).len() + encode(other).len() <= SURELY_READ
}

fn is_read(bytes: &[u8]) -> bool {
    bytes.len() <= SURELY_READ || decode(bytes).is_ok()
}

/// Reads a task file.
///
/// # Errors
/// The first [`Problem`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, Problem> {
    let text = text(bytes)?;
    let sealed = seal::split(text).ok_or_else(|| unsealed(text))?;
    // What a person touched gets the general parser, and its errors with their place.
    let quick = if sealed.seal == Seal::Valid { canon::read(sealed.body) } else { None };
    let value = quick.map_or_else(|| parse::parse(sealed.body), Ok).map_err(invalid)?;
    check_format(&value, sealed.body)?;
    let task = wire::task_from_value(&value).map_err(|e| match unknown_verb(&value) {
        Some(verb) if sealed.seal == Seal::Valid => Problem {
            kind: ProblemKind::NewerFormat,
            message: format!(
                "`{verb}` is an operation that this version of orch does not know; upgrade orch"
            ),
            ..misfit(sealed.body, &e)
        },
        _ => misfit(sealed.body, &e),
    })?;
    Ok(Decoded { task, seal: sealed.seal })
}

/// An operation of a kind that has come later. Under a valid seal no person wrote it.
fn unknown_verb(value: &Value) -> Option<&str> {
    let Some(Value::List(history)) = value.get("history") else { return None };
    let verbs = history.iter().filter_map(|op| match op.get("do") {
        Some(Value::Str(verb)) => Some(verb.as_str()),
        _ => None,
    });
    verbs.into_iter().find(|verb| !wire::is_verb(verb))
}

/// What a file says that a newer version of orch wrote, for people to look at: what it means nobody here knows.
/// `None` for any other file.
#[must_use]
pub fn peek(bytes: &[u8]) -> Option<Value> {
    let problem = decode(bytes).err().filter(|problem| problem.kind == ProblemKind::NewerFormat);
    let sealed = problem.and_then(|_| seal::split(text(bytes).ok()?)).filter(|s| s.seal == Seal::Valid)?;
    parse::parse(sealed.body).ok()
}

/// Reads the task file of `orch add --file`: no state, no history, no seal; the id if one likes.
///
/// # Errors
/// The first [`Problem`].
pub fn decode_definition(bytes: &[u8]) -> Result<(Option<TaskId>, Definition), Problem> {
    let text = text(bytes)?;
    let value = parse::parse(text).map_err(invalid)?;
    check_format(&value, text)?;
    wire::definition_from_value(&value).map_err(|e| misfit(text, &e))
}

/// The field that a name which is none was probably meant to be.
#[must_use]
pub fn nearest_field(name: &str) -> Option<&'static str> {
    wire::nearest_field(name)
}

/// A whole task with its history as one line of JSON, without a line feed.
#[must_use]
pub fn task_to_json_line(task: &Task) -> String {
    json::to_json(&wire::task_to_value(task, Form::Json { history: true })).to_string()
}

/// Reads what [`task_to_json_line`] wrote.
///
/// # Errors
/// A [`Problem`] whose line is 1: the caller knows which line of the file it is.
pub fn task_from_json_line(line: &str) -> Result<Task, Problem> {
    wire::task_from_value(&json_line(line)?).map_err(|e| in_line(1, e.to_string()))
}

/// Reads a definition as one line of JSON: no state, no history; the id if one likes.
///
/// # Errors
/// A [`Problem`] whose line is 1.
pub fn definition_from_json_line(line: &str) -> Result<(Option<TaskId>, Definition), Problem> {
    wire::definition_from_value(&json_line(line)?).map_err(|e| in_line(1, e.to_string()))
}

fn json_line(line: &str) -> Result<Value, Problem> {
    let json: serde_json::Value = serde_json::from_str(line)
        .map_err(|e| in_line(e.column(), format!("this is not valid JSON: {e}")))?;
    let value = json::from_json(&json).map_err(|e| in_line(1, e))?;
    check_format(&value, "")?;
    Ok(value)
}

fn in_line(column: usize, message: String) -> Problem {
    Problem { kind: ProblemKind::Invalid, line: 1, column: column.max(1), message }
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let kind = if fits(bytes) { ProblemKind::Damaged } else { ProblemKind::Invalid };
    parse::text(bytes).map_err(|YamlError { line, column, message }| Problem { kind, line, column, message })
}

fn unsealed(text: &str) -> Problem {
    Problem {
        kind: ProblemKind::Damaged,
        line: text.lines().count().max(1),
        column: 1,
        message: "the file does not end in its seal, so it is not whole; `orch doctor --repair` restores it from git".to_owned(),
    }
}

fn invalid(YamlError { line, column, message }: YamlError) -> Problem {
    Problem { kind: ProblemKind::Invalid, line, column, message }
}

fn check_format(value: &Value, body: &str) -> Result<(), Problem> {
    match value.get("format") {
        Some(Value::Int(format)) if *format > FORMAT => {
            let (line, column) = parse::locate(body, &[Step::Key("format".to_owned())]);
            let message = format!(
                "the file has format {format}, this version of orch reads format {FORMAT}; upgrade orch"
            );
            Err(Problem { kind: ProblemKind::NewerFormat, line, column, message })
        }
        _ => Ok(()),
    }
}

fn misfit(body: &str, error: &WireError) -> Problem {
    let (line, column) = parse::locate(body, &error.path);
    Problem { kind: ProblemKind::Invalid, line, column, message: error.to_string() }
}

#[cfg(test)]
mod tests;
