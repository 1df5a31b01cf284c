//! Third parties on the remote: somebody who rolls the state branch back, commits a file that is none of orch's, forbids
//! every push for a while, or deletes a lease ref. Each with what orch must make of it.
//!
//! Orch assumes that nobody else rewrites its refs, and says what holds where somebody does: every machine that
//! remembers says so, and of its promises only 1 (an epoch has one holder) and 7 (equal files) suffer. So after a
//! roll-back the record is judged as always, with one exception: for a task that was changed in what was rolled back, an
//! epoch may have been given twice, to a session whose claim was forgotten and to one that came after. Only one of the two
//! histories can stay; what does not fit it must be kept and reported ([`super::judge`]).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use orch::world::program::install;
use serde_json::Value;

use super::dice::Dice;
use super::fleet::{Fleet, LEASES};
use super::processes::Ended;
use super::server::lock;

/// The shared branch on the remote.
pub const BRANCH: &str = "refs/heads/orch-state";
/// The session of the person who looks after machines.
const PERSON: &str = "third";
/// Name of who commits on the branch without orch.
const STRANGER: &str = "Stranger";

/// Somebody deletes a lease ref.
pub fn delete_ref(fleet: &Fleet, dice: &mut Dice) -> Option<()> {
    let refs = fleet.remote_refs(LEASES)?;
    let (task, object) = dice.pick(&refs)?;
    // Told before it is done: a claim that follows at once must not be judged.
    fleet.ledger.tamper(task, fleet.now());
    fleet.place.git(&fleet.place.bare(), &["update-ref", "-d", &format!("{LEASES}{task}"), object]).ok()?;
    Some(())
}

/// Somebody rolls the branch back by some commits, which git still has.
pub fn roll_back(fleet: &Fleet, dice: &mut Dice) -> Option<()> {
    let bare = fleet.place.bare();
    let git = |args: &[&str]| fleet.place.git(&bare, args).ok();
    let tip = git(&["rev-parse", "--verify", "--quiet", BRANCH])?;
    let back = 1 + dice.below(4);
    let old = git(&["rev-parse", "--verify", "--quiet", &format!("{BRANCH}~{back}")])?;
    let (tip, old) = (tip.trim(), old.trim());
    let changed = git(&["diff", "--name-only", "--no-renames", old, tip])?;
    // Told before it is done, as above. Where a push comes in between, nothing was done, and a little is judged less.
    for task in changed.lines().filter_map(task_of) {
        fleet.ledger.roll_back(task, fleet.now());
    }
    git(&["update-ref", BRANCH, old, tip])?;
    // Nobody promises to bring foreign files back; and a tip of another history may never come back as it was.
    lock(&fleet.foreign).values_mut().for_each(|text| *text = None);
    let waiting = std::mem::take(&mut *lock(&fleet.healed)).len() as u64;
    fleet.tally.add("convergence.disturbed", waiting);
    Some(())
}

/// The task of a file of the branch.
fn task_of(path: &str) -> Option<&str> {
    if !path.starts_with("tasks/") && !path.starts_with("archive/") {
        return None;
    }
    Path::new(path).file_name()?.to_str()?.strip_suffix(".yaml")
}

/// Every machine that remembers more than the remote holds must say so. Then a person has each of them publish its state
/// again, as it asks for; after that nobody complains any more, and the record is judged as always.
pub fn publish_again(fleet: &Fleet) {
    on_each(fleet, |machine| {
        if !remembers_more(fleet, machine) {
            return;
        }
        let told = asked(fleet, machine, &["sync"]);
        if says_rewound(&told) {
            fleet.tally.count("rewinds.told");
        } else if remembers_more(fleet, machine) && !told.struck {
            let said = told.stderr.trim();
            let what =
                format!("m{machine} has seen commits that {BRANCH} lacks; `sync`: {:?} {said}", told.code);
            fleet.violation("rewind_not_noticed", what);
        }
    });
    // One after the other, as a person goes from machine to machine.
    for machine in 0..fleet.profile.fleet.machines {
        asked(fleet, machine, &["doctor", "--repair"]);
    }
    on_each(fleet, |machine| {
        let told = asked(fleet, machine, &["sync"]);
        if says_rewound(&told) || remembers_more(fleet, machine) {
            let said = told.stderr.trim();
            let what = format!("m{machine} after `doctor --repair` on every machine: {:?} {said}", told.code);
            fleet.violation("rewind_not_repaired", what);
        }
    });
}

