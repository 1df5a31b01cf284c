//! The real children, with programs that misbehave on purpose.

use std::time::{Duration, Instant};

#[cfg(target_os = "linux")]
use super::testing::after_a_sleep;
use super::testing::{
    ESCAPE, again, assert_none_left, command, count, entry_of, finish, is_entry, real, real_marked, tell,
    unique, wait_for,
};
use super::{Child, Event, Signal, Stream};
use crate::world::clock::RealClock;
use crate::world::{Clock, Process};

fn start(argv: &[&str], stdin: &[u8]) -> Box<dyn Child> {
    real().spawn(&command(argv, stdin)).expect("it starts")
}

fn marked(argv: &[&str], mark: &str) -> Box<dyn Child> {
    let mut command = command(argv, b"");
    command.env.push(("ORCH_TEST_MARK".to_owned(), mark.to_owned()));
    real().spawn(&command).expect("it starts")
}

#[test]
fn code_outputs_and_use_come_back() {
    let mut child = start(
        &[
            "python3",
            "-c",
            "import sys; sum(range(10**6)); print('out'); print('err', file=sys.stderr); sys.exit(7)",
        ],
        b"",
    );
    let (stdout, stderr, exit) = finish(&mut *child);
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((exit.code, exit.signal, exit.stragglers, exit.survivors), (Some(7), None, 0, 0));
    assert!(exit.user_ms + exit.sys_ms > 0 && exit.max_rss_kb > 1000, "{exit:?}");
    assert_eq!(child.next(Duration::ZERO).ok(), Some(Event::Exited(exit)));
}

#[test]
fn only_the_given_environment_arrives_with_the_mark() {
    let (stdout, _, _) = finish(&mut *start(&["env"], b""));
    let text = String::from_utf8_lossy(&stdout).into_owned();
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(
        {
            let mut sorted = names.clone();
            sorted.sort_unstable();
            sorted
        },
        ["ORCH_SUPERVISOR", "PATH"],
        "{text}"
    );
}

#[test]
fn a_large_prompt_does_not_wait_for_a_child_that_never_reads_it() {
    let prompt = vec![b'p'; 3 << 20];
    let (_, _, exit) = finish(&mut *start(&["true"], &prompt));
    assert_eq!(exit.code, Some(0));
    let (stdout, _, _) = finish(&mut *start(&["wc", "-c"], &prompt));
    assert_eq!(String::from_utf8_lossy(&stdout).trim(), (3 << 20).to_string());
}

#[test]
fn a_child_that_reads_for_ever_meets_the_end_of_file() {
    let (stdout, _, exit) = finish(&mut *start(&["cat"], b"prompt"));
    assert_eq!((stdout.as_slice(), exit.code), (&b"prompt"[..], Some(0)));
    let (stdout, _, exit) = finish(&mut *start(&["cat"], b""));
    assert_eq!((stdout.len(), exit.code), (0, Some(0)));
}

#[test]
fn a_program_that_is_missing_or_a_directory_that_is_gone_is_an_error_of_spawn() {
    let mut missing = command(&["true"], b"");
    missing.program = "/nowhere/prog".into();
    let error = real().spawn(&missing).map(|_| ()).expect_err("it is not there");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/nowhere/prog"), "{error}");
    let mut gone = command(&["true"], b"");
    gone.cwd = "/nowhere".into();
    assert!(real().spawn(&gone).is_err());
    assert!(real().find_program("no-such-program", "/".as_ref(), "/bin:relative").is_err());
    assert!(real().find_program("./etc", "/".as_ref(), "/bin").is_err(), "a directory is no program");
}

#[test]
fn death_by_signal_is_told_apart_from_a_code() {
    let (_, _, exit) = finish(&mut *start(&["sh", "-c", "kill -9 $$"], b""));
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
}

#[test]
fn sigterm_is_polite_and_sigkill_is_not() {
    let code = "import os, signal, time\nsignal.signal(signal.SIGTERM, lambda *a: os.write(1, b'no'))\nprint('ready', flush=True)\nwhile True: time.sleep(1)";
    let mut child = start(&["python3", "-c", code], b"");
    wait_for(&mut *child, "ready");
    child.signal(Signal::Term).expect("it can be signalled");
    wait_for(&mut *child, "no");
    child.signal(Signal::Kill).expect("it can be signalled");
    let (_, _, exit) = finish(&mut *child);
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
}

