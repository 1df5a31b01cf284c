//! A world of real files, clocks and processes for the tests of the worker.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::world::process::testing::real;
use crate::world::*;

struct Files;

impl Disk for Files {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = fs::read(path)?;
        if bytes.len() as u64 > limit { Err(io::ErrorKind::InvalidData.into()) } else { Ok(bytes) }
    }
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        let Ok(meta) = fs::symlink_metadata(path) else { return Ok(None) };
        let kind = match () {
            () if meta.is_dir() => FileKind::Dir,
            () if meta.is_file() => FileKind::File,
            () => FileKind::Other,
        };
        Ok(Some(Stat { size: meta.len(), mtime_ns: 0, ctime_ns: 0, inode: meta.ino(), kind }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, FileKind)>> {
        crate::world::disk::RealDisk.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<bool> {
        let new = !dir.exists();
        fs::create_dir_all(dir)?;
        Ok(new)
    }
    fn write_temp(&self, dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = dir.join(".tmp");
        fs::write(&path, bytes)?;
        Ok(path)
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
    fn sync_fs(&self, _: &Path) -> io::Result<()> {
        unreachable!("the worker syncs single files")
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(bytes)
    }
    fn lock(&self, _: &Path, _: Duration) -> io::Result<Option<Box<dyn LockGuard>>> {
        unreachable!("the worker locks nothing")
    }
}

struct Clocks;

fn now(clock: rustix::time::ClockId) -> Duration {
    let now = rustix::time::clock_gettime(clock);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("nanoseconds"))
}

impl Clock for Clocks {
    fn wall_ms(&self) -> i64 {
        i64::try_from(now(rustix::time::ClockId::Realtime).as_millis()).expect("before the year 292 million")
    }
    fn monotonic(&self) -> Duration {
        now(rustix::time::ClockId::Monotonic)
    }
    fn boottime(&self) -> Duration {
        #[cfg(target_os = "linux")]
        return now(rustix::time::ClockId::Boottime);
        #[cfg(not(target_os = "linux"))]
        return now(rustix::time::ClockId::Monotonic);
    }
    fn boot_id(&self) -> String {
        "boot".to_owned()
    }
    fn sleep(&self, span: Duration) {
        std::thread::sleep(span);
    }
}

struct Nothing;

impl Random for Nothing {
    fn fill(&self, _: &mut [u8]) {
        unreachable!("the worker throws no dice")
    }
}

impl Objects for Nothing {
    fn blob(&self, _: Oid) -> Result<Vec<u8>, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn hash_blob(&self, _: &[u8]) -> Oid {
        unreachable!("the worker reads no objects")
    }
    fn entry(&self, _: Oid, _: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn list(&self, _: Oid, _: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn diff(&self, _: Option<Oid>, _: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn commit(&self, _: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        unreachable!("the worker writes no objects")
    }
    fn commit_info(&self, _: Oid) -> Result<CommitInfo, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn has(&self, _: Oid) -> bool {
        unreachable!("the worker reads no objects")
    }
    fn is_ancestor(&self, _: Oid, _: Oid) -> Result<bool, ObjectsError> {
        unreachable!("the worker reads no objects")
    }
    fn refs(&self, _: &str) -> Result<Vec<(String, Oid)>, ObjectsError> {
        unreachable!("the worker reads no refs")
    }
    fn get_ref(&self, _: &str) -> Result<Option<Oid>, ObjectsError> {
        unreachable!("the worker reads no refs")
    }
    fn swap_ref(&self, _: &str, _: Option<Oid>, _: Option<Oid>) -> Result<(), ObjectsError> {
        unreachable!("the worker moves no refs")
    }
    fn pressure(&self) -> Result<Pressure, ObjectsError> {
        unreachable!("the worker maintains nothing")
    }
    fn maintain(&self) -> Result<(), ObjectsError> {
        unreachable!("the worker maintains nothing")
    }
}

pub(super) fn world() -> World {
    World {
        clock: Box::new(Clocks),
        disk: Box::new(Files),
        objects: Box::new(Nothing),
        remote: None,
        process: Box::new(real()),
        random: Box::new(Nothing),
    }
}
