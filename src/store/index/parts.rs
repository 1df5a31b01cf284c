//! What a use of the index looks at or changes, for whoever runs several processes in one thread and has to know which of
//! their uses can be done in either order. A test does them in either order.

use std::fmt;

use crate::protocol::id::TaskId;
use crate::store::layout::key_of;

/// A part of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A small value under a name.
    Note(String),
    /// All small values whose names begin so, up to the first blank.
    Notes(String),
    /// When which directories were in order.
    Folders,
    /// What is known of the task with this key, but for what was published or committed of it.
    Row(i64),
    /// What is known of any task; what follows from several is here only.
    Rows,
    /// What was published or committed last of the task with this key.
    Base(i64),
    /// The same of any task.
    Bases,
}

impl Part {
    pub(super) fn note(name: &str) -> Part {
        Part::Note(name.to_owned())
    }

    pub(super) fn row(id: &TaskId) -> Part {
        Part::Row(key_of(id))
    }

    pub(super) fn base(id: &TaskId) -> Part {
        Part::Base(key_of(id))
    }

    /// The set that this is in: whoever changes the part changes the set. Two who change different parts of a set do
    /// not meet.
    #[must_use]
    pub fn set(&self) -> Option<Part> {
        match self {
            Part::Note(name) => name.split_once(' ').map(|(prefix, _)| Part::Notes(format!("{prefix} "))),
            Part::Row(_) => Some(Part::Rows),
            Part::Base(_) => Some(Part::Bases),
            Part::Notes(_) | Part::Folders | Part::Rows | Part::Bases => None,
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Note(name) => write!(f, "note `{name}`"),
            Part::Notes(prefix) => write!(f, "notes `{prefix}`"),
            Part::Folders => write!(f, "folders"),
            Part::Row(key) => write!(f, "row {key:x}"),
            Part::Rows => write!(f, "rows"),
            Part::Base(key) => write!(f, "base {key:x}"),
            Part::Bases => write!(f, "bases"),
        }
    }
}

/// One use of the index. Two uses can be done in either order unless one writes a part that the other names, or a part in
/// a set that the other names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// Whether it may change the parts.
    pub writes: bool,
    /// The parts that matter to it.
    pub parts: Vec<Part>,
}

/// Called before each use of an index in memory. Whoever runs several processes in one thread lets another one come in
/// between there; no transaction is open then.
pub type BeforeUse = fn(&Use);

/// All rows.
pub(super) fn rows() -> Vec<Part> {
    vec![Part::Rows]
}

/// All rows, and what of them was published.
pub(super) fn rows_and_bases() -> Vec<Part> {
    vec![Part::Rows, Part::Bases]
}

/// Small values with one prefix.
pub(super) fn notes<'n>(prefix: &str, names: impl Iterator<Item = &'n str>) -> Vec<Part> {
    names.map(|name| Part::Note(format!("{prefix}{name}"))).collect()
}

/// All that is known of these tasks; a file that has moved leaves a folder that is to be looked at.
pub(super) fn whole<'i>(ids: impl IntoIterator<Item = &'i TaskId>) -> Vec<Part> {
    let rows = ids.into_iter().flat_map(|id| [Part::row(id), Part::base(id)]);
    rows.chain([Part::Folders]).collect()
}
