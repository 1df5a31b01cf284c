//! A reference model of a queue, as simple as it can be said, from the tables of the specification (§4, §15): it knows
//! neither files nor pushes, and calls nothing that it judges.
//!
//! Random commands of two sessions on each of two machines go to the model and to the real use cases on simulated
//! machines; both have to answer alike and to hold the same tasks. A command whose machine has not looked at the remote
//! just before may be refused for what it does not know yet, but never succeed where the model refuses.

use std::collections::BTreeMap;
use std::time::Duration;

use orch::protocol::task::Status;
use orch::usecase::error::Kind;

mod tests;

/// Attempts of a task that does not say how many.
const MAX_ATTEMPTS: u32 = 3;
/// The longest backoff, with its jitter.
pub(super) const BACKOFF: Duration = Duration::from_secs(11 * 60);

/// A session: its machine and its number there.
pub(super) type Who = (usize, usize);

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Add,
    Claim,
    Heartbeat,
    Checkpoint,
    Done,
    Fail {
        permanent: bool,
    },
    Release,
    Cancel,
    Retry,
    Unblock,
    Replan,
    Edit,
    /// Longer than any backoff, far shorter than a lease.
    Wait,
}

/// One task.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    pub status: Option<Status>,
    pub epoch: u64,
    attempts: u32,
    holder: Option<Who>,
    /// It waits for a backoff.
    waits: bool,
    /// The epoch that each session held last.
    held: BTreeMap<Who, u64>,
    /// Who ended the last epoch by an act of its own.
    ended_by: Option<Who>,
}

/// Whether it works, else whose error it is.
pub(super) type Answer = Result<(), Kind>;

/// All tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub lines: BTreeMap<usize, Line>,
}

impl Model {
    /// What must be answered; what it does is done.
    pub fn tell(&mut self, who: Who, task: usize, want: Want) -> Answer {
        if want == Want::Wait {
            self.lines.values_mut().for_each(|line| line.waits = false);
            return Ok(());
        }
        let line = self.lines.entry(task).or_default();
        let Some(status) = line.status else {
            if want == Want::Add {
                line.status = Some(Status::Pending);
                return Ok(());
            }
            return Err(Kind::NotFound);
        };
        match want {
            Want::Add => Err(Kind::Conflict),
            Want::Claim => line.claim(who, status),
            Want::Heartbeat | Want::Checkpoint => line.may_act(who),
            Want::Done => match (status, line.held.get(&who), line.ended_by) {
                // The same finish once more.
                (Status::Done, Some(held), Some(by)) if *held == line.epoch && by == who => Ok(()),
                _ => line.end(who, Status::Done),
            },
            Want::Fail { permanent } => {
                let last = permanent || line.attempts >= MAX_ATTEMPTS;
                line.end(who, if last { Status::Failed } else { Status::Pending })?;
                line.waits = !last;
                Ok(())
            }
            Want::Release => {
                line.end(who, Status::Pending)?;
                line.attempts -= 1;
                Ok(())
            }
            Want::Cancel => line.decide(!status.is_terminal(), Status::Cancelled),
            Want::Retry => {
                let fits = matches!(status, Status::Failed | Status::Blocked | Status::Cancelled);
                line.decide(fits, Status::Pending)?;
                line.attempts = 0;
                Ok(())
            }
            Want::Unblock => line.decide(status == Status::Blocked, Status::Pending),
            Want::Replan => {
                line.decide(status != Status::Done, Status::Pending)?;
                line.attempts = 0;
                Ok(())
            }
            Want::Edit if status.is_terminal() => Err(Kind::Conflict),
            Want::Edit | Want::Wait => Ok(()),
        }
    }
}

impl Line {
    fn claim(&mut self, who: Who, status: Status) -> Answer {
        if self.holder == Some(who) {
            return Ok(());
        }
        if status != Status::Pending || self.waits {
            return Err(Kind::Conflict);
        }
        self.epoch += 1;
        self.attempts += 1;
        (self.status, self.holder, self.ended_by) = (Some(Status::InProgress), Some(who), None);
        self.held.insert(who, self.epoch);
        Ok(())
    }

    /// Whether it is this session's, else whose error that is.
    fn may_act(&self, who: Who) -> Answer {
        match self.held.get(&who) {
            _ if self.holder == Some(who) => Ok(()),
            None => Err(Kind::Conflict),
            Some(held) if *held == self.epoch && self.ended_by == Some(who) => Err(Kind::Conflict),
            Some(_) => Err(Kind::Fenced),
        }
    }

    fn end(&mut self, who: Who, status: Status) -> Answer {
        self.may_act(who)?;
        (self.status, self.holder, self.ended_by) = (Some(status), None, Some(who));
        Ok(())
    }

    fn decide(&mut self, fits: bool, status: Status) -> Answer {
        if !fits {
            return Err(Kind::Conflict);
        }
        (self.status, self.holder, self.waits) = (Some(status), None, false);
        Ok(())
    }
}
