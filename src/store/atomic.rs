//! Atomic, durable replacement of files: after any crash a file is the old or the new version, whole.
//!
//! The recipe: a temporary file in the same directory, sync it, rename it over the name, sync the
//! directory. A failed sync is never repeated, because the kernel may have dropped what it could not
//! write: the temporary file is thrown away and the caller writes anew.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::protocol::time::Timestamp;
use crate::world::{Disk, FileKind, Stat};

/// How the name of every temporary file begins; `<pid>.<anything>` follows.
pub const TEMP_PREFIX: &str = ".tmp.";
/// A temporary file of a running process is left alone for this long, then its number was reused.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// More directories than this are made durable together with their file system: two hundred new tasks lie in half as
/// many directories, each of which would wait for the disk.
const FEW_DIRS: usize = 8;

/// A write that failed. The file is whole: the old version, or the new one if `replaced`.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {}: {source}{}", path.display(), if *replaced { " (the new version is in place, but may not survive a power failure)" } else { "" })]
pub struct WriteError {
    /// The file or directory at which it failed.
    pub path: PathBuf,
    /// What was being done.
    pub step: &'static str,
    /// True if the new version has its name already, or may have it: read the file again.
    pub replaced: bool,
    /// Why.
    pub source: io::Error,
}

/// Replaces a file durably and returns its stat. Missing directories are made and made durable.
///
/// The stat belongs to these bytes; if somebody touched the file in the same moment it is one that no
/// file has, so that the next scan looks at the file again.
///
/// # Errors
/// [`WriteError`]; no temporary file is left behind if the disk still lets it be removed.
pub fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<Stat, WriteError> {
    let known = disk.stat(path).map_err(|e| failed(path, "look at", false, e))?.is_some();
    let temp = Temp::new(disk, path, bytes)?;
    disk.sync_file(&temp.path).map_err(|e| failed(path, "sync the new version of", false, e))?;
    let stat = temp.publish()?;
    let mut dirs = BTreeSet::new();
    note_dirs(&mut dirs, path, known);
    sync_dirs(disk, &dirs)?;
    Ok(stat)
}

/// Replaces many files durably with two syncs of the file system, and returns their stats in order.
///
/// # Errors
/// [`WriteError`] for the first failure. Each file is whole by itself; files before the one that failed may
/// be new already.
pub fn write_many(disk: &dyn Disk, files: &[(PathBuf, Vec<u8>)]) -> Result<Vec<Stat>, WriteError> {
    let Some((first, _)) = files.first() else {
        return Ok(Vec::new());
    };
    let mut temps = Vec::with_capacity(files.len());
    let mut dirs = BTreeSet::new();
    for (path, bytes) in files {
        let known = disk.stat(path).map_err(|e| failed(path, "look at", false, e))?.is_some();
        note_dirs(&mut dirs, path, known);
        temps.push(Temp::new(disk, path, bytes)?);
    }
    disk.sync_fs(parent(first)).map_err(|e| failed(parent(first), "sync the file system of", false, e))?;
    let stats = temps.into_iter().map(Temp::publish).collect::<Result<_, _>>()?;
    if dirs.len() > FEW_DIRS {
        let dir = parent(first);
        disk.sync_fs(dir).map_err(|e| failed(dir, "sync the file system of", true, e))?;
    } else {
        sync_dirs(disk, &dirs)?;
    }
    Ok(stats)
}

/// Replaces a derived file atomically but not durably: after a power failure it may be gone.
///
/// # Errors
/// [`WriteError`].
pub fn write_fast(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<Stat, WriteError> {
    Temp::new(disk, path, bytes)?.publish()
}

/// Reads a file together with the stat that belongs to these bytes; `None` where no file is. If the file
/// keeps changing meanwhile, the stat is one that no file has.
///
/// # Errors
/// What [`Disk::read`] says, with the path.
pub fn read(disk: &dyn Disk, path: &Path, limit: u64) -> io::Result<Option<(Vec<u8>, Stat)>> {
    let with_path = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display()));
    let Some(before) = disk.stat(path).map_err(with_path)? else {
        return Ok(None);
    };
    let bytes = match disk.read(path, limit) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(with_path)?,
    };
    let after = disk.stat(path).map_err(with_path)?;
    let stat =
        if after == Some(before) && before.size == bytes.len() as u64 { before } else { Stat::default() };
    Ok(Some((bytes, stat)))
}

