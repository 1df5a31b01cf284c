//! Adding tasks, one or many, with random ids unless they are named, once per idempotency key.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::merge::same_task;
use crate::protocol::op::Action;
use crate::protocol::task::{Definition, Task};
use crate::protocol::transition::{DEFAULT_MAX_ATTEMPTS, next};
use crate::store::codec;
use crate::store::place::Place;
use crate::store::tasks::{FileState, Publish};
use crate::sync::rename;

use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::{around, change, edit};

/// Tasks that are written together; each of them is locked meanwhile, which takes an open file.
const BATCH: usize = 256;

/// What came of an addition.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// The task; the existing one when its idempotency key was known.
    pub task: Task,
    /// False when a task with the same idempotency key existed already.
    pub created: bool,
    /// Whether other machines can see it.
    pub published: bool,
}

/// Adds one task. Without an id a short random one is made.
///
/// # Errors
/// Conflict (4) when the id is taken, refused (5) when its needs would close a cycle.
pub fn add(q: &mut Queue, id: Option<TaskId>, def: Definition) -> Result<Added> {
    let mut added = add_all(q, vec![(id, def)])?;
    added.pop().ok_or_else(|| Error::failure("nothing was added"))
}

/// Adds several tasks and publishes them together.
///
/// # Errors
/// As [`add`]; tasks before the one at fault have been added.
pub fn add_all(q: &mut Queue, tasks: Vec<(Option<TaskId>, Definition)>) -> Result<Vec<Added>> {
    let mut added = Vec::with_capacity(tasks.len());
    let mut batch: Vec<Task> = Vec::new();
    for (id, def) in tasks {
        // What depends on tasks before it looks for them in the index.
        let tied = !def.needs.is_empty() || def.idempotency_key.is_some();
        if tied || batch.len() >= BATCH || id.as_ref().is_some_and(|id| is_in(&batch, id)) {
            write(q, &mut batch)?;
        }
        match prepare(q, &batch, id, def) {
            Ok(one) => {
                batch.extend(one.created.then(|| one.task.clone()));
                added.push(one);
            }
            Err(error) => {
                write(q, &mut batch)?;
                return Err(error);
            }
        }
    }
    write(q, &mut batch)?;
    let before = q.renamed.len();
    let published = q.settle()?;
    for one in added.iter_mut().filter(|one| one.created) {
        one.published = published;
        // The id was taken on the remote: the task has another one now.
        match q.renamed[before..].iter().find(|(old, _)| old == one.task.id()) {
            Some((_, id)) => one.task = q.load(id)?,
            None if q.is_shared() => renamed_by_another(q, one)?,
            None => {}
        }
    }
    Ok(added)
}

/// Another process of this machine may have met the other task of that name, and given this one its new id.
fn renamed_by_another(q: &mut Queue, one: &mut Added) -> Result<()> {
    let store = |e| Error::from_store(&e);
    let FileState::Task { task: now, .. } = q.store.read(&q.world, one.task.id()).map_err(store)? else {
        return Ok(());
    };
    if same_task(&now, &one.task) {
        return Ok(());
    }
    if let Some(id) = rename::new_id_of(&q.cx(), &one.task).map_err(|e| Error::from_sync(&e))? {
        q.say_renamed(one.task.id().clone(), id.clone());
        one.task = q.load(&id)?;
    }
    Ok(())
}

fn is_in(batch: &[Task], id: &TaskId) -> bool {
    batch.iter().any(|task| task.id().folded() == id.folded())
}

