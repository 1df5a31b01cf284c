//! Small values that live as long as the index: when the remote was last looked at, what an interrupted
//! fetch still has to deliver, which shared files agree with the branch.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::world::World;

use super::error::StoreError;
use super::tasks::Store;

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
        let at: u64 = self.meta("fetched").ok()??.parse().ok()?;
        world.clock.monotonic().checked_sub(Duration::from_millis(at))
    }

    /// Tasks whose shared version moved but has not reached their file yet: an interrupted fetch goes on here.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn unabsorbed(&self) -> Result<BTreeSet<TaskId>> {
        let text = self.meta("unabsorbed")?.unwrap_or_default();
        Ok(text.split_ascii_whitespace().filter_map(|id| TaskId::parse(id).ok()).collect())
    }

    /// Remembers tasks whose shared version moved.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn remember_unabsorbed(&self, ids: &BTreeSet<TaskId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut all = self.unabsorbed()?;
        all.extend(ids.iter().cloned());
        self.set_meta("unabsorbed", &join(&all))
    }

    /// Forgets tasks whose shared version has reached their file.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn forget_unabsorbed(&self, ids: &BTreeSet<TaskId>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let left: BTreeSet<TaskId> = self.unabsorbed()?.difference(ids).cloned().collect();
        self.set_meta("unabsorbed", &join(&left))
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

fn join(ids: &BTreeSet<TaskId>) -> String {
    ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ")
}
