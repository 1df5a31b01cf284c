//! Small values that live as long as the index: when the remote was last looked at, what an interrupted
//! fetch still has to deliver, which shared files agree with the branch.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::id::TaskId;
use crate::world::World;

use super::error::StoreError;
use super::index::{Dir, DirStamp};
use super::tasks::Store;

const UNABSORBED: &str = "unabsorbed ";
const PUSHES: &str = "pushes";
const DEFERRED: &str = "deferred";
const REPEATED: &str = "repeated";
const LOOKED: &str = "looked";

/// How many pushes the account remembers the times of.
pub const PUSHES_KEPT: usize = 32;

/// A look at every file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How long ago it was.
    pub age: Duration,
    /// Whose process looked.
    pub session: String,
}

/// What this machine has pushed in this boot, as long as the index lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pushes {
    /// All of them, also those that failed.
    pub total: u64,
    /// Those of which something was not accepted, so that they had to be repeated or given up.
    pub repeated: u64,
    /// When the newest of them began, on the monotonic clock, oldest first.
    pub recent: Vec<Duration>,
    /// When something was pushed that could have waited.
    pub deferred: Option<Duration>,
    /// How often that push had to be repeated.
    pub rejections: u32,
}

impl Pushes {
    /// Whether older times were forgotten, so that the newest span tells the pace.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.recent.len() >= PUSHES_KEPT
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// How long ago a moment of the monotonic clock was, in the milliseconds that are kept of it.
fn age(world: &World, at: &str) -> Option<Duration> {
    world.clock.monotonic().checked_sub(Duration::from_millis(at.parse().ok()?))
}

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
        age(world, &self.meta("fetched").ok()??)
    }

    /// Notes that a session looked at every file just now, and the folders that it found in order.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_look(&self, world: &World, session: &str, clean: &[(Dir, DirStamp)]) -> Result<()> {
        let look = format!("{} {session}", world.clock.monotonic().as_millis());
        self.with(|index| index.put_dir_stamps(clean, LOOKED, &look))
    }

    /// The last time that some process of this machine looked at every file; `None` if none did in this boot.
    #[must_use]
    pub fn last_look(&self, world: &World) -> Option<Look> {
        let text = self.meta(LOOKED).ok()??;
        let (at, session) = text.split_once(' ')?;
        Some(Look { age: age(world, at)?, session: session.to_owned() })
    }

    /// Enters a push into the account. The caller holds the lock under which this machine pushes.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_push(&self, world: &World) -> Result<()> {
        let Pushes { total, mut recent, .. } = self.pushes_noted()?;
        recent.push(world.clock.monotonic());
        let first = recent.len().saturating_sub(PUSHES_KEPT);
        let mut text = (total + 1).to_string();
        for at in &recent[first..] {
            text.push_str(&format!(" {}", at.as_millis()));
        }
        self.set_meta(PUSHES, &text)
    }

    /// Notes that something of the push that was noted last was not accepted. The caller still holds its lock.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_repeated(&self) -> Result<()> {
        self.set_meta(REPEATED, &(self.repeated_noted()? + 1).to_string())
    }

    fn repeated_noted(&self) -> Result<u64> {
        Ok(self.meta(REPEATED)?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Notes that something was pushed just now that could have waited, and how often it was repeated.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn note_deferred(&self, world: &World, rejections: u32) -> Result<()> {
        self.set_meta(DEFERRED, &format!("{} {rejections}", world.clock.monotonic().as_millis()))
    }

    /// The account of pushes.
    ///
    /// # Errors
    /// The index does not answer.
    pub fn pushes(&self) -> Result<Pushes> {
        let noted = self.pushes_noted()?;
        let text = self.meta(DEFERRED)?.unwrap_or_default();
        let mut numbers = text.split(' ').filter_map(|word| word.parse().ok());
        let deferred = numbers.next().map(Duration::from_millis);
        let rejections = numbers.next().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        Ok(Pushes { deferred, rejections, repeated: self.repeated_noted()?, ..noted })
    }

    fn pushes_noted(&self) -> Result<Pushes> {
        let text = self.meta(PUSHES)?.unwrap_or_default();
        let mut numbers = text.split(' ').filter_map(|word| word.parse().ok());
        let total = numbers.next().unwrap_or(0);
        Ok(Pushes { total, recent: numbers.map(Duration::from_millis).collect(), ..Pushes::default() })
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
