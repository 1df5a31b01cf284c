//! The real disk: plain system calls that never follow a link in the last component and never block
//! on a pipe. Every error names its path.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::random::RealRandom;
use super::{Disk, FileKind, LockGuard, Random as _, Stat, lock};

/// Permissions of new files and directories, before the umask.
pub(super) const FILE_MODE: Mode = Mode::from_bits_retain(0o666);
const DIR_MODE: Mode = Mode::from_bits_retain(0o777);

/// Open flags that keep a hostile entry (link, pipe, terminal) from being followed or waited for.
pub(super) const SAFE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// Opens a file that a person named for reading: a link is followed and a pipe is read, unlike what lies in the state
/// directory, where nobody named it.
///
/// # Errors
/// Those of the operating system.
pub fn open_named(path: &Path) -> io::Result<File> {
    File::open(path)
}

impl Disk for RealDisk {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let (file, size) = open_regular(path, OFlags::RDONLY)?;
        if size > limit {
            return Err(too_large(path, limit));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        // One byte more than allowed: a file that grows while it is read is noticed, too.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(at(path))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(path, limit));
        }
        Ok(bytes)
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        stat_at(CWD, path.as_os_str()).map_err(at(path))
    }

    fn stat_many(&self, dir: &Path, names: &[&str]) -> io::Result<Vec<Option<Stat>>> {
        let Some(handle) = open_dir(dir)? else {
            return Ok(vec![None; names.len()]);
        };
        let stat = |name: &&str| {
            // Paths are put together for those that fail only: a scan asks for thousands.
            stat_at(&handle, OsStr::new(name)).map_err(|error| at(&dir.join(name))(error))
        };
        names.iter().map(stat).collect()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        let Some(handle) = open_dir(dir)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in Dir::read_from(&handle).map_err(at(dir))? {
            let entry = entry.map_err(at(dir))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                found.extend(listed(&handle, name, entry.file_type()).map_err(at(&dir.join(name)))?);
            }
        }
        found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        match retry_on_intr(|| rustix::fs::mkdirat(CWD, dir, DIR_MODE)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => match self.stat(dir)? {
                Some(stat) if stat.kind == FileKind::Dir => Ok(false),
                _ => Err(at(dir)(Errno::NOTDIR)),
            },
            Err(Errno::NOENT) => match dir.parent() {
                Some(parent) if !parent.as_os_str().is_empty() && parent != dir => {
                    self.create_dir(parent)?;
                    self.create_last(dir)
                }
                _ => Err(at(dir)(Errno::NOENT)),
            },
            Err(error) => Err(at(dir)(error)),
        }
    }

    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        loop {
            let path = dir.join(temp_name());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
            let mut file = match open(&path, flags) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(at(&path)(error)),
            };
            if let Err(error) = file.write_all(bytes) {
                // Nobody else knows the name; what is left after a failed removal is harmless litter.
                let _ = self.remove(&path);
                return Err(at(&path)(error));
            }
            return Ok(path);
        }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let (file, _) = open_regular(path, OFlags::RDONLY)?;
        sync(&file).map_err(at(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            let reason = "a file is only ever replaced by one from the same directory";
            return Err(at(to)(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        retry_on_intr(|| rustix::fs::renameat(CWD, from, CWD, to)).map_err(at(to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let handle = open_dir(dir)?.ok_or_else(|| at(dir)(Errno::NOENT))?;
        sync(&handle).map_err(at(dir))
    }

    fn sync_fs(&self, dir: &Path) -> io::Result<()> {
        let handle = open_dir(dir)?.ok_or_else(|| at(dir)(Errno::NOENT))?;
        sync_file_system(&handle).map_err(at(dir))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::unlinkat(CWD, path, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(at(path)(error)),
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::unlinkat(CWD, dir, AtFlags::REMOVEDIR)) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(at(dir)(error)),
        }
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
        let (mut file, _) = open_regular(path, flags)?;
        file.write_all(bytes).map_err(at(path))
    }

    fn lock(&self, path: &Path, wait: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        if let Some(dir) = path.parent() {
            self.create_dir(dir)?;
        }
        let held = lock::acquire(path, wait)?;
        Ok(held.map(|guard| Box::new(guard) as Box<dyn LockGuard>))
    }
}

impl RealDisk {
    /// The second half of `create_dir`, when the parent has just been made: somebody may have been faster.
    fn create_last(self, dir: &Path) -> io::Result<bool> {
        match retry_on_intr(|| rustix::fs::mkdirat(CWD, dir, DIR_MODE)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => self.create_dir(dir),
            Err(error) => Err(at(dir)(error)),
        }
    }
}

/// An error of the operating system together with the path that it is about.
#[derive(Debug)]
struct PathError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.source)
    }
}

