//! What retention wants: tasks that ended long ago move to the archive, for all machines; old bundles, left-over
//! temporary files, and what was observed of leases that have ended are removed on this one. Tasks and their
//! histories are never removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::task::Status;
use crate::protocol::time::Timestamp;
use crate::store::atomic::{self, TEMP_PREFIX};
use crate::store::place::{Month, Place};
use crate::sync::archive as sync_archive;
use crate::sync::shared::known_leases;
use crate::world::FileKind;

use super::error::{Error, Result};
use super::queue::Queue;

/// A temporary file of a process that still runs, or of one that was just started, is left alone.
const TEMP_AGE: Duration = Duration::from_secs(3600);
/// Deepest folder inside a bundle that is looked into.
const DEPTH_MAX: usize = 32;
/// Tasks that one commit moves to the archive.
const ARCHIVE_BATCH: usize = 4_096;

/// A bundle that is older than retention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Where it lies, relative to the state directory.
    pub path: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// Time since anything in it was written.
    pub age: Duration,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Bundles older than `retention.runs`.
    pub bundles: Vec<Bundle>,
    /// Temporary files that crashed processes left behind.
    pub temps: usize,
    /// Observations of leases of tasks that have ended.
    pub observations: usize,
    /// Files of sessions of this machine that have left what they name, longer than `retention.runs` ago.
    pub sessions: usize,
    /// How many tasks were done or cancelled longer ago than `retention.done` and not archived before.
    pub ended: usize,
    /// Those of them that moved to the archive.
    pub archived: Vec<TaskId>,
    /// What could not be removed or moved, and why.
    pub left: Vec<String>,
}

/// Moves and removes what is older than retention; with `dry_run` only tells what that is.
///
/// # Errors
/// Local files or the index cannot be read.
pub fn gc(q: &mut Queue, dry_run: bool) -> Result<Collected> {
    let mut report = Collected::default();
    bundles(q, dry_run, &mut report)?;
    temps(q, dry_run, &mut report);
    observations(q, dry_run, &mut report)?;
    sessions(q, dry_run, &mut report)?;
    archive(q, dry_run, &mut report)?;
    if !dry_run {
        super::sync::tidy(q)?;
    }
    Ok(report)
}

/// A session that ended its attempt has removed its file; one that vanished comes back soon or never.
fn sessions(q: &Queue, dry_run: bool, report: &mut Collected) -> Result<()> {
    let store = |e| Error::from_store(&e);
    for name in q.store.list_local(&q.world, &q.store.layout.sessions()).map_err(store)? {
        let Some(file) = q.store.session_named(&q.world, &name) else { continue };
        let holds = q.store.summary(&file.task).map_err(store)?.is_some_and(|task| {
            task.lease().is_some_and(|lease| lease.session == file.session && lease.epoch == file.epoch)
        });
        if file.machine != q.machine || holds || q.now().since(file.at) <= q.settings.retention.runs {
            continue;
        }
        if !dry_run {
            q.store.remove_session(&q.world, &name).map_err(store)?;
        }
        report.sessions += 1;
    }
    Ok(())
}

