//! Where the state directory is.

use std::path::{Component, Path, PathBuf};

use crate::usecase::error::{Error, Kind, Result};
use crate::world::{Disk, FileKind, env};

/// Name of the state directory beside the code that it is about.
const STATE: &str = "state";
/// The file that makes a directory a state directory.
const SETTINGS: &str = "orch.yaml";
/// What a machine has for itself in there. It tells as well, because the settings may have vanished.
const OWN: &str = ".git/orch";

/// A path made absolute, without `.` and `..`.
///
/// # Errors
/// When the current directory is gone.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    let base = env::current_dir().map_err(|error| Error::failure(error.to_string()))?;
    Ok(tidy(&base.join(path)))
}

/// The state directory: the named one, or the nearest one upwards from the current directory.
///
/// # Errors
/// Not found, with the way to create one.
pub fn find(disk: &dyn Disk, named: Option<&Path>) -> Result<PathBuf> {
    let missing = |message| {
        let error = Error::new(Kind::NotFound, "no_queue", message);
        Err(error.hint("`orch init` creates one; --state or ORCH_STATE names another"))
    };
    match named {
        Some(path) => {
            let path = absolute(path)?;
            let candidates = [path.clone(), path.join(STATE)];
            let found = candidates.into_iter().find(|dir| is_queue(disk, dir));
            found.map_or_else(|| missing(format!("{}: no state directory is there", path.display())), Ok)
        }
        None => {
            let here = absolute(Path::new("."))?;
            let text = format!("no state directory in {} or above it", here.display());
            upwards(disk, &here).map_or_else(|| missing(text), Ok)
        }
    }
}

/// Where `init` creates one: the named place, the state directory that one stands in, or `state` here.
///
/// # Errors
/// When the current directory is gone.
pub fn for_init(disk: &dyn Disk, named: Option<&Path>) -> Result<PathBuf> {
    let here = absolute(Path::new("."))?;
    Ok(match named {
        Some(path) => absolute(path)?,
        None if is_state(disk, &here) => here,
        None => here.join(STATE),
    })
}

fn upwards(disk: &dyn Disk, from: &Path) -> Option<PathBuf> {
    from.ancestors().find_map(|dir| {
        let inside = dir.join(STATE);
        if is_queue(disk, &inside) { Some(inside) } else { is_state(disk, dir).then(|| dir.to_owned()) }
    })
}

/// Whether a directory that is named, or called as one, is a state directory.
fn is_queue(disk: &dyn Disk, dir: &Path) -> bool {
    has(disk, dir, SETTINGS, FileKind::File) || has(disk, dir, OWN, FileKind::Dir)
}

/// Whether any directory is a state directory itself: settings alone could be another program's.
fn is_state(disk: &dyn Disk, dir: &Path) -> bool {
    has(disk, dir, OWN, FileKind::Dir)
        || (has(disk, dir, SETTINGS, FileKind::File) && has(disk, dir, "tasks", FileKind::Dir))
}

fn has(disk: &dyn Disk, dir: &Path, name: &str, kind: FileKind) -> bool {
    matches!(disk.stat(&dir.join(name)), Ok(Some(stat)) if stat.kind == kind)
}

/// Removes `.` and resolves `..` by the names alone, so that a path shown is a path that can be typed.
fn tidy(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::disk::RealDisk;

    fn queue_in(dir: &Path) {
        std::fs::create_dir_all(dir.join("tasks")).unwrap();
        std::fs::write(dir.join(SETTINGS), "format: 1\n").unwrap();
    }

    #[test]
    fn the_nearest_state_directory_is_found_from_below_and_from_inside() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        queue_in(&state);
        let deep = root.path().join("src/deep");
        std::fs::create_dir_all(&deep).unwrap();
        for from in [root.path(), &deep, &state, &state.join("tasks")] {
            assert_eq!(upwards(&RealDisk, from).as_deref(), Some(state.as_path()), "{from:?}");
        }
    }

    #[test]
    fn settings_of_another_program_are_no_state_directory() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join(SETTINGS), "x: 1\n").unwrap();
        assert!(!is_state(&RealDisk, root.path()));
    }

    #[test]
    fn a_named_place_is_the_directory_or_what_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join("state");
        queue_in(&state);
        assert_eq!(find(&RealDisk, Some(&state)).as_deref(), Ok(state.as_path()));
        assert_eq!(find(&RealDisk, Some(root.path())).as_deref(), Ok(state.as_path()));
        let none = find(&RealDisk, Some(&root.path().join("else"))).map_err(|error| error.kind);
        assert_eq!(none, Err(Kind::NotFound));
    }

    #[test]
    fn paths_lose_their_dots() {
        assert_eq!(tidy(Path::new("/a/./b/../c")), Path::new("/a/c"));
        assert_eq!(tidy(Path::new("/../a")), Path::new("/a"));
    }
}
