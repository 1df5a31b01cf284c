//! Several machines, and a remote that somebody else has touched.

use std::cell::RefCell;

use super::rig::{At, Fate, RiggedDisk, at_nth, die, killed, rig_remote};
use super::*;
use crate::protocol::task::{Definition, Priority};
use crate::sync::{fetch, publish, rejected};
use crate::usecase::error::Kind;
use crate::usecase::operator::{self, Replan};
use crate::usecase::testing::add;

/// Two machines added ids that differ in case only. The files lay side by side, the index knew only one, and
/// the task of the second machine was reported as misnamed and never published.
#[test]
fn ids_that_differ_in_case_only_are_one_id() {
    let yard = Yard::shared();
    let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
    add(&mut a, "Task-1", &[]);
    offline(&mut b, |b| add(b, "task-1", &[]));
    sync_all(&mut b);
    let ids: Vec<String> = b.store.ids().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(ids, ["Task-1", "task-1-2"]);
    assert_eq!(task(&b, "task-1-2").def().title, "title of task-1");
    let b = yard.queue("b");
    assert!(b.strays.is_empty(), "{:?}", b.strays);
    sync_all(&mut a);
    assert_eq!(task(&a, "task-1-2"), task(&b, "task-1-2"));
}

/// The id was taken on the remote, so the task got another one; the answer of `add` still named the one that
/// belongs to somebody else, and a script would have claimed that.
#[test]
fn an_addition_answers_with_the_id_that_the_task_has() {
    let yard = Yard::shared();
    let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
    add(&mut a, "T-1", &[]);
    let def = Definition { title: "mine".to_owned(), ..Definition::default() };
    let added = crate::usecase::add::add(&mut b, Some(id("T-1")), def).unwrap();
    assert_eq!((added.task.id().as_str(), added.task.def().title.as_str()), ("T-1-2", "mine"));
    assert!(added.published);
    assert!(b.notices().iter().any(|notice| notice.contains("T-1-2")), "and says why");
}

/// The branch had been rewound. A claim was pushed all the same, found that out when it looked again, and
/// was left behind: `pick` went on and left one behind for every ready task.
#[test]
fn a_claim_on_a_rewound_remote_leaves_nothing_behind() {
    let (yard, mut a, _b) = two(&["T-1", "T-2"]);
    git(&yard, &["update-ref", "-d", "refs/heads/orch-state"]);
    let claimed = try_claim(&mut a, "T-1");
    assert_eq!(claimed.unwrap_err().kind, Kind::Damaged);
    assert_eq!(lease_refs(&yard), "");
    let picked = claim::pick(&mut a, &Terms::default());
    assert_eq!(picked.unwrap_err().kind, Kind::Damaged);
    assert_eq!(lease_refs(&yard), "");
}

/// A clean-up deleted a lease ref. Another machine, which had seen its epoch, handed the same epoch out again:
/// two sessions held it.
#[test]
fn an_epoch_that_was_seen_is_not_given_twice() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    assert_eq!(try_claim(&mut a, "T-1").unwrap().epoch, 1);
    sync_all(&mut b);
    git(&yard, &["update-ref", "-d", "refs/orch/leases/T-1"]);
    sync_all(&mut b);
    let index = b.store.layout.index();
    drop(b);
    std::fs::remove_file(index).unwrap();
    let mut b = yard.queue("b");
    assert_eq!(try_claim(&mut b, "T-1").unwrap().epoch, 2);
    let told = holder::heartbeat(&mut a, &id("T-1"), None, None).unwrap_err();
    assert_eq!(told.kind, Kind::Fenced);
}

/// A machine had fetched a lease and was killed before its file was written, then a clean-up deleted the lease ref: the machine
/// forgot the lease, its file had never had the epoch, and it handed the same one out: seed 401457.
#[test]
fn an_epoch_that_was_fetched_and_reached_no_file_is_not_given_twice() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    assert_eq!(try_claim(&mut a, "T-1").unwrap().epoch, 1);
    b.world.disk = RiggedDisk::once("t-1.lock", || {
        die();
    });
    killed(|| sync_all(&mut b));
    let mut b = yard.queue("b");
    assert_eq!(task(&b, "T-1").epoch(), 0, "its file does not know of the lease");
    git(&yard, &["update-ref", "-d", "refs/orch/leases/T-1"]);
    assert_eq!(try_claim(&mut b, "T-1").unwrap().epoch, 2);
}