/// Removes temporary files that crashed processes left in a directory: older than `age`, and of a process
/// that does not run (whatever has this number now, after a day). Returns how many went.
///
/// # Errors
/// When the directory cannot be listed; a file that cannot be removed is left for the next time.
pub fn sweep(
    disk: &dyn Disk,
    dir: &Path,
    now: Timestamp,
    age: Duration,
    alive: &dyn Fn(u32) -> bool,
) -> io::Result<usize> {
    let mut removed = 0;
    for (name, kind) in disk.list(dir)? {
        let Some(pid) = temp_pid(&name).filter(|_| kind == FileKind::File) else {
            continue;
        };
        let path = dir.join(&name);
        let Ok(Some(stat)) = disk.stat(&path) else {
            continue;
        };
        let old = now.since(Timestamp(stat.mtime_ns / 1_000_000));
        let abandoned = old >= ORPHAN_AGE.max(age) || (old >= age && !alive(pid));
        if abandoned && disk.remove(&path).is_ok() {
            removed += 1;
        }
    }
    Ok(removed)
}

/// The process that made a temporary file, by its name.
#[must_use]
pub fn temp_pid(name: &str) -> Option<u32> {
    name.strip_prefix(TEMP_PREFIX)?.split('.').next()?.parse().ok()
}

/// A temporary file that removes itself unless it is published.
struct Temp<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    target: &'a Path,
    stat: Stat,
    published: bool,
}

