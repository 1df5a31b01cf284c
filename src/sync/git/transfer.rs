//! What a remote that is spoken to without git's client (`world/remote/folder.rs`) needs of the repository here.

use std::path::Path;

use git2::Repository;

use crate::world::remote::folder;
use crate::world::{Oid, Wanted};

use super::{configure_library, ours, raw, write};

/// The repository of this side, by the library.
pub const TRANSFER: folder::Repository = folder::Repository { pack, held, set_refs };

/// A pack of these commits and all that they need, without what the known ones of the other side need.
fn pack(git_dir: &Path, commits: &[Oid], known: &[Oid]) -> Result<Vec<u8>, String> {
    let build = || -> Result<Vec<u8>, git2::Error> {
        let repository = open(git_dir)?;
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

fn held(git_dir: &Path) -> Vec<Oid> {
    let read = || -> Result<Vec<Oid>, git2::Error> {
        let repository = open(git_dir)?;
        let mut held = Vec::new();
        for reference in repository.references()? {
            held.extend(reference?.target().map(ours));
        }
        held.sort_unstable();
        held.dedup();
        Ok(held)
    };
    read().unwrap_or_default()
}

fn set_refs(git_dir: &Path, wanted: &[Wanted]) -> Result<(), String> {
    let repository = open(git_dir).map_err(|error| error.message().to_owned())?;
    for Wanted { local, oid, .. } in wanted {
        let now = repository.find_reference(local).ok().and_then(|found| found.target()).map(ours);
        write::swap(&repository, local, now, Some(*oid)).map_err(|error| format!("{local}: {error}"))?;
    }
    Ok(())
}

fn open(git_dir: &Path) -> Result<Repository, git2::Error> {
    configure_library();
    Repository::open_bare(git_dir)
}
