//! How large the fields of a task may be. Checked when a file is read, and by commands before they write.

use std::time::Duration;

use super::definition::is_known;
use super::{Step, WireError};
use crate::protocol::id::check_name;
use crate::protocol::op::{Action, Op, Patch};
use crate::protocol::task::{Definition, ExecStep, Lease, Limits, RetryPolicy, Run};
use crate::protocol::time::format_span;
use crate::protocol::value::Value;
use crate::store::parse::{KEY_MAX, TEXT_MAX};

/// Longest title, in characters.
pub const TITLE_MAX: usize = 500;
/// Most needs, tags, criteria, artifacts or exec steps.
pub const LIST_MAX: usize = 100;
/// Longest tag, agent type, step name or idempotency key, in bytes.
pub const LABEL_MAX: usize = 500;
/// Most arguments of one command.
pub const ARGV_MAX: usize = 1_000;
/// Most operations in one history.
pub const HISTORY_MAX: usize = 10_000;
/// Most attempts that a retry policy may allow.
pub const ATTEMPTS_MAX: u32 = 1_000;
/// Shortest time to live of a lease.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// Longest time to live of a lease.
pub const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Epochs, beats and token counts lie below this, so that JSON programs read them exactly.
pub const COUNT_END: u64 = 1 << 53;
/// Most unknown fields.
pub const EXTRA_MAX: usize = 64;
/// Deepest nesting of an unknown field.
pub const EXTRA_DEPTH_MAX: usize = 8;

type Checked = Result<(), WireError>;

/// Checks a definition.
///
/// # Errors
/// The first field that is beyond its bound.
pub fn check_definition(def: &Definition) -> Checked {
    title(&def.title).map_err(|e| e.under("title"))?;
    prose(&def.description).map_err(|e| e.under("description"))?;
    criteria(&def.success_criteria).map_err(|e| e.under("success_criteria"))?;
    at_most(def.needs.len(), LIST_MAX, "needs").map_err(|e| e.under("needs"))?;
    tags(&def.tags).map_err(|e| e.under("tags"))?;
    def.idempotency_key.as_deref().map_or(Ok(()), label).map_err(|e| e.under("idempotency_key"))?;
    def.run.as_ref().map_or(Ok(()), run).map_err(|e| e.under("run"))?;
    retry(&def.retry).map_err(|e| e.under("retry"))?;
    limits(&def.limits).map_err(|e| e.under("limits"))?;
    at_most(def.extra.len(), EXTRA_MAX, "unknown fields")?;
    def.extra.iter().try_for_each(|(key, value)| extra(key, value))
}

/// Checks an operation.
///
/// # Errors
/// The first field that is beyond its bound.
pub fn check_op(op: &Op) -> Checked {
    name("name", &op.by).map_err(|e| e.under("by"))?;
    if !op.machine.is_empty() {
        name("machine", &op.machine).map_err(|e| e.under("machine"))?;
    }
    if op.action.based_on().is_some_and(|epoch| epoch >= COUNT_END) {
        return Err(WireError::new("the epoch is too large").under("epoch"));
    }
    match &op.action {
        Action::Add(def) => check_definition(def),
        Action::Edit(patch) => check_patch(patch).map_err(|e| e.under("set")),
        Action::Claim { base, epoch, ttl: span, .. } => {
            if epoch <= base || *epoch >= COUNT_END {
                return Err(
                    WireError::new(format!("{epoch} must be above the epoch before, {base}")).under("epoch")
                );
            }
            ttl(*span).map_err(|e| e.under("ttl"))
        }
        Action::Done { artifacts, notes, .. } => {
            prose(notes).map_err(|e| e.under("notes"))?;
            artifact_list(artifacts)
        }
        Action::Replan { description, success_criteria, notes, .. } => {
            prose(notes).map_err(|e| e.under("notes"))?;
            description.as_deref().map_or(Ok(()), prose).map_err(|e| e.under("description"))?;
            success_criteria.as_deref().map_or(Ok(()), criteria).map_err(|e| e.under("success_criteria"))
        }
        action => notes_of(action).map_or(Ok(()), prose).map_err(|e| e.under("notes")),
    }
}

fn notes_of(action: &Action) -> Option<&str> {
    match action {
        Action::Note { text: notes }
        | Action::Checkpoint { note: notes, .. }
        | Action::Fail { notes, .. }
        | Action::Block { notes, .. }
        | Action::Cancel { notes, .. }
        | Action::Review { notes, .. } => Some(notes),
        Action::Release { notes, .. } | Action::Unblock { notes, .. } | Action::Retry { notes, .. } => {
            notes.as_deref()
        }
        _ => None,
    }
}

