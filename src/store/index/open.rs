//! Opening the file, and making it anew when it is of another boot or version, or damaged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{BeforeUse, Index, IndexError};
use crate::store::layout::Layout;
use crate::store::task_lock::{Named, lock_named};
use crate::world::Disk;

/// Goes up with every change to [`SCHEMA`] or to what the columns mean.
const VERSION: u32 = 3;
/// How often a statement tries again while other processes write; a transaction takes below a millisecond.
const ROUNDS: i32 = 15_000;
/// How long setting up a new file may take others.
const SETUP: Duration = Duration::from_secs(30);

/// More statements than there are: each is prepared once per connection.
const STATEMENTS: usize = 128;

/// Settings of a connection to a file. Nothing is ever synced: after a power failure the boot id is another one. A
/// kill leaves a journal that the next process applies. Measured with processes that live for one command,
/// a truncated journal without a memory map is the fastest (0.3 ms for open, get and put; a write-ahead
/// log 0.5 ms), and leaves the smallest resident set.
const FILE: &str = "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; \
     PRAGMA cache_size = -16384; PRAGMA mmap_size = 0;";
/// Those of the one connection to an index in memory: nobody else will look at it, and nobody outlives it.
const MEMORY: &str = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; \
     PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";

/// `task.key` is [`crate::store::layout::key_of`]; `due` is the largest number where there is none, `asleep`
/// is 1 until `start` was seen to have passed, `unmet` counts needs that are not satisfied and `doomed`
/// those of them that have failed, `archived` is the month (yyyymm) of a file in the archive. The condition of `ready` is repeated word for word in `pick.rs`.
const SCHEMA: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dir(shard INTEGER PRIMARY KEY, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, inode INTEGER NOT NULL);
CREATE TABLE task(key INTEGER PRIMARY KEY, id TEXT NOT NULL,
  size INTEGER NOT NULL, mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, inode INTEGER NOT NULL,
  oid BLOB NOT NULL, base BLOB,
  status INTEGER, priority INTEGER, onf INTEGER, due INTEGER, created INTEGER, updated INTEGER,
  start INTEGER, asleep INTEGER, epoch INTEGER, top_epoch INTEGER, beat INTEGER, attempt INTEGER,
  session TEXT, machine TEXT, idem TEXT, title TEXT, tags TEXT, needs TEXT, parent TEXT COLLATE NOCASE,
  unmet INTEGER NOT NULL DEFAULT 0, doomed INTEGER NOT NULL DEFAULT 0,
  problem TEXT, line INTEGER, col INTEGER, archived INTEGER);
CREATE TABLE doc(key INTEGER PRIMARY KEY, json TEXT NOT NULL, history TEXT NOT NULL);
CREATE TABLE need(need INTEGER, task INTEGER, PRIMARY KEY(need, task)) WITHOUT ROWID;
CREATE INDEX by_status ON task(status, priority, due, created, id) WHERE problem IS NULL AND archived IS NULL;
CREATE INDEX live ON task(key, id, size, mtime, ctime, inode) WHERE archived IS NULL;
CREATE INDEX archived ON task(archived, id) WHERE archived IS NOT NULL;
CREATE INDEX ready ON task(priority, due, created, id, start, idem)
  WHERE status = 0 AND unmet = 0 AND problem IS NULL AND asleep = 0;
CREATE INDEX dated ON task(priority, created)
  WHERE status = 0 AND unmet = 0 AND problem IS NULL AND asleep = 0 AND due < 9223372036854775807;
CREATE INDEX waking ON task(start) WHERE status = 0 AND unmet = 0 AND problem IS NULL AND asleep = 1;
CREATE INDEX doomed ON task(id) WHERE status = 0 AND problem IS NULL AND doomed > 0;
CREATE INDEX dirty ON task(updated) WHERE base IS NOT oid AND problem IS NULL;
CREATE INDEX trouble ON task(id) WHERE problem IS NOT NULL;
CREATE INDEX same ON task(idem) WHERE idem IS NOT NULL;
CREATE INDEX child ON task(parent) WHERE parent IS NOT NULL;
";

/// An index in the memory of this process, for machines that have no file system of their own. It lasts as
/// long as this or a clone of it; every process of the machine opens it for itself, as it does a file. They take turns
/// on one connection: what one of them has read or prepared, the next one need not.
#[derive(Debug, Clone)]
pub struct MemoryIndex {
    name: PathBuf,
    before_use: Option<BeforeUse>,
    conn: Shared,
}

/// A connection that is used by one at a time.
pub(super) type Shared = Arc<Mutex<Connection>>;

impl MemoryIndex {
    /// A new one, empty, that nobody else uses.
    ///
    /// # Errors
    /// [`IndexError::Failed`] when there is no memory.
    pub fn new() -> Result<MemoryIndex, IndexError> {
        MemoryIndex::of(MemoryIndex::elsewhere()?, None)
    }

