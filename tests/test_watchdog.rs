//! `orch recover` and `watchdog`: vanished holders, and holders that only seem to have vanished.

use serde_json::Value;

use crate::rig::process::Running;
use crate::rig::{Machine, TestEnv, race, until};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id")).collect()
}

/// Looks until something was recovered.
fn recovered(machine: &Machine) -> Value {
    until("the watchdog recovers", || {
        let report = machine.json(["watchdog", "--once"]);
        let found = !ids(&report["recovered"]).is_empty();
        found.then_some(report)
    })
}

#[test]
fn the_first_look_never_recovers_and_a_later_run_remembers_it() {
    for shared in [false, true] {
        let env = TestEnv::new();
        let remote = env.remote();
        let (a, watcher) = if shared {
            (env.joined("a", &remote).impatient(), env.joined("w", &remote).impatient())
        } else {
            let a = env.local("a").impatient();
            (a.clone(), a.session("watcher"))
        };
        a.add("T-1");
        a.orch(["claim", "T-1"]).ok();
        let first = watcher.json(["recover"]);
        assert_eq!((ids(&first["recovered"]), ids(&first["watching"])), (vec![], vec!["T-1"]));
        let report = recovered(&watcher);
        assert_eq!(report["recovered"][0]["session"], "a-session");
        assert_eq!(report["recovered"][0]["to"], "pending");
        let task = watcher.show("T-1");
        assert_eq!((&task["status"], &task["attempt"]), (&"pending".into(), &1.into()), "the attempt counts");
        assert!(task["not_before"].is_string(), "it waits before it is tried again");
        assert_eq!(task["result"]["reason"], "lease_lost");
        a.orch(["done", "T-1", "--notes", "n"]).exits(9);
        a.verify();
        watcher.verify();
    }
}

#[test]
fn a_heartbeat_in_between_wins() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote).impatient(), env.joined("w", &remote).impatient());
    a.add("T-1");
    a.orch(["claim", "T-1", "--lease", "4s"]).ok();
    // The holder beats for longer than a lease lasts, and the watchdog looks all the time.
    for _ in 0..10 {
        a.orch(["heartbeat", "T-1"]).ok();
        let report = w.json(["recover"]);
        assert_eq!(ids(&report["recovered"]), Vec::<&str>::new());
    }
    a.orch(["done", "T-1", "--notes", "alive"]).ok();
}

#[test]
fn a_task_that_kills_its_workers_ends_as_failed() {
    let env = TestEnv::new();
    let a = env.local("a").impatient();
    a.orch(["add", "--id", "T-1", "--title", "poison", "--max-attempts", "2"]).ok();
    for expected in ["pending", "failed"] {
        a.orch(["snooze", "T-1", "--until", "2020-01-01T00:00:00Z"]).ok();
        a.orch(["claim", "T-1"]).ok();
        assert_eq!(recovered(&a.session("w"))["recovered"][0]["to"], expected);
    }
    a.verify();
}

#[test]
fn a_lease_of_a_dead_process_is_recovered_at_once_and_of_a_living_one_not() {
    let env = TestEnv::new();
    let a = env.local("a");
    a.add("T-1");
    let mut sleeper = Running::start(env.command("/bin/sleep").arg("600"));
    a.orch(["claim", "T-1", "--pid", &sleeper.pid().to_string()]).ok();
    assert_eq!(ids(&a.json(["recover"])["recovered"]), Vec::<&str>::new());
    sleeper.kill();
    assert_eq!(ids(&a.json(["recover"])["recovered"]), ["T-1"]);
    // A lease without a process is not recovered because the command that took it has ended.
    a.orch(["snooze", "T-1", "--until", "2020-01-01T00:00:00Z"]).ok();
    a.orch(["claim", "T-1"]).ok();
    assert_eq!(ids(&a.json(["recover"])["recovered"]), Vec::<&str>::new());
}

/// Process numbers say nothing on another machine: a watchdog that looked for them in its own table would take every lease
/// that names one at once.
#[test]
fn only_the_holders_own_machine_looks_for_its_process() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote), env.joined("w", &remote));
    a.add("T-1");
    let mut sleeper = Running::start(env.command("/bin/sleep").arg("600"));
    a.orch(["claim", "T-1", "--pid", &sleeper.pid().to_string()]).ok();
    sleeper.kill();
    let report = w.json(["recover"]);
    assert_eq!((ids(&report["recovered"]), ids(&report["watching"])), (vec![], vec!["T-1"]));
    assert_eq!(ids(&a.json(["recover"])["recovered"]), ["T-1"]);
}

