//! Death between two steps, and answers that never came.

use std::time::Duration;

use super::rig::{At, Fate, RiggedDisk, at_nth, die, killed, rig_clock, rig_remote};
use super::*;
use crate::protocol::task::Reason;
use crate::store::tasks::Publish;
use crate::sync::{rejected, rename};
use crate::usecase::error::Kind;
use crate::usecase::holder::Failure;
use crate::usecase::testing::{add, finish};
use crate::usecase::{edit, operator};

/// A machine died after its claim was pushed and before it had looked at the branch again. In between
/// another machine had claimed, finished and folded the task. The next command of the first session found
/// "its" lease and reported a confirmed claim of an epoch that somebody else had held.
#[test]
fn a_claim_that_nobody_confirmed_is_no_claim() {
    let (yard, mut a, _b) = two(&["T-1"]);
    let (other, mut pushes) = (yard.clone(), 0);
    rig_remote(&mut a, move |at| match at {
        At::BeforePush => {
            pushes += 1;
            if pushes == 1 {
                let mut b = other.queue("b");
                finish(&mut b, "T-1");
                sync_all(&mut b);
            }
            Fate::Pass
        }
        At::BeforeRefs if pushes > 0 => die(),
        _ => Fate::Pass,
    });
    killed(|| try_claim(&mut a, "T-1"));
    assert_eq!(lease_refs(&yard), "refs/orch/leases/T-1", "the claim has reached the remote");
    let finished = done(&mut yard.queue("a"), "T-1");
    assert!(finished.is_err(), "an unconfirmed holder finished: {finished:?}");
    let claimed = try_claim(&mut yard.queue("a"), "T-1");
    assert_eq!(claimed.unwrap_err().kind, Kind::Conflict);
    let mut a = yard.queue("a");
    sync_all(&mut a);
    assert_eq!((task(&a, "T-1").epoch(), status(&a, "T-1")), (1, Status::Done));
    assert_eq!(lease_refs(&yard), "");
}

/// The same death, but nobody was faster: the session gets its claim when it asks again.
#[test]
fn a_claim_that_died_before_its_confirmation_is_confirmed_by_the_next_try() {
    let (yard, mut a, _b) = two(&["T-1"]);
    rig_remote(&mut a, at_nth(At::BeforeRefs, 1, die));
    killed(|| try_claim(&mut a, "T-1"));
    let claimed = try_claim(&mut yard.queue("a"), "T-1").unwrap();
    assert_eq!((claimed.epoch, claimed.repeated), (1, true));
    done(&mut yard.queue("a"), "T-1").unwrap();
}

/// The memory of a lease ref had moved when the process died, the file had not. As the ref was known from
/// then on, no fetch ever brought it into the file: no list showed the task in progress, and no watchdog
/// of this machine took it back.
#[test]
fn a_swap_that_was_noted_reaches_the_file_after_a_death() {
    let (yard, mut a, _b) = two(&["T-1"]);
    rig_remote(&mut a, at_nth(At::AfterRefs, 1, die));
    killed(|| try_claim(&mut a, "T-1"));
    let mut a = yard.queue("a");
    sync_all(&mut a);
    assert_eq!(status(&a, "T-1"), Status::InProgress);
}

/// A process died after the branch had taken its operations and before the index had heard of it. Nothing
/// was left to push, so nothing told the index any more: the task counted as unpublished for ever.
#[test]
fn what_the_branch_holds_waits_for_nothing() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    let known = task(&a, "T-1");
    a.store.mark(&a.world, &known, Publish::Waiting).unwrap();
    assert_eq!(a.store.unpublished().unwrap().len(), 1);
    assert!(a.settle().unwrap());
    assert!(a.store.unpublished().unwrap().is_empty());
}

/// Two machines had added one id. The one that came second died after it had written its task under a new
/// id, and wrote it under yet another one when it went on: the task was there twice.
#[test]
fn a_renaming_that_was_interrupted_makes_no_third_task() {
    let (_yard, a, _b) = two(&["T-1"]);
    let local = task(&a, "T-1");
    let first = rename::give_new_id(&a.cx(), &local).unwrap();
    let second = rename::give_new_id(&a.cx(), &local).unwrap();
    assert_eq!((first.as_str(), second), ("T-1-2", first.clone()));
}