/// Somebody pushed something that is no commit as a lease ref: from then on every fetch of every machine
/// failed.
#[test]
fn rubbish_in_a_lease_ref_blocks_only_its_task() {
    let (yard, mut a, _b) = two(&["T-1"]);
    let blob = git(&yard, &["hash-object", "-w", "config"]);
    git(&yard, &["update-ref", "refs/orch/leases/GHOST", &blob]);
    sync_all(&mut a);
    try_claim(&mut a, "T-1").unwrap();
    let notices = a.notices();
    assert!(notices.iter().any(|notice| notice.contains("GHOST")), "{notices:?}");
    assert_eq!(try_claim(&mut a, "GHOST").unwrap_err().kind, Kind::Damaged);
}

/// One ref was declined by the remote. What had been accepted in the same push was not noted, so it counted
/// as unpublished and was pushed again by every command.
#[test]
fn one_declined_ref_holds_up_no_other() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut a, "T-1").unwrap();
    offline(&mut a, |a| checkpoint(a, "T-1")).unwrap();
    let hook = yard.remote().join("hooks/update");
    crate::world::program::install(&hook, "#!/bin/sh\ncase $1 in refs/orch/leases/*) exit 1;; esac\n")
        .unwrap();
    add(&mut a, "T-2", &[]);
    let waiting: Vec<String> = a.store.unpublished().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(waiting, ["T-1"]);
    sync_all(&mut b);
    assert_eq!(status(&b, "T-2"), Status::Pending);
}

/// A tree with a directory where a task's file belongs blocks that task, not the queue.
#[test]
fn a_directory_in_the_place_of_a_task_blocks_only_that_task() {
    let (yard, mut a, mut b) = two(&["T-1", "T-2"]);
    let path = crate::store::layout::tree_path(&id("T-1"));
    let work = tempfile::tempdir().unwrap();
    let script = format!(
        "git clone -q -b orch-state {} {w} && cd {w} && rm {path} && mkdir {path} && echo x > {path}/x && \
         git add -A && git -c user.name=x -c user.email=x@x commit -qm x && git push -q origin orch-state",
        yard.remote().display(),
        w = work.path().join("clone").display()
    );
    let made = std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(made.success());
    sync_all(&mut a);
    add(&mut a, "T-3", &[]);
    let _ = crate::usecase::edit::note(&mut a, &id("T-1"), "still here");
    try_claim(&mut a, "T-2").unwrap();
    add(&mut a, "T-4", &[]);
    sync_all(&mut b);
    assert_eq!((status(&b, "T-3"), status(&b, "T-4")), (Status::Pending, Status::Pending));
}

/// A claim had stood, but before its session read the branch again an operator had cancelled the task and put it
/// back, and another session had claimed it. The read found the claim in the history and the lease of the other
/// session in the task, and told both sessions that they hold epoch 2.
#[test]
fn a_lease_that_it_finds_is_not_its_own() {
    let (yard, mut a, _b) = two(&["T-1"]);
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            let mut b = other.queue("b");
            operator::cancel(&mut b, &id("T-1"), "wrong").unwrap();
            operator::retry(&mut b, &id("T-1"), None).unwrap();
            assert_eq!(try_claim(&mut b, "T-1").unwrap().epoch, 2);
            Fate::Pass
        }),
    );
    let told = try_claim(&mut a, "T-1").unwrap_err();
    assert_eq!((told.kind, told.code), (Kind::Conflict, "moved"));
    done(&mut yard.queue("b"), "T-1").unwrap();
}

/// A cancellation was accepted, the read after it failed, and it was taken back. Another machine had fetched it
/// by then and was about to fold it: its push brought the cancellation onto the branch after a third one had
/// found no trace of it and confirmed a claim, which was void from then on.
#[test]
fn what_may_be_folded_at_this_moment_is_not_taken_back() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    let mut pushed = false;
    rig_remote(&mut a, move |at| {
        pushed |= at == At::AfterPush;
        if pushed && at == At::BeforeRefs { Fate::Lost } else { Fate::Pass }
    });
    let told = operator::cancel(&mut a, &id("T-1"), "wrong").unwrap_err();
    assert_eq!(told.kind, Kind::Unreachable);
    assert_eq!(lease_refs(&yard), "refs/orch/leases/T-1", "whether it is folded is nobody's knowledge");
    sync_all(&mut b);
    let mut a = yard.queue("a");
    assert_eq!(sync_all(&mut a).rejected, []);
    assert_eq!((status(&a, "T-1"), lease_refs(&yard)), (Status::Cancelled, String::new()));
}