impl<'a> Temp<'a> {
    fn new(disk: &'a dyn Disk, target: &'a Path, bytes: &[u8]) -> Result<Self, WriteError> {
        let dir = parent(target);
        let made = match disk.write_temp(dir, bytes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                ensure_dir(disk, dir)?;
                disk.write_temp(dir, bytes)
            }
            other => other,
        };
        let path = made.map_err(|e| failed(target, "write a new version of", false, e))?;
        let mut temp = Temp { disk, path, target, stat: Stat::default(), published: false };
        let seen =
            disk.stat(&temp.path).map_err(|e| failed(target, "look at the new version of", false, e))?;
        temp.stat = seen.unwrap_or_default();
        Ok(temp)
    }

    fn publish(mut self) -> Result<Stat, WriteError> {
        // An error of rename does not say that nothing happened, so the file has to be read again.
        self.disk.rename(&self.path, self.target).map_err(|e| failed(self.target, "replace", true, e))?;
        self.published = true;
        let now = self.disk.stat(self.target).map_err(|e| failed(self.target, "look at", true, e))?;
        let same =
            |s: &Stat| (s.size, s.mtime_ns, s.inode) == (self.stat.size, self.stat.mtime_ns, self.stat.inode);
        Ok(now.filter(same).unwrap_or_default())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Nothing more can be done about a failure here; `sweep` comes by later.
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Makes a directory and its missing ancestors, each durable in its parent.
///
/// # Errors
/// [`WriteError`] with the directory.
pub fn ensure_dir(disk: &dyn Disk, dir: &Path) -> Result<(), WriteError> {
    let mut missing = Vec::new();
    for ancestor in dir.ancestors() {
        if disk.stat(ancestor).map_err(|e| failed(ancestor, "look at", false, e))?.is_some() {
            break;
        }
        missing.push(ancestor);
    }
    for new in missing.into_iter().rev() {
        disk.create_dir(new).map_err(|e| failed(new, "create the directory", false, e))?;
        disk.sync_dir(parent(new)).map_err(|e| failed(parent(new), "sync the directory", false, e))?;
    }
    Ok(())
}

/// Directories whose entries a write has to make durable. A new file also needs its directory's own entry:
/// another process may have made that directory a moment ago and not have synced it yet.
fn note_dirs(dirs: &mut BTreeSet<PathBuf>, path: &Path, known: bool) {
    let dir = parent(path);
    dirs.insert(dir.to_owned());
    if !known {
        dirs.insert(parent(dir).to_owned());
    }
}

fn sync_dirs(disk: &dyn Disk, dirs: &BTreeSet<PathBuf>) -> Result<(), WriteError> {
    // Children sort after their parents; the order does not matter as nobody is told before all are done.
    dirs.iter().try_for_each(|dir| disk.sync_dir(dir).map_err(|e| failed(dir, "sync the directory", true, e)))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn failed(path: &Path, step: &'static str, replaced: bool, source: io::Error) -> WriteError {
    WriteError { path: path.to_owned(), step, replaced, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::test_disk::{FailAt, TestDisk};
    use std::fs;

    fn temps(dir: &Path) -> usize {
        TestDisk.list(dir).unwrap().iter().filter(|(name, _)| name.starts_with(TEMP_PREFIX)).count()
    }

    #[test]
    fn a_write_makes_its_directories_and_returns_the_stat_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.yaml");
        let stat = write(&TestDisk, &path, b"one").unwrap();
        assert_eq!(TestDisk.stat(&path).unwrap(), Some(stat));
        let stat = write(&TestDisk, &path, b"twenty").unwrap();
        assert_eq!(read(&TestDisk, &path, 100).unwrap(), Some((b"twenty".to_vec(), stat)));
        assert_eq!(read(&TestDisk, &dir.path().join("none"), 100).unwrap(), None);
        assert_eq!(temps(&dir.path().join("a/b")), 0);
    }

    /// Somebody changed a file between its read and the look at it. A stat that belongs to other bytes than those that were
    /// read would say of the new ones, for ever, that they are known.
    #[test]
    fn a_file_that_changes_while_it_is_read_has_a_stat_that_no_file_has() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.yaml");
        write(&TestDisk, &path, b"old").unwrap();
        let disk = FailAt::never(|path| fs::write(path, b"longer than old").unwrap());
        assert_eq!(read(&disk, &path, 100).unwrap(), Some((b"old".to_vec(), Stat::default())));
        let disk = FailAt::never(|path| fs::remove_file(path).unwrap());
        assert_eq!(read(&disk, &path, 100).unwrap().unwrap().1, Stat::default());
    }

    /// Stops at every call in turn, once with a disk that recovers (an error) and once with one that does
    /// not (a kill): the file is whole, and the next write works.
    #[test]
    fn whatever_call_fails_the_file_is_old_or_new_and_the_next_write_works() {
        for dead in [false, true] {
            for fresh in [false, true] {
                for k in 0.. {
                    let dir = tempfile::tempdir().unwrap();
                    let path = dir.path().join("x/y/f.yaml");
                    if !fresh {
                        write(&TestDisk, &path, b"old").unwrap();
                    }
                    let disk = FailAt::new(k, dead);
                    let result = write(&disk, &path, b"new version");
                    if !disk.fired() {
                        assert!(result.is_ok() && k > 5);
                        break;
                    }
                    let now = fs::read(&path).ok();
                    match result {
                        // Only the clean-up after success may fail unseen.
                        Ok(_) => assert_eq!(now.as_deref(), Some(&b"new version"[..])),
                        Err(e) if !e.replaced => assert_eq!(now.as_deref(), (!fresh).then_some(&b"old"[..])),
                        Err(_) => {
                            assert!(now.is_none_or(|b| b == b"old" || b == b"new version"), "{k} {dead}");
                        }
                    }
                    if !dead && path.parent().unwrap().exists() {
                        assert_eq!(temps(path.parent().unwrap()), 0, "k={k}");
                    }
                    write(&TestDisk, &path, b"after").unwrap();
                    assert_eq!(fs::read(&path).unwrap(), b"after");
                }
            }
        }
    }

    #[test]
    fn many_files_are_each_whole_whatever_call_fails() {
        each_is_whole(2);
    }

    /// So many directories that they are not synced one by one.
    #[test]
    fn files_in_many_directories_are_each_whole_whatever_call_fails() {
        each_is_whole(FEW_DIRS + 2);
    }

    fn each_is_whole(dirs: usize) {
        for k in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let files: Vec<_> = (0..dirs + 2)
                .map(|n| (dir.path().join(format!("{}/{n}", n % dirs)), vec![b'n'; 10 + n]))
                .collect();
            for (path, _) in &files[..2] {
                write(&TestDisk, path, b"old").unwrap();
            }
            let disk = FailAt::new(k, false);
            let result = write_many(&disk, &files);
            for (path, bytes) in &files {
                let now = fs::read(path).ok();
                assert!(now.is_none_or(|b| b == b"old" || b == *bytes));
            }
            let made = (0..dirs).map(|d| dir.path().join(d.to_string())).filter(|d| d.exists());
            assert_eq!(made.map(|d| temps(&d)).sum::<usize>(), 0, "k={k}");
            if !disk.fired() {
                let stats = result.unwrap();
                assert_eq!(TestDisk.stat(&files[3].0).unwrap(), Some(stats[3]));
                assert!(k > 12);
                break;
            }
            assert!(result.is_err(), "k={k}");
        }
    }

    #[test]
    fn the_sweep_spares_the_young_and_the_living() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".tmp.1.a", ".tmp.2.b", ".tmp.x", "keep.yaml", ".tmp.3"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join(".tmp.9.dir")).unwrap();
        let written = TestDisk.stat(&dir.path().join("keep.yaml")).unwrap().unwrap().mtime_ns / 1_000_000;
        let after = |span: Duration| Timestamp(written).after(span + Duration::from_secs(1));
        let hour = Duration::from_secs(3600);
        let run = |now| sweep(&TestDisk, dir.path(), now, hour, &|pid| pid == 2).unwrap();
        assert_eq!(run(after(hour / 2)), 0);
        assert_eq!(run(after(hour)), 2);
        assert!(dir.path().join(".tmp.2.b").exists());
        assert_eq!(run(after(hour * 24)), 1);
        assert!(dir.path().join(".tmp.x").exists() && dir.path().join("keep.yaml").exists());
    }
}
