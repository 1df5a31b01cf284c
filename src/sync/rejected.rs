//! What the register refused by the time it arrived: kept, reported, never dropped silently.

use crate::protocol::id::TaskId;
use crate::protocol::op::Op;
use crate::protocol::value::{Value, map};
use crate::store::json;
use crate::store::wire;

use super::context::{Cx, SyncError};

/// How the names of notes end; the bytes of files have other names.
const NOTE: &str = ".json";

/// One refused operation, or one version of a shared file that another one was put in place of.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// Operation id; of a file, the name of the copy that is kept.
    pub op: String,
    /// Task id; empty for a file.
    pub task: String,
    /// Path of the file on the branch, if it is one.
    pub file: Option<String>,
    /// What it would have done: the word under `do:`.
    pub verb: String,
    /// Why it was refused.
    pub reason: String,
}

impl Rejection {
    /// What was refused, in words: `done of T-1`, `edit of orch.yaml`.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} of {}", self.verb, self.file.as_deref().unwrap_or(&self.task))
    }
}

/// Keeps the bytes of a shared file that another version was put in place of; gives the copy and what to say.
///
/// # Errors
/// They cannot be written.
pub fn keep_file(cx: &Cx<'_>, path: &str, bytes: &[u8]) -> Result<String, SyncError> {
    let dir = cx.store.layout.rejected();
    let name = format!("{}.{}", path.replace('/', "-"), cx.world.clock.wall_ms());
    let copy = dir.join(&name);
    let reason = format!(
        "{path} was changed here and on another machine; theirs is in place, yours is kept as {}",
        copy.display()
    );
    cx.store.write_durable(cx.world, &copy, bytes)?;
    let note = map([
        ("file", Some(Value::str(path))),
        ("copy", Some(Value::str(&name))),
        ("reason", Some(Value::str(&reason))),
    ]);
    cx.store.write_durable(cx.world, &dir.join(format!("{name}{NOTE}")), json::to_text(&note).as_bytes())?;
    Ok(reason)
}

/// Forgets a copy that was kept. Only for who has put everything that it held in place again.
///
/// # Errors
/// It cannot be removed.
pub fn forget_file(cx: &Cx<'_>, one: &Rejection) -> Result<(), SyncError> {
    let dir = cx.store.layout.rejected();
    cx.store.remove_local(cx.world, &dir.join(format!("{}{NOTE}", one.op)))?;
    Ok(cx.store.remove_local(cx.world, &dir.join(&one.op))?)
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
    for name in names.iter().filter(|name| name.ends_with(NOTE)) {
        let Ok(bytes) = cx.world.disk.read(&dir.join(name), 1 << 20) else { continue };
        let Some(value) = json::from_text(&String::from_utf8_lossy(&bytes)) else { continue };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(file) = value.get("file").and_then(Value::as_str) {
            found.push(Rejection {
                op: text(value.get("copy")),
                task: String::new(),
                file: Some(file.to_owned()),
                verb: "edit".to_owned(),
                reason: text(value.get("reason")),
            });
            continue;
        }
        let op = value.get("operation");
        found.push(Rejection {
            file: None,
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
