//! Small values that live as long as the index: when the remote was last looked at, what an interrupted
//! fetch still has to deliver, which shared files agree with the branch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::world::World;

use super::error::StoreError;
use super::tasks::Store;

const UNABSORBED: &str = "unabsorbed ";

type Result<T> = std::result::Result<T, StoreError>;

impl Store {
    /// A small value under a name, as long as the index lives.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn meta(&self, name: &str) -> Result<Option<String>> {
        self.with(|index| index.meta(name))
    }

    /// Keeps a small value under a name, as long as the index lives.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn set_meta(&self, name: &str, value: &str) -> Result<()> {
        self.with(|index| index.set_meta(name, value))
    }

    /// Notes that the remote was looked at just now.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_fetch(&self, world: &World) -> Result<()> {
        self.set_meta("fetched", &world.clock.monotonic().as_millis().to_string())
    }

    /// How long ago the remote was looked at; `None` if it was not in this boot.
    #[must_use]
    pub fn fetch_age(&self, world: &World) -> Option<Duration> {
        self.age(world, "fetched")
    }

    /// Notes that every file was looked at just now.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_look(&self, world: &World) -> Result<()> {
        self.set_meta("looked", &world.clock.monotonic().as_millis().to_string())
    }

    /// How long ago some process of this machine looked at every file; `None` if none did in this boot.
    #[must_use]
    pub fn look_age(&self, world: &World) -> Option<Duration> {
        self.age(world, "looked")
    }

    fn age(&self, world: &World, name: &str) -> Option<Duration> {
        let at: u64 = self.meta(name).ok()??.parse().ok()?;
        world.clock.monotonic().checked_sub(Duration::from_millis(at))
    }

    /// Tasks whose shared version moved but has not reached their file yet, each with a token that changes
    /// whenever it moves again: an interrupted fetch goes on here.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn unabsorbed(&self) -> Result<BTreeMap<TaskId, String>> {
        let marked = self.with(|index| index.marked(UNABSORBED))?;
        Ok(marked.into_iter().filter_map(|(id, token)| Some((TaskId::parse(&id).ok()?, token))).collect())
    }

    /// Remembers tasks whose shared version moves.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn remember_unabsorbed<'i>(&self, ids: impl IntoIterator<Item = &'i TaskId>) -> Result<()> {
        let names: Vec<&str> = ids.into_iter().map(TaskId::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        self.with(|index| index.mark(UNABSORBED, &names))
    }

    /// Forgets tasks whose shared version has reached their file, unless it has moved again since.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn forget_unabsorbed(&self, done: &BTreeMap<TaskId, String>) -> Result<()> {
        if done.is_empty() {
            return Ok(());
        }
        let marks: Vec<(&str, &str)> = done.iter().map(|(id, token)| (id.as_str(), token.as_str())).collect();
        self.with(|index| index.unmark(UNABSORBED, &marks))
    }

    /// The stat token at which a shared file last agreed with the branch.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn settled(&self, path: &str) -> Result<Option<String>> {
        self.meta(&format!("file:{path}"))
    }

    /// Remembers that a shared file agrees with the branch.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn settle(&self, path: &str, token: &str) -> Result<()> {
        self.set_meta(&format!("file:{path}"), token)
    }
}