#[test]
fn a_child_that_closes_its_outputs_early_is_still_waited_for() {
    let code = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.3)\nos._exit(4)";
    let started = Instant::now();
    let (_, _, exit) = finish(&mut *start(&["python3", "-c", code], b""));
    assert_eq!(exit.code, Some(4));
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_hundred_megabytes_are_drained() {
    let mut child = start(&["head", "-c", "104857600", "/dev/zero"], b"");
    let mut total = 0;
    loop {
        match child.next(Duration::from_secs(5)).expect("it can be waited for") {
            Event::Output(Stream::Stdout, bytes) => total += bytes.len(),
            Event::Output(Stream::Stderr, _) | Event::Idle => {}
            Event::Exited(exit) => break assert_eq!(exit.code, Some(0)),
        }
    }
    assert_eq!(total, 104_857_600);
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_left_the_group_is_killed_with_it() {
    let mut child = marked(&["python3", "-c", ESCAPE], &unique("kill"));
    wait_for(&mut *child, "ready");
    assert_eq!(count(&entry_of(&unique("kill"))), 3);
    child.signal(Signal::Kill).expect("it can be signalled");
    let (_, _, exit) = finish(&mut *child);
    assert_eq!((exit.signal, exit.survivors), (Some(9), 0));
    assert_eq!(count(&entry_of(&unique("kill"))), 0, "gone before the end is told");
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_outlives_a_program_that_ended_well_is_ended_too() {
    let mut child = marked(&["python3", "-c", ESCAPE, "leave"], &unique("leave"));
    let (_, _, exit) = finish(&mut *child);
    assert_eq!((exit.code, exit.stragglers, exit.survivors), (Some(3), 2, 0));
    assert_eq!(count(&entry_of(&unique("leave"))), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn dropping_a_child_kills_its_tree() {
    let mut child = marked(&["python3", "-c", ESCAPE], &unique("drop"));
    wait_for(&mut *child, "ready");
    drop(child);
    assert_eq!(count(&entry_of(&unique("drop"))), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_tree_whose_supervisor_is_killed_is_hunted_down() {
    let mut child = marked(&["python3", "-c", ESCAPE], &unique("hunt"));
    wait_for(&mut *child, "ready");
    let supervisor = super::tree::entry(child.pid().cast_signed()).expect("it runs").parent;
    let supervisor = rustix::process::Pid::from_raw(supervisor).expect("it has a parent");
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).expect("it runs");
    let (_, _, exit) = finish(&mut *child);
    assert!(exit.orphaned && exit.survivors == 0, "{exit:?}");
    assert_eq!(count(&entry_of(&unique("hunt"))), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn at_the_deadline_the_supervisor_kills_although_nobody_tells_it_to() {
    let mut child = marked(&["python3", "-c", ESCAPE], &unique("fence"));
    wait_for(&mut *child, "ready");
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("nanoseconds"));
    child.fence_at(now + Duration::from_secs(300)).expect("it can be told");
    assert_eq!(child.next(Duration::from_millis(50)).ok(), Some(Event::Idle));
    child.fence_at(now).expect("it can be told");
    // Not a word to the child from here on, as if this process stood still.
    assert_none_left(&entry_of(&unique("fence")));
    let (_, _, exit) = finish(&mut *child);
    assert!(exit.fenced);
}

const SLEPT: &str = "world::process::tests::entry_fence_after_a_sleep";

/// A worker whose program has just come to its deadline.
#[test]
fn entry_fence_after_a_sleep() {
    if is_entry(SLEPT) {
        let mut child = start(&["sleep", "20"], b"");
        child.fence_at(RealClock.boottime()).expect("it can be told");
        let (_, _, exit) = finish(&mut *child);
        tell(if exit.fenced { "fenced" } else { "not fenced" });
    }
}

/// On a clock that stops while the machine sleeps, the program would work on under a lease that somebody else has.
#[cfg(target_os = "linux")]
#[test]
fn the_deadline_at_the_supervisor_counts_a_sleep() {
    let Some(said) = after_a_sleep(SLEPT) else { return };
    assert_eq!(said, "fenced");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stranger_who_keeps_writing_into_the_pipe_does_not_keep_the_end_away() {
    let mut child =
        start(&["python3", "-c", "import time; print('ready', flush=True); time.sleep(0.5)"], b"");
    let pipe = format!("/proc/{}/fd/1", child.pid());
    wait_for(&mut *child, "ready");
    let mut pipe = std::fs::File::options().write(true).open(pipe).expect("the pipe is there");
    let stranger =
        std::thread::spawn(move || while std::io::Write::write_all(&mut pipe, &[b'x'; 65536]).is_ok() {});
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline, "the end is never told");
        if let Event::Exited(exit) = child.next(Duration::from_millis(200)).expect("it can be waited for") {
            break assert_eq!(exit.code, Some(0));
        }
    }
    drop(child);
    stranger.join().expect("it ends when the pipe is closed");
}

const DOOMED: &str = "world::process::tests::entry_doomed_worker";

/// A worker that waits for a child that never ends, and tells its number.
#[test]
fn entry_doomed_worker() {
    if is_entry(DOOMED) {
        let mark = std::env::var("ORCH_TEST_MARK").expect("the test sets it");
        let alone = std::env::var_os("ORCH_TEST_ALONE").is_some();
        let argv = if alone { &["sleep", "60"][..] } else { &["python3", "-c", ESCAPE] };
        let mut command = command(argv, b"");
        command.env.push(("ORCH_TEST_MARK".to_owned(), mark.clone()));
        let mut child = real_marked(&entry_of(&mark)).spawn(&command).expect("it starts");
        tell(&format!("{}\n", child.pid()));
        loop {
            let _ = child.next(Duration::from_secs(1));
        }
    }
}

/// The command that runs it.
#[cfg(target_os = "linux")]
fn doomed(mark: &str) -> std::process::Command {
    let argv = again(DOOMED);
    let mut worker = std::process::Command::new(&argv[0]);
    worker.args(&argv[1..]).env("ORCH_TEST_MARK", mark);
    worker
}

#[cfg(target_os = "linux")]
#[test]
fn kill_minus_nine_of_the_worker_leaves_no_descendant() {
    // Killed at many moments: before, while and after the tree comes up.
    for wait_ms in [0, 3, 6, 10, 15, 25, 40, 60, 90, 150, 1500] {
        let value = unique(&format!("doomed-{wait_ms}"));
        let mark = entry_of(&value);
        let mut worker = doomed(&value).stdout(std::process::Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(wait_ms));
        if wait_ms == 1500 {
            let deadline = Instant::now() + Duration::from_secs(20);
            while count(&mark) < 4 {
                assert!(Instant::now() < deadline, "the tree does not come up");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        worker.kill().expect("it can be killed");
        worker.wait().expect("it was killed");
        assert_none_left(&mark);
    }
}

/// Killed both at once, as where memory is short, neither is left to kill the program: it goes by itself.
#[cfg(target_os = "linux")]
#[test]
fn a_program_does_not_outlive_a_worker_and_a_supervisor_that_are_killed() {
    let value = unique("both");
    let mut worker = doomed(&value)
        .env("ORCH_TEST_ALONE", "yes")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut told = String::new();
    let output = worker.stdout.take().expect("it was piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut told).expect("it tells");
    let program = told.trim().parse().expect("the number of the program");
    let supervisor = super::tree::entry(program).expect("it runs").parent;
    let signal = |signal| {
        let supervisor = rustix::process::Pid::from_raw(supervisor).expect("it has a parent");
        rustix::process::kill_process(supervisor, signal).expect("it runs");
    };
    // It must not hear of the worker's death.
    signal(rustix::process::Signal::STOP);
    let stopped =
        || std::fs::read_to_string(format!("/proc/{supervisor}/stat")).expect("it runs").contains(") T ");
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stopped() {
        assert!(Instant::now() < deadline, "the supervisor does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.kill().expect("it can be killed");
    worker.wait().expect("it was killed");
    signal(rustix::process::Signal::KILL);
    assert_none_left(&entry_of(&value));
}

#[test]
fn a_process_is_known_by_number_and_start() {
    let me = real().me();
    assert!(me.start > 0 && real().alive(&me));
    let other = crate::world::ProcessId { start: me.start + 1, ..me.clone() };
    assert!(!real().alive(&other));
    let mut child = std::process::Command::new("true").spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(10);
    while real().identify(child.id()).is_some() {
        assert!(Instant::now() < deadline, "a zombie counts as alive");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.wait().expect("it ended");
}
