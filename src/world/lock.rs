//! Advisory locks on files, the only place that uses `fs2` (a package that is no longer developed).
//!
//! Its methods are called by their full name because methods of [`File`] shadow some of them. A lock
//! file is made on demand and then never renamed, replaced or removed by orch. Should somebody else
//! remove it, a holder of the old file and a holder of a new one could meet: therefore what was locked
//! must still be what the path names.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::LockGuard;
use super::disk::{at, open_regular};

/// First and longest pause between two attempts. A holder's work lasts about a millisecond.
const PAUSE_FIRST: Duration = Duration::from_micros(50);
const PAUSE_LONGEST: Duration = Duration::from_millis(2);

/// A held lock.
#[derive(Debug)]
pub(super) struct Held(File);

impl LockGuard for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would do, unless a child between fork and exec still has a copy of the descriptor.
        let _ = fs2::FileExt::unlock(&self.0);
    }
}

/// Takes the lock, waiting at most `wait`; `None` when somebody else holds it until then. An error of
/// the lock call itself (`ENOLCK` and its like) is an error: it never counts as holding the lock.
pub(super) fn acquire(path: &Path, wait: Duration) -> io::Result<Option<Held>> {
    // A day at most, so that the addition cannot overflow.
    let deadline = Instant::now() + wait.min(Duration::from_secs(86_400));
    let mut pause = PAUSE_FIRST;
    let mut file = None;
    loop {
        let candidate = match file.take() {
            Some(file) => file,
            None => open_regular(path, OFlags::RDWR | OFlags::CREATE)?.0,
        };
        if try_lock(&candidate).map_err(at(path))? {
            let held = Held(candidate);
            if is_named(&held.0, path).map_err(at(path))? {
                return Ok(Some(held));
            }
            // Removed or replaced between open and lock: start over with what is there now.
        } else {
            file = Some(candidate);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        match fs2::FileExt::try_lock_exclusive(file) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether the path still names the open file. A waiter whose file was removed notices only after it
/// got the lock, which the holder of the removed file gives up sooner or later.
fn is_named(file: &File, path: &Path) -> Result<bool, Errno> {
    let ours = rustix::fs::fstat(file)?;
    let named = match retry_on_intr(|| rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(named) => named,
        Err(Errno::NOENT | Errno::STALE) => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(ours.st_nlink > 0 && (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino))
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
