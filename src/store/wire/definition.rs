//! The part of a task that people may edit.

use super::fields::{Fields, Out, moment, set, task_id, text, texts};
use super::run::{
    limits_from_value, limits_to_value, retry_from_value, retry_to_value, run_from_value, run_to_value,
};
use super::words::word;
use super::{FORMAT, Step, WireError, bounds};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Definition, Limits, OnNeedFailed, Priority, RetryPolicy, Review};
use crate::protocol::value::Value;
use crate::store::nearest;

/// Fields of a task that commands change, and the word for how.
pub(super) const OWNED: [(&str, &str); 7] = [
    ("status", "`orch claim`, `done`, `cancel`, `retry` and others"),
    ("attempt", "`orch claim` and `retry`"),
    ("epoch", "`orch claim`"),
    ("lease", "`orch claim` and `heartbeat`"),
    ("result", "`orch done` and `fail`"),
    ("history", "every command"),
    ("seal", "every command"),
];

/// Reads the task file of `orch add --file`: a definition, with `format` and `id` if one likes.
///
/// # Errors
/// What does not fit, and where; fields that commands change are refused.
pub fn definition_from_value(value: &Value) -> Result<(Option<TaskId>, Definition), WireError> {
    let mut fields = Fields::of(value)?;
    match fields.take("format") {
        None | Some(Value::Null | Value::Int(FORMAT)) => {}
        Some(_) => return Err(WireError::new(format!("only format {FORMAT} is known")).under("format")),
    }
    let id = fields.opt("id", task_id)?;
    let mut def = read(&mut fields)?;
    for (key, by) in OWNED {
        if fields.take(key).is_some() {
            let message = format!("`{key}` is set by {by}; leave it out");
            return Err(WireError::new(message).within(Step::Name(key.to_owned())));
        }
    }
    def.extra = fields.rest().cloned().collect();
    bounds::check_definition(&def)?;
    Ok((id, def))
}

/// Title to priority; the status stands between the two halves.
pub(super) fn write_head(out: &mut Out, def: &Definition) {
    out.put("title", &def.title);
    out.unless("description", def.description.is_empty(), &def.description);
    out.unless("priority", def.priority == Priority::default(), def.priority);
}

/// Success criteria to limits.
pub(super) fn write_tail(out: &mut Out, def: &Definition) {
    let full = out.is_full();
    out.unless("success_criteria", def.success_criteria.is_empty(), &def.success_criteria);
    out.unless("needs", def.needs.is_empty(), &def.needs);
    out.unless("on_need_failed", def.on_need_failed == OnNeedFailed::default(), def.on_need_failed);
    out.maybe("parent", def.parent.as_ref());
    out.unless("tags", def.tags.is_empty(), &def.tags);
    out.maybe("due_at", def.due_at);
    out.maybe("not_before", def.not_before);
    out.maybe("idempotency_key", def.idempotency_key.as_ref());
    out.unless("review", def.review == Review::default(), def.review);
    out.maybe("run", def.run.as_ref().map(run_to_value));
    out.unless("retry", def.retry == RetryPolicy::default(), retry_to_value(&def.retry, full));
    out.unless("limits", def.limits == Limits::default(), limits_to_value(&def.limits, full));
}

/// All known fields; unknown ones are the caller's.
pub(super) fn read(fields: &mut Fields<'_>) -> Result<Definition, WireError> {
    Ok(Definition {
        title: fields.need("title", text)?,
        description: fields.or_default("description", text)?,
        priority: fields.or_default("priority", word)?,
        success_criteria: fields.or_default("success_criteria", texts)?,
        needs: fields.or_default("needs", |v| set(v, task_id))?,
        on_need_failed: fields.or_default("on_need_failed", word)?,
        parent: fields.opt("parent", task_id)?,
        tags: fields.or_default("tags", |v| set(v, text))?,
        due_at: fields.opt("due_at", moment)?,
        not_before: fields.opt("not_before", moment)?,
        idempotency_key: fields.opt("idempotency_key", text)?,
        review: fields.or_default("review", word)?,
        run: fields.opt("run", run_from_value)?,
        retry: fields.opt("retry", retry_from_value)?.unwrap_or_default(),
        limits: fields.opt("limits", limits_from_value)?.unwrap_or_default(),
        extra: std::collections::BTreeMap::new(),
    })
}

/// Whether a field of this name has a meaning, so that it cannot be an unknown one.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || OWNED.iter().any(|(owned, _)| *owned == name)
}

/// The field that a name which is none was probably meant to be.
#[must_use]
pub fn nearest_field(name: &str) -> Option<&'static str> {
    nearest::nearest(name, KNOWN)
}

const KNOWN: [&str; 17] = [
    "format",
    "id",
    "title",
    "description",
    "priority",
    "success_criteria",
    "needs",
    "on_need_failed",
    "parent",
    "tags",
    "due_at",
    "not_before",
    "idempotency_key",
    "review",
    "run",
    "retry",
    "limits",
];
