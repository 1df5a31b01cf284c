//! `orch add`, `list`, `show`, `explain`: what goes in, what comes out, and how it looks.

use serde_json::Value;

use crate::rig::{Machine, TestEnv};
use crate::snapshot;

fn ids(tasks: &Value) -> Vec<&str> {
    tasks.as_array().expect("a list").iter().map(|task| task["id"].as_str().expect("an id")).collect()
}

#[test]
fn what_was_added_is_shown() {
    let env = TestEnv::new();
    let a = env.local("a");
    let added = a.orch([
        "add",
        "--id",
        "ORCH-010",
        "--title",
        "Bring the README up to date",
        "--priority",
        "P1",
        "--tag",
        "docs",
        "--success-criteria",
        "README names every command",
        "--success-criteria",
        "tests pass",
        "--description",
        "All of it.\nEvery command.",
        "--due-at",
        "2099-02-08T18:00:00+09:00",
    ]);
    snapshot!(env, added);
    let task = a.show("ORCH-010");
    assert_eq!(task["due_at"], "2099-02-08T09:00:00.000Z", "any zone is accepted, UTC is kept");
    assert_eq!(task["success_criteria"], serde_json::json!(["README names every command", "tests pass"]));
    assert_eq!(
        (&task["status"], &task["epoch"], &task["attempt"]),
        (&"pending".into(), &0.into(), &0.into())
    );
    snapshot!(env, a.orch(["list"]));
    snapshot!(env, a.orch(["show", "ORCH-010"]));
    snapshot!(env, a.orch(["explain", "ORCH-010"]));
}

#[test]
fn an_empty_queue_says_so() {
    let env = TestEnv::new();
    let a = env.local("a");
    snapshot!(env, a.orch(["list"]));
    assert_eq!(a.json(["list"]), serde_json::json!([]));
}

#[test]
fn a_task_in_json_has_every_key_and_a_list_leaves_the_history_out() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    let keys = [
        "format",
        "id",
        "title",
        "description",
        "priority",
        "status",
        "success_criteria",
        "needs",
        "on_need_failed",
        "parent",
        "tags",
        "due_at",
        "not_before",
        "idempotency_key",
        "review",
        "run",
        "retry",
        "limits",
        "attempt",
        "epoch",
        "lease",
        "result",
    ];
    let shown = a.show("T-1");
    let listed = a.json(["list"])[0].clone();
    for key in keys {
        assert!(shown.get(key).is_some(), "`show` lacks {key}");
        assert!(listed.get(key).is_some(), "`list` lacks {key}");
    }
    assert!(shown.get("history").is_some() && listed.get("history").is_none());
}

#[test]
fn without_an_id_a_short_one_is_made_and_never_twice() {
    let env = TestEnv::new();
    let a = env.local("a");
    let made: std::collections::BTreeSet<String> = (0..20)
        .map(|n| {
            let task = &a.json(["add", "--title", &format!("t{n}")])["task"];
            task["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!(made.len(), 20);
    assert!(made.iter().all(|id| id.len() <= 16), "{made:?}");
}

#[test]
fn one_idempotency_key_adds_once() {
    let env = TestEnv::new();
    let a = env.local("a");
    let add = |title: &str| a.json(["add", "--title", title, "--idempotency-key", "k1"]);
    let (first, second) = (add("one"), add("two"));
    assert_eq!((&first["created"], &second["created"]), (&true.into(), &false.into()));
    assert_eq!(first["task"]["id"], second["task"]["id"]);
    assert_eq!(ids(&a.json(["list"])).len(), 1);
}

#[test]
fn an_id_is_taken_without_regard_to_case() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("Task-1");
    for id in ["Task-1", "TASK-1", "task-1"] {
        a.orch(["add", "--id", id, "--title", "another"]).exits(4);
    }
    assert_eq!(ids(&a.json(["list"])), ["Task-1"]);
}

#[test]
fn names_that_git_or_a_path_would_misread_never_reach_the_disk() {
    let env = TestEnv::new();
    let a = env.local("a");
    for id in ["../x", "a/b", "a..b", "x.lock", "-x", ".x", "a b", "ä", "", "x."] {
        let run = a.orch(["add", &format!("--id={id}"), "--title", "t"]);
        assert!(run.code == 2 || run.code == 5, "{run}");
    }
    assert_eq!(a.task_files(), []);
}

#[test]
fn a_cycle_is_refused_and_named() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "A", "--title", "a"]).ok();
    a.orch(["add", "--id", "B", "--title", "b", "--needs", "A"]).ok();
    a.orch(["add", "--id", "C", "--title", "c", "--needs", "B"]).ok();
    let refused = a.orch(["edit", "A", "--needs", "C"]);
    refused.exits(5).says("A -> C -> B -> A");
    a.orch(["add", "--id", "D", "--title", "d", "--needs", "D"]).exits(5);
    assert_eq!(a.show("A")["needs"], serde_json::json!([]));
}

#[test]
fn old_names_keep_working() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch([
        "add",
        "--id",
        "O",
        "--task",
        "old",
        "--due-at-kst",
        "2099-02-08 18:00",
        "--owner-session",
        "old:1",
    ])
    .ok();
    let task = a.show("O");
    assert_eq!((&task["title"], &task["due_at"]), (&"old".into(), &"2099-02-08T09:00:00.000Z".into()));
    assert_eq!(task["history"][0]["by"], "old:1");
}

