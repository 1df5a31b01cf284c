//! Locks are an optimisation: a file synchroniser without any still loses nothing that was acknowledged.

use crate::rig::{Machine, Run, TestEnv};

/// Copies every file of one state directory over another, as a naive synchroniser would.
fn pour(from: &Machine, into: &Machine) {
    let mut command = from.env.command("/bin/cp");
    Run::of(command.arg("-a").arg(from.state(".")).arg(into.state("."))).ok();
}

fn losers(runs: &[Run]) -> String {
    runs.iter().filter(|run| run.code != 0).map(|run| format!("{run}\n")).collect()
}

fn titles(machine: &Machine) -> Vec<String> {
    let listed = machine.json(["list"]);
    let tasks = listed.as_array().expect("a list").iter();
    let mut titles: Vec<_> = tasks.map(|task| task["title"].as_str().expect("text").to_owned()).collect();
    titles.sort();
    titles
}

#[test]
fn two_copies_of_one_state_directory_are_merged_file_by_file() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    for id in ["T-1", "T-2", "T-3"] {
        a.add(id);
    }
    let twin = a.copy("twin").session("twin-session");
    // Both are at work, published and not.
    a.orch(["claim", "T-1"]).ok();
    twin.orch(["claim", "T-2"]).ok();
    a.orch(["note", "T-3", "--text", "from a"]).ok();
    twin.orch(["note", "T-3", "--text", "from the twin"]).ok();
    a.orch(["add", "--id", "A-1", "--title", "only in a", "--no-sync"]).ok();
    twin.orch(["add", "--id", "B-1", "--title", "only in the twin", "--no-sync"]).ok();
    a.orch(["done", "T-1", "--notes", "by a"]).ok();
    pour(&twin, &a);
    a.orch(["sync"]).ok();
    a.orch(["sync"]).ok();
    twin.orch(["sync"]).ok();
    let expected = ["Task T-1", "Task T-2", "Task T-3", "only in a", "only in the twin"];
    for machine in [&a, &twin] {
        machine.orch(["sync"]).ok();
        assert_eq!(titles(machine), expected);
        assert_eq!(machine.status("T-1"), "done");
        assert_eq!(machine.show("T-2")["lease"]["session"], "twin-session");
        let history = machine.show("T-3")["history"].to_string();
        assert!(history.contains("from a") && history.contains("from the twin"), "{history}");
        machine.verify();
    }
    let fresh = env.joined("fresh", &remote);
    assert_eq!(titles(&fresh), expected);
}

#[test]
fn without_a_remote_the_union_of_different_tasks_is_kept() {
    let env = TestEnv::new();
    let a = env.local("a");
    for id in ["T-1", "T-2"] {
        a.add(id);
    }
    let twin = a.copy("twin").session("twin-session");
    a.add("A-1");
    twin.add("B-1");
    twin.orch(["claim", "T-2"]).ok();
    pour(&twin, &a);
    assert_eq!(titles(&a), ["Task A-1", "Task B-1", "Task T-1", "Task T-2"]);
    assert_eq!(a.status("T-2"), "in_progress");
    a.verify();
}

/// Lock files that vanish while they are held (`git clean`, a tidy person) do not let two in.
#[test]
fn lock_files_may_vanish_at_any_time() {
    let env = TestEnv::new();
    let a = env.local("a");
    for n in 0..6 {
        a.add(&format!("T-{n}"));
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let runs = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                for entry in std::fs::read_dir(a.state(".git/orch/locks")).into_iter().flatten().flatten() {
                    drop(std::fs::remove_file(entry.path()));
                }
            }
        });
        let commands = (0..12).map(|n| a.session(&format!("s{n}")).command(["pick", "--json"])).collect();
        let runs = crate::rig::race(commands);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        runs
    });
    let mut won: Vec<_> =
        runs.iter().filter(|run| run.code == 0).map(|run| run.data()["task"]["id"].to_string()).collect();
    let all = won.len();
    won.sort();
    won.dedup();
    assert_eq!((won.len(), all), (6, 6), "every task once:\n{}", losers(&runs));
    a.verify();
}

/// The index is derived: without it, or with rubbish in its place, nothing is lost.
#[test]
fn the_index_may_be_deleted_or_damaged() {
    let env = TestEnv::new();
    let a = env.local("a");
    for n in 0..3 {
        a.add(&format!("T-{n}"));
    }
    a.orch(["claim", "T-1"]).ok();
    for damage in ["delete", "rubbish"] {
        let before = a.json(["list"]);
        for entry in std::fs::read_dir(a.state(".git/orch")).expect("it is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("index") {
                match damage {
                    "delete" => std::fs::remove_file(entry.path()).expect("ours"),
                    _ => std::fs::write(entry.path(), b"rubbish".repeat(1_000)).expect("ours"),
                }
            }
        }
        assert_eq!(a.json(["list"]), before, "{damage}");
        a.orch(["heartbeat", "T-1"]).ok();
    }
}
