//! A remote repository that lost objects, or in which a killed git left a lock: what is said, and what mends it.

use std::path::PathBuf;

use crate::rig::{Machine, Remote, TestEnv};

fn shared() -> (TestEnv, Remote, Machine, Machine) {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    (env, remote, a, b)
}

fn object_file(remote: &Remote, name: &str) -> PathBuf {
    let shown = remote.git(&["rev-parse", name]);
    let oid = shown.ok().stdout.trim();
    remote.path().join("objects").join(&oid[..2]).join(&oid[2..])
}

/// A disk fault took the commit that the branch points to. From then on every sync of every machine ended with 75, and
/// `doctor` advised to allow pushes to `refs/orch/*`. A machine that has the object can put it back: nothing is taken
/// away, no ref moves.
#[test]
fn what_the_remote_lost_is_added_again_from_a_machine_that_has_it() {
    let (env, remote, a, b) = shared();
    a.add("T-2");
    let refs = remote.refs();
    std::fs::remove_file(object_file(&remote, "orch-state")).expect("a loose object");
    let error = b.try_json(["sync"]).exits(75).error();
    assert_eq!(error["code"], "missing_object", "{error:#}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("orch doctor")), "{error:#}");
    // This machine has never seen that commit.
    b.orch(["doctor"]).exits(8).prints("lacks objects").prints("orch doctor --repair");
    b.orch(["doctor", "--repair"]).exits(8).prints("run `orch doctor --repair` on the others");
    a.orch(["doctor", "--repair"]).ok().prints("the objects that it lacked were added");
    assert_eq!(remote.refs(), refs, "no ref moved");
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-2"), "pending");
    let c = env.joined("c", &remote);
    assert_eq!(c.task_files(), a.task_files());
}

/// The same with a blob, which only who fetches anew notices.
#[test]
fn a_lost_file_is_added_again() {
    let (_env, remote, a, b) = shared();
    a.orch(["claim", "T-1"]).ok();
    let lease = remote.lease_refs().pop().expect("a task in progress has one");
    std::fs::remove_file(object_file(&remote, &lease)).expect("a loose object");
    b.orch(["sync"]).exits(75);
    a.orch(["doctor", "--repair"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(b.status("T-1"), "in_progress");
    a.orch(["done", "T-1", "--notes", "n"]).ok();
}

/// A push was killed on the remote and left the lock of a lease ref behind: the words of git advised to remove it, and
/// did not say since when it was there.
#[test]
fn a_lock_of_a_lease_ref_is_named_with_its_age_and_with_when_it_may_go() {
    let (_env, remote, a, _b) = shared();
    let lock = remote.path().join("refs/orch/leases/T-1.lock");
    std::fs::create_dir_all(lock.parent().expect("it has one")).expect("our folder");
    let file = std::fs::File::create(&lock).expect("our folder");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(300);
    file.set_modified(old).expect("our file");
    let error = a.try_json(["claim", "T-1"]).exits(75).error();
    assert_eq!(error["code"], "remote_locked", "{error:#}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("refs/orch/leases/T-1.lock") && message.contains("s old)"), "{error:#}");
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("after a minute")), "{error:#}");
    a.orch(["doctor"]).exits(8).prints("T-1.lock is 5m").prints("when no git is at work there");
    a.orch(["doctor", "--repair"]).exits(8);
    assert!(lock.exists(), "the files of others are left alone");
    std::fs::remove_file(&lock).expect("ours");
    a.orch(["claim", "T-1"]).ok();
}
