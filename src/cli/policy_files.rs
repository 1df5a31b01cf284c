//! The policy of a queue: the shared `policy.yaml`, and this machine's own, which can only tighten it.

use std::path::Path;

use crate::policy::Policy;
use crate::store::codec::FILE_MAX;
use crate::store::layout::{Layout, SharedFile};
use crate::sync::valid;
use crate::usecase::error::{Error, Kind, Result};
use crate::world::Disk;

/// Loads and merges both. Where a file is missing, the built-in checks alone decide.
///
/// # Errors
/// Configuration (78), naming file and place.
pub fn load(disk: &dyn Disk, state: &Path) -> Result<Policy> {
    let layout = Layout::new(state);
    let shared = read(disk, &layout.shared(SharedFile::Policy))?.unwrap_or_else(Policy::open);
    let own = read(disk, &layout.own().join(SharedFile::Policy.name()))?;
    Ok(match own {
        Some(own) => Policy::merge(shared, own),
        None => shared,
    })
}

/// Whether the shared policy has its file.
///
/// # Errors
/// The disk does not say.
pub fn is_there(disk: &dyn Disk, state: &Path) -> Result<bool> {
    let path = Layout::new(state).shared(SharedFile::Policy);
    let stat = disk.stat(&path).map_err(|e| Error::failure(format!("{}: {e}", path.display())))?;
    Ok(stat.is_some())
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Policy>> {
    let wrong = |why: String| {
        Error::new(Kind::Config, "policy", format!("{}{why}", path.display()))
            .hint("mend the file in an editor; no command runs while its policy cannot be read")
    };
    let bytes = match disk.read(path, FILE_MAX as u64) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!(": {error}"))),
    };
    let policy = valid::policy(&path.display().to_string(), &bytes);
    policy.map(Some).map_err(|error| wrong(format!(":{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::disk::RealDisk;

    #[test]
    fn a_missing_policy_is_open_and_a_broken_one_is_named() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(load(&RealDisk, state.path()), Ok(Policy::open()));
        std::fs::write(state.path().join("policy.yaml"), "format: 1\nrules: [{prefix: [a]}]\n").unwrap();
        let error = load(&RealDisk, state.path()).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
        assert!(error.message.contains("policy.yaml:2:"), "{}", error.message);
    }

    #[test]
    fn the_machines_own_policy_is_read_too() {
        let state = tempfile::tempdir().unwrap();
        let own = state.path().join(".git/orch");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::write(own.join("policy.yaml"), "format: 1\ndefault: forbid\n").unwrap();
        assert_ne!(load(&RealDisk, state.path()).unwrap().digest(), Policy::open().digest());
    }
}
