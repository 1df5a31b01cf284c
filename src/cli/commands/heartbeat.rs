//! `orch heartbeat`: one renewal of a lease.

use clap::Args;

use super::holder::HolderArgs;
use crate::cli::context::Context;
use crate::cli::data;
use crate::cli::render::time;
use crate::protocol::task::Progress;
use crate::usecase::error::Result;
use crate::usecase::holder;

/// Extend the lease of a task
///
/// Send one at least every third of the lease. Ends with 9 when the lease is no longer this session's, also
/// when the task was cancelled: stop working on it then.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch heartbeat ORCH-010
  orch heartbeat ORCH-010 --percent 40 --note 'commands listed'
  orch heartbeat ORCH-010 --epoch 3 --json")]
pub struct Heartbeat {
    /// The task.
    #[command(flatten)]
    pub holder: HolderArgs,

    /// How far it is, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    pub percent: Option<u8>,

    /// What is being done
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

impl Heartbeat {
    /// Sends it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = self.holder.resolve()?;
        let progress = Progress { percent: self.percent, note: self.note };
        let progress = Some(progress).filter(|progress| *progress != Progress::default());
        let beat = context.queue_about(&id, |queue| holder::heartbeat(queue, &id, epoch, progress))?;
        let now = context.now();
        context.print(
            || data::beat(&beat),
            |_| {
                let until = time::moment_and_distance(beat.expires_at, now);
                let state = if beat.published { "" } else { ", not published yet" };
                format!("{id}: lease until {until}, epoch {}, heartbeat {}{state}\n", beat.epoch, beat.beat)
            },
        )
    }
}
