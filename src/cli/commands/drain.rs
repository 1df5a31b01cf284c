//! `orch drain`: asks the workers of this machine to end, through a file that they look at.

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::render::text;
use crate::usecase::drain::{self, Running};
use crate::usecase::error::Result;

/// Let the workers of this machine finish what runs, and end
///
/// Every worker that runs now (`orch work`, `dispatch`, `up`) claims nothing more and ends when its attempts have
/// ended, however long they take. Workers that are started later are not affected. To hurry, send SIGTERM.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch drain
  orch drain --cancel")]
pub struct Drain {
    /// Take the request back: workers that have not ended go on
    #[arg(long)]
    pub cancel: bool,
}

impl Drain {
    /// Asks, or takes it back.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let running = context.queue(|queue| {
            if self.cancel {
                drain::cancel(queue)?;
            } else {
                drain::ask(queue)?;
            }
            drain::running(queue)
        })?;
        let draining = !self.cancel;
        let one = |ran: &Running| json!({ "task": ran.task.as_str(), "epoch": ran.epoch, "attempt": ran.attempt, "session": ran.session });
        context.print(
            || json!({ "draining": draining, "attempts": running.iter().map(one).collect::<Vec<_>>() }),
            |_| summary(draining, &running),
        )
    }
}

fn summary(draining: bool, running: &[Running]) -> String {
    let what = if draining { "workers of this machine drain" } else { "workers of this machine go on" };
    let mut out = format!("{what}; {} in progress\n", running.len());
    for one in running {
        out.push_str(&format!("  {} (attempt {}, {})\n", one.task, one.attempt, text::line(&one.session)));
    }
    out
}
