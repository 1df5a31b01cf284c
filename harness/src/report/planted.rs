//! The table of planted bugs: which guard was taken away, and how many seeds the simulation took to notice. `bugs` writes
//! it beside its record, and the report of a soak shows it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::record;

/// One guard that was taken away.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name, as `bugs --only` takes it.
    pub guard: String,
    /// The promise that broke without it, and what was seen; `None` when nothing was noticed.
    pub broke: Option<String>,
    /// Seeds within which it had to be noticed.
    pub limit: u64,
    /// Seeds that it took; `None` when it was not noticed within the limit.
    pub seeds: Option<u64>,
    /// How many seconds that took.
    pub seconds: f64,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The commit of the sources, 40 digits; `-dirty` is appended when files differed from it.
    pub commit: String,
    /// One row for each guard.
    pub rows: Vec<Row>,
}

/// Its file in the folder of records.
pub const FILE: &str = "bugs-table.json";

impl Table {
    /// Writes it into the folder of records, whole or not at all. Its path.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub fn write(&self, records: &Path) -> Result<PathBuf, String> {
        let path = records.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|why| why.to_string())? + "\n";
        std::fs::create_dir_all(records).map_err(|why| format!("{}: {why}", records.display()))?;
        record::replace(&path, &text)?;
        Ok(path)
    }

    /// Reads the one of a folder of records; `None` where none was measured.
    ///
    /// # Errors
    /// The file and what is wrong with it.
    pub fn read(records: &Path) -> Result<Option<Table>, String> {
        let path = records.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_str(&text).map(Some).map_err(|why| format!("{}: {why}", path.display()))
    }
}
