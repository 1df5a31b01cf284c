//! The remote's branch was rewound, replaced or deleted: say so until a person decides.
//!
//! While the alarm stands, nothing is pushed to the branch and nothing is taken from it, so no task that
//! any machine still has is lost; `orch doctor --repair` publishes this machine's state again.

use crate::world::Oid;

use super::context::{Cx, SyncError};

const LIMIT: u64 = 4096;

/// Raises the alarm and gives the error to report.
#[must_use]
pub fn raise(cx: &Cx<'_>, now: Option<Oid>) -> SyncError {
    let text = describe(cx, now);
    // If the note cannot be kept the error is reported all the same, and again by the next fetch.
    let _ = cx.store.write_local(cx.world, &cx.store.layout.alarm(), text.as_bytes());
    SyncError::Rewound(text)
}

fn describe(cx: &Cx<'_>, now: Option<Oid>) -> String {
    let branch = &cx.names.branch;
    match now {
        None => format!(
            "{branch} has vanished from the remote; this machine keeps its copy. \
             `orch doctor --repair` publishes it again"
        ),
        Some(oid) => format!(
            "{branch} on the remote was rewound or replaced (it is at {oid} now, without what this machine \
             has seen); local state is kept. `orch doctor --repair` publishes it again"
        ),
    }
}

/// The alarm that stands, if any.
#[must_use]
pub fn standing(cx: &Cx<'_>) -> Option<String> {
    let bytes = cx.world.disk.read(&cx.store.layout.alarm(), LIMIT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Lowers the alarm after the state was published again, or the remote has come back to what was seen.
///
/// # Errors
/// The note cannot be removed.
pub fn lower(cx: &Cx<'_>) -> Result<(), SyncError> {
    Ok(cx.store.remove_local(cx.world, &cx.store.layout.alarm())?)
}
