//! Changing a setting: in the file that all machines share, or in this machine's own.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::layout::{Layout, SharedFile};
use crate::store::settings::LeaseRefs;
use crate::store::settings_load::{self, File, Sources};
use crate::store::task_lock::Named;
use crate::store::{atomic, settings_edit};
use crate::sync::context::SyncError;
use crate::sync::files;
use crate::sync::rejected::{self, Rejection};
use crate::sync::shared::known_leases;
use crate::world::Disk;

use super::change;
use super::error::{Error, Kind, Result};
use super::queue::Queue;

const FILE_MAX: u64 = 256 * 1024;
/// Settings change rarely: whoever loses so often in a row meets a machine that changes them all the time.
const TRIES: u32 = 5;
/// A fetch that is under way may take as long as its network step.
const LOCK_WAIT: Duration = Duration::from_secs(40);
/// Settings that each machine has for itself: another machine may reach the remote under another name.
const OWN: [&str; 2] = ["remote", "branch"];

/// Where leases stand: machines that do not agree on it would look for them in two places.
pub const PLACE: &str = "sync.lease_refs";

/// Which file a setting goes into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// `orch.yaml`; the remote and the branch go into this machine's own file.
    #[default]
    Usual,
    /// This machine's `config.yaml`.
    Machine,
}

/// What a change of a setting did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The file.
    pub path: PathBuf,
    /// Whether it is the file that all machines share.
    pub shared: bool,
    /// False if it said so already.
    pub changed: bool,
}

/// What a change of a shared setting did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The change.
    pub done: Changed,
    /// Whether other machines can see it; without a remote there are none.
    pub published: bool,
}

/// Whether a setting goes into the file that all machines share.
#[must_use]
pub fn is_shared(scope: Scope, key: &str) -> bool {
    scope == Scope::Usual && !OWN.contains(&key)
}

/// The setting of this machine on which more depends than its own value: [`may_change`] has to be asked.
pub const BRANCH: &str = "branch";

