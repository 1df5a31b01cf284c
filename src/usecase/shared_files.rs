//! Noticing what happened to the settings files that all machines share: policy, agent types, workflow.
//!
//! `orch.yaml` is looked at before there is a queue.

use std::time::Duration;

use crate::store::task_lock::Named;
use crate::sync::files;

use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::verify::Trouble;

/// A fetch that is under way may take as long as its network step, and has new versions to put in place.
const LOCK_WAIT: Duration = Duration::from_secs(40);

/// Puts back what vanished, before anything relies on its absence: without its file a rule would not hold. Then
/// judges what changed.
pub(crate) fn look(q: &mut Queue) -> Result<()> {
    let mut seen = files::seen(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    let mut missing = Vec::new();
    for (path, _) in seen.iter().filter(|(_, state)| state.is_none()) {
        if files::is_known(&q.cx(), path).map_err(|e| Error::from_sync(&e))? {
            missing.push((*path).to_owned());
        }
    }
    if !missing.is_empty() {
        restore(q, &missing)?;
        seen = files::seen(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    }
    judge(q, &seen)
}

/// Says what is wrong with each file that cannot be used. What was right is judged again only when it has changed.
fn judge(q: &mut Queue, seen: &[(&'static str, Option<String>)]) -> Result<()> {
    q.unusable.clear();
    for (path, state) in seen {
        let Some(state) = state else { continue };
        // Another version may say something else about the same bytes.
        let (name, state) = (format!("judged:{path}"), format!("{} {state}", env!("CARGO_PKG_VERSION")));
        if q.store.meta(&name).map_err(|e| Error::from_store(&e))?.as_ref() == Some(&state) {
            continue;
        }
        let file = Some((*path).to_owned());
        let trouble = match files::problem(&q.cx(), path) {
            Ok(None) => {
                if !q.read_only {
                    // Only a question of speed.
                    let _ = q.store.set_meta(&name, &state);
                }
                continue;
            }
            Ok(Some(wrong)) => Trouble {
                line: u32::try_from(wrong.line).ok(),
                column: u32::try_from(wrong.column).ok(),
                what: wrong.message,
                file,
                ..Trouble::default()
            },
            Err(error) => Trouble { what: error.to_string(), file, ..Trouble::default() },
        };
        let next = match files::agrees(&q.cx(), path).map_err(|e| Error::from_sync(&e))? {
            true => {
                "the state branch holds it like this: mend it in an editor, and the next command publishes that"
            }
            false => "it is not published; mend it in an editor",
        };
        q.warn(format!("{} ({next})", place(q, &trouble)));
        q.unusable.push(trouble);
    }
    Ok(())
}

/// What is wrong, after the file with line and column.
pub(crate) fn place(q: &Queue, trouble: &Trouble) -> String {
    let path = q.root().join(trouble.file.as_deref().unwrap_or_default());
    let at = match (trouble.line, trouble.column) {
        (Some(line), Some(column)) => format!(":{line}:{column}"),
        _ => String::new(),
    };
    format!("{}{at}: {}", path.display(), trouble.what)
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
