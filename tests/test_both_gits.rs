//! The whole way of a task with every git of this computer: nothing newer than 2.34 is needed.

use crate::rig::{Kind, TestEnv, gits};

#[test]
fn every_git_carries_a_task_from_one_machine_to_another() {
    for git in gits() {
        for kind in [Kind::Path, Kind::Daemon, Kind::Http] {
            let env = TestEnv::with_git(&git);
            let remote = env.try_remote(kind).expect("these need no installation");
            let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
            a.add("T-1");
            b.orch(["claim", "T-1"]).ok();
            a.orch(["claim", "T-1"]).exits(4);
            b.orch(["heartbeat", "T-1"]).ok();
            b.orch(["done", "T-1", "--notes", "n"]).ok();
            b.orch(["sync"]).ok();
            a.orch(["sync"]).ok();
            assert_eq!(a.status("T-1"), "done", "{} {kind:?}", git.display());
            assert_eq!(a.task_files(), b.task_files());
            assert_eq!(remote.lease_refs(), Vec::<String>::new());
        }
    }
}

/// Machines with different gits share one queue.
#[test]
fn different_gits_work_together() {
    let gits = gits();
    let (Some(new), Some(old)) = (gits.first(), gits.last()) else { panic!("git is installed") };
    let env = TestEnv::with_git(new);
    let other = TestEnv::with_git(old);
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), other.joined("b", &remote));
    a.add("T-1");
    assert_eq!(b.json(["pick"])["task"]["id"], "T-1");
    a.orch(["cancel", "T-1", "--notes", "n"]).ok();
    b.orch(["heartbeat", "T-1"]).exits(9);
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(a.task_files(), b.task_files());
}

/// Puts a program in place of git.
fn replace_git(env: &TestEnv, script: &str) {
    orch::world::program::install(&env.path("bin/git"), script).expect("ours");
}

#[test]
fn a_git_that_is_too_old_is_refused_by_init() {
    let env = TestEnv::new();
    let remote = env.remote();
    let real = std::fs::read_link(env.path("bin/git")).expect("it is a link");
    let script = "#!/bin/sh\ncase \" $* \" in *\" --version \"*|*\" version \"*) echo git version 2.20.1;; *) exec REAL \"$@\";; esac\n";
    replace_git(&env, &script.replace("REAL", &real.display().to_string()));
    let run = env.machine("a").orch(["init", "--remote", remote.url()]);
    assert_ne!(run.code, 0, "{run}");
    run.says("2.34");
}

#[test]
fn without_git_what_needs_no_network_works() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    let bare = a.with("PATH", "/nonexistent");
    let run = bare.orch(["sync"]);
    assert_ne!(run.code, 0, "{run}");
    run.says("git");
    bare.orch(["list"]).ok().prints("T-1");
    assert_eq!(bare.json(["add", "--id", "T-2", "--title", "t"])["published"], false);
}
