//! Archiving against everything that may happen at the same time, and death in the middle of it.

use std::time::Duration;

use super::rig::{At, Fate, RiggedDisk, at_nth, die, killed, rig_clock, rig_remote};
use super::*;
use crate::protocol::task::Definition;
use crate::store::place::Place;
use crate::usecase::audit::audit;
use crate::usecase::error::Kind;
use crate::usecase::gc::{self, Collected};
use crate::usecase::testing::{add, finish};
use crate::usecase::{add as adding, operator, read, verify};

/// Archives everything that has ended.
fn collect(q: &mut Queue) -> Collected {
    q.settings.retention.done = Duration::ZERO;
    rig_clock(q).set(Duration::from_secs(1));
    gc::gc(q, false).unwrap()
}

fn archived(report: &Collected) -> Vec<&str> {
    report.archived.iter().map(crate::protocol::id::TaskId::as_str).collect()
}

/// A done task, and a cancelled one, which `retry` can bring back.
fn ended(q: &mut Queue) {
    add(q, "DONE", &[]);
    add(q, "GIVEN-UP", &[]);
    finish(q, "DONE");
    operator::cancel(q, &id("GIVEN-UP"), "not wanted").unwrap();
    q.settle().unwrap();
    if q.is_shared() {
        sync_all(q);
    }
}

