//! What a worker needs to know besides the task: the files that say how to run it, where its evidence goes,
//! and how long it may act.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::store::agents::{AgentType, AgentTypes, Expect, PromptBy};
pub use crate::store::settings::Sandbox;

use crate::policy::Policy;
use crate::protocol::id::TaskId;
use crate::protocol::task::{Run, Task};
use crate::protocol::time::Timestamp;
use crate::store::layout::{Layout, SharedFile};
use crate::store::{agents, parse, time};
use crate::sync::valid;

use super::error::{Error, Kind, Result};
use super::queue::Queue;
use super::{held, watch};

/// Largest prompt template, in bytes.
const TEMPLATE_MAX: u64 = 256 * 1024;

/// Which tasks a claim may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// Any that is ready.
    #[default]
    Any,
    /// Those that a worker can run: an exec block, or an agent of one of these types.
    Runnable(BTreeSet<String>),
}

impl Choice {
    /// Whether it may choose this task.
    #[must_use]
    pub fn admits(&self, task: &Task) -> bool {
        match (self, &task.def().run) {
            (Choice::Any, _) | (Choice::Runnable(_), Some(Run::Exec(_))) => true,
            (Choice::Runnable(types), Some(Run::Agent(name))) => types.contains(name),
            (Choice::Runnable(_), None) => false,
        }
    }
}

/// The agent types of the queue; none where there is no `agents.yaml`.
///
/// # Errors
/// Configuration (78), with file, line and column.
pub fn agent_types(q: &Queue) -> Result<AgentTypes> {
    let path = q.store.layout.shared(SharedFile::Agents);
    let Some(bytes) = read(q, &path, parse::FILE_MAX as u64)? else { return Ok(AgentTypes::new()) };
    agents::load(&bytes).map_err(|e| wrong("agents", format!("{}:{e}", path.display())))
}

/// The policies: the shared one, and this machine's own, which may only tighten it. `None` where there is no file.
///
/// # Errors
/// For each: configuration (78), with file, line and column.
pub fn policies(q: &Queue) -> [Result<Option<Policy>>; 2] {
    let name = SharedFile::Policy;
    let one = |path: PathBuf| {
        let Some(bytes) = read(q, &path, parse::FILE_MAX as u64)? else { return Ok(None) };
        let shown = path.display().to_string();
        let policy = valid::policy(&shown, &bytes);
        policy.map(Some).map_err(|e| wrong("policy", format!("{shown}:{e}")))
    };
    [one(q.store.layout.shared(name)), one(q.store.layout.own().join(name.name()))]
}

/// A prompt template below `prompts/`, with the name of its file; `None` where there is none.
///
/// # Errors
/// Configuration (78) when it cannot be read.
pub fn template(q: &mut Queue, name: &str) -> Result<Option<(String, String)>> {
    if !agents::is_stem(name) {
        return Ok(None);
    }
    let path = q.store.layout.prompts().join(format!("{name}.md"));
    let mut found = read(q, &path, TEMPLATE_MAX)?;
    if found.is_none() {
        super::shared_files::restore_prompt(q, &format!("prompts/{name}.md"))?;
        found = read(q, &path, TEMPLATE_MAX)?;
    }
    let Some(bytes) = found else { return Ok(None) };
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("prompt", format!("{}: the file is not valid UTF-8 text", path.display())))?;
    Ok(Some((path.display().to_string(), text)))
}

fn read(q: &Queue, path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    match q.world.disk.read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong("config", format!("{}: {error}", path.display()))),
    }
}

fn wrong(code: &'static str, message: String) -> Error {
    Error::new(Kind::Config, code, message).hint("mend the file in an editor; nothing is run until then")
}

/// Where the evidence of a task's current attempt goes.
#[must_use]
pub fn bundle_dir(q: &Queue, task: &Task) -> PathBuf {
    runs_of(&q.store.layout, task.id()).join(task.attempt().to_string())
}

fn runs_of(layout: &Layout, id: &TaskId) -> PathBuf {
    layout.runs().join(id.as_str())
}

/// The bundles of earlier attempts that are on this machine.
///
/// # Errors
/// The directory cannot be read.
pub fn bundles(q: &Queue, id: &TaskId) -> Result<Vec<PathBuf>> {
    let dir = runs_of(&q.store.layout, id);
    let found = q.world.disk.list(&dir).map_err(|e| Error::failure(format!("{}: {e}", dir.display())))?;
    Ok(found.into_iter().map(|(name, _)| dir.join(name)).collect())
}

/// A path as it is shown and kept: relative to the state directory where it lies below it.
#[must_use]
pub fn shown(q: &Queue, path: &Path) -> String {
    path.strip_prefix(q.store.layout.state()).unwrap_or(path).display().to_string()
}

/// A moment as RFC 3339 text.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    time::format(at)
}

/// How long a lease in this epoch still lasts by what was accepted; zero when it is over or another's.
///
/// # Errors
/// The task cannot be read.
pub fn time_left(q: &Queue, id: &TaskId, epoch: u64) -> Result<Duration> {
    let task = q.load(id)?;
    Ok(match task.lease() {
        Some(lease) if mine(q, &task, epoch) => held::time_left(q, &task, lease),
        _ => Duration::ZERO,
    })
}

/// Whether this machine knows by now that the session's claim has ended. Cheap: only the file is read.
#[must_use]
pub fn moved(q: &Queue, id: &TaskId, epoch: u64) -> bool {
    q.load(id).is_ok_and(|task| !mine(q, &task, epoch))
}

fn mine(q: &Queue, task: &Task, epoch: u64) -> bool {
    task.lease().is_some_and(|lease| lease.epoch == epoch && q.holds(lease))
}

/// What is going on in the queue when nothing can be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Idle {
    /// Whether anybody works on a task.
    pub in_progress: bool,
    /// Whether a lease is stale, so that a round of the watchdog is worth its while.
    pub stale: bool,
}

/// Looks at what is in progress.
///
/// # Errors
/// The index cannot be read.
pub fn idle(q: &Queue) -> Result<Idle> {
    let running = q.store.in_progress().map_err(|e| Error::from_store(&e))?;
    Ok(Idle { in_progress: !running.is_empty(), stale: !watch::stale(q)?.is_empty() })
}
