//! One test per guard: each fails if its guard is taken away.

use super::*;
use crate::protocol::edit::interpret;
use crate::protocol::task::{Progress, State};

fn lease_of(task: &Task) -> &crate::protocol::task::Lease {
    task.lease().expect("the task is held")
}

/// Every action that decides a status, based on `epoch`.
fn based_on(epoch: u64) -> Vec<Action> {
    vec![
        claim(epoch),
        takeover(epoch, 0),
        heartbeat(epoch),
        checkpoint(epoch),
        done(epoch),
        fail(epoch, Reason::Error, false),
        release(epoch),
        block(epoch),
        unblock(epoch),
        cancel(epoch),
        retry(epoch),
        replan(epoch),
        review(epoch, Verdict::Pass),
        recover(epoch, 0),
        need_failed(epoch),
    ]
}

#[test]
fn an_operation_based_on_another_epoch_is_refused_in_every_status() {
    for status in Status::ALL {
        for wrong in [0, 2, u64::MAX] {
            for action in based_on(wrong.min(u64::MAX - 1)) {
                let (verb, named) = (action.verb(), wrong.min(u64::MAX - 1));
                assert_eq!(
                    apply(&task_in(status), 50, ANN, action),
                    Err(Rejected::Epoch { verb, named, actual: 1 }),
                    "{verb} on {status:?}"
                );
            }
        }
    }
}

#[test]
fn additions_and_edits_name_no_epoch_and_everything_else_does() {
    for action in [add(definition()), retitle("x"), note("x"), snooze(1)] {
        assert_eq!(action.based_on(), None, "{}", action.verb());
    }
    for action in based_on(7) {
        assert_eq!(action.based_on(), Some(7), "{}", action.verb());
    }
}

#[test]
fn only_the_holder_may_act_and_a_namesake_elsewhere_is_not_the_holder() {
    let held = task_in(Status::InProgress);
    let holders = [heartbeat(1), checkpoint(1), done(1), fail(1, Reason::Error, false), release(1)];
    for action in holders {
        assert!(action.is_holders(), "{}", action.verb());
        for stranger in [BOB, ANN_ELSEWHERE, ("bob", "m-1")] {
            let verb = action.verb();
            assert_eq!(
                apply(&held, 50, stranger, action.clone()),
                Err(Rejected::Holder { verb, holder: "ann".to_owned() }),
                "{verb} by {stranger:?}"
            );
        }
        assert!(apply(&held, 50, ANN, action).is_ok());
    }
    // Operators, reviewers and watchdogs are not asked who holds it.
    for action in [block(1), cancel(1), replan(1), review(1, Verdict::Retry), recover(1, 0)] {
        assert!(!action.is_holders(), "{}", action.verb());
        assert!(apply(&held, 50, BOB, action).is_ok());
    }
}

#[test]
fn a_holder_of_an_earlier_epoch_can_do_nothing() {
    let lost = told(definition(), vec![(ANN, claim(0)), (BOB, takeover(1, 0))]);
    for action in [heartbeat(1), checkpoint(1), done(1), fail(1, Reason::Error, false), release(1)] {
        let verb = action.verb();
        assert_eq!(apply(&lost, 50, ANN, action), Err(Rejected::Epoch { verb, named: 1, actual: 2 }));
    }
    for action in [heartbeat(2), done(2), release(2)] {
        let verb = action.verb();
        assert_eq!(apply(&lost, 50, ANN, action), Err(Rejected::Holder { verb, holder: "bob".to_owned() }));
    }
}

#[test]
fn a_claim_raises_the_epoch() {
    let pending = task_in(Status::Pending);
    for epoch in [0, 1] {
        let action = Action::Claim { base: 1, epoch, ttl: TTL, process: None, over: None };
        assert_eq!(apply(&pending, 50, BOB, action), Err(Rejected::EpochNotRaised { base: 1, epoch }));
    }
    // It may leap over epochs that this machine has seen elsewhere.
    let leap = Action::Claim { base: 1, epoch: 9, ttl: TTL, process: None, over: None };
    let after = apply(&pending, 50, BOB, leap).expect("9 is above 1");
    assert_eq!((after.epoch(), lease_of(&after).epoch), (9, 9));
}

#[test]
fn a_claim_starts_a_fresh_lease_and_counts_an_attempt() {
    let after = apply(&task_in(Status::Pending), 50, BOB, claim(1)).expect("it is pending");
    let lease = lease_of(&after);
    assert_eq!((lease.session.as_str(), lease.machine.as_str()), ("bob", "m-2"));
    assert_eq!((lease.epoch, lease.beat, lease.ttl), (2, 0, TTL));
    assert_eq!((lease.acquired_at, lease.renewed_at), (Timestamp(50_000), Timestamp(50_000)));
    assert_eq!(lease.expires_at, Timestamp(50_000 + 900_000));
    assert_eq!((after.attempt(), after.result()), (1, None));
}