#[test]
fn a_command_after_the_dashes_becomes_an_exec_block() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch([
        "add",
        "--id",
        "R",
        "--title",
        "run",
        "--max-attempts",
        "2",
        "--",
        "cargo",
        "test",
        "--workspace",
    ])
    .ok();
    let task = a.show("R");
    assert_eq!(task["run"]["exec"][0]["argv"], serde_json::json!(["cargo", "test", "--workspace"]));
    assert_eq!(task["retry"]["max_attempts"], 2);
}

#[test]
fn a_file_can_be_added_and_its_mistakes_have_a_place() {
    let env = TestEnv::new();
    let a = env.local("a");
    let file = env.path("task.yaml");
    std::fs::write(&file, "id: F-1\ntitle: From a file\npriority: P0\ntags: [b, a]\n").expect("ours");
    a.orch(["add", "--file", &file.display().to_string()]).ok();
    let task = a.show("F-1");
    assert_eq!((&task["priority"], &task["tags"]), (&"P0".into(), &serde_json::json!(["a", "b"])));
    std::fs::write(&file, "id: F-2\ntitle: x\npriority: P9\n").expect("ours");
    a.orch(["add", "--file", &file.display().to_string()]).exits(5).says("task.yaml:3:");
}

fn some_tasks() -> (TestEnv, Machine) {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "A", "--title", "sweep the yard", "--priority", "P3", "--tag", "out"]).ok();
    a.orch(["add", "--id", "B", "--title", "rake the leaves", "--priority", "P0", "--tag", "out,leaf"]).ok();
    a.orch(["add", "--id", "C", "--title", "wash up", "--priority", "P1", "--needs", "B"]).ok();
    a.orch(["claim", "A"]).ok();
    (env, a)
}

#[test]
fn lists_are_filtered() {
    let (_env, a) = some_tasks();
    let cases: [(&[&str], &[&str]); 9] = [
        (&["--status", "in_progress"], &["A"]),
        (&["--status", "pending"], &["B", "C"]),
        (&["--priority", "P0"], &["B"]),
        (&["--tag", "leaf"], &["B"]),
        (&["--owner", "a-session"], &["A"]),
        (&["--owner", "nobody"], &[]),
        (&["--ready"], &["B"]),
        (&["--search", "WASH"], &["C"]),
        (&["--limit", "1"], &["B"]),
    ];
    for (args, expected) in cases {
        let listed = a.json(["list"].into_iter().chain(args.iter().copied()));
        let mut found = ids(&listed);
        found.sort_unstable();
        assert_eq!(found, expected, "{args:?}");
    }
}

#[test]
fn tasks_come_by_priority() {
    let (env, a) = some_tasks();
    assert_eq!(ids(&a.json(["list", "--status", "pending"])), ["B", "C"]);
    snapshot!(env, a.orch(["list"]));
    snapshot!(env, a.orch(["explain", "C"]));
}

#[test]
fn text_from_elsewhere_cannot_drive_a_terminal() {
    let env = TestEnv::new();
    let a = env.local("a");
    let hostile = "red \u{1b}[31malert\u{1b}]0;owned\u{7} \u{202e}gnp.exe";
    let titled = a.orch(["add", "--title", hostile]);
    titled.exits(5);
    assert!(!titled.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{titled}");
    a.orch(["add", "--id", "X", "--title", "plain", "--description", hostile, "--success-criteria", hostile])
        .ok();
    a.orch(["note", "X", "--text", hostile]).ok();
    for args in [&["list"][..], &["show", "X"], &["explain", "X"], &["resume", "X"]] {
        let run = a.orch(args);
        let shown = format!("{}{}", run.stdout, run.stderr);
        assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{run}");
    }
}

#[test]
fn standard_output_carries_data_only() {
    let env = TestEnv::new();
    let a = env.local("a");
    let added = a.orch(["add", "--title", "t"]);
    assert_eq!(added.ok().stdout.lines().count(), 1, "the id alone: {added}");
    let quiet = a.orch(["add", "--title", "t", "--quiet"]);
    quiet.ok().quiet();
    assert_eq!(a.orch(["show", "nothing"]).exits(3).stdout, "");
}

/// A parent that is not known was taken without a word, although a need that is not known is noted.
#[test]
fn a_parent_that_is_not_known_is_noted() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "X", "--title", "t", "--parent", "NOPE"])
        .ok()
        .says("X is a part of NOPE, which is not known");
    a.orch(["add", "--id", "Y", "--title", "t", "--parent", "X"]).ok().quiet();
}

/// Some editors and spreadsheets put a byte order mark in front of a file; JSON lines that began with one were refused.
#[test]
fn a_byte_order_mark_before_json_lines_is_no_part_of_them() {
    let env = TestEnv::new();
    let a = env.local("a");
    for name in ["tasks.jsonl", "tasks"] {
        let line = format!("\u{feff}{{\"id\": \"X-{name}\", \"title\": \"t\"}}\n");
        std::fs::write(a.dir().join(name), line).expect("ours");
        assert_eq!(a.json(["import", name])["imported"], 1);
    }
}
