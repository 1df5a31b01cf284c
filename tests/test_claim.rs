//! `orch claim` and `pick`: exactly one winner, whoever races for it and however.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::rig::{Kind, Machine, Remote, Run, TestEnv, gits, race};

/// Winners by task, from runs of `pick` or `claim`.
fn winners(runs: &[Run]) -> BTreeMap<String, Vec<String>> {
    let mut won: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.code == 0) {
        let data = run.data();
        assert_eq!(data["confirmed"], true, "{run}");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        won.entry(text(&data["task"]["id"])).or_default().push(text(&data["session"]));
    }
    won
}

fn losers(runs: &[Run]) -> String {
    runs.iter().filter(|run| run.code != 0).map(|run| format!("{run}\n")).collect()
}

fn racers(machines: &[Machine], each: usize, args: &[&str]) -> Vec<Run> {
    let commands = machines.iter().enumerate().flat_map(|(m, machine)| {
        (0..each).map(move |s| {
            let session = machine.session(&format!("racer-{m}-{s}"));
            session.command(args.iter().copied().chain(["--json"]))
        })
    });
    race(commands.collect())
}

fn claim_one(env: &TestEnv, remote: Option<&Remote>, machines: usize, each: usize) {
    let machines: Vec<Machine> = (0..machines)
        .map(|n| match remote {
            Some(remote) => env.joined(&format!("m{n}"), remote),
            None => env.local(&format!("m{n}")),
        })
        .collect();
    machines[0].add("T-1");
    let sync = |machine: &Machine| {
        if remote.is_some() {
            machine.orch(["sync"]).ok();
        }
    };
    sync(&machines[0]);
    let runs = racers(&machines, each, &["claim", "T-1"]);
    for run in runs.iter().filter(|run| run.code != 0) {
        let error = run.exits(4).error();
        assert_eq!(error["code"], "held", "{run}");
    }
    let won = winners(&runs);
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(won["T-1"].len(), 1, "more than one winner: {won:?}");
    for machine in &machines {
        sync(machine);
        let task = machine.show("T-1");
        assert_eq!((&task["epoch"], &task["attempt"]), (&1.into(), &1.into()));
        assert_eq!(task["lease"]["session"], won["T-1"][0].as_str());
        machine.verify();
    }
    if let Some(remote) = remote {
        assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"], "losers leave nothing behind");
    }
}

#[test]
fn sixteen_processes_race_for_one_local_task() {
    claim_one(&TestEnv::new(), None, 1, 16);
}

#[test]
fn sixteen_processes_on_four_machines_race_for_one_task() {
    let env = TestEnv::new();
    claim_one(&env, Some(&env.remote()), 4, 4);
}

#[test]
fn two_machines_race_for_one_task_over_every_remote() {
    for kind in Kind::ALL {
        let env = TestEnv::new();
        let Some(remote) = env.try_remote(kind) else { continue };
        claim_one(&env, Some(&remote), 2, 3);
    }
}

#[test]
fn sixteen_processes_pick_eight_local_tasks() {
    let env = TestEnv::new();
    let a = env.local("a");
    for n in 0..8 {
        a.add(&format!("T-{n}"));
    }
    let runs = racers(std::slice::from_ref(&a), 16, &["pick"]);
    let won = winners(&runs);
    assert_eq!(won.len(), 8, "{won:?}");
    assert!(won.values().all(|sessions| sessions.len() == 1), "{won:?}");
    assert_eq!(runs.iter().filter(|run| run.code == 6).count(), 8);
    a.verify();
}

#[test]
fn processes_on_four_machines_pick_different_tasks() {
    let env = TestEnv::new();
    let remote = env.remote();
    let machines: Vec<_> = (0..4).map(|n| env.joined(&format!("m{n}"), &remote)).collect();
    for n in 0..8 {
        machines[0].add(&format!("T-{n}"));
    }
    machines[0].orch(["sync"]).ok();
    let runs = racers(&machines, 2, &["pick"]);
    let won = winners(&runs);
    assert_eq!(won.len(), 8, "every task is taken: {won:?}\n{}", losers(&runs));
    assert!(won.values().all(|sessions| sessions.len() == 1), "{won:?}");
    let sessions: BTreeSet<_> = won.into_values().flatten().collect();
    assert_eq!(sessions.len(), 8, "every session got one");
    assert_eq!(remote.lease_refs().len(), 8);
}

#[test]
fn claiming_again_what_one_holds_is_a_success_with_the_same_epoch() {
    for shared in [false, true] {
        let env = TestEnv::new();
        let remote = env.remote();
        let a = if shared { env.joined("a", &remote) } else { env.local("a") };
        a.add("T-1");
        let first = a.json(["claim", "T-1"]);
        let again = a.json(["claim", "T-1"]);
        assert_eq!((&first["epoch"], &again["epoch"]), (&1.into(), &1.into()));
        assert_eq!((&first["repeated"], &again["repeated"]), (&false.into(), &true.into()));
        let other = a.session("other").try_json(["claim", "T-1"]);
        other.exits(4);
        assert_eq!(a.show("T-1")["attempt"], 1);
    }
}

#[test]
fn a_namesake_on_another_machine_is_somebody_else() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote).session("worker");
    let b = env.joined("b", &remote).session("worker");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    b.orch(["claim", "T-1"]).exits(4);
    b.orch(["done", "T-1", "--notes", "n"]).exits(4);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
}

