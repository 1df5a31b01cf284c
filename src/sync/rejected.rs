//! What the register refused by the time it arrived: kept, reported, never dropped silently.

use crate::protocol::id::TaskId;
use crate::protocol::op::Op;
use crate::protocol::value::{Value, map};
use crate::store::json;
use crate::store::wire;

use super::context::{Cx, SyncError};

/// One refused operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// Operation id.
    pub op: String,
    /// Task id.
    pub task: String,
    /// What it would have done: the word under `do:`.
    pub verb: String,
    /// Why it was refused.
    pub reason: String,
}

/// Keeps a refused operation under `.git/orch/rejected/`.
///
/// # Errors
/// It cannot be written.
pub fn keep(cx: &Cx<'_>, id: &TaskId, op: &Op, reason: &str) -> Result<(), SyncError> {
    let value = map([
        ("task", Some(Value::str(id.as_str()))),
        ("reason", Some(Value::str(reason))),
        ("operation", Some(wire::op_to_value(op))),
    ]);
    let path = cx.store.layout.rejected().join(format!("{}.json", op.id));
    Ok(cx.store.write_durable(cx.world, &path, json::to_text(&value).as_bytes())?)
}

/// Everything that was refused, oldest first.
///
/// # Errors
/// The directory cannot be read.
pub fn all(cx: &Cx<'_>) -> Result<Vec<Rejection>, SyncError> {
    let dir = cx.store.layout.rejected();
    let names = cx.store.list_local(cx.world, &dir)?;
    let mut found = Vec::new();
    for name in names {
        let Ok(bytes) = cx.world.disk.read(&dir.join(&name), 1 << 20) else { continue };
        let Some(value) = json::from_text(&String::from_utf8_lossy(&bytes)) else { continue };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let op = value.get("operation");
        found.push(Rejection {
            op: text(op.and_then(|op| op.get("op"))),
            task: text(value.get("task")),
            verb: text(op.and_then(|op| op.get("do"))),
            reason: text(value.get("reason")),
        });
    }
    Ok(found)
}

/// A refused operation as it was issued.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// The task that it was meant for.
    pub task: TaskId,
    /// The operation.
    pub op: Op,
    /// Why it was refused.
    pub reason: String,
}

/// Everything that was refused and can still be read, oldest first.
///
/// # Errors
/// The directory cannot be listed.
pub fn operations(cx: &Cx<'_>) -> Result<Vec<Refused>, SyncError> {
    let dir = cx.store.layout.rejected();
    let read = |name: &String| {
        let bytes = cx.world.disk.read(&dir.join(name), 1 << 20).ok()?;
        let value = json::from_text(&String::from_utf8_lossy(&bytes))?;
        Some(Refused {
            task: TaskId::parse(value.get("task")?.as_str()?).ok()?,
            op: wire::op_from_value(value.get("operation")?).ok()?,
            reason: value.get("reason")?.as_str()?.to_owned(),
        })
    };
    Ok(cx.store.list_local(cx.world, &dir)?.iter().filter_map(read).collect())
}
