//! Tasks for the tests of this room, made by the same transition function as real ones.

use std::time::Duration;

use crate::protocol::id::{OpId, TaskId};
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::{Definition, Task};
use crate::protocol::time::Timestamp;
use crate::protocol::transition::next;

/// The moment of every operation.
pub const AT: Timestamp = Timestamp(1_770_000_000_000);

/// A pending task.
pub fn task(id: &str, title: &str) -> Task {
    let def = Definition { title: title.to_owned(), ..Definition::default() };
    defined(id, def)
}

/// A pending task with this definition.
pub fn defined(id: &str, def: Definition) -> Task {
    let id = TaskId::parse(id).unwrap();
    next(None, &id, &op("author", 1, Action::Add(Box::new(def)))).unwrap()
}

/// A task in progress for 15 minutes.
pub fn claimed(id: &str, title: &str, session: &str) -> Task {
    let claim = Action::Claim { base: 0, epoch: 1, ttl: Duration::from_secs(900), process: None, over: None };
    apply(&task(id, title), op(session, 2, claim))
}

/// The task after an operation.
pub fn apply(task: &Task, op: Op) -> Task {
    next(Some(task), task.id(), &op).unwrap()
}

/// An operation with a fixed time.
pub fn op(by: &str, number: u8, action: Action) -> Op {
    Op {
        id: OpId::new(AT.0, [number; 10]),
        at: AT,
        by: by.to_owned(),
        machine: "m-test".to_owned(),
        role: Role::Author,
        action,
    }
}
