//! The statements must be able to fail: each of these implementations breaks one promise, and a statement that is
//! about that promise must notice it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch::sync::git::{GitObjects, Outside};
use orch::world::clock::RealClock;
use orch::world::disk::RealDisk;
use orch::world::git_command::Git;
use orch::world::remote::GitRemote;
use orch::world::{
    Clock, Disk, FileKind, LockGuard, Oid, PushOutcome, Random, RefUpdate, Remote, RemoteError, Stat, Wanted,
};

use super::disk::DiskPlace;
use super::remote::{Machine, RemotePlace};
use crate::hub::{Hub, Way};

fn assert_noticed(failed: &[String], sentence: &str) {
    assert!(
        failed.iter().any(|why| why.contains(sentence)),
        "not noticed: {sentence}\n{}",
        failed.join("\n")
    );
}

struct Stuck;

impl Clock for Stuck {
    fn wall_ms(&self) -> i64 {
        1_700_000_000
    }
    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn boottime(&self) -> Duration {
        Duration::ZERO
    }
    fn boot_id(&self) -> String {
        String::new()
    }
    fn sleep(&self, _: Duration) {}
}

impl Random for Stuck {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

#[test]
fn a_clock_and_dice_that_stand_still_are_noticed() {
    let failed = super::clock::clock(&|| Box::new(Stuck) as Box<dyn Clock>);
    for sentence in [
        "milliseconds since 1970",
        "sleeping takes",
        "boottime counts what monotonic",
        "the boot has one name",
    ] {
        assert_noticed(&failed, sentence);
    }
    let failed = super::clock::random(&|| Box::new(Stuck) as Box<dyn Random>);
    for sentence in ["ten thousand ids", "each bit", "covers what is between", "two sources"] {
        assert_noticed(&failed, sentence);
    }
}

/// What a disk does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    LocksLetEverybodyIn,
    LocksAreNeverFree,
    AbsentIsAnError,
    Unsorted,
    NoLimit,
    SameTemporaryName,
    StatForgetsWhen,
    RenameKeepsTheOld,
    AppendReplaces,
    RenameReplacesDirectories,
    RemovesFilesAsDirectories,
    FollowsLinks,
    StatFollowsLinks,
    AppendFollowsLinks,
    RenameFollowsLinks,
    RenameMovesWhereLinksLead,
    RemoveFollowsLinks,
    EntersLinks,
    StopsAtLinks,
}

struct Broken(Fault);

impl Broken {
    /// The path, or where the link leads that stands in its place, if that is what this disk does.
    fn led(&self, fault: Fault, path: &Path) -> PathBuf {
        if self.0 == fault { path.canonicalize().unwrap_or(path.to_owned()) } else { path.to_owned() }
    }
}

struct Nothing;
impl LockGuard for Nothing {}

impl Disk for Broken {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        match self.0 {
            Fault::NoLimit => RealDisk.read(path, u64::MAX),
            Fault::FollowsLinks => std::fs::read(path),
            _ => RealDisk.read(path, limit),
        }
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let found = RealDisk.stat(&self.led(Fault::StatFollowsLinks, path))?;
        let forget = |stat: Stat| Stat { size: stat.size, kind: stat.kind, ..Stat::default() };
        Ok(if self.0 == Fault::StatForgetsWhen { found.map(forget) } else { found })
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let mut found = RealDisk.list(&self.led(Fault::EntersLinks, dir))?;
        match self.0 {
            Fault::AbsentIsAnError if !dir.exists() => return Err(io::ErrorKind::NotFound.into()),
            Fault::Unsorted => found.reverse(),
            _ => {}
        }
        Ok(found)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        RealDisk.create_dir(dir)
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        if self.0 == Fault::SameTemporaryName {
            let path = dir.join(".tmp.1");
            return std::fs::write(&path, bytes).map(|()| path);
        }
        if self.0 == Fault::StopsAtLinks && dir.is_symlink() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        RealDisk.write_temp(dir, bytes)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.0 == Fault::RenameKeepsTheOld && to.exists() {
            return RealDisk.remove(from);
        }
        match self.0 {
            Fault::RenameReplacesDirectories if to.is_dir() && !to.is_symlink() => {
                std::fs::remove_dir_all(to)?;
                RealDisk.rename(from, to)
            }
            Fault::RenameFollowsLinks if to.is_symlink() => {
                std::fs::copy(from, to).and_then(|_| RealDisk.remove(from))
            }
            Fault::RenameMovesWhereLinksLead if from.is_symlink() => {
                std::fs::rename(from.canonicalize()?, to).and_then(|()| RealDisk.remove(from))
            }
            _ => RealDisk.rename(from, to),
        }
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_fs(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(&self.led(Fault::RemoveFollowsLinks, path))
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        if self.0 == Fault::RemovesFilesAsDirectories && dir.is_file() {
            return RealDisk.remove(dir);
        }
        RealDisk.remove_dir(dir)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self.0 {
            Fault::AppendReplaces => std::fs::write(path, bytes),
            Fault::AppendFollowsLinks if path.is_symlink() => std::fs::write(path, bytes),
            _ => RealDisk.append(path, bytes),
        }
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        match self.0 {
            Fault::LocksLetEverybodyIn => Ok(Some(Box::new(Nothing))),
            Fault::LocksAreNeverFree => Ok(None),
            _ => RealDisk.lock(path, wait),
        }
    }
}

