//! Files of sessions on the branch: each is written by the machine of its session only, and travels with commits
//! that are made anyway.

use crate::store::session_file::SessionFile;
use crate::world::{Oid, TreeChange};

use super::context::{Cx, SyncError};
use super::files::FileChange;

const DIR: &str = "sessions/";

/// Files that wait, as changes of a commit on top of `head`, with what is to be forgotten once that is in.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Changes.
    pub changes: Vec<FileChange>,
    /// Names and tokens.
    pub marks: Vec<(String, String)>,
}

/// What waits for company on this machine.
///
/// # Errors
/// The index or the repository failed.
pub fn waiting(cx: &Cx<'_>, head: Option<Oid>) -> Result<Waiting, SyncError> {
    let mut waiting = Waiting { marks: cx.store.waiting_sessions()?, ..Waiting::default() };
    for (name, _) in &waiting.marks {
        let path = format!("{DIR}{name}");
        let here = cx.store.session_named(cx.world, name).map(|file| file.encode());
        let there = match head {
            Some(head) => cx.world.objects.entry(head, &path)?.map(|entry| entry.oid),
            None => None,
        };
        if here.as_deref().map(|bytes| cx.world.objects.hash_blob(bytes)) != there {
            waiting.changes.push((path, here));
        }
    }
    Ok(waiting)
}

/// Takes over what another machine says about its session. Whether the path was one of a session.
///
/// # Errors
/// Local files or the repository failed.
pub fn absorb(cx: &Cx<'_>, change: &TreeChange, problems: &mut Vec<String>) -> Result<bool, SyncError> {
    let Some(name) = change.path.strip_prefix(DIR) else { return Ok(false) };
    let ours = |file: &SessionFile| file.machine == cx.machine;
    let local = cx.store.session_named(cx.world, name).filter(|_| !name.contains('/'));
    if local.as_ref().is_some_and(ours) {
        return Ok(true);
    }
    let path = cx.store.layout.sessions().join(name);
    let Some(entry) = change.new else {
        if local.is_some() {
            cx.store.remove_local(cx.world, &path)?;
        }
        return Ok(true);
    };
    let told = if entry.is_file {
        SessionFile::decode(name, &cx.world.objects.blob(entry.oid)?)
    } else {
        Err("it is no plain file".to_owned())
    };
    match told {
        Ok(file) if ours(&file) => {}
        Ok(file) => cx.store.write_local(cx.world, &path, &file.encode())?,
        Err(why) => problems.push(format!("on the state branch {}: {why}; it is left out", change.path)),
    }
    Ok(true)
}