/// Does something on all machines at once.
fn on_each(fleet: &Fleet, act: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for machine in 0..fleet.profile.fleet.machines {
            let act = &act;
            scope.spawn(move || act(machine));
        }
    });
}

/// Runs a command, and again where the remote did not answer a busy computer in time, as a person would.
fn asked(fleet: &Fleet, machine: usize, args: &[&str]) -> Ended {
    // A session of its own on each: what a command says goes through a file of its session's name.
    let session = format!("{PERSON}-m{machine}");
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let told = fleet.orch(machine, &session, args);
        if told.code != Some(75) || Instant::now() > patience {
            return told;
        }
    }
}

fn says_rewound(told: &Ended) -> bool {
    told.code == Some(8) && told.error == "rewound"
}

/// Whether a machine knows commits of the branch that the remote has not. Nobody but a person who repairs makes that
/// untrue again, so between this question and the next command the answer stays.
fn remembers_more(fleet: &Fleet, machine: usize) -> bool {
    let git = fleet.place.machine(machine).join("state/.git");
    let known =
        || fleet.place.git(&git, &["rev-parse", "--verify", "--quiet", "refs/orch/remote/branch"]).ok();
    // The remote knows both, also what nothing there leads to any more: nobody prunes it.
    let leads_to = |tip: &str, known: &str| {
        fleet.place.git(&fleet.place.bare(), &["merge-base", "--is-ancestor", known.trim(), tip]).is_ok()
    };
    lacks(known, || fleet.remote_tip(), leads_to)
}

/// Whether the remote lacks what is known. It is asked second: whoever asks it first, while others push and the machine
/// fetches, finds the machine ahead of what the remote was.
fn lacks(
    known: impl FnOnce() -> Option<String>,
    tip: impl FnOnce() -> Option<String>,
    leads_to: impl FnOnce(&str, &str) -> bool,
) -> bool {
    let Some(known) = known() else { return false };
    let Some(tip) = tip() else { return false };
    !leads_to(&tip, &known)
}

/// Somebody without orch commits a file on the branch, in a plain clone, and pushes it.
pub fn commit_foreign(fleet: &Fleet, dice: &mut Dice) -> Option<()> {
    let (bare, clone) = (fleet.place.bare().display().to_string(), fleet.place.world("stranger"));
    if !clone.exists() {
        let into = clone.display().to_string();
        let args = ["clone", "--quiet", "--branch", "orch-state", &bare, &into];
        fleet.place.git(&fleet.place.world(""), &args).ok()?;
    }
    let git = |args: &[&str]| fleet.place.git(&clone, args).ok();
    let name = match dice.below(3) {
        0 => "README.md".to_owned(),
        1 => format!("notes/{}.txt", fleet.now()),
        // Beside the tasks, where only files of tasks belong.
        _ => format!("tasks/NOTES-{}.md", fleet.now()),
    };
    let text = format!("Written at {} by somebody who does not know orch.\n", fleet.now());
    for _ in 0..3 {
        git(&["fetch", "--quiet", "origin", "orch-state"])?;
        git(&["reset", "--quiet", "--hard", "FETCH_HEAD"])?;
        let path = clone.join(&name);
        std::fs::create_dir_all(path.parent()?).ok()?;
        std::fs::write(&path, &text).ok()?;
        git(&["add", "--force", &name])?;
        let author = format!("{STRANGER} <stranger@example.invalid>");
        git(&["commit", "--quiet", "--author", &author, "-m", "a note"])?;
        // Somebody else was faster: once more on what is there now.
        if git(&["push", "--quiet", "origin", "HEAD:orch-state"]).is_some() {
            lock(&fleet.foreign).insert(name, Some(text));
            return Some(());
        }
    }
    None
}

