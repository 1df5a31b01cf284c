//! SPEC §4 as a table: every operation from every status.

use super::*;
use crate::protocol::transition::status_word;

/// Rows: operation. Columns: status before. Cells: status after, `=` for the same, `-` for refused.
/// The acting session is the holder wherever there is one, and names the right epoch.
const TABLE: &str = "
              pending      in_progress  in_review    done   failed       blocked      cancelled
add           -            -            -            -      -            -            -
edit          =            =            =            -      -            =            -
note          =            =            =            -      -            =            -
snooze        =            =            =            -      -            =            -
claim         in_progress  -            -            -      -            -            -
takeover      in_progress  in_progress  -            -      -            -            -
heartbeat     -            =            -            -      -            -            -
checkpoint    -            =            -            -      -            -            -
done          -            done         -            -      -            -            -
fail          -            pending      -            -      -            -            -
fail_for_good -            failed       -            -      -            -            -
release       -            pending      -            -      -            -            -
block         blocked      blocked      -            -      -            -            -
unblock       -            -            -            -      -            pending      -
cancel        cancelled    cancelled    cancelled    -      -            cancelled    -
retry         -            -            -            -      pending      pending      pending
replan        pending      pending      pending      -      pending      pending      pending
review_pass   -            done         done         -      -            -            -
review_retry  -            pending      pending      -      -            -            -
review_block  -            blocked      blocked      -      -            -            -
recover       -            pending      -            -      -            -            -
need_failed   blocked      -            -            -      -            -            -
";

fn action(name: &str) -> Action {
    match name {
        "add" => add(definition()),
        "edit" => retitle("Rake"),
        "note" => note("mind the cat"),
        "snooze" => snooze(50_000),
        "claim" => claim(1),
        "takeover" => takeover(1, 0),
        "heartbeat" => heartbeat(1),
        "checkpoint" => checkpoint(1),
        "done" => done(1),
        "fail" => fail(1, Reason::Error, false),
        "fail_for_good" => fail(1, Reason::Error, true),
        "release" => release(1),
        "block" => block(1),
        "unblock" => unblock(1),
        "cancel" => cancel(1),
        "retry" => retry(1),
        "replan" => replan(1),
        "review_pass" => review(1, Verdict::Pass),
        "review_retry" => review(1, Verdict::Retry),
        "review_block" => review(1, Verdict::Block),
        "recover" => recover(1, 0),
        "need_failed" => need_failed(1),
        other => panic!("the table has a row {other}, but nothing makes it an operation"),
    }
}

fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let lines = TABLE.lines().filter(|line| !line.is_empty()).skip(1);
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().expect("a row has a name"), words.collect())
        })
        .collect()
}

