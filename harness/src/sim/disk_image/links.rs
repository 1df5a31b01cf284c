//! Symbolic links of a simulated disk, and the paths that lead through them.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{DiskImage, Entry, not_a_directory, not_found, split, text};

/// How many links one path may lead through, as on Linux.
const MOST_LINKS: usize = 40;

impl DiskImage {
    /// A new symbolic link.
    ///
    /// # Errors
    /// The directory is not there, or the name is taken.
    pub fn create_link(&mut self, path: &Path, to: &Path, now_ns: i64) -> io::Result<()> {
        let path = &*self.way(path)?;
        self.is_free(path)?;
        let inode = self.new_inode(text(to).as_bytes().to_vec(), now_ns);
        if let Some(node) = self.inodes.get_mut(&inode) {
            node.durable = Some(Rc::clone(&node.live));
        }
        self.linked = true;
        let (dir, name) = split(path);
        self.link(dir, name, Entry::Link(inode), now_ns)
    }

    /// The same path without links on the way; what stands in its last place is left as it is.
    pub(super) fn way<'p>(&self, path: &'p Path) -> io::Result<Cow<'p, Path>> {
        let (dir, name) = split(path);
        if !self.linked || name.is_empty() {
            return Ok(Cow::Borrowed(path));
        }
        Ok(Cow::Owned(self.followed(Path::new(dir))?.join(name)))
    }

    /// A path with all of its links followed. Whether anything is there is another question.
    fn followed(&self, path: &Path) -> io::Result<PathBuf> {
        let parts = |path: &str| path.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
        let (mut found, mut left, mut links) = (PathBuf::from("/"), parts(text(path)), 0);
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    found.pop();
                    continue;
                }
                name => found.push(name),
            }
            let Some(Entry::Link(inode)) = self.at(&found) else { continue };
            links += 1;
            if links > MOST_LINKS {
                let text = format!("{}: too many links", path.display());
                return Err(io::Error::other(text));
            }
            found.pop();
            let target = String::from_utf8_lossy(&self.inodes[&inode].live).into_owned();
            if target.starts_with('/') {
                found = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(found)
    }

    /// A directory as a path without links.
    ///
    /// # Errors
    /// None is there.
    pub fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let real = self.followed(dir)?;
        match self.at(&real) {
            _ if self.dirs.contains_key(text(&real)) => Ok(real),
            Some(_) => Err(not_a_directory(dir)),
            None => Err(not_found(dir)),
        }
    }

    /// Nothing is at the path of a directory that is not there.
    pub(super) fn nothing_at(&self, dir: &Path) -> io::Result<()> {
        for above in dir.ancestors() {
            match self.entry(above) {
                Some(Entry::File(_)) => return Err(not_a_directory(dir)),
                Some(Entry::Link(_)) if above == dir => return Err(not_a_directory(dir)),
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }
}