/// The story: a replanning was accepted, and the disk of its own machine failed before it could look at the branch. Only where
/// the remote had failed was it left alone; here it was taken back, while another machine folded it. The holder went on upon a
/// lease ref that was void, and the checkpoint that it was told of was lost: seed 723600.
#[test]
fn what_may_be_folded_is_not_taken_back_either_when_the_own_disk_fails() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut b, "T-1").unwrap();
    sync_all(&mut a);
    let lock = a.store.layout.own().join("locks/fetch.lock");
    let (broken, other) = (lock.clone(), yard.clone());
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            // Another machine moves the branch, so that there is something to fetch, and hears of the replanning. It folds later.
            let mut c = other.queue("c");
            c.store.set_meta("folded", &u64::MAX.to_string()).unwrap();
            add(&mut c, "T-2", &[]);
            fetch::fetch(&c.cx()).unwrap();
            let _ = std::fs::remove_file(&broken);
            std::fs::create_dir(&broken).unwrap();
            Fate::Pass
        }),
    );
    let what = Replan { notes: "another way".to_owned(), ..Replan::default() };
    let told = operator::replan(&mut a, &id("T-1"), &what).unwrap_err();
    std::fs::remove_dir(&lock).unwrap();
    assert_eq!(lease_refs(&yard), "refs/orch/leases/T-1", "nobody has folded yet");
    // Its fold was on its way all the time.
    let mut c = yard.queue("c");
    rig_remote(&mut c, at_nth(At::AfterPush, 1, die));
    killed(|| publish::publish(&c.cx(), publish::Scope::WaitingAndFolds));
    assert_eq!(checkpoint(&mut b, "T-1").unwrap_err().kind, Kind::Fenced, "the replanning stands");
    assert!(told.message.contains("may have been accepted"), "{told}");
    assert!(told.hint.as_ref().unwrap().contains("orch show T-1"), "{told}");
    let mut a = yard.queue("a");
    sync_all(&mut a);
    assert_eq!((status(&a, "T-1"), lease_refs(&yard)), (Status::Pending, String::new()));
}

/// The read after a swap remembered that the lease ref was gone, but not the branch into which it had been folded
/// meanwhile. Against the older branch this machine's own operation did not fit any more, and it was reported
/// as refused although it stood.
#[test]
fn what_was_folded_during_a_swap_is_not_reported_as_refused() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    try_claim(&mut b, "T-1").unwrap();
    // This machine has just folded, so it leaves the next fold to others.
    a.store.set_meta("folded", &u64::MAX.to_string()).unwrap();
    operator::cancel(&mut a, &id("T-1"), "wrong").unwrap();
    assert_eq!(lease_refs(&yard), "refs/orch/leases/T-1", "the cancellation waits for its fold");
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            sync_all(&mut other.queue("c"));
            Fate::Pass
        }),
    );
    operator::retry(&mut a, &id("T-1"), None).unwrap();
    assert_eq!(rejected::all(&a.cx()).unwrap(), []);
    assert_eq!(sync_all(&mut yard.queue("a")).rejected, []);
    assert_eq!(status(&a, "T-1"), Status::Pending);
}

/// A claim was pushed and its process died. The session claimed again; the claim still stood in the history when
/// it was looked for, but the task had been cancelled, put back and claimed by somebody else. It was confirmed
/// once more all the same: epoch 1, after epoch 2 had been given away.
#[test]
fn a_claim_that_is_over_is_not_confirmed_again() {
    let (yard, mut a, _b) = two(&["T-1"]);
    rig_remote(&mut a, at_nth(At::BeforeRefs, 1, die));
    killed(|| try_claim(&mut a, "T-1"));
    let (mut a, other) = (yard.queue("a"), yard.clone());
    rig_remote(
        &mut a,
        at_nth(At::BeforeRefs, 2, move || {
            let mut b = other.queue("b");
            operator::cancel(&mut b, &id("T-1"), "wrong").unwrap();
            operator::retry(&mut b, &id("T-1"), None).unwrap();
            assert_eq!(try_claim(&mut b, "T-1").unwrap().epoch, 2);
            Fate::Pass
        }),
    );
    assert_eq!(try_claim(&mut a, "T-1").unwrap_err().kind, Kind::Conflict);
}

/// A claim was pushed, could not be confirmed and was to be taken back, but the deletion was late. Meanwhile the same
/// session claimed again: it found its claim, confirmed the very object that the deletion named, and was told that it
/// held the task when the deletion arrived. Then somebody else was told the same epoch.
#[test]
fn a_deletion_that_is_late_does_not_take_a_claim_that_was_told() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    rig_remote(&mut a, at_nth(At::BeforeRefs, 1, die));
    killed(|| try_claim(&mut a, "T-1"));
    let named = git(&yard, &["rev-parse", "refs/orch/leases/T-1"]);
    let mut a = yard.queue("a");
    let told = try_claim(&mut a, "T-1").unwrap();
    assert_eq!((told.epoch, told.repeated), (1, true));
    assert_ne!(git(&yard, &["rev-parse", "refs/orch/leases/T-1"]), named, "the deletion would still fit");
    assert_eq!(try_claim(&mut b, "T-1").unwrap_err().kind, Kind::Conflict);
    done(&mut a, "T-1").unwrap();
}

