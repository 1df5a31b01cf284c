//! The remote did it, but its answer never came: the refs say whose it is.

use std::time::Duration;

use crate::rig::{Fault, Kind, Machine, Remote, Route, TestEnv};

fn over_http() -> (TestEnv, Remote, Machine, Machine) {
    let env = TestEnv::new();
    let remote = env.try_remote(Kind::Http).expect("HTTP needs nothing");
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    (env, remote, a, b)
}

/// git repeats a post whose answer was lost by itself; the repetition is refused because the first one
/// was accepted, and that must not read as a lost race.
#[test]
fn a_claim_whose_answer_was_lost_is_ours() {
    for lost in 1..4 {
        let (_env, remote, a, b) = over_http();
        for _ in 0..lost {
            remote.next_request(Fault::LoseAnswer);
        }
        let claimed = a.json(["claim", "T-1"]);
        assert_eq!(
            (&claimed["epoch"], &claimed["confirmed"]),
            (&1.into(), &true.into()),
            "{lost} answers lost"
        );
        assert!(remote.faults() > 0);
        b.orch(["claim", "T-1"]).exits(4);
        assert_eq!(a.json(["heartbeat", "T-1"])["beat"], 1);
        a.verify();
    }
}

#[test]
fn a_request_that_was_lost_is_made_again() {
    let (_env, remote, a, b) = over_http();
    remote.next_request(Fault::LoseRequest);
    assert_eq!(a.json(["claim", "T-1"])["epoch"], 1);
    b.orch(["claim", "T-1"]).exits(4);
}

#[test]
fn a_finish_whose_answer_was_lost_is_acknowledged_once() {
    let (_env, remote, a, b) = over_http();
    a.orch(["claim", "T-1"]).ok();
    remote.next_request(Fault::LoseAnswer);
    assert_eq!(a.json(["done", "T-1", "--notes", "n"])["published"], true);
    for machine in [&a, &b] {
        remote.next_request(Fault::LoseAnswer);
        machine.orch(["sync"]).ok();
        assert_eq!(machine.status("T-1"), "done");
    }
    b.orch(["sync"]).ok();
    assert_eq!(a.task_files(), b.task_files());
    let task = a.show("T-1");
    let ends = task["history"].as_array().expect("a list").iter().filter(|op| op["do"] == "done").count();
    assert_eq!(ends, 1);
}

#[test]
fn an_addition_whose_answer_was_lost_is_added_once() {
    let (_env, remote, a, b) = over_http();
    remote.next_request(Fault::LoseAnswer);
    assert_eq!(a.json(["add", "--id", "T-2", "--title", "t"])["published"], true);
    b.orch(["sync"]).ok();
    assert_eq!(b.json(["list"]).as_array().map(Vec::len), Some(2));
    assert_eq!(a.task_files(), b.task_files());
}

#[test]
fn server_errors_pass() {
    let (_env, remote, a, _b) = over_http();
    for status in [500, 502, 503, 429] {
        remote.next_request(Fault::Status(status));
        let run = a.try_json(["claim", "T-1"]);
        assert!(run.code == 0 || run.code == 75, "{status}: {run}");
        if run.code == 75 {
            assert_eq!(run.error()["retryable"], true);
        }
    }
    a.orch(["claim", "T-1"]).ok();
}

/// A push that is applied after its sender gave up finds its old value gone, or is recognised as its own.
#[test]
fn a_push_that_arrives_late_does_no_harm() {
    let (_env, remote, a, b) = over_http();
    let hasty = a.with("ORCH_SYNC_TIMEOUT", "1s");
    remote.next_request(Fault::Delay(Duration::from_secs(3)));
    let run = hasty.try_json(["claim", "T-1"]);
    assert!(run.code == 75 || run.code == 0, "{run}");
    let other = b.try_json(["claim", "T-1"]);
    crate::rig::until("the late push has been answered", || (remote.faults() == 1).then_some(()));
    b.orch(["sync"]).ok();
    a.orch(["sync"]).ok();
    let winners = [run.code, other.code].iter().filter(|code| **code == 0).count();
    assert!(winners <= 1, "{run}\n{other}");
    assert_eq!(a.show("T-1")["lease"], b.show("T-1")["lease"]);
    a.verify();
    b.verify();
}

#[test]
fn the_same_over_the_git_protocol() {
    let env = TestEnv::new();
    let remote = Remote::proxied(&env);
    let (a, b) = (env.joined("a", &remote), env.joined("b", &remote));
    a.add("T-1");
    b.orch(["sync"]).ok();
    remote.proxy().set(Route::CutAnswerAt(b"unpack ok".to_vec()));
    let run = a.try_json(["claim", "T-1"]);
    assert_eq!(run.ok().data()["confirmed"], true);
    assert_eq!(remote.proxy().cuts(), 1, "the answer was cut");
    remote.proxy().set(Route::Pass);
    b.orch(["claim", "T-1"]).exits(4);
    a.orch(["done", "T-1", "--notes", "n"]).ok();
}
