//! `kill -9` at every kind of moment: the next command works, and each operation is done or not done.

use std::process::Command;

use crate::rig::{Machine, Run, TestEnv};

/// Calls at which a kill may leave something half done.
const CALLS: &str = "openat,write,pwrite64,rename,renameat,renameat2,linkat,link,unlink,unlinkat,mkdir,mkdirat,fsync,fdatasync,syncfs,flock";

/// The same command under strace, killed at the n-th of these calls. `None` if strace is missing.
fn killed_at(machine: &Machine, n: usize, args: &[&str]) -> Option<Command> {
    // Without `-f`: strace counts calls for each process, and would kill the remote's own git as well, whose lock
    // file then stays there until a person removes it.
    let trace = format!("trace={CALLS}");
    traced(machine, &["-e", &trace, "-e", &format!("inject={CALLS}:signal=SIGKILL:when={n}")], args)
}

/// The same command under strace with these options. `None` if strace is missing.
fn traced(machine: &Machine, options: &[&str], args: &[&str]) -> Option<Command> {
    let strace = std::path::Path::new("/usr/bin/strace");
    if !strace.is_file() {
        // Only Linux has strace. Elsewhere these kills are left to `orch-harness crash`, which needs none.
        let must = cfg!(target_os = "linux") && std::env::var_os("CI").is_some();
        assert!(!must, "install strace: without it crashes are not tested");
        eprintln!("skipped: no strace");
        return None;
    }
    let plain = machine.command(args.iter().copied());
    let mut command = machine.env.command(strace);
    command.args(["-qq", "-o", "/dev/null"]).args(options);
    command.arg(plain.get_program()).args(plain.get_args()).current_dir(machine.dir());
    for (name, value) in plain.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    Some(command)
}

/// Kills a command at its n-th call for a growing n until it survives; after each kill `check` looks at what
/// is left. `fresh` makes a new machine for each kill.
fn at_every_call(fresh: impl Fn(usize) -> Machine, args: &[&str], check: impl Fn(&Machine, bool)) {
    let (mut n, mut kills, mut wrong) = (1, 0, Vec::new());
    loop {
        let machine = fresh(n);
        let Some(mut command) = killed_at(&machine, n, args) else { return };
        let run = Run::of(&mut command);
        let survived = run.code != 137;
        kills += usize::from(!survived);
        let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert!(!survived || run.code == 0, "{run}");
            check(&machine, survived);
            machine.verify();
        }));
        if let Err(why) = judged {
            let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
            wrong.push(format!("killed at call {n}: {why}"));
        }
        std::fs::remove_dir_all(machine.dir()).expect("ours");
        if survived {
            break;
        }
        // Every second call: half the time, and no phase of a command is only one call long.
        n += 2;
    }
    assert!(wrong.is_empty(), "{} of {kills} kills left trouble:\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(kills > 3, "only {kills} kills happened");
}

fn prepared(remote: bool) -> (TestEnv, Machine) {
    let env = TestEnv::new();
    let a = if remote { env.joined("a", &env.remote()) } else { env.local("a") };
    a.add("T-1");
    (env, a)
}

#[test]
fn add_is_done_or_not_done() {
    let (_env, a) = prepared(false);
    at_every_call(
        |n| a.copy(&format!("n{n}")),
        &["add", "--id", "T-2", "--title", "t"],
        |machine, survived| {
            let listed = machine.json(["list"]).as_array().map(Vec::len);
            assert!(listed == Some(2) || (!survived && listed == Some(1)), "{listed:?}");
            let again = machine.orch(["add", "--id", "T-2", "--title", "t"]);
            assert!(again.code == 0 || again.code == 4, "{again}");
            machine.orch(["claim", "T-2"]).ok();
        },
    );
}

#[test]
fn a_local_claim_is_done_or_not_done() {
    let (_env, a) = prepared(false);
    at_every_call(
        |n| a.copy(&format!("n{n}")),
        &["claim", "T-1"],
        |machine, survived| {
            let status = machine.status("T-1");
            assert!(status == "in_progress" || (!survived && status == "pending"), "{status}");
            assert_eq!(machine.json(["claim", "T-1"])["epoch"], 1, "the session itself may go on at once");
        },
    );
}

#[test]
fn a_local_finish_is_done_or_not_done() {
    let (_env, a) = prepared(false);
    a.orch(["claim", "T-1"]).ok();
    at_every_call(
        |n| a.copy(&format!("n{n}")),
        &["done", "T-1", "--notes", "n"],
        |machine, survived| {
            let status = machine.status("T-1");
            assert!(status == "done" || (!survived && status == "in_progress"), "{status}");
            machine.orch(["done", "T-1", "--notes", "n"]).ok();
            assert_eq!(machine.status("T-1"), "done");
        },
    );
}

