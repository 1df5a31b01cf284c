//! What a holder does, and what follows from it.

use crate::rig::{Machine, TestEnv};

fn held() -> (TestEnv, Machine) {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    (env, a)
}

fn verbs(a: &Machine) -> Vec<String> {
    let task = a.show("T-1");
    let history = task["history"].as_array().expect("a list");
    history.iter().map(|op| op["do"].as_str().expect("a verb").to_owned()).collect()
}

#[test]
fn done_is_final_and_repeating_it_changes_nothing() {
    let (_env, a) = held();
    let finished = a.json(["done", "T-1", "--notes", "swept", "--artifact", "yard.jpg"]);
    assert_eq!(finished["task"]["status"], "done");
    assert_eq!(finished["task"]["result"]["notes"], "swept");
    assert_eq!(finished["task"]["result"]["reason"], "success");
    let file = a.read_task("T-1");
    a.orch(["done", "T-1", "--notes", "swept again"]).ok();
    assert_eq!(a.read_task("T-1"), file);
    for again in [&["fail", "T-1", "--notes", "n"][..], &["release", "T-1"]] {
        a.orch(again).exits(4);
    }
    for other in [
        &["claim", "T-1"][..],
        &["cancel", "T-1", "--notes", "n"],
        &["retry", "T-1"],
        &["replan", "T-1", "--notes", "n"],
        &["edit", "T-1", "--title", "x"],
        &["note", "T-1", "--text", "x"],
    ] {
        a.orch(other).exits(4);
    }
    assert_eq!(verbs(&a), ["add", "claim", "done"]);
}

#[test]
fn notes_are_required_where_somebody_will_ask_why() {
    let (_env, a) = held();
    for verb in ["done", "fail", "block", "cancel", "replan"] {
        a.orch([verb, "T-1"]).exits(2);
        a.orch([verb, "T-1", "--notes", "  "]).exits(2);
    }
    assert_eq!(a.status("T-1"), "in_progress");
}

#[test]
fn a_failed_attempt_waits_and_the_last_one_ends_the_task() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["add", "--id", "T-1", "--title", "t", "--max-attempts", "2"]).ok();
    a.orch(["claim", "T-1"]).ok();
    let failed = a.json(["fail", "T-1", "--notes", "no broom"]);
    assert_eq!(failed["task"]["status"], "pending");
    assert!(failed["task"]["not_before"].is_string(), "{failed:#}");
    a.orch(["claim", "T-1"]).exits(4).says("may start");
    a.orch(["snooze", "T-1", "--until", "2020-01-01T00:00:00Z"]).ok();
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(a.json(["fail", "T-1", "--notes", "still none"])["task"]["status"], "failed");
    // A retry is a fresh allowance.
    let retried = a.json(["retry", "T-1"]);
    assert_eq!((&retried["task"]["status"], &retried["task"]["attempt"]), (&"pending".into(), &0.into()));
    assert_eq!(a.json(["claim", "T-1"])["epoch"], 3);
}

/// The queue's number of attempts counts for tasks without one of their own, as it was when they were added: the file
/// says it, so that every machine decides alike.
#[test]
fn the_queue_says_how_often_its_tasks_are_tried() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.orch(["config", "set", "retry.max_attempts", "1"]).ok();
    a.add("T-1");
    a.orch(["add", "--id", "T-2", "--title", "t", "--max-attempts", "2"]).ok();
    a.orch(["config", "set", "retry.max_attempts", "9"]).ok();
    for (id, status) in [("T-1", "failed"), ("T-2", "pending")] {
        a.orch(["claim", id]).ok();
        assert_eq!(a.json(["fail", id, "--notes", "no broom"])["task"]["status"], status, "{id}");
    }
}

#[test]
fn a_permanent_failure_is_not_tried_again_and_a_polite_one_costs_nothing() {
    let (_env, a) = held();
    let limited =
        a.json(["fail", "T-1", "--notes", "quota", "--reason", "rate_limited", "--retry-after", "0"]);
    assert_eq!((&limited["task"]["status"], &limited["task"]["attempt"]), (&"pending".into(), &0.into()));
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(a.json(["fail", "T-1", "--notes", "impossible", "--permanent"])["task"]["status"], "failed");
}