/// The task to be written, or the one that is there already under its idempotency key.
fn prepare(q: &mut Queue, batch: &[Task], id: Option<TaskId>, mut def: Definition) -> Result<Added> {
    def.needs.sort();
    def.needs.dedup();
    def.tags.sort();
    def.tags.dedup();
    if def.title.trim().is_empty() {
        return Err(Error::new(Kind::Usage, "usage", "a task needs a title"));
    }
    if let Some(known) = twin(q, &def)? {
        return Ok(Added { task: known, created: false, published: true });
    }
    let id = match id {
        Some(id) => id,
        None => fresh_id(q, batch)?,
    };
    if let Some(path) = around::cycle(q, &id, &def.needs)? {
        return Err(edit::cycle(&path));
    }
    for name in def.extra.keys() {
        if let Some(meant) = codec::nearest_field(name) {
            q.warn(format!(
                "{id}: `{name}` is no field of a task and is kept as it is; did you mean `{meant}`?"
            ));
        }
    }
    for need in &def.needs {
        if q.store.status_of(need).map_err(|e| Error::from_store(&e))?.is_none() {
            q.warn(format!(
                "{id} needs {need}, which is not known here; it waits until that is added and done"
            ));
        }
    }
    if let Some(parent) = &def.parent
        && !is_in(batch, parent)
        && q.store.status_of(parent).map_err(|e| Error::from_store(&e))?.is_none()
    {
        q.warn(format!("{id} is a part of {parent}, which is not known here"));
    }
    if def.retry.max_attempts.is_none() && q.settings.retry.max_attempts != DEFAULT_MAX_ATTEMPTS {
        // The rule that decides about further attempts must be in the file: every machine replays it alike.
        def.retry.max_attempts = Some(q.settings.retry.max_attempts);
    }
    let op = q.op(Action::Add(Box::new(def)));
    change::check_bounds(&op)?;
    let task = next(None, &id, &op).map_err(|why| Error::rejected(&id, &why))?;
    change::check_size(None, &task, &op)?;
    Ok(Added { task, created: true, published: false })
}

/// Writes what has gathered, under the locks of all of it, and empties the batch.
fn write(q: &Queue, batch: &mut Vec<Task>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let tasks = std::mem::take(batch);
    let store = |e| Error::from_store(&e);
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.id().clone()).collect();
    let guards = q.store.lock_tasks(&q.world, &ids, Duration::from_secs(10)).map_err(store)?;
    let mut fault = None;
    let mut free = Vec::with_capacity(tasks.len());
    for task in tasks {
        let id = task.id();
        let taken = q.store.taken(&q.world, id).map_err(store)?;
        let there = || Ok(!matches!(q.store.read(&q.world, id).map_err(store)?, FileState::Absent));
        if let Some(other) =
            taken.map_or_else(|| Ok(there()?.then(|| id.clone())), |other| Ok(Some(other)))?
        {
            fault = Some(
                Error::new(Kind::Conflict, "exists", format!("there is a task {other} already"))
                    .hint("choose another id, or leave --id out to get a random one"),
            );
            break;
        }
        free.push((task, Place::Tasks, Publish::Waiting));
    }
    match (free.as_slice(), guards.as_slice()) {
        ([(task, _, publish)], [guard]) => q.store.write(&q.world, guard, task, *publish).map_err(store)?,
        _ => q.store.write_many(&q.world, &free).map_err(store)?,
    }
    fault.map_or(Ok(()), Err)
}

/// A task that has not ended and has the same idempotency key; a done one keeps its key for ever.
fn twin(q: &Queue, def: &Definition) -> Result<Option<Task>> {
    let Some(key) = &def.idempotency_key else { return Ok(None) };
    let found = q.store.with_key(key).map_err(|e| Error::from_store(&e))?;
    found.map(|id| q.load(&id)).transpose()
}

/// A short random id that nobody uses: sequential ones would collide between machines.
fn fresh_id(q: &Queue, batch: &[Task]) -> Result<TaskId> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    for _ in 0..64 {
        let mut dice = [0u8; 8];
        q.world.random.fill(&mut dice);
        let text: String = dice.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let id = TaskId::parse(&format!("t-{text}")).map_err(|e| Error::failure(e.to_string()))?;
        if !is_in(batch, &id) && q.store.taken(&q.world, &id).map_err(|e| Error::from_store(&e))?.is_none() {
            return Ok(id);
        }
    }
    Err(Error::failure("no free random id was found; the source of randomness seems to repeat itself"))
}
