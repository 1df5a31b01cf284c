//! What operators and reviewers decide: `block`, `unblock`, `cancel`, `retry`, `replan`, `review`.

use clap::Args;

use super::holder::HolderArgs;
use crate::cli::context::Context;
use crate::cli::{values, words};
use crate::protocol::id::TaskId;
use crate::protocol::op::Verdict;
use crate::usecase::error::Result;
use crate::usecase::operator;

/// Put a task aside until a person has looked at it
///
/// Anybody may, also while somebody else holds it. With an epoch it is an act of the holder, and ends with 9 when
/// that epoch is over.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch block ORCH-010 --notes 'needs the new API key'
  orch block ORCH-010 --epoch 3 --notes 'needs the new API key'")]
pub struct Block {
    /// The task [default: $ORCH_TASK, which a worker sets]
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: Option<TaskId>,

    /// Epoch of the claim that acts [default: $ORCH_EPOCH if the task is $ORCH_TASK, else an operator acts]
    #[arg(long, value_name = "N")]
    pub epoch: Option<u64>,

    /// Why
    #[arg(long, value_name = "TEXT", alias = "reason")]
    pub notes: String,
}

impl Block {
    /// Blocks it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let (id, epoch) = HolderArgs { id: self.id, epoch: self.epoch }.resolve()?;
        let changed = context.queue_about(&id, |queue| operator::block(queue, &id, epoch, &self.notes))?;
        context.changed(&changed)
    }
}

/// Let a blocked task go on
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch unblock ORCH-010
  orch unblock ORCH-010 --notes 'the key is there'")]
pub struct Unblock {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// What was found
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
}

impl Unblock {
    /// Unblocks it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let changed = context.queue(|queue| operator::unblock(queue, &self.id, self.notes.as_deref()))?;
        context.changed(&changed)
    }
}

/// Give a task up
///
/// A session that holds it learns so at its next heartbeat, and a worker then stops the processes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch cancel ORCH-010 --notes 'superseded by ORCH-042'")]
pub struct Cancel {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// Why
    #[arg(long, value_name = "TEXT", alias = "reason")]
    pub notes: String,
}

impl Cancel {
    /// Cancels it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let changed = context.queue(|queue| operator::cancel(queue, &self.id, &self.notes))?;
        context.changed(&changed)
    }
}

/// Give a failed, blocked or cancelled task a fresh allowance of attempts
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch retry ORCH-010
  orch retry ORCH-010 --notes 'the service is back'")]
pub struct Retry {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// Why
    #[arg(long, value_name = "TEXT")]
    pub notes: Option<String>,
}

impl Retry {
    /// Makes it pending again.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let changed = context.queue(|queue| operator::retry(queue, &self.id, self.notes.as_deref()))?;
        context.changed(&changed)
    }
}

/// Rewrite what is to be done, and start again
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch replan ORCH-010 --notes 'scope was too wide' --description 'only the commands'
  orch replan ORCH-010 --notes 'new criteria' --success-criteria 'every command has an example'")]
pub struct Replan {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// Why
    #[arg(long, value_name = "TEXT")]
    pub notes: String,

    /// New description
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,

    /// New criteria, in place of the old ones; may be repeated
    #[arg(long, value_name = "TEXT", visible_alias = "criterion")]
    pub success_criteria: Vec<String>,
}

impl Replan {
    /// Rewrites it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let what = operator::Replan {
            notes: self.notes,
            description: self.description,
            success_criteria: Some(self.success_criteria).filter(|criteria| !criteria.is_empty()),
        };
        let changed = context.queue(|queue| operator::replan(queue, &self.id, &what))?;
        context.changed(&changed)
    }
}

/// Judge a task that is in review
///
/// PASS makes it done, RETRY makes it pending again, BLOCK puts it aside for a person. So does RETRY in the last of
/// `review.max_rounds` rounds.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch review ORCH-010 --verdict PASS --notes 'all criteria are met'
  orch review ORCH-010 --verdict RETRY --notes 'two commands are missing'")]
pub struct Review {
    /// The task
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: TaskId,

    /// The verdict
    #[arg(long, value_name = "VERDICT", value_parser = words::word::<Verdict>(), ignore_case = true)]
    pub verdict: Verdict,

    /// Why
    #[arg(long, value_name = "TEXT")]
    pub notes: String,
}

impl Review {
    /// Records the verdict.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let changed = context.queue(|queue| operator::review(queue, &self.id, self.verdict, &self.notes))?;
        context.changed(&changed)
    }
}
