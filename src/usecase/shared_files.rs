//! Noticing what happened to the settings files that all machines share: policy, agent types, workflow.
//!
//! `orch.yaml` is looked at before there is a queue.

use std::time::Duration;

use crate::store::task_lock::Named;
use crate::sync::files;

use super::error::{Error, Kind, Result};
use super::queue::Queue;

/// A fetch that is under way may take as long as its network step, and has new versions to put in place.
const LOCK_WAIT: Duration = Duration::from_secs(40);

/// Puts back what vanished, before anything relies on its absence: without its file a rule would not hold.
pub(crate) fn look(q: &mut Queue) -> Result<()> {
    let missing = files::vanished(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    if missing.is_empty() {
        return Ok(());
    }
    restore(q, &missing)
}

/// Puts back a prompt template that vanished: who looks for one falls back on another text without it.
pub(crate) fn restore_prompt(q: &mut Queue, path: &str) -> Result<()> {
    restore(q, &[path.to_owned()])
}

fn restore(q: &mut Queue, paths: &[String]) -> Result<()> {
    if q.read_only {
        for path in paths {
            q.warn(format!("{path}: it has vanished and cannot be restored, because nothing is written now"));
        }
        return Ok(());
    }
    // Only a fetch puts newer versions in place. An older one, written over them, would be published as an edit.
    let guard = q.store.lock_named(&q.world, Named::Fetch, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let Some(_guard) = guard else {
        let message = format!("{} has vanished, and a fetch that is under way holds the files", paths[0]);
        return Err(Error::new(Kind::Unreachable, "busy", message).hint("try again when it has ended"));
    };
    for path in paths {
        if !files::restore(&q.cx(), path).map_err(|e| Error::from_sync(&e))? {
            continue;
        }
        let text = format!(
            "{path}: it had vanished and was restored from the state branch; to change what it says, edit it"
        );
        q.warn(text.clone());
        q.restored.push(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::Yard;

    /// A worker that runs for days had read its policy; somebody removed the file, and the next look of the
    /// same process went on without rules. Every look puts it back, also on a shared queue that has not synced.
    #[test]
    fn every_look_restores_what_vanished_and_what_was_never_there_stays_away() {
        for yard in [Yard::local(), Yard::shared()] {
            let mut q = yard.queue("a");
            for name in [".gitattributes", "agents.yaml", "policy.yaml", "workflow.yaml"] {
                let path = q.root().join(name);
                let before = std::fs::read(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                crate::usecase::notice::look(&mut q, &[]).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), before, "{name}");
                assert!(q.notices().iter().any(|text| text.starts_with(name)), "{name}");
                assert_eq!(std::mem::take(&mut q.restored).len(), 1);
            }
            look(&mut q).unwrap();
            assert!(q.notices().is_empty());
        }
    }
}
