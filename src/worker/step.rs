//! Runs one command to its end: pulls its events, feeds the clocks and the holder's control, and stops it
//! politely first, then for good.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use super::attempt::{Attempt, Control, Decision, Progress};
use super::bundle::Bundle;
use super::clocks::{Clocks, Expired};
use super::environment::Environment;
use super::manifest::{CommandRecord, Span, UsageRecord, reason_name};
use super::output::Output;
use super::plan::{Planned, stem};
use crate::protocol::task::Reason;
use crate::world::World;
use crate::world::process::{Child, Command, Event, Exit, Signal, Stream};

/// Longest wait for an event; also the least time between two ticks.
const TICK: Duration = Duration::from_millis(100);
/// How long after `SIGKILL` a child is waited for.
const GIVE_UP: Duration = Duration::from_secs(20);

/// What all commands of an attempt share.
pub(super) struct Running<'a, 'b> {
    pub world: &'a World,
    pub attempt: &'a Attempt<'a>,
    pub control: &'b mut dyn Control,
    pub bundle: Bundle<'a>,
    pub environment: Environment,
    pub began: Duration,
    pub steps: usize,
}

/// How a command ended.
pub(super) struct Ended {
    pub record: CommandRecord,
    pub reason: Reason,
    /// Whether the attempt has to end with it, whatever the command's own settings say.
    pub for_all: bool,
}

/// Why and since when a command is being stopped.
#[derive(Clone, Copy)]
struct Stopping {
    reason: Reason,
    for_all: bool,
    kill_at: Duration,
    killed: bool,
}

impl Running<'_, '_> {
    /// Asks the holder whether to go on.
    pub fn tick(&mut self, step: usize, pid: Option<u32>, last_output: Duration, stopping: bool) -> Decision {
        let now = self.world.clock.monotonic();
        self.control.tick(&Progress { now, step, steps: self.steps, pid, last_output, stopping })
    }

    /// Runs one command in a directory that was checked.
    pub fn run(&mut self, step: &Planned, cwd: PathBuf) -> Ended {
        let started = (self.world.clock.wall_ms(), self.world.clock.monotonic());
        let mut record = self.blank_record(step);
        let ended = match self.spawn(step, cwd, &mut record) {
            Ok(mut child) => {
                self.bundle
                    .event("started", json!({"step": step.index, "argv": record.argv, "pid": child.pid()}));
                let ended = Watching::new(self, step, &mut *child, started.1).watch(&mut record);
                drop(child);
                ended
            }
            Err(error) => {
                record.detail = Some(self.environment.secrets.text(&error.to_string()));
                (Reason::SpawnFailed, false)
            }
        };
        record.span = span(self.world, self.attempt, started);
        record.reason = reason_name(ended.0);
        self.bundle.last_event(
            "ended",
            json!({"step": step.index, "reason": record.reason, "exit_code": record.exit_code, "signal": record.signal}),
        );
        Ended { record, reason: ended.0, for_all: ended.1 }
    }

    /// A record of a command that has not run.
    pub fn blank_record(&self, step: &Planned) -> CommandRecord {
        let text = |text: &String| self.environment.secrets.text(text);
        CommandRecord {
            index: step.index,
            name: text(&step.name),
            argv: step.argv.iter().map(text).collect(),
            program: None,
            cwd: text(&step.cwd),
            span: Span::default(),
            timeout_ms: step.timeout.map(millis),
            exit_code: None,
            signal: None,
            reason: "",
            detail: None,
            continue_on_error: step.continue_on_error,
            stragglers: 0,
            survivors: 0,
            stdout: None,
            stderr: None,
            usage: UsageRecord::default(),
        }
    }

    fn spawn(
        &self,
        step: &Planned,
        cwd: PathBuf,
        record: &mut CommandRecord,
    ) -> std::io::Result<Box<dyn Child>> {
        let mut env = self.environment.vars.clone();
        env.extend(step.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        let path = env.get("PATH").map_or("", String::as_str);
        let program = self.world.process.find_program(&step.argv[0], &cwd, path)?;
        record.program = Some(self.environment.secrets.text(&program.to_string_lossy()));
        let env = env.into_iter().collect();
        let (argv, stdin) = (step.argv.clone(), step.stdin.clone());
        let fence_at = self.control.fence_at();
        self.world.process.spawn(&Command { program, argv, cwd, env, stdin, fence_at })
    }
}

/// A running command.
struct Watching<'r, 'a, 'b> {
    running: &'r mut Running<'a, 'b>,
    step: &'r Planned,
    child: &'r mut dyn Child,
    clocks: Clocks,
    outputs: [Output; 2],
    stopping: Option<Stopping>,
    ticked: Option<Duration>,
    fence: Option<Duration>,
}

impl<'r, 'a, 'b> Watching<'r, 'a, 'b> {
    fn new(
        running: &'r mut Running<'a, 'b>,
        step: &'r Planned,
        child: &'r mut dyn Child,
        now: Duration,
    ) -> Self {
        let clocks = Clocks {
            attempt_began: running.began,
            step_began: now,
            last_output: now,
            runtime: running.attempt.limits.runtime,
            step_limit: step.timeout,
            stall: running.attempt.limits.stall,
        };
        let (secrets, cap) = (Rc::clone(&running.environment.secrets), running.attempt.limits.log_cap);
        let stem = stem(step.index, &secrets.text(&step.name));
        let outputs = [Stream::Stdout, Stream::Stderr]
            .map(|stream| Output::new(&mut running.bundle, (step.index, &stem, stream), &secrets, cap));
        Watching { running, step, child, clocks, outputs, stopping: None, ticked: None, fence: None }
    }