#[test]
fn many_watchdogs_recover_a_task_once() {
    let env = TestEnv::new();
    let remote = env.remote();
    let a = env.joined("a", &remote).impatient();
    let watchers: Vec<Machine> = (0..4).map(|n| env.joined(&format!("w{n}"), &remote).impatient()).collect();
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let mut total = 0;
    until("it is recovered", || {
        let runs = race(watchers.iter().map(|w| w.command(["recover", "--json"])).collect());
        total += runs.iter().map(|run| ids(&run.ok().data()["recovered"]).len()).sum::<usize>();
        (total > 0).then_some(())
    });
    for watcher in &watchers {
        watcher.orch(["recover"]).ok();
    }
    let task = watchers[0].show("T-1");
    let recoveries =
        task["history"].as_array().expect("a list").iter().filter(|op| op["do"] == "recover").count();
    assert_eq!((total, recoveries), (1, 1), "{task:#}");
}

#[test]
fn trusting_clocks_decides_at_the_first_look() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote).impatient(), env.joined("w", &remote).impatient());
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    until("the timestamps are old enough", || {
        let report = w.json(["recover", "--trust-clocks=1s"]);
        (!ids(&report["recovered"]).is_empty()).then_some(())
    });
}

/// The grace that holders count on is given to them also by whoever trusts clocks.
#[test]
fn trusting_clocks_leaves_the_grace() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote).impatient(), env.joined("w", &remote).impatient());
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let patient = w.with("ORCH_LEASE_GRACE", "1h");
    let ends = a.show("T-1")["lease"]["expires_at"].as_str().expect("a time").to_owned();
    until("the lease has run out by its own timestamp", || {
        let now = a.json(["add", "--title", "what time is it?"])["task"]["history"][0]["at"].clone();
        (now.as_str().expect("a time") > ends.as_str()).then_some(())
    });
    let report = patient.json(["recover", "--trust-clocks=1ms"]);
    assert_eq!((ids(&report["recovered"]), ids(&report["watching"])), (vec![], vec!["T-1"]));
    until("its grace is over for whoever gives less", || {
        let report = w.json(["recover", "--trust-clocks=1ms"]);
        (ids(&report["recovered"]) == ["T-1"]).then_some(())
    });
}

/// Timestamps are trusted, but they are read: a live lease does not fall to whoever trusts them.
#[test]
fn trusting_clocks_takes_nothing_from_a_lease_that_has_just_begun() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote), env.joined("w", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    for machine in [&w, &a] {
        let report = machine.json(["recover", "--trust-clocks=1h"]);
        assert_eq!((ids(&report["recovered"]), ids(&report["watching"])), (vec![], vec!["T-1"]));
    }
    a.orch(["done", "T-1", "--notes", "alive"]).ok();
}

#[test]
fn ended_tasks_are_folded_by_any_machine() {
    let env = TestEnv::new();
    let remote = env.remote();
    let (a, w) = (env.joined("a", &remote), env.joined("w", &remote));
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    a.orch(["done", "T-1", "--notes", "n"]).ok();
    w.orch(["watchdog", "--once"]).ok();
    assert_eq!(remote.lease_refs(), Vec::<String>::new());
    assert_eq!(w.status("T-1"), "done");
    w.orch(["watchdog", "--once"]).ok();
    a.orch(["sync"]).ok();
    assert_eq!(a.task_files(), w.task_files());
}

#[test]
fn the_watchdog_waits_between_rounds_and_ends_when_told_to() {
    let env = TestEnv::new();
    let a = env.local("a").impatient();
    a.add("T-1");
    a.orch(["claim", "T-1"]).ok();
    let mut command = a.session("w").command(["watchdog", "--every", "200ms", "--json"]);
    let mut dog = Running::start(&mut command);
    until("it recovers", || (a.status("T-1") == "pending").then_some(()));
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(dog.pid()).expect("a small number")).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is alive");
    let status = until("it ends", || dog.ended());
    use std::os::unix::process::ExitStatusExt;
    assert!(status.code() == Some(143) || status.code() == Some(0), "{status:?} {:?}", status.signal());
}