/// Checks a lease as a file claims it.
///
/// # Errors
/// The first field that is beyond its bound.
pub fn check_lease(lease: &Lease) -> Checked {
    name("session", &lease.session).map_err(|e| e.under("session"))?;
    name("machine", &lease.machine).map_err(|e| e.under("machine"))?;
    ttl(lease.ttl).map_err(|e| e.under("ttl"))
}

fn check_patch(patch: &Patch) -> Checked {
    // A patch is checked by what it makes of an otherwise good definition.
    let mut def = Definition { title: "x".to_owned(), ..Definition::default() };
    patch.apply(&mut def);
    check_definition(&def)?;
    // What is removed leaves no trace in the definition.
    patch.extra.iter().try_for_each(|(key, value)| extra(key, value.as_ref().unwrap_or(&Value::Null)))
}

/// Checks the time to live of a lease: one second to thirty days.
///
/// # Errors
/// A sentence with both ends.
pub fn ttl(span: Duration) -> Checked {
    if (TTL_MIN..=TTL_MAX).contains(&span) {
        return Ok(());
    }
    Err(WireError::new(format!(
        "{} is not between {} and {}",
        format_span(span),
        format_span(TTL_MIN),
        format_span(TTL_MAX)
    )))
}

pub(super) fn artifact_list(artifacts: &[String]) -> Checked {
    at_most(artifacts.len(), LIST_MAX, "artifacts")?;
    each(artifacts, |a| prose(a)).map_err(|e| e.under("artifacts"))
}

fn title(text: &str) -> Checked {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err(WireError::new("a title must not be empty"));
    }
    if length > TITLE_MAX {
        return Err(WireError::new(format!(
            "a title of {length} characters; at most {TITLE_MAX} are allowed"
        )));
    }
    one_line(text)
}

fn one_line(text: &str) -> Checked {
    if text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(WireError::new("expected one line without control characters"));
    }
    Ok(())
}

fn label(text: &str) -> Checked {
    if text.trim().is_empty() || text.len() > LABEL_MAX {
        return Err(WireError::new(format!("expected a text of 1 to {LABEL_MAX} bytes")));
    }
    one_line(text)
}

fn prose(text: &str) -> Checked {
    if text.len() > TEXT_MAX {
        return Err(WireError::new(format!(
            "a text of {} bytes; at most {TEXT_MAX} are allowed",
            text.len()
        )));
    }
    Ok(())
}

fn name(what: &'static str, text: &str) -> Checked {
    check_name(what, text).map_err(|e| WireError::new(e.to_string()))
}

fn at_most(count: usize, max: usize, what: &str) -> Checked {
    if count > max {
        return Err(WireError::new(format!("{count} {what}; at most {max} are allowed")));
    }
    Ok(())
}

fn each<T>(items: &[T], check: impl Fn(&T) -> Checked) -> Checked {
    items.iter().enumerate().try_for_each(|(at, item)| check(item).map_err(|e| e.within(Step::Index(at))))
}

fn criteria(items: &[String]) -> Checked {
    at_most(items.len(), LIST_MAX, "criteria")?;
    each(items, |text| {
        if text.trim().is_empty() {
            Err(WireError::new("a criterion must not be empty"))
        } else {
            prose(text)
        }
    })
}

fn tags(items: &[String]) -> Checked {
    at_most(items.len(), LIST_MAX, "tags")?;
    each(items, |text| label(text))
}

fn run(run: &Run) -> Checked {
    match run {
        Run::Agent(agent) => label(agent).map_err(|e| e.under("agent")),
        Run::Exec(steps) => exec(steps).map_err(|e| e.under("exec")),
    }
}

fn exec(steps: &[ExecStep]) -> Checked {
    if steps.is_empty() {
        return Err(WireError::new("expected at least one step"));
    }
    at_most(steps.len(), LIST_MAX, "steps")?;
    each(steps, step)
}

fn step(step: &ExecStep) -> Checked {
    if step.argv.first().is_none_or(String::is_empty) {
        return Err(WireError::new("expected a program and its arguments, like [cargo, test]").under("argv"));
    }
    at_most(step.argv.len(), ARGV_MAX, "arguments").map_err(|e| e.under("argv"))?;
    each(&step.argv, |arg| without_nul(arg)).map_err(|e| e.under("argv"))?;
    step.name.as_deref().map_or(Ok(()), label).map_err(|e| e.under("name"))?;
    step.cwd.as_deref().map_or(Ok(()), without_nul).map_err(|e| e.under("cwd"))?;
    above_zero("timeout", step.timeout)?;
    step.env.iter().try_for_each(|(key, value)| env(key, value)).map_err(|e| e.under("env"))
}

fn env(key: &str, value: &str) -> Checked {
    if key.is_empty() || key.len() > KEY_MAX || key.contains('=') {
        return Err(WireError::new("a name must not be empty, long, or contain `=`")
            .within(Step::Name(key.to_owned())));
    }
    without_nul(key).and_then(|()| without_nul(value)).map_err(|e| e.under(key))
}

