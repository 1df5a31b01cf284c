//! How a holder ends its claim: `orch done`, `orch fail`, `orch release`.

use std::time::Duration;

use clap::Args;

use super::holder::HolderArgs;
use crate::cli::context::Context;
use crate::cli::{values, words};
use crate::protocol::task::Reason;
use crate::usecase::error::Result;
use crate::usecase::holder;

/// Finish a task that this session holds
///
/// A task that requires a review goes to in_review instead. Repeating it with the same session and epoch
/// changes nothing and succeeds.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch done ORCH-010 --notes 'README names every command; tests pass'
  orch done ORCH-010 --notes 'built' --artifact target/release/orch --artifact CHANGES.md")]
pub struct Done {
    /// The task.
    #[command(flatten)]
    pub holder: HolderArgs,

    /// What was done
    #[arg(long, value_name = "TEXT")]
    pub notes: String,

    /// A file that came out of it; may be repeated
    #[arg(long, value_name = "FILE", alias = "artifacts")]
    pub artifact: Vec<String>,

    /// Digest of the manifest of the bundle of evidence
    #[arg(long, value_name = "DIGEST")]
    pub bundle: Option<String>,
}

impl Done {
    /// Finishes it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = self.holder.resolve()?;
        context.warn_of_missing(&self.artifact);
        let how = holder::Finish { notes: self.notes, artifacts: self.artifact, bundle: self.bundle };
        let changed = context.queue_about(&id, |queue| holder::done(queue, &id, epoch, &how))?;
        context.changed(&changed)
    }
}

/// Say that an attempt failed
///
/// The task becomes pending again after a waiting time, or failed when its attempts are used up. The reasons
/// spawn_failed, rate_limited and shutdown give the attempt back; policy_blocked is not tried again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch fail ORCH-010 --notes 'the tests fail: see log'
  orch fail ORCH-010 --notes 'quota' --reason rate_limited --retry-after 1h
  orch fail ORCH-010 --notes 'cannot be done as described' --permanent")]
pub struct Fail {
    /// The task.
    #[command(flatten)]
    pub holder: HolderArgs,

    /// What happened
    #[arg(long, value_name = "TEXT")]
    pub notes: String,

    /// No further attempt
    #[arg(long)]
    pub permanent: bool,

    /// Why [default: error]
    #[arg(long, value_name = "REASON", value_parser = words::reason(), ignore_case = true)]
    pub reason: Option<Reason>,

    /// Waiting time before the next attempt [default: as the retry settings say]
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub retry_after: Option<Duration>,

    /// Digest of the manifest of the bundle of evidence
    #[arg(long, value_name = "DIGEST")]
    pub bundle: Option<String>,
}

impl Fail {
    /// Says so.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = self.holder.resolve()?;
        let how = holder::Failure {
            notes: self.notes,
            reason: self.reason.unwrap_or(Reason::Error),
            permanent: self.permanent,
            retry_after: self.retry_after,
            bundle: self.bundle,
        };
        let changed = context.queue_about(&id, |queue| holder::fail(queue, &id, epoch, &how))?;
        context.changed(&changed)
    }
}

/// Give a task back, with its attempt
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch release ORCH-010
  orch release ORCH-010 --notes 'somebody else knows this better'
  orch release ORCH-010 --reason shutdown")]
pub struct Release {
    /// The task.
    #[command(flatten)]
    pub holder: HolderArgs,

    /// What to know
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,

    /// Why
    #[arg(long, value_name = "REASON", value_parser = words::reason(), ignore_case = true)]
    pub reason: Option<Reason>,
}

impl Release {
    /// Gives it back.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = self.holder.resolve()?;
        let notes = self.notes.as_deref();
        let changed =
            context.queue_about(&id, |queue| holder::release(queue, &id, epoch, self.reason, notes))?;
        context.changed(&changed)
    }
}