/// The answer to a claim was lost, and the ref was as before when it was read: the claim had been void and was
/// replaced, folded and deleted. It was pushed again, the very same object, and confirmed, because the task was
/// free by then. A machine that had seen it void deleted it by its id.
#[test]
fn what_was_pushed_without_an_answer_is_not_pushed_again() {
    let (yard, mut a, _b) = two(&["T-1"]);
    let seen = Rc::new(RefCell::new(String::new()));
    let (other, first) = (yard.clone(), seen.clone());
    rig_remote(
        &mut a,
        at_nth(At::AfterPush, 1, move || {
            *first.borrow_mut() = git(&other, &["rev-parse", "refs/orch/leases/T-1"]);
            git(&other, &["update-ref", "-d", "refs/orch/leases/T-1"]);
            Fate::Lost
        }),
    );
    assert_eq!(try_claim(&mut a, "T-1").unwrap().epoch, 1);
    assert_ne!(git(&yard, &["rev-parse", "refs/orch/leases/T-1"]), *seen.borrow());
}

/// The story: a claim carried along what this machine had written and not yet published. A command that found it on
/// the lease ref told its user that it was published; then the claim was taken back, and it was gone from the remote
/// (simulation, seed 50975). It goes to the branch, before the claim where that can be.
#[test]
fn an_edit_that_waits_goes_to_the_branch_before_a_claim() {
    let (yard, mut a, _b) = two(&["T-1"]);
    offline(&mut a, |a| crate::usecase::edit::note(a, &id("T-1"), "kept here")).unwrap();
    try_claim(&mut a, "T-1").unwrap();
    assert_eq!(
        notes_at(&yard, "refs/heads/orch-state"),
        1,
        "it is where it stays, whatever becomes of the claim"
    );
}

/// The same where neighbours on a faster link move the branch again and again: the claim does not wait for ever.
#[test]
fn an_edit_that_does_not_get_through_holds_up_no_claim() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    offline(&mut a, |a| crate::usecase::edit::note(a, &id("T-1"), "kept here")).unwrap();
    let mut others = 0;
    rig_remote(&mut a, move |at| {
        if at == At::BeforePush && others < 12 {
            others += 1;
            add(&mut b, &format!("B-{others}"), &[]);
        }
        Fate::Pass
    });
    try_claim(&mut a, "T-1").unwrap();
    assert_eq!((notes_at(&yard, LEASE), notes_at(&yard, "refs/heads/orch-state")), (0, 0));
    sync_all(&mut a);
    assert_eq!((notes_at(&yard, LEASE), notes_at(&yard, "refs/heads/orch-state")), (0, 1));
    done(&mut a, "T-1").unwrap();
    assert_eq!(count(&task(&a, "T-1"), |action| matches!(action, Action::Note { .. })), 1);
}

/// The story: neighbours on a faster link moved the branch again and again, so a machine could publish none of its new
/// tasks, and `pick` tried for each of them in turn until its time was over, although others were ready (soak).
#[test]
fn a_pick_tries_once_to_publish_what_only_this_machine_knows() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    let urgent =
        |name: &str| Definition { title: name.to_owned(), priority: Priority::P0, ..Definition::default() };
    offline(&mut a, |a| {
        for name in (1..10).map(|n| format!("A-{n}")) {
            crate::usecase::add::add(a, Some(id(&name)), urgent(&name)).unwrap();
        }
    });
    let pushes = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = std::rc::Rc::clone(&pushes);
    rig_remote(&mut a, move |at| {
        if at == At::BeforePush {
            seen.set(seen.get() + 1);
            add(&mut b, &format!("B-{}", seen.get()), &[]);
        }
        Fate::Pass
    });
    let claimed = claim::pick(&mut a, &Terms::default()).unwrap();
    assert!(!claimed.task.id().as_str().starts_with('A'), "{}", claimed.task.id());
    assert!(pushes.get() < 2 * 12, "{} pushes", pushes.get());
}

const LEASE: &str = "refs/orch/leases/T-1";

/// How many notes a ref of the remote has of T-1.
fn notes_at(yard: &Yard, name: &str) -> usize {
    let path = crate::store::layout::tree_path(&id("T-1"));
    git(yard, &["cat-file", "blob", &format!("{name}:{path}")]).matches("do: note").count()
}