fn without_nul(text: &str) -> Checked {
    if text.contains('\0') {
        return Err(WireError::new("a NUL character cannot be passed to a program"));
    }
    prose(text)
}

fn retry(retry: &RetryPolicy) -> Checked {
    if retry.max_attempts.is_some_and(|n| !(1..=ATTEMPTS_MAX).contains(&n)) {
        return Err(WireError::new(format!("expected 1 to {ATTEMPTS_MAX}")).under("max_attempts"));
    }
    if let Some(backoff) = &retry.backoff {
        at_most(backoff.len(), LIST_MAX, "waiting times").map_err(|e| e.under("backoff"))?;
    }
    if retry.jitter.is_some_and(|j| !(0.0..=1.0).contains(&j)) {
        return Err(WireError::new("expected a number from 0 to 1").under("jitter"));
    }
    Ok(())
}

/// A limit of nothing would end whatever it limits before it begins.
fn above_zero(key: &'static str, span: Option<Duration>) -> Checked {
    match span {
        Some(span) if span.is_zero() => Err(WireError::new("expected a duration above zero").under(key)),
        _ => Ok(()),
    }
}

fn limits(limits: &Limits) -> Checked {
    limits.lease.map_or(Ok(()), ttl).map_err(|e| e.under("lease"))?;
    for (key, span) in [("runtime", limits.runtime), ("stall", limits.stall)] {
        above_zero(key, span)?;
    }
    if limits.tokens.is_some_and(|n| n >= COUNT_END) {
        return Err(WireError::new("the number is too large").under("tokens"));
    }
    if limits.cost_usd.is_some_and(|c| !c.is_finite() || c < 0.0) {
        return Err(WireError::new("expected an amount from 0").under("cost_usd"));
    }
    Ok(())
}

/// Unknown fields are kept as they are, as far as a file can hold them.
fn extra(key: &str, value: &Value) -> Checked {
    if is_known(key) {
        return Err(WireError::new(format!("`{key}` cannot be edited")).within(Step::Name(key.to_owned())));
    }
    if key.len() > KEY_MAX {
        return Err(WireError::new(format!("a key of {} bytes; at most {KEY_MAX} are allowed", key.len()))
            .within(Step::Name(key.to_owned())));
    }
    plain(value, 0).map_err(|e| e.under(key))
}

fn plain(value: &Value, depth: usize) -> Checked {
    if depth > EXTRA_DEPTH_MAX {
        return Err(WireError::new(format!("nested more than {EXTRA_DEPTH_MAX} levels deep")));
    }
    match value {
        Value::Str(text) => prose(text),
        Value::Float(number) if !number.is_finite() => {
            Err(WireError::new("infinity and NaN are not allowed"))
        }
        Value::List(items) => items.iter().try_for_each(|item| plain(item, depth + 1)),
        Value::Map(entries) if entries.iter().any(|(k, _)| k.len() > KEY_MAX) => {
            Err(WireError::new(format!("a key of more than {KEY_MAX} bytes")))
        }
        Value::Map(entries) => entries.iter().try_for_each(|(_, item)| plain(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Definition {
        Definition { title: "x".to_owned(), ..Definition::default() }
    }

    fn refused(change: impl Fn(&mut Definition)) -> String {
        let mut def = good();
        change(&mut def);
        check_definition(&def).map_or_else(|e| e.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn every_bound_names_its_field() {
        assert_eq!(check_definition(&good()), Ok(()));
        assert!(refused(|d| d.title = String::new()).starts_with("title: "));
        assert!(refused(|d| d.title = "two\nlines".to_owned()).starts_with("title: "));
        assert!(refused(|d| d.title = "ä".repeat(501)).contains("501 characters"));
        assert!(refused(|d| d.description = "x".repeat(TEXT_MAX + 1)).starts_with("description: "));
        assert!(refused(|d| d.tags = vec!["x".to_owned(), " ".to_owned()]).starts_with("tags[1]: "));
        assert!(refused(|d| d.success_criteria = vec!["x".to_owned(); 101]).contains("at most 100"));
        assert!(refused(|d| d.retry.max_attempts = Some(0)).starts_with("retry.max_attempts: "));
        assert!(refused(|d| d.retry.jitter = Some(1.1)).starts_with("retry.jitter: "));
        assert!(refused(|d| d.retry.jitter = Some(f64::NAN)).starts_with("retry.jitter: "));
        assert!(refused(|d| d.limits.lease = Some(Duration::from_millis(999))).starts_with("limits.lease: "));
        assert!(
            refused(|d| drop(d.extra.insert("status".to_owned(), Value::Null)))
                .contains("`status` cannot be edited")
        );
        assert!(refused(|d| d.run = Some(Run::Exec(vec![]))).starts_with("run.exec: "));
    }
}
