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

#[test]
fn a_git_that_is_missing_or_too_old_is_named() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    std::fs::remove_file(env.path("bin/git")).expect("ours");
    std::fs::write(env.path("bin/git"), "#!/bin/sh\necho git version 2.20.1\n").expect("ours");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(env.path("bin/git"), std::fs::Permissions::from_mode(0o755)).expect("ours");
    let run = a.orch(["sync"]);
    assert_ne!(run.code, 0);
    run.says("git");
    a.orch(["list"]).ok();
}
