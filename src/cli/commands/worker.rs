//! What `work`, `dispatch` and `up` have in common: a worker with its watcher, its keeper and its signals.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::keeper;
use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone, status_tone};
use crate::cli::render::{text, time};
use crate::cli::signals::Noted;
use crate::cli::{data, failure, output, values};
use crate::machine::{self, Options};
use crate::protocol::task::{Reason, Status};
use crate::protocol::transition::status_word;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::queue::Queue;
use crate::usecase::{status, sync};
use crate::watchdog::Timing;
use crate::worker::dispatcher::{Leaving, Mode};
use crate::worker::engine::{Ended, Engine, Open, Setup, Told};
use crate::worker::job::Ran;
use crate::worker::manifest::reason_name;
use crate::world::watcher::Watcher;
use crate::world::{FileKind, env};

/// Attempts that the report at the end names, at most: the last ones.
const REPORTED: usize = 10_000;
/// Notices that are remembered so that each is shown once.
const REMEMBERED: usize = 1_000;

/// Options of every worker.
#[derive(Args, Debug)]
pub struct WorkerArgs {
    /// Directory in which tasks run [default: the one that holds the state directory]
    #[arg(long, value_name = "DIR")]
    pub workspace: Option<PathBuf>,

    /// How long attempts may go on after SIGTERM or Ctrl-C before they are stopped and given back
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = values::span)]
    pub drain_time: Duration,
}

/// How a worker is run.
pub struct Plan {
    /// What it is there for.
    pub mode: Mode,
    /// Tasks at once.
    pub slots: usize,
    /// Watchdog and exchange with the remote beside it.
    pub keep: Option<Timing>,
}

/// Runs a worker to its end and gives the exit code.
///
/// # Errors
/// Those of SPEC §15: nothing ready (6), remote unreachable (75), configuration (78).
pub fn run(context: &mut Context, args: WorkerArgs, plan: &Plan) -> Result<i32> {
    let options = worker_options(context)?;
    let workspace = args.workspace.as_deref().map(|dir| existing(context, dir)).transpose()?;
    let engine = Engine::new(Setup {
        mode: plan.mode,
        slots: plan.slots,
        drain_time: args.drain_time,
        workspace,
        session: options.session.clone().unwrap_or_default(),
        environment: env::all(),
        open: opener(options.clone()),
    });
    let waker = engine.waker();
    let mut desk = Desk::new(context);
    let watcher = Watcher::new(&options.state.join("tasks"), move || waker.wake());
    if let Err(error) = &watcher {
        desk.notice(format!("{error}; new tasks are looked for every few seconds instead"));
    }
    let keeper = plan.keep.map(|timing| keeper::start(options, timing, engine.waker()));
    let mut noted = desk.context.signals.note().map_err(|e| Error::failure(format!("signals: {e}")))?;
    let ended = engine.run(&mut || noted.arrived(), &mut |told| desk.take(told));
    drop((watcher, keeper));
    let ended = ended?;
    if plan.keep.is_some() && matches!(ended.leaving, Leaving::Finished | Leaving::Drained) {
        desk.last_sync();
    }
    desk.finish(plan.mode, ended, &noted)
}

/// The folder in which tasks shall run. One that is not there would fail every task of the queue, one after the other.
fn existing(context: &Context, dir: &Path) -> Result<PathBuf> {
    let path = context.absolute(dir)?;
    let wrong = |why: String| {
        Error::new(Kind::Usage, "usage", format!("--workspace {}: {why}", path.display()))
            .hint("name a folder that is there; nothing was claimed")
    };
    // The folder may be named by a link.
    let real = env::real_path(&path).map_err(|e| wrong(e.to_string()))?;
    let stat = context.disk().stat(&real).map_err(|e| wrong(e.to_string()))?;
    if stat.is_none_or(|stat| stat.kind != FileKind::Dir) {
        return Err(wrong("it is not a folder".to_owned()));
    }
    Ok(path)
}

/// A worker's session is named after its own process, not after the shell that started it.
fn worker_options(context: &mut Context) -> Result<Options> {
    let mut options = context.options()?;
    if options.session.is_none() {
        options.session = Some(format!("{}@{}:{}", env::user_name(), env::host_name(), env::own_pid()));
    }
    Ok(options)
}

fn opener(options: Options) -> Open {
    Arc::new(move |session| machine::open(&Options { session: Some(session.to_owned()), ..options.clone() }))
}

/// Where reports arrive.
struct Desk<'c> {
    context: &'c mut Context,
    attempts: VecDeque<Ran>,
    said: BTreeSet<String>,
    broken: Option<Error>,
}

