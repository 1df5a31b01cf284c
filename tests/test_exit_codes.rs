//! Every public exit code, each with the situation that it stands for.

use crate::rig::{Remote, Route, TestEnv};

#[test]
fn every_code_has_its_situation() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    a.orch(["list"]).exits(0);
    a.orch(["--help"]).exits(0);
    a.orch(["--version"]).exits(0);
    for wrong in
        [&[][..], &["lst"], &["list", "--statsu", "x"], &["add"], &["claim"], &["list", "--status", "asleep"]]
    {
        a.orch(wrong).exits(2);
    }
    for absent in [
        &["show", "X"][..],
        &["claim", "X"],
        &["done", "X", "--notes", "n"],
        &["explain", "X"],
        &["cancel", "X", "--notes", "n"],
    ] {
        assert_eq!(a.try_json(absent.iter().copied()).exits(3).error()["code"], "not_found");
    }
    env.machine("empty").orch(["list"]).exits(3);
    a.orch(["done", "T-1", "--notes", "n"]).exits(4);
    a.orch(["unblock", "T-1"]).exits(4);
    a.orch(["edit", "T-1", "--needs", "T-1"]).exits(5);
    a.orch(["claim", "T-1"]).exits(0);
    a.orch(["pick"]).exits(6);
    std::fs::write(a.task_path("T-1"), "format: 1\nid: T-1\ntitle: cut of").expect("ours");
    a.orch(["show", "T-1"]).exits(8);
    a.orch(["list"]).exits(0).says("T-1");
}

#[test]
fn unreachable_is_75_and_nothing_was_claimed() {
    let env = TestEnv::new();
    let remote = Remote::proxied(&env);
    let a = env.joined("a", &remote);
    a.add("T-1");
    remote.proxy().set(Route::Drop);
    let error = a.try_json(["claim", "T-1"]).exits(75).error();
    assert_eq!(error["retryable"], true);
    a.orch(["pick"]).exits(75);
    a.orch(["cancel", "T-1", "--notes", "n"]).exits(75);
    assert_eq!(a.status("T-1"), "pending");
    remote.proxy().set(Route::Pass);
    a.orch(["claim", "T-1"]).exits(0);
}

#[test]
fn bad_settings_are_78_and_name_the_nearest_key() {
    let env = TestEnv::new();
    let a = env.local("a");
    let path = a.state("orch.yaml");
    let good = std::fs::read_to_string(&path).expect("it is there");
    std::fs::write(&path, format!("{good}queu: {{paused: true}}\n")).expect("ours");
    let error = a.try_json(["list"]).exits(78).error();
    assert!(error.to_string().contains("queue"), "{error:#}");
    std::fs::write(&path, "format: 1\nlease: {ttl: 1}\n").expect("ours");
    a.orch(["list"]).exits(78);
    std::fs::write(&path, good).expect("ours");
    a.orch(["list"]).exits(0);
}

#[test]
fn a_hook_that_declines_is_5_and_shows_its_words() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["sync"]).ok();
    remote.hook("pre-receive", "echo frozen until monday >&2; exit 1");
    let error = a.try_json(["claim", "T-1"]).exits(5).error();
    assert!(error.to_string().contains("declined"), "{error:#}");
    assert_eq!(a.status("T-1"), "pending");
    remote.hook("pre-receive", "exit 0");
    a.orch(["claim", "T-1"]).ok();
}

#[test]
fn a_lock_left_behind_on_the_remote_is_75_and_no_lost_race() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote);
    a.add("T-1");
    a.orch(["sync"]).ok();
    std::fs::create_dir_all(remote.path().join("refs/orch/leases")).expect("ours");
    std::fs::write(remote.path().join("refs/orch/leases/T-1.lock"), "").expect("ours");
    let run = a.try_json(["claim", "T-1"]);
    let error = run.exits(75).error();
    assert_eq!(error["code"], "remote_locked", "{error:#}");
    std::fs::remove_file(remote.path().join("refs/orch/leases/T-1.lock")).expect("ours");
    a.orch(["claim", "T-1"]).ok();
}
