//! One attempt from its first check to its manifest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::attempt::{Attempt, AttemptReport, Control, Decision, Work};
use super::bundle::Bundle;
use super::capture::sha256;
use super::environment::Environment;
use super::git_head::git_head;
use super::manifest::{
    Artifact, CommandRecord, EnvRecord, Manifest, PolicyRecord, ResultRecord, Runner, SCHEMA_VERSION,
    SandboxRecord, Source, reason_name,
};
use super::plan::{Planned, Refused, When, check, plan};
use super::sandbox::{self, Sandbox};
use super::step::{Running, span};
use crate::protocol::task::Reason;
use crate::world::World;

/// Largest artifact whose digest is taken, bytes.
const ARTIFACT_MAX: u64 = 64 << 20;

/// How the commands of an attempt went.
struct Outcome {
    reason: Reason,
    notes: String,
    records: Vec<CommandRecord>,
    stopped_at: Option<usize>,
    refused: Option<String>,
}

/// Runs an attempt to its end and leaves its evidence. No process of it is left when this returns, except
/// those that the kernel itself cannot end; the manifest counts them.
pub fn run_attempt(world: &World, attempt: &Attempt<'_>, control: &mut dyn Control) -> AttemptReport {
    let started = (world.clock.wall_ms(), world.clock.monotonic());
    let bundle = match Bundle::create(world, &attempt.bundle_dir, attempt.epoch) {
        Ok(bundle) => bundle,
        Err(error) => return no_bundle(&attempt.bundle_dir, &error),
    };
    let environment = Environment::of(attempt, &bundle.dir);
    let head_before = head(world, &attempt.workspace);
    let steps = plan(&attempt.work);
    let mut running =
        Running { world, attempt, control, bundle, environment, began: started.1, steps: steps.len() };
    let prompt_sha256 = keep_prompt(&mut running);
    let outcome = run_steps(&mut running, &steps);
    finish(running, &steps, outcome, started, head_before, prompt_sha256)
}

/// Without a place for evidence nothing is run; the reason gives the attempt back.
fn no_bundle(dir: &Path, error: &std::io::Error) -> AttemptReport {
    let notes = format!("no bundle directory at {}: {error}; nothing was run", dir.display());
    AttemptReport {
        reason: Reason::SpawnFailed,
        evidence_errors: vec![notes.clone()],
        notes,
        bundle: None,
        manifest_sha256: None,
        commands: Vec::new(),
    }
}

fn head(world: &World, workspace: &Path) -> Option<String> {
    git_head(&*world.disk, workspace).map(|oid| oid.to_string())
}

/// Keeps the prompt, without secrets, and returns the digest of what was kept.
fn keep_prompt(running: &mut Running<'_, '_>) -> Option<String> {
    let Work::Command { prompt, .. } = &running.attempt.work else { return None };
    let text = running.environment.secrets.text(&String::from_utf8_lossy(prompt));
    running.bundle.append("prompt.md", text.as_bytes());
    Some(sha256(text.as_bytes()))
}

fn run_steps(running: &mut Running<'_, '_>, steps: &[Planned]) -> Outcome {
    let mut outcome = Outcome {
        reason: Reason::Success,
        notes: String::new(),
        records: Vec::new(),
        stopped_at: None,
        refused: None,
    };
    if let Err(refused) = check_all(running, steps) {
        refuse(running, steps, &mut outcome, refused);
        return outcome;
    }
    for step in steps {
        if !run_one(running, steps, step, &mut outcome) {
            break;
        }
    }
    if outcome.notes.is_empty() {
        outcome.notes = format!("{} command(s) ran", outcome.records.len());
    }
    outcome
}

/// Everything is looked at before anything runs.
fn check_all(running: &Running<'_, '_>, steps: &[Planned]) -> Result<(), Refused> {
    let attempt = running.attempt;
    sandbox::effective(attempt.sandbox, attempt.require_sandbox).map_err(|why| Refused {
        index: 0,
        reason: Reason::PolicyBlocked,
        why,
    })?;
    steps.iter().try_for_each(|step| check(running.world, attempt, step, When::BeforeAll).map(|_| ()))
}

fn refuse(running: &mut Running<'_, '_>, steps: &[Planned], outcome: &mut Outcome, refused: Refused) {
    let why = running.environment.secrets.text(&refused.why);
    if let Some(step) = steps.get(refused.index) {
        let mut record = running.blank_record(step);
        record.reason = reason_name(refused.reason);
        record.detail = Some(why.clone());
        let now = (running.world.clock.wall_ms(), running.world.clock.monotonic());
        record.span = span(running.world, running.attempt, now);
        outcome.records.push(record);
    }
    running.bundle.last_event("refused", json!({"step": refused.index, "why": why}));
    outcome.reason = refused.reason;
    outcome.notes = format!("not run: {why}");
    outcome.stopped_at = Some(refused.index);
    outcome.refused = (refused.reason == Reason::PolicyBlocked).then_some(why);
}

