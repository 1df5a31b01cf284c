//! Tests of the bounded runner: limits, groups, floods.

use std::path::{Path, PathBuf};

use rustix::fs::{Mode, open};
use rustix::io::Errno;

use super::*;

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn output_and_code_come_back() {
    let done = run(sh("echo out; echo err >&2; exit 3"), LONG, 100).unwrap();
    assert_eq!((done.code, done.timed_out, done.truncated), (Some(3), false, false));
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn a_flood_is_cut_and_does_not_block_the_child() {
    let done = run(sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"), LONG, 1000).unwrap();
    assert_eq!((done.code, done.truncated), (Some(0), true));
    assert_eq!((done.stdout.len(), done.stderr.len()), (1000, MOST_ERRORS));
}

#[test]
fn a_daemon_that_keeps_the_pipe_open_is_not_waited_for() {
    let started = Instant::now();
    let done = run(sh("sleep 60 & echo $!"), LONG, 100).unwrap();
    assert!(started.elapsed() < LONG);
    assert_eq!((done.code, done.timed_out), (Some(0), false));
    let daemon: i32 = String::from_utf8(done.stdout).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(daemon).unwrap(), Signal::KILL).unwrap();
}

/// Children that other tests start meanwhile must not inherit the pipe.
const SAFE: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC);

/// Tells whether a process lives: it holds both ends of a named pipe open, as nobody else does in the end.
pub(in crate::world) struct Alive {
    pipe: PathBuf,
    watcher: File,
}

impl Alive {
    pub(in crate::world) fn new(dir: &Path) -> Self {
        let pipe = dir.join("alive");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let watcher = open(&pipe, OFlags::RDWR | SAFE, Mode::empty()).unwrap().into();
        Alive { pipe, watcher }
    }

    /// A line of shell after which the shell and its children show that they live.
    pub(in crate::world) fn script(&self) -> String {
        format!("exec 9<>'{}'; echo up >&9", self.pipe.display())
    }

    /// Asserts that there was such a process, and waits until there is none.
    pub(in crate::world) fn assert_was_and_is_gone(mut self) {
        let mut said = [0u8; 3];
        self.watcher.read_exact(&mut said).expect("the process had time to start");
        drop(self.watcher);
        let waited = Instant::now();
        // Whoever opens only for writing, without waiting, is refused when nobody could read.
        while open(&self.pipe, OFlags::WRONLY | SAFE, Mode::empty()).err() != Some(Errno::NXIO) {
            assert!(waited.elapsed() < LONG, "a grandchild is alive");
            std::thread::yield_now();
        }
    }
}

#[test]
fn the_limit_ends_grandchildren_that_ignore_the_polite_signal() {
    let dir = tempfile::tempdir().unwrap();
    let alive = Alive::new(dir.path());
    let script = format!("(trap '' TERM; {}; while :; do sleep 1; done) & wait", alive.script());
    let done = run(sh(&script), Duration::from_secs(2), 100).unwrap();
    assert!(done.timed_out && done.code.is_none());
    alive.assert_was_and_is_gone();
}

/// A push to a remote by path was given up after its time limit. The signal went to the whole group and met
/// `receive-pack`, git's child, while it made a lock file: the lock stayed on the remote, and no machine could ever
/// move that ref again. Found by `orch-harness probe`, on a busy computer, in one of some hundred pushes.
#[test]
fn a_child_that_is_in_the_middle_of_something_may_finish_it() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("ref.lock");
    let script = format!("(trap 'exit 1' TERM; touch {0}; sleep 2; rm {0}) & wait", lock.display());
    let done = run(sh(&script), Duration::from_millis(1500), 100).unwrap();
    assert!(done.timed_out && done.code.is_none());
    assert!(!lock.exists(), "the child was killed while it held a lock");
}

/// The same holds for `receive-pack` when it is no child of git, but spoken to.
#[test]
fn who_is_spoken_to_may_finish_what_it_is_at() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("ref.lock");
    let script = format!("trap 'exit 1' TERM; read go; touch {0}; sleep 2 & wait; rm {0}", lock.display());
    let done = talk(sh(&script), Duration::from_millis(1500), 100, &mut |_| Some(b"go\n".to_vec())).unwrap();
    assert!(done.timed_out);
    assert!(!lock.exists(), "it was ended while it held a lock");
}

#[test]
fn a_command_that_was_begun_is_spoken_to_later_or_ends() {
    let done = begin(sh("echo ready; cat"), 100).unwrap().talk(LONG, &mut |_| Some(b"go\n".to_vec()));
    assert_eq!((done.code, done.stdout.as_slice()), (Some(0), &b"ready\ngo\n"[..]));
    let dir = tempfile::tempdir().unwrap();
    let alive = Alive::new(dir.path());
    let begun =
        begin(sh(&format!("{}; trap '' TERM HUP; read nothing; sleep 60", alive.script())), 100).unwrap();
    while !poll(&mut [PollFd::new(&alive.watcher, PollFlags::IN)], None).is_ok_and(|ready| ready == 1) {}
    drop(begun);
    alive.assert_was_and_is_gone();
}

/// More than a pipe holds goes each way.
#[test]
fn a_command_is_answered_once_it_has_said_enough() {
    let mut asked = 0;
    let mut answer = |said: &[u8]| {
        asked += 1;
        said.ends_with(b"ready\n").then(|| vec![b'x'; 300_000])
    };
    let done = talk(sh("echo not yet; echo ready; cat"), LONG, 1_000_000, &mut answer).unwrap();
    assert_eq!((done.code, done.timed_out, done.stdout.len()), (Some(0), false, 14 + 300_000));
    assert!(asked > 0);
    let done = talk(sh("exec <&-; echo deaf"), LONG, 100, &mut |_| Some(vec![b'x'; 300_000])).unwrap();
    assert_eq!((done.code, done.stdout.as_slice()), (Some(0), &b"deaf\n"[..]));
    let done = talk(sh("echo too much; cat"), LONG, 4, &mut |_| None).unwrap();
    assert_eq!((done.code, done.timed_out, done.truncated), (Some(0), false, true));
}

/// Whoever keeps the output open and is no part of the group is not waited for longer than the grace.
#[test]
fn a_daemon_that_is_left_behind_delays_the_end_by_the_grace_only() {
    let started = Instant::now();
    let done = run(sh("setsid sleep 30 & sleep 30"), Duration::from_millis(300), 100).unwrap();
    assert!(done.timed_out);
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
}
