//! Packs commits for a remote that is spoken to without git's client (`world/remote/folder.rs`).

use std::path::Path;

use git2::Repository;

use crate::world::Oid;

use super::{configure_library, raw};

/// A pack of these commits and all that they need, without what the known ones of the other side need.
///
/// # Errors
///
/// What is missing or cannot be read.
pub fn pack(git_dir: &Path, commits: &[Oid], known: &[Oid]) -> Result<Vec<u8>, String> {
    configure_library();
    let build = || -> Result<Vec<u8>, git2::Error> {
        let repository = Repository::open_bare(git_dir)?;
        let mut walk = repository.revwalk()?;
        for commit in commits {
            walk.push(raw(*commit))?;
        }
        // What has never been fetched cannot be in the way of ours: then everything is sent.
        for commit in known.iter().filter(|commit| repository.find_commit(raw(**commit)).is_ok()) {
            walk.hide(raw(*commit))?;
        }
        let mut builder = repository.packbuilder()?;
        // One thread is enough for what is mostly a few kilobytes.
        builder.set_threads(1);
        builder.insert_walk(&mut walk)?;
        let mut pack = git2::Buf::new();
        builder.write_buf(&mut pack)?;
        Ok(pack.to_vec())
    };
    build().map_err(|error| format!("cannot pack what is to be pushed: {}", error.message()))
}