/// A finish was accepted, its answer was lost, and then the network was gone. The finish was kept as a
/// second operation; the next sync reported it as refused although the task was done, by this very session.
#[test]
fn an_act_whose_answer_was_lost_is_kept_as_the_same_operation() {
    let (yard, mut a, _b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    rig_remote(&mut a, |at| match at {
        At::AfterPush | At::BeforeRefs => Fate::Lost,
        _ => Fate::Pass,
    });
    let kept = done(&mut a, "T-1").unwrap();
    assert!(!kept.published);
    let mut a = yard.queue("a");
    assert_eq!(sync_all(&mut a).rejected, []);
    assert_eq!(count(&task(&a, "T-1"), |action| matches!(action, Action::Done { .. })), 1);
    assert_eq!(rejected::all(&a.cx()).unwrap(), []);
}

/// The story: a finish was accepted and its process died before it had written the file. The session asked again, was told
/// that the task is done, and the file still said that it is in progress, because on a rewound remote nothing is
/// fetched. Somebody forced the lease ref away, which alone held the finish, and it was gone without a word: seed 823488.
#[test]
fn what_is_told_a_second_time_is_in_the_file_by_then() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    let before = git(&yard, &["rev-parse", "refs/heads/orch-state"]);
    add(&mut b, "T-2", &[]);
    sync_all(&mut a);
    try_claim(&mut a, "T-1").unwrap();
    git(&yard, &["update-ref", "refs/heads/orch-state", &before]);
    a.world.disk = RiggedDisk::once("t-1.lock", || {
        die();
    });
    killed(|| done(&mut a, "T-1"));
    let mut a = yard.queue("a");
    assert_eq!(status(&a, "T-1"), Status::InProgress, "it died before that");
    assert!(done(&mut a, "T-1").unwrap().repeated);
    assert_eq!(status(&a, "T-1"), Status::Done);
}

/// A failure was accepted and its answer lost; another machine folded it before the ref was read again. The
/// ref was gone, which reads as a lost race, and the holder was told that `fail` does not fit.
#[test]
fn an_accepted_act_that_was_folded_before_it_was_seen_is_a_success() {
    let (yard, mut a, _b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            sync_all(&mut other.queue("b"));
            Fate::Lost
        }),
    );
    let changed = holder::fail(&mut a, &id("T-1"), None, &broke()).unwrap();
    assert_eq!((changed.task.status(), changed.published), (Status::Pending, true));
}

/// A new plan was accepted and its answer lost; while the command asked again, another process of its machine left a note
/// that could not go out. The answer was `published: true` with a task that held the note, which nobody else could see
/// (simulation, seed 142167).
#[test]
fn an_accepted_act_is_told_as_published_without_a_note_that_waits() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            sync_all(&mut other.queue("b"));
            offline(&mut other.queue("a"), |a| edit::note(a, &id("T-1"), "seen")).unwrap();
            Fate::Lost
        }),
    );
    let plan = operator::Replan { notes: "again".to_owned(), description: None, success_criteria: None };
    let changed = operator::replan(&mut a, &id("T-1"), &plan).unwrap();
    assert!(changed.published && !changed.repeated);
    assert_eq!(changed.task.history(), task(&b, "T-1").history());
    assert_eq!(count(&task(&a, "T-1"), |action| matches!(action, Action::Note { .. })), 1);
    sync_all(&mut a);
    sync_all(&mut b);
    assert_eq!(count(&task(&b, "T-1"), |action| matches!(action, Action::Note { .. })), 1);
}

fn broke() -> Failure {
    Failure {
        notes: "it broke".to_owned(),
        reason: Reason::Error,
        permanent: false,
        retry_after: None,
        bundle: None,
    }
}

