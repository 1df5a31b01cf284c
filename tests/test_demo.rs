//! `orch demo` as people run it: everything holds, nothing outside its folder is touched, and it is not
//! satisfied by a remote that does not do its part.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Run, TestEnv};

fn demo(env: &TestEnv, args: &[&str]) -> Run {
    let mut command = env.command(env!("CARGO_BIN_EXE_orch"));
    Run::of(command.current_dir(env.path("home")).arg("demo").args(args))
}

fn list<'a>(of: &'a Value, key: &str) -> &'a Vec<Value> {
    of[key].as_array().unwrap_or_else(|| panic!("no list {key} in {of:#}"))
}

fn broken(report: &Value) -> Vec<&str> {
    let broken = list(report, "expectations").iter().filter(|one| one["held"] == false);
    broken.filter_map(|one| one["what"].as_str()).collect()
}

#[test]
fn every_check_holds_and_the_outcome_is_always_the_same() {
    let env = TestEnv::new();
    let run = demo(&env, &["--json", "--dir", &env.path("play").display().to_string()]);
    let report = run.ok().data();
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(broken(&report), [""; 0]);
    assert_eq!(report["audit"]["ok"], true);
    assert_eq!(list(&report["audit"], "machines").len(), 6, "audit and verify on three machines");
    assert!(list(&report, "expectations").len() >= 12, "{report:#}");

    let tasks = list(&report, "tasks");
    assert_eq!(tasks.len(), 12);
    for task in tasks {
        assert_eq!(task["status"], "done", "{task:#}");
        let epochs: Vec<u64> = list(task, "epochs").iter().filter_map(|one| one["epoch"].as_u64()).collect();
        assert!(epochs.is_sorted_by(|a, b| a < b), "{task:#}");
        assert_eq!(list(task, "epochs").last().unwrap()["ended"], "done", "{task:#}");
    }
    let of = |id: &str| tasks.iter().find(|task| task["id"] == id).unwrap();
    for id in ["visits-mon", "visits-tue"] {
        let epochs = list(of(id), "epochs");
        assert!(epochs.len() > 1, "{id} was abandoned and must have gone on in a higher epoch: {epochs:#?}");
        assert!(epochs[0]["ended"].as_str().unwrap().starts_with("lease lapsed"), "{epochs:#?}");
        assert_eq!(epochs.last().unwrap()["machine"], "ci", "{epochs:#?}");
        assert!(list(of(id), "bundles").len() > 1, "each attempt left evidence");
    }
    for dir in tasks.iter().flat_map(|task| list(task, "bundles")) {
        assert!(Path::new(dir.as_str().unwrap()).join("events.jsonl").is_file(), "{dir}");
    }
    assert!(env.path("play/project/site/report.txt").is_file());
    assert_eq!(fs::read_dir(env.path("tmp")).unwrap().count(), 0, "it plays in its folder only");
}

#[test]
fn a_remote_that_keeps_ended_leases_is_noticed() {
    let env = TestEnv::new();
    // The remote is made from the template that the person's own git names, hooks included.
    let hooks = env.path("template/hooks");
    let hook = "#!/bin/sh\n# Never lets go of one ref.\n\
        case \"$1 $3\" in 'refs/orch/leases/publish 0000000000000000000000000000000000000000') exit 1;; esac\n";
    orch::world::program::install(&hooks.join("update"), hook).unwrap();
    env.git_config(&format!("[init]\n\ttemplateDir = {}\n", env.path("template").display()));

    let run = demo(&env, &["--json", "--remove"]);
    let report = run.exits(1).data();
    assert_eq!(report["ok"], false);
    assert!(broken(&report).contains(&"no lease is left on the remote"), "{report:#}");
    assert_eq!(report["removed"], false, "what went wrong can be looked at");
    assert!(Path::new(report["dir"].as_str().unwrap()).join("hub/queue.git").is_dir());
}

#[test]
fn a_folder_that_is_in_use_is_left_alone() {
    let env = TestEnv::new();
    fs::create_dir(env.path("mine")).unwrap();
    fs::write(env.path("mine/file"), "precious").unwrap();
    let run = demo(&env, &["--json", "--dir", &env.path("mine").display().to_string()]);
    let error = run.exits(1).error();
    assert!(error["message"].as_str().unwrap().contains("mine"), "{error:#}");
    assert_eq!(fs::read_dir(env.path("mine")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(env.path("mine/file")).unwrap(), "precious");
}