/// Moves tasks that ended long ago to the archive, a bounded number with each commit.
fn archive(q: &mut Queue, dry_run: bool, report: &mut Collected) -> Result<()> {
    let ended = ended(q)?;
    report.ended = ended.len();
    if dry_run {
        report.archived = ended;
        return Ok(());
    }
    if ended.is_empty() {
        return Ok(());
    }
    if q.is_shared() && q.no_sync {
        report.left.push(format!("{} ended tasks stay: --no-sync forbids asking the remote", ended.len()));
        return Ok(());
    }
    for some in ended.chunks(ARCHIVE_BATCH) {
        let before = q.start_budget();
        let result = sync_archive::archive(&q.cx(), some);
        q.deadline = before;
        match result {
            Ok(done) => {
                q.say(&done.fetched);
                report.archived.extend(done.moved);
            }
            // What else was collected is worth reporting, and the next run goes on from here.
            Err(error) => {
                report.left.push(format!("ended tasks stay for now: {error}"));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Tasks that were done or cancelled longer ago than retention, and that nothing waits or goes on about. A failed
/// task stays: it may stop the queue (`stop_on_failure`), and waits for a person who tries again or cancels it.
fn ended(q: &Queue) -> Result<Vec<TaskId>> {
    let oldest = q.settings.retention.done;
    let now = q.now();
    let briefs = q.store.briefs().map_err(|e| Error::from_store(&e))?;
    let leased: BTreeSet<TaskId> = if q.is_shared() {
        let known = known_leases(&q.cx()).map_err(|e| Error::from_sync(&e))?;
        known.into_iter().map(|(id, _)| id).collect()
    } else {
        BTreeSet::new()
    };
    let old = |b: &crate::store::survey::Brief| {
        matches!(b.status, Some(Status::Done | Status::Cancelled))
            && now.since(b.updated_at) > oldest
            && Month::of(b.updated_at).is_some()
            && b.place == Place::Tasks
            && b.settled
            && !b.quarantined
            && !leased.contains(&b.id)
    };
    let mut ids: Vec<TaskId> = briefs.into_iter().filter(old).map(|brief| brief.id).collect();
    ids.sort();
    Ok(ids)
}

fn bundles(q: &Queue, dry_run: bool, report: &mut Collected) -> Result<()> {
    let runs = q.store.layout.runs();
    for (task, kind) in listed(q, &runs, report) {
        if kind != FileKind::Dir || is_running(q, &task)? {
            continue;
        }
        let dir = runs.join(&task);
        for (attempt, kind) in listed(q, &dir, report) {
            if kind == FileKind::Dir {
                bundle(q, &dir.join(attempt), dry_run, report);
            }
        }
        if !dry_run && q.world.disk.list(&dir).is_ok_and(|entries| entries.is_empty()) {
            // An attempt that begins right now makes it again, or keeps it from being empty.
            let _ = q.world.disk.remove_dir(&dir);
        }
    }
    Ok(())
}

/// The bundle of an attempt that goes on is evidence in the making.
fn is_running(q: &Queue, name: &str) -> Result<bool> {
    let Ok(id) = TaskId::parse(name) else { return Ok(false) };
    let status = q.store.status_of(&id).map_err(|e| Error::from_store(&e))?;
    Ok(status == Some(Status::InProgress))
}

fn bundle(q: &Queue, dir: &Path, dry_run: bool, report: &mut Collected) {
    let mut inside = Inside::default();
    inside.look(q, dir, 0, report);
    let age = q.now().since(inside.newest);
    if age <= q.settings.retention.runs {
        return;
    }
    let state = q.store.layout.state();
    let path = dir.strip_prefix(state).unwrap_or(dir).display().to_string();
    if !dry_run {
        // The manifest says that a bundle is complete, so it goes first.
        inside.files.sort_by_key(|file| !file.ends_with("manifest.json"));
        let failed = inside.files.iter().find_map(|file| q.world.disk.remove(file).err());
        let failed =
            failed.or_else(|| inside.dirs.iter().rev().find_map(|dir| q.world.disk.remove_dir(dir).err()));
        if let Some(error) = failed {
            report.left.push(format!("{path}: {error}"));
            return;
        }
    }
    report.bundles.push(Bundle { path, bytes: inside.bytes, age });
}

/// What a bundle holds. Folders stand before what is inside of them.
#[derive(Default)]
struct Inside {
    files: Vec<PathBuf>,
    dirs: Vec<PathBuf>,
    bytes: u64,
    newest: Timestamp,
}

impl Inside {
    fn look(&mut self, q: &Queue, dir: &Path, depth: usize, report: &mut Collected) {
        self.dirs.push(dir.to_owned());
        self.note(q, dir);
        for (name, kind) in listed(q, dir, report) {
            let path = dir.join(name);
            match kind {
                FileKind::Dir if depth < DEPTH_MAX => self.look(q, &path, depth + 1, report),
                FileKind::Dir => {}
                // A link is removed itself; what it points to is never looked at.
                FileKind::File | FileKind::Other => {
                    self.bytes += self.note(q, &path);
                    self.files.push(path);
                }
            }
        }
    }

    /// Takes the time of an entry into account, and gives its size. What cannot be looked at is as new as
    /// can be, so that its bundle stays.
    fn note(&mut self, q: &Queue, path: &Path) -> u64 {
        match q.world.disk.stat(path) {
            Ok(Some(stat)) => {
                self.newest = self.newest.max(Timestamp(stat.mtime_ns / 1_000_000));
                stat.size
            }
            _ => {
                self.newest = q.now();
                0
            }
        }
    }
}

fn listed(q: &Queue, dir: &Path, report: &mut Collected) -> Vec<(String, FileKind)> {
    q.world.disk.list(dir).unwrap_or_else(|error| {
        report.left.push(format!("{}: {error}", dir.display()));
        Vec::new()
    })
}

/// Temporary files lie beside the files that they were to become.
fn temps(q: &Queue, dry_run: bool, report: &mut Collected) {
    let layout = &q.store.layout;
    let mut dirs: Vec<PathBuf> = (0..=u8::MAX).map(|shard| layout.shard(shard)).collect();
    dirs.extend([layout.state().to_owned(), layout.prompts(), layout.sessions()]);
    dirs.extend(q.store.months().unwrap_or_default().into_iter().map(|month| layout.month(month)));
    dirs.extend([layout.own(), layout.observations(), layout.rejected(), layout.outbox()]);
    let alive = |pid: u32| q.world.process.identify(pid).is_some();
    for dir in dirs {
        let swept = if dry_run {
            old_temps(q, &dir)
        } else {
            atomic::sweep(&*q.world.disk, &dir, q.now(), TEMP_AGE, &alive)
        };
        match swept {
            Ok(count) => report.temps += count,
            Err(error) => report.left.push(format!("{}: {error}", dir.display())),
        }
    }
}

/// Temporary files that are old enough; whether their process still runs, the sweep itself will ask.
fn old_temps(q: &Queue, dir: &Path) -> std::io::Result<usize> {
    let is_old = |name: &str| {
        let stat = q.world.disk.stat(&dir.join(name)).ok().flatten();
        stat.is_some_and(|stat| q.now().since(Timestamp(stat.mtime_ns / 1_000_000)) >= TEMP_AGE)
    };
    let entries = q.world.disk.list(dir)?;
    Ok(entries.iter().filter(|(name, _)| name.starts_with(TEMP_PREFIX) && is_old(name)).count())
}

/// A lease that has ended is never judged again: a new claim has a new epoch.
fn observations(q: &Queue, dry_run: bool, report: &mut Collected) -> Result<()> {
    let dir = q.store.layout.observations();
    for name in q.store.list_local(&q.world, &dir).map_err(|e| Error::from_store(&e))? {
        let stem = name.strip_suffix(".held").or_else(|| name.strip_suffix(".seen"));
        let Some(Ok(id)) = stem.map(TaskId::parse) else { continue };
        let status = q.store.status_of(&id).map_err(|e| Error::from_store(&e))?;
        if !status.is_some_and(Status::is_terminal) {
            continue;
        }
        if !dry_run {
            q.store.remove_local(&q.world, &dir.join(&name)).map_err(|e| Error::from_store(&e))?;
        }
        report.observations += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim, finish};
    use std::fs::{self, File};
    use std::time::{Duration, SystemTime};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn made(path: &Path, age: Duration) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "12345").unwrap();
        backdate(path, age);
    }

    fn backdate(path: &Path, age: Duration) {
        File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    fn filled(yard: &Yard) -> Queue {
        let mut q = yard.queue("a");
        for name in ["DONE", "BUSY", "IDLE"] {
            add(&mut q, name, &[]);
        }
        finish(&mut q, "DONE");
        claim(&mut q, "BUSY");
        let runs = yard.state("a").join("runs");
        for (bundle, age) in [("DONE/1", 15), ("DONE/2", 13), ("BUSY/1", 40), ("GONE/1", 20)] {
            let dir = runs.join(bundle);
            made(&dir.join("manifest.json"), DAY * age);
            made(&dir.join("artifacts/x.log"), DAY * age);
            backdate(&dir.join("artifacts"), DAY * age);
            backdate(&dir, DAY * age);
        }
        made(&yard.state("a").join("tasks/00/.tmp.1.x"), DAY * 2);
        made(&yard.state("a").join(".git/orch/.tmp.1.y"), Duration::from_secs(60));
        q
    }

    #[test]
    fn what_is_old_goes_and_what_is_in_use_stays() {
        let yard = Yard::local();
        let mut q = filled(&yard);
        let planned = gc(&mut q, true).unwrap();
        let paths = |report: &Collected| report.bundles.iter().map(|b| b.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&planned), ["runs/DONE/1", "runs/GONE/1"]);
        assert_eq!((planned.bundles[0].bytes, planned.temps, planned.observations), (10, 1, 1));
        let there = |path: &str| yard.state("a").join(path).exists();
        assert!(
            there("runs/DONE/1/manifest.json") && there("tasks/00/.tmp.1.x"),
            "a dry run removes nothing"
        );
        let removed = gc(&mut q, false).unwrap();
        assert_eq!(removed, Collected { bundles: removed.bundles.clone(), ..planned });
        assert_eq!(paths(&removed), ["runs/DONE/1", "runs/GONE/1"]);
        for gone in ["runs/DONE/1", "runs/GONE", "tasks/00/.tmp.1.x", ".git/orch/observations/done.held"] {
            assert!(!there(gone), "{gone}");
        }
        for kept in [
            "runs/DONE/2/manifest.json",
            "runs/BUSY/1",
            ".git/orch/.tmp.1.y",
            ".git/orch/observations/busy.held",
        ] {
            assert!(there(kept), "{kept}");
        }
        let again = gc(&mut q, false).unwrap();
        assert_eq!(again, Collected::default());
    }

    #[test]
    fn a_link_inside_a_bundle_is_removed_and_never_followed() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        let precious = yard.state("a").join("precious");
        made(&precious.join("file"), Duration::ZERO);
        let dir = yard.state("a").join("runs/X/1");
        made(&dir.join("log"), DAY * 20);
        std::os::unix::fs::symlink(&precious, dir.join("link")).unwrap();
        backdate(&dir, DAY * 20);
        // The link itself is new, so the bundle stays until that has aged, too.
        assert!(gc(&mut q, false).unwrap().bundles.is_empty());
        q.settings.retention.runs = Duration::ZERO;
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(gc(&mut q, false).unwrap().bundles.len(), 1);
        assert!(precious.join("file").exists() && !dir.exists());
    }
}
