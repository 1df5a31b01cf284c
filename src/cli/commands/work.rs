//! `orch work`: a worker with one slot, for one task, until the queue is idle, or for ever.

use clap::Args;

use super::worker::{self, Plan, WorkerArgs};
use crate::cli::context::Context;
use crate::usecase::error::Result;
use crate::watchdog::Timing;
use crate::worker::dispatcher::Mode;

/// How often a worker exchanges with the remote besides claims and heartbeats.
pub const SYNC: std::time::Duration = std::time::Duration::from_secs(30);

/// Run tasks one after another
///
/// Takes tasks that say what to run: a command (`orch add … -- ARGV`) or an agent type of agents.yaml. The lease is
/// renewed while a task runs; on SIGTERM nothing more is claimed, and what still runs after the drain time is stopped
/// and given back. A second signal does not wait.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch work                   wait for tasks until a signal comes
  orch work --once            one task: 0 it succeeded, 1 it did not, 6 nothing is ready
  orch work --until-idle      until nothing is ready or in progress
  orch work --workspace ../checkout --drain-time 5m")]
pub struct Work {
    /// One task, if one is ready
    #[arg(long, conflicts_with = "until_idle")]
    pub once: bool,

    /// End when nothing is ready or in progress
    #[arg(long)]
    pub until_idle: bool,

    /// The worker.
    #[command(flatten)]
    pub worker: WorkerArgs,
}

impl Work {
    /// Works.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let mode = match (self.once, self.until_idle) {
            (true, _) => Mode::Once,
            (_, true) => Mode::UntilIdle,
            _ => Mode::Forever,
        };
        let keep = (mode != Mode::Once).then_some(Timing { every: None, sync: Some(SYNC) });
        worker::run(context, self.worker, &Plan { mode, slots: 1, keep })
    }
}
