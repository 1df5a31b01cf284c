//! Injects faults by a seeded schedule and takes them back. Each fault that struck is counted and gets a window on
//! the time axis; one that found nothing to strike is tried again and not counted.
//!
//! There are two of them at work: what people do to files by hand has one of its own ([`Kind::by_hand`]), because such a
//! person asks orch what it makes of it and waits for the answer, which may come only when the other one has let a
//! stopped process go on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::dice::Dice;
use super::disk::Ballast;
use super::fault::{Kind, Ticket};
use super::fleet::{CLOCK_MACHINE, Fleet};
use super::hands::{self, Broken};
use super::profile::Plan;
use super::proxy::Route;
use super::server::lock;
use super::third;
use super::watchdogs::Watchdogs;

/// One kind of fault and when it strikes next.
struct Line {
    kind: Kind,
    plan: Plan,
    dice: Dice,
    next: Instant,
}

/// What takes a fault back.
enum Cure {
    Nothing,
    Resume(u64),
    Route(usize, u64),
    Away,
    Ballast,
    Clock,
    Hands(Broken),
    Locks(Vec<PathBuf>),
    Branch,
    Hook,
}

/// A fault in force.
struct Active {
    kind: Kind,
    ticket: Ticket,
    from: u64,
    machine: Option<usize>,
    until: Instant,
    cure: Cure,
}

/// The schedule, and what is in force.
pub struct Striker<'f> {
    fleet: &'f Fleet,
    dogs: &'f Watchdogs,
    ballast: Option<&'f Ballast>,
    lines: Vec<Line>,
    active: Vec<Active>,
}

impl<'f> Striker<'f> {
    /// The faults of a profile that this computer can inject: those done by hand, or all others. `part` tells the parts
    /// of a resumed run apart.
    #[must_use]
    pub fn new(
        fleet: &'f Fleet,
        dogs: &'f Watchdogs,
        ballast: Option<&'f Ballast>,
        part: u64,
        by_hand: bool,
    ) -> Striker<'f> {
        let mut lines = Vec::new();
        for (kind, plan) in fleet.profile.faults.iter().filter(|(kind, _)| kind.by_hand() == by_hand) {
            let possible = match kind {
                Kind::DiskFull => ballast.is_some(),
                Kind::Clock => fleet.faketime.is_some(),
                _ => true,
            };
            if possible {
                let mut dice = Dice::of(fleet.seed, &format!("{} {part}", kind.word()));
                let next = Instant::now() + dice.around(plan.every.0);
                lines.push(Line { kind: *kind, plan: plan.clone(), dice, next });
            }
        }
        Striker { fleet, dogs, ballast, lines, active: Vec::new() }
    }

    /// Does what is due.
    pub fn tick(&mut self) {
        let now = Instant::now();
        // A person who is to have every machine publish its state again must reach them all.
        let busy = self.active.iter().any(|a| a.kind != Kind::ForcePush && a.kind.excuses());
        let waits = |a: &Active| a.kind == Kind::ForcePush && busy;
        let (over, still): (Vec<Active>, Vec<Active>) =
            self.active.drain(..).partition(|a| a.until <= now && !waits(a));
        self.active = still;
        for active in over {
            self.cure(active);
        }
        for at in 0..self.lines.len() {
            if self.lines[at].next <= now {
                let struck = self.strike(at);
                let line = &mut self.lines[at];
                let wait = if struck { line.dice.around(line.plan.every.0) } else { RETRY };
                line.next = Instant::now() + wait;
            }
        }
    }

    /// Takes everything back, and lets the schedule begin anew afterwards.
    pub fn heal_all(&mut self) {
        let mut active = std::mem::take(&mut self.active);
        // Last, because every machine must be reached for it.
        active.sort_by_key(|active| active.kind == Kind::ForcePush);
        for active in active {
            self.cure(active);
        }
        self.fleet.processes.resume_all();
    }

    /// Shifts what is due, so that a rest is not followed by a burst.
    pub fn after_rest(&mut self) {
        for line in &mut self.lines {
            line.next = Instant::now() + line.dice.around(line.plan.every.0);
        }
    }

    /// Strikes once. Whether there was something to strike.
    fn strike(&mut self, at: usize) -> bool {
        let kind = self.lines[at].kind;
        // Two faults of one kind at the same place would take each other back.
        if !matches!(kind, Kind::Pause) && self.active.iter().any(|a| a.kind == kind) {
            return false;
        }
        // No stranger can push either while the remote is another to everybody.
        let remote = kind.takes_remote() || matches!(kind, Kind::ForeignCommit | Kind::DeleteRef);
        if remote && self.active.iter().any(|a| a.kind.takes_remote()) {
            return false;
        }
        // Whoever waits to repair the branch gets a moment without other faults.
        let overdue = |a: &Active| a.kind == Kind::ForcePush && a.until <= Instant::now();
        if kind.excuses() && self.active.iter().any(overdue) {
            return false;
        }
        // Filling a disk takes a while, in which it is full for somebody already.
        let full = self.ballast.filter(|_| kind == Kind::DiskFull);
        let full = full.map(|ballast| (ballast, self.fleet.windows.begin(kind, Some(ballast.machine))));
        let from = self.fleet.now();
        let line = &mut self.lines[at];
        let Some((machine, cure)) = inject(self.fleet, self.dogs, full, kind, &mut line.dice, &self.active)
        else {
            return false;
        };
        let until = Instant::now() + line.plan.lasts.0;
        let ticket = full.map(|(_, ticket)| ticket);
        let ticket = ticket.unwrap_or_else(|| self.fleet.windows.begin(kind, machine));
        self.active.push(Active { kind, ticket, from, machine, until, cure });
        true
    }

    fn cure(&mut self, active: Active) {
        let fleet = self.fleet;
        let mut times = 1;
        match active.cure {
            Cure::Nothing => {}
            Cure::Resume(id) => drop(fleet.processes.resume(id)),
            Cure::Route(machine, before) => {
                fleet.links.set(machine, Route::Pass);
                if active.kind == Kind::LoseAnswer {
                    times = fleet.links.lost(machine).saturating_sub(before);
                } else if active.kind != Kind::Slow
                    && let Some(tip) = fleet.remote_tip()
                {
                    lock(&fleet.healed).push(super::fleet::Healed { machine, since: Instant::now(), tip });
                }
            }
            Cure::Away => come_back(fleet),
            Cure::Ballast => self.ballast.into_iter().for_each(Ballast::empty),
            Cure::Clock => set_clock(fleet, "+0"),
            Cure::Branch => third::publish_again(fleet),
            Cure::Hook => third::allow(fleet),
            Cure::Hands(broken) => hands::mend(fleet, &broken),
            Cure::Locks(paths) => {
                for path in paths {
                    // Whoever cleared it away already did what we would.
                    drop(std::fs::remove_file(path));
                }
            }
        }
        fleet.windows.end(active.ticket);
        fleet.tally.add(&format!("faults.{}", active.kind.word()), times);
        let (kind, to) = (active.kind.word(), fleet.now());
        fleet.append(
            "faults.jsonl",
            &json!({"from": active.from, "to": to, "kind": kind, "machine": active.machine}),
        );
    }
}

