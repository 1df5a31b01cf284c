//! Hand edits: whatever stands in an edited file, it is refused with the key at fault, or means what its history
//! tells and one edit on top.

use orch::protocol::edit::interpret;
use orch::protocol::id::OpId;
use orch::protocol::invariant;
use orch::protocol::merge;
use orch::protocol::op::{Action, Op, Patch, Role};
use orch::protocol::task::Task;
use orch::protocol::time::Timestamp;
use orch::protocol::transition::{Rejected, next, replay};

/// Holds for an edited file and, behind a line of `=====`, the newest version that is known.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut files = crate::files(text);
    let Some(edited) = files.next().and_then(crate::task) else { return };
    let known = files.next().and_then(crate::task);
    match interpret(&edited, known.as_ref()) {
        Err(why) => assert!(!why.key().is_empty() && !why.to_string().is_empty()),
        Ok((told, patch)) => {
            it_replays(&edited, &told);
            the_edit_leads_there(&edited, &told, patch);
            if let Some(known) = &known {
                nothing_known_was_changed(known, &told);
                let merged = merge::rebase(known, &told, "m-1");
                assert!(merged.task.history().starts_with(known.history()));
            }
        }
    }
}

fn it_replays(edited: &Task, told: &Task) {
    assert_eq!(told.history(), edited.history());
    assert_eq!(invariant::check(told), vec![]);
    let replayed = replay(told.id(), told.history()).expect("`interpret` has just replayed it");
    assert_eq!((told.status(), told.def()), (replayed.status(), replayed.def()));
    assert_eq!(told.lease(), edited.lease(), "the heartbeats of a lease are taken from the file");
}

fn the_edit_leads_there(edited: &Task, told: &Task, patch: Option<Patch>) {
    let Some(patch) = patch else {
        assert_eq!(told.def(), edited.def());
        return;
    };
    let mut def = told.def().clone();
    patch.apply(&mut def);
    assert_eq!(&def, edited.def());
    let action = Action::Edit(Box::new(patch));
    let by = "someone".to_owned();
    let op = Op {
        id: OpId::new(1, [255; 10]),
        at: Timestamp(1),
        by,
        machine: "m-1".to_owned(),
        role: Role::Author,
        action,
    };
    if told.has_op(&op) {
        return;
    }
    match next(Some(told), told.id(), &op) {
        Ok(after) => {
            assert_eq!(after.def(), edited.def());
            assert_eq!(invariant::check(&after), vec![]);
        }
        Err(Rejected::NeedsItself) => {}
        Err(_) => assert!(told.status().is_terminal(), "only an ended task takes no edit"),
    }
}

fn nothing_known_was_changed(known: &Task, told: &Task) {
    for op in known.history() {
        let here = told.history().iter().find(|here| here.id == op.id);
        assert!(here.is_none_or(|here| here == op), "an operation of the log was changed");
    }
}