/// A failure was accepted and its answer lost. The watchdog of the same machine fetched it while the command was still
/// asking; then the remote was away, and the command, about to keep its act in the file, found a task that was pending and
/// answered that `fail` does not fit. A history of what sessions were told did not explain the task's own.
#[test]
fn an_accepted_act_that_another_process_has_fetched_is_a_success() {
    let (yard, mut a, _b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    let mut fetched = false;
    rig_remote(&mut a, move |at| match at {
        At::AfterPush => Fate::Lost,
        At::BeforeRefs => {
            if !std::mem::replace(&mut fetched, true) {
                sync_all(&mut yard.queue("a"));
            }
            Fate::Lost
        }
        _ => Fate::Pass,
    });
    let changed = holder::fail(&mut a, &id("T-1"), None, &broke()).unwrap();
    let told = (changed.task.status(), changed.published, changed.repeated);
    assert_eq!(told, (Status::Pending, true, false));
    assert_eq!(count(&changed.task, |action| matches!(action, Action::Fail { .. })), 1);
    assert!(q_is_quiet(&mut a), "nothing is kept, so nothing is said about it");
}

/// A finish was accepted and its answer lost; the remote stayed away until the lease was over by its holder's clock. The
/// holder was told that it is fenced, as if nothing had happened, and the finish stood.
#[test]
fn an_act_without_an_answer_is_not_called_fenced_because_time_has_passed() {
    let (yard, mut a, _b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    let clock = rig_clock(&mut a);
    rig_remote(&mut a, move |at| match at {
        At::AfterPush => {
            clock.set(clock.get() + Duration::from_secs(24 * 3600));
            Fate::Lost
        }
        At::BeforeRefs => Fate::Lost,
        _ => Fate::Pass,
    });
    let error = done(&mut a, "T-1").unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("may have been accepted"), "{error}");
    assert!(done(&mut yard.queue("a"), "T-1").unwrap().repeated, "it was");
}

/// The same where somebody removed the task's file meanwhile: the holder was told that there is no such task, and the
/// finish stood (simulation, seed 124605).
#[test]
fn an_act_without_an_answer_is_not_called_unknown_because_its_file_has_gone() {
    let (yard, mut a, _b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    let path = crate::usecase::testing::file(&a, "T-1");
    rig_remote(&mut a, move |at| match at {
        At::AfterPush => {
            std::fs::remove_file(&path).unwrap();
            Fate::Lost
        }
        At::BeforeRefs => Fate::Lost,
        _ => Fate::Pass,
    });
    let error = done(&mut a, "T-1").unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable, "{error}");
    assert!(error.message.contains("may have been accepted, and it cannot be kept here: "), "{error}");
    assert!(done(&mut yard.queue("a"), "T-1").unwrap().repeated, "it was");
}

fn q_is_quiet(q: &mut Queue) -> bool {
    q.notices().iter().all(|notice| !notice.contains("kept here"))
}

/// The push of a claim took longer than the lease that it asked for. It was reported as confirmed although
/// everybody else was free to take the task over by then.
#[test]
fn a_claim_that_took_longer_than_its_lease_is_no_success() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    let clock = rig_clock(&mut a);
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            clock.set(clock.get() + Duration::from_secs(2));
            Fate::Pass
        }),
    );
    let terms = Terms { lease: Some(Duration::from_secs(1)), ..Terms::default() };
    let claimed = claim::claim(&mut a, &id("T-1"), &terms);
    assert_eq!(claimed.unwrap_err().kind, Kind::Timeout);
}

/// Every push hung until its time limit while listings were answered at once: a claim tried four times, each
/// with a limit of its own, and took four times as long as it may.
#[test]
fn the_steps_of_one_claim_share_twice_the_time_limit() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    let clock = rig_clock(&mut a);
    let (limit, passed) = (a.settings.sync.timeout, clock.clone());
    rig_remote(&mut a, move |at| {
        if at != At::BeforePush {
            return Fate::Pass;
        }
        clock.set(clock.get() + limit);
        Fate::Lost
    });
    let claimed = try_claim(&mut a, "T-1");
    assert_eq!(claimed.unwrap_err().kind, Kind::Unreachable);
    assert!(passed.get() <= limit * 2 + Duration::from_secs(1), "it took {:?}", passed.get());
}

/// The index and the files were deleted; the repository remembered that it had seen the branch, so no fetch
/// brought anything: the queue was empty.
#[test]
fn what_was_deleted_with_the_index_comes_back() {
    let (yard, a, mut b) = two(&["T-1", "T-2"]);
    try_claim(&mut b, "T-2").unwrap();
    sync_all(&mut yard.queue("a"));
    let (tasks, own) = (a.store.layout.tasks(), a.store.layout.own());
    let index = a.store.layout.index();
    drop(a);
    std::fs::remove_dir_all(&tasks).unwrap();
    std::fs::create_dir(&tasks).unwrap();
    for entry in std::fs::read_dir(&own).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().starts_with(&*index.to_string_lossy()) && path.is_file() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut a = yard.queue("a");
    sync_all(&mut a);
    assert_eq!((status(&a, "T-1"), status(&a, "T-2")), (Status::Pending, Status::InProgress));
}

/// Rejections were counted before and after a sync, and the last ones by name were reported: a rejection of an
/// older operation was passed over for one that was known, and one that another command had met was never told.
#[test]
fn every_rejection_is_reported_by_one_sync_whenever_it_was_made() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    let text = |text: &str| Action::Note { text: text.to_owned() };
    let early = a.op(text("early"));
    let mut late = a.op(text("late"));
    late.id = crate::protocol::id::OpId::new(late.at.0 + 3_600_000, [1; 10]);
    rejected::keep(&a.cx(), &id("T-1"), &late, "why").unwrap();
    let reported = |q: &mut Queue| sync_all(q).rejected.into_iter().map(|r| r.op).collect::<Vec<_>>();
    assert_eq!(reported(&mut a), [late.id.to_string()], "also one that another command has met");
    rejected::keep(&a.cx(), &id("T-1"), &early, "why").unwrap();
    assert_eq!(reported(&mut a), [early.id.to_string()]);
    assert_eq!(reported(&mut a), [""; 0]);
    add(&mut a, "T-2", &[]);
}