#[test]
fn a_claim_of_a_held_task_must_name_the_heartbeat_it_judged() {
    let held = task_in(Status::InProgress);
    assert_eq!(apply(&held, 50, BOB, claim(1)), Err(Rejected::Held { holder: "ann".to_owned() }));
    let renewed = apply(&held, 50, ANN, heartbeat(1)).expect("the holder is alive");
    assert_eq!(
        apply(&renewed, 51, BOB, takeover(1, 0)),
        Err(Rejected::Renewed { seen: 0, actual: 1 }),
        "a heartbeat that arrived in between wins"
    );
    let taken = apply(&renewed, 51, BOB, takeover(1, 1)).expect("it names the newest heartbeat");
    assert_eq!((taken.epoch(), taken.attempt(), lease_of(&taken).beat), (2, 2, 0));
}

#[test]
fn a_takeover_never_exceeds_the_attempts() {
    let last = told(with_max_attempts(1), vec![(ANN, claim(0))]);
    assert_eq!(apply(&last, 50, BOB, takeover(1, 0)), Err(Rejected::AttemptsUsedUp { max: 1 }));
    let more = told(with_max_attempts(2), vec![(ANN, claim(0))]);
    assert!(apply(&more, 50, BOB, takeover(1, 0)).is_ok());
}

#[test]
fn a_recovery_must_name_the_heartbeat_it_saw() {
    let renewed = told(definition(), vec![(ANN, claim(0)), (ANN, heartbeat(1)), (ANN, heartbeat(1))]);
    assert_eq!(lease_of(&renewed).beat, 2);
    for seen in [0, 1] {
        assert_eq!(apply(&renewed, 50, BOB, recover(1, seen)), Err(Rejected::Renewed { seen, actual: 2 }));
    }
    let after = apply(&renewed, 50, BOB, recover(1, 2)).expect("it saw the newest");
    assert_eq!(after.def().not_before, Some(Timestamp(99_000)));
    // A replay meets the lease without its heartbeats, which are not history.
    let replayed = crate::protocol::transition::replay(&id("T"), after.history()).expect("it replays");
    assert_eq!(replayed, after);
}

#[test]
fn recovery_ends_a_task_that_kills_its_workers() {
    let mut task = told(with_max_attempts(2), vec![(ANN, claim(0))]);
    task = apply(&task, 10, BOB, recover(1, 0)).expect("first loss");
    assert_eq!((task.status(), task.attempt()), (Status::Pending, 1), "a lost lease costs an attempt");
    task = apply(&task, 11, ANN, claim(1)).expect("second attempt");
    task = apply(&task, 12, BOB, recover(2, 0)).expect("second loss");
    assert_eq!(task.status(), Status::Failed);
    assert_eq!(task.result().map(|r| r.reason), Some(Reason::LeaseLost));
}

#[test]
fn a_failure_goes_back_to_pending_until_the_attempts_are_used_up() {
    let mut task = told(with_max_attempts(3), vec![]);
    for epoch in 0..2 {
        task = apply(&task, 10 + epoch, ANN, claim(epoch)).expect("it is pending");
        task = apply(&task, 20 + epoch, ANN, fail(epoch + 1, Reason::Error, false)).expect("held");
        assert_eq!((task.status(), task.def().not_before), (Status::Pending, Some(Timestamp(77_000))));
    }
    task = apply(&task, 30, ANN, claim(2)).expect("the last attempt");
    task = apply(&task, 31, ANN, fail(3, Reason::Error, false)).expect("held");
    assert_eq!((task.status(), task.attempt()), (Status::Failed, 3));
}

#[test]
fn attempts_without_a_limit_in_the_definition_have_the_default() {
    let task = told(definition(), vec![]);
    assert_eq!(crate::protocol::transition::max_attempts(&task), 3);
    assert_eq!(crate::protocol::transition::max_attempts(&told(with_max_attempts(7), vec![])), 7);
}

#[test]
fn three_reasons_give_the_attempt_back_and_no_others() {
    for reason in Reason::ALL {
        let free = matches!(reason, Reason::SpawnFailed | Reason::RateLimited | Reason::Shutdown);
        let held = told(with_max_attempts(1), vec![(ANN, claim(0))]);
        let after = apply(&held, 50, ANN, fail(1, reason, false)).expect("the holder may fail");
        assert_eq!(after.attempt(), u32::from(!free), "{reason:?}");
        let status = if free { Status::Pending } else { Status::Failed };
        assert_eq!(after.status(), status, "{reason:?}");
    }
}