#[test]
fn every_operation_does_to_every_status_what_the_table_says() {
    let mut wrong = Vec::new();
    for (name, cells) in rows() {
        assert_eq!(cells.len(), Status::ALL.len(), "row {name}");
        for (before, cell) in Status::ALL.into_iter().zip(cells) {
            let task = task_in(before);
            assert_eq!((task.status(), task.epoch()), (before, 1), "the builder of {before:?}");
            let after = apply(&task, 50, ANN, action(name));
            let got = match &after {
                Ok(after) if after.status() == before => "=",
                Ok(after) => status_word(after.status()),
                Err(_) => "-",
            };
            let wanted = if cell == status_word(before) { "=" } else { cell };
            if got != wanted {
                wrong.push(format!(
                    "{name} on {}: {got}, not {wanted} ({:?})",
                    status_word(before),
                    after.err()
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_refusal_names_the_operation_and_the_status() {
    for (name, cells) in rows() {
        for (before, cell) in Status::ALL.into_iter().zip(cells) {
            // An addition is refused because the task exists; a claim of a held task names the holder.
            if cell != "-" || name == "add" || (name, before) == ("claim", Status::InProgress) {
                continue;
            }
            let action = action(name);
            let verb = action.verb();
            let why = apply(&task_in(before), 50, ANN, action).expect_err("the table refuses it");
            assert_eq!(why, Rejected::Status { verb, status: before });
            assert!(why.to_string().contains(verb) && why.to_string().contains(status_word(before)));
        }
    }
}

#[test]
fn what_was_applied_stands_at_the_end_of_the_history_and_heartbeats_do_not() {
    for (name, cells) in rows() {
        for (before, cell) in Status::ALL.into_iter().zip(cells) {
            if cell == "-" {
                continue;
            }
            let task = task_in(before);
            let op = op(50, ANN, action(name));
            let after = next(Some(&task), task.id(), &op).expect("the table allows it");
            let mut expected = task.history().to_vec();
            if name != "heartbeat" {
                expected.push(op);
            }
            assert_eq!(after.history(), expected, "{name} on {before:?}");
        }
    }
}

#[test]
fn applying_an_operation_again_succeeds_without_effect() {
    for (name, cells) in rows() {
        for (before, cell) in Status::ALL.into_iter().zip(cells) {
            if cell == "-" || name == "heartbeat" {
                continue;
            }
            let once = apply(&task_in(before), 50, ANN, action(name)).expect("the table allows it");
            assert_eq!(apply(&once, 50, ANN, action(name)), Ok(once.clone()), "{name} on {before:?}");
            // Also after something else has happened in between.
            if let Ok(later) = apply(&once, 51, BOB, note("in between")) {
                assert_eq!(apply(&later, 50, ANN, action(name)), Ok(later.clone()), "{name} on {before:?}");
            }
        }
    }
}

#[test]
fn done_leads_to_review_when_one_is_required() {
    let held = told(reviewed(), vec![(ANN, claim(0))]);
    let after = apply(&held, 50, ANN, done(1)).expect("the holder may finish");
    assert_eq!(after.status(), Status::InReview);
    let result = after.result().expect("finishing leaves a result");
    assert_eq!((result.outcome, result.reason), (Status::InReview, Reason::Success));
    assert_eq!((result.notes.as_str(), result.artifacts.as_slice()), ("clean", &["yard.jpg".to_owned()][..]));
}

#[test]
fn a_failed_need_does_what_the_task_asks_for() {
    use crate::protocol::task::OnNeedFailed::{Block, Run, Skip};
    let with = |rule| Definition { on_need_failed: rule, needs: vec![id("N")], ..definition() };
    for (rule, status) in [(Block, Status::Blocked), (Skip, Status::Cancelled)] {
        let after = apply(&told(with(rule), vec![]), 50, BOB, need_failed(0)).expect("a pending task");
        assert_eq!(after.status(), status);
        let result = after.result().expect("it says why");
        assert_eq!(result.reason, Reason::DepFailed);
        assert!(result.notes.contains("N,"), "{}", result.notes);
    }
    let stays = apply(&told(with(Run), vec![]), 50, BOB, need_failed(0));
    assert_eq!(stays, Err(Rejected::Status { verb: "need_failed", status: Status::Pending }));
}

#[test]
fn each_ending_leaves_its_own_reason() {
    let held = task_in(Status::InProgress);
    let cases = [
        (block(1), Status::Blocked, Reason::Error),
        (cancel(1), Status::Cancelled, Reason::Cancelled),
        (recover(1, 0), Status::Pending, Reason::LeaseLost),
        (review(1, Verdict::Pass), Status::Done, Reason::Success),
        (review(1, Verdict::Retry), Status::Pending, Reason::Error),
        (review(1, Verdict::Block), Status::Blocked, Reason::ReviewBlocked),
        (fail(1, Reason::Stalled, false), Status::Pending, Reason::Stalled),
        (fail(1, Reason::BudgetExceeded, true), Status::Failed, Reason::BudgetExceeded),
    ];
    for (action, outcome, reason) in cases {
        let verb = action.verb();
        let after = apply(&held, 50, ANN, action).expect("all of these fit a held task");
        let result = after.result().expect("an ending leaves a result");
        assert_eq!((result.outcome, result.reason, after.status()), (outcome, reason, outcome), "{verb}");
        assert_eq!(result.at, Timestamp(50_000), "{verb}");
    }
}
