//! Where everything lies below the state directory, and the names that git trees use for it.
//!
//! A name becomes a path only here, from a parsed [`TaskId`] or a text that is encoded, so that no
//! other file has to think about `..`, separators or file systems that ignore case.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::place::{self, Month, Place};
use crate::protocol::id::TaskId;

/// First component of the tree path of every task.
pub const TASKS: &str = "tasks";
/// Ending of every file that people may edit.
pub const YAML: &str = ".yaml";
/// Longest readable part of an encoded session name.
const READABLE_MAX: usize = 48;

/// Paths of one state directory. Nothing here touches a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    state: PathBuf,
}

/// A tree or directory entry below `tasks/` that is not where a task with its name belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not the file of a task: {reason}; rename it, or add the task with `orch add --file`")]
pub struct Misnamed {
    /// The path as found, control characters replaced.
    pub path: String,
    /// Which rule it breaks.
    pub reason: String,
}

/// The 64-bit key under which this machine's index knows a task: the first 63 bits of the SHA-256 of
/// the folded id. Its upper eight bits are the shard, so the tasks of one directory are neighbours.
#[must_use]
pub fn key_of(id: &TaskId) -> i64 {
    let digest = Sha256::digest(id.folded().as_bytes());
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(first) >> 1).cast_signed()
}

/// The directory, 0 to 255, in which a task lies.
#[must_use]
pub fn shard_of(id: &TaskId) -> u8 {
    shard_of_key(key_of(id))
}

/// The directory, 0 to 255, of the task with this key.
#[must_use]
pub fn shard_of_key(key: i64) -> u8 {
    (key >> 55) as u8
}

/// The name of a shard: two hexadecimal digits.
#[must_use]
pub fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}

/// Path of a task's file in a git tree: `tasks/<xx>/<id>.yaml`.
#[must_use]
pub fn tree_path(id: &TaskId) -> String {
    format!("{TASKS}/{:02x}/{id}{YAML}", shard_of(id))
}

/// The task whose file this tree path is, in `tasks/` or in the archive; `None` for all other paths.
///
/// # Errors
/// As [`place::parse`].
pub fn parse_tree_path(path: &str) -> Option<Result<TaskId, Misnamed>> {
    Some(place::parse(path)?.map(|(id, _)| id))
}

/// The task whose file this tree path is; `None` for paths outside `tasks/`.
///
/// # Errors
/// [`Misnamed`] for an entry below `tasks/` that is not exactly what [`tree_path`] gives for its id.
pub(super) fn parse_task_path(path: &str) -> Option<Result<TaskId, Misnamed>> {
    let rest = path.strip_prefix(TASKS)?.strip_prefix('/')?;
    Some(match rest.split_once('/') {
        Some((shard, name)) => parse_entry(shard, name),
        None => Err(misnamed(path, "tasks lie in `tasks/<xx>/<id>.yaml`")),
    })
}

/// The task whose file has this name in this directory of `tasks/`.
///
/// # Errors
/// [`Misnamed`] with the rule that is broken.
pub fn parse_entry(shard: &str, name: &str) -> Result<TaskId, Misnamed> {
    let path = || format!("{TASKS}/{shard}/{name}");
    let stem = name
        .strip_suffix(YAML)
        .ok_or_else(|| misnamed(&path(), "the name of a task's file ends in `.yaml`"))?;
    let id = TaskId::parse(stem).map_err(|bad| misnamed(&path(), bad.reason))?;
    let expected = shard_name(shard_of(&id));
    if expected == shard {
        Ok(id)
    } else {
        Err(misnamed(&path(), &format!("a task with this id lies in `{TASKS}/{expected}/`")))
    }
}

pub(super) fn misnamed(path: &str, reason: &str) -> Misnamed {
    let path = path.chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect();
    Misnamed { path, reason: reason.to_owned() }
}

