//! What crashed processes left behind: lock files of git, temporary files, requests in the outbox.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::time::{Timestamp, format_span};
use crate::store::atomic;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;
use crate::world::{Disk, FileKind};

use super::{Check, Patient, Visit};

/// A lock younger than this may belong to somebody who is only slow.
const LOCK_AGE: Duration = Duration::from_secs(600);
/// Where it cannot be known whether somebody is at work.
const BLIND_LOCK_AGE: Duration = Duration::from_secs(24 * 3600);
/// Temporary files and requests.
const LITTER_AGE: Duration = Duration::from_secs(3600);
const DEEPEST: usize = 12;

/// Lock files below a directory, with their age.
pub(super) fn lock_files(disk: &dyn Disk, git_dir: &Path, now: Timestamp) -> Vec<(PathBuf, Duration)> {
    let mut found = Vec::new();
    walk(disk, git_dir, 0, &mut |path| {
        if let Ok(Some(stat)) = disk.stat(&path) {
            found.push((path, now.since(Timestamp(stat.mtime_ns / 1_000_000))));
        }
    });
    found
}

/// Our own directory holds advisory locks, and the two digits below `objects/` nothing but objects.
fn walk(disk: &dyn Disk, dir: &Path, depth: usize, found: &mut dyn FnMut(PathBuf)) {
    for (name, kind) in disk.list(dir).unwrap_or_default() {
        let path = dir.join(&name);
        match kind {
            FileKind::File if name.ends_with(".lock") => found(path),
            FileKind::Dir if depth == 0 && name == "orch" => {}
            FileKind::Dir if depth < DEEPEST && !(depth == 1 && name.len() == 2) => {
                walk(disk, &path, depth + 1, found);
            }
            _ => {}
        }
    }
}

/// Lock files in the local repository: named always, removed only when they are old and nobody is at work.
pub(super) fn git_locks(patient: &dyn Patient, visit: &mut Visit) {
    const NAME: &str = "git_locks";
    let now = Timestamp(patient.clock().wall_ms());
    let mut problems = Vec::new();
    for (path, age) in lock_files(patient.disk(), &patient.layout().git(), now) {
        let busy = patient.at_work(&path);
        let (living, oldest) = match &busy {
            Some(pids) => (!pids.is_empty(), LOCK_AGE),
            None => (false, BLIND_LOCK_AGE),
        };
        let abandoned = !living && age >= oldest;
        let old = format_span(Duration::from_secs(age.as_secs()));
        if abandoned && visit.request.repair && patient.disk().remove(&path).is_ok() {
            visit.repaired(format!("{} was left over ({old} old) and has been removed", path.display()));
            continue;
        }
        let who = match busy {
            Some(pids) if !pids.is_empty() => format!("process {} is at work there", pids[0]),
            Some(_) => "no git is at work there".to_owned(),
            None => "whether a git is at work there cannot be known on this system".to_owned(),
        };
        problems.push(format!("{} is {old} old; {who}", path.display()));
    }
    let check = Check::list(NAME, "no lock file is left over in the local repository", problems);
    visit.add(check.hint_if_wrong(
        "`orch doctor --repair` removes a lock file that is older than ten minutes when no git is at work there",
    ));
}

/// Temporary files, and requests to push whose process is gone.
pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    const NAME: &str = "leftovers";
    let litter = |q: &Queue| -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for dir in places(q)? {
            for (name, _) in q.world.disk.list(&dir).unwrap_or_default() {
                if name.starts_with(atomic::TEMP_PREFIX) || is_request(&name) {
                    found.push(dir.join(name));
                }
            }
        }
        Ok(found)
    };
    let before = litter(q)?;
    if visit.request.repair && !before.is_empty() {
        sweep(q)?;
        let left = litter(q)?.len();
        if left < before.len() {
            visit.repaired(format!("{} abandoned temporary files were removed", before.len() - left));
        }
    }
    let left = litter(q)?.len();
    visit.add(match left {
        0 => Check::fine(NAME, "no temporary file is left over"),
        _ => Check::fine(NAME, format!("{left} temporary files")).hint(
            "they may be in use; `orch doctor --repair` removes those whose process is gone and that are an hour old",
        ),
    });
    Ok(())
}

fn is_request(name: &str) -> bool {
    name.ends_with(".push") || name.ends_with(".answer")
}

fn places(q: &Queue) -> Result<Vec<PathBuf>> {
    let layout = &q.store.layout;
    let mut dirs =
        vec![layout.state().to_owned(), layout.own(), layout.rejected(), layout.outbox(), layout.tasks()];
    let shards = q.world.disk.list(&layout.tasks()).map_err(|e| Error::failure(e.to_string()))?;
    dirs.extend(
        shards
            .into_iter()
            .filter(|(_, kind)| *kind == FileKind::Dir)
            .map(|(name, _)| layout.tasks().join(name)),
    );
    Ok(dirs)
}

fn sweep(q: &Queue) -> Result<()> {
    let now = q.now();
    let disk = &*q.world.disk;
    let alive = |pid| q.world.process.identify(pid).is_some();
    for dir in places(q)? {
        atomic::sweep(disk, &dir, now, LITTER_AGE, &alive).map_err(|e| Error::failure(e.to_string()))?;
    }
    // Whoever waits for an answer gives up within minutes.
    let outbox = q.store.layout.outbox();
    for (name, _) in disk.list(&outbox).unwrap_or_default() {
        let path = outbox.join(&name);
        let Ok(Some(stat)) = disk.stat(&path) else { continue };
        if is_request(&name) && now.since(Timestamp(stat.mtime_ns / 1_000_000)) >= LITTER_AGE {
            q.store.remove_local(&q.world, &path).map_err(|e| Error::from_store(&e))?;
        }
    }
    Ok(())
}
