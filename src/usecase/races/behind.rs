//! Guards that are seldom the first to notice something: each was taken away once, and nothing was red.

use std::time::Duration;

use super::rig::{At, at_nth, die, killed, rig_remote};
use super::*;
use crate::protocol::op::Op;
use crate::protocol::transition::next;
use crate::store::tasks::Publish;
use crate::sync::context::SyncError;
use crate::sync::fetch::Fetched;
use crate::sync::publish::{Scope, publish};
use crate::sync::shared::{self, Shared, Tip};
use crate::sync::{alarm, register};
use crate::usecase::testing::{add, claim};
use crate::usecase::{edit, held};
use crate::world::{ObjectsError, Oid};

/// One process of a machine raised the alarm in the middle of another one's publishing: what waits there has to go on
/// waiting, since the branch that it would be built upon is not the one that was seen.
#[test]
fn nothing_is_published_while_the_alarm_stands() {
    let (yard, mut a, _b) = two(&["T-1"]);
    offline(&mut a, |a| add(a, "T-2", &[]));
    let before = git(&yard, &["rev-parse", "refs/heads/orch-state"]);
    let _error = alarm::raise(&a.cx(), None);
    assert_eq!(publish(&a.cx(), Scope::Waiting).unwrap().pushed, 0);
    assert_eq!(git(&yard, &["rev-parse", "refs/heads/orch-state"]), before);
    alarm::lower(&a.cx()).unwrap();
    assert_eq!(publish(&a.cx(), Scope::Waiting).unwrap().pushed, 1);
}

/// Two machines added a task by one id. The second learned of the first's while it confirmed a claim of another task, which
/// takes nothing into files; what it published next was a note on a task that is not its own.
#[test]
fn what_belongs_to_another_task_of_the_same_id_is_not_published() {
    let (_yard, mut a, mut b) = two(&["T-1"]);
    add(&mut a, "T-2", &[]);
    offline(&mut b, |b| {
        add(b, "T-2", &[]);
        edit::note(b, &id("T-2"), "about mine").unwrap();
    });
    let other = b.op(Action::Note { text: "never sent".to_owned() });
    register::stands(&b.cx(), &id("T-1"), &other, &mut Fetched::default()).unwrap();
    publish(&b.cx(), Scope::Waiting).unwrap();
    sync_all(&mut b);
    sync_all(&mut a);
    let mine = |action: &Action| matches!(action, Action::Note { text } if text == "about mine");
    let notes = |name: &str| count(&task(&a, name), mine);
    assert_eq!((notes("T-2"), notes("T-2-2")), (0, 1));
}

/// A claim of a task that nobody has held.
fn first_claim() -> Action {
    Action::Claim { base: 0, epoch: 1, ttl: Duration::from_secs(900), process: None, over: None }
}

/// A lease ref that the branch has overtaken is only there to be deleted: one whose claim does not fit any more although
/// something else in it does, and one that holds nothing new.
#[test]
fn a_lease_ref_is_void_once_its_claim_does_not_fit_or_it_adds_nothing() {
    let (_yard, a, b) = two(&["T-1"]);
    let added = task(&a, "T-1");
    let after = |task: &Task, op: &Op| next(Some(task), &id("T-1"), op).unwrap();
    let note = b.op(Action::Note { text: "from before".to_owned() });
    let claimed = after(&after(&added, &note), &b.op(first_claim()));
    let claimed_by_another = after(&added, &a.op(first_claim()));
    let shared = |branch: &Task| {
        let tip = Tip { oid: Oid([1; 20]), task: claimed.clone() };
        Shared { branch: Some(branch.clone()), tip: Some(tip) }
    };
    let live = shared(&added);
    assert!(live.live_tip().is_some() && !live.wants_fold());
    for overtaken in [&claimed_by_another, &claimed] {
        let void = shared(overtaken);
        assert!(void.live_tip().is_none() && void.wants_fold());
    }
}

/// A process died between the push of its claim and the look that confirms it; another one of its machine had taken the
/// claim into the file meanwhile, and then the lease ref was withdrawn. Nobody was told of that claim, so nobody works on
/// the task, and it must not be set up again.
#[test]
fn a_claim_that_nobody_was_told_of_is_not_set_up_again() {
    let (yard, mut a, _b) = two(&["T-1"]);
    rig_remote(&mut a, at_nth(At::AfterPush, 1, die));
    killed(|| try_claim(&mut a, "T-1"));
    let mut a = yard.queue("a");
    sync_all(&mut a);
    assert_eq!(status(&a, "T-1"), Status::InProgress);
    git(&yard, &["update-ref", "-d", "refs/orch/leases/T-1"]);
    register::forget(&a.cx(), &id("T-1")).unwrap();
    a.store.mark(&a.world, &task(&a, "T-1"), Publish::Waiting).unwrap();
    publish(&a.cx(), Scope::Waiting).unwrap();
    assert_eq!(lease_refs(&yard), "");
    sync_all(&mut a);
    assert_eq!(status(&a, "T-1"), Status::Pending);
}

/// A session was told its claim, which somebody's deletion of the lease ref then took; another session of the machine got the
/// same epoch, and its process died before the look that confirms. What the first was told says nothing about the second.
#[test]
fn what_one_session_was_told_confirms_no_claim_of_another() {
    let yard = Yard::local();
    let mut a = yard.queue("a");
    add(&mut a, "T-1", &[]);
    claim(&mut a, "T-1");
    assert!(held::is_confirmed(&a, &task(&a, "T-1")));
    let mut told = a.store.held(&a.world, &id("T-1")).unwrap();
    "agent:another".clone_into(&mut told.session);
    a.store.remember_held(&a.world, &id("T-1"), &told).unwrap();
    assert!(!held::is_confirmed(&a, &task(&a, "T-1")));
}

/// A heartbeat stands in no history, so only the lease can tell whose it was: one of another session, machine or epoch would be
/// told as accepted by a lease that it did not renew.
#[test]
fn a_heartbeat_stands_only_in_a_lease_of_its_own_holder() {
    let (_yard, mut a, _b) = two(&["T-1"]);
    claim(&mut a, "T-1");
    let stands =
        |op: &Op| register::stands(&a.cx(), &id("T-1"), op, &mut Fetched::default()).unwrap().is_some();
    let beat = |epoch| a.op(Action::Heartbeat { epoch, progress: None });
    assert!(stands(&beat(1)));
    assert!(!stands(&beat(2)), "of another epoch");
    assert!(!stands(&Op { by: "agent:another".to_owned(), ..beat(1) }), "of another session");
    assert!(!stands(&Op { machine: "another".to_owned(), ..beat(1) }), "of another machine");
}

/// `git gc` took the commit of a claim before it was pushed. That is no push without an answer, of which nobody knows whether it
/// arrived and which makes the remote look out of reach: nothing has left this machine, and the commit is made anew.
#[test]
fn a_commit_that_was_collected_is_missing_and_no_push_without_an_answer() {
    let (_yard, a, _b) = two(&["T-1"]);
    let (cx, id) = (a.cx(), id("T-1"));
    let (known, added) = (shared::read(&cx, &id).unwrap(), task(&a, "T-1"));
    let mut proposal = register::propose(&cx, &id, &known, &added, &a.op(first_claim())).unwrap().unwrap();
    proposal.commit = Oid([7; 20]);
    let mut retries = 0;
    let swapped = register::swap(&cx, &proposal, &mut retries);
    let missing = SyncError::Objects(ObjectsError::Missing(proposal.commit)).to_string();
    assert_eq!((swapped.map(drop).map_err(|why| why.to_string()), retries), (Err(missing), 0));
}