#[test]
fn init_can_be_repeated() {
    let env = TestEnv::new();
    at_every_call(
        |n| env.machine(&format!("n{n}")),
        &["init"],
        |machine, _| {
            machine.orch(["init"]).ok();
            machine.add("T-1");
            machine.orch(["claim", "T-1"]).ok();
        },
    );
}

/// With a remote the kill may hit between the push and the knowledge of it; the remote decides.
#[test]
fn a_shared_claim_and_finish_are_done_or_not_done() {
    let env = TestEnv::new();
    let mut n = 2;
    let mut kills = 0;
    loop {
        let remote = env.remote();
        let a = env.joined(&format!("a{n}"), &remote);
        let b = env.joined(&format!("b{n}"), &remote);
        a.add("T-1");
        b.orch(["sync"]).ok();
        let Some(mut command) = killed_at(&a, n, &["claim", "T-1"]) else { return };
        let run = Run::of(&mut command);
        kills += usize::from(run.code == 137);
        // Whoever asks first is told the truth: a's claim stands, or b gets the task.
        let other = b.orch(["claim", "T-1"]);
        assert!(other.code == 0 || other.code == 4, "{other}");
        let again = a.orch(["claim", "T-1"]);
        assert_eq!(again.code, if other.code == 0 { 4 } else { 0 }, "{run}\n{other}\n{again}");
        let winner = if other.code == 0 { &b } else { &a };
        assert_eq!(
            winner.show("T-1")["epoch"],
            1,
            "n = {n}, the file of the winner lags behind\n{run}\n{other}\n{again}"
        );
        if let Some(mut command) = killed_at(winner, n, &["done", "T-1", "--notes", "n"]) {
            // It may be killed or not; what counts is what comes after.
            let _ = Run::of(&mut command);
        }
        winner.orch(["done", "T-1", "--notes", "n"]).ok();
        for machine in [&a, &b, &a] {
            machine.orch(["sync"]).ok();
        }
        assert_eq!(a.status("T-1"), "done");
        assert_eq!(a.task_files(), b.task_files());
        a.verify();
        b.verify();
        if run.code != 137 {
            break;
        }
        n += 9;
    }
    assert!(kills > 3, "only {kills} kills happened");
}

/// A fetch that was killed leaves the lock of the local ref that it was about to move. Every later command that had
/// something new to fetch then exited with 75 and called it a lock on the remote, until somebody removed the file.
#[test]
fn the_lock_of_a_killed_fetch_stops_nobody() {
    for git in crate::rig::gits() {
        let env = TestEnv::with_git(&git);
        let remote = env.remote();
        let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
        for (id, name) in [("T-1", "branch"), ("T-2", "leases/T-2")] {
            a.add(id);
            b.orch(["sync"]).ok();
            a.orch(["claim", id]).ok();
            a.orch(["note", id, "--text", "news"]).ok();
            let lock = b.state(format!(".git/refs/orch/incoming/{name}.lock"));
            std::fs::create_dir_all(lock.parent().expect("it has one")).expect("ours");
            std::fs::write(&lock, "").expect("ours");
            b.orch(["claim", id]).exits(4);
            b.orch(["sync"]).ok();
            assert_eq!(b.read_task(id), a.read_task(id));
            // `orch doctor` clears it away; no test waits for it to be old enough.
            std::fs::remove_file(&lock).expect("it stopped nobody");
        }
    }
}

/// Many files are made durable by one sync of their file system. Where that failed, what was called imported could be
/// gone after a power failure.
#[test]
fn an_import_whose_sync_of_the_file_system_fails_has_imported_nothing() {
    let (_env, a) = prepared(false);
    let lines = "{\"id\":\"T-2\",\"title\":\"t\"}\n{\"id\":\"T-3\",\"title\":\"t\"}\n";
    std::fs::write(a.dir().join("q.jsonl"), lines).expect("our folder");
    let options = ["-f", "-e", "trace=syncfs", "-e", "inject=syncfs:error=EIO"];
    let Some(mut command) = traced(&a, &options, &["import", "q.jsonl"]) else { return };
    Run::of(&mut command).exits(1).says("cannot sync the file system of");
    assert_eq!(a.task_files().len(), 1);
    assert_eq!(a.json(["import", "q.jsonl"])["imported"], 2, "the next one succeeds");
    a.verify();
}
