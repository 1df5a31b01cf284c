//! Several queues on one remote, each on a branch of its own: they share the repository and nothing else.

use crate::rig::{Machine, Remote, TestEnv};

fn on(env: &TestEnv, name: &str, remote: &Remote, branch: &str) -> Machine {
    let machine = env.machine(name);
    machine.orch(["init", "--remote", remote.url(), "--branch", branch]).ok();
    machine
}

fn two_queues(remote: &Remote, env: &TestEnv, first: &str, second: &str, leases: [&str; 2]) {
    let (a, b) = (on(env, "a", remote, first), on(env, "b", remote, first));
    let other = on(env, "other", remote, second);
    a.add("T-1");
    b.orch(["sync"]).ok();
    other.add("T-1");
    other.add("T-2");
    let mine = a.json(["claim", "T-1"]);
    assert_eq!(mine["epoch"], 1);
    // The other queue has a task of the same name; it is free there, and stays so until somebody claims it.
    other.orch(["sync"]).ok();
    assert_eq!(other.status("T-1"), "pending");
    assert_eq!(remote.lease_refs(), [leases[0]], "a sync of the other queue leaves the lease alone");
    b.orch(["claim", "T-1"]).exits(4);
    other.orch(["claim", "T-1"]).ok();
    other.orch(["sync"]).ok();
    assert_eq!(remote.lease_refs(), leases);
    a.orch(["heartbeat", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "of the first"]).ok();
    for machine in [&a, &other, &b] {
        machine.orch(["sync"]).ok();
        machine.orch(["audit"]).ok();
    }
    assert_eq!((b.status("T-1"), other.status("T-1")), ("done".to_owned(), "in_progress".to_owned()));
    assert!(b.find_task("T-2").is_none(), "tasks of the other queue are not ours");
    other.orch(["done", "T-1", "--notes", "of the second"]).ok();
    other.orch(["sync"]).ok();
    assert!(remote.lease_refs().is_empty(), "{:?}", remote.lease_refs());
    for machine in [&a, &b, &other] {
        machine.verify();
        machine.orch(["doctor"]).ok();
    }
}

/// Both queues had their leases at `refs/orch/leases/`: a sync of one deleted the lease of the other, and another
/// session was given the same task with the same epoch.
#[test]
fn two_queues_on_one_remote_leave_each_other_alone() {
    let env = TestEnv::new();
    let remote = env.remote();
    two_queues(
        &remote,
        &env,
        "q1",
        "q2",
        ["refs/orch/queues/q1/leases/T-1", "refs/orch/queues/q2/leases/T-1"],
    );
}

/// The queue on the usual branch keeps the names that the contract gives it, beside any other.
#[test]
fn the_usual_queue_keeps_its_names_beside_another() {
    let env = TestEnv::new();
    let remote = env.remote();
    let leases = ["refs/orch/leases/T-1", "refs/orch/queues/team/q1/leases/T-1"];
    two_queues(&remote, &env, "orch-state", "team/q1", leases);
}

/// The same where the remote takes branches only.
#[test]
fn two_queues_share_a_remote_that_takes_branches_only() {
    let env = TestEnv::new();
    let remote = env.remote();
    remote.hook("update", "case $1 in refs/heads/*) exit 0;; esac; echo only branches here >&2; exit 1");
    let leases = ["refs/heads/orch-leases/T-1", "refs/heads/orch-queues/q2/leases/T-1"];
    two_queues(&remote, &env, "orch-state", "q2", leases);
}
