//! Where leases stand is one setting for all machines: two of them that disagree never both get a task.

use crate::rig::{Machine, Remote, TestEnv};

const REFUSES_CUSTOM: &str = "case $1 in refs/orch/*) echo 'custom refs are refused' >&2; exit 1;; esac";

fn refuse_custom(remote: &Remote) {
    remote.hook("update", REFUSES_CUSTOM);
}

fn settings(machine: &Machine) -> String {
    std::fs::read_to_string(machine.state("orch.yaml")).expect("it is there")
}

/// `init` on a machine whose account may not push refs/orch/* used to switch the whole queue to
/// `lease_refs: branches`. Machines that had the old setting went on with it, and a task that one of them held
/// was claimed a second time, with a confirmed claim, at the new place.
#[test]
fn who_joins_a_queue_does_not_move_its_leases() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let before = settings(&a);
    refuse_custom(&remote);
    let b = env.machine("b");
    let refused = b.try_json(["init", "--remote", remote.url()]);
    let refused = refused.exits(5).error();
    assert_eq!(refused["code"], "declined", "{refused}");
    assert!(refused["message"].to_string().contains("custom refs are refused"), "{refused}");
    a.orch(["sync"]).ok();
    assert_eq!(settings(&a), before);
    // What the account may do, reading, works; and nothing was claimed twice.
    assert_eq!(b.show("T-1")["lease"]["session"], "a-session");
    b.orch(["claim", "T-1"]).exits(4);
    assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"]);
}

/// A new queue takes what the remote offers, and whoever joins it later follows.
#[test]
fn a_new_queue_on_such_a_remote_has_its_leases_on_branches() {
    let env = TestEnv::new();
    let remote = env.remote();
    refuse_custom(&remote);
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["claim", "T-1"]).ok();
    assert_eq!(remote.lease_refs(), ["refs/heads/orch-leases/T-1"]);
    a.orch(["claim", "T-1"]).exits(4);
}

/// The other half of the story: however two machines came to disagree, a claim looks at both places after it was
/// pushed, withdraws, and says where the lease is. Nothing is lost: with the old setting the holder goes on.
#[test]
fn machines_that_disagree_never_hold_the_same_task() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for id in ["T-1", "T-2", "T-3"] {
        a.add(id);
    }
    let other = b.with("ORCH_SYNC_LEASE_REFS", "branches");
    a.orch(["claim", "T-1"]).ok();
    other.orch(["claim", "T-2"]).ok();
    let refused = other.try_json(["claim", "T-1"]);
    let refused = refused.exits(4).error();
    assert_eq!(refused["code"], "lease_elsewhere", "{refused}");
    assert!(refused["message"].to_string().contains("refs/orch/leases/T-1"), "{refused}");
    assert_eq!(a.try_json(["claim", "T-2"]).exits(4).error()["code"], "lease_elsewhere");
    // An operator's word about a task that others have in flight counts as little.
    other.orch(["cancel", "T-1", "--notes", "n"]).exits(4);
    // `pick` passes over them.
    assert_eq!(a.json(["pick"])["task"]["id"], "T-3");
    assert_eq!(
        remote.lease_refs(),
        ["refs/heads/orch-leases/T-2", "refs/orch/leases/T-1", "refs/orch/leases/T-3"]
    );
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    other.orch(["done", "T-2", "--notes", "n"]).ok();
    for machine in [&a, &other, &b] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.status("T-2"), "done");
    assert_eq!(b.status("T-1"), "done");
}

/// Of two machines that disagree and claim in the same moment at most one is told that it has the task.
#[test]
fn two_that_disagree_and_claim_at_once_do_not_both_win() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) =
        (env.joined("a", &remote), env.joined("b", &remote).with("ORCH_SYNC_LEASE_REFS", "branches"));
    let ids: Vec<String> = (0..6).map(|n| format!("T-{n}")).collect();
    for id in &ids {
        a.add(id);
    }
    b.orch(["sync"]).ok();
    for id in &ids {
        let codes = std::thread::scope(|scope| {
            [&a, &b]
                .map(|machine| scope.spawn(|| machine.orch(["claim", id.as_str()]).code))
                .map(|one| one.join())
        });
        let codes = codes.map(|code| code.expect("no panic"));
        assert!(codes.iter().filter(|code| **code == 0).count() <= 1, "{id}: {codes:?}");
        assert!(codes.iter().all(|code| matches!(code, 0 | 4)), "{id}: {codes:?}");
        let left = remote.lease_refs().iter().filter(|name| name.ends_with(id.as_str())).count();
        assert_eq!(
            left,
            codes.iter().filter(|code| **code == 0).count(),
            "{id}: a lost claim leaves nothing"
        );
    }
}

/// The setting itself changes only while nothing is in flight, and never for one machine alone.
#[test]
fn the_place_changes_only_while_nothing_is_in_flight() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let set = ["config", "set", "sync.lease_refs", "branches"];
    let refused = a.try_json(set);
    let refused = refused.exits(4).error();
    assert!(refused["message"].to_string().contains("T-1"), "{refused}");
    a.orch(["config", "set", "--machine", "sync.lease_refs", "branches"]).exits(78);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    a.orch(["sync"]).ok();
    a.orch(set).ok();
    a.add("T-2");
    a.orch(["claim", "T-2"]).ok();
    assert_eq!(remote.lease_refs(), ["refs/heads/orch-leases/T-2"]);
}
