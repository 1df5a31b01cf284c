//! Whole folders, for what is set up and taken away again: a place of its own, links, and removal.
//! The files of a queue are not touched through here but through [`super::Disk`].

use std::io;
use std::path::{Path, PathBuf};

use super::Random;
use super::random::RealRandom;

fn about(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// Makes a new folder with a random name, readable by its owner only, where temporary files go.
///
/// # Errors
/// Nothing can be made there.
pub fn make_temporary(prefix: &str) -> io::Result<PathBuf> {
    let mut dice = [0u8; 4];
    RealRandom.fill(&mut dice);
    let ending: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
    let dir = std::env::temp_dir().join(format!("{prefix}{ending}"));
    make_private(&dir)?;
    resolve(&dir)
}

/// Makes sure that there is a folder with this path and nothing in it.
///
/// # Errors
/// It holds something, or cannot be made.
pub fn make_empty(dir: &Path) -> io::Result<PathBuf> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(about("there is something in", dir, &io::ErrorKind::DirectoryNotEmpty.into()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_private(dir)?,
        Err(error) => return Err(about("cannot look into", dir, &error)),
    }
    resolve(dir)
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().mode(0o700).create(dir);
    made.map_err(|error| about("cannot make", dir, &error))
}

fn resolve(dir: &Path) -> io::Result<PathBuf> {
    dir.canonicalize().map_err(|error| about("cannot resolve", dir, &error))
}

/// Makes a folder and its parents.
///
/// # Errors
/// With the path.
pub fn make(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir).map_err(|error| about("cannot make", dir, &error))
}

/// Writes a file.
///
/// # Errors
/// With the path.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    std::fs::write(path, text).map_err(|error| about("cannot write", path, &error))
}

/// Makes a symbolic link at `at` that leads to `to`.
///
/// # Errors
/// With the path.
pub fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at).map_err(|error| about("cannot make the link", at, &error))
}

/// Removes a symbolic link; anything else stays.
///
/// # Errors
/// With the path.
pub fn unlink(at: &Path) -> io::Result<()> {
    let removed = match at.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => std::fs::remove_file(at),
        Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| about("cannot remove the link", at, &error))
}

/// Removes a folder and everything in it; links are removed, not followed.
///
/// # Errors
/// With the path.
pub fn remove(dir: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(dir).map_err(|error| about("cannot remove", dir, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_folder_is_new_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let (one, two) = (make_temporary("orch-test-").unwrap(), make_temporary("orch-test-").unwrap());
        assert_ne!(one, two);
        assert_eq!(one.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        remove(&one).unwrap();
        remove(&two).unwrap();
        assert!(!one.exists());
    }

    #[test]
    fn a_folder_that_holds_something_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make_empty(&dir.path().join("new")).unwrap().is_dir());
        assert!(make_empty(&dir.path().join("new")).is_ok());
        let error = make_empty(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::DirectoryNotEmpty);
        assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    }

    #[test]
    fn only_links_are_unlinked() {
        let dir = tempfile::tempdir().unwrap();
        let (file, at) = (dir.path().join("file"), dir.path().join("link"));
        write(&file, "text").unwrap();
        link(&file, &at).unwrap();
        unlink(&at).unwrap();
        assert!(unlink(&file).is_err() && unlink(&at).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    }
}
