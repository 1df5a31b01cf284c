//! Noticing what happened to task files behind our back: hand edits, damage, vanished and foreign files.

use std::time::Duration;

use crate::protocol::edit::{ForbiddenEdit, adds_nothing, interpret};
use crate::protocol::id::TaskId;
use crate::protocol::merge::{missing, overlay};
use crate::protocol::op::Action;
use crate::protocol::task::Task;
use crate::protocol::transition::{Rejected, next};
use crate::store::codec;
use crate::store::index::{Dir, DirStamp};
use crate::store::place::Place;
use crate::store::scan::{Scope, Seen, Suspect, What};
use crate::store::tasks::{FileState, Problem, Publish};
use crate::sync::context::SyncError;
use crate::sync::{archive, history, rejected};

use super::error::{Error, Result};
use super::queue::{About, Queue};
use super::{adopt, archived, around, edit, shared_files};

const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Opening a queue looks at all files; the use case that follows at once only has to look at its own.
const RECENT: Duration = Duration::from_secs(1);
/// What is about some tasks only looks at theirs, too, where another process looked at all files so short a
/// time ago: sessions that work side by side then do not look for each other, and nobody types that fast. Who
/// wants the next task looks at the folders then, and at the file of the task that it is to be.
const JUST_NOW: Duration = Duration::from_millis(100);
/// A look at every file is noted for other processes at most this often: noting costs a transaction.
const NOTED: Duration = Duration::from_millis(50);

/// The look of a process that opens the queue.
pub(crate) fn first(q: &mut Queue, about: &About) -> Result<()> {
    let just_now = q.store.last_look(&q.world).filter(|look| look.age < JUST_NOW);
    match (about, just_now) {
        (About::Tasks(named), Some(_)) => {
            q.looked = Some(q.world.clock.monotonic());
            scan(q, Scope::Named(named))?;
            report(q)
        }
        // Whoever looked for itself may have edited a file since, and expects its next command to see that.
        (About::Next, Some(look)) if look.session != q.session => {
            q.looked = Some(q.world.clock.monotonic());
            q.relied = true;
            scan(q, Scope::Folders)
        }
        (About::Tasks(named), _) => usual(q, named),
        (About::Queue | About::Next, _) => usual(q, &[]),
    }
}

/// Looks for files that changed, as far as is cheap, and always at those of the tasks named.
pub(crate) fn look(q: &mut Queue, named: &[TaskId]) -> Result<()> {
    let now = q.world.clock.monotonic();
    if !named.is_empty() && q.looked.is_some_and(|then| now.saturating_sub(then) < RECENT) {
        return scan(q, Scope::Named(named));
    }
    shared_files::look(q)?;
    usual(q, named)
}

fn usual(q: &mut Queue, named: &[TaskId]) -> Result<()> {
    let mut dice = [0u8; 8];
    q.world.random.fill(&mut dice);
    q.looked = Some(q.world.clock.monotonic());
    scan(q, Scope::Usual { named, turn: u64::from_le_bytes(dice) })
}

/// Looks at every file.
pub(crate) fn look_at_all(q: &mut Queue) -> Result<()> {
    shared_files::look(q)?;
    scan(q, Scope::Full)
}

/// Tells other processes of a look at every file, unless one was told of a moment ago.
fn note(q: &Queue, clean: &[(Dir, DirStamp)]) {
    if q.store.last_look(&q.world).is_none_or(|look| look.age >= NOTED) {
        // Only a question of speed, so a busy index is no reason to fail.
        let _ = q.store.note_look(&q.world, &q.session, clean);
    }
}

