//! People with editors: valid edits of a task file, and files that somebody breaks and takes back.

use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::fleet::Fleet;
use super::ledger::Told;
use super::processes::Ended;

/// A file that a person touched.
pub struct Broken {
    /// On which machine.
    pub machine: usize,
    /// The task.
    pub task: String,
    /// The file.
    pub path: PathBuf,
    before: String,
    after: String,
    /// What a valid edit put into the title.
    edit: Option<String>,
}

/// Changes the title of a waiting task, as a person would; not in the files that somebody has in hand already.
pub fn edit(fleet: &Fleet, dice: &mut Dice, in_hand: &[PathBuf]) -> Option<Broken> {
    let (machine, path, before) = waiting(fleet, dice, in_hand)?;
    let title = before.lines().find(|line| line.starts_with("title: "))?;
    // Text that no other edit contains, also not as a part.
    let token = format!("edited-{}x", fleet.now());
    let after = before.replacen(title, &format!("{title} {token}"), 1);
    touch(machine, path, before, after, Some(token))
}

/// Makes a file of a waiting task unreadable; none that somebody has in hand already.
pub fn break_file(fleet: &Fleet, dice: &mut Dice, in_hand: &[PathBuf]) -> Option<Broken> {
    let (machine, path, before) = waiting(fleet, dice, in_hand)?;
    let after = match dice.below(4) {
        0 => format!("<<<<<<< mine\n{before}=======\n>>>>>>> theirs\n"),
        1 => before.replacen("title: ", "title: [", 1),
        2 => before.replacen("title: ", "status: done\ntitle: ", 1),
        _ => before.chars().take(before.len() / 2).collect(),
    };
    touch(machine, path, before, after, None)
}

fn touch(
    machine: usize,
    path: PathBuf,
    before: String,
    after: String,
    edit: Option<String>,
) -> Option<Broken> {
    let task = path.file_stem()?.to_string_lossy().into_owned();
    // Whoever else wrote meanwhile keeps it: an editor asks before it overwrites.
    if std::fs::read_to_string(&path).ok()? != before {
        return None;
    }
    replace(&path, &after).ok()?;
    Some(Broken { machine, task, path, before, after, edit })
}

/// How often a person looks who is disturbed each time.
const LOOKS: usize = 10;

/// Looks again where a fault killed the look: what it would have said is not known then.
fn undisturbed(look: impl Fn() -> Ended) -> Ended {
    let said = |shown: &Ended| !shown.struck || shown.code.is_some();
    (1..LOOKS).map(|_| look()).find(said).unwrap_or_else(&look)
}

/// Looks what orch made of it, and mends what is not in order.
pub fn mend(fleet: &Fleet, broken: &Broken) {
    stays(fleet, broken);
    let show = || undisturbed(|| fleet.orch(broken.machine, "hands", &["show", &broken.task]));
    let shown = show();
    let there = std::fs::read_to_string(&broken.path).unwrap_or_default() == broken.after;
    if broken.edit.is_none() && there && shown.code == Some(0) {
        let what = format!("{} is broken on m{} and `show` exits 0", broken.task, broken.machine);
        fleet.violation("silent_damage", what);
    }
    if shown.code == Some(0) {
        took(fleet, broken, &shown);
        return;
    }
    if shown.code == Some(8) {
        fleet.tally.count("damage.told");
    }
    // The person undoes the change; where the task has moved on meanwhile, orch restores it when the file is gone.
    if there && replace(&broken.path, &broken.before).is_ok() {
        let again = show();
        if again.code == Some(0) {
            return;
        }
    }
    drop(std::fs::remove_file(&broken.path));
    let again = show();
    if again.code != Some(0) && !again.struck && !fleet.windows.excuse(broken.machine, again.started) {
        let said = again.stderr.trim();
        let what = format!(
            "{} on m{} is not restored after its file went away: {said}",
            broken.task, broken.machine
        );
        fleet.violation("invalid_file", what);
    }
}

