//! Somebody rewrote the remote: orch says so, keeps what it has, and never hands out an old epoch again.

use crate::rig::{Machine, Remote, TestEnv};

const BRANCH: &str = "refs/heads/orch-state";

/// Two machines that have seen epoch 1 of T-1 end, and the branch as it was before.
fn story() -> (TestEnv, Remote, Machine, Machine, String) {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    let before = remote.git(&["rev-parse", BRANCH]).ok().stdout.trim().to_owned();
    a.orch(["claim", "T-1"]).ok();
    a.orch(["fail", "T-1", "--notes", "n", "--permanent"]).ok();
    a.add("T-2");
    for machine in [&a, &b] {
        machine.orch(["sync"]).ok();
        assert_eq!(machine.status("T-1"), "failed");
    }
    assert_eq!(remote.lease_refs(), Vec::<String>::new());
    (env, remote, a, b, before)
}

fn nothing_is_forgotten(machine: &Machine) {
    let run = machine.orch(["sync"]);
    assert!(!run.stderr.trim().is_empty(), "somebody must be told: {run}");
    assert_eq!(machine.status("T-1"), "failed", "the local state is kept");
    assert_eq!(machine.status("T-2"), "pending");
    machine.verify();
}

#[test]
fn a_force_push_to_an_older_commit_is_noticed() {
    let (_env, remote, a, b, before) = story();
    remote.git(&["update-ref", BRANCH, &before]).ok();
    nothing_is_forgotten(&a);
    nothing_is_forgotten(&b);
    // Again and again, until somebody does something about it.
    nothing_is_forgotten(&a);
}

#[test]
fn a_deleted_branch_is_noticed() {
    let (_env, remote, a, b, _) = story();
    remote.git(&["update-ref", "-d", BRANCH]).ok();
    nothing_is_forgotten(&a);
    nothing_is_forgotten(&b);
}

#[test]
fn an_epoch_that_was_seen_is_never_handed_out_again() {
    let (_env, remote, a, b, before) = story();
    remote.git(&["update-ref", BRANCH, &before]).ok();
    for machine in [&a, &b] {
        let run = machine.try_json(["claim", "T-1"]);
        if run.code == 0 {
            assert!(run.data()["epoch"].as_u64() > Some(1), "{run}");
        }
        let picked = machine.try_json(["pick"]);
        if picked.code == 0 && picked.data()["task"]["id"] == "T-1" {
            assert!(picked.data()["epoch"].as_u64() > Some(1), "{picked}");
        }
    }
}

#[test]
fn a_lease_ref_that_somebody_deleted_is_set_up_again_by_its_holder() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    b.orch(["sync"]).ok();
    remote.git(&["update-ref", "-d", "refs/orch/leases/T-1"]).ok();
    let beat = a.json(["heartbeat", "T-1"]);
    assert_eq!((&beat["epoch"], &beat["published"]), (&1.into(), &true.into()));
    assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"]);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    for machine in [&a, &b] {
        machine.orch(["sync"]).ok();
        assert_eq!(machine.status("T-1"), "done");
    }
}

#[test]
fn a_lease_ref_that_vanished_and_was_claimed_by_another_fences_the_first() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    b.orch(["sync"]).ok();
    remote.git(&["update-ref", "-d", "refs/orch/leases/T-1"]).ok();
    let claimed = b.json(["claim", "T-1"]);
    assert!(claimed["epoch"].as_u64() > Some(1), "b has seen epoch 1: {claimed:#}");
    a.orch(["done", "T-1", "--notes", "n"]).exits(9);
    b.orch(["done", "T-1", "--notes", "by b"]).ok();
    for machine in [&a, &b, &a] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(a.show("T-1")["result"]["notes"], "by b");
}

/// Foreign commits on the branch are data to be looked at, never trusted.
#[test]
fn rubbish_on_the_branch_is_quarantined() {
    let (env, remote, a, b, _) = story();
    let dir = env.path("vandal");
    std::fs::create_dir(&dir).expect("ours");
    env.git(&dir, &["clone", "--quiet", "--branch", "orch-state", remote.url(), "."]).ok();
    let shard = a.task_path("T-2");
    let shard =
        shard.parent().and_then(|dir| dir.file_name()).expect("a shard").to_string_lossy().into_owned();
    std::fs::write(dir.join(format!("tasks/{shard}/T-2.yaml")), "format: 1\nid: T-2\nstatus: done\n")
        .expect("ours");
    std::fs::create_dir_all(dir.join("tasks/zz")).expect("ours");
    std::fs::write(dir.join("tasks/zz/odd.yaml"), "odd").expect("ours");
    std::os::unix::fs::symlink("/etc/passwd", dir.join("tasks/zz/link.yaml")).expect("ours");
    env.git(&dir, &["add", "-A"]).ok();
    env.git(&dir, &["commit", "--quiet", "-m", "vandalism"]).ok();
    env.git(&dir, &["push", "--quiet", "origin", "HEAD:orch-state"]).ok();
    let good = a.read_task("T-2");
    for machine in [&a, &b] {
        let run = machine.orch(["sync"]);
        run.ok().says("T-2");
        assert_eq!(machine.read_task("T-2"), good, "the last good version is kept");
        let claimed = machine.orch(["claim", "T-2"]);
        assert_ne!(claimed.code, 0, "nobody knows what the others hold: {claimed}");
        machine.orch(["list"]).ok().prints("T-1");
        assert!(machine.find_task("link").is_none() && machine.find_task("odd").is_none());
        machine.verify();
    }
}