fn scan(q: &mut Queue, scope: Scope<'_>) -> Result<()> {
    if q.read_only {
        return Ok(());
    }
    let Seen { suspects, clean } = q.store.scan(&q.world, scope).map_err(|e| Error::from_store(&e))?;
    let nothing_new = suspects.is_empty();
    let mut adopted = false;
    if !matches!(scope, Scope::Named(_)) {
        q.strays.clear();
    }
    let new = |s: &Suspect| Some((s.id.clone().filter(|_| s.what == What::New)?, s.place));
    let left = adopt::take_over(q, suspects.iter().filter_map(new).collect())?;
    adopted |= left.waiting;
    for (id, place) in &left.ids {
        adopted |= match place {
            Place::Tasks => adopt_new(q, id)?,
            place => archived::arrived(q, id, *place)?,
        };
    }
    for suspect in suspects.into_iter().filter(|s| new(s).is_none()) {
        match (&suspect.id, &suspect.what) {
            (Some(id), What::Changed) => adopted |= adopt_one(q, id)?,
            (Some(id), What::Vanished) => restore(q, id)?,
            // What stands in the place of a task's file hides the task: that is its problem, and not only a stray thing.
            (Some(id), What::NotAFile) if q.store.taken(&q.world, id).is_ok_and(|known| known.is_some()) => {
                adopted |= adopt_one(q, id)?;
            }
            (_, What::Temporary) => sweep(q, &suspect),
            _ => stray(q, &suspect),
        }
    }
    if matches!(scope, Scope::Named(_)) && nothing_new {
        return Ok(());
    }
    report(q)?;
    if matches!(scope, Scope::Usual { .. } | Scope::Full) {
        note(q, &clean);
    }
    if adopted {
        q.settle()?;
    }
    Ok(())
}

/// Tells of every file that is quarantined.
fn report(q: &mut Queue) -> Result<()> {
    for (_, problem) in q.store.problems().map_err(|e| Error::from_store(&e))? {
        q.warn(problem);
    }
    Ok(())
}

/// Removes what a killed process left behind; a living one is still writing.
fn sweep(q: &Queue, suspect: &Suspect) {
    let owner =
        suspect.path.file_name().and_then(|name| crate::store::atomic::temp_pid(&name.to_string_lossy()));
    if owner.is_some_and(|pid| q.world.process.identify(pid).is_none()) {
        // What cannot be removed now is seen again by the next command.
        let _ = q.store.remove_local(&q.world, &suspect.path);
    }
}

/// Something below `tasks/` or `archive/` that is no task's file: reported by every command, left alone.
pub(super) fn stray(q: &mut Queue, suspect: &Suspect) {
    let why = match &suspect.what {
        What::Misnamed(why) | What::Unreadable(why) => why.as_str(),
        What::NotAFile => "it is not a plain file; orch never follows links or opens devices",
        What::New | What::Changed | What::Vanished | What::Temporary => "it belongs to no task",
    };
    let text = format!("{}: {why}", suspect.path.display());
    q.warn(text.clone());
    q.strays.push(text);
}

