//! Where a path really leads, and whether a destructive command may touch it.

use super::check::Request;
use crate::world::paths::Paths;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows before it gives up.
const LINKS_MAX: usize = 40;

/// The ground on which destructive commands may act: the workspace without its protected parts.
pub(super) struct Ground<'a> {
    /// For questions about paths.
    pub paths: &'a dyn Paths,
    root: Option<PathBuf>,
    state: Option<PathBuf>,
}

impl<'a> Ground<'a> {
    /// The ground of one request.
    pub fn new(paths: &'a dyn Paths, request: &Request<'_>) -> Self {
        Ground {
            paths,
            root: real(paths, request.workspace),
            state: request.state.map(|state| real(paths, state).unwrap_or_else(|| state.to_owned())),
        }
    }

    /// Whether something below the workspace, and nothing protected, is meant.
    ///
    /// # Errors
    /// Half a sentence that says why it may not be destroyed.
    pub fn may_destroy(&self, dir: Option<&Path>, operand: &str) -> Result<(), String> {
        let (root, path) = self.locate(dir, operand)?;
        let Ok(below) = path.strip_prefix(root) else {
            return Err(format!("`{operand}` lies outside the workspace"));
        };
        if below.as_os_str().is_empty() {
            return Err(format!("`{operand}` is the workspace itself"));
        }
        if below.components().any(|part| part.as_os_str().eq_ignore_ascii_case(".git")) {
            return Err(format!("`{operand}` belongs to a git repository's own files"));
        }
        match &self.state {
            Some(state) if path.starts_with(state) || state.starts_with(&path) => {
                Err(format!("`{operand}` holds the state of the queue"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a file lies in the workspace.
    ///
    /// # Errors
    /// Half a sentence that says why not.
    pub fn holds(&self, dir: Option<&Path>, operand: &str) -> Result<(), String> {
        let (root, path) = self.locate(dir, operand)?;
        match path.starts_with(root) {
            true => Ok(()),
            false => Err(format!("`{operand}` lies outside the workspace")),
        }
    }

    fn locate(&self, dir: Option<&Path>, operand: &str) -> Result<(&Path, PathBuf), String> {
        let dir = dir.ok_or_else(|| format!("nobody here can tell what `{operand}` is where it runs"))?;
        let root = self.root.as_deref().ok_or("the workspace itself cannot be resolved")?;
        if operand.is_empty() {
            return Err("an empty path names nothing".to_owned());
        }
        let path = real(self.paths, &dir.join(operand))
            .ok_or_else(|| format!("`{operand}` cannot be resolved (a loop of links, or no permission)"))?;
        Ok((root, path))
    }
}

/// The path with every link followed and every `..` taken off after that; a tail that does not exist is kept.
/// `None` for a relative path, for a loop of links, and where a part cannot be looked at.
pub(super) fn real(paths: &dyn Paths, path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    let mut todo: Vec<OsString> = Vec::new();
    let mut done = PathBuf::new();
    let mut links = 0;
    push_reversed(&mut todo, path);
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(&part);
        if let Some(target) = paths.link(&done).ok()? {
            links += 1;
            if links > LINKS_MAX {
                return None;
            }
            done.pop();
            push_reversed(&mut todo, &target);
        }
    }
    Some(done)
}

/// An absolute path begins with its root, and pushing a root onto a path replaces that path.
fn push_reversed(todo: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    todo.extend(parts.map(|part| part.as_os_str().to_owned()).rev());
}