/// What others have committed on the branch is still there, as they left it.
pub fn foreign_files_stay(fleet: &Fleet) {
    for (name, text) in lock(&fleet.foreign).iter() {
        let Some(text) = text else { continue };
        let there = fleet.place.git(&fleet.place.bare(), &["cat-file", "blob", &format!("{BRANCH}:{name}")]);
        if there.as_ref() != Ok(text) {
            let what = format!("{name} was committed on the branch by somebody else; it is now: {there:?}");
            fleet.violation("foreign_file", what);
        }
    }
}

/// The files that others have committed on the branch: those that its history holds now, and also those that were rolled
/// back since.
#[must_use]
pub fn foreign_files(fleet: &Fleet) -> (BTreeSet<String>, BTreeSet<String>) {
    let author = format!("--author={STRANGER} <");
    let args = ["log", "--fixed-strings", &author, "--format=", "--name-only", "--no-renames", BRANCH];
    let told = fleet.place.git(&fleet.place.bare(), &args).unwrap_or_default();
    let history: BTreeSet<String> = told.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let all = history.iter().chain(lock(&fleet.foreign).keys()).cloned().collect();
    (history, all)
}

/// The foreign file that a problem is about, if it is about one.
#[must_use]
pub fn foreign_in(problem: &Value, files: &BTreeSet<String>) -> Option<String> {
    let what = problem["what"].as_str()?;
    let words = what.split([' ', '`']).map(|word| word.trim_end_matches(['.', ',', ':', ';']));
    words.map(str::to_owned).find(|word| files.contains(word))
}

/// A hook on the remote forbids every push.
pub fn forbid(fleet: &Fleet) -> Option<()> {
    install(&hook(fleet), "#!/bin/sh\necho 'closed for maintenance' >&2\nexit 1\n").ok()
}

/// The hook is taken away, also after a run that was killed while it was there.
pub fn allow(fleet: &Fleet) {
    drop(std::fs::remove_file(hook(fleet)));
}

fn hook(fleet: &Fleet) -> std::path::PathBuf {
    fleet.place.bare().join("hooks/pre-receive")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that fetched between two questions was called one that remembers more than the remote, and its repair
    /// one that had not worked.
    #[test]
    fn a_machine_that_fetches_meanwhile_is_not_ahead_of_the_remote() {
        let remote = std::cell::Cell::new(1);
        let fetched = || {
            remote.set(2);
            Some("2".to_owned())
        };
        let tip = || Some(remote.get().to_string());
        assert!(!lacks(fetched, tip, |tip, known| known <= tip));
        assert!(lacks(|| Some("3".to_owned()), tip, |tip, known| known <= tip));
    }

    #[test]
    fn a_problem_is_set_aside_only_where_it_names_a_foreign_file_as_a_word() {
        let files = BTreeSet::from(["README.md".to_owned(), "tasks/NOTES-7.md".to_owned()]);
        let found = |what: &str| foreign_in(&serde_json::json!({ "what": what }), &files);
        assert_eq!(found("README.md is no file of a queue").as_deref(), Some("README.md"));
        assert_eq!(
            found("`tasks/NOTES-7.md` is not the file of a task").as_deref(),
            Some("tasks/NOTES-7.md")
        );
        assert_eq!([found("tasks/NOTES-77.md is odd"), found("T-1: a claim of epoch 1")], [None, None]);
    }

    #[test]
    fn only_files_of_tasks_name_a_task() {
        assert_eq!(task_of("tasks/ab/T-1.yaml"), Some("T-1"));
        assert_eq!(task_of("archive/2026-11/T-2.yaml"), Some("T-2"));
        assert_eq!([task_of("orch.yaml"), task_of("sessions/a.yaml"), task_of("tasks/NOTES.md")], [None; 3]);
    }
}
