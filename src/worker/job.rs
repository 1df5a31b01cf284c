//! One claimed task from its definition to the act that ends the claim.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::attempt::{Attempt, AttemptReport, RunLimits, StopReason, Work};
use super::ending::{Ending, ending};
use super::executor::run_attempt;
use super::git_head::git_head;
use super::holding::{Heard, Holding, Orders, Pulse};
use super::kit::{Kit, Place};
use super::prompt::{self, Variables};
use super::pulse::{self, Claim};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Reason, Run, Task};
use crate::protocol::time::Timestamp;
use crate::protocol::transition::status_word;
use crate::usecase::change::Changed;
use crate::usecase::claim::Claimed;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::queue::Queue;
use crate::usecase::run::{AgentType, Expect, PromptBy};
use crate::usecase::{holder, read, run};
use crate::world::World;

/// Longest run of an exec block without a limit of its own: what hangs ends some day.
const RUNTIME: Duration = Duration::from_secs(24 * 3600);
/// How often the end of a claim is written before the lease is left to lapse.
const TRIES: u32 = 5;

/// The worker around an attempt: where it runs, who may end it, who is told, and what renews its lease meanwhile.
pub trait Around: Orders {
    /// Where tasks run.
    fn workspace(&self, q: &Queue) -> PathBuf;
    /// The environment of the worker.
    fn environment(&self) -> &BTreeMap<String, String>;
    /// Passes something on to people.
    fn say(&self, notice: String);
    /// Starts what renews the lease of a claim until it is dropped.
    fn pulse(&self, claim: &Claim) -> Box<dyn Pulse>;
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// The task.
    pub task: TaskId,
    /// Its title.
    pub title: String,
    /// Fencing token.
    pub epoch: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Who ran it.
    pub session: String,
    /// Why it ended.
    pub reason: Reason,
    /// The task's status after it, as a word.
    pub outcome: &'static str,
    /// What was said at its end.
    pub notes: String,
    /// Its evidence, relative to the state directory.
    pub bundle: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// The act that ended the claim, if this worker wrote one.
    pub ended: Option<Changed>,
}

/// Runs a task that was just claimed and ends the claim.
pub fn run_claimed(q: &mut Queue, around: &dyn Around, kit: &Kit, claimed: &Claimed) -> Ran {
    let began = q.world().clock.monotonic();
    let task = &claimed.task;
    let claim = Claim {
        id: task.id().clone(),
        epoch: claimed.epoch,
        session: claimed.session.clone(),
        ttl: task.lease().map_or(q.settings().lease.ttl, |lease| lease.ttl),
    };
    let report = match prepare(q, around, kit, task) {
        Ok(plan) => execute(q, around, kit, &claim, task, &plan),
        Err(error) => unstarted(&error),
    };
    let (reason, outcome, ended) = finish(q, around, &claim, &report);
    Ran {
        task: claim.id,
        title: task.def().title.clone(),
        epoch: claim.epoch,
        attempt: task.attempt(),
        session: claim.session,
        reason,
        outcome,
        notes: report.notes,
        bundle: report.bundle.as_deref().map(|dir| run::shown(q, dir)),
        duration: q.world().clock.monotonic().saturating_sub(began),
        ended,
    }
}

/// Nothing was run; the reason gives the attempt back.
fn unstarted(error: &Error) -> AttemptReport {
    AttemptReport {
        reason: Reason::SpawnFailed,
        notes: format!("not run: {error}"),
        bundle: None,
        manifest_sha256: None,
        commands: Vec::new(),
        evidence_errors: Vec::new(),
    }
}

/// What is going to run.
struct Plan<'k> {
    work: Work,
    agent: Option<&'k AgentType>,
    workspace: PathBuf,
}

fn prepare<'k>(q: &mut Queue, around: &dyn Around, kit: &'k Kit, task: &Task) -> Result<Plan<'k>> {
    let workspace = around.workspace(q);
    match &task.def().run {
        Some(Run::Exec(steps)) => Ok(Plan { work: Work::Exec(steps.clone()), agent: None, workspace }),
        Some(Run::Agent(name)) => {
            let agent = kit.agents.get(name).ok_or_else(|| {
                Error::new(Kind::Config, "agents", format!("agents.yaml has no agent type `{name}`"))
            })?;
            let prompt = prompt_for(q, task, name, agent, &workspace)?;
            let argv = match agent.prompt {
                PromptBy::Stdin => agent.argv.clone(),
                PromptBy::Argument => agent.argv.iter().map(|arg| arg.replace("{prompt}", &prompt)).collect(),
            };
            let work = Work::Command { name: name.clone(), argv, prompt: prompt.into_bytes() };
            Ok(Plan { work, agent: Some(agent), workspace })
        }
        None => Err(Error::new(Kind::Config, "run", "the task does not say what to run")),
    }
}

fn prompt_for(
    q: &mut Queue,
    task: &Task,
    name: &str,
    agent: &AgentType,
    workspace: &std::path::Path,
) -> Result<String> {
    let context = read::context(task.clone());
    let bundles = run::bundles(q, task.id())?;
    let variables = Variables::of(&context, q.session(), &workspace.to_string_lossy(), &bundles);
    let own = run::template(q, agent.template.as_deref().unwrap_or(name))?;
    if let (None, Some(named)) = (&own, &agent.template) {
        let message =
            format!("agent type `{name}` names the template `{named}`, but prompts/{named}.md is missing");
        return Err(Error::new(Kind::Config, "prompt", message));
    }
    let (file, text) = own.unwrap_or_else(|| ("built-in prompt".to_owned(), prompt::DEFAULT.to_owned()));
    prompt::render(&file, &text, &variables).map_err(|why| Error::new(Kind::Config, "prompt", why))
}