/// When a fault that found nothing to strike is tried again.
const RETRY: Duration = Duration::from_millis(50);

fn inject(
    fleet: &Fleet,
    dogs: &Watchdogs,
    full: Option<(&Ballast, Ticket)>,
    kind: Kind,
    dice: &mut Dice,
    active: &[Active],
) -> Option<(Option<usize>, Cure)> {
    match kind {
        Kind::Kill => {
            let (id, machine) = *dice.pick(&fleet.processes.commands())?;
            fleet.processes.kill(id, dice.chance(50)).then_some((Some(machine), Cure::Nothing))
        }
        Kind::Pause => {
            let (id, machine) = *dice.pick(&fleet.processes.commands())?;
            fleet.processes.stop(id).then_some((Some(machine), Cure::Resume(id)))
        }
        Kind::KillWatchdog => {
            dogs.kill(fleet, dice.below(1000)).map(|machine| (Some(machine), Cure::Nothing))
        }
        Kind::Cut => reroute(fleet, dice, active, |_| Route::Cut),
        Kind::Hole => reroute(fleet, dice, active, |_| Route::Hole),
        Kind::Slow => reroute(fleet, dice, active, |_| Route::Slow(Duration::from_millis(40))),
        Kind::LoseAnswer => {
            reroute(fleet, dice, active, |machine| Route::LoseAnswer(fleet.links.long_request(machine)))
        }
        Kind::Away => {
            let bare = fleet.place.bare();
            std::fs::rename(&bare, bare.with_extension("gone")).ok()?;
            Some((None, Cure::Away))
        }
        Kind::DiskFull => {
            let (ballast, ticket) = full?;
            ballast.fill(ticket);
            Some((Some(ballast.machine), Cure::Ballast))
        }
        Kind::Clock => {
            let hours = dice.below(48);
            set_clock(fleet, &if dice.chance(50) { format!("+{hours}h") } else { format!("-{hours}h") });
            Some((Some(CLOCK_MACHINE), Cure::Clock))
        }
        Kind::GcClone | Kind::PruneClone => {
            let machine = dice.below(fleet.profile.fleet.machines);
            let more: &[&str] = if kind == Kind::PruneClone { &["--prune=now"] } else { &[] };
            let began = collect(fleet, fleet.place.machine(machine).join("state/.git"), more);
            began.then_some((Some(machine), Cure::Nothing))
        }
        Kind::GcRemote => collect(fleet, fleet.place.bare(), &[]).then_some((None, Cure::Nothing)),
        Kind::Edit | Kind::BreakFile => {
            let in_hand = active.iter().filter_map(|a| match &a.cure {
                Cure::Hands(broken) => Some(broken.path.clone()),
                _ => None,
            });
            let act = if kind == Kind::Edit { hands::edit } else { hands::break_file };
            act(fleet, dice, &in_hand.collect::<Vec<_>>()).map(|it| (Some(it.machine), Cure::Hands(it)))
        }
        Kind::DeleteRef => third::delete_ref(fleet, dice).map(|()| (None, Cure::Nothing)),
        Kind::ForcePush => third::roll_back(fleet, dice).map(|()| (None, Cure::Branch)),
        Kind::ForeignCommit => third::commit_foreign(fleet, dice).map(|()| (None, Cure::Nothing)),
        Kind::Refusals => third::forbid(fleet).map(|()| (None, Cure::Hook)),
        Kind::StaleLock => {
            let made = leave_locks(fleet, dice);
            (!made.is_empty()).then_some((None, Cure::Locks(made)))
        }
    }
}

