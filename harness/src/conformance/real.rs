//! The statements on the real implementations: this machine's disk, clocks, processes and repositories, and
//! remotes by path and over sockets, with every git that is installed.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use orch::sync::git::{GitObjects, Outside};
use orch::world::clock::RealClock;
use orch::world::disk::RealDisk;
use orch::world::process::{Command, RealProcess, supervisor};
use orch::world::random::RealRandom;
use orch::world::{Clock, Process, Random, RemoteFailure};

use super::disk::DiskPlace;
use super::objects::ObjectsPlace;
use super::process::{ProcessPlace, Program};
use super::remote::{Machine, RemotePlace};
use crate::hub::{Hub, WAYS, Way, gits};

fn assert_conforms(failed: &[String]) {
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn the_real_clock_conforms() {
    assert_conforms(&super::clock::clock(&|| Box::new(RealClock) as Box<dyn Clock>));
}

#[test]
fn the_real_randomness_conforms() {
    assert_conforms(&super::clock::random(&|| Box::new(RealRandom) as Box<dyn Random>));
}

/// A symbolic link, and where it is to stand.
pub(super) fn link(to: &Path, at: &Path) -> Result<(), String> {
    std::os::unix::fs::symlink(to, at).map_err(|error| error.to_string())
}

/// Kills the supervisor of a child, which is the parent of the program.
fn kill_supervisor(pid: u32) -> Result<(), String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| error.to_string())?;
    // The name may hold anything, parentheses too; after the last one come state and parent.
    let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
    let parent = parent.ok_or("a process without a parent")?;
    let done = std::process::Command::new("kill").args(["-9", parent]).status();
    if done.is_ok_and(|status| status.success()) { Ok(()) } else { Err(format!("cannot kill {parent}")) }
}

#[test]
fn the_real_disk_conforms() {
    assert_conforms(&super::disk::disk(&|| {
        let dir = tempfile::tempdir().unwrap();
        DiskPlace {
            disk: Box::new(RealDisk),
            other: Box::new(RealDisk),
            root: dir.path().canonicalize().unwrap(),
            clock: Box::new(RealClock),
            link: Box::new(link),
            keep: Box::new(dir),
        }
    }));
}

#[test]
fn the_real_repository_conforms() {
    assert_conforms(&super::objects::objects(&|| {
        let dir = tempfile::tempdir().unwrap();
        let git_dir = dir.path().join("r.git");
        let objects = GitObjects::init(&git_dir, "refs/heads/none", Outside::real(&git_dir)).unwrap();
        let other = GitObjects::open(&git_dir, Outside::real(&git_dir)).unwrap();
        ObjectsPlace { objects: Box::new(objects), other: Box::new(other), keep: Box::new(dir) }
    }));
}

#[test]
fn the_real_remote_conforms_by_path_and_over_sockets_with_every_git() {
    for git in gits() {
        for way in WAYS {
            let failed = super::remote::remote(&|| {
                let hub = Hub::new(way);
                let machine = |name: &str| {
                    let (remote, objects) = hub.machine(name, &git);
                    Machine { remote: Box::new(remote), objects: Box::new(objects) }
                };
                let (a, b) = (machine("a"), machine("b"));
                let hub = Arc::new(Mutex::new(hub));
                let (forbidding, vanishing) = (Arc::clone(&hub), Arc::clone(&hub));
                RemotePlace {
                    a,
                    b,
                    forbid: Some(Box::new(move |part: &str| {
                        let script = format!("case $1 in *{part}*) echo 'rule 7' >&2; exit 1;; esac");
                        forbidding.lock().unwrap().hook("update", &script);
                    })),
                    vanish: Some(Box::new(move || {
                        vanishing.lock().unwrap().vanish();
                        if way == Way::Path { RemoteFailure::NotFound } else { RemoteFailure::Unreachable }
                    })),
                    keep: Box::new(hub),
                }
            });
            assert!(failed.is_empty(), "{git:?} {way:?}:\n{}", failed.join("\n"));
        }
    }
}

/// This test binary starts itself again as the supervisor of children; descriptors 3 and 4 are what 1 and 2
/// were, because the test runner itself writes to 1.
const AGAIN: &str =
    r#"exec 3>&1 4>&2; ORCH_HARNESS_TEST_SUPERVISE=1 exec "$0" --exact "$1" --nocapture >/dev/null 2>&1"#;

#[test]
fn entry_supervisor() {
    if std::env::var_os("ORCH_HARNESS_TEST_SUPERVISE").is_none() {
        return;
    }
    let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let output = |fd: &str| Stdio::from(File::options().write(true).open(format!("/dev/fd/{fd}")).unwrap());
    supervisor::supervise(UnixStream::from(socket), output("3"), output("4")).unwrap();
    std::process::exit(0);
}

/// What behaves like that on a real machine.
fn script(program: Program) -> String {
    match program {
        Program::Says(code) => format!("printf out; printf err >&2; exit {code}"),
        Program::Copies => "exec cat".to_owned(),
        Program::IgnoresInput => "exit 0".to_owned(),
        Program::Floods(count) => format!("exec head -c {count} /dev/zero"),
        Program::Waits => "echo ready; exec sleep 600".to_owned(),
        Program::IgnoresTerm => "trap '' TERM; echo ready; exec sleep 600".to_owned(),
        Program::KillsItself => "kill -9 $$".to_owned(),
        Program::LeavesOneBehind => "sleep 600 & exit 3".to_owned(),
        // What is ignored stays so in the one that is left behind.
        Program::LeavesADeafOne => "trap '' TERM; sleep 600 & exit 3".to_owned(),
        Program::Shows(name) => format!("printf %s \"${{{name}-}}\"; printf : ; pwd -P"),
        Program::Works => "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done".to_owned(),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_real_processes_conform() {
    let me = std::env::current_exe().unwrap();
    let entry = "conformance::real::entry_supervisor";
    let path = std::env::var("PATH").unwrap();
    assert_conforms(&super::process::process(&|| {
        let again: Vec<PathBuf> = vec!["/bin/sh".into(), "-c".into(), AGAIN.into(), me.clone(), entry.into()];
        let process = RealProcess::new(RealClock.boot_id(), again);
        let sh = process.find_program("sh", Path::new("/"), &path).unwrap();
        let env = vec![("PATH".to_owned(), path.clone())];
        let command = move |program| Command {
            program: sh.clone(),
            argv: vec!["sh".to_owned(), "-c".to_owned(), script(program)],
            cwd: "/".into(),
            env: env.clone(),
            stdin: Vec::new(),
            fence_at: None,
        };
        let dir = tempfile::tempdir().unwrap();
        ProcessPlace {
            process: Box::new(process),
            clock: Box::new(RealClock),
            command: Box::new(command),
            findable: ("sh".to_owned(), path.clone()),
            dir: dir.path().to_owned(),
            link: Box::new(link),
            kill_supervisor: Box::new(kill_supervisor),
            keep: Box::new(dir),
        }
    }));
}
