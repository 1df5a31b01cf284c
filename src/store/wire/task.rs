//! The task as a whole: `format` and `id` first, the definition, the state, the history last.

use super::definition::{self, write_head, write_tail};
use super::fields::{Fields, Out, count, expected, list, small, task_id};
use super::state::{lease_from_value, lease_to_value, outcome_from_value, outcome_to_value};
use super::words::word;
use super::{FORMAT, Form, Step, WireError, bounds, op_from_value, op_to_value};
use crate::protocol::task::{Lease, Parts, State, Status, Task};
use crate::protocol::value::Value;

/// A task as a map in the order of the format's documentation.
#[must_use]
pub fn task_to_value(task: &Task, form: Form) -> Value {
    let full = form != Form::File;
    let mut out = Out::new(full);
    out.put("format", Value::Int(FORMAT));
    out.put("id", task.id());
    write_head(&mut out, task.def());
    out.put("status", task.status());
    write_tail(&mut out, task.def());
    out.unless("attempt", task.attempt() == 0, task.attempt());
    out.unless("epoch", task.epoch() == 0, task.epoch());
    out.maybe("lease", task.lease().map(|lease| lease_to_value(lease, full)));
    out.maybe("result", task.result().map(|outcome| outcome_to_value(outcome, full)));
    for (key, value) in &task.def().extra {
        out.put(key, value.clone());
    }
    if form != (Form::Json { history: false }) {
        out.put("history", Value::List(task.history().iter().map(op_to_value).collect()));
    }
    out.done()
}

/// Reads a task; whether its parts fit together is for `replay::check` to say.
///
/// # Errors
/// What does not fit the format, and where.
pub fn task_from_value(value: &Value) -> Result<Task, WireError> {
    let mut fields = Fields::of(value)?;
    read(&mut fields, true)
}

/// Reads a task from a document that leaves its history out, as lists do.
///
/// # Errors
/// As [`task_from_value`].
pub fn summary_from_value(value: &Value) -> Result<Task, WireError> {
    let mut fields = Fields::of(value)?;
    read(&mut fields, false)
}

fn read(fields: &mut Fields<'_>, whole: bool) -> Result<Task, WireError> {
    fields.need("format", format)?;
    let id = fields.need("id", task_id)?;
    let mut def = definition::read(fields)?;
    let status = fields.need("status", word)?;
    let attempt = fields.opt("attempt", small)?.unwrap_or(0);
    let epoch = fields.opt("epoch", count)?.unwrap_or(0);
    let lease = fields.opt("lease", lease)?;
    let result = fields.opt("result", outcome)?;
    let history = if whole { fields.need("history", history)? } else { Vec::new() };
    if fields.take("seal").is_some() {
        return Err(
            WireError::new("`seal` belongs into the last line only").within(Step::Name("seal".to_owned()))
        );
    }
    def.extra = fields.rest().cloned().collect();
    bounds::check_definition(&def)?;
    let state = state(status, lease)?;
    Ok(Task::from(Parts { id, def, state, attempt, epoch, result, history }))
}

fn format(value: &Value) -> Result<(), WireError> {
    match value {
        Value::Int(FORMAT) => Ok(()),
        Value::Int(number) => {
            Err(WireError::new(format!("format {number} is unknown; this version reads format {FORMAT}")))
        }
        other => Err(expected("a whole number", other)),
    }
}

fn lease(value: &Value) -> Result<Lease, WireError> {
    let lease = lease_from_value(value)?;
    bounds::check_lease(&lease)?;
    Ok(lease)
}

fn outcome(value: &Value) -> Result<crate::protocol::task::Outcome, WireError> {
    let outcome = outcome_from_value(value)?;
    bounds::artifact_list(&outcome.artifacts)?;
    Ok(outcome)
}

fn history(value: &Value) -> Result<Vec<crate::protocol::op::Op>, WireError> {
    let ops = list(value, op_from_value)?;
    match ops.len() {
        0 => Err(WireError::new("a task has at least the operation that added it")),
        count if count > bounds::HISTORY_MAX => {
            Err(WireError::new(format!("{count} operations; at most {} are allowed", bounds::HISTORY_MAX)))
        }
        _ => Ok(ops),
    }
}

/// A lease belongs to a task in progress, and to no other.
fn state(status: Status, lease: Option<Lease>) -> Result<State, WireError> {
    let alone = match (status, lease) {
        (Status::InProgress, Some(lease)) => return Ok(State::InProgress(lease)),
        (Status::InProgress, None) => {
            return Err(WireError::new("`lease` is missing: the task is in_progress"));
        }
        (_, Some(_)) => {
            return Err(WireError::new("only a task that is in_progress has a lease").under("lease"));
        }
        (status, None) => status,
    };
    Ok(match alone {
        Status::InReview => State::InReview,
        Status::Done => State::Done,
        Status::Failed => State::Failed,
        Status::Blocked => State::Blocked,
        Status::Cancelled => State::Cancelled,
        Status::Pending | Status::InProgress => State::Pending,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::wire::arbitrary;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_task_survives_both_forms(task in arbitrary::task()) {
            for form in [Form::File, Form::Json { history: true }] {
                let value = task_to_value(&task, form);
                match task_from_value(&value) {
                    Ok(read) => prop_assert_eq!(&read, &task),
                    Err(error) => prop_assert!(false, "{error}\n{value:?}"),
                }
            }
        }

        #[test]
        fn json_has_every_key_of_the_format(task in arbitrary::task()) {
            let value = task_to_value(&task, Form::Json { history: true });
            let Value::Map(entries) = value else { panic!("no map") };
            let keys: Vec<&str> = entries.iter().map(|(k, _)| k.as_str()).filter(|k| !task.def().extra.contains_key(*k)).collect();
            prop_assert_eq!(keys, [
                "format", "id", "title", "description", "priority", "status", "success_criteria", "needs",
                "on_need_failed", "parent", "tags", "due_at", "not_before", "idempotency_key", "review", "run", "retry",
                "limits", "attempt", "epoch", "lease", "result", "history",
            ]);
        }
    }
}
