//! A small disk on the real file system for this room's own tests, and one that fails at the k-th call.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::world::{Disk, FileKind, LockGuard, Stat};

/// The real file system, as plainly as possible.
#[derive(Default)]
pub struct TestDisk;

static NEXT: AtomicU64 = AtomicU64::new(0);

struct Held(fs::File);
impl LockGuard for Held {}
impl Drop for Held {
    fn drop(&mut self) {
        // Closing would do, unless a child between fork and exec still has a copy of the descriptor.
        drop(self.0.unlock());
    }
}

fn stat_of(meta: &fs::Metadata) -> Stat {
    let kind = match meta.file_type() {
        t if t.is_file() => FileKind::File,
        t if t.is_dir() => FileKind::Dir,
        _ => FileKind::Other,
    };
    Stat {
        size: meta.len(),
        mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
        ctime_ns: meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
        inode: meta.ino(),
        kind,
    }
}

impl Disk for TestDisk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_file() || meta.len() > limit {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fs::read(path)
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(Some(stat_of(&meta))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }
    fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, statat};
        let fd = match openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(vec![None; names.len()]),
            Err(e) => return Err(e.into()),
        };
        let one = |name: &&str| match statat(&fd, *name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(s) => Ok(Some(Stat {
                size: s.st_size as u64,
                mtime_ns: s.st_mtime * 1_000_000_000 + s.st_mtime_nsec as i64,
                ctime_ns: s.st_ctime * 1_000_000_000 + s.st_ctime_nsec as i64,
                inode: s.st_ino,
                kind: match rustix::fs::FileType::from_raw_mode(s.st_mode) {
                    rustix::fs::FileType::RegularFile => FileKind::File,
                    rustix::fs::FileType::Directory => FileKind::Dir,
                    _ => FileKind::Other,
                },
            })),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        };
        names.iter().map(one).collect()
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let kind = match entry.file_type()? {
                t if t.is_file() => FileKind::File,
                t if t.is_dir() => FileKind::Dir,
                _ => FileKind::Other,
            };
            found.push((entry.file_name().to_string_lossy().into_owned(), kind));
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        let new = !dir.is_dir();
        fs::create_dir_all(dir).map(|()| new)
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(".tmp.{}.{number}", std::process::id()));
        fs::write(&path, bytes).map(|()| path)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }
    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        use io::Write;
        fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let until = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Box::new(Held(file)))),
                Err(fs::TryLockError::Error(e)) => return Err(e),
                Err(fs::TryLockError::WouldBlock) if Instant::now() >= until => return Ok(None),
                Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
    }
}

/// Fails the k-th call (counted from 0) and, if `dead`, every call after it: a disk that stays full,
/// or a process that was killed there. Or fails none, and somebody else comes in after each read.
pub struct FailAt {
    inner: TestDisk,
    left: Cell<u64>,
    dead: bool,
    fired: Cell<bool>,
    after_read: Option<fn(&Path)>,
}

impl FailAt {
    pub fn new(k: u64, dead: bool) -> Self {
        FailAt { inner: TestDisk, left: Cell::new(k), dead, fired: Cell::new(false), after_read: None }
    }
    /// One on which this happens after each read.
    pub fn never(after_read: fn(&Path)) -> Self {
        FailAt { after_read: Some(after_read), ..FailAt::new(u64::MAX, false) }
    }
    /// Whether the failure happened at all.
    pub fn fired(&self) -> bool {
        self.fired.get()
    }
    fn step(&self) -> io::Result<&TestDisk> {
        if (self.dead && self.fired()) || (self.left.get() == 0 && !self.fired()) {
            self.fired.set(true);
            return Err(io::Error::other("injected"));
        }
        self.left.set(self.left.get().saturating_sub(1));
        Ok(&self.inner)
    }
}

impl Disk for FailAt {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let read = self.step()?.read(path, limit);
        if let Some(after_read) = self.after_read {
            after_read(path);
        }
        read
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        self.step()?.stat(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        self.step()?.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        self.step()?.create_dir(dir)
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        self.step()?.write_temp(dir, bytes)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.step()?.sync_file(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?.rename(from, to)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step()?.sync_dir(dir)
    }
    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        self.step()?.sync_fs(dir)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?.remove(path)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.step()?.append(path, bytes)
    }
    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        self.step()?.lock(path, wait)
    }
}
