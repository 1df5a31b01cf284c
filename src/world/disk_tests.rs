//! Tests of the real disk: links, pipes, limits, durability calls.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn kind_of(error: &io::Error) -> io::ErrorKind {
    error.kind()
}

fn fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn a_file_is_written_beside_and_renamed() {
    let dir = dir();
    let disk = RealDisk;
    let target = dir.path().join("task.yaml");
    for bytes in [&b"old"[..], b"", b"new"] {
        let temp = disk.write_temp(dir.path(), bytes).unwrap();
        let name = temp.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with(&format!(".tmp.{}.", std::process::id())), "{name}");
        disk.sync_file(&temp).unwrap();
        disk.rename(&temp, &target).unwrap();
        disk.sync_dir(dir.path()).unwrap();
        assert_eq!(disk.read(&target, 3).unwrap(), bytes);
    }
    disk.sync_fs(dir.path()).unwrap();
    assert_eq!(disk.list(dir.path()).unwrap(), [("task.yaml".to_owned(), FileKind::File)]);
}

/// What is called durable has been asked for: the file system of `/proc` refuses every sync, and who only looked would
/// not hear of it.
#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_the_file_system_refuses_is_an_error() {
    let file = RealDisk.sync_file(Path::new("/proc/self/comm")).unwrap_err();
    let dir = RealDisk.sync_dir(Path::new("/proc")).unwrap_err();
    for error in [file, dir] {
        assert_eq!(kind_of(&error), io::ErrorKind::InvalidInput, "{error}");
    }
}

#[test]
fn temporary_names_differ() {
    let dir = dir();
    let names: std::collections::BTreeSet<_> =
        (0..50).map(|_| RealDisk.write_temp(dir.path(), b"x").unwrap()).collect();
    assert_eq!(names.len(), 50);
}

#[test]
fn reading_stops_at_the_limit() {
    let dir = dir();
    let path = dir.path().join("f");
    std::fs::write(&path, b"12345").unwrap();
    assert_eq!(RealDisk.read(&path, 5).unwrap(), b"12345");
    let error = RealDisk.read(&path, 4).unwrap_err();
    assert_eq!(kind_of(&error), io::ErrorKind::InvalidData);
    assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
}

/// Every kind of thing that can stand where a file is expected: no method may follow, block or write.
#[test]
fn strange_entries_are_neither_followed_nor_waited_for() {
    let dir = dir();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, b"secret").unwrap();
    let at = |name: &str| dir.path().join(name);
    symlink(&outside, at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("/dev/zero", at("device")).unwrap();
    fifo(&at("pipe"));
    let _socket = UnixListener::bind(at("socket")).unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    for name in ["link", "dangling", "loop", "device", "pipe", "socket", "dir"] {
        let error = RealDisk.read(&at(name), 100).unwrap_err();
        assert_eq!(kind_of(&error), io::ErrorKind::InvalidData, "{name}: {error}");
        let error = RealDisk.append(&at(name), b"x").unwrap_err();
        assert_eq!(kind_of(&error), io::ErrorKind::InvalidData, "{name}: {error}");
        assert!(RealDisk.lock(&at(name), Duration::ZERO).is_err(), "{name}");
        let kind = RealDisk.stat(&at(name)).unwrap().unwrap().kind;
        let want = if name == "dir" { FileKind::Dir } else { FileKind::Other };
        assert_eq!(kind, want, "{name}");
    }
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
    assert!(!at("nowhere").exists());
}

#[test]
fn a_rename_replaces_a_link_itself() {
    let dir = dir();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, b"secret").unwrap();
    let link = dir.path().join("link");
    symlink(&outside, &link).unwrap();
    let temp = RealDisk.write_temp(dir.path(), b"mine").unwrap();
    RealDisk.rename(&temp, &link).unwrap();
    assert_eq!(RealDisk.read(&link, 10).unwrap(), b"mine");
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
}

