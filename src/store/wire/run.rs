//! `run`, `retry` and `limits` of a task.

use std::collections::BTreeMap;

use super::fields::{Fields, Out, count, expected, flag, fraction, list, small, span, text, texts};
use super::{Step, WireError};
use crate::protocol::task::{ExecStep, Limits, RetryPolicy, Run};
use crate::protocol::time::format_span;
use crate::protocol::value::Value;

pub(super) fn run_to_value(run: &Run) -> Value {
    let mut out = Out::new(false);
    match run {
        Run::Agent(agent) => out.put("agent", agent),
        Run::Exec(steps) => out.put("exec", Value::List(steps.iter().map(step_to_value).collect())),
    }
    out.done()
}

pub(super) fn run_from_value(value: &Value) -> Result<Run, WireError> {
    let mut fields = Fields::of(value)?;
    let agent = fields.opt("agent", text)?;
    let exec = fields.opt("exec", |v| list(v, step_from_value))?;
    fields.finish("run")?;
    match (agent, exec) {
        (Some(agent), None) => Ok(Run::Agent(agent)),
        (None, Some(steps)) => Ok(Run::Exec(steps)),
        _ => Err(WireError::new("expected either `agent` or `exec`")),
    }
}

fn step_to_value(step: &ExecStep) -> Value {
    let mut out = Out::new(false);
    out.put("argv", &step.argv);
    out.maybe("name", step.name.as_ref());
    out.maybe("cwd", step.cwd.as_ref());
    let env = step.env.iter().map(|(k, v)| (k.clone(), Value::Str(v.clone()))).collect();
    out.unless("env", step.env.is_empty(), Value::Map(env));
    out.maybe("timeout", step.timeout);
    out.unless("continue_on_error", !step.continue_on_error, step.continue_on_error);
    out.done()
}

fn step_from_value(value: &Value) -> Result<ExecStep, WireError> {
    let mut fields = Fields::of(value)?;
    let step = ExecStep {
        argv: fields.need("argv", texts)?,
        name: fields.opt("name", text)?,
        cwd: fields.opt("cwd", text)?,
        env: fields.opt("env", env)?.unwrap_or_default(),
        timeout: fields.opt("timeout", span)?,
        continue_on_error: fields.opt("continue_on_error", flag)?.unwrap_or_default(),
    };
    fields.finish("an exec step")?;
    Ok(step)
}

fn env(value: &Value) -> Result<BTreeMap<String, String>, WireError> {
    let Value::Map(entries) = value else { return Err(expected("a map of names and texts", value)) };
    let read = |(name, value): &(String, Value)| {
        text(value).map(|text| (name.clone(), text)).map_err(|e| e.within(Step::Key(name.clone())))
    };
    entries.iter().map(read).collect()
}

pub(super) fn retry_to_value(retry: &RetryPolicy, full: bool) -> Value {
    let mut out = Out::new(full);
    out.maybe("max_attempts", retry.max_attempts);
    let spans = |spans: &Vec<_>| Value::List(spans.iter().map(|s| Value::Str(format_span(*s))).collect());
    out.maybe("backoff", retry.backoff.as_ref().map(spans));
    out.maybe("jitter", retry.jitter);
    out.done()
}

pub(super) fn retry_from_value(value: &Value) -> Result<RetryPolicy, WireError> {
    let mut fields = Fields::of(value)?;
    let retry = RetryPolicy {
        max_attempts: fields.opt("max_attempts", small)?,
        backoff: fields.opt("backoff", |v| list(v, span))?,
        jitter: fields.opt("jitter", fraction)?,
    };
    fields.finish("retry")?;
    Ok(retry)
}

pub(super) fn limits_to_value(limits: &Limits, full: bool) -> Value {
    let mut out = Out::new(full);
    out.maybe("lease", limits.lease);
    out.maybe("runtime", limits.runtime);
    out.maybe("stall", limits.stall);
    out.maybe("tokens", limits.tokens);
    out.maybe("cost_usd", limits.cost_usd);
    out.done()
}

pub(super) fn limits_from_value(value: &Value) -> Result<Limits, WireError> {
    let mut fields = Fields::of(value)?;
    let limits = Limits {
        lease: fields.opt("lease", span)?,
        runtime: fields.opt("runtime", span)?,
        stall: fields.opt("stall", span)?,
        tokens: fields.opt("tokens", count)?,
        cost_usd: fields.opt("cost_usd", fraction)?,
    };
    fields.finish("limits")?;
    Ok(limits)
}
