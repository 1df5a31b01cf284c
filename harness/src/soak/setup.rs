//! Begins a run or goes on with one: measures what the computer can do, starts servers, sets machines up; and says
//! afterwards whether enough was done for the run to count.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::checkpoint::{self, Checkpoint};
use super::disk::Ballast;
use super::fault::{Kind, Windows};
use super::fleet::{Fleet, Violation};
use super::gate::Gate;
use super::ledger::Ledger;
use super::link::Links;
use super::numbers::{Numbers, Tally};
use super::place::{Place, find_orch, find_program, output};
use super::processes::Processes;
use super::sample::share;
use super::{Options, judge, ready, strike, third, unruly};

/// A fleet that is ready to be let go.
pub struct Ready {
    /// The fleet.
    pub fleet: Fleet,
    /// What the run is at.
    pub checkpoint: Checkpoint,
    /// The disk that can be filled, if there is one.
    pub ballast: Option<Ballast>,
}

/// Size of the small file system, in MiB.
const SMALL_DISK: u64 = 512;

/// Prepares everything.
///
/// # Errors
/// The run cannot be begun.
pub fn prepare(options: &Options) -> Result<Ready, String> {
    let orch = find_orch(options.orch.as_deref())?;
    if !options.resume {
        make_room(&options.dir)?;
    }
    std::fs::create_dir_all(&options.dir).map_err(|why| format!("{}: {why}", options.dir.display()))?;
    let dir = options.dir.canonicalize().map_err(|why| format!("{}: {why}", options.dir.display()))?;
    let place = Place { dir, orch };
    let mut checkpoint = begin(options, &place)?;
    checkpoint.notes.clear();
    if checkpoint.part > 0 {
        for left in judge::end_leftovers(&place.world("")) {
            eprintln!("note: ended what the interrupted part left behind: {left}");
        }
    }
    place.prepare()?;
    unruly::write(&place)?;
    let measured = ready::measure(&place)?;
    checkpoint.invalid = measured.complaints(&options.profile);
    (checkpoint.fsync, checkpoint.push) = (measured.fsync, measured.push);
    let bare = place.bare();
    if !bare.exists() && !bare.with_extension("gone").exists() {
        let shown = bare.display().to_string();
        place.git(&place.world("remotes"), &["init", "--quiet", "--bare", &shown])?;
    }
    let links = Links::start(&place, &options.profile.fleet, &checkpoint.ports)?;
    checkpoint.ports = links.ports();
    let ballast = small_disk(options, &place, &mut checkpoint.notes);
    let faketime = clock(options, &mut checkpoint.notes);
    let ledger = Ledger::open(&place.dir.join("ledger.jsonl"))?;
    let violations = read_violations(&place.dir.join("violations.jsonl"))?;
    let fleet = Fleet {
        profile: options.profile.clone(),
        seed: checkpoint.seed,
        links,
        processes: Processes::default(),
        ledger,
        tally: Tally::from(checkpoint.numbers.clone()),
        gate: Gate::default(),
        windows: Windows::default(),
        open: AtomicI64::new(checkpoint.open),
        vanished: Mutex::default(),
        healed: Mutex::default(),
        pushes: Mutex::default(),
        foreign: Mutex::default(),
        wanted: checkpoint.wanted,
        before: checkpoint.elapsed,
        start: Instant::now(),
        rested: Mutex::default(),
        progress: AtomicU64::new(checkpoint.elapsed),
        faketime,
        violations: Mutex::new(violations),
        place,
    };
    strike::come_back(&fleet);
    third::allow(&fleet);
    strike::set_clock(&fleet, "+0");
    machines(&fleet, checkpoint.part)?;
    // Setting up is no load.
    let fleet = Fleet { start: Instant::now(), ..fleet };
    if checkpoint.part == 0 {
        // Growth is counted from an empty queue.
        fleet.append("growth.jsonl", &serde_json::json!({"at": 0, "finished": 0, "bytes": 0}));
    }
    checkpoint.write(&fleet.place.dir)?;
    Ok(Ready { fleet, checkpoint, ballast })
}

/// Puts an earlier run that has ended aside, under the second in which it began.
fn make_room(dir: &Path) -> Result<(), String> {
    let Ok(old) = Checkpoint::read(dir) else { return Ok(()) };
    if old.end.is_none() {
        return Ok(());
    }
    let mut name = dir.file_name().ok_or("the folder of a run has a name")?.to_owned();
    name.push(format!("-{}", old.began));
    let aside = dir.with_file_name(name);
    std::fs::rename(dir, &aside).map_err(|why| format!("{}: {why}", aside.display()))?;
    eprintln!("note: the earlier run is in {} now", aside.display());
    Ok(())
}

