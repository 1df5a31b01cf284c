//! One queue on two machines, over every way to reach a remote.

use crate::rig::{Kind, Machine, Remote, TestEnv};

/// Syncs until both machines hold everything, and expects equal files and no lease refs of ended tasks.
fn settle(a: &Machine, b: &Machine, remote: &Remote) {
    for machine in [a, b, a, b] {
        let synced = machine.json(["sync"]);
        assert_eq!(synced["rejected"], serde_json::json!([]), "{synced:#}");
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(remote.lease_refs(), Vec::<String>::new());
    a.verify();
    b.verify();
    remote.git(&["fsck", "--strict"]).ok();
}

#[test]
fn a_task_travels_from_one_machine_to_the_other_and_back() {
    for kind in Kind::ALL {
        let env = TestEnv::new();
        let Some(remote) = env.try_remote(kind) else { continue };
        let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
        let added = a.json(["add", "--id", "T-1", "--title", "over the wire"]);
        assert_eq!(added["published"], true, "{kind:?}");
        let picked = b.json(["pick"]);
        assert_eq!((&picked["task"]["id"], &picked["confirmed"]), (&"T-1".into(), &true.into()), "{kind:?}");
        assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"]);
        let beat = b.json(["heartbeat", "T-1", "--percent", "50"]);
        assert_eq!(beat["published"], true);
        a.orch(["sync"]).ok();
        assert_eq!(a.show("T-1")["lease"]["progress"]["percent"], 50);
        assert_eq!(a.show("T-1")["lease"]["beat"], 1);
        b.orch(["checkpoint", "T-1", "--note", "half"]).ok();
        assert_eq!(b.json(["done", "T-1", "--notes", "arrived"])["published"], true);
        settle(&a, &b, &remote);
        let task = a.show("T-1");
        assert_eq!((&task["status"], &task["result"]["notes"]), (&"done".into(), &"arrived".into()));
        let verbs: Vec<_> = task["history"].as_array().expect("a list").iter().map(|op| &op["do"]).collect();
        assert_eq!(verbs, ["add", "claim", "checkpoint", "done"], "heartbeats are not history");
    }
}

#[test]
fn edits_on_both_sides_are_both_kept() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    a.orch(["edit", "T-1", "--title", "from a", "--no-sync"]).ok();
    b.orch(["edit", "T-1", "--priority", "P0", "--no-sync"]).ok();
    a.orch(["note", "T-1", "--text", "seen by a", "--no-sync"]).ok();
    b.orch(["note", "T-1", "--text", "seen by b", "--no-sync"]).ok();
    settle(&a, &b, &remote);
    let task = a.show("T-1");
    assert_eq!((&task["title"], &task["priority"]), (&"from a".into(), &"P0".into()));
    assert_eq!(task["history"].as_array().map(Vec::len), Some(5));
}

#[test]
fn two_tasks_with_one_id_are_both_kept() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.orch(["add", "--id", "T-1", "--title", "mine", "--no-sync"]).ok();
    b.orch(["add", "--id", "T-1", "--title", "yours", "--no-sync"]).ok();
    settle(&a, &b, &remote);
    let listed = a.json(["list"]);
    let mut titles: Vec<_> = listed.as_array().expect("a list").iter().map(|t| t["title"].as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, [Some("mine"), Some("yours")]);
    let renamed =
        listed.as_array().expect("a list").iter().find(|t| t["id"] != "T-1").expect("one has a new id");
    let id = renamed["id"].as_str().expect("an id");
    let task = b.show(id);
    assert!(task["history"].to_string().contains("T-1"), "a note names both: {task:#}");
}

#[test]
fn an_operator_elsewhere_cancels_and_the_holder_is_told() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    b.orch(["cancel", "T-1", "--notes", "no longer wanted"]).ok();
    assert_eq!(a.try_json(["heartbeat", "T-1"]).exits(9).error()["code"], "cancelled");
    assert_eq!(a.try_json(["done", "T-1", "--notes", "n"]).exits(9).error()["code"], "cancelled");
    settle(&a, &b, &remote);
    assert_eq!(a.status("T-1"), "cancelled");
}

