//! The disk: a file goes there the way that task files do, and comes back as it was.

use std::io;

use crate::world::Disk;

use super::{Check, Patient};

const NAME: &str = "disk";
/// Below this nothing serious fits any more.
const FREE_MIN: u64 = 64 << 20;

pub(super) fn check(patient: &dyn Patient) -> Check {
    let dir = patient.layout().own();
    if let Err(error) = round_trip(patient.disk(), &dir) {
        return Check::wrong(NAME, format!("a test file cannot be written durably: {error}"))
            .hint("free some space, or look at what the system's log says about this disk");
    }
    match patient.file_system() {
        Ok(seen) if seen.free < FREE_MIN => {
            Check::wrong(NAME, format!("only {} MiB are free at {}", seen.free >> 20, dir.display()))
                .hint("free some space; `orch gc` removes what retention no longer wants")
        }
        Ok(seen) => {
            Check::fine(NAME, format!("write, sync, rename and read work; {} MiB free", seen.free >> 20))
        }
        Err(error) => {
            Check::fine(NAME, format!("write, sync, rename and read work; free space unknown: {error}"))
        }
    }
}

fn round_trip(disk: &dyn Disk, dir: &std::path::Path) -> io::Result<()> {
    let bytes = b"orch doctor\n".repeat(512);
    let target = dir.join("doctor.scratch");
    let temp = disk.write_temp(dir, &bytes)?;
    let written = disk.sync_file(&temp).and_then(|()| disk.rename(&temp, &target));
    if written.is_err() {
        disk.remove(&temp)?;
    }
    let back = written.and_then(|()| disk.sync_dir(dir)).and_then(|()| disk.read(&target, 1 << 20));
    disk.remove(&target)?;
    if back? == bytes { Ok(()) } else { Err(io::Error::other("what was read back is not what was written")) }
}