#[test]
fn an_attempt_that_is_given_back_never_ends_a_task_whose_limit_was_lowered() {
    let lower = Patch {
        retry: RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() }.into(),
        ..Patch::default()
    };
    let acts = vec![
        (ANN, claim(0)),
        (ANN, fail(1, Reason::Error, false)),
        (ANN, claim(1)),
        (BOB, Action::Edit(Box::new(lower))),
    ];
    let held = told(definition(), acts);
    assert_eq!(held.attempt(), 2);
    let back = apply(&held, 50, ANN, fail(2, Reason::RateLimited, false)).expect("the holder may fail");
    assert_eq!((back.status(), back.attempt()), (Status::Pending, 1));
    let over = apply(&held, 50, ANN, fail(2, Reason::Error, false)).expect("the holder may fail");
    assert_eq!((over.status(), over.attempt()), (Status::Failed, 2));
}

#[test]
fn a_claim_forgets_how_the_last_attempt_ended() {
    let failed = told(definition(), vec![(ANN, claim(0)), (ANN, fail(1, Reason::Error, false))]);
    assert!(failed.result().is_some());
    let again = apply(&failed, 50, BOB, claim(1)).expect("it is pending");
    assert_eq!(again.result(), None);
}

#[test]
fn a_refusal_by_policy_is_not_tried_again() {
    let held = told(with_max_attempts(9), vec![(ANN, claim(0))]);
    let after = apply(&held, 50, ANN, fail(1, Reason::PolicyBlocked, false)).expect("the holder may fail");
    assert_eq!(after.status(), Status::Failed);
}

#[test]
fn a_release_gives_the_attempt_back_for_ever() {
    let mut task = told(with_max_attempts(1), vec![]);
    for epoch in 0..5 {
        task = apply(&task, 10 + epoch, ANN, claim(epoch)).expect("released tasks can be claimed");
        assert_eq!(task.attempt(), 1);
        task = apply(&task, 20 + epoch, ANN, release(epoch + 1)).expect("the holder may release");
        assert_eq!((task.attempt(), task.status()), (0, Status::Pending));
    }
    let shutdown = Action::Release { epoch: 6, reason: Some(Reason::Shutdown), notes: None };
    task = apply(&task, 40, ANN, claim(5)).expect("pending");
    task = apply(&task, 41, ANN, shutdown).expect("held");
    assert_eq!(task.result().map(|r| r.reason), Some(Reason::Shutdown));
}

#[test]
fn retry_and_replan_forget_attempts_waiting_and_the_old_result() {
    let failed = told(
        with_max_attempts(1),
        vec![(ANN, snooze(60_000)), (ANN, claim(0)), (ANN, fail(1, Reason::Error, false))],
    );
    assert_eq!((failed.status(), failed.attempt()), (Status::Failed, 1));
    for action in [retry(1), replan(1)] {
        let verb = action.verb();
        let after = apply(&failed, 50, BOB, action).expect("a failed task can start again");
        assert_eq!((after.status(), after.attempt(), after.epoch()), (Status::Pending, 0, 1), "{verb}");
        assert_eq!((after.result(), after.def().not_before), (None, None), "{verb}");
    }
}

#[test]
fn replan_changes_only_what_it_names() {
    let def =
        Definition { description: "all".to_owned(), success_criteria: vec!["c".to_owned()], ..definition() };
    let after = apply(&told(def.clone(), vec![]), 50, BOB, replan(0)).expect("pending can be replanned");
    let expected = Definition { description: "Sweep only the front".to_owned(), ..def };
    assert_eq!(after.def(), &expected);
}

#[test]
fn five_operations_have_to_say_why() {
    let held = task_in(Status::InProgress);
    for blank in ["", "  \n\t "] {
        let notes = || blank.to_owned();
        let silent = [
            Action::Done { epoch: 1, notes: notes(), artifacts: vec![], bundle: None },
            Action::Fail {
                epoch: 1,
                reason: Reason::Error,
                notes: notes(),
                permanent: false,
                retry_at: None,
                bundle: None,
            },
            Action::Block { epoch: 1, notes: notes() },
            Action::Cancel { epoch: 1, notes: notes() },
            Action::Replan { epoch: 1, notes: notes(), description: None, success_criteria: None },
        ];
        for action in silent {
            let verb = action.verb();
            assert_eq!(apply(&held, 50, ANN, action), Err(Rejected::NotesRequired { verb }));
        }
    }
}