impl<'c> Desk<'c> {
    fn new(context: &'c mut Context) -> Self {
        Desk { context, attempts: VecDeque::new(), said: BTreeSet::new(), broken: None }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Notice(text) => self.notice(text),
            Told::Ran(ran) => {
                if !self.context.globals.json
                    && let Err(error) = output::write(&line(&ran, self.context.style()))
                {
                    self.broken = Some(error);
                }
                if self.attempts.len() == REPORTED {
                    self.attempts.pop_front();
                }
                self.attempts.push_back(*ran);
            }
        }
    }

    /// Shows a notice at once, and the same one only once.
    fn notice(&mut self, text: String) {
        if self.said.len() >= REMEMBERED {
            self.said.clear();
        }
        if self.said.insert(text.clone()) {
            self.context.warn(text);
            if !self.context.globals.json {
                self.context.flush_notices();
            }
        }
    }

    /// Publishes what the last attempts left, as far as that works.
    fn last_sync(&mut self) {
        if self.context.globals.no_sync {
            return;
        }
        let exchange = |queue: &mut Queue| match queue.settings().remote {
            Some(_) => sync::sync(queue).map(drop),
            None => Ok(()),
        };
        if let Err(error) = self.context.queue(exchange) {
            self.notice(error.message);
        }
    }

    fn finish(mut self, mode: Mode, ended: Ended, noted: &Noted) -> Result<i32> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        match ended.leaving {
            Leaving::Nothing => {
                let paused = self.context.look(|queue| status::paused(queue))?;
                return Err(nothing_ready(paused));
            }
            Leaving::Trouble => {
                return Err(ended.error.unwrap_or_else(|| Error::failure("the worker cannot work")));
            }
            _ => {}
        }
        if self.context.globals.json {
            let attempts: Vec<Ran> = self.attempts.into();
            self.context.print(|| data::attempts(&attempts), |_| String::new())?;
        }
        Ok(exit_code(mode, ended.leaving, noted.code()))
    }
}

/// A loop that was told to end has done what it was there for; a command with an end of its own has not.
fn exit_code(mode: Mode, leaving: Leaving, signal: i32) -> i32 {
    match leaving {
        Leaving::Finished | Leaving::Drained => failure::OK,
        Leaving::Signalled if matches!(mode, Mode::Forever | Mode::Every(_)) => failure::OK,
        Leaving::Signalled | Leaving::Forced => signal,
        Leaving::Failed | Leaving::Trouble => failure::exit_code(Kind::Failure),
        Leaving::Nothing => failure::exit_code(Kind::Nothing),
    }
}

/// As `pick` says it: while the queue is paused nothing is wrong with the tasks.
fn nothing_ready(paused: Option<String>) -> Error {
    let usual = "a task needs a command (`orch add … -- ARGV`) or an agent type of agents.yaml (`--agent TYPE`); \
                 `orch explain ID` tells why one is not ready";
    Error::new(Kind::Nothing, "nothing_ready", "no task is ready that a worker can run")
        .hint(paused.unwrap_or_else(|| usual.to_owned()))
}

/// One attempt as a line.
fn line(ran: &Ran, style: Style) -> String {
    let status = Status::ALL.into_iter().find(|status| status_word(*status) == ran.outcome);
    let outcome = style.paint(status.map_or(Tone::Yellow, status_tone), ran.outcome);
    let mut out = format!("{}: {outcome}", ran.task);
    if ran.reason != Reason::Success {
        out.push_str(&format!(" ({})", reason_name(ran.reason)));
    }
    out.push_str(&format!(", attempt {}, {}", ran.attempt, time::rough(ran.duration)));
    if let Some(bundle) = &ran.bundle {
        out.push_str(&format!(", {}", text::line(bundle)));
    }
    if ran.reason != Reason::Success {
        out.push_str(&format!("\n  {}", text::line(&ran.notes)));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::id::TaskId;

    #[test]
    fn exit_codes_tell_a_loop_that_was_stopped_from_a_task_that_was() {
        let table = [
            (Mode::Once, Leaving::Finished, 0),
            (Mode::Once, Leaving::Failed, 1),
            (Mode::Once, Leaving::Nothing, 6),
            (Mode::Once, Leaving::Signalled, 143),
            (Mode::UntilIdle, Leaving::Signalled, 143),
            (Mode::UntilIdle, Leaving::Finished, 0),
            (Mode::Forever, Leaving::Signalled, 0),
            (Mode::Forever, Leaving::Drained, 0),
            (Mode::Forever, Leaving::Forced, 143),
        ];
        for (mode, leaving, code) in table {
            assert_eq!(exit_code(mode, leaving, 143), code, "{mode:?} {leaving:?}");
        }
    }

    #[test]
    fn an_attempt_is_one_line_and_a_failure_says_why() {
        let ran = Ran {
            task: TaskId::parse("T-1").unwrap(),
            title: "t".to_owned(),
            epoch: 2,
            attempt: 1,
            session: "s".to_owned(),
            reason: Reason::Timeout,
            outcome: "pending",
            notes: "too long\u{1b}[2J".to_owned(),
            bundle: Some("runs/T-1/1".to_owned()),
            duration: Duration::from_secs(61),
            ended: None,
        };
        assert_eq!(
            line(&ran, Style::PLAIN),
            "T-1: pending (timeout), attempt 1, 1m1s, runs/T-1/1\n  too long\n"
        );
    }
}