#[test]
fn a_release_gives_the_attempt_back() {
    let (_env, a) = held();
    let released = a.json(["release", "T-1"]);
    assert_eq!((&released["task"]["status"], &released["task"]["attempt"]), (&"pending".into(), &0.into()));
    assert_eq!(a.session("b").json(["claim", "T-1"])["epoch"], 2);
}

#[test]
fn heartbeats_extend_the_lease_and_leave_no_history() {
    let (_env, a) = held();
    let first = a.json(["heartbeat", "T-1", "--percent", "40", "--note", "half the yard"]);
    assert_eq!((&first["epoch"], &first["beat"]), (&1.into(), &1.into()));
    let second = a.json(["heartbeat", "T-1", "--epoch", "1"]);
    assert_eq!(second["beat"], 2);
    assert!(second["expires_at"].as_str() >= first["expires_at"].as_str());
    let lease = &a.show("T-1")["lease"];
    assert_eq!(
        (&lease["progress"]["percent"], &lease["progress"]["note"]),
        (&40.into(), &"half the yard".into())
    );
    assert_eq!(verbs(&a), ["add", "claim"]);
    a.orch(["checkpoint", "T-1", "--note", "front is done", "--percent", "60"]).ok();
    assert_eq!(verbs(&a), ["add", "claim", "checkpoint"]);
    a.verify();
}

#[test]
fn block_review_and_replan_follow_the_table() {
    let (_env, a) = held();
    assert_eq!(a.json(["block", "T-1", "--notes", "ask"])["task"]["status"], "blocked");
    a.orch(["done", "T-1", "--notes", "n"]).exits(4);
    assert_eq!(a.json(["unblock", "T-1"])["task"]["status"], "pending");
    a.orch(["edit", "T-1", "--review", "required"]).ok();
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(a.json(["done", "T-1", "--notes", "n"])["task"]["status"], "in_review");
    let replanned = a.json(["replan", "T-1", "--notes", "smaller", "--description", "only the front"]);
    assert_eq!(
        (&replanned["task"]["status"], &replanned["task"]["description"]),
        (&"pending".into(), &"only the front".into())
    );
    a.verify();
}

#[test]
fn a_failed_need_blocks_skips_or_lets_run() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("N");
    for (id, rule) in [("B", "block"), ("S", "skip"), ("R", "run")] {
        a.orch(["add", "--id", id, "--title", "t", "--needs", "N", "--on-need-failed", rule]).ok();
    }
    a.orch(["claim", "N"]).ok();
    a.orch(["fail", "N", "--notes", "n", "--permanent"]).ok();
    assert_eq!(a.json(["pick"])["task"]["id"], "R");
    assert_eq!((a.status("B").as_str(), a.status("S").as_str()), ("blocked", "cancelled"));
    assert_eq!(a.show("B")["result"]["reason"], "dep_failed");
    a.verify();
}

/// A name that was mistyped stood in the result, and whoever came later looked for a file that never was. It may be an
/// address or lie elsewhere, so it is taken, with a word about it.
#[test]
fn a_named_file_that_is_not_here_is_taken_with_a_warning() {
    let env = crate::rig::TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    std::fs::write(a.dir().join("draft.md"), "x").expect("our folder");
    a.orch(["checkpoint", "T-1", "--note", "n", "--file", "draft.md"]).ok().quiet();
    a.orch(["checkpoint", "T-1", "--note", "n", "--file", "darft.md"])
        .ok()
        .says("darft.md: there is no such file");
    let done = a.orch([
        "done",
        "T-1",
        "--notes",
        "n",
        "--artifact",
        "draft.md",
        "--artifact",
        "out/none",
        "--artifact",
        "https://example.org/x",
    ]);
    done.ok().says("out/none: there is no such file").never_says("example.org").never_says("draft.md:");
    let artifacts = a.show("T-1")["result"]["artifacts"].clone();
    assert_eq!(artifacts, serde_json::json!(["draft.md", "out/none", "https://example.org/x"]));
}

/// `note` refuses an empty text; `checkpoint` took one, and whoever came after learned nothing from it.
#[test]
fn a_checkpoint_without_a_note_is_refused() {
    let (_env, a) = held();
    for empty in ["", " \n"] {
        a.orch(["checkpoint", "T-1", "--note", empty]).exits(2).says("the note is empty");
    }
    assert_eq!(verbs(&a), ["add", "claim"]);
}
