//! Without the remote: who must decide alone is refused, what may wait is kept.

use std::time::{Duration, Instant};

use crate::rig::{Machine, Remote, Route, TestEnv};

fn shared() -> (TestEnv, Remote, Machine, Machine) {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.add("T-2");
    (env, remote, a, b)
}

#[test]
fn claims_and_operators_are_refused_and_additions_and_holders_are_kept() {
    let (_env, remote, a, b) = shared();
    a.orch(["claim", "T-1"]).ok();
    let before = a.json(["heartbeat", "T-1"])["expires_at"].clone();
    remote.go_away();
    for refused in [
        &["claim", "T-2"][..],
        &["pick"],
        &["cancel", "T-2", "--notes", "n"],
        &["block", "T-2", "--notes", "n"],
        &["sync"],
    ] {
        assert_eq!(a.try_json(refused.iter().copied()).exits(75).error()["retryable"], true);
    }
    assert_eq!(a.json(["add", "--id", "T-3", "--title", "offline"])["published"], false);
    a.orch(["add", "--id", "T-4", "--title", "offline"]).ok().says("not published");
    assert_eq!(a.json(["edit", "T-2", "--title", "edited offline"])["published"], false);
    let beat = a.json(["heartbeat", "T-1"]);
    assert_eq!((&beat["published"], &beat["expires_at"]), (&false.into(), &before), "nobody else saw it");
    assert_eq!(a.json(["checkpoint", "T-1", "--note", "half"])["status"], "in_progress");
    assert_eq!(a.json(["done", "T-1", "--notes", "finished offline"])["published"], false);
    a.verify();
    remote.come_back();
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-1"), "in_progress");
    let synced = a.json(["sync"]);
    assert_eq!(synced["rejected"], serde_json::json!([]), "{synced:#}");
    b.orch(["sync"]).ok();
    assert_eq!(b.show("T-1")["result"]["notes"], "finished offline");
    assert_eq!(b.show("T-2")["title"], "edited offline");
    assert_eq!(b.status("T-3"), "pending");
    a.orch(["sync"]).ok();
    assert_eq!(a.task_files(), b.task_files());
}

#[test]
fn reading_needs_no_remote() {
    let (_env, remote, a, _b) = shared();
    a.orch(["sync"]).ok();
    remote.go_away();
    for args in [&["list"][..], &["show", "T-1"], &["explain", "T-1"], &["resume", "T-1"]] {
        a.orch(args).ok();
    }
}

#[test]
fn a_remote_that_never_answers_is_given_up_in_time() {
    let env = TestEnv::new();
    let remote = Remote::proxied(&env);
    let a = env.joined("a", &remote).with("ORCH_SYNC_TIMEOUT", "2s");
    a.add("T-1");
    remote.proxy().set(Route::Hold);
    let start = Instant::now();
    a.orch(["claim", "T-1"]).exits(75);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(8), "the steps of a claim share twice the limit, it took {took:?}");
    remote.proxy().set(Route::Pass);
    a.orch(["claim", "T-1"]).ok();
}

#[test]
fn what_was_added_offline_on_two_machines_meets_at_the_remote() {
    let (_env, remote, a, b) = shared();
    b.orch(["sync"]).ok();
    remote.go_away();
    for n in 0..3 {
        a.add(&format!("A-{n}"));
    }
    for n in 0..3 {
        b.add(&format!("B-{n}"));
    }
    remote.come_back();
    for machine in [&a, &b, &a] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.json(["list"]).as_array().map(Vec::len), Some(8));
    assert_eq!(a.task_files(), b.task_files());
}

/// A lock that a killed git had left on the remote's state branch made `sync` give up without a word after twelve
/// pushes and exit 0 with nothing pushed; `add` was silent about it as well.
#[test]
fn a_lock_left_behind_on_the_branch_is_reported_as_that() {
    let (_env, remote, a, b) = shared();
    let lock = remote.path().join("refs/heads/orch-state.lock");
    std::fs::write(&lock, "").expect("the remote is ours");
    let added = a.try_json(["add", "--id", "T-3", "--title", "kept"]);
    assert_eq!(added.ok().says("lock").data()["published"], false);
    let refused = a.try_json(["sync"]);
    let refused = refused.exits(75).error();
    assert_eq!(
        (&refused["code"], &refused["retryable"]),
        (&"remote_locked".into(), &true.into()),
        "{refused}"
    );
    // A claim does not need the branch to move.
    a.orch(["claim", "T-1"]).ok();
    std::fs::remove_file(&lock).expect("it is still there");
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-3"), "pending");
}
