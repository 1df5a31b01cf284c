//! A state directory on a disk that is full or read-only: who only looks can look, who writes learns why not.

use std::io::Write;
use std::process::Command;

use crate::rig::{Machine, Run, TestEnv};

/// A small file system of its own below a machine's folder.
struct SmallDisk {
    env: TestEnv,
    machine: Machine,
}

impl SmallDisk {
    /// `None`, with the reason, where the test may not mount one.
    fn under(name: &str) -> Option<SmallDisk> {
        if !rustix::process::geteuid().is_root() || !cfg!(target_os = "linux") {
            eprintln!("skipped: only root on Linux may mount a small file system");
            return None;
        }
        let env = TestEnv::new();
        let machine = env.machine(name);
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "orch-test"]).arg(machine.dir());
        match mount.output() {
            Ok(done) if done.status.success() => Some(SmallDisk { env, machine }),
            other => {
                eprintln!("skipped: a small file system cannot be mounted here: {other:?}");
                None
            }
        }
    }

    /// Takes up what is left.
    fn fill(&self) {
        let path = self.machine.dir().join("ballast");
        let mut file =
            std::fs::File::options().append(true).create(true).open(path).expect("a name has room");
        for size in [64 * 1024, 4096] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.machine.dir().join("ballast")).expect("it was filled");
    }

    fn remount(&self, how: &str) {
        let mut mount = self.env.command("/bin/mount");
        Run::of(mount.args(["-o", &format!("remount,{how}")]).arg(self.machine.dir())).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.machine.dir()).status());
    }
}

fn forget_the_index(a: &Machine) {
    for name in ["index.db", "index.db-journal"] {
        drop(std::fs::remove_file(a.state(".git/orch").join(name)));
    }
}

/// Everybody who only looks finds both tasks; who would write is told file, reason and next step.
#[track_caller]
fn only_looks(a: &Machine, reason: &str) {
    a.orch(["list"]).ok().prints("T-1").prints("T-2").says("this is only a look");
    for args in [&["show", "T-1"][..], &["explain", "T-1"], &["status"], &["log"], &["resume", "T-1"]] {
        a.orch(args).ok();
    }
    let error = a.try_json(["pick"]).exits(1).error();
    assert_eq!(error["code"], "unwritable", "{error:#}");
    let (message, hint) =
        (error["message"].as_str().unwrap_or_default(), error["hint"].as_str().unwrap_or_default());
    assert!(message.contains("/state/.git/orch/") && message.contains(reason), "{error:#}");
    assert!(hint.contains("free some space there, or make it writable"), "{error:#}");
}

/// After a reboot the index is made anew by whoever comes first. On a full disk that was `list`, which ended with 1:
/// nobody could see any more what there was to do.
#[test]
fn on_a_full_disk_whoever_only_looks_can_look() {
    let Some(disk) = SmallDisk::under("a") else { return };
    let a = &disk.machine;
    a.orch(["init"]).ok();
    a.add("T-1");
    a.add("T-2");
    disk.fill();
    a.orch(["list"]).ok().prints("T-1").quiet();
    forget_the_index(a);
    disk.fill();
    only_looks(a, "full");
    assert_eq!(a.try_json(["show", "T-1"]).ok().data()["status"], "pending");
    disk.make_room();
    assert_eq!(a.json(["pick"])["task"]["id"], "T-1");
    a.orch(["list"]).ok().quiet();
    a.verify();
}

/// The same with an edit that would have to be recorded: it is kept, reported, and taken over once there is room.
#[test]
fn an_edit_on_a_full_disk_blocks_its_task_until_there_is_room() {
    let Some(disk) = SmallDisk::under("a") else { return };
    let a = &disk.machine;
    a.orch(["init"]).ok();
    a.add("T-1");
    a.add("T-2");
    a.edit_task("T-1", |text| text.replacen("title: ", "title: A", 1));
    disk.fill();
    a.orch(["list"]).ok().prints("T-2").says("T-1.yaml");
    disk.make_room();
    assert!(a.show("T-1")["title"].as_str().is_some_and(|title| title.starts_with('A')));
    a.verify();
}

#[test]
fn on_a_read_only_disk_whoever_only_looks_can_look() {
    let Some(disk) = SmallDisk::under("a") else { return };
    let a = &disk.machine;
    a.orch(["init"]).ok();
    a.add("T-1");
    a.add("T-2");
    a.orch(["list"]).ok();
    disk.remount("ro");
    a.orch(["list"]).ok().prints("T-1").prints("T-2");
    a.orch(["pick"]).exits(1).says("ead-only");
    disk.remount("rw");
    forget_the_index(a);
    disk.remount("ro");
    only_looks(a, "");
    disk.remount("rw");
    a.orch(["pick"]).ok();
    a.verify();
}