/// A name of a session as the stem of a file: as it is when it is plain, else a readable part, `~` and
/// a hash. Two names never share a file, not even where case is ignored.
#[must_use]
pub fn session_stem(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !name.is_empty() && name.len() <= READABLE_MAX && name.chars().all(plain) {
        return name.to_owned();
    }
    let fold = |c: char| if plain(c.to_ascii_lowercase()) { c.to_ascii_lowercase() } else { '-' };
    let readable: String = name.chars().take(READABLE_MAX).map(fold).collect();
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{readable}~{hash}")
}

impl Layout {
    /// The layout below a state directory, which must be absolute.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Layout { state: state_dir.into() }
    }

    /// The state directory itself.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// A shared settings file: `orch.yaml`, `agents.yaml`, `workflow.yaml` or `policy.yaml`.
    #[must_use]
    pub fn shared(&self, file: SharedFile) -> PathBuf {
        self.state.join(file.name())
    }

    /// `tasks/`.
    #[must_use]
    pub fn tasks(&self) -> PathBuf {
        self.state.join(TASKS)
    }

    /// `tasks/<xx>/`.
    #[must_use]
    pub fn shard(&self, shard: u8) -> PathBuf {
        self.tasks().join(shard_name(shard))
    }

    /// `tasks/<xx>/<id>.yaml`.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> PathBuf {
        self.state.join(tree_path(id))
    }

    /// `sessions/`.
    #[must_use]
    pub fn sessions(&self) -> PathBuf {
        self.state.join("sessions")
    }

    /// `events/`.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.state.join("events")
    }

    /// `events/<xx>/<id>.yaml`; event ids obey the rules of task ids.
    #[must_use]
    pub fn event(&self, id: &TaskId) -> PathBuf {
        self.events().join(shard_name(shard_of(id))).join(format!("{id}{YAML}"))
    }

    /// `archive/`.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.state.join(place::ARCHIVE)
    }

    /// `archive/<yyyy-mm>/`.
    #[must_use]
    pub fn month(&self, month: Month) -> PathBuf {
        self.archive().join(month.to_string())
    }

    /// The file of a task, where it lies at this place.
    #[must_use]
    pub fn file(&self, id: &TaskId, place: Place) -> PathBuf {
        self.state.join(place.tree_path(id))
    }

    /// `prompts/`.
    #[must_use]
    pub fn prompts(&self) -> PathBuf {
        self.state.join("prompts")
    }

    /// `runs/`: this machine's bundles.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// `logs/`: this machine's structured logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// `.git/`, the repository.
    #[must_use]
    pub fn git(&self) -> PathBuf {
        self.state.join(".git")
    }

    /// `.git/orch/`, this machine's own.
    #[must_use]
    pub fn own(&self) -> PathBuf {
        self.git().join("orch")
    }

    /// `.git/orch/locks/`.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.own().join("locks")
    }

    /// `.git/orch/locks/<xx>/<id>.lock`, the id folded so that one task has one lock.
    #[must_use]
    pub fn task_lock(&self, id: &TaskId) -> PathBuf {
        self.locks().join(shard_name(shard_of(id))).join(id.folded() + ".lock")
    }

    /// `.git/orch/locks/<name>.lock`.
    #[must_use]
    pub fn named_lock(&self, name: &str) -> PathBuf {
        self.locks().join(format!("{name}.lock"))
    }

    /// `.git/orch/index.db`: derived, may be deleted at any time.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.own().join("index.db")
    }

    /// `.git/orch/observations`: what this machine saw of leases, and when.
    #[must_use]
    pub fn observations(&self) -> PathBuf {
        self.own().join("observations")
    }

    /// `.git/orch/rejected/`: operations that the register refused.
    #[must_use]
    pub fn rejected(&self) -> PathBuf {
        self.own().join("rejected")
    }

    /// Where it is noted that the remote's branch was rewound or deleted.
    #[must_use]
    pub fn alarm(&self) -> PathBuf {
        self.own().join("alarm")
    }

    /// `.git/orch/outbox`: what is to be pushed.
    #[must_use]
    pub fn outbox(&self) -> PathBuf {
        self.own().join("outbox")
    }

    /// `.git/orch/machine`: the random id of this state directory.
    #[must_use]
    pub fn machine(&self) -> PathBuf {
        self.own().join("machine")
    }

    /// `.git/orch/config.yaml`: settings of this machine.
    #[must_use]
    pub fn own_config(&self) -> PathBuf {
        self.own().join("config.yaml")
    }
}

