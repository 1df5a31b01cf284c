//! Watchdog processes: `orch watchdog --every …` on each machine, started again when a fault has ended them. The
//! first one of the first machine is never struck: somebody always watches, and its memory is the one whose slope is
//! judged.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::fleet::Fleet;
use super::processes::usage;
use super::server::lock;

struct Dog {
    machine: usize,
    number: usize,
    running: Option<Running>,
    started: Instant,
    /// Not started again before.
    again: Instant,
}

struct Running {
    child: Child,
    id: u64,
    /// Whether it has told of a round, so that its first look is over.
    looked: Arc<AtomicBool>,
}

/// All watchdogs of a run.
pub struct Watchdogs {
    dogs: Mutex<Vec<Dog>>,
}

impl Watchdogs {
    /// The watchdogs that a profile wants; none runs yet.
    #[must_use]
    pub fn new(fleet: &Fleet) -> Watchdogs {
        let each = fleet.profile.fleet.watchdogs;
        let all = (0..fleet.profile.fleet.machines).flat_map(|machine| {
            (0..each).map(move |number| {
                let now = Instant::now();
                Dog { machine, number, running: None, started: now, again: now }
            })
        });
        Watchdogs { dogs: Mutex::new(all.collect()) }
    }

    /// Starts those that do not run, and looks why. A fault explains only that one ends before it has told of a round: what
    /// cannot be done at its first look may never be, while later it waits until it can be done.
    pub fn keep(&self, fleet: &Fleet) {
        for dog in lock(&self.dogs).iter_mut() {
            if let Some(running) = &mut dog.running {
                let Ok(Some(status)) = running.child.try_wait() else { continue };
                let (struck, _) = fleet.processes.leave(running.id);
                let looked = running.looked.load(Ordering::SeqCst);
                dog.running = None;
                if !struck {
                    let said = tail(&log(fleet, dog.machine, dog.number));
                    let excused = !looked && fleet.windows.excuse(dog.machine, dog.started);
                    fleet.tally.count("watchdogs.ended");
                    // One that does not end for a passing reason is started again as a service manager would: not at once.
                    dog.again = Instant::now() + fleet.profile.lease.watch.0;
                    if !excused || said.contains("panicked at") {
                        let what =
                            format!("a watchdog of m{} ended by itself with {status}: {said}", dog.machine);
                        fleet.violation("watchdog_ended", what);
                    }
                }
            }
            if Instant::now() < dog.again {
                continue;
            }
            dog.started = Instant::now();
            dog.running = start(fleet, dog.machine, dog.number);
        }
    }

    /// Kills one that may be struck, chosen by a number. Whether there was one.
    pub fn kill(&self, fleet: &Fleet, choice: usize) -> Option<usize> {
        let dogs = lock(&self.dogs);
        let mortal: Vec<&Dog> =
            dogs.iter().filter(|dog| (dog.machine, dog.number) != (0, 0) && dog.running.is_some()).collect();
        let dog = mortal.get(choice % mortal.len().max(1))?;
        fleet.processes.kill(dog.running.as_ref()?.id, true).then_some(dog.machine)
    }

    /// Memory in KiB and open files of the steady one, and its process number.
    #[must_use]
    pub fn steady(&self) -> Option<(u32, u64, u64)> {
        let dogs = lock(&self.dogs);
        let pid = dogs.first()?.running.as_ref()?.child.id();
        let (rss, fds) = usage(pid)?;
        Some((pid, rss, fds))
    }

    /// Ends all: asks first, kills what has not ended after a while. How many had to be killed.
    pub fn end(&self, fleet: &Fleet) -> usize {
        let mut dogs = lock(&self.dogs);
        for dog in dogs.iter() {
            if let Some(running) = &dog.running {
                fleet.processes.terminate(running.id);
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
        let mut killed = 0;
        for dog in dogs.iter_mut() {
            let Some(Running { mut child, id, .. }) = dog.running.take() else { continue };
            while matches!(child.try_wait(), Ok(None)) {
                if std::time::Instant::now() > deadline {
                    fleet.processes.kill(id, true);
                    killed += 1;
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            fleet.processes.leave(id);
            drop(child.wait());
        }
        killed
    }
}

fn log(fleet: &Fleet, machine: usize, number: usize) -> PathBuf {
    fleet.place.world(format!("logs/watchdog-m{machine}-{number}.err"))
}

fn start(fleet: &Fleet, machine: usize, number: usize) -> Option<Running> {
    use std::os::unix::process::CommandExt;
    let every = format!("{}ms", fleet.profile.lease.watch.0.as_millis());
    let session = format!("watchdog-m{machine}-{number}");
    let mut command = fleet.command(machine, &["--session", &session, "watchdog", "--every", &every]);
    // What it said before is of no use once it runs again.
    let file = std::fs::File::create(log(fleet, machine, number)).ok()?;
    command.stdout(Stdio::piped()).stderr(Stdio::from(file)).process_group(0);
    match command.spawn() {
        Ok(mut child) => {
            let id = fleet.processes.adopt(&child, machine);
            fleet.tally.count("watchdogs.started");
            let looked = child.stdout.take().map(has_spoken).unwrap_or_default();
            Some(Running { child, id, looked })
        }
        Err(why) => {
            fleet.violation("harness", format!("a watchdog cannot be started: {why}"));
            None
        }
    }
}

fn tail(path: &std::path::Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Becomes true with the first word that is said; all are read, so that nobody waits to be heard.
fn has_spoken(mut said: impl Read + Send + 'static) -> Arc<AtomicBool> {
    let spoken = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&spoken);
    std::thread::spawn(move || {
        let mut words = [0; 4096];
        while matches!(said.read(&mut words), Ok(1..)) {
            noted.store(true, Ordering::SeqCst);
        }
    });
    spoken
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Any fault of the last ten minutes excused a watchdog that had ended, so eighty ends in a run were no violation. Then a
    /// first look was one of the first fifteen seconds: one whose link was cut, and that lost every race for the branch behind
    /// it, took nineteen, and a soak was called broken for it. A round that was told of is the end of a first look.
    #[test]
    fn a_first_look_is_over_with_the_first_word() {
        let (end, mut other_end) = std::os::unix::net::UnixStream::pair().unwrap();
        let spoken = has_spoken(end);
        assert!(!spoken.load(Ordering::SeqCst));
        other_end.write_all(b"nothing is stale\n").unwrap();
        let patience = Instant::now() + std::time::Duration::from_secs(60);
        while !spoken.load(Ordering::SeqCst) {
            assert!(Instant::now() < patience);
            std::thread::yield_now();
        }
    }
}