fn execute(
    q: &Queue,
    around: &dyn Around,
    kit: &Kit,
    claim: &Claim,
    task: &Task,
    plan: &Plan<'_>,
) -> AttemptReport {
    let world = q.world();
    let state = q.root();
    let judge = |argv: &[String], cwd: &std::path::Path| {
        let at = Place { cwd, workspace: &plan.workspace, state };
        match (&plan.work, plan.agent) {
            (_, Some(agent)) => kit.judge_agent(&agent.argv, argv, at),
            (Work::Exec(steps), None) => kit.judge_step(steps, argv, at),
            (Work::Command { .. }, None) => kit.judge_step(&[], argv, at),
        }
    };
    let settings = q.settings();
    let pass = plan.agent.map(|agent| agent.pass_env.as_slice()).unwrap_or_default();
    let attempt = Attempt {
        task: task.id().clone(),
        title: task.def().title.clone(),
        epoch: claim.epoch,
        attempt: task.attempt(),
        session: claim.session.clone(),
        machine: q.machine().to_owned(),
        work: plan.work.clone(),
        workspace: plan.workspace.clone(),
        bundle_dir: run::bundle_dir(q, task),
        limits: limits(task, plan.agent),
        environment: around.environment().clone(),
        pass_env: settings.worker.pass_env.iter().chain(pass).cloned().collect(),
        extra_env: vec![("ORCH_STATE".to_owned(), state.to_string_lossy().into_owned())],
        secret_names: settings.secrets.names.clone(),
        policy: &judge,
        policy_digest: Some(kit.policy_digest()),
        sandbox: settings.worker.sandbox,
        require_sandbox: settings.worker.require_sandbox,
        artifacts: Vec::new(),
        rfc3339: &|ms| run::rfc3339(Timestamp(ms)),
    };
    let before = git_head(&*world.disk, &plan.workspace);
    let fence = match pulse::lasts(q, claim) {
        Ok(Heard::Lasts(fence)) => fence,
        // Whoever cannot read the claim does not act on it.
        _ => world.clock.boottime(),
    };
    let beats = around.pulse(claim);
    let mut holding = Holding::new(&*world.clock, around, beats, claim.ttl, fence);
    let mut report = run_attempt(world, &attempt, &mut holding);
    if let Some(why) = holding.lost() {
        report.reason = why.reason();
    }
    if let Some(agent) = plan.agent {
        expect(agent.expect, &mut report, before != git_head(&*world.disk, &plan.workspace));
    }
    report
}

/// Exit code 0 is no success where the type asks for an effect.
fn expect(what: Expect, report: &mut AttemptReport, moved: bool) {
    if report.reason != Reason::Success {
        return;
    }
    let wrote = report.commands.iter().any(|c| c.stdout.as_ref().is_some_and(|out| out.produced_bytes > 0));
    let missing = match what {
        Expect::Output if !wrote => "it ended with exit code 0 but wrote nothing to its standard output",
        Expect::Commit if !moved => "it ended with exit code 0 but the workspace has no new commit",
        _ => return,
    };
    report.reason = Reason::Error;
    missing.clone_into(&mut report.notes);
}

fn limits(task: &Task, agent: Option<&AgentType>) -> RunLimits {
    let own = &task.def().limits;
    let (runtime, stall) = agent.map_or((Some(RUNTIME), None), |agent| (agent.runtime, agent.stall));
    RunLimits { runtime: own.runtime.or(runtime), stall: own.stall.or(stall), ..RunLimits::default() }
}

/// Ends the claim; gives the reason that counts, the status that the task has now, and the act if there was one.
fn finish(
    q: &mut Queue,
    around: &dyn Around,
    claim: &Claim,
    report: &AttemptReport,
) -> (Reason, &'static str, Option<Changed>) {
    let ending = ending(report);
    let mut tries = 0;
    let ended = loop {
        tries += 1;
        match write(q, claim, &ending) {
            Err(error) if may_pass(&error) && tries < TRIES => {
                q.world().clock.sleep(Duration::from_millis(100 << tries));
            }
            other => break other,
        }
    };
    let reason = match ended {
        Ok(Some(changed)) => return (report.reason, status_word(changed.task.status()), Some(changed)),
        Ok(None) => report.reason,
        Err(error) if error.kind == Kind::Fenced => {
            around.say(format!("{}: nothing was written: {error}", claim.id));
            let cancelled = error.code == "cancelled";
            if cancelled { StopReason::Cancelled.reason() } else { StopReason::LeaseLost.reason() }
        }
        Err(error) => {
            around.say(format!("{}: the end of the attempt could not be written: {error}", claim.id));
            report.reason
        }
    };
    let status = read::show(q, &claim.id).map_or("unknown", |task| status_word(task.status()));
    (reason, status, None)
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind, Kind::Failure | Kind::Unreachable | Kind::Timeout) || error.code == "contention"
}

fn write(q: &mut Queue, claim: &Claim, ending: &Ending) -> Result<Option<Changed>> {
    let (id, epoch) = (&claim.id, Some(claim.epoch));
    match ending {
        Ending::Done(how) => holder::done(q, id, epoch, how).map(Some),
        Ending::Fail(how) => holder::fail(q, id, epoch, how).map(Some),
        Ending::Release(notes) => {
            holder::release(q, id, epoch, Some(Reason::Shutdown), Some(notes)).map(Some)
        }
        Ending::Nothing => Ok(None),
    }
}

/// The name under which a slot of this process claims.
#[must_use]
pub fn session_name(base: &str, slot: usize, slots: usize) -> String {
    if slots > 1 { format!("{base}/{}", slot + 1) } else { base.to_owned() }
}

/// The process that stands for the claims of a worker.
#[must_use]
pub fn own_pid(world: &World) -> u32 {
    world.process.me().pid
}
