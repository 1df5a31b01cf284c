//! What a holder does: heartbeat, checkpoint, done, fail, release.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::op::Action;
use crate::protocol::task::{Progress, Reason, Task};
use crate::protocol::time::Timestamp;

use crate::store::session_file::{SessionFile, name_of};

use super::change::{self, Actor, Changed, Decision};
use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::{held, needs};

/// What a heartbeat brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat {
    /// When the lease runs out now, by this machine's clock.
    pub expires_at: Timestamp,
    /// The holder's epoch.
    pub epoch: u64,
    /// Heartbeats in this epoch.
    pub beat: u64,
    /// Whether other machines can see it; if not, the lease was not extended.
    pub published: bool,
    /// How often the push had to be repeated.
    pub retries: u32,
}

/// Renews the lease.
///
/// # Errors
/// Fenced (9) when the lease is not the session's any more; code `cancelled` when the task was cancelled.
pub fn heartbeat(q: &mut Queue, id: &TaskId, epoch: Option<u64>, progress: Option<Progress>) -> Result<Beat> {
    check_percent(progress.as_ref().and_then(|p| p.percent))?;
    let changed = act(q, id, epoch, "heartbeat", &mut |_, epoch| {
        Ok(Action::Heartbeat { epoch, progress: progress.clone() })
    })?;
    let Some(lease) = changed.task.lease().filter(|lease| q.holds(lease)) else {
        // It was accepted, and ended, or somebody else's, before this process could read what came of it.
        let over = held::check(q, &changed.task, epoch, "heartbeat").err();
        return Err(
            over.unwrap_or_else(|| Error::failure(format!("{id} is held by nobody after a heartbeat")))
        );
    };
    Ok(Beat {
        expires_at: lease.expires_at,
        epoch: lease.epoch,
        beat: lease.beat,
        published: changed.published,
        retries: changed.retries,
    })
}

/// A checkpoint's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What to know.
    pub note: String,
    /// 0 to 100.
    pub percent: Option<u8>,
    /// A file that belongs to it.
    pub file: Option<String>,
}

/// Leaves something for whoever comes after; renews the lease too.
///
/// # Errors
/// As [`heartbeat`].
pub fn checkpoint(q: &mut Queue, id: &TaskId, epoch: Option<u64>, what: &Checkpoint) -> Result<Changed> {
    check_percent(what.percent)?;
    if what.note.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "usage", "the note is empty")
            .hint("say what whoever comes after should know"));
    }
    let changed = act(q, id, epoch, "checkpoint", &mut |_, epoch| {
        Ok(Action::Checkpoint {
            epoch,
            note: what.note.clone(),
            percent: what.percent,
            file: what.file.clone(),
        })
    })?;
    let file = SessionFile {
        session: q.session.clone(),
        machine: q.machine.clone(),
        task: id.clone(),
        epoch: changed.task.epoch(),
        at: q.now(),
        note: what.note.clone(),
    };
    // The checkpoint itself is in the history; this only helps to find it.
    let _ = q.store.write_session(&q.world, &file);
    Ok(changed)
}

/// Acts as [`act`] on a task that its holder leaves: what it was in the middle of is over.
fn leave(
    q: &mut Queue,
    id: &TaskId,
    epoch: Option<u64>,
    verb: &'static str,
    action: &mut dyn FnMut(&Queue, u64) -> Result<Action>,
) -> Result<Changed> {
    let changed = act(q, id, epoch, verb, action)?;
    if let Some(file) = q.store.session(&q.world, &q.session, &q.machine).filter(|file| file.task == *id) {
        // Left in place it would only name a task that has ended; `gc` looks after it.
        let _ = q.store.remove_session(&q.world, &name_of(&file.session, &file.machine));
    }
    Ok(changed)
}

/// How a task was finished.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finish {
    /// What was done; required.
    pub notes: String,
    /// Files that it left.
    pub artifacts: Vec<String>,
    /// Digest of the bundle's manifest.
    pub bundle: Option<String>,
}

/// Finishes the task. Repeating it with the same session and epoch succeeds without effect.
///
/// # Errors
/// As [`heartbeat`].
pub fn done(q: &mut Queue, id: &TaskId, epoch: Option<u64>, how: &Finish) -> Result<Changed> {
    leave(q, id, epoch, "done", &mut |_, epoch| {
        Ok(Action::Done {
            epoch,
            notes: how.notes.clone(),
            artifacts: how.artifacts.clone(),
            bundle: how.bundle.clone(),
        })
    })
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened; required.
    pub notes: String,
    /// Why; [`Reason::Error`] if nothing better is known.
    pub reason: Reason,
    /// No further attempt.
    pub permanent: bool,
    /// Waiting time instead of the backoff.
    pub retry_after: Option<Duration>,
    /// Digest of the bundle's manifest.
    pub bundle: Option<String>,
}

/// Ends the attempt without success.
///
/// # Errors
/// As [`heartbeat`].
pub fn fail(q: &mut Queue, id: &TaskId, epoch: Option<u64>, how: &Failure) -> Result<Changed> {
    if how.reason == Reason::Success {
        return Err(Error::new(Kind::Usage, "usage", "a failure cannot have the reason `success`"));
    }
    let changed = leave(q, id, epoch, "fail", &mut |q, epoch| {
        let task = q.load(id)?;
        let retry_at = match how.retry_after {
            Some(span) => q.now().after(span),
            None => q.retry_at(&task),
        };
        Ok(Action::Fail {
            epoch,
            reason: how.reason,
            notes: how.notes.clone(),
            permanent: how.permanent,
            retry_at: Some(retry_at),
            bundle: how.bundle.clone(),
        })
    })?;
    needs::propagate(q)?;
    Ok(changed)
}

/// Gives the task back, with its attempt.
///
/// # Errors
/// As [`heartbeat`].
pub fn release(
    q: &mut Queue,
    id: &TaskId,
    epoch: Option<u64>,
    reason: Option<Reason>,
    notes: Option<&str>,
) -> Result<Changed> {
    leave(q, id, epoch, "release", &mut |_, epoch| {
        Ok(Action::Release { epoch, reason, notes: notes.map(str::to_owned) })
    })
}

pub(super) fn act(
    q: &mut Queue,
    id: &TaskId,
    epoch: Option<u64>,
    verb: &'static str,
    action: &mut dyn FnMut(&Queue, u64) -> Result<Action>,
) -> Result<Changed> {
    super::notice::look(q, std::slice::from_ref(id))?;
    let mut decide = |q: &Queue, task: &Task| match held::check(q, task, epoch, verb)? {
        Some(epoch) => Ok(Decision::Do(action(q, epoch)?)),
        None => Ok(Decision::Repeated),
    };
    change::status(q, id, Actor::Holder, &mut decide)
}

fn check_percent(percent: Option<u8>) -> Result<()> {
    match percent {
        Some(percent) if percent > 100 => {
            Err(Error::new(Kind::Usage, "usage", format!("{percent} is more than 100 percent")))
        }
        _ => Ok(()),
    }
}
