//! `orch up`: a worker with several slots, and the watchdog and the exchange with the remote beside it.

use std::time::Duration;

use clap::Args;

use super::worker::{self, Plan, WorkerArgs};
use crate::cli::context::Context;
use crate::cli::values;
use crate::usecase::error::Result;
use crate::watchdog::Timing;
use crate::worker::dispatcher::Mode;

/// Run everything on this machine: sync, watchdog and dispatcher
///
/// Claims as soon as a task is ready and a slot is free, looks after leases, and exchanges with the remote. `orch
/// drain`, SIGTERM or Ctrl-C ends it: nothing more is claimed, and after a signal what still runs when the drain time
/// is over is stopped and given back.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch up
  orch up --slots 4 --drain-time 5m")]
pub struct Up {
    /// Tasks that run at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub slots: u16,

    /// Time between looks at all leases [default: a third of the queue's lease]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub watch_every: Option<Duration>,

    /// Time between exchanges with the remote
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = values::span)]
    pub sync_every: Duration,

    /// The worker.
    #[command(flatten)]
    pub worker: WorkerArgs,
}

impl Up {
    /// Runs.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let keep = Some(Timing { every: self.watch_every, sync: Some(self.sync_every) });
        worker::run(context, self.worker, &Plan { mode: Mode::Forever, slots: usize::from(self.slots), keep })
    }
}
