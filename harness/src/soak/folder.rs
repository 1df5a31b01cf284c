//! The folder of a run: whose it is, who works in it now, and what an earlier run or part has left there.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint};
use super::files;

/// Locked by whoever works in the folder, and the sign that the folder is one of a run.
const LOCK: &str = "run.lock";

/// A folder in which one run works. The lock goes with this value, and at the latest with the process.
pub struct Folder {
    /// Its full path.
    pub dir: PathBuf,
    _lock: Lock,
}

/// A file that is locked, in whatever way.
struct Lock(File);

impl Drop for Lock {
    /// Closing would not do: a child of another thread that has not come to its `exec` yet has a copy of the descriptor,
    /// and keeps what is only closed.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

impl Folder {
    /// Takes the folder for a run. One that has ended is put aside where another is to begin; what is none of a run is
    /// left alone.
    ///
    /// # Errors
    /// Somebody works in it, it holds something else, or it cannot be made.
    pub fn take(dir: &Path, resume: bool) -> Result<Folder, String> {
        let shown = |why: std::io::Error| format!("{}: {why}", dir.display());
        std::fs::create_dir_all(dir).map_err(shown)?;
        let dir = dir.canonicalize().map_err(shown)?;
        if !is_of_a_run(&dir).map_err(shown)? {
            return Err(format!(
                "{} holds files, and none of a soak; name another folder by --dir, or one that is not there yet",
                dir.display()
            ));
        }
        let lock = lock(&dir)?;
        let Some(old) = ended(&dir)?.filter(|_| !resume) else {
            return Ok(Folder { dir, _lock: lock });
        };
        put_aside(&dir, &old)?;
        std::fs::create_dir_all(&dir).map_err(shown)?;
        let lock = self::lock(&dir)?;
        Ok(Folder { dir, _lock: lock })
    }
}

/// Whether a run may have made what is there: nothing at all counts as well.
fn is_of_a_run(dir: &Path) -> std::io::Result<bool> {
    let known = [LOCK, checkpoint::FILE].iter().any(|name| dir.join(name).exists());
    Ok(known || std::fs::read_dir(dir)?.next().is_none())
}

fn lock(dir: &Path) -> Result<Lock, String> {
    let path = dir.join(LOCK);
    let shown = |why: std::io::Error| format!("{}: {why}", path.display());
    let options = File::options().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(&path).map_err(shown)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut who = String::new();
            drop(file.read_to_string(&mut who));
            return Err(format!(
                "a run works in {} right now (process {}): wait until it ends, end it with Ctrl-C, or name another \
                 folder by --dir",
                dir.display(),
                who.trim()
            ));
        }
        Err(TryLockError::Error(why)) => return Err(shown(why)),
    }
    let mut lock = Lock(file);
    lock.0.set_len(0).map_err(shown)?;
    writeln!(lock.0, "{}", std::process::id()).map_err(shown)?;
    Ok(lock)
}

/// Whether somebody works in the folder right now.
#[must_use]
pub fn is_taken(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK)) else { return false };
    match file.try_lock_shared() {
        Ok(()) => {
            // Whoever only looks must not keep a run away.
            drop(Lock(file));
            false
        }
        Err(why) => matches!(why, TryLockError::WouldBlock),
    }
}

/// The run in the folder, if there is one that has come to an end.
fn ended(dir: &Path) -> Result<Option<Checkpoint>, String> {
    if !dir.join(checkpoint::FILE).exists() {
        return Ok(None);
    }
    match Checkpoint::read(dir) {
        Ok(old) => Ok(Some(old).filter(|old| old.end.is_some())),
        Err(why) => Err(format!(
            "{why}; this run cannot go on. Move {} away to keep what it has, or name another folder by --dir",
            dir.display()
        )),
    }
}

/// Puts an earlier run that has ended aside, under the second in which it began.
fn put_aside(dir: &Path, old: &Checkpoint) -> Result<(), String> {
    let mut name = dir.file_name().ok_or("the folder of a run has a name")?.to_owned();
    name.push(format!("-{}", old.began));
    let aside = dir.with_file_name(name);
    std::fs::rename(dir, &aside).map_err(|why| format!("{}: {why}", aside.display()))?;
    eprintln!("note: the earlier run is in {} now", aside.display());
    Ok(())
}

/// Whoever was killed, or lost power, may have left half a line; what is appended behind it would not be read either.
///
/// # Errors
/// The file, and why it cannot be read or cut.
pub fn cut_stumps(dir: &Path) -> Result<(), String> {
    for file in std::fs::read_dir(dir).map_err(|why| format!("{}: {why}", dir.display()))?.flatten() {
        if file.path().extension().is_some_and(|ext| ext == "jsonl") {
            files::whole_lines(&file.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(dir: &Path, resume: bool) -> String {
        Folder::take(dir, resume).err().expect("it is refused")
    }

    /// `--resume` on a run that was still going on killed its watchdogs, and two runs wrote into one folder.
    #[test]
    fn one_run_works_in_a_folder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = Folder::take(&path, false).unwrap();
        assert!(is_taken(&path));
        for resume in [false, true] {
            let why = refused(&path, resume);
            assert!(why.contains(&format!("process {}", std::process::id())), "{why}");
        }
        drop(first);
        assert!(!is_taken(&path));
        Folder::take(&path, true).unwrap();
    }

    /// A run that had ended could not go on: "a run works in … right now", by the number of the very process that asked. A
    /// program that another thread was just starting still had the lock.
    #[test]
    fn a_child_that_is_only_just_starting_does_not_keep_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let first = Folder::take(dir.path(), false).unwrap();
        let of_the_child = first._lock.0.try_clone().unwrap();
        drop(first);
        assert!(!is_taken(dir.path()));
        Folder::take(dir.path(), true).unwrap();
        drop(of_the_child);
    }

    /// The same by a report: it asks whether a run goes on, and that look was a lock as well.
    #[test]
    fn a_look_at_a_folder_keeps_nobody_from_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(Folder::take(dir.path(), false).unwrap());
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                        std::process::Command::new("true").status().unwrap();
                    }
                });
            }
            let refused = (0..5000).find_map(|_| {
                assert!(!is_taken(dir.path()));
                Folder::take(dir.path(), true).err()
            });
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(refused, None);
        });
    }

    /// A run was begun among somebody's files, and the next one moved them away with it.
    #[test]
    fn a_folder_with_something_else_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
        let why = refused(dir.path(), false);
        assert!(why.contains("none of a soak") && why.contains("--dir"), "{why}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_record_of_a_run_is_named_with_a_way_on() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(checkpoint::FILE), "{").unwrap();
        let why = refused(dir.path(), false);
        assert!(why.contains(checkpoint::FILE) && why.contains("Move ") && why.contains("--dir"), "{why}");
    }
}
