//! Histories of claims and finishes: what clients called and were told, and whether that fits the order in which
//! the operations stand in the task.
//!
//! Whoever drives clients (simulation or soak) writes [`Event`]s, one JSON document a line: an invocation before
//! the call, a return after it. A client that died wrote no return, which is the same as an unknown outcome.
//! Times are of one clock that does not step back, in any unit.
//!
//! Finding an order that explains a history is expensive; here the order is known. The history of the task on the
//! state branch is the *witness*, and [`witness::check`] verifies it in `O(n log n)`. A checker that others wrote
//! looks for an order by itself ([`tester::linearizable`]); it bears small histories only, and is there to test
//! the witness checker.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use orch::protocol::op::Action;
use orch::protocol::task::Task;
use serde::{Deserialize, Serialize};

pub mod tester;
#[cfg(test)]
mod tests;
pub mod witness;

/// What was called, or what stands in a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// A session takes the task, also over a lapsed lease.
    Claim,
    /// Its holder finished it.
    Done,
    /// Its holder failed.
    Fail,
    /// Its holder gave it back.
    Release,
    /// A watchdog took it back.
    Recover,
    /// Something else that puts the task back into the queue, or out of it (operators, reviewers).
    Other,
}

/// A line of a history file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A call begins.
    Invoke {
        /// Number of the call, unique in the file.
        call: u64,
        /// When.
        at: u64,
        /// The task.
        task: String,
        /// The session that calls; for `recover` the watchdog's.
        by: String,
        /// What it calls.
        verb: Verb,
        /// The epoch that an act names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<u64>,
    },
    /// A call ends.
    Return {
        /// Number of the call.
        call: u64,
        /// When.
        at: u64,
        /// What the caller was told.
        outcome: Outcome,
    },
}

/// What a caller was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// It happened.
    Ok {
        /// The id of the operation.
        op: String,
        /// The epoch in which it happened.
        epoch: u64,
    },
    /// It did not happen.
    Refused,
    /// Nobody knows (unreachable, killed, no answer).
    Unknown,
}

/// One call, from its invocation to its return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Session.
    pub by: String,
    /// What it called.
    pub verb: Verb,
    /// The epoch that it named.
    pub epoch: Option<u64>,
    /// When it began.
    pub invoked: u64,
    /// When it ended; `None` if that is not known.
    pub returned: Option<u64>,
    /// What it was told.
    pub outcome: Outcome,
}

/// One operation of a task's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub op: String,
    /// Session.
    pub by: String,
    /// What.
    pub verb: Verb,
    /// The epoch on which it is based, or, for a claim, the one that it begins.
    pub epoch: u64,
    /// Whether it is a claim over a lapsed lease.
    pub over: bool,
}

/// The operations of a task that decide its status, in their order.
#[must_use]
pub fn chain(task: &Task) -> Vec<Link> {
    let link = |op: &orch::protocol::op::Op| {
        let (verb, over) = match op.action {
            Action::Claim { over, .. } => (Verb::Claim, over.is_some()),
            Action::Done { .. } => (Verb::Done, false),
            Action::Fail { .. } => (Verb::Fail, false),
            Action::Release { .. } => (Verb::Release, false),
            Action::Recover { .. } => (Verb::Recover, false),
            Action::Checkpoint { .. } | Action::Heartbeat { .. } => return None,
            _ => (Verb::Other, false),
        };
        let epoch = match op.action {
            Action::Claim { epoch, .. } => epoch,
            _ => op.action.based_on()?,
        };
        Some(Link { op: op.id.to_string(), by: op.by.clone(), verb, epoch, over })
    };
    task.history().iter().filter_map(link).collect()
}

/// Writes one event as a line.
///
/// # Errors
/// The output cannot be written.
pub fn write(out: &mut dyn Write, event: &Event) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, event)?;
    out.write_all(b"\n")
}

/// Reads events, one a line. A last line without an end, as a kill leaves it, is no event.
///
/// # Errors
/// The number of the line that is no event, and why.
pub fn read(input: &mut dyn BufRead) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let count = input.read_line(&mut line).map_err(|error| format!("line {number}: {error}"))?;
        if count == 0 || !line.ends_with('\n') {
            break;
        }
        events.push(serde_json::from_str(&line).map_err(|error| format!("line {number}: {error}"))?);
    }
    Ok(events)
}

/// The calls of a history, by task.
///
/// # Errors
/// A call that was invoked or returned twice, or returned without having been invoked: the record is wrong, and
/// proves nothing about what was recorded.
pub fn calls(events: &[Event]) -> Result<BTreeMap<String, Vec<Call>>, String> {
    let mut open: BTreeMap<u64, (String, Call)> = BTreeMap::new();
    let mut ended = std::collections::BTreeSet::new();
    for event in events {
        match event {
            Event::Invoke { call, at, task, by, verb, epoch } => {
                let (by, outcome) = (by.clone(), Outcome::Unknown);
                let new = Call { by, verb: *verb, epoch: *epoch, invoked: *at, returned: None, outcome };
                if open.insert(*call, (task.clone(), new)).is_some() {
                    return Err(format!("call {call} was invoked twice"));
                }
            }
            Event::Return { call, at, outcome } => {
                let Some((_, known)) = open.get_mut(call) else {
                    return Err(format!("call {call} returned and was never invoked"));
                };
                if !ended.insert(*call) {
                    return Err(format!("call {call} returned twice"));
                }
                // A call whose outcome is unknown may take effect after it returned.
                known.returned = (*outcome != Outcome::Unknown).then_some(*at);
                known.outcome = outcome.clone();
            }
        }
    }
    let mut by_task: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    for (task, call) in open.into_values() {
        by_task.entry(task).or_default().push(call);
    }
    Ok(by_task)
}