#[test]
fn a_task_that_is_not_ready_is_refused_with_its_gates() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("N");
    a.orch(["add", "--id", "T", "--title", "t", "--needs", "N"]).ok();
    a.orch(["claim", "T"]).exits(4).says("N is pending");
    a.orch(["add", "--id", "L", "--title", "l", "--not-before", "2099-01-01T00:00:00Z"]).ok();
    a.orch(["claim", "L"]).exits(4).says("may start");
    a.orch(["claim", "N"]).ok();
    a.orch(["done", "N", "--notes", "n"]).ok();
    a.orch(["claim", "T"]).ok();
    a.orch(["pick"]).exits(6);
    a.orch(["claim", "X"]).exits(3);
}

#[test]
fn pick_takes_the_first_by_priority_then_due_date() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "late", "--title", "t", "--priority", "P1"]).ok();
    a.orch(["add", "--id", "due", "--title", "t", "--priority", "P1", "--due-at", "2099-01-01T00:00:00Z"])
        .ok();
    a.orch(["add", "--id", "soon", "--title", "t", "--priority", "P1", "--due-at", "2098-01-01T00:00:00Z"])
        .ok();
    a.orch(["add", "--id", "top", "--title", "t", "--priority", "P0"]).ok();
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(a.json(["pick"])["task"]["id"].as_str().expect("an id").to_owned());
    }
    assert_eq!(order, ["top", "soon", "due", "late"]);
}

#[test]
fn pick_can_wait_until_a_task_is_ready() {
    let env = TestEnv::new();
    let a = env.local("a");
    let waiting = {
        let mut command = a.command(["pick", "--wait", "60s", "--json"]);
        std::thread::spawn(move || Run::of(&mut command))
    };
    a.session("other").add("T-1");
    let run = waiting.join().expect("the waiter does not panic");
    assert_eq!(run.ok().data()["task"]["id"], "T-1");
    let timed = a.orch(["pick", "--wait", "300ms"]);
    assert!(timed.code == 6 || timed.code == 7, "{timed}");
}

#[test]
fn a_claim_without_the_remote_is_refused_by_policy() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["claim", "T-1", "--no-sync"]).exits(5);
    assert_eq!(a.status("T-1"), "pending");
}

/// The choice is made from what this machine knows, but a task that was added elsewhere is found.
#[test]
fn pick_and_claim_find_what_was_added_elsewhere() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.add("T-2");
    b.orch(["claim", "T-2"]).ok();
    assert_eq!(b.json(["pick"])["task"]["id"], "T-1");
}

/// Something that runs orch had set `GIT_NAMESPACE` for a git of its own. The remote seemed to have lost everything,
/// and no other machine looks for a lease ref in there.
#[test]
fn a_namespace_of_git_in_the_environment_hides_no_claim() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    a.with("GIT_NAMESPACE", "x").orch(["claim", "T-1"]).ok();
    b.orch(["claim", "T-1"]).exits(4);
    assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"]);
}

/// A second task gets the key of one that is done: doing it would be doing the same thing twice.
#[test]
fn a_task_whose_key_is_done_already_is_refused() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "A", "--title", "a", "--idempotency-key", "k"]).ok();
    a.orch(["claim", "A"]).ok();
    a.orch(["done", "A", "--notes", "n"]).ok();
    a.add("B");
    a.orch(["edit", "B", "--idempotency-key", "k"]).ok();
    a.orch(["claim", "B"]).exits(4).says("A is done and has the same idempotency key");
    assert_eq!(a.status("B"), "pending");
    a.orch(["edit", "B", "--idempotency-key", "other"]).ok();
    a.orch(["claim", "B"]).ok();
}

/// The program that takes a push in a folder needs as long to get ready as a claim until then, so it is started first. Where
/// nothing is pushed it ends with the command.
#[test]
fn what_takes_the_push_of_a_claim_is_started_before_it_is_needed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (script, log) = (dir.path().join("git"), dir.path().join("log"));
    let real = gits().remove(0);
    let note = "case \"$*\" in *receive-pack*) echo $$ >> ";
    let text = format!("#!/bin/sh\n{note}{};; esac\nexec '{}' \"$@\"\n", log.display(), real.display());
    orch::world::program::install(&script, &text).expect("a new file");
    let env = TestEnv::with_git(&script);
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    let started = |args: &[&str], code: i32| {
        drop(std::fs::remove_file(&log));
        a.orch(args).exits(code);
        let pids = std::fs::read_to_string(&log).unwrap_or_default();
        for pid in pids.lines() {
            assert!(!Path::new("/proc").join(pid).exists(), "{args:?} leaves {pid}");
        }
        pids.lines().count()
    };
    assert_eq!(started(&["claim", "T-9"], 3), 1);
    assert_eq!(started(&["claim", "T-1"], 0), 1);
    assert_eq!(started(&["heartbeat", "T-1"], 0), 1);
    assert_eq!(started(&["heartbeat", "T-1", "--no-sync"], 0), 0);
    for args in [&["list"][..], &["show", "T-1"], &["log", "T-1"]] {
        assert_eq!(started(args, 0), 0, "{args:?}");
    }
}
