//! Holders: repeated acts, acts while the remote is away, acts on tasks that others touch.

use std::time::Duration;

use super::rig::{At, Fate, at_nth, rig_clock, rig_remote};
use super::*;
use crate::protocol::op::Patch;
use crate::sync::rejected;
use crate::usecase::error::Kind;
use crate::usecase::testing::{add, file, replace};
use crate::usecase::{edit, operator};

/// A holder that had left a checkpoint was told that a second `done` does not fit, and a holder whose task
/// was cancelled after its checkpoint was told a conflict instead of being fenced: the checkpoint was taken
/// for the end of the epoch.
#[test]
fn a_checkpoint_is_not_the_end_of_an_epoch() {
    let (_yard, mut a, mut b) = two(&["T-1", "T-2"]);
    for name in ["T-1", "T-2"] {
        try_claim(&mut a, name).unwrap();
        checkpoint(&mut a, name).unwrap();
    }
    done(&mut a, "T-1").unwrap();
    assert!(done(&mut a, "T-1").unwrap().repeated);
    sync_all(&mut b);
    operator::cancel(&mut b, &id("T-2"), "not needed").unwrap();
    let told = done(&mut a, "T-2").unwrap_err();
    assert_eq!((told.kind, told.code), (Kind::Fenced, "cancelled"));
}

/// Somebody had noted something on a task in progress; its holder finished it while the remote was away. The
/// note went onto the lease ref in front of the finish, the fold took it for a sign that the claim had been
/// refused before, and the finish was thrown away as void.
#[test]
fn a_finish_that_was_kept_survives_a_note_by_somebody_else() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    edit::note(&mut b, &id("T-1"), "mind the gap").unwrap();
    sync_all(&mut a);
    offline(&mut a, |a| done(a, "T-1")).unwrap();
    nobody_gets_in_between(&yard, &mut a);
    assert_eq!(sync_all(&mut a).rejected, []);
    sync_all(&mut b);
    for q in [&a, &b] {
        assert_eq!(status(q, "T-1"), Status::Done);
        assert_eq!(count(&task(q, "T-1"), |action| matches!(action, Action::Note { .. })), 1);
    }
}

/// After each push of `a` another machine tries to claim the task.
fn nobody_gets_in_between(yard: &Rc<Yard>, a: &mut Queue) {
    let other = yard.clone();
    rig_remote(a, move |at| {
        if at == At::AfterPush {
            let claimed = try_claim(&mut other.queue("b"), "T-1");
            assert!(claimed.is_err(), "the epoch is not over: {claimed:?}");
        }
        Fate::Pass
    });
}

/// The same with a note of the holder's own machine.
#[test]
fn a_finish_that_was_kept_survives_a_note_of_its_own() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| {
        edit::note(a, &id("T-1"), "mind the gap").unwrap();
        done(a, "T-1").unwrap();
    });
    nobody_gets_in_between(&yard, &mut a);
    assert_eq!(sync_all(&mut a).rejected, []);
    sync_all(&mut b);
    assert_eq!(task(&a, "T-1"), task(&b, "T-1"));
    assert_eq!(status(&b, "T-1"), Status::Done);
}

/// A checkpoint was kept while the remote was away; the finish that came after it went straight to the
/// remote, and the checkpoint was refused because the task was done.
#[test]
fn what_was_kept_goes_out_before_what_comes_after_it() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| checkpoint(a, "T-1")).unwrap();
    done(&mut a, "T-1").unwrap();
    assert_eq!(sync_all(&mut a).rejected, []);
    sync_all(&mut b);
    assert_eq!(count(&task(&b, "T-1"), |action| matches!(action, Action::Checkpoint { .. })), 1);
    assert_eq!(status(&b, "T-1"), Status::Done);
}

/// A checkpoint was kept, and the push that was to bring it out hung for as long as a step may. The next checkpoint
/// went out past it, so that the older one stood behind it as the last word.
#[test]
fn what_could_not_go_out_holds_back_what_comes_after_it() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| checkpoint(a, "T-1")).unwrap();
    let (clock, hang) = (rig_clock(&mut a), a.settings.sync.timeout + Duration::from_millis(1));
    rig_remote(
        &mut a,
        at_nth(At::BeforePush, 1, move || {
            clock.set(clock.get() + hang);
            Fate::Lost
        }),
    );
    let second = checkpoint(&mut a, "T-1").unwrap();
    assert!(!second.published, "nothing goes out past what was kept");
    assert_eq!(sync_all(&mut a).rejected, []);
    sync_all(&mut b);
    let there = task(&b, "T-1");
    assert_eq!(count(&there, |action| matches!(action, Action::Checkpoint { .. })), 2);
    assert_eq!(there.history().last(), second.task.history().last());
}

