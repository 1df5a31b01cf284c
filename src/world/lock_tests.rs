//! Tests of advisory locks between processes.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn is_free(path: &Path) -> bool {
    acquire(path, Duration::ZERO).unwrap().is_some()
}

#[test]
fn one_holder_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = acquire(&path, Duration::ZERO).unwrap().unwrap();
    assert!(!is_free(&path));
    let started = Instant::now();
    assert!(acquire(&path, Duration::from_millis(30)).unwrap().is_none());
    assert!(started.elapsed() >= Duration::from_millis(30));
    drop(held);
    assert!(is_free(&path));
    assert!(path.exists(), "a lock file stays where it is");
}

#[test]
fn the_disk_makes_the_directory_of_a_lock() {
    use crate::world::{Disk as _, disk::RealDisk};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("orch/locks/sync");
    let held = RealDisk.lock(&path, Duration::ZERO).unwrap();
    assert!(held.is_some());
    assert!(RealDisk.lock(&path, Duration::ZERO).unwrap().is_none());
}

/// Another process that holds the lock until its input ends, by means that are not ours.
struct Other {
    child: Child,
    input: Option<ChildStdin>,
}

impl Other {
    fn holding(path: &Path) -> Self {
        let script = "import fcntl,sys\nf=open(sys.argv[1],'a')\nfcntl.flock(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        let input = child.stdin.take();
        Other { child, input }
    }

    fn release(mut self) {
        drop(self.input.take());
        self.child.wait().unwrap();
    }
}

#[test]
fn a_lock_of_another_process_is_respected_and_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let other = Other::holding(&path);
    assert!(!is_free(&path));
    let waiter = {
        let path = path.clone();
        std::thread::spawn(move || acquire(&path, LONG).unwrap().is_some())
    };
    other.release();
    assert!(waiter.join().unwrap());
}

#[test]
fn a_killed_holder_frees_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut other = Other::holding(&path);
    other.child.kill().unwrap();
    other.child.wait().unwrap();
    assert!(acquire(&path, LONG).unwrap().is_some());
}

#[test]
fn children_do_not_inherit_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let file = open_regular(&path, OFlags::RDWR | OFlags::CREATE).unwrap().0;
    assert!(try_lock(&file).unwrap());
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"x\n").unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Closed without an unlock: were there a copy of the descriptor in the child, it would keep the lock.
    drop(file);
    assert!(is_free(&path));
    drop(input);
    child.wait().unwrap();
}

/// The lock file is removed and made anew while somebody holds the old one and somebody waits for it.
/// When the waiter gets the old file's lock, it must not believe it, because the new file is held.
#[test]
fn a_waiter_on_a_removed_file_goes_on_to_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let first = acquire(&path, Duration::ZERO).unwrap().unwrap();
    let (opened, is_open) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let waiter = {
        let path = path.clone();
        std::thread::spawn(move || {
            let old = open_regular(&path, OFlags::RDWR | OFlags::CREATE).unwrap().0;
            opened.send(()).unwrap();
            gone.recv().unwrap();
            // What `acquire` does once the holder lets go.
            assert!(try_lock(&old).unwrap());
            let believed = is_named(&old, &path).unwrap();
            (believed, acquire(&path, Duration::ZERO).unwrap().is_some())
        })
    };
    is_open.recv().unwrap();
    std::fs::remove_file(&path).unwrap();
    let second = acquire(&path, Duration::ZERO).unwrap().unwrap();
    drop(first);
    go.send(()).unwrap();
    assert_eq!(waiter.join().unwrap(), (false, false));
    drop(second);
    assert!(is_free(&path));
}

#[test]
fn a_file_that_another_one_replaced_is_not_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let held = acquire(&path, Duration::ZERO).unwrap().unwrap();
    assert!(is_named(&held.0, &path).unwrap());
    std::fs::write(dir.path().join("new"), b"").unwrap();
    std::fs::rename(dir.path().join("new"), &path).unwrap();
    assert!(!is_named(&held.0, &path).unwrap());
    std::fs::remove_file(&path).unwrap();
    assert!(!is_named(&held.0, &path).unwrap());
}

/// Eight threads add to a number that only the lock protects.
#[test]
fn contention_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, number) = (dir.path().join("lock"), dir.path().join("number"));
    std::fs::write(&number, "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let _held = acquire(&path, LONG).unwrap().unwrap();
                    let now: u32 = std::fs::read_to_string(&number).unwrap().parse().unwrap();
                    std::fs::write(&number, (now + 1).to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(std::fs::read_to_string(&number).unwrap(), "200");
}