/// What cannot be read stays in its place until a person acts, or the one who restores the file keeps it elsewhere.
fn stays(fleet: &Fleet, broken: &Broken) {
    let holds = |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text == broken.after);
    if broken.edit.is_some() || holds(&broken.path) {
        return;
    }
    let rejected = fleet.place.machine(broken.machine).join("state/.git/orch/rejected");
    let kept = format!("damaged-{}-", broken.task);
    let all = std::fs::read_dir(rejected).into_iter().flatten().flatten();
    let mut copies = all.filter(|file| file.file_name().to_string_lossy().starts_with(&kept));
    if !copies.any(|file| holds(&file.path())) {
        let what = format!("what a person broke in {} is gone on m{}", broken.path.display(), broken.machine);
        fleet.violation("overwritten", what);
    }
}

/// A command has looked at a valid edit, so it is recorded, and stays.
fn took(fleet: &Fleet, broken: &Broken, shown: &Ended) {
    let Some(token) = &broken.edit else { return };
    // On a full disk nothing can be recorded; the next command does it.
    if fleet.windows.excuse(broken.machine, shown.started) {
        return;
    }
    fleet.tally.count("edits.taken");
    fleet.told(Told {
        at: fleet.now(),
        machine: broken.machine,
        session: "hands".to_owned(),
        verb: "edit".to_owned(),
        task: broken.task.clone(),
        epoch: 0,
        token: token.clone(),
        published: false,
    });
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let next = path.with_extension("swp");
    let done = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
    if done.is_err() {
        // On a full disk half of it would stay, and be reported as something strange among the tasks.
        drop(std::fs::remove_file(&next));
    }
    done
}

/// A task file that nobody works on and nobody has in hand, on some machine.
fn waiting(fleet: &Fleet, dice: &mut Dice, in_hand: &[PathBuf]) -> Option<(usize, PathBuf, String)> {
    let machine = dice.below(fleet.profile.fleet.machines);
    let tasks = fleet.place.machine(machine).join("state/tasks");
    let shards: Vec<PathBuf> = std::fs::read_dir(tasks).ok()?.flatten().map(|shard| shard.path()).collect();
    for _ in 0..20 {
        let files: Vec<PathBuf> =
            std::fs::read_dir(dice.pick(&shards)?).ok()?.flatten().map(|file| file.path()).collect();
        let fits =
            |path: &&PathBuf| path.extension().is_some_and(|ext| ext == "yaml") && !in_hand.contains(path);
        let Some(path) = dice.pick(&files).filter(fits) else { continue };
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // Fields at their default are left out: a waiting task has no status.
        if text.contains("\nhistory:")
            && !text.lines().any(|line| line.starts_with("status: ") && line != "status: pending")
        {
            return Some((machine, path.clone(), text));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use serde_json::Value;

    use super::*;

    fn ended(code: Option<i32>, struck: bool) -> Ended {
        let (started, took) = (Instant::now(), Duration::ZERO);
        Ended { code, data: Value::Null, error: String::new(), stderr: String::new(), started, took, struck }
    }

    /// The look at an edited file was killed. It was taken for one that says that the file cannot be read, and the file was
    /// deleted for orch to bring it back: a task that only this machine had was gone, and orch was called broken.
    #[test]
    fn who_is_disturbed_looks_again() {
        let looked = Cell::new(0);
        let look = |answers: &[(Option<i32>, bool)]| {
            looked.set(0);
            let shown = undisturbed(|| {
                let at = looked.replace(looked.get() + 1);
                let (code, struck) = answers[at.min(answers.len() - 1)];
                ended(code, struck)
            });
            (shown.code, looked.get())
        };
        assert_eq!(look(&[(None, true), (None, true), (Some(0), false)]), (Some(0), 3));
        assert_eq!(
            look(&[(Some(8), true)]),
            (Some(8), 1),
            "one that was only stopped for a while has said something"
        );
        assert_eq!(look(&[(None, false)]), (None, 1), "whose death is no fault of ours is told");
        assert_eq!(look(&[(None, true)]), (None, LOOKS), "a machine on which nothing runs");
    }
}