#[test]
fn a_disk_that_breaks_a_promise_is_noticed() {
    for (fault, sentence) in [
        (Fault::LocksLetEverybodyIn, "a lock excludes another process"),
        (Fault::LocksLetEverybodyIn, "within one process, too"),
        (Fault::LocksLetEverybodyIn, "removed or replaced never yields two holders"),
        (Fault::LocksLetEverybodyIn, "a held lock is waited for"),
        (Fault::LocksAreNeverFree, "a lock excludes another process"),
        (Fault::LocksAreNeverFree, "locks of different files"),
        (Fault::AbsentIsAnError, "an absent directory lists as empty"),
        (Fault::Unsorted, "a listing is sorted"),
        (Fault::NoLimit, "reading stops at the limit"),
        (Fault::SameTemporaryName, "temporary names"),
        (Fault::StatForgetsWhen, "a file that was replaced has another stat"),
        (Fault::RenameKeepsTheOld, "a rename replaces what was there"),
        (Fault::AppendReplaces, "appending makes the file"),
        (Fault::RenameReplacesDirectories, "a rename replaces no directory"),
        (Fault::RemovesFilesAsDirectories, "only an empty directory is removed"),
        (Fault::FollowsLinks, "a link in the place of a file"),
        (Fault::StatFollowsLinks, "a link in the place of a file"),
        (Fault::StatFollowsLinks, "a link in the place of a directory"),
        (Fault::AppendFollowsLinks, "a link in the place of a file"),
        (Fault::AppendFollowsLinks, "where a link leads nowhere"),
        (Fault::RenameFollowsLinks, "a rename replaces a link itself"),
        (Fault::RenameMovesWhereLinksLead, "a link that is renamed stays a link"),
        (Fault::RemoveFollowsLinks, "a rename replaces a link itself"),
        (Fault::EntersLinks, "a link in the place of a directory"),
        (Fault::StopsAtLinks, "a link on the way to a name"),
    ] {
        let failed = super::disk::disk(&|| {
            let dir = tempfile::tempdir().unwrap();
            DiskPlace {
                disk: Box::new(Broken(fault)),
                other: Box::new(Broken(fault)),
                root: dir.path().canonicalize().unwrap(),
                clock: Box::new(RealClock),
                link: Box::new(super::real::link),
                keep: Box::new(dir),
            }
        });
        assert_noticed(&failed, sentence);
    }
}

/// Says yes to everything that it was not told to be wrong, and sees no other ref than its own.
struct Yes(GitRemote);

impl Remote for Yes {
    fn url(&self) -> String {
        "https://user:token@host/r".to_owned()
    }
    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        let mut found = self.0.refs(prefixes, limit)?;
        found.reverse();
        Ok(found)
    }
    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        // What has gone is passed over in silence.
        let there = self.0.refs(&["refs/"], limit)?;
        let found: Vec<_> =
            wanted.iter().filter(|one| there.iter().any(|(other, _)| *other == one.name)).cloned().collect();
        self.0.fetch(&found, limit)
    }
    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.0.push(updates, limit);
        vec![PushOutcome::Accepted; updates.len()]
    }
    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.0.push(updates, limit)
    }
}

#[test]
fn a_remote_that_always_says_yes_is_noticed() {
    let failed = super::remote::remote(&|| {
        let hub = Hub::new(Way::Path);
        let machine = |name: &str| {
            let (remote, objects) = hub.machine(name, &Git::default());
            Machine { remote: Box::new(Yes(remote)), objects: Box::new(objects) }
        };
        RemotePlace { a: machine("a"), b: machine("b"), forbid: None, vanish: None, keep: Box::new(hub) }
    });
    for sentence in [
        "a push is a compare-and-swap",
        "the second of two identical pushes",
        "each ref of a push has its own fate",
        "a ref that is named twice",
        "an atomic push is all or none",
        "an object that is not here",
        "without time nothing is sent",
        "a listing holds the refs below",
        "a fetch brings what a listing showed",
        "a fetch of what is not there",
        "without credentials",
    ] {
        assert_noticed(&failed, sentence);
    }
}

/// Two repositories that are not the same one: what one process writes, the other does not see.
#[test]
fn a_repository_that_is_not_shared_is_noticed() {
    let failed = super::objects::objects(&|| {
        let dir = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let git_dir = dir.path().join(name);
            Box::new(GitObjects::init(&git_dir, "refs/heads/none", Outside::real(&git_dir)).unwrap())
        };
        super::objects::ObjectsPlace { objects: open("a"), other: open("b"), keep: Box::new(dir) }
    });
    for sentence in ["what is written is there at once", "a ref is compared and swapped", "refs are listed"] {
        assert_noticed(&failed, sentence);
    }
}
