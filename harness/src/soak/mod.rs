//! Soak: real `orch` processes, real files and real git for minutes or days, with faults from a seeded schedule.
//!
//! [`run`] puts a fleet together (`place`, `link`, `fleet`), lets agents work (`agent`) and watchdogs watch
//! (`watchdogs`), strikes (`strike`), and now and then brings everything to rest and judges it (`judge`) against
//! what the agents were told (`ledger`). What the schedule plans is repeatable by its seed; what real processes
//! make of it is not.

pub mod absent;
mod account;
pub mod agent;
pub mod checkpoint;
mod dice;
mod disk;
pub mod fault;
pub mod files;
pub mod fleet;
mod folder;
mod gate;
mod hands;
pub mod histogram;
mod http;
mod judge;
pub mod ledger;
mod link;
pub mod numbers;
mod observe;
mod place;
pub mod processes;
pub mod profile;
mod proxy;
mod ready;
pub mod sample;
mod server;
mod setup;
mod ssh;
mod strike;
mod third;
mod unruly;
mod watchdogs;

pub use folder::is_taken;
pub use judge::end_leftovers;
pub use setup::is_left_out;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::record::Verdict;
use checkpoint::{Checkpoint, End};
use disk::Ballast;
use fleet::Fleet;
use server::lock;
use strike::Striker;
use watchdogs::Watchdogs;

/// What to run.
pub struct Options {
    /// The profile.
    pub profile: profile::Profile,
    /// The folder of the run.
    pub dir: PathBuf,
    /// The program under test; found beside the harness when not named.
    pub orch: Option<PathBuf>,
    /// Another seed than that of the profile.
    pub seed: Option<u64>,
    /// Another length than that of the profile; the least work is scaled with it.
    pub length: Option<Duration>,
    /// Go on with the run in the folder.
    pub resume: bool,
}

/// What somebody who waits is told.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// How much of the load has run, and how much is wanted.
    pub done: Duration,
    /// How much is wanted.
    pub wanted: Duration,
    /// What goes on.
    pub what: &'a str,
    /// Confirmed claims, finished tasks, faults, violations.
    pub counts: [u64; 4],
}

/// Runs a soak until its time is over, `stop` is set, or an abort condition holds. The result stands in the
/// checkpoint of the folder, which is also returned.
///
/// # Errors
/// The run cannot be begun: it is invalid.
pub fn run(
    options: &Options,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Checkpoint, String> {
    let setup::Ready { fleet, mut checkpoint, ballast, folder: _folder } = setup::prepare(options)?;
    if !checkpoint.invalid.is_empty() {
        checkpoint.end = Some(End { verdict: Verdict::Invalid, why: checkpoint.invalid.join("; ") });
        checkpoint.write(&fleet.place.dir)?;
        return Ok(checkpoint);
    }
    let dogs = Watchdogs::new(&fleet);
    let part = checkpoint.part;
    let strikers =
        [false, true].map(|by_hand| Mutex::new(Striker::new(&fleet, &dogs, ballast.as_ref(), part, by_hand)));
    let (resting, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                dogs.keep(&fleet);
                fleet.processes.end_late();
                observe::look(&fleet);
                std::thread::sleep(LOOK);
            }
        });
        for striker in &strikers {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    // Looked at under the lock: whoever lets the fleet rest has it when everything is taken back.
                    let mut striker = lock(striker);
                    if !resting.load(Ordering::SeqCst) {
                        striker.tick();
                    }
                    drop(striker);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        scope.spawn(|| account::keep(&fleet));
        for machine in 0..fleet.profile.fleet.machines {
            for number in 0..fleet.profile.fleet.agents {
                let agent = agent::Agent::new(&fleet, machine, number, part);
                scope.spawn(move || agent.run());
            }
        }
        let desk = Desk { fleet: &fleet, dogs: &dogs, strikers: &strikers, resting: &resting, stop };
        let why = desk.preside(&mut checkpoint, progress);
        fleet.gate.end();
        over.store(true, Ordering::SeqCst);
        checkpoint.end = Some(End { verdict: Verdict::Invalid, why });
    });
    drop(strikers);
    close(fleet, &dogs, ballast, checkpoint)
}

/// How often the fleet is looked at from outside.
const LOOK: Duration = Duration::from_millis(100);
/// How often it is written down what a run is at.
const CHECKPOINT: Duration = Duration::from_secs(5);

/// The thread that presides over a run.
struct Desk<'d, 'f> {
    fleet: &'f Fleet,
    dogs: &'d Watchdogs,
    /// The one for what is done by hand comes last: its people may wait for a process that the other one has stopped.
    strikers: &'d [Mutex<Striker<'f>>],
    resting: &'d AtomicBool,
    /// Somebody wants the run to end.
    stop: &'d AtomicBool,
}