#[test]
fn a_rename_stays_in_its_directory() {
    let error = RealDisk.rename(Path::new("/a/x"), Path::new("/b/x")).unwrap_err();
    assert_eq!(kind_of(&error), io::ErrorKind::InvalidInput);
}

#[test]
fn a_linked_directory_is_not_entered() {
    let dir = dir();
    let link = dir.path().join("tasks");
    symlink("/", &link).unwrap();
    assert!(RealDisk.list(&link).is_err());
    assert!(RealDisk.stat_many(&link, &["etc"]).is_err());
    assert!(RealDisk.sync_dir(&link).is_err());
    assert!(RealDisk.create_dir(&link).is_err());
}

#[test]
fn directories_are_created_with_their_parents() {
    let dir = dir();
    let deep = dir.path().join("a/b/c");
    assert!(RealDisk.create_dir(&deep).unwrap());
    assert!(!RealDisk.create_dir(&deep).unwrap());
    std::fs::write(dir.path().join("f"), b"").unwrap();
    let error = RealDisk.create_dir(&dir.path().join("f")).unwrap_err();
    assert_eq!(kind_of(&error), io::ErrorKind::NotADirectory);
}

#[test]
fn listings_are_sorted_and_absence_is_empty() {
    let dir = dir();
    for name in ["b", "a", "c"] {
        std::fs::write(dir.path().join(name), b"").unwrap();
    }
    std::fs::create_dir(dir.path().join("aa")).unwrap();
    std::fs::write(dir.path().join(OsStr::from_bytes(b"z\xff")), b"").unwrap();
    let names = RealDisk.list(dir.path()).unwrap();
    let want = [
        ("a", FileKind::File),
        ("aa", FileKind::Dir),
        ("b", FileKind::File),
        ("c", FileKind::File),
        ("z\u{fffd}", FileKind::Other),
    ];
    assert_eq!(names, want.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(RealDisk.list(&dir.path().join("none")).unwrap(), []);
}

#[test]
fn stat_many_agrees_with_stat() {
    let dir = dir();
    std::fs::write(dir.path().join("a"), b"xyz").unwrap();
    symlink("a", dir.path().join("l")).unwrap();
    let names = ["l", "missing", "a", "a/below"];
    let many = RealDisk.stat_many(dir.path(), &names).unwrap();
    for (name, stat) in names.iter().zip(&many) {
        assert_eq!(RealDisk.stat(&dir.path().join(name)).unwrap(), *stat, "{name}");
    }
    assert_eq!(many[2].unwrap().size, 3);
    assert!(many[2].unwrap().ctime_ns > 1_577_836_800_000_000_000);
    assert_eq!(many[1], None);
    assert_eq!(RealDisk.stat_many(&dir.path().join("none"), &["a"]).unwrap(), [None]);
}

#[test]
fn removal_is_idempotent_and_appending_appends() {
    let dir = dir();
    let log = dir.path().join("log");
    RealDisk.append(&log, b"one\n").unwrap();
    RealDisk.append(&log, b"two\n").unwrap();
    assert_eq!(RealDisk.read(&log, 100).unwrap(), b"one\ntwo\n");
    RealDisk.remove(&log).unwrap();
    RealDisk.remove(&log).unwrap();
    assert!(RealDisk.remove(dir.path()).is_err());
}

#[test]
fn errors_name_their_path_and_keep_their_kind() {
    let missing = Path::new("/nonexistent/dir/file");
    for error in [
        RealDisk.read(missing, 1).unwrap_err(),
        RealDisk.sync_file(missing).unwrap_err(),
        RealDisk.append(missing, b"").unwrap_err(),
        RealDisk.sync_dir(missing).unwrap_err(),
        RealDisk.write_temp(missing, b"").unwrap_err(),
    ] {
        assert_eq!(kind_of(&error), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("/nonexistent/dir/file"), "{error}");
    }
}
