//! The alarm: the shared branch was rewound, replaced or deleted, or the local repository was made anew.

use crate::sync::context::SyncError;
use crate::sync::repair::{self, Republished};
use crate::sync::{alarm, publish};
use crate::usecase::change;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;

use super::{Check, Visit};

const NAME: &str = "branch";

/// Publishes this machine's state again if the alarm stands, and what waited meanwhile. `None` if it does not stand, or
/// not any more once the remote was looked at.
///
/// # Errors
/// Unreachable (75), refused (5) where the host takes no push.
pub fn publish_again(q: &mut Queue) -> Result<Option<Republished>> {
    look(q)?;
    match alarm::standing(&q.cx()) {
        Some(_) => republish(q).map(Some).map_err(|error| Error::from_sync(&error)),
        None => Ok(None),
    }
}

fn republish(q: &Queue) -> std::result::Result<Republished, SyncError> {
    let done = repair::republish(&q.cx())?;
    publish::publish(&q.cx(), publish::Scope::WaitingAndFolds)?;
    Ok(done)
}

fn look(q: &mut Queue) -> Result<()> {
    match change::fetch_now(q) {
        // What the remote holds was looked at, and an alarm that has become idle was lowered.
        Ok(_) | Err(SyncError::Rewound(_)) => Ok(()),
        // The check of the remote has said so.
        Err(error) if error.is_unreachable() => Ok(()),
        Err(error) => Err(Error::from_sync(&error)),
    }
}

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    if !q.is_shared() {
        return Ok(());
    }
    if !q.no_sync {
        look(q)?;
    }
    let Some(text) = alarm::standing(&q.cx()) else {
        visit.add(Check::fine(NAME, "the shared branch holds everything that was seen of it"));
        return Ok(());
    };
    if !visit.request.repair || q.no_sync {
        visit.add(Check::wrong(NAME, text).hint(
            "look at the remote if somebody restored or rewrote it on purpose; `orch doctor --repair` publishes \
             what this machine has on top of what is there",
        ));
        return Ok(());
    }
    match republish(q) {
        Ok(done) => {
            visit.repaired(describe(&q.names.branch, &done));
            done.problems.into_iter().for_each(|text| visit.repaired(text));
            visit.add(Check::fine(NAME, "the shared branch holds this machine's state again"));
        }
        Err(error) => {
            let error = Error::from_sync(&error);
            let check = Check::wrong(NAME, format!("{text}; publishing it again failed: {}", error.message));
            visit
                .add(check.hint(error.hint.unwrap_or_else(|| "run `orch doctor --repair` again".to_owned())));
        }
    }
    Ok(())
}

fn describe(branch: &str, done: &Republished) -> String {
    let mut text = format!(
        "{branch} on the remote: {} tasks published again, {} leases restored",
        done.tasks, done.leases
    );
    if done.refused > 0 {
        text.push_str(&format!(
            ", {} operations did not fit what is there now and are kept under .git/orch/rejected/",
            done.refused
        ));
    }
    if let Some(kept) = &done.kept {
        text.push_str(&format!("; the branch as it was stays at {kept} in the local repository"));
    }
    text
}
