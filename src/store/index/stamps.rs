//! What the scan compares with: the stat of every known file, and of directories when they were last listed.

use rusqlite::{Connection, params};

use super::parts::{Part, rows};
use super::query::put_meta;
use super::row::{bad_value, id_at, place_at, stat_at};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::store::layout::{key_of, shard_of_key};
use crate::store::place::{Month, Place};
use crate::world::Stat;

/// Identity of the entries of a directory: while it is the same, nothing was added, removed or renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirStamp {
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970; a restored backup cannot set it back.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

impl From<Stat> for DirStamp {
    fn from(stat: Stat) -> Self {
        DirStamp { mtime_ns: stat.mtime_ns, ctime_ns: stat.ctime_ns, inode: stat.inode }
    }
}

/// A file as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The task.
    pub id: TaskId,
    /// Its file when it was last read or written.
    pub stat: Stat,
    /// Where that lies.
    pub place: Place,
}

/// A directory that is compared as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dir {
    /// `tasks/`.
    Tasks,
    /// `tasks/<xx>/`.
    Shard(u8),
    /// `archive/`.
    Archive,
    /// `archive/<yyyy-mm>/`.
    Month(Month),
}

impl Dir {
    fn code(self) -> i64 {
        match self {
            Dir::Archive => -2,
            Dir::Tasks => -1,
            Dir::Shard(shard) => i64::from(shard),
            Dir::Month(month) => i64::from(month.code()),
        }
    }

    fn from_code(code: i64) -> Option<Dir> {
        match code {
            -2 => Some(Dir::Archive),
            -1 => Some(Dir::Tasks),
            _ => match u8::try_from(code) {
                Ok(shard) => Some(Dir::Shard(shard)),
                Err(_) => Month::from_code(u32::try_from(code).ok()?).map(Dir::Month),
            },
        }
    }
}

/// The columns of the index `live`, which alone is read for them.
const LIVE: &str =
    "SELECT id, size, mtime, ctime, inode, key FROM task INDEXED BY live WHERE archived IS NULL";

fn known(row: &rusqlite::Row<'_>, place: Place) -> rusqlite::Result<Known> {
    Ok(Known { id: id_at(row, 0)?, stat: stat_at(row, 1)?, place })
}

impl Index {
    /// Whether more than `count` tasks outside the archive are known, without counting them all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn knows_more_than(&self, count: usize) -> Result<bool, IndexError> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1);
        let counted: i64 = self.reads(rows).run(|c| {
            c.prepare_cached(
                "SELECT count(*) FROM (SELECT 1 FROM task INDEXED BY live WHERE archived IS NULL LIMIT ?1)",
            )?
            .query_row([limit], |row| row.get(0))
        })?;
        Ok(counted == limit)
    }

    /// All known files in `tasks/` with the directory of each, directory by directory.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn all_known(&self) -> Result<Vec<(u8, Known)>, IndexError> {
        self.reads(rows).run(|c| {
            c.prepare_cached(&format!("{LIVE} ORDER BY key"))?
                .query_map([], |row| Ok((shard_of_key(row.get(5)?), known(row, Place::Tasks)?)))?
                .collect()
        })
    }

    /// The known files of one directory of `tasks/`, in no particular order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known_in(&self, shard: u8) -> Result<Vec<Known>, IndexError> {
        let first = i64::from(shard) << 55;
        self.reads(rows).run(|c| {
            c.prepare_cached(&format!("{LIVE} AND key BETWEEN ?1 AND ?2"))?
                .query_map([first, first | ((1 << 55) - 1)], |row| known(row, Place::Tasks))?
                .collect()
        })
    }

    /// The known files of one month of the archive, in no particular order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known_of_month(&self, month: Month) -> Result<Vec<Known>, IndexError> {
        self.reads(rows).run(|c| {
            c.prepare_cached(
                "SELECT id, size, mtime, ctime, inode FROM task INDEXED BY archived WHERE archived = ?1",
            )?
            .query_map([month.code()], |row| known(row, Place::Archive(month)))?
            .collect()
        })
    }

    /// The months of which files are known, oldest first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn months(&self) -> Result<Vec<Month>, IndexError> {
        self.reads(rows).run(|c| {
            let mut next =
                c.prepare_cached("SELECT min(archived) FROM task INDEXED BY archived WHERE archived > ?1")?;
            let mut found: Vec<Month> = Vec::new();
            loop {
                let after = found.last().map_or(0, |month| month.code());
                let code: Option<u32> = next.query_row([after], |row| row.get(0))?;
                match code.and_then(Month::from_code) {
                    Some(month) => found.push(month),
                    None => return Ok(found),
                }
            }
        })
    }

    /// The known files of these tasks.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known_of(&self, ids: &[TaskId]) -> Result<Vec<Known>, IndexError> {
        self.reads(|| ids.iter().map(Part::row).collect()).run(|c| {
            let mut statement =
                c.prepare_cached("SELECT id, size, mtime, ctime, inode, archived FROM task WHERE key = ?1")?;
            let mut found = Vec::new();
            for id in ids {
                for row in statement.query_map([key_of(id)], |row| known(row, place_at(row, 5)?))? {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }

    /// Recorded directories.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn dir_stamps(&self) -> Result<Vec<(Dir, DirStamp)>, IndexError> {
        self.reads(|| vec![Part::Folders]).run(|c| {
            c.prepare_cached("SELECT shard, mtime, ctime, inode FROM dir")?
                .query_map([], |row| {
                    let stamp = DirStamp {
                        mtime_ns: row.get(1)?,
                        ctime_ns: row.get(2)?,
                        inode: row.get::<_, i64>(3)?.cast_unsigned(),
                    };
                    let dir = Dir::from_code(row.get(0)?).ok_or_else(|| bad_value("shard"))?;
                    Ok((dir, stamp))
                })?
                .collect()
        })
    }

    /// Records directories as they were before they were listed, and a small value of the looker's
    /// ([`Index::set_meta`]), in one transaction.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put_dir_stamps(
        &mut self,
        stamps: &[(Dir, DirStamp)],
        name: &str,
        value: &str,
    ) -> Result<(), IndexError> {
        self.writes(|| vec![Part::Folders, Part::note(name)]).run(|c| {
            put_meta(c, name, value)?;
            stamps.iter().try_for_each(|(dir, stamp)| put_stamp(c, *dir, stamp))
        })
    }
}

fn put_stamp(c: &Connection, dir: Dir, stamp: &DirStamp) -> rusqlite::Result<()> {
    c.prepare_cached("REPLACE INTO dir(shard, mtime, ctime, inode) VALUES(?1, ?2, ?3, ?4)")?
        .execute(params![dir.code(), stamp.mtime_ns, stamp.ctime_ns, stamp.inode.cast_signed()])
        .map(drop)
}