impl Desk<'_, '_> {
    /// Samples, checks and writes down, until the run is over. Why it is.
    fn preside(&self, checkpoint: &mut Checkpoint, progress: &mut dyn FnMut(Progress<'_>)) -> String {
        let fleet = self.fleet;
        let profile = &fleet.profile;
        let wanted = Duration::from_millis(checkpoint.wanted);
        let mut tell = |what: &str| self.report(progress, wanted, what);
        let (mut sampled, mut written, mut checked) = (Instant::now(), Instant::now(), Instant::now());
        // A part that was killed in the middle of a round has not counted it.
        let part = checkpoint.part;
        let name = |round: u64| format!("p{part}-{round}");
        let mut round = fleet.tally.get("checks");
        let why = loop {
            std::thread::sleep(LOOK);
            let now = Duration::from_millis(fleet.now());
            if now >= wanted {
                break "the time was over".to_owned();
            }
            if let Some(why) = self.abort() {
                break why;
            }
            if sampled.elapsed() >= profile.sample.0 {
                sampled = Instant::now();
                sample::take(fleet, self.dogs);
            }
            if checked.elapsed() >= profile.check.0 && wanted.saturating_sub(now) > profile.check.0 / 2 {
                tell("check");
                self.check(&name(round), false, &mut tell);
                round += 1;
                checked = Instant::now();
            }
            if written.elapsed() >= CHECKPOINT {
                written = Instant::now();
                self.write(checkpoint);
            }
            tell("load");
        };
        tell("last check");
        self.check(&name(round), true, &mut tell);
        sample::take(fleet, self.dogs);
        self.write(checkpoint);
        why
    }

    fn check(&self, round: &str, last: bool, tell: &mut dyn FnMut(&str)) {
        self.resting.store(true, Ordering::SeqCst);
        for striker in self.strikers {
            lock(striker).heal_all();
        }
        self.fleet.rest(true);
        judge::rest(self.fleet);
        judge::judge(self.fleet, last);
        account::pushes(self.fleet);
        judge::settle(self.fleet);
        let quiet = Instant::now();
        while quiet.elapsed() < self.fleet.profile.quiet.0 && !self.stop.load(Ordering::SeqCst) {
            tell("quiet");
            std::thread::sleep(LOOK);
        }
        judge::measure(self.fleet, round);
        if last {
            return;
        }
        for striker in self.strikers {
            lock(striker).after_rest();
        }
        self.fleet.rest(false);
        self.fleet.progress.store(self.fleet.now(), Ordering::Relaxed);
        self.fleet.gate.open();
        self.resting.store(false, Ordering::SeqCst);
    }

    fn abort(&self) -> Option<String> {
        let (fleet, abort) = (self.fleet, &self.fleet.profile.abort);
        if self.stop.load(Ordering::SeqCst) {
            return Some("it was told to stop".to_owned());
        }
        let violations = lock(&fleet.violations).len();
        if violations >= abort.violations {
            return Some(format!("{violations} violations are enough"));
        }
        let still = fleet.now().saturating_sub(fleet.progress.load(Ordering::Relaxed));
        if u128::from(still) > abort.stuck.0.as_millis() {
            let what = format!("nothing was finished for {} seconds", still / 1000);
            fleet.violation("stuck", what.clone());
            return Some(what);
        }
        // Asking costs a process; once a second is enough.
        if fleet.now() % 10_000 < 200
            && let Some(free) = sample::free_mib(&fleet.place.dir)
            && free < abort.free_mib
        {
            return Some(format!("only {free} MiB are free"));
        }
        None
    }

    fn write(&self, checkpoint: &mut Checkpoint) {
        checkpoint.elapsed = self.fleet.now();
        checkpoint.numbers = self.fleet.tally.all();
        checkpoint.open = self.fleet.open.load(Ordering::Relaxed);
        if let Err(why) = checkpoint.write(&self.fleet.place.dir) {
            eprintln!("warning: {why}");
        }
    }

    fn report(&self, progress: &mut dyn FnMut(Progress<'_>), wanted: Duration, what: &str) {
        let numbers = self.fleet.tally.all();
        let faults =
            numbers.counts.iter().filter(|(name, _)| name.starts_with("faults.")).map(|(_, n)| n).sum();
        let violations = lock(&self.fleet.violations).len() as u64;
        let counts = [numbers.count("claims"), numbers.count("finished"), faults, violations];
        progress(Progress { done: Duration::from_millis(self.fleet.now()), wanted, what, counts });
    }
}

/// Ends processes, looks what is left, and gives the verdict.
fn close(
    fleet: Fleet,
    dogs: &Watchdogs,
    ballast: Option<Ballast>,
    mut checkpoint: Checkpoint,
) -> Result<Checkpoint, String> {
    let stubborn = dogs.end(&fleet);
    if stubborn > 0 {
        fleet.violation(
            "survivor",
            format!("{stubborn} watchdogs did not end within 15 seconds after SIGTERM"),
        );
    }
    // What a watchdog that was told to end has begun with git may come to its own end.
    let patience = Instant::now() + Duration::from_secs(20);
    while !judge::leftovers(&fleet.place.world("")).is_empty() && Instant::now() < patience {
        std::thread::sleep(LOOK);
    }
    for left in judge::end_leftovers(&fleet.place.world("")) {
        fleet.violation("survivor", left);
    }
    if let Some(ballast) = ballast {
        ballast.unmount();
    }
    checkpoint.numbers = fleet.tally.all();
    checkpoint.invalid.extend(setup::shortfall(&fleet, &checkpoint));
    let violations = lock(&fleet.violations).len();
    let verdict = match (violations, checkpoint.invalid.is_empty()) {
        (0, true) => Verdict::Held,
        (0, false) => Verdict::Invalid,
        _ => Verdict::Broken,
    };
    let why = checkpoint.end.map(|end| end.why).unwrap_or_default();
    checkpoint.end = Some(End { verdict, why });
    checkpoint.write(&fleet.place.dir)?;
    Ok(checkpoint)
}

#[cfg(test)]
mod tests;
