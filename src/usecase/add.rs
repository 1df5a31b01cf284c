//! Adding tasks, one or many, with random ids unless they are named, once per idempotency key.

use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::protocol::op::Action;
use crate::protocol::task::{Definition, Task};
use crate::protocol::transition::{DEFAULT_MAX_ATTEMPTS, next};
use crate::store::tasks::{FileState, Publish};

use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::{around, change, edit};

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
    let mut added = Vec::new();
    for (id, def) in tasks {
        added.push(write(q, id, def)?);
    }
    let published = q.settle()?;
    for one in added.iter_mut().filter(|one| one.created) {
        one.published = published;
    }
    Ok(added)
}

fn write(q: &mut Queue, id: Option<TaskId>, mut def: Definition) -> Result<Added> {
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
        None => fresh_id(q)?,
    };
    if let Some(path) = around::cycle(q, &id, &def.needs)? {
        return Err(edit::cycle(&path));
    }
    for need in &def.needs {
        if q.store.status_of(need).map_err(|e| Error::from_store(&e))?.is_none() {
            q.warn(format!(
                "{id} needs {need}, which is not known here; it waits until that is added and done"
            ));
        }
    }
    if def.retry.max_attempts.is_none() && q.settings.retry.max_attempts != DEFAULT_MAX_ATTEMPTS {
        // The rule that decides about further attempts must be in the file: every machine replays it alike.
        def.retry.max_attempts = Some(q.settings.retry.max_attempts);
    }
    let guard =
        q.store.lock_task(&q.world, &id, Duration::from_secs(10)).map_err(|e| Error::from_store(&e))?;
    let taken = q.store.taken(&q.world, &id).map_err(|e| Error::from_store(&e))?;
    let there = !matches!(q.store.read(&q.world, &id).map_err(|e| Error::from_store(&e))?, FileState::Absent);
    if let Some(other) = taken.or_else(|| there.then(|| id.clone())) {
        return Err(Error::new(Kind::Conflict, "exists", format!("there is a task {other} already"))
            .hint("choose another id, or leave --id out to get a random one"));
    }
    let op = q.op(Action::Add(Box::new(def)));
    change::check_bounds(&op)?;
    let task = next(None, &id, &op).map_err(|why| Error::rejected(&id, &why))?;
    q.store.write(&q.world, &guard, &task, Publish::Waiting).map_err(|e| Error::from_store(&e))?;
    Ok(Added { task, created: true, published: false })
}

/// A task that has not ended and has the same idempotency key; a done one keeps its key for ever.
fn twin(q: &Queue, def: &Definition) -> Result<Option<Task>> {
    let Some(key) = &def.idempotency_key else { return Ok(None) };
    let found = q.store.with_key(key).map_err(|e| Error::from_store(&e))?;
    found.map(|id| q.load(&id)).transpose()
}

/// A short random id that nobody uses: sequential ones would collide between machines.
fn fresh_id(q: &Queue) -> Result<TaskId> {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    for _ in 0..64 {
        let mut dice = [0u8; 8];
        q.world.random.fill(&mut dice);
        let text: String = dice.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        let id = TaskId::parse(&format!("t-{text}")).map_err(|e| Error::failure(e.to_string()))?;
        if q.store.taken(&q.world, &id).map_err(|e| Error::from_store(&e))?.is_none() {
            return Ok(id);
        }
    }
    Err(Error::failure("no free random id was found; the source of randomness seems to repeat itself"))
}
