//! Begins a run or goes on with one: measures what the computer can do, starts servers, sets machines up; and says
//! afterwards whether enough was done for the run to count.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orch::store::time;

use super::checkpoint::{self, Checkpoint};
use super::disk::Ballast;
use super::fault::{Kind, Windows};
use super::fleet::{CLOCK_MACHINE, Fleet, Violation};
use super::folder::{self, Folder};
use super::gate::Gate;
use super::ledger::Ledger;
use super::link::Links;
use super::numbers::{Numbers, Tally};
use super::place::{Place, find_orch, find_program};
use super::processes::Processes;
use super::profile::Profile;
use super::sample::share;
use super::{Options, files, judge, ready, strike, third, unruly};
use crate::record;

/// A fleet that is ready to be let go.
pub struct Ready {
    /// The fleet.
    pub fleet: Fleet,
    /// What the run is at.
    pub checkpoint: Checkpoint,
    /// The disk that can be filled, if there is one.
    pub ballast: Option<Ballast>,
    /// Nobody else works in the folder meanwhile.
    pub folder: Folder,
}

/// Size of the small file system, in MiB.
const SMALL_DISK: u64 = 512;

/// Prepares everything.
///
/// # Errors
/// The run cannot be begun.
pub fn prepare(options: &Options) -> Result<Ready, String> {
    let orch = find_orch(options.orch.as_deref())?;
    let folder = Folder::take(&options.dir, options.resume)?;
    let place = Place { dir: folder.dir.clone(), orch };
    let mut checkpoint = begin(options, &place)?;
    checkpoint.notes.clear();
    if checkpoint.part > 0 {
        for left in judge::end_leftovers(&place.world("")) {
            eprintln!("note: ended what the interrupted part left behind: {left}");
        }
        folder::cut_stumps(&place.dir)?;
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
    let mut fleet = Fleet {
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
    if fleet.faketime.is_some() && !clock_bites(&fleet, checkpoint.part)? {
        checkpoint.notes.push(format!("{NO_CLOCK}: the program under test does not see them"));
        fleet.faketime = None;
    }
    // Setting up is no load.
    let fleet = Fleet { start: Instant::now(), ..fleet };
    if checkpoint.part == 0 {
        // Growth is counted from an empty queue.
        fleet.append("growth.jsonl", &serde_json::json!({"at": 0, "finished": 0, "bytes": 0}));
    }
    checkpoint.write(&fleet.place.dir)?;
    Ok(Ready { fleet, checkpoint, ballast, folder })
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
        if let Some(why) = other_run(&old, options) {
            return Err(format!("the run in {shown} cannot go on: {why}; without --resume a new one begins"));
        }
        (old.part, old.end) = (old.part + 1, None);
        return Ok(old);
    }
    if there {
        return Err(format!(
            "{shown} holds a run that has not ended: go on with it by --resume, or name another folder by --dir"
        ));
    }
    Ok(Checkpoint {
        profile: profile.name.clone(),
        about: profile.about.clone(),
        seed: options.seed.unwrap_or(profile.seed),
        commit: commit(options),
        orch: version(place)?,
        part: 0,
        began: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        elapsed: 0,
        wanted: millis(options.length.unwrap_or(profile.duration.0)),
        fleet: fleet(profile),
        lease: lease(profile),
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

/// The commit that the program under test was made from; nobody knows that of one that was named.
fn commit(options: &Options) -> String {
    let here = if options.orch.is_some() { None } else { record::commit(Path::new(".")).ok() };
    here.unwrap_or_else(|| "unknown".to_owned())
}

/// What the program under test says of itself.
fn version(place: &Place) -> Result<String, String> {
    let shown = place.orch.display();
    let said = place.command(&place.orch).arg("version").output().map_err(|why| format!("{shown}: {why}"))?;
    let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if said.starts_with("orch ") {
        return Ok(said);
    }
    Err(format!("{shown} is not orch: `version` says {said:?}; name the program under test by --orch PATH"))
}

/// Why a run would be another one if it went on: it says something about one program and one fleet.
fn other_run(old: &Checkpoint, options: &Options) -> Option<String> {
    let now = commit(options);
    if old.commit != now
        && let Some(why) = record::other_source(Path::new("."), &old.commit)
    {
        return Some(why);
    }
    let profile = &options.profile;
    let same = old.fleet == fleet(profile) && old.lease == lease(profile);
    (!same).then(|| "its profile has other machines, agents or leases by now".to_owned())
}

/// Machines, and agents on each.
fn fleet(profile: &Profile) -> (usize, usize) {
    (profile.fleet.machines, profile.fleet.agents)
}

/// After how many milliseconds a lease is stale, and the pause between two rounds of a watchdog.
fn lease(profile: &Profile) -> (u64, u64) {
    (millis(profile.lease.stale()), millis(profile.lease.watch.0))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn small_disk(options: &Options, place: &Place, notes: &mut Vec<String>) -> Option<Ballast> {
    if !options.profile.faults.contains_key(&Kind::DiskFull) {
        return None;
    }
    match Ballast::mount(place, options.profile.fleet.machines - 1, SMALL_DISK) {
        Ok(ballast) => Some(ballast),
        Err(why) => {
            notes.push(format!("{NO_FULL_DISK}: {why}"));
            None
        }
    }
}

fn clock(options: &Options, notes: &mut Vec<String>) -> Option<PathBuf> {
    if !options.profile.faults.contains_key(&Kind::Clock) {
        return None;
    }
    let found = faketime();
    if found.is_none() {
        let hint = if find_program("faketime").is_some() {
            "its library was not found"
        } else {
            "it is not installed"
        };
        notes.push(format!("{NO_CLOCK}: they need libfaketime, and {hint}"));
    } else if options.profile.fleet.machines < 2 {
        notes.push(format!("{NO_CLOCK}: they need a second machine"));
        return None;
    }
    found
}

/// The library that sets the clock of whoever loads it.
pub(super) fn faketime() -> Option<PathBuf> {
    let usual = ["x86_64-linux-gnu", "aarch64-linux-gnu", ""]
        .map(|arch| Path::new("/usr/lib").join(arch).join("faketime/libfaketimeMT.so.1"));
    usual.into_iter().find(|path| path.is_file())
}

/// Whether the program under test sees the offset of its machine: a library that is loaded into it may still not be asked.
fn clock_bites(fleet: &Fleet, part: u64) -> Result<bool, String> {
    let id = format!("clock-{part}");
    strike::set_clock(fleet, "+30h");
    let told = fleet.orch(CLOCK_MACHINE, "setup", &["add", "--id", &id, "--title", &id]);
    strike::set_clock(fleet, "+0");
    let Some(at) = told.data["task"]["history"][0]["at"].as_str().and_then(|at| time::parse(at).ok()) else {
        return Err(format!("machine m{CLOCK_MACHINE} takes no task: {}", told.stderr.trim()));
    };
    fleet.open.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Duration::from_millis(u64::try_from(at.0).unwrap_or(0)) > now + Duration::from_secs(29 * 3600))
}

/// How the notes begin of faults that a computer cannot have.
const NO_FULL_DISK: &str = "no full disk";
const NO_CLOCK: &str = "no clock offsets";

/// Whether a kind of fault was left out of a run with these notes, because the computer cannot have it.
#[must_use]
pub fn is_left_out(kind: &str, notes: &[String]) -> bool {
    let said = |how: &str| notes.iter().any(|note| note.starts_with(how));
    kind == Kind::DiskFull.word() && said(NO_FULL_DISK) || kind == Kind::Clock.word() && said(NO_CLOCK)
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
    let text = files::whole_lines(path)?;
    let line = |line: &str| serde_json::from_str(line).map_err(|why| format!("{}: {why}", path.display()));
    text.lines().map(line).collect()
}

/// What was too little for the run to count.
#[must_use]
pub fn shortfall(fleet: &Fleet, checkpoint: &Checkpoint) -> Vec<String> {
    let profile = &fleet.profile;
    let whole = profile.duration.0.as_millis();
    let mut short = Vec::new();
    let mut need = |name: &str, wanted: u64, own: u64| {
        let done = fleet.tally.get(name).saturating_sub(own);
        let wanted = share(wanted, u128::from(checkpoint.wanted), whole);
        if done < wanted {
            short.push(format!("{name}: {done}, at least {wanted} are needed"));
        }
    };
    need("claims", profile.demand.claims, 0);
    // What the judge does itself when it measures at rest is no load.
    let own = fleet.tally.get(judge::AT_REST);
    need("finished", profile.demand.finished, own);
    need("recovered", profile.demand.recovered, 0);
    need("works.succeeded", profile.demand.works, 0);
    for (kind, plan) in &profile.faults {
        if !is_left_out(kind.word(), &checkpoint.notes) {
            need(&format!("faults.{}", kind.word()), plan.at_least, 0);
        }
    }
    if checkpoint.elapsed < checkpoint.wanted {
        short.push(format!("it ran {} of {} seconds", checkpoint.elapsed / 1000, checkpoint.wanted / 1000));
    }
    short
}
