//! Questions about a directory that only `orch doctor` asks: what file system it lies on, who may write
//! there, and which processes are at work in it. Nothing here changes anything.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::at;

/// The file system that a directory lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// Name of a kind that lies on another machine or in another process; `None` for a local disk.
    pub network: Option<&'static str>,
    /// Bytes that this user may still write.
    pub free: u64,
}

/// Kinds of file system, by the number that `statfs` gives on Linux, whose locks may be of no effect.
#[cfg(target_os = "linux")]
const REMOTE_KINDS: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
];

/// Asks for the file system of a directory.
///
/// # Errors
///
/// The directory is not there, or the system does not say.
pub fn file_system(dir: &Path) -> io::Result<FileSystem> {
    let stat = rustix::fs::statfs(dir).map_err(at(dir))?;
    let free = (stat.f_bavail as u64).saturating_mul(stat.f_bsize as u64);
    Ok(FileSystem { network: network_kind(&stat), free })
}

#[cfg(target_os = "linux")]
fn network_kind(stat: &rustix::fs::StatFs) -> Option<&'static str> {
    let number = stat.f_type as u64 & 0xffff_ffff;
    REMOTE_KINDS.iter().find(|(kind, _)| *kind == number).map(|(_, name)| *name)
}

#[cfg(not(target_os = "linux"))]
fn network_kind(_: &rustix::fs::StatFs) -> Option<&'static str> {
    None
}

/// Who may do what with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits, like `0o755`.
    pub mode: u32,
    /// Whether it belongs to the user of this process.
    pub ours: bool,
}

/// Asks for the permissions of a path; links are not followed.
///
/// # Errors
///
/// Nothing is there.
pub fn permissions(path: &Path) -> io::Result<Permissions> {
    let stat = rustix::fs::lstat(path).map_err(at(path))?;
    let ours = stat.st_uid as u32 == rustix::process::geteuid().as_raw();
    Ok(Permissions { mode: stat.st_mode as u32 & 0o7777, ours })
}

/// Processes named `git…` that work in a git directory, or name it on their command line, and any process
/// that has `file` open; `None` where the system does not tell. Processes of other users may be overlooked.
#[must_use]
pub fn at_work(git_dir: &Path, file: &Path) -> Option<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").ok()? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let home = entry.path();
        if (is_git(&home) && concerns(&home, git_dir)) || has_open(&home, file) {
            found.push(pid);
        }
    }
    Some(found)
}

fn is_git(home: &Path) -> bool {
    std::fs::read_to_string(home.join("comm")).is_ok_and(|name| name.starts_with("git"))
}

fn concerns(home: &Path, git_dir: &Path) -> bool {
    let inside = |path: PathBuf| path.starts_with(git_dir) || git_dir.parent() == Some(path.as_path());
    if std::fs::read_link(home.join("cwd")).is_ok_and(inside) {
        return true;
    }
    let wanted = git_dir.to_string_lossy().into_owned();
    std::fs::read(home.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&wanted))
}

fn has_open(home: &Path, file: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(home.join("fd")) else { return false };
    entries.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_is_ours_and_has_room() {
        let dir = tempfile::tempdir().unwrap();
        let permissions = permissions(dir.path()).unwrap();
        assert!(permissions.ours && permissions.mode & 0o700 == 0o700);
        assert!(file_system(dir.path()).unwrap().free > 0);
        let absent = dir.path().join("absent");
        assert!(file_system(&absent).unwrap_err().to_string().contains("absent"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_has_a_file_open_is_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let path = dir.join("x.lock");
        std::fs::write(&path, "").unwrap();
        assert_eq!(at_work(&dir, &path), Some(Vec::new()));
        let open = std::fs::File::open(&path).unwrap();
        assert_eq!(at_work(&dir, &path), Some(vec![std::process::id()]));
        drop(open);
    }
}
