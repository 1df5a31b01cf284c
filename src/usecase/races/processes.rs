//! Processes of one machine in each other's way.

use std::time::Duration;

use super::rig::{At, Fate, RiggedDisk, at_nth, rig_remote};
use super::*;
use crate::sync::absorb;
use crate::sync::fetch::Fetched;
use crate::usecase::edit;
use crate::usecase::error::Kind;
use crate::usecase::testing::{add, replace};
use crate::world::PushOutcome;

/// A process had read the shared versions and waited for the lock of the file; meanwhile another one had
/// fetched and written newer ones. The first wrote the older version over it, and nobody looked again.
#[test]
fn an_older_view_never_overwrites_a_newer_one() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    edit::note(&mut b, &id("T-1"), "first").unwrap();
    change::fetch_now(&mut a).unwrap();
    try_claim(&mut b, "T-1").unwrap();
    let other = yard.clone();
    a.world.disk = RiggedDisk::once("t-1.lock", move || {
        sync_all(&mut other.queue("a"));
    });
    absorb::absorb(&a.cx(), &id("T-1"), &mut Fetched::default()).unwrap();
    assert_eq!(status(&a, "T-1"), Status::InProgress);
}

/// A worker's heartbeat was accepted while another process of its session finished the task. The heartbeat came back as
/// a failure of orch itself; and where somebody else had claimed the task by then, it came back as a success with that
/// lease.
#[test]
fn a_heartbeat_that_met_the_end_of_its_lease_says_so() {
    let (yard, mut a, _b) = two(&["T-1", "T-2"]);
    for (name, lock, next) in [("T-1", "t-1.lock", None), ("T-2", "t-2.lock", Some("somebody"))] {
        let epoch = try_claim(&mut a, name).unwrap().epoch;
        let other = yard.clone();
        a.world.disk = RiggedDisk::once(lock, move || {
            let mut q = other.queue("a");
            match next {
                None => drop(done(&mut q, name).unwrap()),
                Some(next) => {
                    holder::release(&mut q, &id(name), Some(epoch), None, None).unwrap();
                    q.set_session(next);
                    try_claim(&mut q, name).unwrap();
                }
            }
        });
        let told = holder::heartbeat(&mut a, &id(name), Some(epoch), None).unwrap_err();
        let expected = if next.is_some() { Kind::Fenced } else { Kind::Conflict };
        assert_eq!(told.kind, expected, "{}", told.message);
    }
}

/// Two machines added one id, and it was the watchdog of the second machine that met the first one's task. The command
/// that had added the second answered with the id that was another task by then.
#[test]
fn who_adds_a_task_learns_its_new_id_also_from_another_process() {
    let (yard, mut a, mut b) = two(&[]);
    add(&mut b, "T-1", &[]);
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::BeforeRefs, 1, move || {
            sync_all(&mut other.queue("a"));
            Fate::Pass
        }),
    );
    let def = crate::protocol::task::Definition { title: "of a".to_owned(), ..Default::default() };
    let added = crate::usecase::add::add(&mut a, Some(id("T-1")), def).unwrap();
    assert_eq!(added.task.id(), &id("T-1-2"));
    assert!(a.notices().iter().any(|text| text.contains("is T-1-2 now")), "{:?}", a.notices());
    assert_eq!(task(&a, "T-1-2").def().title, "of a");
}

/// A process had listed the remote when another one fetched newer settings. The first put the older file in
/// their place, and the next push published it as if a person had written it.
#[test]
fn older_settings_never_overwrite_newer_ones() {
    let (yard, mut a, mut b) = two(&["T-1"]);
    let path = |q: &Queue| q.store.layout.state().join("workflow.yaml");
    replace(&path(&b), "workflow: simple", "workflow: events");
    add(&mut b, "T-2", &[]);
    let other = yard.clone();
    rig_remote(
        &mut a,
        at_nth(At::AfterRefs, 1, move || {
            let mut b = other.queue("b");
            replace(&path(&b), "workflow: events", "workflow: simple # again");
            add(&mut b, "T-3", &[]);
            sync_all(&mut other.queue("a"));
            Fate::Pass
        }),
    );
    change::fetch_now(&mut a).unwrap();
    let text = std::fs::read_to_string(path(&a)).unwrap();
    assert!(text.contains("# again"), "{text}");
}

/// A process looked for uncommitted changes, found none, and let go of the commit lock without looking again;
/// whoever had met the lock meanwhile relied on that look, and its change stayed uncommitted.
#[test]
fn a_change_that_met_the_commit_lock_is_committed() {
    let yard = Rc::new(Yard::local());
    let mut p = yard.queue("a");
    let other = yard.clone();
    p.world.disk = RiggedDisk::once("prompts", move || add(&mut other.queue("a"), "T-1", &[]));
    p.settle().unwrap();
    assert!(p.store.unpublished().unwrap().is_empty());
}

/// Two processes wanted to move one ref in one push. The second was told that the remote refuses it, which
/// nobody had asked; if the first one's push was lost as well, that was reported as policy.
#[test]
fn a_ref_that_was_not_even_sent_is_not_refused_by_the_remote() {
    let (_yard, a, _b) = two(&["T-1"]);
    let cx = a.cx();
    let head = a.world.objects.get_ref(&cx.names.branch).unwrap().unwrap();
    let name = "refs/orch/leases/X";
    let update = crate::world::RefUpdate { name: name.to_owned(), expected: None, new: Some(head) };
    let me = a.world.process.me();
    let request = a.store.layout.outbox().join("waiting.push");
    let other = "1".repeat(40);
    std::fs::write(&request, format!("{} {} {}\n- {other} {name}\n", me.pid, me.start, me.boot)).unwrap();
    let told = crate::sync::group_push::push(&cx, &[update]).unwrap();
    assert_eq!(told, [PushOutcome::Accepted]);
    let answer = std::fs::read_to_string(request.with_extension("answer")).unwrap();
    assert!(answer.starts_with("unknown "), "{answer}");
}

/// A process that was killed while it waited for its share of a push never fetched its answer: those files
/// stayed for ever.
#[test]
fn answers_that_nobody_fetched_go_away() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    let answer = a.store.layout.outbox().join("gone.answer");
    std::fs::write(&answer, "accepted \n").unwrap();
    add(&mut a, "T-2", &[]);
    assert!(answer.exists(), "a young one may still be fetched");
    super::rig::rig_clock(&mut a).set(Duration::from_secs(3600));
    add(&mut a, "T-3", &[]);
    assert!(!answer.exists());
}