/// Takes over a new file among the tasks, unless its id is that of an archived task in another case.
fn adopt_new(q: &mut Queue, id: &TaskId) -> Result<bool> {
    let taken = q.store.taken(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let Some(other) = taken.filter(|other| other != id) else { return adopt_one(q, id) };
    let what = What::Misnamed(format!("it differs from the task {other} in case only"));
    let path = q.store.layout.task(id);
    stray(q, &Suspect { path, id: Some(id.clone()), place: Place::Tasks, what });
    Ok(false)
}

/// Takes over a file that somebody else wrote; says whether it holds something new to publish.
pub(super) fn adopt_one(q: &mut Queue, id: &TaskId) -> Result<bool> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let state = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    let known = known(q, id)?;
    let store = |e| Error::from_store(&e);
    match state {
        FileState::Absent => Ok(false),
        FileState::Problem(problem) => {
            q.store.quarantine(&q.world, id, &problem).map_err(store)?;
            Ok(false)
        }
        FileState::Task { task, .. } => match interpret(&task, known.as_ref()) {
            Ok((told, None)) => {
                let whole = with_known(q, told, known.as_ref())?;
                let publish =
                    if known.as_ref() == Some(&whole) { Publish::Published } else { Publish::Waiting };
                // Among the tasks it is written anew also where that changes nothing: what a write that failed or died at
                // its last step left in place may not survive a power failure, and from now on it is relied upon.
                if whole == *task && q.store.place(id).map_err(store)? != Place::Tasks {
                    q.store.admit(&q.world, &whole, publish).map_err(store)?;
                } else {
                    q.store.write_found(&q.world, &guard, &whole, publish).map_err(store)?;
                }
                if publish == Publish::Published {
                    archive::settle(&q.cx(), &guard, &whole).map_err(|e| Error::from_sync(&e))?;
                }
                Ok(publish == Publish::Waiting)
            }
            // A valid seal over a state that its history does not tell: written by no version of orch.
            Ok((_, Some(_))) => {
                let problem =
                    Problem::plain("its seal is valid but its history does not tell its definition");
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
            Err(why) => {
                let problem = q.store.point_at(&q.world, id, why.key(), &why.to_string());
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
        },
        FileState::Edited { task } => match edited(q, &task, known.as_ref()) {
            Ok(after) => {
                let lacking = known.as_ref().map_or(0, |known| missing(&task, known).count());
                if lacking > 0 {
                    q.warn(format!("{id}: {lacking} operation(s) that its file lacked were put back; a history only grows"));
                }
                q.store.write_found(&q.world, &guard, &after, Publish::Waiting).map_err(store)?;
                Ok(true)
            }
            Err((key, text)) => {
                let problem = q.store.point_at(&q.world, id, key, &text);
                q.store.quarantine(&q.world, id, &problem).map_err(store)?;
                Ok(false)
            }
        },
    }
}

/// A person's edit, as an operation on top of what was known.
fn edited(q: &Queue, task: &Task, known: Option<&Task>) -> std::result::Result<Task, (&'static str, String)> {
    let forbidden = |why: ForbiddenEdit| (why.key(), why.to_string());
    let (told, patch) = interpret(task, known).map_err(forbidden)?;
    if let Some(known) = known {
        // What waits to be committed or published stands in no version of git, but this machine has seen it whole.
        let seen = q.store.has_known_history(task).map_err(|error| ("history", error.to_string()))?;
        if !seen {
            adds_nothing(task, known).map_err(forbidden)?;
        }
    }
    check_lease(q, task)?;
    let whole = with_known(q, told, known).map_err(|error| ("history", error.message))?;
    let Some(patch) = patch else { return Ok(whole) };
    if let Some(needs) = &patch.needs {
        match around::cycle(q, task.id(), needs) {
            Ok(Some(path)) => return Err(("needs", edit::cycle(&path).message)),
            Ok(None) => {}
            Err(error) => return Err(("needs", error.message)),
        }
    }
    let op = q.op(Action::Edit(Box::new(patch)));
    let after = next(Some(&whole), task.id(), &op).map_err(|why| ("status", why.to_string()))?;
    // The history keeps what the fields say once more.
    if !codec::has_room(Some(&whole), &after, &op) {
        return Err(("history", Rejected::TooLarge.to_string()));
    }
    Ok(after)
}

/// Heartbeats are not history, so the replay cannot tell whether the lease was edited: the index can.
fn check_lease(q: &Queue, task: &Task) -> std::result::Result<(), (&'static str, String)> {
    let seen = q.store.summary(task.id()).ok().flatten();
    match (task.lease(), seen.as_ref().and_then(Task::lease)) {
        (Some(mine), Some(seen)) if mine.epoch == seen.epoch && mine != seen => Err((
            "lease",
            "`lease` cannot be edited by hand: use `orch heartbeat` or `orch release`".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The file's history together with operations that are known and that it lacks: an older copy put back,
/// or an editor that was open while the task moved on, loses nothing.
fn with_known(q: &Queue, told: Task, known: Option<&Task>) -> Result<Task> {
    match known {
        Some(known) if missing(&told, known).next().is_some() => {
            let merged = overlay(known, &told);
            for (op, why) in merged.refused.iter().filter(|(op, _)| op.machine == q.machine) {
                rejected::keep(&q.cx(), known.id(), op, &why.to_string())
                    .map_err(|e| Error::from_sync(&e))?;
            }
            Ok(merged.task)
        }
        _ => Ok(told),
    }
}

/// The newest version that git knows.
pub(super) fn known(q: &Queue, id: &TaskId) -> Result<Option<Task>> {
    match history::newest(&q.cx(), id) {
        Ok(known) => Ok(known),
        Err(SyncError::Quarantined { .. }) => Ok(None),
        Err(error) => Err(Error::from_sync(&error)),
    }
}

/// A file that vanished is put back: absence is never a deletion.
fn restore(q: &mut Queue, id: &TaskId) -> Result<()> {
    let guard = q.store.lock_task(&q.world, id, LOCK_WAIT).map_err(|e| Error::from_store(&e))?;
    let state = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))?;
    if !matches!(state, FileState::Absent) {
        return Ok(());
    }
    let known = match history::newest(&q.cx(), id) {
        // What the remote holds cannot be read, so nobody knows what to put back.
        Err(SyncError::Quarantined { .. }) => return Ok(()),
        other => other.map_err(|e| Error::from_sync(&e))?,
    };
    match known {
        Some(task) => {
            archive::put(&q.cx(), &guard, &task, Publish::Published).map_err(|e| Error::from_sync(&e))?;
            q.warn(format!("{id}: its file had vanished and was restored; to end a task use `orch cancel`"));
        }
        None => {
            q.store.forget(id).map_err(|e| Error::from_store(&e))?;
            q.warn(format!("{id}: its file has vanished before it was committed and cannot be restored"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::machine::{self, Options};
    use crate::usecase::testing::{Yard, add, file, id, replace};

    /// Eight sessions side by side spent a third of their time on looking at each other's thousand files. An act
    /// on one task relies on what another process has just seen, but only on that, and only for a moment.
    #[test]
    fn an_act_on_one_task_relies_on_a_look_by_another_process_for_a_moment_only() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "T-1", &[]);
        add(&mut q, "T-2", &[]);
        let path = file(&q, "T-1");
        let about = |name: &str| {
            let options =
                Options { state: yard.state("a"), about: About::Tasks(vec![id(name)]), ..Options::default() };
            machine::open(&options).unwrap()
        };
        let told = |name: &str| about(name).notices().iter().any(|text| text.contains("T-1.yaml"));
        let (good, bad) = ("status: pending", "status: nonsense");
        // Other tests may keep this machine busy for longer than the moment lasts.
        let relied = (0..100).any(|_| {
            yard.queue("a");
            replace(&path, good, bad);
            let relied = !told("T-2");
            assert!(told("T-1"), "the task's own file is looked at in any case");
            replace(&path, bad, good);
            assert!(!told("T-1"));
            relied
        });
        assert!(relied, "the files of others are not looked at again within the moment");
        replace(&path, good, bad);
        let end = Instant::now() + Duration::from_secs(10);
        while !told("T-2") {
            assert!(Instant::now() < end, "after the moment every file is looked at");
        }
    }

    fn next(yard: &Yard, session: &str) -> Queue {
        let (state, session) = (yard.state("a"), Some(session.to_owned()));
        machine::open(&Options { state, session, about: About::Next, ..Options::default() }).unwrap()
    }

    /// Eight sessions that drained one queue looked at each other's thousand files for every single claim. Who wants
    /// the next task may rely on the look of another session for a moment, but nobody on its own: the next command
    /// of whoever edits a file by hand sees the edit.
    #[test]
    fn the_next_task_is_chosen_after_a_look_by_another_session_but_not_by_ones_own() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for name in ["T-1", "T-2", "T-3"] {
            add(&mut q, name, &[]);
        }
        let edit = |from: &str, to: &str| replace(&file(&q, "T-3"), from, to);
        // In place, so that no folder shows it.
        let title = |n: usize| format!("title of T-3{}", "x".repeat(n));
        yard.queue("a");
        let relied = (1..100).any(|n| {
            q.store.note_look(&q.world, "me", &[]).unwrap();
            edit(&format!("\ntitle: {}\n", title(n - 1)), &format!("\ntitle: {}\n", title(n)));
            let own = next(&yard, "me");
            assert!(!own.relied);
            assert_eq!(own.store.summary(&id("T-3")).unwrap().unwrap().def().title, title(n));
            q.store.note_look(&q.world, "another", &[]).unwrap();
            next(&yard, "me").relied
        });
        // Other tests may keep this machine busy for longer than the moment lasts.
        assert!(relied, "the files of others are not looked at again within the moment");
    }

    /// A session that relied on another's look found nothing ready although a person had just made a task ready by
    /// hand.
    #[test]
    fn nothing_is_called_ready_only_after_a_look_of_ones_own() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "T-1", &[]);
        let later = Some(crate::protocol::time::Timestamp(q.now().0 + 3_600_000));
        crate::usecase::edit::snooze(&mut q, &id("T-1"), later).unwrap();
        let path = file(&q, "T-1");
        let snoozed = std::fs::read_to_string(&path).unwrap();
        let line = snoozed.lines().find(|line| line.starts_with("not_before:")).unwrap().to_owned();
        replace(&path, &line, "not_before: 2001-01-01T00:00:00.000Z");
        q.store.note_look(&q.world, "another", &[]).unwrap();
        let mut q = next(&yard, "me");
        let claimed = crate::usecase::claim::pick(&mut q, &crate::usecase::claim::Terms::default());
        assert_eq!(claimed.unwrap().task.id(), &id("T-1"));
    }
}
