//! `orch pick` and `orch claim`.

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
use crate::usecase::error::Result;

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
        Terms { lease: self.lease, pid: self.pid }
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
    #[expect(clippy::option_option, reason = "not waiting, waiting for ever and waiting a while are three wishes")]
    pub wait: Option<Option<Duration>>,
}

impl Pick {
    /// Claims one.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let terms = self.lease.terms();
        let claimed = match self.wait {
            None => context.queue(|queue| claim::pick(queue, &terms))?,
            Some(limit) => context.queue(|queue| claim::pick_waiting(queue, &terms, limit))?,
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
        let claimed = context.queue(|queue| claim::claim(queue, &self.id, &terms))?;
        tell(context, &claimed)
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