/// Does something to the link of a machine whose link is free of faults.
fn reroute(
    fleet: &Fleet,
    dice: &mut Dice,
    active: &[Active],
    route: impl Fn(usize) -> Route,
) -> Option<(Option<usize>, Cure)> {
    let taken: Vec<usize> =
        active.iter().filter(|a| a.kind.needs_socket()).filter_map(|a| a.machine).collect();
    let free: Vec<usize> = fleet.links.with_socket().into_iter().filter(|m| !taken.contains(m)).collect();
    let machine = *dice.pick(&free)?;
    let before = fleet.links.lost(machine);
    fleet.links.set(machine, route(machine));
    Some((Some(machine), Cure::Route(machine, before)))
}

/// Brings the remote back, also after a run that was killed while it was away.
pub fn come_back(fleet: &Fleet) {
    bring_back(&fleet.place.bare());
}

fn bring_back(bare: &Path) {
    let gone = bare.with_extension("gone");
    if gone.exists() && !bare.exists() {
        // Git names its locks by full paths: whoever held one when the folder went could not take it away any more.
        remove_locks(&gone.join("refs"));
        drop(std::fs::remove_file(gone.join("packed-refs.lock")));
        drop(std::fs::rename(gone, bare));
    }
}

fn remove_locks(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_locks(&path);
        } else if path.extension().is_some_and(|ending| ending == "lock") {
            drop(std::fs::remove_file(path));
        }
    }
}

/// Sets the wall clock of the machine that has one of its own.
pub fn set_clock(fleet: &Fleet, offset: &str) {
    let path = fleet.place.world("clock");
    let next = path.with_extension("new");
    // Replaced at once: a half-written offset would be no clock at all.
    drop(std::fs::write(&next, format!("{offset}\n")).and_then(|()| std::fs::rename(&next, &path)));
}

/// Runs git's collector, beside everything else. Whether it could be started.
fn collect(fleet: &Fleet, dir: PathBuf, more: &[&str]) -> bool {
    let mut command = fleet.place.command("git");
    command.arg("-C").arg(dir).args(["gc", "--quiet"]).args(more);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    std::thread::spawn(move || drop(child.wait()));
    true
}

fn leave_locks(fleet: &Fleet, dice: &mut Dice) -> Vec<PathBuf> {
    let clone = fleet.place.machine(dice.below(fleet.profile.fleet.machines)).join("state/.git");
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    let places = [
        fleet.place.bare().join("refs/heads/orch-state.lock"),
        clone.join("index.lock"),
        clone.join("HEAD.lock"),
    ];
    let mut made = Vec::new();
    for path in places {
        let file = std::fs::File::options().write(true).create_new(true).open(&path);
        if file.and_then(|file| file.set_modified(yesterday)).is_ok() {
            made.push(path);
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::place::Place;

    /// The remote was moved away while a push held the lock of a lease ref. The lock came back with it, nobody could move
    /// that ref any more, and a soak was called broken for what no program can help.
    #[test]
    fn a_remote_that_comes_back_is_not_locked_by_who_was_pushing_when_it_went() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { dir: dir.path().to_owned(), orch: PathBuf::new() };
        let (bare, clone) = (place.bare(), place.world("clone.git"));
        let git = |at: &Path, args: &[&str]| {
            place.git(at, &[&["-c", "user.name=t", "-c", "user.email=t@example.invalid"], args].concat())
        };
        for repository in [&bare, &clone] {
            std::fs::create_dir_all(repository).unwrap();
            git(repository, &["init", "--quiet", "--bare"]).unwrap();
        }
        let tree = git(&clone, &["hash-object", "-w", "-t", "tree", "/dev/null"]).unwrap();
        let commit = git(&clone, &["commit-tree", tree.trim(), "-m", "one"]).unwrap();
        let push = || {
            let what = format!("{}:refs/orch/leases/T-1", commit.trim());
            git(&clone, &["push", "--quiet", bare.to_str().unwrap(), &what])
        };
        let hook = bare.join("hooks/reference-transaction");
        let away = "#!/bin/sh\n[ \"$1\" = prepared ] || exit 0\nhere=$(pwd -P)\nmv \"$here\" \"${here%.git}.gone\"\n";
        orch::world::program::install(&hook, away).unwrap();
        assert!(push().is_err(), "the folder went while the lock was held");
        let gone = bare.with_extension("gone");
        assert!(gone.join("refs/orch/leases/T-1.lock").exists());
        std::fs::remove_file(gone.join("hooks/reference-transaction")).unwrap();
        bring_back(&bare);
        push().unwrap();
    }
}