/// Runs the next command; false if the attempt ends here.
fn run_one(running: &mut Running<'_, '_>, steps: &[Planned], step: &Planned, outcome: &mut Outcome) -> bool {
    let now = running.world.clock.monotonic();
    let over = running.attempt.limits.runtime.is_some_and(|limit| now.saturating_sub(running.began) >= limit);
    let stop = match running.tick(step.index, None, now, false) {
        Decision::Stop(why) => Some(why.reason()),
        Decision::Continue => over.then_some(Reason::Timeout),
    };
    if let Some(reason) = stop {
        outcome.reason = reason;
        outcome.notes = format!("{} before command {} `{}`", reason_name(reason), step.index, step.name);
        outcome.stopped_at = Some(step.index);
        return false;
    }
    // Looked at again, because the commands before may have moved a link.
    let cwd = match check(running.world, running.attempt, step, When::Now) {
        Ok(cwd) => cwd,
        Err(refused) => {
            refuse(running, steps, outcome, refused);
            return false;
        }
    };
    let ended = running.run(step, cwd);
    let go_on = ended.reason == Reason::Success || (step.continue_on_error && !ended.for_all);
    if !go_on {
        outcome.reason = ended.reason;
        outcome.notes = describe(&ended.record);
        outcome.stopped_at = Some(step.index);
    }
    outcome.records.push(ended.record);
    go_on
}

/// One line about a command that ended the attempt.
fn describe(record: &CommandRecord) -> String {
    let how = match (record.exit_code, record.signal, &record.detail) {
        (_, _, Some(detail)) => detail.clone(),
        (Some(code), ..) => format!("exit code {code}"),
        (None, Some(signal), _) => format!("signal {signal}"),
        (None, None, None) => "no exit status".to_owned(),
    };
    format!("command {} `{}`: {} ({how})", record.index, record.name, record.reason)
}

fn finish(
    mut running: Running<'_, '_>,
    steps: &[Planned],
    outcome: Outcome,
    started: (i64, Duration),
    head_before: Option<String>,
    prompt_sha256: Option<String>,
) -> AttemptReport {
    let (world, attempt) = (running.world, running.attempt);
    let secrets = &running.environment.secrets;
    let notes = secrets.text(&outcome.notes);
    let mut manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        task: attempt.task.to_string(),
        title: secrets.text(&attempt.title),
        attempt: attempt.attempt,
        epoch: attempt.epoch,
        session: secrets.text(&attempt.session),
        machine: attempt.machine.clone(),
        runner: Runner::default(),
        span: span(world, attempt, started),
        source: Source {
            workspace: secrets.text(&attempt.workspace.to_string_lossy()),
            head_before,
            head_after: head(world, &attempt.workspace),
        },
        policy: PolicyRecord {
            digest: attempt.policy_digest.clone(),
            decision: if outcome.refused.is_some() { "forbid" } else { "allow" },
            why: outcome.refused,
        },
        sandbox: SandboxRecord {
            requested: attempt.sandbox.name(),
            effective: Sandbox::None.name(),
            required: attempt.require_sandbox,
        },
        env: EnvRecord {
            passed: running.environment.passed.clone(),
            redacted: running.environment.redacted.clone(),
        },
        not_run: not_run(steps, &outcome.records).map(|step| secrets.text(&step.name)).collect(),
        commands: outcome.records,
        artifacts: artifacts(&running),
        prompt_sha256,
        evidence_errors: Vec::new(),
        result: ResultRecord {
            reason: reason_name(outcome.reason),
            notes: notes.clone(),
            stopped_at: outcome.stopped_at.and_then(|at| steps.get(at)).map(|step| secrets.text(&step.name)),
        },
    };
    running.bundle.last_event("finished", json!({"reason": manifest.result.reason, "notes": notes}));
    let manifest_sha256 = running.bundle.seal(&mut manifest);
    let evidence_errors = std::mem::take(&mut running.bundle.errors);
    let bundle: Option<PathBuf> = Some(running.bundle.dir);
    let commands = manifest.commands;
    AttemptReport { reason: outcome.reason, notes, bundle, manifest_sha256, commands, evidence_errors }
}

fn not_run<'a>(steps: &'a [Planned], records: &'a [CommandRecord]) -> impl Iterator<Item = &'a Planned> {
    steps.iter().filter(|step| records.iter().all(|record| record.index != step.index))
}

/// The files that were named, relative to the workspace, and those that commands left in the bundle.
fn artifacts(running: &Running<'_, '_>) -> Vec<Artifact> {
    let (world, attempt, bundle) = (running.world, running.attempt, &running.bundle);
    let named = attempt.artifacts.iter().map(|path| artifact(world, &attempt.workspace, path));
    let left = bundle.left_by_commands();
    let left = left.iter().map(|path| Artifact {
        path: running.environment.secrets.text(&format!("$ORCH_BUNDLE/{path}")),
        ..artifact(world, &bundle.dir, path)
    });
    named.chain(left).collect()
}

fn artifact(world: &World, folder: &Path, path: &str) -> Artifact {
    let bytes = world.disk.read(&folder.join(path), ARTIFACT_MAX).ok();
    Artifact {
        path: path.to_owned(),
        bytes: bytes.as_ref().map(|bytes| bytes.len() as u64),
        sha256: bytes.as_ref().map(|bytes| sha256(bytes)),
    }
}