#[test]
fn a_task_cannot_need_or_contain_itself() {
    let mine = Definition { needs: vec![id("T")], ..definition() };
    let inside = Definition { parent: Some(id("T")), ..definition() };
    for def in [mine, inside] {
        assert_eq!(next(None, &id("T"), &op(1, ANN, add(def))), Err(Rejected::NeedsItself));
    }
    let task = told(definition(), vec![]);
    let needs = Patch { needs: Some(vec![id("A"), id("T")]), ..Patch::default() };
    let parent = Patch { parent: Some(Some(id("T"))), ..Patch::default() };
    for patch in [needs, parent] {
        assert_eq!(apply(&task, 50, ANN, Action::Edit(Box::new(patch))), Err(Rejected::NeedsItself));
    }
}

#[test]
fn a_history_begins_with_an_addition_and_has_only_one() {
    for action in based_on(0) {
        assert_eq!(next(None, &id("T"), &op(1, ANN, action)), Err(Rejected::Absent));
    }
    let twice = told(definition(), vec![]);
    assert_eq!(apply(&twice, 2, BOB, add(definition())), Err(Rejected::Exists));
}

#[test]
fn a_history_that_holds_an_operation_twice_or_a_heartbeat_is_refused() {
    use crate::protocol::transition::replay;
    let first = op(1, ANN, add(definition()));
    let said = op(2, ANN, note("once"));
    assert_eq!(replay(&id("T"), &[]), Err((0, Rejected::Absent)));
    let twice = [first.clone(), said.clone(), said];
    assert_eq!(replay(&id("T"), &twice), Err((2, Rejected::Exists)));
    let beats = [first, op(2, ANN, claim(0)), op(3, ANN, heartbeat(1))];
    assert!(matches!(replay(&id("T"), &beats), Err((2, _))), "heartbeats are not history");
}

#[test]
fn a_heartbeat_moves_only_the_lease() {
    let held = task_in(Status::InProgress);
    let progress = Some(Progress { percent: Some(40), note: Some("commands listed".to_owned()) });
    let after = apply(&held, 50, ANN, Action::Heartbeat { epoch: 1, progress: progress.clone() })
        .expect("the holder is alive");
    let lease = lease_of(&after);
    assert_eq!((lease.beat, lease.renewed_at, lease.expires_at), (1, Timestamp(50_000), Timestamp(950_000)));
    assert_eq!((lease.acquired_at, &lease.progress), (lease_of(&held).acquired_at, &progress));
    assert_eq!((after.history(), after.def(), after.attempt()), (held.history(), held.def(), held.attempt()));
    // What was said before stays unless it is said anew.
    let silent = apply(&after, 51, ANN, heartbeat(1)).expect("the holder is alive");
    assert_eq!(lease_of(&silent).progress, progress);
    let partly = Action::Heartbeat { epoch: 1, progress: Some(Progress { percent: Some(60), note: None }) };
    let partly = apply(&silent, 52, ANN, partly).expect("the holder is alive");
    let expected = Progress { percent: Some(60), note: Some("commands listed".to_owned()) };
    assert_eq!((lease_of(&partly).beat, lease_of(&partly).progress.clone()), (3, Some(expected)));
}

/// Somebody had set a machine's clock back between a claim and a heartbeat. When the power failed and the index was built
/// anew, the file was taken for one whose lease a person had edited: the task was quarantined, its holder was refused, and
/// no watchdog took it back.
#[test]
fn a_lease_that_was_renewed_before_it_was_acquired_by_the_clock_on_the_wall_is_no_edit() {
    let held = apply(&task_in(Status::Pending), 50, ANN, claim(1)).expect("it is free");
    let renewed = apply(&held, 20, ANN, heartbeat(2)).expect("the holder is alive");
    assert!(lease_of(&renewed).renewed_at < lease_of(&renewed).acquired_at);
    assert_eq!(interpret(&renewed, Some(&held)), Ok((renewed.clone(), None)));
}

#[test]
fn numbers_from_elsewhere_cannot_overflow() {
    let mut held = task_in(Status::InProgress);
    if let State::InProgress(lease) = &mut held.state {
        (lease.beat, lease.ttl) = (u64::MAX, Duration::MAX);
    }
    let after = apply(&held, 50, ANN, heartbeat(1)).expect("the holder is alive");
    assert_eq!((lease_of(&after).beat, lease_of(&after).expires_at), (u64::MAX, Timestamp(i64::MAX)));
    let mut pending = task_in(Status::Pending);
    (pending.epoch, pending.attempt) = (u64::MAX, u32::MAX);
    let claim = |epoch| Action::Claim { base: u64::MAX, epoch, ttl: TTL, process: None, over: None };
    for epoch in [0, u64::MAX] {
        let refused = Err(Rejected::EpochNotRaised { base: u64::MAX, epoch });
        assert_eq!(apply(&pending, 50, ANN, claim(epoch)), refused);
    }
}
