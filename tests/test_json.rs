//! The envelope of every command: one document, the keys of the contract, errors on standard error.

use serde_json::Value;

use crate::rig::{Machine, TestEnv};

#[track_caller]
fn keys(data: &Value, expected: &[&str]) {
    let object = data.as_object().unwrap_or_else(|| panic!("no object: {data:#}"));
    for key in expected {
        assert!(object.contains_key(*key), "{key} is missing in {data:#}");
    }
}

#[track_caller]
fn told(a: &Machine, args: &[&str], expected: &[&str]) -> Value {
    let run = a.try_json(args.iter().copied());
    assert_eq!(run.ok().stdout.trim_end().lines().count(), 1, "one document on one line: {run}");
    let data = run.data();
    keys(&data, expected);
    data
}

#[test]
fn every_command_has_the_keys_of_the_contract() {
    let env = TestEnv::new();
    let a = env.machine("a");
    let changed = ["task", "published", "retries"];
    told(&a, &["init"], &["state", "remote", "branch", "created"]);
    told(&a, &["add", "--id", "A", "--title", "a"], &["task", "created", "published"]);
    told(&a, &["add", "--id", "B", "--title", "b"], &["task", "created", "published"]);
    told(&a, &["show", "A"], &["id", "status", "history"]);
    assert!(a.json(["list"]).is_array() && a.json(["ls"]).is_array());
    a.json(["explain", "A"]);
    told(
        &a,
        &["claim", "A"],
        &["task", "epoch", "session", "expires_at", "confirmed", "retries", "repeated"],
    );
    told(&a, &["heartbeat", "A"], &["expires_at", "epoch", "beat", "published", "retries"]);
    a.json(["checkpoint", "A", "--note", "n", "--percent", "10"]);
    a.json(["resume", "A"]);
    told(&a, &["done", "A", "--notes", "n"], &changed);
    told(&a, &["pick"], &["task", "epoch", "session", "expires_at", "confirmed", "retries"]);
    told(&a, &["release", "B"], &changed);
    told(&a, &["note", "B", "--text", "n"], &changed);
    told(&a, &["edit", "B", "--title", "b2"], &changed);
    told(&a, &["snooze", "B", "--for", "1m"], &changed);
    told(&a, &["block", "B", "--notes", "n"], &changed);
    told(&a, &["unblock", "B"], &changed);
    told(&a, &["replan", "B", "--notes", "n"], &changed);
    told(&a, &["cancel", "B", "--notes", "n"], &changed);
    told(&a, &["retry", "B"], &changed);
    told(&a, &["recover"], &["recovered", "watching", "folded"]);
    told(&a, &["watchdog", "--once"], &["recovered", "watching", "folded"]);
    let remote = env.remote();
    a.orch(["init", "--remote", remote.url()]).ok();
    told(&a, &["sync"], &["fetched", "pushed", "folded", "replayed", "rejected", "retries"]);
    a.json(["version"]);
}

#[test]
fn an_error_is_one_document_on_standard_error() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("A");
    for (args, code) in
        [(&["show", "X"][..], 3), (&["done", "A", "--notes", "n"], 4), (&["frobnicate"], 2), (&["add"], 2)]
    {
        let run = a.try_json(args.iter().copied());
        let error = run.exits(code).error();
        keys(&error, &["code", "message", "hint", "retryable"]);
        let lines = run.stderr.trim_end().lines().count();
        assert_eq!(lines, 1, "{run}");
    }
}

#[test]
fn json_is_free_of_escapes_and_colour_and_people_may_still_have_them() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("A");
    let coloured = a.orch(["list", "--color", "always"]);
    assert!(coloured.ok().stdout.contains('\u{1b}'), "{coloured}");
    assert!(!a.orch(["list", "--color", "auto"]).ok().stdout.contains('\u{1b}'));
    assert!(!a.orch(["list", "--color", "always", "--json"]).ok().stdout.contains('\u{1b}'));
}