/// A new run, or the next part of the one in the folder.
fn begin(options: &Options, place: &Place) -> Result<Checkpoint, String> {
    let there = place.dir.join(checkpoint::FILE).exists();
    let profile = &options.profile;
    let shown = place.dir.display();
    if options.resume {
        let mut old = Checkpoint::read(&place.dir)?;
        if old.profile != profile.name {
            return Err(format!(
                "{shown} holds a run of the profile {}, not of {}",
                old.profile, profile.name
            ));
        }
        if old.end.is_some() && old.elapsed >= old.wanted {
            return Err(format!("the run in {shown} is complete; `orch-harness report {shown}` shows it"));
        }
        (old.part, old.end) = (old.part + 1, None);
        return Ok(old);
    }
    if there {
        return Err(format!(
            "{shown} holds a run that has not ended: go on with it by --resume, or name another folder by --dir"
        ));
    }
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(Checkpoint {
        profile: profile.name.clone(),
        about: profile.about.clone(),
        seed: options.seed.unwrap_or(profile.seed),
        commit: crate::record::commit(Path::new(".")).unwrap_or_else(|_| "unknown".to_owned()),
        orch: output(place.command(&place.orch).arg("version"))?.trim().to_owned(),
        part: 0,
        began: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        elapsed: 0,
        wanted: millis(options.length.unwrap_or(profile.duration.0)),
        fleet: (profile.fleet.machines, profile.fleet.agents),
        lease: (millis(profile.lease.stale()), millis(profile.lease.watch.0)),
        ports: Vec::new(),
        open: 0,
        numbers: Numbers::default(),
        fsync: super::histogram::Histogram::default(),
        push: super::histogram::Histogram::default(),
        notes: Vec::new(),
        invalid: Vec::new(),
        end: None,
    })
}

fn small_disk(options: &Options, place: &Place, notes: &mut Vec<String>) -> Option<Ballast> {
    if !options.profile.faults.contains_key(&Kind::DiskFull) {
        return None;
    }
    match Ballast::mount(place, options.profile.fleet.machines - 1, SMALL_DISK) {
        Ok(ballast) => Some(ballast),
        Err(why) => {
            notes.push(format!("no full disk: {why}"));
            None
        }
    }
}

fn clock(options: &Options, notes: &mut Vec<String>) -> Option<PathBuf> {
    if !options.profile.faults.contains_key(&Kind::Clock) {
        return None;
    }
    let usual = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""]
        .map(|arch| Path::new("/usr/lib").join(arch).join("faketime/libfaketimeMT.so.1"));
    let found = usual.into_iter().find(|path| path.is_file());
    if found.is_none() {
        let hint = if find_program("faketime").is_some() {
            "its library was not found"
        } else {
            "it is not installed"
        };
        notes.push(format!("no clock offsets: they need libfaketime, and {hint}"));
    } else if options.profile.fleet.machines < 2 {
        notes.push("no clock offsets: they need a second machine".to_owned());
        return None;
    }
    found
}

/// Sets up the machines that are not there yet, and those of an earlier part for what comes.
fn machines(fleet: &Fleet, part: u64) -> Result<(), String> {
    for machine in 0..fleet.profile.fleet.machines {
        let dir = fleet.place.machine(machine);
        std::fs::create_dir_all(&dir).map_err(|why| format!("{}: {why}", dir.display()))?;
        if !dir.join("state/.git/orch/machine").exists() {
            if part > 0 {
                // What it alone held is gone, which is nobody's fault but would be taken for one.
                return Err(format!(
                    "machine m{machine} is gone from {}: this run cannot go on",
                    dir.display()
                ));
            }
            let ended = fleet.orch(machine, "setup", &["init", "--remote", fleet.links.url(machine)]);
            if ended.code != Some(0) {
                return Err(format!("machine m{machine} cannot be set up: {}", ended.stderr.trim()));
            }
        }
    }
    if part > 0 {
        // The part before may have been killed while the branch was rolled back.
        third::publish_again(fleet);
    }
    Ok(())
}

fn read_violations(path: &Path) -> Result<Vec<Violation>, String> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    let line = |line: &str| serde_json::from_str(line).map_err(|why| format!("{}: {why}", path.display()));
    text.lines().map(line).collect()
}

/// What was too little for the run to count.
#[must_use]
pub fn shortfall(fleet: &Fleet, checkpoint: &Checkpoint) -> Vec<String> {
    let profile = &fleet.profile;
    let whole = profile.duration.0.as_millis();
    let mut short = Vec::new();
    let mut need = |name: &str, wanted: u64| {
        let (done, wanted) = (fleet.tally.get(name), share(wanted, u128::from(checkpoint.wanted), whole));
        if done < wanted {
            short.push(format!("{name}: {done}, at least {wanted} are needed"));
        }
    };
    need("claims", profile.demand.claims);
    need("finished", profile.demand.finished);
    need("recovered", profile.demand.recovered);
    for (kind, plan) in &profile.faults {
        let left_out = match kind {
            Kind::DiskFull => checkpoint.notes.iter().any(|note| note.starts_with("no full disk")),
            Kind::Clock => fleet.faketime.is_none(),
            _ => false,
        };
        if !left_out {
            need(&format!("faults.{}", kind.word()), plan.at_least);
        }
    }
    if checkpoint.elapsed < checkpoint.wanted {
        short.push(format!("it ran {} of {} seconds", checkpoint.elapsed / 1000, checkpoint.wanted / 1000));
    }
    short
}
