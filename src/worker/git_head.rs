//! Which commit a workspace stands at, read from the files of git: no process is started for it.

use std::path::{Path, PathBuf};

use crate::world::{Disk, FileKind, Oid};

/// Bound of the files read here, except `packed-refs`.
const SMALL: u64 = 4096;
/// Bound of `packed-refs`.
const LARGE: u64 = 64 << 20;
/// How many symbolic refs are followed.
const HOPS: usize = 5;

/// The commit of `HEAD` of the repository that holds `dir`; `None` without one, or where refs are stored
/// in a way that this does not know.
#[must_use]
pub fn git_head(disk: &dyn Disk, dir: &Path) -> Option<Oid> {
    let git = dir.ancestors().find_map(|dir| git_dir(disk, &dir.join(".git")))?;
    let common = match text(disk, &git.join("commondir"), SMALL) {
        Some(path) => git.join(path.trim()),
        None => git.clone(),
    };
    let mut value = text(disk, &git.join("HEAD"), SMALL)?;
    for _ in 0..HOPS {
        let Some(name) = value.trim().strip_prefix("ref: ").map(str::to_owned) else {
            return Oid::parse(value.trim());
        };
        if !name.starts_with("refs/") || name.contains("..") {
            return None;
        }
        match text(disk, &git.join(&name), SMALL).or_else(|| text(disk, &common.join(&name), SMALL)) {
            Some(next) => value = next,
            None => return packed(disk, &common, &name),
        }
    }
    None
}

/// The directory that `.git` is, or points to in a linked worktree.
fn git_dir(disk: &dyn Disk, path: &Path) -> Option<PathBuf> {
    match disk.stat(path).ok()??.kind {
        FileKind::Dir => Some(path.to_owned()),
        FileKind::File => {
            let link = text(disk, path, SMALL)?;
            Some(path.parent()?.join(link.trim().strip_prefix("gitdir: ")?))
        }
        FileKind::Other => None,
    }
}

fn packed(disk: &dyn Disk, common: &Path, name: &str) -> Option<Oid> {
    let refs = text(disk, &common.join("packed-refs"), LARGE)?;
    let line = refs.lines().filter_map(|line| line.split_once(' ')).find(|(_, of)| *of == name)?;
    Oid::parse(line.0)
}

fn text(disk: &dyn Disk, path: &Path, limit: u64) -> Option<String> {
    String::from_utf8(disk.read(path, limit).ok()?).ok()
}