/// Files of tasks, relative to the state directory.
fn files(q: &Queue) -> Vec<String> {
    let mut found = Vec::new();
    for top in ["tasks", "archive"] {
        for folder in std::fs::read_dir(q.root().join(top)).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
                let path = file.path();
                found.push(path.strip_prefix(q.root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn on_branch(yard: &Yard) -> Vec<String> {
    let paths = git(yard, &["ls-tree", "-r", "--name-only", "orch-state"]);
    paths
        .lines()
        .filter(|p| p.starts_with("tasks/") || p.starts_with("archive/"))
        .map(str::to_owned)
        .collect()
}

fn is_archived(q: &Queue, name: &str) -> bool {
    q.store.place(&id(name)).unwrap() != Place::Tasks
}

/// The machines hold what the branch holds, at the same places, and nothing is wrong with it.
fn agree(yard: &Yard, machines: &mut [&mut Queue]) {
    for q in machines.iter_mut() {
        sync_all(q);
    }
    for q in machines.iter_mut() {
        sync_all(q);
        assert_eq!(files(q), on_branch(yard));
        let report = verify::verify(q, &mut |_, _| {}).unwrap();
        assert!(report.ok(), "{report:?}");
        let report = audit(q, &mut |_, _| {}).unwrap();
        assert!(report.ok, "{report:?}");
    }
    assert_eq!(lease_refs(yard), "");
}

/// Two machines archive the same tasks at once: the loser finds them archived, and nothing is there twice.
#[test]
fn two_machines_archive_at_once() {
    let (yard, mut a, mut b) = two(&[]);
    ended(&mut a);
    sync_all(&mut b);
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::BeforePush, 1, move || {
            assert_eq!(archived(&collect(&mut other.queue("b"))), ["DONE", "GIVEN-UP"]);
            Fate::Pass
        }),
    );
    assert_eq!(archived(&collect(&mut a)), ["DONE", "GIVEN-UP"]);
    agree(&yard, &mut [&mut a, &mut b]);
    assert!(on_branch(&yard).iter().all(|path| path.starts_with("archive/")), "{:?}", on_branch(&yard));
}

/// A cancelled task is tried again by another machine while this one pushes it into the archive. Whichever ref
/// is first, the retry counts, and its fold brings the task back.
#[test]
fn a_retry_that_meets_the_archive_wins() {
    for folded in [true, false] {
        let (yard, mut a, mut b) = two(&[]);
        ended(&mut a);
        sync_all(&mut b);
        let other = yard.clone();
        rig_remote(
            &mut a,
            at_nth(At::BeforePush, 1, move || {
                let mut b = other.queue("b");
                if !folded {
                    // A fold a moment ago: the next one waits, and the retry stands on its lease ref only.
                    let now = b.world.clock.monotonic().as_millis().to_string();
                    b.store.set_meta("folded", &now).unwrap();
                }
                operator::retry(&mut b, &id("GIVEN-UP"), None).unwrap();
                if folded {
                    sync_all(&mut b);
                }
                Fate::Pass
            }),
        );
        collect(&mut a);
        if !folded {
            assert_eq!(on_branch(&yard).iter().filter(|p| p.starts_with("archive/")).count(), 2);
        }
        agree(&yard, &mut [&mut a, &mut b]);
        for q in [&a, &b] {
            assert_eq!(status(q, "GIVEN-UP"), Status::Pending, "folded first: {folded}");
            assert!(!is_archived(q, "GIVEN-UP") && is_archived(q, "DONE"));
        }
        claim::claim(&mut b, &id("GIVEN-UP"), &Terms::default()).unwrap();
    }
}

/// The other way round: the archive comes between the push of a retry and the look that confirms it.
#[test]
fn an_archive_that_meets_a_retry_does_not_undo_it() {
    let (yard, mut a, mut b) = two(&[]);
    ended(&mut a);
    sync_all(&mut b);
    for when in [At::BeforePush, At::AfterPush] {
        let other = yard.clone();
        rig_remote(
            &mut b,
            at_nth(when, 1, move || {
                collect(&mut other.queue("a"));
                Fate::Pass
            }),
        );
        operator::retry(&mut b, &id("GIVEN-UP"), None).unwrap();
        agree(&yard, &mut [&mut a, &mut b]);
        assert_eq!((status(&a, "GIVEN-UP"), is_archived(&b, "GIVEN-UP")), (Status::Pending, false));
        operator::cancel(&mut a, &id("GIVEN-UP"), "again").unwrap();
        agree(&yard, &mut [&mut a, &mut b]);
    }
}

/// An archived task that is tried again comes back, and can end and be archived once more; without a remote too.
#[test]
fn a_retry_brings_a_task_back_from_the_archive() {
    for yard in [Yard::local(), Yard::shared()] {
        let mut q = yard.queue("a");
        ended(&mut q);
        assert_eq!(archived(&collect(&mut q)), ["DONE", "GIVEN-UP"]);
        assert_eq!(archived(&collect(&mut q)), Vec::<&str>::new(), "they are there already");
        operator::retry(&mut q, &id("GIVEN-UP"), None).unwrap();
        assert_eq!(files(&q).iter().filter(|path| path.starts_with("tasks/")).count(), 1);
        finish(&mut q, "GIVEN-UP");
        assert_eq!((task(&q, "GIVEN-UP").epoch(), status(&q, "GIVEN-UP")), (1, Status::Done));
        if q.is_shared() {
            sync_all(&mut q);
        }
        assert_eq!(archived(&collect(&mut q)), ["GIVEN-UP"]);
        assert!(files(&q).iter().all(|path| path.starts_with("archive/")), "{:?}", files(&q));
        assert!(verify::verify(&mut q, &mut |_, _| {}).unwrap().ok());
        let again = operator::retry(&mut q, &id("DONE"), None).unwrap_err();
        assert_eq!(again.kind, Kind::Conflict, "done is final, wherever the file lies");
    }
}

/// What is not published, failed, or held by somebody stays among the tasks.
#[test]
fn only_what_is_settled_is_archived() {
    let (yard, mut a, mut b) = two(&["BUSY", "FAILED", "OFFLINE"]);
    claim::claim(&mut b, &id("BUSY"), &Terms::default()).unwrap();
    claim::claim(&mut b, &id("FAILED"), &Terms::default()).unwrap();
    let failure = holder::Failure {
        notes: "no".to_owned(),
        reason: crate::protocol::task::Reason::Error,
        permanent: true,
        retry_after: None,
        bundle: None,
    };
    holder::fail(&mut b, &id("FAILED"), None, &failure).unwrap();
    claim::claim(&mut a, &id("OFFLINE"), &Terms::default()).unwrap();
    sync_all(&mut a);
    offline(&mut a, |a| done(a, "OFFLINE").unwrap());
    a.no_sync = true;
    let kept = collect(&mut a);
    assert_eq!((archived(&kept).len(), kept.ended), (0, 0), "its end is not published");
    a.no_sync = false;
    sync_all(&mut a);
    assert_eq!(archived(&collect(&mut a)), ["OFFLINE"]);
    assert_eq!((is_archived(&a, "BUSY"), is_archived(&a, "FAILED")), (false, false));
    done(&mut b, "BUSY").unwrap();
    agree(&yard, &mut [&mut a, &mut b]);
}

/// A machine dies when the branch has the archive and its files do not; with a remote and without.
#[test]
fn a_death_in_the_middle_leaves_nothing_behind() {
    let (yard, mut a, mut b) = two(&[]);
    ended(&mut a);
    rig_remote(&mut a, at_nth(At::AfterPush, 1, die));
    killed(|| collect(&mut a));
    let mut a = yard.queue("a");
    agree(&yard, &mut [&mut a, &mut b]);
    assert!(is_archived(&a, "DONE") && is_archived(&b, "DONE"));

    let yard = Yard::local();
    let mut q = yard.queue("a");
    ended(&mut q);
    q.world.disk = RiggedDisk::once("done.lock", || {
        die();
    });
    killed(|| collect(&mut q));
    let mut q = yard.queue("a");
    assert!(!is_archived(&q, "DONE"), "the branch has it in the archive, the file is not there yet");
    assert_eq!(archived(&collect(&mut q)), ["DONE", "GIVEN-UP"]);
    assert!(files(&q).iter().all(|path| path.starts_with("archive/")), "{:?}", files(&q));
    assert!(verify::verify(&mut q, &mut |_, _| {}).unwrap().ok());
}

/// The same death without a remote, and the task is tried again before anybody archives again: it must not lie
/// in both places of the branch.
#[test]
fn a_retry_after_such_a_death_leaves_one_file() {
    let yard = Yard::local();
    let mut q = yard.queue("a");
    ended(&mut q);
    q.world.disk = RiggedDisk::once("done.lock", || {
        die();
    });
    killed(|| collect(&mut q));
    let mut q = yard.queue("a");
    operator::retry(&mut q, &id("GIVEN-UP"), None).unwrap();
    collect(&mut q);
    let head = q.world.objects.get_ref(&q.names.branch).unwrap();
    let changes = q.world.objects.diff(None, head).unwrap();
    let paths: Vec<String> = changes.into_iter().map(|change| change.path).collect();
    let of = |name: &str| paths.iter().filter(|path| path.contains(name)).cloned().collect::<Vec<_>>();
    assert_eq!(of("GIVEN-UP"), [crate::store::layout::tree_path(&id("GIVEN-UP"))]);
    assert!(of("DONE").len() == 1 && of("DONE")[0].starts_with("archive/"));
    assert!(audit(&mut q, &mut |_, _| {}).unwrap().ok);
}

/// Files that lie in both places after a death between two steps: the one that counts stays.
#[test]
fn a_file_in_both_places_becomes_one() {
    let (_yard, mut a, _b) = two(&["OPEN"]);
    ended(&mut a);
    collect(&mut a);
    let place = a.store.place(&id("DONE")).unwrap();
    let kept = a.store.layout.file(&id("DONE"), place);
    let extra = a.store.layout.task(&id("DONE"));
    std::fs::create_dir_all(extra.parent().unwrap()).unwrap();
    std::fs::copy(&kept, &extra).unwrap();
    let open = a.store.layout.task(&id("OPEN"));
    let early = kept.with_file_name("OPEN.yaml");
    std::fs::copy(&open, &early).unwrap();
    crate::usecase::notice::look_at_all(&mut a).unwrap();
    crate::usecase::notice::look_at_all(&mut a).unwrap();
    assert!(kept.exists() && !extra.exists() && open.exists() && !early.exists(), "{:?}", files(&a));
    assert!(verify::verify(&mut a, &mut |_, _| {}).unwrap().ok());
}

/// Absence is never a deletion, in the archive neither; and an edit there is refused, reported and mended.
#[test]
fn archived_files_are_restored_and_not_edited() {
    for yard in [Yard::local(), Yard::shared()] {
        let mut q = yard.queue("a");
        ended(&mut q);
        collect(&mut q);
        let before = files(&q);
        std::fs::remove_dir_all(q.store.layout.archive()).unwrap();
        let mut q = yard.queue("a");
        assert_eq!(files(&q), before);
        let path = q.store.file(&q.world, &id("DONE")).unwrap();
        crate::usecase::testing::replace(&path, "title of DONE", "another title");
        let report = verify::verify(&mut q, &mut |_, _| {}).unwrap();
        let found: Vec<_> = report.problems.iter().map(|p| (p.task.clone(), p.file.clone())).collect();
        let relative = path.strip_prefix(q.root()).unwrap().display().to_string();
        assert_eq!(found, [(Some(id("DONE")), Some(relative))], "{report:?}");
        assert!(read::show(&mut q, &id("DONE")).is_err());
        crate::usecase::testing::replace(&path, "another title", "title of DONE");
        let report = verify::verify(&mut q, &mut |_, _| {}).unwrap();
        assert!(report.ok(), "{report:?}");
        assert_eq!(files(&q), before);
    }
}

/// An archived task is as known as any other: to needs, idempotency keys, ids, new clones and rebuilt indexes.
#[test]
fn an_archived_task_is_still_known() {
    let yard = Yard::shared();
    let mut a = yard.queue("a");
    let keyed = Definition {
        title: "once".to_owned(),
        idempotency_key: Some("key".to_owned()),
        ..Definition::default()
    };
    adding::add(&mut a, Some(id("ONCE")), keyed.clone()).unwrap();
    finish(&mut a, "ONCE");
    sync_all(&mut a);
    let floor = a.store.highest_epoch(&a.world, &id("ONCE")).unwrap();
    collect(&mut a);
    let rebuilt = |q: Queue, name: &str| {
        let index = q.store.layout.index();
        drop(q);
        std::fs::remove_file(index).unwrap();
        yard.queue(name)
    };
    let a = rebuilt(a, "a");
    let mut fresh = yard.queue("c");
    sync_all(&mut fresh);
    for mut q in [a, fresh] {
        assert!(is_archived(&q, "ONCE"));
        assert!(read::list(&mut q, &read::Filter::default()).unwrap().iter().all(|t| *t.id() != id("ONCE")));
        let filter = read::Filter { archived: true, ..read::Filter::default() };
        assert_eq!(read::list(&mut q, &filter).unwrap().len(), 1);
        assert_eq!(read::show(&mut q, &id("ONCE")).unwrap().status(), Status::Done);
        assert!(q.notices().iter().any(|n| n.contains("ONCE is archived: archive/")));
        assert_eq!(q.store.highest_epoch(&q.world, &id("ONCE")).unwrap(), floor);
        let twin = adding::add(&mut q, None, keyed.clone()).unwrap();
        assert_eq!((twin.task.id(), twin.created), (&id("ONCE"), false));
        for taken in ["ONCE", "once"] {
            let def = Definition { title: "new".to_owned(), ..Definition::default() };
            assert_eq!(adding::add(&mut q, Some(id(taken)), def).unwrap_err().code, "exists");
        }
        let next = format!("NEXT-{}", q.machine);
        add(&mut q, &next, &["ONCE"]);
        claim::claim(&mut q, &id(&next), &Terms::default()).unwrap();
    }
}

/// Many archived files at once, of which the index knows nothing, stay where they are; one that lies among the tasks
/// although the branch has it in the archive goes there.
#[test]
fn a_lost_index_finds_a_large_archive() {
    let yard = Yard::local();
    let mut q = yard.queue("a");
    let names: Vec<String> = (0..70).map(|n| format!("T-{n:02}")).collect();
    let def = |name: &String| {
        (Some(id(name)), Definition { title: "one of many".to_owned(), ..Definition::default() })
    };
    adding::add_all(&mut q, names.iter().map(def).collect()).unwrap();
    for name in &names {
        operator::cancel(&mut q, &id(name), "not wanted").unwrap();
    }
    assert_eq!(archived(&collect(&mut q)), names);
    let (before, index) = (files(&q), q.store.layout.index());
    let (kept, stray) = (q.store.file(&q.world, &id("T-07")).unwrap(), q.store.layout.task(&id("T-07")));
    drop(q);
    std::fs::remove_file(index).unwrap();
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::rename(kept, stray).unwrap();
    let q = yard.queue("a");
    assert_eq!(files(&q), before);
    assert!(names.iter().all(|name| is_archived(&q, name)));
    assert_eq!(q.store.unpublished().unwrap(), []);
    assert!(q.strays.is_empty());
}

/// An id was used, ended and archived by others while this machine was offline and used it too.
#[test]
fn an_offline_addition_does_not_meet_the_archive() {
    let (yard, mut a, mut b) = two(&[]);
    offline(&mut b, |b| add(b, "DONE", &[]));
    ended(&mut a);
    collect(&mut a);
    agree(&yard, &mut [&mut a, &mut b]);
    assert_eq!((status(&b, "DONE"), status(&b, "DONE-2")), (Status::Done, Status::Pending));
    assert!(is_archived(&b, "DONE") && !is_archived(&b, "DONE-2"));
}

/// Entries of the archive that no orch wrote are reported and never followed.
#[test]
fn hostile_entries_of_the_archive_are_quarantined() {
    let (yard, mut a, mut b) = two(&[]);
    ended(&mut a);
    let text = std::fs::read(a.store.layout.task(&id("DONE"))).unwrap();
    collect(&mut a);
    sync_all(&mut b);
    let script = format!(
        "blob=$(git hash-object -w --stdin < {task}) && link=$(printf /etc/passwd | git hash-object -w --stdin) && \
         export GIT_INDEX_FILE=$PWD/hostile && git read-tree orch-state && \
         git update-index --add --cacheinfo 100644,$blob,archive/2020-01/OTHER.yaml \
         --cacheinfo 120000,$link,archive/2020-01/LINK.yaml --cacheinfo 100644,$blob,archive/evil/X.yaml \
         --cacheinfo 120000,$link,archive/2020-02 && \
         git -c user.name=x -c user.email=x@y commit-tree -p orch-state -m x $(git write-tree) | \
         xargs git update-ref refs/heads/orch-state",
        task = {
            let path = yard.remote().join("done.yaml");
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        }
    );
    let ran = Command::new("sh").arg("-c").arg(script).current_dir(yard.remote()).status().unwrap();
    assert!(ran.success());
    let before = files(&b);
    sync_all(&mut b);
    assert_eq!(files(&b), before, "nothing of it reaches the disk");
    let report = verify::verify(&mut b, &mut |_, _| {}).unwrap();
    let told = format!("{report:?}");
    for name in ["OTHER", "LINK", "archive/evil/X.yaml", "archive/2020-02"] {
        assert!(told.contains(name), "{name}: {told}");
    }
    let report = audit(&mut b, &mut |_, _| {}).unwrap();
    assert!(format!("{report:?}").contains("archive/evil/X.yaml"), "{report:?}");
    add(&mut b, "STILL", &[]);
    finish(&mut b, "STILL");
}
