//! Questions about paths: which file a program name means, and where a link points.
//!
//! Two questions are enough to follow any path without opening anything, so the rules about commands stay
//! free of files; [`RealPaths`] asks this machine.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// What the command policy asks about paths. All answers may be out of date a moment later.
pub trait Paths {
    /// The executable file that `program` means when it is started in `dir`: a name without `/` is looked up
    /// in `PATH`, anything else is taken relative to `dir`. Links are not followed.
    fn find(&self, program: &str, dir: &Path) -> Option<PathBuf>;

    /// The target of a symbolic link, as it is written in the link; `None` for anything else, and where nothing is.
    ///
    /// # Errors
    /// The path cannot be looked at, so nobody can say whether it is a link.
    fn link(&self, path: &Path) -> io::Result<Option<PathBuf>>;
}

/// The paths of this machine, with the `PATH` that the children will get.
#[derive(Debug, Clone, Default)]
pub struct RealPaths {
    search: OsString,
}

impl RealPaths {
    /// Looks programs up in this list of directories (the form of `PATH`).
    #[must_use]
    pub fn new(search: impl Into<OsString>) -> Self {
        RealPaths { search: search.into() }
    }

    /// Looks programs up in the `PATH` of this process.
    #[must_use]
    pub fn from_env() -> Self {
        RealPaths::new(std::env::var_os("PATH").unwrap_or_default())
    }
}

impl Paths for RealPaths {
    fn find(&self, program: &str, dir: &Path) -> Option<PathBuf> {
        if program.is_empty() || program.contains('\0') {
            return None;
        }
        if program.contains('/') {
            return Some(dir.join(program)).filter(|path| is_executable(path));
        }
        // An empty or relative entry of PATH means the directory of the child, so it is joined to that.
        std::env::split_paths(&self.search)
            .map(|entry| dir.join(entry).join(program))
            .find(|path| is_executable(path))
    }

    fn link(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => std::fs::read_link(path).map(Some),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn program(path: &Path, mode: u32) {
        std::fs::write(path, "").expect("a temporary file can be written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode can be set");
    }

    #[test]
    fn a_name_is_looked_up_in_order_and_must_be_executable() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        std::fs::create_dir(&first).unwrap();
        std::fs::create_dir(&second).unwrap();
        program(&first.join("tool"), 0o644);
        program(&second.join("tool"), 0o755);
        let paths = RealPaths::new(std::env::join_paths([&first, &second]).unwrap());
        assert_eq!(paths.find("tool", dir.path()), Some(second.join("tool")));
        assert_eq!(paths.find("./second/tool", dir.path()), Some(dir.path().join("./second/tool")));
        assert_eq!(paths.find("./first/tool", dir.path()), None);
        assert_eq!(paths.find("absent", dir.path()), None);
        assert_eq!(paths.find("", dir.path()), None);
    }

    #[test]
    fn a_relative_entry_of_path_means_the_directory_of_the_child() {
        let dir = tempfile::tempdir().unwrap();
        program(&dir.path().join("tool"), 0o755);
        assert_eq!(RealPaths::new(".").find("tool", dir.path()), Some(dir.path().join("./tool")));
    }

    #[test]
    fn links_are_told_even_when_they_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink("/nowhere/at/all", &link).unwrap();
        let paths = RealPaths::default();
        assert_eq!(paths.link(&link).unwrap(), Some(PathBuf::from("/nowhere/at/all")));
        assert_eq!(paths.link(dir.path()).unwrap(), None);
        assert_eq!(paths.link(&dir.path().join("absent")).unwrap(), None);
        assert_eq!(paths.link(&dir.path().join("link/below")).unwrap(), None);
        assert!(paths.link(Path::new("bad\0name")).is_err());
    }
}
