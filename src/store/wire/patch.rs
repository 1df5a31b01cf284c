//! Changes to a definition: `set:` holds new values (null removes one), `unset:` names unknown fields that went.

use super::WireError;
use super::fields::{Fields, Out, Wire, moment, set, task_id, text, texts};
use super::run::{
    limits_from_value, limits_to_value, retry_from_value, retry_to_value, run_from_value, run_to_value,
};
use super::words::word;
use crate::protocol::op::Patch;
use crate::protocol::value::Value;

/// Writes `set` and, where unknown fields were removed, `unset`.
pub(super) fn write(out: &mut Out, patch: &Patch) {
    let mut set = Out::new(true);
    let mut unset = Vec::new();
    known(&mut set, patch);
    for (key, value) in &patch.extra {
        match value {
            Some(value) => set.put(key, value.clone()),
            None => unset.push(Value::str(key)),
        }
    }
    out.put("set", set.done());
    out.unless("unset", unset.is_empty(), Value::List(unset));
}

fn known(set: &mut Out, patch: &Patch) {
    fn put<T: Into<Wire>>(set: &mut Out, key: &str, new: Option<T>) {
        if let Some(new) = new {
            set.put(key, new);
        }
    }
    fn nullable<T: Into<Wire>>(set: &mut Out, key: &str, new: Option<Option<T>>) {
        if let Some(new) = new {
            set.nullable(key, new);
        }
    }
    put(set, "title", patch.title.as_ref());
    put(set, "description", patch.description.as_ref());
    put(set, "priority", patch.priority);
    put(set, "success_criteria", patch.success_criteria.as_ref());
    put(set, "needs", patch.needs.as_ref());
    put(set, "on_need_failed", patch.on_need_failed);
    nullable(set, "parent", patch.parent.as_ref().map(Option::as_ref));
    put(set, "tags", patch.tags.as_ref());
    nullable(set, "due_at", patch.due_at);
    nullable(set, "not_before", patch.not_before);
    nullable(set, "idempotency_key", patch.idempotency_key.as_ref().map(Option::as_ref));
    put(set, "review", patch.review);
    nullable(set, "run", patch.run.as_ref().map(|run| run.as_ref().map(run_to_value)));
    put(set, "retry", patch.retry.as_ref().map(|retry| retry_to_value(retry, false)));
    put(set, "limits", patch.limits.as_ref().map(|limits| limits_to_value(limits, false)));
}

/// Reads `set` and `unset`.
pub(super) fn read(fields: &mut Fields<'_>) -> Result<Patch, WireError> {
    let mut extra: Vec<(String, Option<Value>)> = Vec::new();
    for name in fields.opt("unset", texts)?.unwrap_or_default() {
        extra.push((name, None));
    }
    let Some(value) = fields.take("set") else { return Err(WireError::new("`set` is missing")) };
    let mut patch = read_set(value).map_err(|e| e.under("set"))?;
    extra.append(&mut patch.extra);
    Ok(Patch { extra, ..patch })
}

fn read_set(value: &Value) -> Result<Patch, WireError> {
    let mut fields = Fields::of(value)?;
    let patch = Patch {
        title: given(&mut fields, "title", text)?,
        description: given(&mut fields, "description", text)?,
        priority: given(&mut fields, "priority", word)?,
        success_criteria: given(&mut fields, "success_criteria", texts)?,
        needs: given(&mut fields, "needs", |v| set(v, task_id))?,
        on_need_failed: given(&mut fields, "on_need_failed", word)?,
        parent: given(&mut fields, "parent", |v| or_null(v, task_id))?,
        tags: given(&mut fields, "tags", |v| set(v, text))?,
        due_at: given(&mut fields, "due_at", |v| or_null(v, moment))?,
        not_before: given(&mut fields, "not_before", |v| or_null(v, moment))?,
        idempotency_key: given(&mut fields, "idempotency_key", |v| or_null(v, text))?,
        review: given(&mut fields, "review", word)?,
        run: given(&mut fields, "run", |v| or_null(v, run_from_value))?,
        retry: given(&mut fields, "retry", retry_from_value)?,
        limits: given(&mut fields, "limits", limits_from_value)?,
        extra: fields.rest().map(|(key, value)| (key.clone(), Some(value.clone()))).collect(),
    };
    Ok(patch)
}

/// A field that is there, null included.
fn given<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    read: impl Fn(&Value) -> Result<T, WireError>,
) -> Result<Option<T>, WireError> {
    fields.take(key).map(|value| read(value).map_err(|e| e.under(key))).transpose()
}

fn or_null<T>(value: &Value, read: impl Fn(&Value) -> Result<T, WireError>) -> Result<Option<T>, WireError> {
    if *value == Value::Null { Ok(None) } else { read(value).map(Some) }
}