    /// Until it has ended: the reason, and whether the attempt ends too.
    fn watch(mut self, record: &mut CommandRecord) -> (Reason, bool) {
        let exit = self.until_exit();
        let Watching { running, step, outputs, stopping, .. } = self;
        let Running { bundle, control, environment, .. } = running;
        let [stdout, stderr] = outputs.map(|output| {
            let stream = output.stream;
            let (clean, record) = output.close(bundle);
            if !clean.is_empty() {
                control.output(step.index, stream, &clean);
            }
            Some(record)
        });
        (record.stdout, record.stderr) = (stdout, stderr);
        let exit = match exit {
            Ok(exit) => exit,
            Err(detail) => {
                record.detail = Some(environment.secrets.text(&detail));
                return stopping.map_or((Reason::Error, false), |stop| (stop.reason, stop.for_all));
            }
        };
        (record.exit_code, record.signal) = (exit.code, exit.signal);
        (record.stragglers, record.survivors) = (exit.stragglers, exit.survivors);
        record.usage =
            UsageRecord { user_ms: exit.user_ms, sys_ms: exit.sys_ms, max_rss_kb: exit.max_rss_kb };
        verdict(exit, stopping, record)
    }

    fn until_exit(&mut self) -> Result<Exit, String> {
        loop {
            match self.child.next(TICK) {
                Ok(Event::Exited(exit)) => return Ok(exit),
                Ok(Event::Output(stream, bytes)) => self.take(stream, &bytes),
                Ok(Event::Idle) => {}
                Err(error) => return Err(format!("lost sight of the command: {error}")),
            }
            // Taken before the holder's work, which may last: what the command wrote meanwhile is not
            // read yet, and must not count as silence.
            let now = self.running.world.clock.monotonic();
            self.ask();
            if let (None, Some(expired)) = (self.stopping, self.clocks.expired(now)) {
                self.stop(expired.reason(), expired != Expired::Step, now);
            }
            self.insist(now)?;
        }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        self.clocks.last_output = self.running.world.clock.monotonic();
        let Running { bundle, control, .. } = &mut *self.running;
        let clean = self.outputs[slot(stream)].take(bundle, bytes, self.clocks.last_output);
        if !clean.is_empty() {
            control.output(self.step.index, stream, &clean);
        }
    }

    /// Lets the holder work and decide, at most every [`TICK`].
    fn ask(&mut self) {
        let now = self.running.world.clock.monotonic();
        if self.ticked.is_some_and(|at| now.saturating_sub(at) < TICK) {
            return;
        }
        let (last, stopping) = (self.clocks.last_output, self.stopping.is_some());
        let decision = self.running.tick(self.step.index, Some(self.child.pid()), last, stopping);
        let now = self.running.world.clock.monotonic();
        self.ticked = Some(now);
        if let Decision::Stop(why) = decision {
            self.stop(why.reason(), true, now);
        }
        let fence = self.running.control.fence_at();
        if let (true, Some(at)) = (fence != self.fence, fence) {
            match self.child.fence_at(at) {
                Ok(()) => self.fence = fence,
                // Without the second rope the first one still holds: the holder's own deadline.
                Err(error) => self.running.bundle.event("fence_failed", json!({"error": error.to_string()})),
            }
        }
    }

    /// Begins to stop the command. The first reason stays, except that a lost lease goes before all others.
    fn stop(&mut self, reason: Reason, for_all: bool, now: Duration) {
        let limits = &self.running.attempt.limits;
        let lost = reason == Reason::LeaseLost;
        let grace = if lost { limits.grace_lease_lost } else { limits.grace };
        match &mut self.stopping {
            Some(stop) if lost && stop.reason != Reason::LeaseLost => {
                *stop = Stopping { reason, for_all: true, kill_at: stop.kill_at.min(now + grace), ..*stop };
            }
            Some(_) => return,
            None => {
                self.stopping = Some(Stopping { reason, for_all, kill_at: now + grace, killed: false });
                // If it cannot be told, the kill that follows, or the drop, ends it.
                let _ = self.child.signal(Signal::Term);
            }
        }
        self.running
            .bundle
            .last_event("stopping", json!({"step": self.step.index, "reason": reason_name(reason)}));
    }

    /// After the grace period: kills, and gives up waiting when even that does not help.
    fn insist(&mut self, now: Duration) -> Result<(), String> {
        let Some(stop) = &mut self.stopping else { return Ok(()) };
        if now >= stop.kill_at + GIVE_UP {
            return Err("the command did not end after SIGKILL".to_owned());
        }
        if now >= stop.kill_at && !stop.killed {
            stop.killed = true;
            let _ = self.child.signal(Signal::Kill);
        }
        Ok(())
    }
}

fn verdict(exit: Exit, stopping: Option<Stopping>, record: &mut CommandRecord) -> (Reason, bool) {
    if exit.fenced {
        record.detail = Some("the lease's deadline passed; the supervisor killed the command".to_owned());
        return (Reason::LeaseLost, true);
    }
    if let Some(stop) = stopping {
        return (stop.reason, stop.for_all);
    }
    if exit.orphaned {
        record.detail = Some("the supervisor process was killed, and the command with it".to_owned());
    }
    (if exit.code == Some(0) && !exit.orphaned { Reason::Success } else { Reason::Error }, false)
}

fn slot(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

/// From `started` (wall-clock milliseconds, monotonic time) until now.
pub(super) fn span(world: &World, attempt: &Attempt<'_>, started: (i64, Duration)) -> Span {
    let finished_ms = world.clock.wall_ms();
    Span {
        started_at: (attempt.rfc3339)(started.0),
        started_ms: started.0,
        finished_at: (attempt.rfc3339)(finished_ms),
        finished_ms,
        duration_ms: millis(world.clock.monotonic().saturating_sub(started.1)),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
