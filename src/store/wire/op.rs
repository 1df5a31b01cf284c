//! One entry of the history.

use super::fields::{Fields, Out, count, expected, flag, moment, span, task_id, text, texts};
use super::state::{percent, process_from_value, process_to_value, progress_from_value, progress_to_value};
use super::words::word;
use super::{WireError, bounds, definition, patch};
use crate::protocol::id::OpId;
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::Definition;
use crate::protocol::value::Value;
use crate::store::nearest;

const VERBS: [&str; 18] = [
    "add",
    "edit",
    "note",
    "snooze",
    "claim",
    "heartbeat",
    "checkpoint",
    "done",
    "fail",
    "release",
    "block",
    "unblock",
    "cancel",
    "retry",
    "replan",
    "review",
    "recover",
    "need_failed",
];

/// An operation as an entry of the history.
#[must_use]
pub fn op_to_value(op: &Op) -> Value {
    let mut out = Out::new(false);
    out.put("op", Value::Str(op.id.to_string()));
    out.put("at", op.at);
    out.put("by", &op.by);
    out.unless("machine", op.machine.is_empty(), &op.machine);
    out.unless("role", op.role == Role::Author, op.role);
    out.put("do", op.action.verb());
    write_action(&mut out, &op.action);
    out.done()
}

/// Reads an entry of the history.
///
/// # Errors
/// What does not fit, and where; unknown keys are refused.
pub fn op_from_value(value: &Value) -> Result<Op, WireError> {
    let mut fields = Fields::of(value)?;
    let op = Op {
        id: fields.need("op", op_id)?,
        at: fields.need("at", moment)?,
        by: fields.need("by", text)?,
        machine: fields.or_default("machine", text)?,
        role: fields.or_default("role", word)?,
        action: read_action(&mut fields)?,
    };
    fields.finish(&format!("the operation `{}`", op.action.verb()))?;
    bounds::check_op(&op)?;
    Ok(op)
}

fn op_id(value: &Value) -> Result<OpId, WireError> {
    let text = value.as_str().ok_or_else(|| expected("text (an operation id)", value))?;
    OpId::parse(text).map_err(|e| WireError::new(e.to_string()))
}

fn write_action(out: &mut Out, action: &Action) {
    if let Some(epoch) = epoch_of(action) {
        out.put("epoch", epoch);
    }
    match action {
        Action::Add(def) => write_add(out, def),
        Action::Edit(changes) => patch::write(out, changes),
        Action::Note { text } => out.put("text", text),
        Action::Snooze { until } => out.nullable("until", *until),
        Action::Claim { base, epoch, ttl, process, over } => {
            out.unless("base", base.checked_add(1) == Some(*epoch), *base);
            out.put("ttl", *ttl);
            out.maybe("process", process.as_ref().map(process_to_value));
            out.maybe("over", *over);
        }
        Action::Heartbeat { progress, .. } => {
            out.maybe("progress", progress.as_ref().map(|p| progress_to_value(p, false)));
        }
        Action::Checkpoint { note, percent, file, .. } => {
            out.put("note", note);
            out.maybe("percent", percent.map(u32::from));
            out.maybe("file", file.as_ref());
        }
        Action::Done { notes, artifacts, bundle, .. } => {
            out.put("notes", notes);
            out.unless("artifacts", artifacts.is_empty(), artifacts);
            out.maybe("bundle", bundle.as_ref());
        }
        Action::Fail { reason, notes, permanent, retry_at, bundle, .. } => {
            out.put("reason", *reason);
            out.put("notes", notes);
            out.unless("permanent", !permanent, *permanent);
            out.maybe("retry_at", *retry_at);
            out.maybe("bundle", bundle.as_ref());
        }
        Action::Release { reason, notes, .. } => {
            out.maybe("reason", *reason);
            out.maybe("notes", notes.as_ref());
        }
        Action::Block { notes, .. } | Action::Cancel { notes, .. } => out.put("notes", notes),
        Action::Unblock { notes, .. } | Action::Retry { notes, .. } => out.maybe("notes", notes.as_ref()),
        Action::Replan { notes, description, success_criteria, .. } => {
            out.put("notes", notes);
            out.maybe("description", description.as_ref());
            out.maybe("success_criteria", success_criteria.as_ref());
        }
        Action::Review { verdict, notes, .. } => {
            out.put("verdict", *verdict);
            out.put("notes", notes);
        }
        Action::Recover { beat, retry_at, .. } => {
            out.put("beat", *beat);
            out.maybe("retry_at", *retry_at);
        }
        Action::NeedFailed { need, .. } => out.put("need", need),
    }
}

/// The number under `epoch:`: of a claim the new one, of everything else the one that it is based on.
fn epoch_of(action: &Action) -> Option<u64> {
    match action {
        Action::Claim { epoch, .. } => Some(*epoch),
        other => other.based_on(),
    }
}

/// The definition's fields stand in the entry itself, unknown ones under `extra`: `op` or `by` could be
/// the name of one.
fn write_add(out: &mut Out, def: &Definition) {
    definition::write_head(out, def);
    definition::write_tail(out, def);
    let extra = def.extra.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    out.unless("extra", def.extra.is_empty(), Value::Map(extra));
}

