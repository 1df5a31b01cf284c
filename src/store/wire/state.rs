//! The lease, its process and progress, and the result of the last attempt.

use super::WireError;
use super::fields::{Fields, Out, count, expected, moment, small, span, text, texts};
use super::words::word;
use crate::protocol::op::ProcessRef;
use crate::protocol::task::{Lease, Outcome, Progress};
use crate::protocol::value::Value;

pub(super) fn lease_to_value(lease: &Lease, full: bool) -> Value {
    let mut out = Out::new(full);
    out.put("session", &lease.session);
    out.put("machine", &lease.machine);
    out.put("epoch", lease.epoch);
    out.put("beat", lease.beat);
    out.put("ttl", lease.ttl);
    out.put("acquired_at", lease.acquired_at);
    out.put("renewed_at", lease.renewed_at);
    out.put("expires_at", lease.expires_at);
    if let Some(process) = &lease.process {
        out.put("process", process_to_value(process));
    }
    out.maybe("progress", lease.progress.as_ref().map(|p| progress_to_value(p, full)));
    out.done()
}

pub(super) fn lease_from_value(value: &Value) -> Result<Lease, WireError> {
    let mut fields = Fields::of(value)?;
    let lease = Lease {
        session: fields.need("session", text)?,
        machine: fields.need("machine", text)?,
        epoch: fields.need("epoch", count)?,
        beat: fields.need("beat", count)?,
        ttl: fields.need("ttl", span)?,
        acquired_at: fields.need("acquired_at", moment)?,
        renewed_at: fields.need("renewed_at", moment)?,
        expires_at: fields.need("expires_at", moment)?,
        process: fields.opt("process", process_from_value)?,
        progress: fields.opt("progress", progress_from_value)?,
    };
    fields.finish("a lease")?;
    Ok(lease)
}

pub(super) fn process_to_value(process: &ProcessRef) -> Value {
    let mut out = Out::new(true);
    out.put("pid", process.pid);
    out.put("start", process.start);
    out.put("boot", &process.boot);
    out.done()
}

pub(super) fn process_from_value(value: &Value) -> Result<ProcessRef, WireError> {
    let mut fields = Fields::of(value)?;
    let process = ProcessRef {
        pid: fields.need("pid", small)?,
        start: fields.need("start", count)?,
        boot: fields.need("boot", text)?,
    };
    fields.finish("a process")?;
    Ok(process)
}

pub(super) fn progress_to_value(progress: &Progress, full: bool) -> Value {
    let mut out = Out::new(full);
    out.maybe("percent", progress.percent.map(u32::from));
    out.maybe("note", progress.note.as_ref());
    out.done()
}

pub(super) fn progress_from_value(value: &Value) -> Result<Progress, WireError> {
    let mut fields = Fields::of(value)?;
    let progress = Progress { percent: fields.opt("percent", percent)?, note: fields.opt("note", text)? };
    fields.finish("progress")?;
    Ok(progress)
}

/// 0 to 100.
pub(super) fn percent(value: &Value) -> Result<u8, WireError> {
    match value {
        Value::Int(number) if (0..=100).contains(number) => Ok(u8::try_from(*number).unwrap_or(100)),
        Value::Int(number) => Err(WireError::new(format!("{number} is not between 0 and 100"))),
        other => Err(expected("a whole number from 0 to 100", other)),
    }
}

pub(super) fn outcome_to_value(outcome: &Outcome, full: bool) -> Value {
    let mut out = Out::new(full);
    out.put("outcome", outcome.outcome);
    out.put("reason", outcome.reason);
    out.put("notes", &outcome.notes);
    out.maybe("bundle", outcome.bundle.as_ref());
    out.unless("artifacts", outcome.artifacts.is_empty(), &outcome.artifacts);
    out.put("at", outcome.at);
    out.done()
}

pub(super) fn outcome_from_value(value: &Value) -> Result<Outcome, WireError> {
    let mut fields = Fields::of(value)?;
    let outcome = Outcome {
        outcome: fields.need("outcome", word)?,
        reason: fields.need("reason", word)?,
        notes: fields.need("notes", text)?,
        bundle: fields.opt("bundle", text)?,
        artifacts: fields.or_default("artifacts", texts)?,
        at: fields.need("at", moment)?,
    };
    fields.finish("a result")?;
    Ok(outcome)
}
