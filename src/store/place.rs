//! Where the file of a task lies: among the tasks, or in the archive under the month in which it ended.
//!
//! The place says nothing about the task: its state is the fold of its history wherever the file is. The month
//! follows from the task itself, so all machines give an archived task the same path.

use std::fmt;

use super::layout::{self, Misnamed, YAML, misnamed};
use super::time;
use crate::protocol::id::TaskId;
use crate::protocol::task::Task;
use crate::protocol::time::Timestamp;

/// First component of the tree path of every archived task.
pub const ARCHIVE: &str = "archive";

/// A month of this century, which bounds how many folders an archive can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(u32);

impl Month {
    /// The month of a moment, in UTC; `None` outside of the years 2000 to 2099.
    #[must_use]
    pub fn of(at: Timestamp) -> Option<Month> {
        Month::parse(time::format(at).get(..7)?)
    }

    /// Reads the name of a folder, `yyyy-mm`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Month> {
        let (year, month) = name.split_once('-')?;
        let code = year.parse::<u32>().ok()?.checked_mul(100)?.checked_add(month.parse().ok()?)?;
        Month::from_code(code).filter(|month| month.to_string() == name)
    }

    /// The month with this number.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Month> {
        ((200_000..210_000).contains(&code) && (1..=12).contains(&(code % 100))).then_some(Month(code))
    }

    /// As a number, `yyyymm`.
    #[must_use]
    pub fn code(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Where the file of a task lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Place {
    /// `tasks/<xx>/<id>.yaml`.
    #[default]
    Tasks,
    /// `archive/<yyyy-mm>/<id>.yaml`.
    Archive(Month),
}

impl Place {
    /// Where a task lies once it is archived; `None` for one that has not ended.
    #[must_use]
    pub fn in_archive(task: &Task) -> Option<Place> {
        if !task.status().is_terminal() {
            return None;
        }
        // Nothing fits a task that has ended but a retry, so its last operation is its end.
        Month::of(task.updated_at()).map(Place::Archive)
    }

    /// Path of a task's file in a git tree.
    #[must_use]
    pub fn tree_path(self, id: &TaskId) -> String {
        match self {
            Place::Tasks => layout::tree_path(id),
            Place::Archive(month) => format!("{ARCHIVE}/{month}/{id}{YAML}"),
        }
    }

    /// The month, of an archived file.
    #[must_use]
    pub fn month(self) -> Option<Month> {
        match self {
            Place::Tasks => None,
            Place::Archive(month) => Some(month),
        }
    }
}

/// The task whose file this tree path is, and where it lies; `None` for paths outside `tasks/` and `archive/`.
///
/// # Errors
/// [`Misnamed`] for an entry below them that is not exactly where the file of its task belongs.
pub fn parse(path: &str) -> Option<Result<(TaskId, Place), Misnamed>> {
    let Some(rest) = path.strip_prefix(ARCHIVE).and_then(|rest| rest.strip_prefix('/')) else {
        return Some(layout::parse_task_path(path)?.map(|id| (id, Place::Tasks)));
    };
    let Some((folder, name)) = rest.split_once('/') else {
        return Some(Err(misnamed(path, "ended tasks lie in `archive/<yyyy-mm>/<id>.yaml`")));
    };
    Some(match Month::parse(folder) {
        Some(month) => parse_entry(month, name).map(|id| (id, Place::Archive(month))),
        None => Err(misnamed(path, "folders of the archive are named `yyyy-mm`")),
    })
}

/// The task whose file has this name in this folder of the archive.
///
/// # Errors
/// [`Misnamed`] with the rule that is broken.
pub fn parse_entry(month: Month, name: &str) -> Result<TaskId, Misnamed> {
    let path = || format!("{ARCHIVE}/{month}/{name}");
    let stem = name
        .strip_suffix(YAML)
        .ok_or_else(|| misnamed(&path(), "the name of a task's file ends in `.yaml`"))?;
    TaskId::parse(stem).map_err(|bad| misnamed(&path(), bad.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_archive_leads_back_to_its_task_and_no_other_path_does() {
        let id = TaskId::parse("ORCH-010").unwrap();
        let month = Month::parse("2026-02").unwrap();
        let place = Place::Archive(month);
        assert_eq!(place.tree_path(&id), "archive/2026-02/ORCH-010.yaml");
        assert_eq!(parse(&place.tree_path(&id)), Some(Ok((id.clone(), place))));
        assert_eq!(parse(&Place::Tasks.tree_path(&id)), Some(Ok((id, Place::Tasks))));
        for other in ["orch.yaml", "archives/2026-02/A.yaml", "archive"] {
            assert_eq!(parse(other), None, "{other}");
        }
        for bad in [
            "archive/A.yaml",
            "archive/2026-13/A.yaml",
            "archive/2026-00/A.yaml",
            "archive/2026-2/A.yaml",
            "archive/+026-02/A.yaml",
            "archive/1999-12/A.yaml",
            "archive/2100-01/A.yaml",
            "archive/202602/A.yaml",
            "archive/2026-02/A.yml",
            "archive/2026-02/.yaml",
            "archive/2026-02/a/A.yaml",
            "archive/../tasks/A.yaml",
            "archive/2026-02/../A.yaml",
            "archive/",
        ] {
            assert!(matches!(parse(bad), Some(Err(_))), "{bad}");
        }
    }

    #[test]
    fn the_month_is_that_of_the_end_in_utc() {
        let month = |text: &str| Month::of(time::parse(text).unwrap()).map(|month| month.to_string());
        assert_eq!(month("2026-02-28T23:59:59.999Z").as_deref(), Some("2026-02"));
        assert_eq!(month("2026-03-01T08:00:00+09:00").as_deref(), Some("2026-02"));
        assert_eq!(month("1999-12-31T23:59:59.999Z"), None);
        assert_eq!(Month::from_code(202_602), Month::parse("2026-02"));
    }
}
