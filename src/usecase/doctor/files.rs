//! Every task file, read and compared with the replay of its history, whatever the index says.

use crate::usecase::error::{Error, Result};
use crate::usecase::notice;
use crate::usecase::queue::Queue;

use super::damaged::{Diagnosis, diagnose};
use super::{Check, Visit};

const NAME: &str = "files";

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    notice::look_at_all(q)?;
    let ids = q.store.ids().map_err(|e| Error::from_store(&e))?;
    let mut problems = Vec::new();
    let (mut damaged, mut unreadable, mut invalid) = (false, false, !q.strays.is_empty());
    for id in &ids {
        let Some(found) = diagnose(q, id)? else { continue };
        damaged |= matches!(found, Diagnosis::Damaged(_));
        unreadable |= matches!(found, Diagnosis::Unreadable(_));
        invalid |= matches!(found, Diagnosis::Invalid(_));
        problems.push(found.text().to_owned());
    }
    problems.extend(q.strays.iter().cloned());
    let hint = match (damaged, unreadable && !invalid, visit.request.repair) {
        (false, true, false) => "`orch doctor --repair` publishes the last readable version again",
        (false, true, true) => {
            "no readable version is on the shared branch, or a newer orch has written this one; \
             `git log -p -- tasks/` in the state directory shows what there was"
        }
        (true, _, false) => "`orch doctor --repair` restores damaged files from git and keeps their bytes",
        (true, _, true) => {
            "git knows no version of it; what is legible may be put into a new task with `orch add --file`"
        }
        (false, _, _) => {
            "correct the file in an editor at the place named; `git log -p -- tasks/` in the state directory shows \
             what it was"
        }
    };
    let fine = format!("{} task files are whole and agree with their histories", ids.len());
    visit.add(Check::list(NAME, fine, problems).hint_if_wrong(hint));
    Ok(())
}
