//! The disk of one machine: a small file system of its own that can be filled up. It needs root and Linux; where it
//! is not to be had, the fault is left out and the report says so.
//!
//! It is an image in the folder of the run, which outlives a reboot; where no image can be made or mounted, it is memory.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::fault::Ticket;
use super::place::{Place, output};

/// A mounted file system with a file that takes up what is left.
pub struct Ballast {
    /// The machine that lives there.
    pub machine: usize,
    dir: PathBuf,
}

impl Ballast {
    /// Mounts a file system of so many MiB as the folder of a machine, or takes the one of an earlier part.
    ///
    /// # Errors
    /// Why this computer cannot.
    pub fn mount(place: &Place, machine: usize, mib: u64) -> Result<Ballast, String> {
        let dir = place.machine(machine);
        std::fs::create_dir_all(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let shown = dir.canonicalize().unwrap_or_else(|_| dir.clone()).display().to_string();
        let there = mounts.lines().any(|line| line.split(' ').nth(1) == Some(&shown));
        if !there {
            if !rustix::process::geteuid().is_root() {
                return Err("only root may mount a small file system".to_owned());
            }
            let image = place.dir.join("disk.img");
            let known = image.exists();
            match mount_image(&image, known, mib, &dir) {
                Ok(()) => {}
                // The machine is in there.
                Err(why) if known => return Err(format!("{}: {why}", image.display())),
                Err(_) => {
                    drop(std::fs::remove_file(&image));
                    let size = format!("size={mib}m");
                    output(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "orch-soak"]).arg(&dir))?;
                }
            }
        }
        let ballast = Ballast { machine, dir };
        ballast.empty();
        Ok(ballast)
    }

    /// Takes up everything that is left, while that fault is in force by the book already: it is full for somebody before this
    /// is over, and that one's failure was called one without a reason.
    pub fn fill(&self, _in_force: Ticket) {
        let Ok(mut file) = File::create(self.dir.join("ballast")) else { return };
        let block = vec![0_u8; 256 * 1024];
        while file.write_all(&block).is_ok() {}
        // The last bytes, too: `write_all` stops at the block that does not fit.
        while file.write_all(&[0; 512]).is_ok() {}
    }

    /// Gives the space back, at once: a program that another thread is just starting may have the file open for a moment, and
    /// what is only removed is there until then.
    pub fn empty(&self) {
        let ballast = self.dir.join("ballast");
        drop(File::options().write(true).open(&ballast).and_then(|file| file.set_len(0)));
        drop(std::fs::remove_file(ballast));
    }

    /// Takes the file system away; what was on it is in its image, if it has one.
    pub fn unmount(&self) {
        let patience = Instant::now() + Duration::from_secs(5);
        while let Err(why) = output(Command::new("umount").arg(&self.dir)) {
            // It is busy for a moment where a program is just being started, see `empty`.
            if Instant::now() > patience {
                return eprintln!("warning: {} is still mounted: {why}", self.dir.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Mounts an image, which is made first where there is none.
fn mount_image(image: &Path, known: bool, mib: u64, dir: &Path) -> Result<(), String> {
    if !known {
        let made = File::create(image).and_then(|file| file.set_len(mib << 20));
        made.map_err(|why| why.to_string())?;
        // Tasks and git's objects are many small files, and no part of it is kept for root.
        output(
            Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-i", "2048", "-I", "128"]).arg(image),
        )?;
    }
    output(Command::new("mount").args(["-o", "loop"]).arg(image).arg(dir)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Kind, Windows};
    use super::*;

    /// A small file system, where this computer can have one.
    fn mounted(dir: &Path) -> Option<(Place, Ballast)> {
        let place = Place { dir: dir.to_owned(), orch: PathBuf::new() };
        match Ballast::mount(&place, 0, 16) {
            Ok(ballast) => Some((place, ballast)),
            Err(why) => {
                eprintln!("skipped: {why}");
                None
            }
        }
    }

    /// Whatever this process has open a child of it has open, too, until its own program runs: the space of the ballast was not
    /// back, and the file system was busy.
    #[test]
    fn a_program_that_is_just_being_started_keeps_neither_the_space_nor_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        let Some((place, ballast)) = mounted(dir.path()) else { return };
        let path = place.machine(0);
        ballast.fill(Windows::default().begin(Kind::DiskFull, Some(0)));
        let open = [File::open(path.join("ballast")).unwrap(), File::open(&path).unwrap()];
        ballast.empty();
        std::fs::write(path.join("x"), [1; 8192]).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                drop(open);
            });
            ballast.unmount();
        });
        assert!(!path.join("x").exists());
    }

    /// The machine on the small file system was in memory, so that a run that was interrupted by a reboot, or ended before its
    /// time, could not go on: `--resume` said that the machine is gone.
    #[test]
    fn a_filled_disk_takes_nothing_an_emptied_one_does_again_and_a_later_part_finds_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let Some((place, ballast)) = mounted(dir.path()) else { return };
        let file = place.machine(0).join("x");
        ballast.fill(Windows::default().begin(Kind::DiskFull, Some(0)));
        assert!(std::fs::write(&file, [1; 8192]).is_err());
        ballast.empty();
        std::fs::write(&file, [1; 8192]).unwrap();
        ballast.unmount();
        assert!(!file.exists());
        if !place.dir.join("disk.img").exists() {
            return eprintln!("no loop device here: the small file system is memory");
        }
        let later = Ballast::mount(&place, 0, 16).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), [1; 8192]);
        later.unmount();
    }
}
