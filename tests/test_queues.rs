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

/// A bare repository with code on a branch, and a clone of it in which a queue is to be made.
fn code(env: &TestEnv, branch: &str) -> (Remote, Machine, String) {
    let (remote, machine) = (env.remote(), env.machine("code"));
    let git = |args: &[&str]| env.git(machine.dir(), args).ok().stdout.clone();
    git(&["init", "--quiet"]);
    git(&["remote", "add", "origin", remote.url()]);
    git(&["checkout", "--quiet", "-b", branch]);
    std::fs::create_dir(machine.dir().join("src")).expect("a new folder");
    for file in ["src/main.c", "Makefile", "orch.yaml", ".gitattributes"] {
        std::fs::write(machine.dir().join(file), "mine: true\n").expect("a new file");
    }
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "my own work"]);
    git(&["push", "--quiet", "origin", branch]);
    let tip = remote.git(&["rev-parse", branch]).ok().stdout.clone();
    (remote, machine, tip)
}

/// `orch init --branch main` committed the files of a queue onto the user's own branch and pushed it, without a word.
#[test]
fn a_branch_of_code_is_not_taken_over() {
    let env = TestEnv::new();
    let (remote, machine, tip) = code(&env, "main");
    let refused = machine.try_json(["init", "--branch", "main"]);
    let refused = refused.exits(5).error();
    assert_eq!(refused["code"], "not_a_queue", "{refused:#}");
    let message = refused["message"].to_string();
    for part in ["refs/heads/main", "Makefile", "src", "my own work"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(refused["hint"].to_string().contains("--branch NAME"), "{refused:#}");
    assert_eq!(remote.git(&["rev-parse", "main"]).ok().stdout, tip);
    assert_eq!(remote.refs().len(), 1, "nothing else was left there");
    // The next one starts as if there had been none.
    let made = machine.json(["init"]);
    assert_eq!((&made["created"], &made["branch"]), (&true.into(), &"orch-state".into()), "{made:#}");
    machine.add("T-1");
    machine.orch(["claim", "T-1"]).ok();
    machine.git(&["log", "--oneline"]).ok().prints("T-1");
    assert_eq!(remote.git(&["rev-parse", "main"]).ok().stdout, tip);
    machine.verify();
}

/// The same without any option, where a branch of the user's is called as the usual one of orch.
#[test]
fn a_branch_of_code_with_the_usual_name_is_not_taken_over_either() {
    let env = TestEnv::new();
    let (remote, machine, tip) = code(&env, "orch-state");
    machine.orch(["init"]).exits(5).says("orch-state").says("is no queue");
    let made = machine.json(["init", "--branch", "queue"]);
    assert_eq!((&made["created"], &made["branch"]), (&true.into(), &"queue".into()), "{made:#}");
    machine.add("T-1");
    assert_eq!(remote.git(&["rev-parse", "orch-state"]).ok().stdout, tip);
    // A queue of one machine that is given such a remote later keeps what it had.
    let other = env.local("other");
    other.add("T-2");
    other.orch(["init", "--remote", remote.url()]).exits(5).says("is no queue");
    other.add("T-3");
    assert_eq!(other.json(["init"])["remote"], serde_json::Value::Null);
    assert_eq!(remote.git(&["rev-parse", "orch-state"]).ok().stdout, tip);
}

/// An `init` that left the network alone is no way around it: the first exchange looks as well.
#[test]
fn a_branch_of_code_is_left_alone_by_the_first_sync_too() {
    let env = TestEnv::new();
    let (remote, machine, tip) = code(&env, "main");
    machine.orch(["--no-sync", "init", "--branch", "main"]).ok();
    machine.orch(["add", "--id", "T-1", "--title", "t"]).ok().says("is no queue");
    machine.orch(["sync"]).exits(5).says("is no queue");
    machine.orch(["claim", "T-1"]).exits(5);
    assert_eq!(remote.git(&["rev-parse", "main"]).ok().stdout, tip);
}

/// The other side of it: whatever somebody's commit took away from a queue's branch, it is still joined.
#[test]
fn a_queue_that_lost_files_to_a_strange_commit_is_still_joined() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["sync"]).ok();
    let clone = env.path("by-hand");
    let shown = clone.display().to_string();
    env.git(&env.path("home"), &["clone", "--quiet", "-b", "orch-state", remote.url(), &shown]).ok();
    for (name, files) in [("b", &["orch.yaml", ".gitattributes"][..]), ("c", &["."])] {
        env.git(&clone, &["pull", "--quiet"]).ok();
        env.git(&clone, &[&["rm", "-r", "--quiet", "--"], files].concat()).ok();
        env.git(&clone, &["commit", "--quiet", "--allow-empty", "-m", "away with it"]).ok();
        env.git(&clone, &["push", "--quiet", "origin", "HEAD:orch-state"]).ok();
        let joined = env.joined(name, &remote);
        joined.orch(["list"]).ok();
    }
}