/// A finish was kept while the remote was away. Repeating it with the remote back answered `published: true`
/// although nobody else could see it.
#[test]
fn repeating_what_was_kept_publishes_it() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| done(a, "T-1")).unwrap();
    let again = done(&mut a, "T-1").unwrap();
    assert!(again.repeated && again.published);
    sync_all(&mut b);
    assert_eq!(status(&b, "T-1"), Status::Done);
}

/// A note was made on a task that another machine had cancelled already. It was refused on the way and kept
/// as rejected, while the one who made it was told that it is published.
#[test]
fn a_note_that_the_register_refuses_is_no_success() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    operator::cancel(&mut b, &id("T-1"), "not needed").unwrap();
    sync_all(&mut b);
    let told = edit::note(&mut a, &id("T-1"), "mind the gap").unwrap_err();
    assert_eq!(told.kind, Kind::Conflict);
    assert_eq!(rejected::all(&a.cx()).unwrap().len(), 1, "it is kept all the same");
}

/// A finish was kept, then a person edited the file, and while it was edited the task was cancelled
/// elsewhere. Taking over the edit dropped the finish without a word.
#[test]
fn taking_over_an_edit_drops_no_operation_silently() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| done(a, "T-1")).unwrap();
    sync_all(&mut b);
    operator::cancel(&mut b, &id("T-1"), "not needed").unwrap();
    replace(&file(&a, "T-1"), "title of T-1\n", "another title\n");
    change::fetch_now(&mut a).unwrap();
    let a = yard.queue("a");
    let kept: Vec<String> = rejected::all(&a.cx()).unwrap().into_iter().map(|r| r.verb).collect();
    assert!(kept.contains(&"done".to_owned()), "{kept:?}");
}

/// Cancelling a task succeeded, but one of its dependants was in the middle of being edited: the whole
/// command failed although the task was cancelled.
#[test]
fn a_dependant_in_trouble_does_not_undo_a_cancellation() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    add(&mut a, "T-2", &["T-1"]);
    add(&mut a, "T-3", &["T-1"]);
    let path = file(&a, "T-2");
    super::rig::rig_remote(
        &mut a,
        super::rig::at_nth(super::rig::At::AfterPush, 1, move || {
            replace(&path, "title of T-2\n", "another title\n");
            super::rig::Fate::Pass
        }),
    );
    operator::cancel(&mut a, &id("T-1"), "not needed").unwrap();
    assert_eq!(status(&a, "T-3"), Status::Blocked);
}

/// A claim of a task that was edited meanwhile is folded with the edit, whatever came first.
#[test]
fn edits_and_claims_meet_without_loss() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    let title = |text: &str| Patch { title: Some(text.to_owned()), ..Patch::default() };
    offline(&mut a, |a| edit::edit(a, &id("T-1"), &title("one"))).unwrap();
    try_claim(&mut a, "T-1").unwrap();
    edit::edit(&mut b, &id("T-1"), &title("two")).unwrap();
    done(&mut a, "T-1").unwrap();
    for _ in 0..2 {
        sync_all(&mut a);
        sync_all(&mut b);
    }
    assert_eq!(task(&a, "T-1"), task(&b, "T-1"));
    assert_eq!(count(&task(&a, "T-1"), |action| matches!(action, Action::Edit(_))), 2);
    assert_eq!(status(&a, "T-1"), Status::Done);
}

/// A person planned a task anew on the very machine, and under the very name, that worked on it. The worker's next
/// heartbeat was told that it did not fit (4), as if the worker itself had ended the task, instead of that it has to
/// stop (9).
#[test]
fn another_plan_fences_the_holder_also_under_its_own_name() {
    let yard = Yard::local();
    let mut a = yard.queue("a");
    add(&mut a, "T-1", &[]);
    try_claim(&mut a, "T-1").unwrap();
    let plan =
        operator::Replan { notes: "another way".to_owned(), description: None, success_criteria: None };
    operator::replan(&mut a, &id("T-1"), &plan).unwrap();
    let error = holder::heartbeat(&mut a, &id("T-1"), None, None).unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Fenced, "fenced"), "{error:?}");
    // What the holder did itself stays its own doing.
    try_claim(&mut a, "T-1").unwrap();
    holder::release(&mut a, &id("T-1"), None, None, None).unwrap();
    assert_eq!(holder::heartbeat(&mut a, &id("T-1"), None, None).unwrap_err().kind, Kind::Conflict);
}