#[test]
fn operators_decide_about_tasks_that_nobody_holds() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["block", "T-1", "--notes", "wait"]).ok();
    a.orch(["claim", "T-1"]).exits(4);
    a.orch(["unblock", "T-1"]).ok();
    b.orch(["cancel", "T-1", "--notes", "no"]).ok();
    a.orch(["retry", "T-1"]).ok();
    b.orch(["replan", "T-1", "--notes", "smaller", "--description", "less"]).ok();
    a.orch(["claim", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    settle(&a, &b, &remote);
    assert_eq!(b.status("T-1"), "done");
}

/// Many tasks go through two machines at once; each ends exactly once and all machines agree.
/// A soak left one ref per task in every other clone: the place where a fetched lease ref lands was never removed, so
/// it kept all its objects, and when `git gc --prune=now` took one of them, git's collector failed on it ever after.
#[test]
fn a_clone_keeps_no_ref_of_a_task_that_has_ended() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    let landed =
        || b.git(&["for-each-ref", "--format=%(refname)", "refs/orch/incoming/leases"]).ok().stdout.clone();
    for id in ["T-1", "T-2"] {
        a.add(id);
        a.orch(["claim", id]).ok();
    }
    b.orch(["sync"]).ok();
    assert_eq!(landed().lines().count(), 2, "it is where leases of others land");
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    assert_eq!(landed(), "refs/orch/incoming/leases/T-2\n");
    a.orch(["done", "T-2", "--notes", "n"]).ok();
    settle(&a, &b, &remote);
    assert_eq!(landed(), "");
}

#[test]
fn a_small_fleet_drains_a_queue() {
    let env = TestEnv::new();
    let remote = env.remote();
    let machines: Vec<Machine> = (0..3).map(|n| env.joined(&format!("m{n}"), &remote)).collect();
    for n in 0..6 {
        machines[0].add(&format!("T-{n}"));
    }
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = machines.iter().map(|machine| scope.spawn(move || drain(machine))).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker does not panic"))
            .collect::<Vec<_>>()
    });
    let mut ids = done.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((done.len(), ids.len()), (6, 6), "each task is done once: {done:?}");
    for _ in 0..2 {
        for machine in &machines {
            machine.orch(["sync"]).ok();
        }
    }
    for machine in &machines {
        assert_eq!(machine.task_files(), machines[0].task_files());
        machine.verify();
    }
    assert_eq!(remote.lease_refs(), Vec::<String>::new());
}

fn drain(machine: &Machine) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        let run = machine.try_json(["pick"]);
        if run.code == 6 {
            return done;
        }
        let id = run.ok().data()["task"]["id"].as_str().expect("an id").to_owned();
        machine.orch(["done", &id, "--notes", "drained"]).ok();
        done.push(id);
    }
}

/// A task was cancelled, and retried and claimed again before the retry was folded: the branch had it as cancelled
/// while its lease ref had it in progress. An edit that another machine made meanwhile did not fit the branch's
/// version, was tried again by every sync and never published.
#[test]
fn a_task_that_is_back_in_progress_can_be_edited_although_the_branch_has_it_as_cancelled() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    a.orch(["cancel", "T-1", "--notes", "n"]).ok();
    a.orch(["sync"]).ok();
    a.orch(["retry", "T-1"]).ok();
    a.orch(["claim", "T-1"]).ok();
    b.orch(["sync"]).ok();
    let edited = b.json(["edit", "T-1", "--title", "edited while in progress"]);
    assert_eq!(edited["published"], true, "{edited:#}");
    a.orch(["sync"]).ok();
    assert_eq!(a.show("T-1")["title"], "edited while in progress");
    assert_eq!(remote.lease_refs(), ["refs/orch/leases/T-1"]);
    a.orch(["heartbeat", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    for machine in [&a, &b, &a] {
        machine.orch(["sync"]).ok();
    }
    assert_eq!(a.task_files(), b.task_files());
    assert_eq!(b.status("T-1"), "done");
    assert_eq!(b.show("T-1")["title"], "edited while in progress");
    assert_eq!(remote.lease_refs(), [""; 0]);
}