    /// A connection to a new place in memory, which lasts as long as this.
    fn elsewhere() -> Result<Index, IndexError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // A name below `/` of this file system of SQLite is known to all connections of a process.
        let name = format!("file:/orch-{}?vfs=memdb", NEXT.fetch_add(1, Ordering::Relaxed));
        Index::connect(Path::new(&name))
    }

    /// From here on no other connection gets in.
    fn of(index: Index, before_use: Option<BeforeUse>) -> Result<MemoryIndex, IndexError> {
        index.unseen(|c| c.execute_batch(MEMORY))?;
        Ok(MemoryIndex { name: index.path, before_use, conn: index.conn })
    }

    /// The same index; from now on `before` is called before each use of it by a process that opens this value.
    #[must_use]
    pub fn with_before_use(self, before: BeforeUse) -> MemoryIndex {
        MemoryIndex { before_use: Some(before), ..self }
    }

    /// Another index with the same content.
    ///
    /// # Errors
    /// [`IndexError::Failed`] when there is no memory.
    pub fn fork(&self) -> Result<MemoryIndex, IndexError> {
        let other = MemoryIndex::elsewhere()?;
        self.attach().unseen(|c| c.execute("VACUUM INTO ?1", [other.path.to_string_lossy()]))?;
        MemoryIndex::of(other, self.before_use)
    }

    /// Looking into it is no use of it.
    fn attach(&self) -> Index {
        Index { conn: Arc::clone(&self.conn), path: self.name.clone(), before_use: None }
    }
}

impl Index {
    /// Opens the index of a state directory. A file that is absent, damaged, of another version or of
    /// another boot is made anew, empty.
    ///
    /// # Errors
    /// [`IndexError::Failed`] when no file can be made, [`IndexError::Busy`] when others block it.
    pub fn open(disk: &dyn Disk, layout: &Layout, boot_id: &str) -> Result<Index, IndexError> {
        let path = layout.index();
        match Index::attach(&path) {
            Ok(index) if index.is_current(boot_id) => Ok(index),
            Err(e @ IndexError::Busy { .. }) => Err(e),
            _ => Index::rebuild(disk, layout, boot_id),
        }
    }

    /// Makes the index anew, empty, unless another process has just done so.
    ///
    /// # Errors
    /// As [`Index::open`].
    pub fn rebuild(disk: &dyn Disk, layout: &Layout, boot_id: &str) -> Result<Index, IndexError> {
        let path = layout.index();
        let failed = |message: String| IndexError::Failed { path: path.clone(), message };
        disk.create_dir(&layout.own()).map_err(|e| failed(e.to_string()))?;
        let lock = lock_named(disk, layout, Named::Index, SETUP).map_err(|e| failed(e.to_string()))?;
        let current = Index::attach(&path).ok().filter(|index| index.is_current(boot_id) && index.is_sound());
        if let Some(index) = current {
            return Ok(index);
        }
        let index = Index::connect(&path).and_then(|index| Index::set_up(index, FILE, boot_id));
        drop(lock);
        index
    }

    /// Opens an index in memory; one of another boot is made anew, empty.
    ///
    /// # Errors
    /// [`IndexError::Failed`] when there is no memory.
    pub fn open_in_memory(memory: &MemoryIndex, boot_id: &str) -> Result<Index, IndexError> {
        let index = memory.attach();
        if index.is_current(boot_id) {
            return Ok(Index { before_use: memory.before_use, ..index });
        }
        Index::rebuild_in_memory(memory, boot_id)
    }

    /// Makes an index in memory anew, empty.
    ///
    /// # Errors
    /// [`IndexError::Failed`] when there is no memory.
    pub fn rebuild_in_memory(memory: &MemoryIndex, boot_id: &str) -> Result<Index, IndexError> {
        let index = Index::set_up(memory.attach(), MEMORY, boot_id)?;
        Ok(Index { before_use: memory.before_use, ..index })
    }

    fn attach(path: &Path) -> Result<Index, IndexError> {
        let index = Index::connect(path)?;
        index.unseen(|c| c.execute_batch(FILE))?;
        Ok(index)
    }

    /// Opens the file without reading a byte of it.
    fn connect(path: &Path) -> Result<Index, IndexError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let conn = Connection::open_with_flags(path, flags)?;
            conn.set_prepared_statement_cache_capacity(STATEMENTS);
            conn.busy_handler(Some(wait_for_others))?;
            // Every plan is named in its statement. Without this, one with `LIMIT ?` is planned for the number in it:
            // not when it is prepared, but once more each time that it gets another number, the first one included.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            Ok(conn)
        };
        let conn = open().map_err(|e| IndexError::from_sql(path, &e))?;
        Ok(Index { conn: Arc::new(Mutex::new(conn)), path: path.to_owned(), before_use: None })
    }

    fn is_current(&self, boot_id: &str) -> bool {
        matches!(self.meta("boot"), Ok(Some(boot)) if boot == stamp(boot_id))
    }

    /// Reads the whole file once; only done when somebody has complained about it.
    fn is_sound(&self) -> bool {
        let verdict =
            self.unseen(|c| c.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0)));
        matches!(verdict, Ok(text) if text == "ok")
    }

    /// Empties the file in place, whatever is in it, so that processes which have it open notice, and no
    /// journal of an old file is ever applied to a new one.
    fn set_up(index: Index, settings: &str, boot_id: &str) -> Result<Index, IndexError> {
        index.unseen(|c| {
            c.flush_prepared_statement_cache();
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
            let emptied = c.execute_batch("VACUUM");
            c.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
            emptied?;
            c.execute_batch(settings)?;
            c.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA}"))?;
            c.execute("INSERT INTO meta(name, value) VALUES('boot', ?1)", [stamp(boot_id)])?;
            c.execute_batch("COMMIT")
        })?;
        Ok(index)
    }
}

/// Waits for another process. SQLite's own steps grow to 100 ms, which under eight writers made the
/// slowest wait ten times longer than these short, uneven ones. Gives up after about ten seconds.
fn wait_for_others(round: i32) -> bool {
    let uneven = u64::from(round.unsigned_abs()) * 137 % 800;
    std::thread::sleep(Duration::from_micros(200 + uneven));
    round < ROUNDS
}

fn stamp(boot_id: &str) -> String {
    format!("{VERSION} {boot_id}")
}
