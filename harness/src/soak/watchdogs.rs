//! Watchdog processes: `orch watchdog --every …` on each machine, started again when a fault has ended them. The
//! first one of the first machine is never struck: somebody always watches, and its memory is the one whose slope is
//! judged.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::fault::Windows;
use super::fleet::Fleet;
use super::processes::usage;
use super::server::lock;

struct Dog {
    machine: usize,
    number: usize,
    running: Option<(Child, u64)>,
    started: Instant,
    /// Not started again before.
    again: Instant,
}

/// How long a first look may take on a busy computer, from when the faults are over that were in force at its start.
const FIRST_LOOK: Duration = Duration::from_secs(15);

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

    /// Starts those that do not run, and looks why.
    pub fn keep(&self, fleet: &Fleet) {
        for dog in lock(&self.dogs).iter_mut() {
            if let Some((child, id)) = &mut dog.running {
                let Ok(Some(status)) = child.try_wait() else { continue };
                let (struck, _) = fleet.processes.leave(*id);
                dog.running = None;
                if !struck {
                    let said = tail(&log(fleet, dog.machine, dog.number));
                    let excused = excuses(&fleet.windows, dog.machine, dog.started, Instant::now());
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
        let (_, id) = dog.running.as_ref()?;
        fleet.processes.kill(*id, true).then_some(dog.machine)
    }

    /// Memory in KiB and open files of the steady one, and its process number.
    #[must_use]
    pub fn steady(&self) -> Option<(u32, u64, u64)> {
        let dogs = lock(&self.dogs);
        let (child, _) = dogs.first()?.running.as_ref()?;
        let (rss, fds) = usage(child.id())?;
        Some((child.id(), rss, fds))
    }

    /// Ends all: asks first, kills what has not ended after a while. How many had to be killed.
    pub fn end(&self, fleet: &Fleet) -> usize {
        let mut dogs = lock(&self.dogs);
        for dog in dogs.iter() {
            if let Some((_, id)) = &dog.running {
                fleet.processes.terminate(*id);
            }
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
        let mut killed = 0;
        for dog in dogs.iter_mut() {
            let Some((mut child, id)) = dog.running.take() else { continue };
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

/// Whether a fault explains that a watchdog ended by itself: what cannot be done at its first look may never be, while
/// later it waits until it can be done.
fn excuses(windows: &Windows, machine: usize, started: Instant, ended: Instant) -> bool {
    let free = windows.free_from(machine, started);
    let first = free.is_none_or(|free| ended.saturating_duration_since(free) < FIRST_LOOK);
    first && windows.excuse(machine, started)
}

fn log(fleet: &Fleet, machine: usize, number: usize) -> PathBuf {
    fleet.place.world(format!("logs/watchdog-m{machine}-{number}.err"))
}

fn start(fleet: &Fleet, machine: usize, number: usize) -> Option<(Child, u64)> {
    use std::os::unix::process::CommandExt;
    let every = format!("{}ms", fleet.profile.lease.watch.0.as_millis());
    let session = format!("watchdog-m{machine}-{number}");
    let mut command = fleet.command(machine, &["--session", &session, "watchdog", "--every", &every]);
    // What it said before is of no use once it runs again.
    let file = std::fs::File::create(log(fleet, machine, number)).ok()?;
    command.stdout(Stdio::null()).stderr(Stdio::from(file)).process_group(0);
    match command.spawn() {
        Ok(child) => {
            let id = fleet.processes.adopt(&child, machine);
            fleet.tally.count("watchdogs.started");
            Some((child, id))
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

#[cfg(test)]
mod tests {
    use super::super::fault::Kind;
    use super::*;

    /// Any fault of the last ten minutes excused a watchdog that had ended, so eighty ends in a run were no violation.
    #[test]
    fn a_fault_explains_only_that_a_watchdog_ends_at_its_first_look() {
        let windows = Windows::default();
        let (started, later) = (Instant::now(), Instant::now() + FIRST_LOOK);
        assert!(!excuses(&windows, 0, started, started), "nothing was wrong");
        windows.begin(Kind::Refusals, None);
        assert!(excuses(&windows, 0, started, started));
        assert!(!excuses(&windows, 0, started, later));
    }

    /// One was started again while its link was cut and its machine stood still for seven seconds; its first look met a branch
    /// that somebody had just rewound, fifteen seconds after the start, and the soak called that a violation.
    #[test]
    fn a_first_look_begins_when_the_faults_of_its_machine_are_over() {
        let windows = Windows::default();
        let cut = windows.begin(Kind::Cut, Some(0));
        let started = Instant::now();
        windows.begin(Kind::ForcePush, None);
        assert!(excuses(&windows, 0, started, started + FIRST_LOOK * 2), "it is cut off all the while");
        assert!(!excuses(&windows, 1, started, started + FIRST_LOOK), "another machine is not");
        windows.end(cut);
        let free = Instant::now();
        assert!(excuses(&windows, 0, started, free + FIRST_LOOK / 2));
        assert!(!excuses(&windows, 0, started, free + FIRST_LOOK));
    }
}