fn read_add(fields: &mut Fields<'_>) -> Result<Action, WireError> {
    let mut def = definition::read(fields)?;
    def.extra = match fields.take("extra") {
        None => Vec::new(),
        Some(Value::Map(entries)) => entries.clone(),
        Some(other) => return Err(expected("a map", other).under("extra")),
    }
    .into_iter()
    .collect();
    Ok(Action::Add(Box::new(def)))
}

/// Whether an operation of this name is known.
#[must_use]
pub fn is_verb(name: &str) -> bool {
    VERBS.contains(&name)
}

fn read_action(f: &mut Fields<'_>) -> Result<Action, WireError> {
    let verb = f.need("do", text)?;
    Ok(match verb.as_str() {
        "add" => read_add(f)?,
        "edit" => Action::Edit(Box::new(patch::read(f)?)),
        "note" => Action::Note { text: f.need("text", text)? },
        "snooze" => Action::Snooze { until: f.opt("until", moment)? },
        "claim" => read_claim(f)?,
        "need_failed" => {
            Action::NeedFailed { epoch: f.need("epoch", count)?, need: f.need("need", task_id)? }
        }
        verb => match read_holders(f, verb)? {
            Some(action) => action,
            None => read_operators(f, verb)?
                .ok_or_else(|| WireError::new(nearest::none_of(verb, &VERBS)).under("do"))?,
        },
    })
}

fn read_claim(f: &mut Fields<'_>) -> Result<Action, WireError> {
    let epoch = f.need("epoch", count)?;
    Ok(Action::Claim {
        base: f.opt("base", count)?.unwrap_or_else(|| epoch.saturating_sub(1)),
        epoch,
        ttl: f.need("ttl", span)?,
        process: f.opt("process", process_from_value)?,
        over: f.opt("over", count)?,
    })
}

/// Acts of a holder.
fn read_holders(f: &mut Fields<'_>, verb: &str) -> Result<Option<Action>, WireError> {
    if !["heartbeat", "checkpoint", "done", "fail", "release"].contains(&verb) {
        return Ok(None);
    }
    let epoch = f.need("epoch", count)?;
    Ok(Some(match verb {
        "heartbeat" => Action::Heartbeat { epoch, progress: f.opt("progress", progress_from_value)? },
        "checkpoint" => Action::Checkpoint {
            epoch,
            note: f.need("note", text)?,
            percent: f.opt("percent", percent)?,
            file: f.opt("file", text)?,
        },
        "done" => Action::Done {
            epoch,
            notes: f.need("notes", text)?,
            artifacts: f.or_default("artifacts", texts)?,
            bundle: f.opt("bundle", text)?,
        },
        "fail" => Action::Fail {
            epoch,
            reason: f.need("reason", word)?,
            notes: f.need("notes", text)?,
            permanent: f.or_default("permanent", flag)?,
            retry_at: f.opt("retry_at", moment)?,
            bundle: f.opt("bundle", text)?,
        },
        _ => Action::Release { epoch, reason: f.opt("reason", word)?, notes: f.opt("notes", text)? },
    }))
}

/// Acts of operators, reviewers and watchdogs.
fn read_operators(f: &mut Fields<'_>, verb: &str) -> Result<Option<Action>, WireError> {
    if !["block", "unblock", "cancel", "retry", "replan", "review", "recover"].contains(&verb) {
        return Ok(None);
    }
    let epoch = f.need("epoch", count)?;
    Ok(Some(match verb {
        "block" => Action::Block { epoch, notes: f.need("notes", text)? },
        "unblock" => Action::Unblock { epoch, notes: f.opt("notes", text)? },
        "cancel" => Action::Cancel { epoch, notes: f.need("notes", text)? },
        "retry" => Action::Retry { epoch, notes: f.opt("notes", text)? },
        "replan" => Action::Replan {
            epoch,
            notes: f.need("notes", text)?,
            description: f.opt("description", text)?,
            success_criteria: f.opt("success_criteria", texts)?,
        },
        "review" => {
            Action::Review { epoch, verdict: f.need("verdict", word)?, notes: f.need("notes", text)? }
        }
        _ => Action::Recover { epoch, beat: f.need("beat", count)?, retry_at: f.opt("retry_at", moment)? },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::wire::arbitrary;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_operation_survives_a_round_trip(op in arbitrary::op()) {
            prop_assert!(VERBS.contains(&op.action.verb()));
            let value = op_to_value(&op);
            match op_from_value(&value) {
                Ok(read) => prop_assert_eq!(read, op),
                Err(error) => prop_assert!(false, "{error}\n{value:?}"),
            }
        }
    }

    #[test]
    fn a_misspelt_verb_or_key_names_the_right_one() {
        let entry = |verb: &str, extra: &str| {
            let text =
                format!("{{op: 01K5QX3T0000000000000000AB, at: 2026-02-08, by: a, do: {verb}, {extra}}}");
            crate::store::parse::parse(&text)
                .map_err(|e| e.to_string())
                .and_then(|v| op_from_value(&v).map_err(|e| e.to_string()))
        };
        assert!(entry("claim", "epoch: 1, ttl: 15m").is_ok());
        assert!(entry("clam", "epoch: 1, ttl: 15m").is_err_and(|e| e.contains("did you mean `claim`?")));
        assert!(entry("claim", "epoch: 1, tll: 15m").is_err_and(|e| e.contains("is `tll` meant")));
        assert!(
            entry("done", "epoch: 1, notes: x, artifact: [a]")
                .is_err_and(|e| e.contains("did you mean `artifacts`?"))
        );
    }
}
