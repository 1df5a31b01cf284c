//! Every gate, open and closed, and the order in which ready tasks are picked.

use super::*;
use crate::protocol::gates::{Surroundings, gates, need_met, ready};
use crate::protocol::schedule::{level, order};
use crate::protocol::task::{OnNeedFailed, Priority};

fn now() -> Surroundings {
    Surroundings { now: Timestamp(1_000_000), ..Surroundings::default() }
}

/// Names of the closed gates.
fn closed(task: &Task, around: &Surroundings) -> Vec<&'static str> {
    let all = gates(task, around);
    let shut: Vec<_> = all.iter().filter(|gate| !gate.open).map(|gate| gate.name).collect();
    assert_eq!(ready(&all), shut.is_empty());
    assert!(all.iter().all(|gate| !gate.detail.is_empty()), "every gate says what it saw");
    shut
}

#[test]
fn a_pending_task_without_conditions_is_ready() {
    assert_eq!(closed(&told(definition(), vec![]), &now()), Vec::<&str>::new());
}

#[test]
fn each_condition_closes_its_own_gate_and_no_other() {
    let task = told(definition(), vec![]);
    let why = || Some("because".to_owned());
    let cases = [
        ("queue", Surroundings { paused: why(), ..now() }),
        ("idempotency", Surroundings { done_twin: Some(id("U")), ..now() }),
        ("cycle", Surroundings { cycle: why(), ..now() }),
        ("limit", Surroundings { over_limit: why(), ..now() }),
        ("file", Surroundings { problem: why(), ..now() }),
        ("needs", Surroundings { needs: vec![(id("N"), Some(Status::Pending))], ..now() }),
        ("needs", Surroundings { needs: vec![(id("N"), None)], ..now() }),
    ];
    for (name, around) in cases {
        assert_eq!(closed(&task, &around), [name]);
    }
}

#[test]
fn only_pending_tasks_and_lapsed_leases_pass_the_status_gate() {
    for status in Status::ALL {
        let open = status == Status::Pending;
        assert_eq!(closed(&task_in(status), &now()).is_empty(), open, "{status:?}");
        let lapsed = Surroundings { lapsed: true, ..now() };
        let open = open || status == Status::InProgress;
        assert_eq!(closed(&task_in(status), &lapsed).is_empty(), open, "{status:?} when lapsed");
    }
    let last = told(with_max_attempts(1), vec![(ANN, claim(0))]);
    assert_eq!(closed(&last, &Surroundings { lapsed: true, ..now() }), ["status"]);
}

#[test]
fn the_status_gate_and_the_transition_agree_about_takeovers() {
    for max in 1..4 {
        let held = told(with_max_attempts(max), vec![(ANN, claim(0))]);
        let open = closed(&held, &Surroundings { lapsed: true, ..now() }).is_empty();
        assert_eq!(open, apply(&held, 50, BOB, takeover(1, 0)).is_ok(), "at most {max} attempts");
    }
}

#[test]
fn waiting_time_has_passed_at_its_very_moment() {
    for (start, open) in [(999_999, true), (1_000_000, true), (1_000_001, false)] {
        let task = told(definition(), vec![(ANN, snooze(start))]);
        let expected: &[&str] = if open { &[] } else { &["not_before"] };
        assert_eq!(closed(&task, &now()), expected, "start at {start}");
    }
}

#[test]
fn a_need_is_met_by_done_and_a_failed_one_only_where_the_task_runs_regardless() {
    use OnNeedFailed::{Block, Run, Skip};
    let every = Status::ALL.into_iter().map(Some).chain([None]);
    for status in every {
        for rule in [Block, Skip, Run] {
            let ended_badly = matches!(status, Some(Status::Failed | Status::Cancelled));
            let expected = status == Some(Status::Done) || (ended_badly && rule == Run);
            assert_eq!(need_met(status, rule), expected, "{status:?} under {rule:?}");
            let task = told(Definition { on_need_failed: rule, ..definition() }, vec![]);
            let around = Surroundings { needs: vec![(id("N"), status)], ..now() };
            assert_eq!(closed(&task, &around).is_empty(), expected, "{status:?} under {rule:?}");
        }
    }
}

#[test]
fn a_gate_that_is_shut_names_what_it_waits_for() {
    let task = told(definition(), vec![]);
    let around = Surroundings { needs: vec![(id("N-7"), Some(Status::Blocked))], ..now() };
    let all = gates(&task, &around);
    let shut = all.iter().find(|gate| !gate.open).expect("the need is not done");
    assert_eq!(shut.detail, "N-7 is blocked");
    let held = gates(&task_in(Status::InProgress), &now());
    assert_eq!(held[0].detail, "held by ann (epoch 1)");
}

#[test]
fn ready_tasks_come_by_priority_then_due_date_then_age_then_id() {
    let task = |name: &str, n: u64, priority, due: Option<i64>| {
        let def = Definition { priority, due_at: due.map(Timestamp), ..definition() };
        next(None, &id(name), &op(n, ANN, add(def))).expect("an addition")
    };
    let expected = [
        task("z", 9, Priority::P0, None),
        task("y", 9, Priority::P1, Some(5_000)),
        task("x", 8, Priority::P1, Some(6_000)),
        task("w", 3, Priority::P1, None),
        task("a", 4, Priority::P1, None),
        task("b", 4, Priority::P1, None),
        task("c", 1, Priority::P2, Some(1)),
        task("d", 1, Priority::P3, None),
    ];
    let mut sorted: Vec<_> = expected.iter().rev().cloned().collect();
    sorted.sort_by_key(|task| order(task, Timestamp(10_000), Duration::from_secs(86_400)));
    let names = |tasks: &[Task]| tasks.iter().map(|t| t.id().to_string()).collect::<Vec<_>>();
    assert_eq!(names(&sorted), names(&expected));
}

#[test]
fn a_task_rises_one_level_for_each_span_that_it_waited() {
    let day = Duration::from_secs(86_400);
    let cases = [(0, 3), (86_399, 3), (86_400, 2), (2 * 86_400, 1), (3 * 86_400, 0), (400 * 86_400, 0)];
    for (waited, expected) in cases {
        assert_eq!(level(Priority::P3, Duration::from_secs(waited), day), expected, "after {waited}s");
    }
    assert_eq!(level(Priority::P3, Duration::MAX, Duration::ZERO), 3, "zero switches ageing off");
    assert_eq!(level(Priority::P3, Duration::MAX, Duration::from_nanos(1)), 0);
}
