//! `orch pick` and `orch claim`: the two ways to get a lease, and waiting for a task to become ready.

use std::time::Duration;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::render::page;
use crate::cli::render::style::Style;
use crate::cli::render::time;
use crate::cli::{data, values};
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::usecase::claim::{self, Claimed, Terms};
use crate::usecase::error::{Kind, Result};

/// Pause after the first try of `--wait`.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Pause between later tries: a remote is asked this often, and no more.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How long a claim lasts, and who stands for it.
#[derive(Args, Debug)]
pub struct LeaseArgs {
    /// Time to live of the lease, extended by every heartbeat [default: that of the task or the queue]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub lease: Option<Duration>,

    /// Process that stands for the session: when it dies on this machine, the task is recovered at once
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

impl LeaseArgs {
    fn terms(&self) -> Terms {
        Terms { lease: self.lease, pid: self.pid, ..Terms::default() }
    }
}

/// Claim the first ready task
///
/// By priority, then due date, then age. Ends with 6 when no task is ready.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch pick --json
  orch pick --lease 30m
  orch pick --wait            wait until a task is ready
  orch pick --wait 10m        wait at most ten minutes")]
pub struct Pick {
    /// The lease.
    #[command(flatten)]
    pub lease: LeaseArgs,

    /// Wait until a task is ready, or at most this long
    #[arg(long, value_name = "SPAN", num_args = 0..=1, value_parser = values::span)]
    #[expect(
        clippy::option_option,
        reason = "not waiting, waiting for ever and waiting a while are three wishes"
    )]
    pub wait: Option<Option<Duration>>,
}

impl Pick {
    /// Claims one.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let terms = self.lease.terms();
        let claimed = match self.wait {
            None => context.queue_about_next(|queue| claim::pick(queue, &terms))?,
            Some(limit) => wait(context, &terms, limit)?,
        };
        tell(context, &claimed)
    }
}

/// Claim a task
///
/// Claiming again what this session holds is a success with the same epoch. A task that is not ready, or that
/// somebody else holds, ends with 4.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch claim ORCH-010
  orch claim ORCH-010 --lease 1h --session agent:7 --json
  orch claim ORCH-010 --pid $$")]
pub struct Claim {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// The lease.
    #[command(flatten)]
    pub lease: LeaseArgs,
}

impl Claim {
    /// Claims it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let terms = self.lease.terms();
        let claimed = context.queue_about(&self.id, |queue| claim::claim(queue, &self.id, &terms))?;
        tell(context, &claimed)
    }
}

/// Tries until a task is ready or the time is up. The queue is opened anew for each try, so that files that
/// others changed meanwhile are noticed. A remote that stops answering while we wait is waited for as well.
fn wait(context: &mut Context, terms: &Terms, limit: Option<Duration>) -> Result<Claimed> {
    let start = context.monotonic();
    let mut pause = FIRST_PAUSE;
    let mut heard = false;
    loop {
        let error = match context.queue_about_next(|queue| claim::pick(queue, terms)) {
            Ok(claimed) => return Ok(claimed),
            Err(error) => error,
        };
        heard |= error.kind == Kind::Nothing;
        let passing = error.kind == Kind::Nothing || (heard && error.kind == Kind::Unreachable);
        let waited = context.monotonic().saturating_sub(start);
        let left = limit.map(|limit| limit.saturating_sub(waited));
        if !passing || left == Some(Duration::ZERO) {
            return Err(error);
        }
        context.flush_notices();
        context.sleep(left.map_or(pause, |left| left.min(pause)));
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

fn tell(context: &mut Context, claimed: &Claimed) -> Result<i32> {
    let now = context.now();
    context.print(|| data::claimed(claimed), |style| text(claimed, now, style))
}

/// What whoever claimed it needs to know first.
fn text(claimed: &Claimed, now: Timestamp, style: Style) -> String {
    let def = claimed.task.def();
    let mut out = page::headline(&claimed.task, style);
    out.push_str(&page::fact("session", &claimed.session, style));
    out.push_str(&page::fact("epoch", &claimed.epoch.to_string(), style));
    out.push_str(&page::fact("lease until", &time::moment_and_distance(claimed.expires_at, now), style));
    if claimed.repeated {
        out.push_str(&page::fact("repeated", "this session held it already", style));
    }
    out.push_str(&page::section("Description", &def.description, style));
    out.push_str(&page::list("Success criteria", &def.success_criteria, style));
    out
}
