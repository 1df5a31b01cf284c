//! A holder that lost its lease can change nothing, and is told so.

use crate::rig::{Machine, TestEnv, until};

const ACTS: [&[&str]; 5] = [
    &["heartbeat", "T-1"],
    &["checkpoint", "T-1", "--note", "n"],
    &["done", "T-1", "--notes", "n"],
    &["fail", "T-1", "--notes", "n"],
    &["release", "T-1"],
];

/// Claims the task as soon as the old lease has lapsed in the eyes of this machine.
fn take_over(machine: &Machine) {
    until("the lease lapses", || {
        let run = machine.orch(["claim", "T-1", "--lease", "5m"]);
        assert!(run.code == 0 || run.code == 4, "{run}");
        (run.code == 0).then_some(())
    });
}

fn refused_as(machine: &Machine, code: i32) {
    let before = machine.read_task("T-1");
    for act in ACTS {
        machine.orch(act).exits(code);
    }
    assert_eq!(machine.read_task("T-1"), before, "a refused act changes nothing");
}

#[test]
fn who_never_held_it_meets_a_conflict() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    refused_as(&a, 4);
    a.orch(["claim", "T-1"]).ok();
    refused_as(&a.session("stranger"), 4);
}

#[test]
fn who_held_an_earlier_epoch_is_fenced() {
    let env = TestEnv::new();
    let a = env.local("a").impatient();
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let b = a.session("b");
    take_over(&b);
    assert_eq!(a.show("T-1")["epoch"], 2);
    refused_as(&a, 9);
    b.orch(["heartbeat", "T-1"]).ok();
    b.orch(["heartbeat", "T-1", "--epoch", "1"]).exits(9);
    b.orch(["done", "T-1", "--notes", "n", "--epoch", "2"]).ok();
    refused_as(&a, 9);
    a.verify();
}

#[test]
fn who_let_the_deadline_pass_is_fenced_before_anybody_else_comes() {
    let env = TestEnv::new();
    let a = env.local("a").impatient();
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let started = std::time::Instant::now();
    until("the deadline passes", || {
        (started.elapsed() > std::time::Duration::from_millis(1_100)).then_some(())
    });
    refused_as(&a, 9);
    // It may claim again, with a new epoch.
    assert_eq!(a.json(["claim", "T-1"])["epoch"], 2);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
}

#[test]
fn a_zombie_on_another_machine_is_fenced_by_the_remote() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote).impatient(), env.joined("b", &remote).impatient());
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    take_over(&b);
    let bobs = b.read_task("T-1");
    for act in ACTS {
        a.orch(act).exits(9);
    }
    b.orch(["heartbeat", "T-1"]).ok();
    b.orch(["done", "T-1", "--notes", "by b"]).ok();
    for machine in [&a, &b, &a] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(a.show("T-1")["result"]["notes"], "by b");
    assert!(b.read_task("T-1").len() > bobs.len());
    a.verify();
}

/// What a holder did while it was cut off is never dropped silently.
#[test]
fn a_finish_that_comes_too_late_is_kept_and_reported() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote).with("ORCH_LEASE_TTL", "30s");
    let b = env.joined("b", &remote);
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    b.orch(["cancel", "T-1", "--notes", "superseded"]).ok();
    remote.go_away();
    let late = a.json(["done", "T-1", "--notes", "finished all the same"]);
    assert_eq!(late["published"], false);
    remote.come_back();
    let synced = a.json(["sync"]);
    let rejected = synced["rejected"].as_array().expect("a list");
    assert_eq!(rejected.len(), 1, "{synced:#}");
    assert_eq!((&rejected[0]["task"], &rejected[0]["do"]), (&"T-1".into(), &"done".into()));
    assert_eq!(a.status("T-1"), "cancelled");
    let kept = std::fs::read_dir(a.state(".git/orch/rejected")).expect("it is there").count();
    assert_eq!(kept, 1, "the operation is kept");
    a.verify();
}

/// Repeating `done` under an epoch that never was answered 0: `--epoch` was compared downwards only.
#[test]
fn done_is_repeated_by_its_own_epoch_only() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "n", "--epoch", "1"]).ok();
    a.orch(["done", "T-1", "--notes", "n", "--epoch", "1"]).ok();
    a.orch(["done", "T-1", "--notes", "n", "--epoch", "0"]).exits(9);
    a.orch(["done", "T-1", "--notes", "n", "--epoch", "2"]).exits(4).says("epoch 2 does not exist");
}

/// The task went on without the session: that is a fence (9), also where no lease is left by which to tell.
#[test]
fn who_gave_a_task_back_that_another_session_has_finished_is_fenced() {
    let env = TestEnv::new();
    let a = env.local("a");
    let b = a.session("b");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["release", "T-1"]).ok();
    a.orch(["release", "T-1"]).exits(4);
    b.orch(["claim", "T-1"]).ok();
    b.orch(["done", "T-1", "--notes", "n"]).ok();
    refused_as(&a, 9);
}

/// A lease that was recovered because its process had died is lost to its session, also if the watchdog ran under
/// the very name of that session: that answered 4 as if the session had given the task back itself.
#[test]
fn who_was_recovered_by_a_watchdog_of_its_own_name_is_fenced() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    let mut process = env.command("/bin/sleep").arg("1000").spawn().expect("sleep is everywhere");
    a.orch(["claim", "T-1", "--pid", &process.id().to_string()]).ok();
    process.kill().expect("ours");
    process.wait().expect("ours");
    assert_eq!(a.json(["watchdog", "--once"])["recovered"][0]["id"], "T-1");
    for act in ACTS {
        assert_eq!(a.try_json(act.iter().copied()).exits(9).error()["code"], "fenced");
    }
}
