//! What the scan compares with: the stat of every known file, and of directories when they were last listed.

use rusqlite::{Connection, params};

use super::row::{id_at, stat_at};
use super::{Index, IndexError};
use crate::protocol::id::TaskId;
use crate::store::layout::{key_of, shard_of_key};
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
}

const SELECT: &str = "SELECT id, size, mtime, ctime, inode FROM task";

fn known(row: &rusqlite::Row<'_>) -> rusqlite::Result<Known> {
    Ok(Known { id: id_at(row, 0)?, stat: stat_at(row, 1)? })
}

impl Index {
    /// Whether more than `count` tasks are known, without counting them all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn knows_more_than(&self, count: usize) -> Result<bool, IndexError> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX).saturating_add(1);
        let counted: i64 = self.run(|c| {
            c.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM task LIMIT ?1)")?
                .query_row([limit], |row| row.get(0))
        })?;
        Ok(counted == limit)
    }

    /// All known files with the directory of each, directory by directory.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn all_known(&self) -> Result<Vec<(u8, Known)>, IndexError> {
        self.run(|c| {
            c.prepare_cached("SELECT id, size, mtime, ctime, inode, key FROM task ORDER BY key")?
                .query_map([], |row| Ok((shard_of_key(row.get(5)?), known(row)?)))?
                .collect()
        })
    }

    /// The known files of one directory, in no particular order.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known_in(&self, shard: u8) -> Result<Vec<Known>, IndexError> {
        let first = i64::from(shard) << 55;
        self.run(|c| {
            c.prepare_cached(&format!("{SELECT} WHERE key BETWEEN ?1 AND ?2"))?
                .query_map([first, first | ((1 << 55) - 1)], known)?
                .collect()
        })
    }

    /// The known files of these tasks.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn known_of(&self, ids: &[TaskId]) -> Result<Vec<Known>, IndexError> {
        self.run(|c| {
            let mut statement = c.prepare_cached(&format!("{SELECT} WHERE key = ?1"))?;
            let mut found = Vec::new();
            for id in ids {
                for row in statement.query_map([key_of(id)], known)? {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }

    /// Recorded directories; `None` is `tasks/` itself.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn dir_stamps(&self) -> Result<Vec<(Option<u8>, DirStamp)>, IndexError> {
        self.run(|c| {
            c.prepare_cached("SELECT shard, mtime, ctime, inode FROM dir")?
                .query_map([], |row| {
                    let stamp = DirStamp {
                        mtime_ns: row.get(1)?,
                        ctime_ns: row.get(2)?,
                        inode: row.get::<_, i64>(3)?.cast_unsigned(),
                    };
                    Ok((u8::try_from(row.get::<_, i64>(0)?).ok(), stamp))
                })?
                .collect()
        })
    }

    /// Records directories as they were before they were listed.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put_dir_stamps(&mut self, stamps: &[(Option<u8>, DirStamp)]) -> Result<(), IndexError> {
        self.transact(|c| stamps.iter().try_for_each(|(shard, stamp)| put_stamp(c, *shard, stamp)))
    }
}

fn put_stamp(c: &Connection, shard: Option<u8>, stamp: &DirStamp) -> rusqlite::Result<()> {
    c.prepare_cached("REPLACE INTO dir(shard, mtime, ctime, inode) VALUES(?1, ?2, ?3, ?4)")?
        .execute(params![
            shard.map_or(-1, i64::from),
            stamp.mtime_ns,
            stamp.ctime_ns,
            stamp.inode.cast_signed()
        ])
        .map(drop)
}