/// Refuses a change that must wait: where leases stand changes only while there are none. The branch of a queue that
/// has one never does.
///
/// # Errors
/// Conflict (4) with the tasks in flight, or the branch; unreachable (75).
pub fn may_change(q: &mut Queue, key: &str, value: &str) -> Result<()> {
    if key == BRANCH {
        return super::init::keep_branch(&*q.world.objects, q.root(), &q.settings.branch, value);
    }
    let now = if q.settings.sync.lease_refs == LeaseRefs::Branches { "branches" } else { "custom" };
    if key != PLACE || !q.is_shared() || now == value {
        return Ok(());
    }
    if q.no_sync {
        let message =
            format!("{PLACE}: whether tasks are in flight only the remote can tell; --no-sync forbids it");
        return Err(Error::new(Kind::Refused, "no_sync", message).hint("run the command without --no-sync"));
    }
    change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
    let leases = known_leases(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    if leases.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = leases.iter().take(5).map(|(id, _)| id.to_string()).collect();
    let message =
        format!("{PLACE} cannot change while {} tasks are in flight: {}", leases.len(), ids.join(", "));
    Err(Error::new(Kind::Conflict, "in_flight", message)
        .hint("pause the queue, let them finish, run `orch sync`, and try again"))
}

/// Changes a setting that all machines share: on the newest version of the file, and again where another machine was
/// faster. Without that a change on a machine that had not fetched was put aside as contradicting the others.
///
/// # Errors
/// As [`set`] and [`may_change`]; conflict (4) when others were faster each time.
pub fn share(q: &mut Queue, key: &str, value: &str) -> Result<Shared> {
    may_change(q, key, value)?;
    let path = q.store.layout.shared(SharedFile::Orch);
    for _ in 0..TRIES {
        let reached = fetch(q)?;
        // What stands in the file besides the setting is somebody's edit, and stays kept if it is refused.
        let clean = agrees(q)?;
        let before = refused(q)?;
        let done = set_alone(q, key, value)?;
        let mine = read(&*q.world.disk, &path)?;
        if q.is_shared() && !reached {
            return Ok(Shared { done, published: agrees(q)? });
        }
        q.settle_now()?;
        if read(&*q.world.disk, &path)? == mine {
            let published = !q.is_shared() || agrees(q)?;
            if !published {
                q.warn("orch.yaml is changed here and not published yet; `orch sync` publishes it");
            }
            return Ok(Shared { done, published });
        }
        if clean {
            forget(q, &before)?;
        }
    }
    let message = format!("{key} was not set: each time another machine had just changed orch.yaml");
    Err(Error::new(Kind::Conflict, "overtaken", message).hint("the file is as the others left it; try again"))
}

/// Brings the newest version; says whether the remote could be asked. Where not, the change is kept here, as edits of
/// tasks are.
fn fetch(q: &mut Queue) -> Result<bool> {
    if !q.is_shared() || q.no_sync {
        return Ok(false);
    }
    match change::fetch_now(q) {
        Ok(_) => Ok(true),
        Err(error) if error.is_unreachable() || matches!(error, SyncError::Rewound(_)) => {
            q.warn(format!("kept here, not published yet: {error}"));
            Ok(false)
        }
        Err(error) => Err(Error::from_sync(&error)),
    }
}

/// Between reading and writing nobody else may write: neither a fetch nor another `config set`.
fn set_alone(q: &Queue, key: &str, value: &str) -> Result<Changed> {
    let guard = q.store.lock_named(&q.world, Named::Fetch, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    if guard.is_none() {
        let message = format!("{key} was not set: a fetch that is under way holds the files");
        return Err(Error::new(Kind::Unreachable, "busy", message).hint("try again when it has ended"));
    }
    set(&*q.world.disk, &q.store.layout, Scope::Usual, key, value)
}

fn agrees(q: &Queue) -> Result<bool> {
    files::agrees(&q.cx(), SharedFile::Orch.name()).map_err(|e| Error::from_sync(&e))
}

fn refused(q: &Queue) -> Result<Vec<Rejection>> {
    rejected::all(&q.cx()).map_err(|e| Error::from_sync(&e))
}

/// Drops the copies that a lost race has left: they held the setting alone, and that is set again.
fn forget(q: &mut Queue, before: &[Rejection]) -> Result<()> {
    let fresh: Vec<Rejection> = refused(q)?.into_iter().filter(|one| !before.contains(one)).collect();
    for one in fresh.iter().filter(|one| one.file.as_deref() == Some(SharedFile::Orch.name())) {
        rejected::forget_file(&q.cx(), one).map_err(|e| Error::from_sync(&e))?;
        for text in q.notices() {
            if text != one.reason {
                q.warn(text);
            }
        }
    }
    Ok(())
}

/// Writes one setting, unless the settings as a whole would not be valid then.
///
/// # Errors
/// Configuration (78): the key is unknown, the value does not fit, or the file has to be edited by hand.
pub fn set(disk: &dyn Disk, layout: &Layout, scope: Scope, key: &str, value: &str) -> Result<Changed> {
    if scope == Scope::Machine && key == PLACE {
        let message = format!("{PLACE}: all machines must agree on where leases stand");
        return Err(Error::new(Kind::Config, "config", message).hint("set it without --machine"));
    }
    let (shared, own) = (layout.state().join("orch.yaml"), layout.own_config());
    let is_own = !is_shared(scope, key);
    let path = if is_own { own.clone() } else { shared.clone() };
    let wrong = |text: String| {
        Error::new(Kind::Config, "config", text).hint("`orch config show --origin` lists every setting")
    };
    let (before_shared, before_own) = (read(disk, &shared)?, read(disk, &own)?);
    let before = if is_own { &before_own } else { &before_shared };
    let after = settings_edit::set(before, key, value).map_err(wrong)?;
    let (shared_text, own_text) = if is_own { (&before_shared, &after) } else { (&after, &before_own) };
    settings_load::load(&Sources {
        shared: Some(File { name: "orch.yaml", bytes: shared_text.as_bytes() }),
        machine: Some(File { name: "config.yaml", bytes: own_text.as_bytes() }),
        ..Sources::default()
    })
    .map_err(|e| wrong(e.to_string()))?;
    let changed = after != *before;
    if changed {
        atomic::write(disk, &path, after.as_bytes()).map_err(|e| Error::failure(e.to_string()))?;
    }
    Ok(Changed { path, shared: !is_own, changed })
}

fn read(disk: &dyn Disk, path: &std::path::Path) -> Result<String> {
    match disk.read(path, FILE_MAX) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Config, "config", format!("{}: this is no text", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::new(Kind::Config, "config", format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::Yard;

    #[test]
    fn a_setting_is_written_where_it_belongs_and_only_if_all_stays_valid() {
        let yard = Yard::local();
        let q = yard.queue("a");
        let (disk, layout) = (&*q.world.disk, &q.store.layout);
        let put = |scope, key: &str, value: &str| set(disk, layout, scope, key, value);
        let done = put(Scope::Usual, "queue.paused", "true").unwrap();
        assert!(done.shared && done.changed && done.path.ends_with("orch.yaml"));
        assert!(!put(Scope::Usual, "queue.paused", "true").unwrap().changed);
        let done = put(Scope::Machine, "sync.timeout", "10s").unwrap();
        assert!(!done.shared && done.path.ends_with(".git/orch/config.yaml"));
        assert!(put(Scope::Usual, "branch", "other").unwrap().path.ends_with("config.yaml"));
        for (key, value) in [("queue.pausd", "true"), ("lease.ttl", "soon"), ("lease.drift", "0.5")] {
            let before = std::fs::read(layout.state().join("orch.yaml")).unwrap();
            assert_eq!(put(Scope::Usual, key, value).unwrap_err().kind, Kind::Config, "{key}");
            assert_eq!(std::fs::read(layout.state().join("orch.yaml")).unwrap(), before);
        }
        let q = yard.queue("a");
        assert!(q.settings().queue.paused);
        assert_eq!(q.settings().sync.timeout, std::time::Duration::from_secs(10));
    }
}
