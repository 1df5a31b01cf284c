//! Real processes in unit tests: the test binary starts itself again as the supervisor, or as a worker
//! that is going to be killed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Child, Command, Event, Exit, RealProcess, Stream, supervisor, tree};
use crate::world::Process;

/// Starts this test binary again and runs only the entry point named; descriptors 3 and 4 are what 1 and 2
/// were, because the test harness itself writes to 1.
const AGAIN: &str = r#"exec 3>&1 4>&2; ORCH_TEST_ENTRY="$1" exec "$0" --exact "$1" --nocapture --skip "${2:-none}" >/dev/null 2>&1"#;

/// True when this process was started to run the entry point.
pub(crate) fn is_entry(name: &str) -> bool {
    std::env::var("ORCH_TEST_ENTRY").is_ok_and(|asked| asked == name)
}

/// Program and arguments that run an entry point (full path of an ignored-by-default test function).
pub(crate) fn again(entry: &str) -> Vec<PathBuf> {
    let me = std::env::current_exe().expect("tests have a path");
    vec!["/bin/sh".into(), "-c".into(), AGAIN.into(), me, entry.into()]
}

/// Says something to whoever started this entry point, on its standard output.
pub(crate) fn tell(text: &str) {
    let mut output = File::options().write(true).open("/dev/fd/3").expect("an output");
    output.write_all(text.as_bytes()).expect("somebody listens");
}

/// What an entry point tells on a machine that seems to have slept for a hundred thousand seconds: in a time
/// namespace of its own. `None`, with the reason, where the test may not make one.
#[cfg(target_os = "linux")]
pub(crate) fn after_a_sleep(entry: &str) -> Option<String> {
    let slept = |argv: &[PathBuf]| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--time", "--boottime", "100000", "--fork"]);
        command.args(argv).output()
    };
    match slept(&["true".into()]) {
        Ok(done) if done.status.success() => {}
        other => {
            eprintln!("skipped: no time namespace can be made here: {other:?}");
            return None;
        }
    }
    let done = slept(&again(entry)).expect("it could be run a moment ago");
    assert!(done.status.success(), "{done:?}");
    Some(String::from_utf8(done.stdout).expect("text"))
}

/// The name of [`entry_supervisor`] for the test harness.
pub(crate) const SUPERVISOR: &str = "world::process::testing::entry_supervisor";

#[test]
fn entry_supervisor() {
    if !is_entry(SUPERVISOR) {
        return;
    }
    let socket = io::stdin().as_fd().try_clone_to_owned().expect("a socket");
    let output = |fd: &str| File::options().write(true).open(format!("/dev/fd/{fd}")).map(Stdio::from);
    let (stdout, stderr) = (output("3").expect("an output"), output("4").expect("an output"));
    supervisor::supervise(UnixStream::from(socket), stdout, stderr).expect("it supervises");
    std::process::exit(0);
}

/// The real thing, whose supervisors carry a mark as an argument.
pub(crate) fn real_marked(mark: &str) -> RealProcess {
    let mut supervisor = again(SUPERVISOR);
    supervisor.push(mark.into());
    RealProcess::new("boot".to_owned(), supervisor)
}

/// The real thing.
pub(crate) fn real() -> RealProcess {
    RealProcess::new("boot".to_owned(), again(SUPERVISOR))
}

/// A command with an absolute program and a path in its environment.
pub(crate) fn command(argv: &[&str], stdin: &[u8]) -> Command {
    let path = std::env::var("PATH").expect("tests have a PATH");
    let program = real().find_program(argv[0], Path::new("/"), &path).expect("the program is installed");
    Command {
        program,
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        cwd: "/".into(),
        env: vec![("PATH".to_owned(), path)],
        stdin: stdin.to_vec(),
        fence_at: None,
    }
}

/// Runs a child to its end and collects what it wrote.
pub(crate) fn finish(child: &mut dyn Child) -> (Vec<u8>, Vec<u8>, Exit) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "the child does not end");
        match child.next(Duration::from_millis(200)).expect("it can be waited for") {
            Event::Idle => {}
            Event::Output(Stream::Stdout, bytes) => stdout.extend(bytes),
            Event::Output(Stream::Stderr, bytes) => stderr.extend(bytes),
            Event::Exited(exit) => return (stdout, stderr, exit),
        }
    }
}

/// Reads the standard output until it contains `text`.
pub(crate) fn wait_for(child: &mut dyn Child, text: &str) -> String {
    let mut seen = String::new();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !seen.contains(text) {
        assert!(Instant::now() < deadline, "{text:?} does not come; seen: {seen:?}");
        match child.next(Duration::from_millis(200)).expect("it can be waited for") {
            Event::Output(_, bytes) => seen.push_str(&String::from_utf8_lossy(&bytes)),
            Event::Idle => {}
            Event::Exited(exit) => panic!("it ended: {exit:?}, after {seen:?}"),
        }
    }
    seen
}

/// Waits until no process carries the mark any more, in its environment or as an argument; fails with the
/// rest after ten seconds. A list of processes is not one moment, so it must be empty twice.
pub(crate) fn assert_none_left(mark: &str) {
    let has = |file: String| {
        std::fs::read(file)
            .is_ok_and(|text| text.split(|byte| *byte == 0).any(|part| part == mark.as_bytes()))
    };
    let left = || {
        tree::living_where(|pid| ["environ", "cmdline"].iter().any(|name| has(format!("/proc/{pid}/{name}"))))
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let first = left();
        if first.is_empty() && left().is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{first:?} carry {mark} and live");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A value for `ORCH_TEST_MARK` that no other run of the tests on this machine has.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// The environment entry that has it.
pub(crate) fn entry_of(value: &str) -> String {
    format!("ORCH_TEST_MARK={value}")
}

/// How many processes carry the mark.
pub(crate) fn count(mark: &str) -> usize {
    tree::living_with(mark).len()
}

/// A program that leaves: it forks twice, opens a new session, ignores `SIGTERM`, and sleeps; one more child
/// stays in the group. The parent says `ready` when all are there, and waits too.
pub(crate) const ESCAPE: &str = "
import os, signal, sys, time
r, w = os.pipe()
def rest():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(w, b'x')
    time.sleep(600)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        rest()
    os._exit(0)
if os.fork() == 0:
    rest()
n = 0
while n < 2:
    n += len(os.read(r, 2))
print('ready', flush=True)
if sys.argv[1:] == ['leave']:
    os._exit(3)
time.sleep(600)
";
