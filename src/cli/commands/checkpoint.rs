//! `orch checkpoint`: a note for whoever comes after.

use clap::Args;
use serde_json::json;

use super::holder::HolderArgs;
use crate::cli::context::Context;
use crate::cli::data;
use crate::usecase::error::Result;
use crate::usecase::holder;

/// Leave a note for whoever comes after, and extend the lease
///
/// Checkpoints stay in the history and are part of what `orch resume` tells.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch checkpoint ORCH-010 --note 'half of the commands are described' --percent 50
  orch checkpoint ORCH-010 --note 'draft' --file notes/draft.md")]
pub struct Checkpoint {
    /// The task.
    #[command(flatten)]
    pub holder: HolderArgs,

    /// What to know
    #[arg(long, value_name = "TEXT", alias = "notes")]
    pub note: String,

    /// How far it is, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=100))]
    pub percent: Option<u8>,

    /// A file that belongs to it
    #[arg(long, value_name = "FILE")]
    pub file: Option<String>,
}

impl Checkpoint {
    /// Leaves it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = self.holder.resolve()?;
        context.warn_of_missing(self.file.as_slice());
        let what = holder::Checkpoint { note: self.note, percent: self.percent, file: self.file };
        let changed = context.queue_about(&id, |queue| holder::checkpoint(queue, &id, epoch, &what))?;
        context.print(
            || {
                let mut task = data::task(&changed.task);
                task["published"] = json!(changed.published);
                task
            },
            |_| format!("{}: checkpoint left\n", changed.task.id()),
        )
    }
}
