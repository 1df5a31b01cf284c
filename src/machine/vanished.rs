//! An `orch.yaml` that vanished is put back: absence is never a deletion.

use std::path::Path;

use super::{CONFIG_MAX, outside, settings_of};
use crate::store::layout::{Layout, SharedFile};
use crate::store::{atomic, settings_edit};
use crate::sync::chain;
use crate::sync::git::GitObjects;
use crate::sync::names::TRACKING_BRANCH;
use crate::usecase::error::{Error, Kind, Result};
use crate::world::disk::RealDisk;
use crate::world::{Disk, Objects, ObjectsError, Oid, env};

/// What was found in place of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// They are there, or no machine has been set up here.
    Fine,
    /// They had vanished and are back; what to tell.
    Restored(String),
    /// `orch init` was cut short before it wrote them.
    Unfinished,
}

/// Puts back the shared settings of a state directory if they have vanished: without them it would work with the
/// defaults, and the next `orch init` would give those to all machines.
///
/// # Errors
/// Not found (3) where `orch init` was cut short; the disk or the repository says no.
pub fn restore(layout: &Layout) -> Result<Option<String>> {
    match settle(layout)? {
        Settled::Fine => Ok(None),
        Settled::Restored(told) => Ok(Some(told)),
        Settled::Unfinished => {
            let message =
                format!("{} is no queue yet: its `orch init` was cut short", layout.state().display());
            Err(Error::new(Kind::NotFound, "no_queue", message).hint(
                "`orch init` there goes on where it stopped; --state or ORCH_STATE names another queue",
            ))
        }
    }
}

/// The same, for whoever can go on with an unfinished one.
///
/// # Errors
/// The disk or the repository says no.
pub fn settle(layout: &Layout) -> Result<Settled> {
    let path = layout.shared(SharedFile::Orch);
    if is_there(&path)? || !is_there(&layout.machine())? {
        return Ok(Settled::Fine);
    }
    let branch = format!("refs/heads/{}", settings_of(&RealDisk, layout, None)?.settings.branch);
    let known = known_version(layout, &branch).map_err(|e| Error::from_sync(&e.into()))?;
    let name = path.display();
    let (bytes, told) = match known {
        Some(bytes) => (bytes, format!("{name} had vanished; it is restored from {branch}")),
        None if !was_finished(layout)? => return Ok(Settled::Unfinished),
        None => {
            let text = "no version of it is known on this machine, so it has the default settings now";
            (settings_edit::default_orch_yaml().as_bytes().to_vec(), format!("{name} had vanished; {text}"))
        }
    };
    atomic::write(&RealDisk, &path, &bytes).map_err(|e| Error::from_store(&e.into()))?;
    Ok(Settled::Restored(told))
}

/// The newest version on the branch as it is here, or as the remote had it last.
fn known_version(layout: &Layout, branch: &str) -> std::result::Result<Option<Vec<u8>>, ObjectsError> {
    let git_dir = layout.git();
    if !env::exists(&git_dir.join("HEAD")) {
        return Ok(None);
    }
    let objects = GitObjects::open(&git_dir, outside(&git_dir))?;
    for name in [branch, TRACKING_BRANCH] {
        if let Some(tip) = objects.get_ref(name)?
            && let Some(bytes) = newest(&objects, tip)?
        {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// The file at the tip, or, where somebody's commit took it away there, before that.
fn newest(objects: &dyn Objects, tip: Oid) -> std::result::Result<Option<Vec<u8>>, ObjectsError> {
    let at = |commit: Oid| -> std::result::Result<Option<Vec<u8>>, ObjectsError> {
        let entry = objects.entry(commit, SharedFile::Orch.name())?.filter(|entry| entry.is_file);
        let bytes = entry.map(|entry| objects.blob(entry.oid)).transpose()?;
        Ok(bytes.filter(|bytes| bytes.len() as u64 <= CONFIG_MAX))
    };
    if let Some(bytes) = at(tip)? {
        return Ok(Some(bytes));
    }
    for link in chain::links(objects, tip)?.into_iter().rev() {
        if let Some(bytes) = at(link.commit)? {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Whether `orch.yaml` was there once: `init` and every fetch write it before `policy.yaml` and `workflow.yaml`, and
/// nobody adds a task before `init` has come to its end.
fn was_finished(layout: &Layout) -> Result<bool> {
    for file in [SharedFile::Policy, SharedFile::Workflow] {
        if is_there(&layout.shared(file))? {
            return Ok(true);
        }
    }
    let tasks = RealDisk.list(&layout.tasks()).unwrap_or_default();
    Ok(!tasks.is_empty())
}

fn is_there(path: &Path) -> Result<bool> {
    Ok(RealDisk.stat(path).map_err(|e| Error::failure(format!("{}: {e}", path.display())))?.is_some())
}
