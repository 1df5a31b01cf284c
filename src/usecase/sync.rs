//! One whole sync: fetch, publish what waits, fold what ended, keep the repository small.

use crate::sync::publish;
use crate::sync::rejected::{self, Rejection};

use super::change;
use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::shared_files;

/// Loose objects above which the local repository is packed.
pub(crate) const LOOSE_MAX: u64 = 5_000;
/// Packs above which the local repository is packed.
pub(crate) const PACKS_MAX: u64 = 50;

/// What a sync did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Synced {
    /// Tasks whose shared version had moved.
    pub fetched: usize,
    /// Refs that were moved on the remote.
    pub pushed: usize,
    /// Ended leases that were folded.
    pub folded: usize,
    /// Tasks whose operations were replayed on a branch that had moved.
    pub replayed: usize,
    /// Operations that the register refuses by now; each is reported once.
    pub rejected: Vec<Rejection>,
    /// Pushes that had to be repeated.
    pub retries: u32,
}

/// Synchronises with the remote.
///
/// # Errors
/// Unreachable (75), damaged (8) when the branch was rewound.
pub fn sync(q: &mut Queue) -> Result<Synced> {
    if !q.is_shared() {
        q.settle()?;
        q.warn(
            "this queue has no remote; everything is on this machine (`orch init --remote URL` connects it)",
        );
        return Ok(Synced::default());
    }
    if q.no_sync {
        return Err(Error::new(Kind::Usage, "usage", "`sync` and --no-sync contradict each other"));
    }
    let fetched = change::fetch_now(q).map_err(|e| Error::from_sync(&e))?;
    let published =
        publish::publish(&q.cx(), publish::Scope::WaitingAndFolds).map_err(|e| Error::from_sync(&e))?;
    q.say(&published.fetched);
    let rejected = unreported(q)?;
    // What came from elsewhere may be of no use here.
    shared_files::look(q)?;
    tidy(q)?;
    Ok(Synced {
        fetched: fetched.changed.len(),
        pushed: published.pushed,
        folded: published.folded,
        replayed: published.replayed,
        rejected,
        retries: published.retries,
    })
}

/// What was refused, by this command or an earlier one, and no sync has reported yet.
fn unreported(q: &Queue) -> Result<Vec<Rejection>> {
    let name = |one: &Rejection| format!("reported:{}", one.op);
    let mut found = Vec::new();
    for one in rejected::all(&q.cx()).map_err(|e| Error::from_sync(&e))? {
        if q.store.meta(&name(&one)).map_err(|e| Error::from_store(&e))?.is_none() {
            found.push(one);
        }
    }
    for one in &found {
        q.store.set_meta(&name(one), "yes").map_err(|e| Error::from_store(&e))?;
    }
    Ok(found)
}

/// Packs the local repository before it hurts.
pub(crate) fn tidy(q: &mut Queue) -> Result<()> {
    let pressure = q.world.objects.pressure().map_err(|e| Error::failure(e.to_string()))?;
    if pressure.loose < LOOSE_MAX && pressure.packs < PACKS_MAX {
        return Ok(());
    }
    let guard =
        q.store.lock_named(&q.world, crate::store::task_lock::Named::Commit, std::time::Duration::ZERO);
    if let Ok(Some(_guard)) = guard
        && let Err(error) = q.world.objects.maintain()
    {
        q.warn(format!("the local repository could not be packed: {error}"));
    }
    Ok(())
}