impl std::error::Error for PathError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Adds the path to an error and keeps its kind: `.map_err(at(path))`.
pub(super) fn at<E: Into<io::Error>>(path: &Path) -> impl FnOnce(E) -> io::Error + use<'_, E> {
    move |error| {
        let source = error.into();
        let path = path.to_owned();
        io::Error::new(source.kind(), PathError { path, source })
    }
}

/// Opens without following or blocking, once more after an interrupt.
pub(super) fn open(path: &Path, flags: OFlags) -> Result<File, Errno> {
    retry_on_intr(|| rustix::fs::openat(CWD, path, flags | SAFE, FILE_MODE)).map(File::from)
}

/// Opens a regular file and tells its size; anything else is `InvalidData`.
pub(super) fn open_regular(path: &Path, flags: OFlags) -> io::Result<(File, u64)> {
    let file = match open(path, flags) {
        Ok(file) => file,
        // A link; a socket or a pipe that nobody reads; a directory opened for writing.
        Err(Errno::LOOP | Errno::NXIO | Errno::OPNOTSUPP | Errno::ISDIR) => return Err(not_a_file(path)),
        Err(error) => return Err(at(path)(error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(at(path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(not_a_file(path));
    }
    Ok((file, u64::try_from(stat.st_size).unwrap_or(0)))
}

/// A handle on a directory; `None` where nothing is.
fn open_dir(dir: &Path) -> io::Result<Option<File>> {
    match open(dir, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(handle) => Ok(Some(handle)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(at(dir)(error)),
    }
}

fn stat_at(dir: impl AsFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
    match retry_on_intr(|| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(convert(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The integer types of `stat` differ between systems, hence the casts.
#[expect(clippy::unnecessary_cast, reason = "field types differ between systems")]
fn convert(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        inode: stat.st_ino as u64,
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
    }
}

/// Saturates in the years 1677 and 2262, which only a corrupt inode names.
fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        _ => FileKind::Other,
    }
}

/// One entry of a listing; `None` if it has gone meanwhile. A name that is not UTF-8 cannot be opened
/// under the text that stands for it, so it is never called a file.
fn listed(dir: impl AsFd, name: &OsStr, told: FileType) -> Result<Option<(String, FileKind)>, Errno> {
    let Some(text) = name.to_str() else {
        return Ok(Some((name.to_string_lossy().into_owned(), FileKind::Other)));
    };
    let kind = match told {
        // Some file systems leave the kind out of their directories.
        FileType::Unknown => match stat_at(dir, name)? {
            Some(stat) => stat.kind,
            None => return Ok(None),
        },
        told => kind(told),
    };
    Ok(Some((text.to_owned(), kind)))
}

fn temp_name() -> String {
    let mut random = [0u8; 8];
    RealRandom.fill(&mut random);
    let pid = rustix::process::getpid().as_raw_nonzero();
    format!(".tmp.{pid}.{:016x}", u64::from_le_bytes(random))
}

fn too_large(path: &Path, limit: u64) -> io::Error {
    let reason = format!("larger than the {limit} bytes that are read at most");
    at(path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}

fn not_a_file(path: &Path) -> io::Error {
    let reason = "not a regular file (a link, directory, pipe or device); it is left alone";
    at(path)(io::Error::new(io::ErrorKind::InvalidData, reason))
}

/// On macOS `fsync` stops at the drive's cache; `F_FULLFSYNC` goes through it where the volume can.
#[cfg(target_vendor = "apple")]
fn sync(file: &File) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::fcntl_fullfsync(file)).or_else(|_| retry_on_intr(|| rustix::fs::fsync(file)))
}

#[cfg(not(target_vendor = "apple"))]
fn sync(file: &File) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::fsync(file))
}

#[cfg(target_os = "linux")]
fn sync_file_system(dir: &File) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::syncfs(dir))
}

/// `sync` only hands the pages to the drive; the full sync of the directory empties the drive's cache.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(dir: &File) -> Result<(), Errno> {
    rustix::fs::sync();
    sync(dir)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
