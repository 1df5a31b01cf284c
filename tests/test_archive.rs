//! Ended tasks in the archive, with the program itself on two machines.

use std::collections::BTreeSet;

use serde_json::json;

use crate::rig::{Machine, TestEnv};

/// Paths and texts of all task files, in both places.
fn files(machine: &Machine) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for top in ["tasks", "archive"] {
        for folder in std::fs::read_dir(machine.state(top)).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                let path = file.path();
                let name = path.strip_prefix(machine.state("")).expect("it lies below the state directory");
                let text = std::fs::read_to_string(&path).expect("a readable file");
                found.insert((name.display().to_string(), text));
            }
        }
    }
    found
}

fn archived(machine: &Machine) -> Vec<String> {
    let paths = files(machine).into_iter().map(|(path, _)| path);
    paths.filter(|path| path.starts_with("archive/")).collect()
}

/// The machine with a retention that every ended task has outlived.
fn tidy(machine: &Machine) -> Machine {
    machine.with("ORCH_RETENTION_DONE", "1ms")
}

#[test]
fn ended_tasks_move_to_the_archive_on_all_machines() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    for id in ["OLD", "OPEN", "DROPPED"] {
        a.add(id);
    }
    a.orch(["add", "--id", "NEXT", "--title", "after", "--needs", "OLD"]).ok();
    a.orch(["claim", "OLD"]).ok();
    a.orch(["done", "OLD", "--notes", "ready"]).ok();
    a.orch(["cancel", "DROPPED", "--notes", "no"]).ok();
    a.orch(["sync"]).ok();
    b.orch(["sync"]).ok();
    let kept = a.json(["gc"]);
    assert_eq!((&kept["archived"], &kept["ended"]), (&json!([]), &json!(0)), "30 days are not over");
    let planned = tidy(&a).json(["gc", "--dry-run"]);
    assert_eq!((&planned["archived"], archived(&a).len()), (&json!(["DROPPED", "OLD"]), 0));
    let moved = tidy(&a).json(["gc"]);
    assert_eq!((&moved["archived"], archived(&a).len()), (&json!(["DROPPED", "OLD"]), 2));
    b.orch(["sync"]).ok();
    assert_eq!(files(&a), files(&b));

    let fresh = env.joined("c", &remote);
    fresh.orch(["sync"]).ok();
    assert_eq!(files(&a), files(&fresh));
    std::fs::remove_file(b.state(".git/orch/index.db")).expect("the index may be deleted");
    for machine in [&a, &b, &fresh] {
        let listed = machine.json(["list"]);
        let ids: BTreeSet<_> = listed.as_array().expect("a list").iter().map(|t| t["id"].as_str()).collect();
        assert_eq!(ids, BTreeSet::from([Some("NEXT"), Some("OPEN")]));
        assert_eq!(machine.json(["list", "--archived"]).as_array().map(Vec::len), Some(2));
        let shown = machine.show("OLD");
        assert_eq!(shown["status"], "done");
        assert!(shown["archived"].as_str().is_some_and(|path| path.ends_with("/OLD.yaml")), "{shown:#}");
        assert_eq!(machine.json(["log", "OLD"]).as_array().map(Vec::len), Some(3));
        assert_eq!(machine.json(["status"])["archived"], 2);
        assert_eq!(machine.json(["explain", "NEXT"])["ready"], true);
        machine.orch(["add", "--id", "old", "--title", "taken"]).exits(4);
        for check in ["verify", "audit", "doctor"] {
            assert_eq!(machine.json([check])["ok"], true, "{check}");
        }
        machine.git(&["fsck", "--strict", "--no-dangling"]).ok();
    }

    b.orch(["retry", "DROPPED"]).ok();
    for machine in [&b, &a, &fresh] {
        machine.orch(["sync"]).ok();
        assert_eq!((machine.status("DROPPED"), archived(machine).len()), ("pending".to_owned(), 1));
    }
    assert_eq!(files(&a), files(&b));
    assert_eq!(remote.lease_refs(), Vec::<String>::new());
}

#[test]
fn the_archive_needs_no_remote() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("OLD");
    a.orch(["claim", "OLD"]).ok();
    a.orch(["done", "OLD", "--notes", "ready"]).ok();
    assert_eq!(tidy(&a).json(["gc"])["archived"], json!(["OLD"]));
    let path = archived(&a).pop().expect("one file");
    assert_eq!(
        a.git(&["ls-tree", "-r", "--name-only", "orch-state", "tasks", "archive"]).ok().stdout.trim(),
        path
    );
    std::fs::remove_file(a.state(&path)).expect("a person removes it");
    assert_eq!(a.status("OLD"), "done");
    assert_eq!(archived(&a), std::slice::from_ref(&path), "absence is never a deletion");

    let text = std::fs::read_to_string(a.state(&path)).expect("readable");
    std::fs::write(a.state(&path), &text[..text.len() / 2]).expect("a disk that loses a half");
    a.orch(["verify"]).exits(8);
    a.orch(["doctor", "--repair"]).ok();
    assert_eq!(std::fs::read_to_string(a.state(&path)).expect("readable"), text);
    assert_eq!(a.json(["verify"])["ok"], true);
}