/// The settings files that all machines share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedFile {
    /// `orch.yaml`.
    Orch,
    /// `agents.yaml`.
    Agents,
    /// `workflow.yaml`.
    Workflow,
    /// `policy.yaml`.
    Policy,
}

impl SharedFile {
    /// Name in the state directory and in the tree.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SharedFile::Orch => "orch.yaml",
            SharedFile::Agents => "agents.yaml",
            SharedFile::Workflow => "workflow.yaml",
            SharedFile::Policy => "policy.yaml",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).unwrap()
    }

    #[test]
    fn the_shard_is_the_first_byte_of_the_hash_of_the_folded_id() {
        let first = Sha256::digest(b"orch-010")[0];
        assert_eq!(shard_of(&id("ORCH-010")), first);
        assert_eq!(shard_of(&id("orch-010")), first);
        assert_eq!(tree_path(&id("ORCH-010")), format!("tasks/{first:02x}/ORCH-010.yaml"));
        for n in 0..500 {
            let id = id(&format!("T-{n}"));
            assert_eq!(shard_of(&id), Sha256::digest(id.folded().as_bytes())[0]);
            assert!(key_of(&id) >= 0);
        }
    }

    #[test]
    fn a_tree_path_leads_back_to_its_id_and_no_other_path_does() {
        let path = tree_path(&id("ORCH-010"));
        assert_eq!(parse_tree_path(&path), Some(Ok(id("ORCH-010"))));
        assert_eq!(parse_tree_path("orch.yaml"), None);
        assert_eq!(parse_tree_path("tasksx/aa/b.yaml"), None);
        let shard = shard_name(shard_of(&id("ORCH-010")));
        let upper = format!("tasks/{}/ORCH-010.yaml", shard.to_uppercase());
        let wrong = shard_name(shard_of(&id("ORCH-010")).wrapping_add(1));
        for bad in [
            "tasks/ORCH-010.yaml".to_owned(),
            format!("tasks/{wrong}/ORCH-010.yaml"),
            format!("tasks/{shard}/ORCH-010.yml"),
            format!("tasks/{shard}/ORCH-010"),
            format!("tasks/{shard}/deeper/ORCH-010.yaml"),
            format!("tasks/{shard}/../{shard}/ORCH-010.yaml"),
            format!("tasks//{shard}/ORCH-010.yaml"),
            "tasks/".to_owned(),
        ] {
            assert!(matches!(parse_tree_path(&bad), Some(Err(_))), "{bad}");
        }
        if upper != path {
            assert!(matches!(parse_tree_path(&upper), Some(Err(_))), "{upper}");
        }
    }

    #[test]
    fn sessions_with_similar_names_have_different_files() {
        assert_eq!(session_stem("worker-1"), "worker-1");
        let names = ["agent:main:7", "agent-main-7", "agent/main/7", "Worker-1", "worker-1", "../x", "ä", ""];
        let mut stems: Vec<String> = names.iter().map(|name| session_stem(name)).collect();
        assert!(stems.iter().all(|s| !s.contains('/') && !s.starts_with('.') && s.is_ascii()));
        stems.sort();
        stems.dedup_by_key(|s| s.to_lowercase());
        assert_eq!(stems.len(), names.len());
        assert!(session_stem(&"x".repeat(200)).len() < 80);
    }

    #[test]
    fn one_task_has_one_lock_whatever_the_case() {
        let layout = Layout::new("/s");
        assert_eq!(layout.task_lock(&id("A-1")), layout.task_lock(&id("a-1")));
        assert_eq!(layout.named_lock("sync"), Path::new("/s/.git/orch/locks/sync.lock"));
        assert_eq!(layout.task(&id("A-1")), Path::new("/s").join(tree_path(&id("A-1"))));
    }
}
