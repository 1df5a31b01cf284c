//! The names by which a program is known: what was written, the base of it, and where links lead.

use super::command::Command;
use super::ground;
use crate::world::paths::Paths;
use std::path::PathBuf;

/// Programs that look at the name they were called by, so the file behind the link says nothing.
const MULTI_CALL: [&str; 9] =
    ["busybox", "toybox", "coreutils", "rustup", "snap", "mise", "asdf", "volta-shim", "sbase-box"];

/// What is known about the program of one command.
#[derive(Debug, Clone, Default)]
pub(super) struct Program {
    /// The first word as it was written.
    pub token: String,
    /// Its base name, lower case, without `.exe`.
    pub base: String,
    /// The name of the file behind all links, in the same form, where it differs and means something.
    pub behind: Option<String>,
    /// The file behind all links.
    pub file: Option<PathBuf>,
    /// Whether the base name, looked up in `PATH`, is this very file.
    genuine: bool,
}

impl Program {
    /// Looks at the first word of a command.
    pub fn of(paths: &dyn Paths, command: &Command) -> Program {
        let token = command.argv.first().cloned().unwrap_or_default();
        let base = base_name(&token);
        let plain = !token.contains(['/', '\\']);
        let Some(dir) = &command.dir else {
            return Program { genuine: plain, token, base, ..Program::default() };
        };
        let find = |name: &str| paths.find(name, dir).and_then(|path| ground::real(paths, &path));
        let file = find(&token);
        let genuine = plain || (file.is_some() && find(&raw_base(&token)) == file);
        let behind = file
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|name| base_name(&name.to_string_lossy()))
            .filter(|name| *name != base && !MULTI_CALL.contains(&name.as_str()));
        Program { token, base, behind, file, genuine }
    }

    /// Every name that a check should look at.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.base.as_str()).chain(self.behind.as_deref())
    }

    /// Whether a rule about `wanted` is about this program. A rule that restricts takes every name for it;
    /// a rule that allows takes only what is certain, so that `./git` is not taken for `git`.
    pub fn is(&self, wanted: &str, restricts: bool) -> bool {
        if self.token == wanted || (self.genuine && raw_base(&self.token) == wanted) {
            return true;
        }
        if wanted.contains('/') {
            return self.file.as_ref().is_some_and(|file| file.as_os_str() == wanted);
        }
        restricts && self.names().any(|name| name == base_name(wanted))
    }
}

fn raw_base(token: &str) -> String {
    token.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()
}

/// Base name in lower case (file systems may not tell cases apart), without the endings of Windows.
pub(super) fn base_name(token: &str) -> String {
    let base = raw_base(token).to_lowercase();
    let stem = [".exe", ".com", ".bat", ".cmd"].iter().find_map(|end| base.strip_suffix(end));
    stem.unwrap_or(&base).to_owned()
}

/// A name without the version at its end: `python3.11` is python, `zsh-5.9` is zsh.
pub(super) fn unversioned(name: &str) -> &str {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
    if bare.is_empty() { name } else { bare }
}

/// Whether `name` is in a list separated by blanks.
pub(super) fn among(name: &str, list: &str) -> bool {
    !name.is_empty() && list.split(' ').any(|known| known == name)
}
