//! `orch dispatch`: a worker that starts one task per tick, for machines where starts should be spread over time.

use std::time::Duration;

use clap::Args;

use super::work::SYNC;
use super::worker::{self, Plan, WorkerArgs};
use crate::cli::context::Context;
use crate::cli::values;
use crate::usecase::error::Result;
use crate::watchdog::Timing;
use crate::worker::dispatcher::Mode;

/// Attempts that may still run when the next tick comes, at most.
const SLOTS: usize = 64;

/// Start one task per tick
///
/// Each tick claims exactly one ready task and runs it, whatever still runs from earlier ticks.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch dispatch --once         from cron: one task, and wait for its end
  orch dispatch --every 10m")]
pub struct Dispatch {
    /// One tick only: 0 the attempt succeeded, 1 it did not, 6 nothing is ready
    #[arg(long, conflicts_with = "every")]
    pub once: bool,

    /// Time between ticks
    #[arg(long, value_name = "SPAN", default_value = "30m", value_parser = values::span)]
    pub every: Duration,

    /// The worker.
    #[command(flatten)]
    pub worker: WorkerArgs,
}

impl Dispatch {
    /// Dispatches.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let plan = if self.once {
            Plan { mode: Mode::Once, slots: 1, keep: None }
        } else {
            let keep = Some(Timing { every: None, sync: Some(SYNC) });
            Plan { mode: Mode::Every(self.every), slots: SLOTS, keep }
        };
        worker::run(context, self.worker, &plan)
    }
}
