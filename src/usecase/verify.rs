//! Checking everything that is promised about files: each task by itself, the tasks together, and what
//! the branch and the lease refs hold as of the last fetch. Nothing is repaired here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::protocol::dag::{Edges, show_cycle};
use crate::protocol::id::TaskId;
use crate::protocol::invariant::{self, Violation};
use crate::protocol::task::{Status, Task};
use crate::store::layout::{self, shard_name, tree_path};
use crate::store::place::{self, Place};
use crate::store::tasks::{FileState, Problem};
use crate::sync::context::SyncError;
use crate::sync::names::TRACKING_BRANCH;
use crate::sync::{alarm, files, shared};
use crate::world::{Oid, TreeChange};

use super::error::{Error, Result};
use super::queue::Queue;
use super::survey::{self, Progress};
use super::{graph, notice, shared_files};

/// Something that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The task that it concerns.
    pub task: Option<TaskId>,
    /// The file or ref, relative to the state directory.
    pub file: Option<String>,
    /// Line, from 1, where known.
    pub line: Option<u32>,
    /// Column, from 1, where known.
    pub column: Option<u32>,
    /// What is wrong, and what to do where that is not plain.
    pub what: String,
    /// Number of the broken promise in SPEC §14, if it is one of those.
    pub promise: Option<u8>,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Tasks that were looked at.
    pub tasks: usize,
    /// What is wrong; a person is needed.
    pub problems: Vec<Trouble>,
    /// What may be meant so: a need that is not known here, two done tasks with one idempotency key.
    pub warnings: Vec<Trouble>,
}

impl Verified {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies every task. Hand edits that were not noticed yet are taken over first, as by every command.
///
/// # Errors
/// Local files, the index or the repository cannot be read at all.
pub fn verify(q: &mut Queue, progress: Progress<'_>) -> Result<Verified> {
    let mut report = Verified::default();
    notice::look_at_all(q)?;
    report.problems.extend(q.unusable.iter().cloned());
    report.problems.extend(strays(q));
    report.problems.extend(doubles(q)?);
    let local = each_task(q, progress, &mut report)?;
    together(q, &local, &mut report)?;
    remote(q, &local, &mut report)?;
    for trouble in report.problems.iter_mut().chain(&mut report.warnings) {
        in_its_place(q, trouble)?;
    }
    keep_other_notices(q, &report);
    Ok(report)
}

/// Problems of files are in the report; said twice they would only be noise.
fn keep_other_notices(q: &mut Queue, report: &Verified) {
    let places: Vec<String> = q.unusable.iter().map(|trouble| shared_files::place(q, trouble)).collect();
    let told = |text: &str| {
        report.problems.iter().any(|p| text.ends_with(&p.what))
            || places.iter().any(|place| text.starts_with(place))
    };
    for text in q.notices() {
        if !told(&text) {
            q.warn(text);
        }
    }
}

/// What is remembered of each valid task while the others are read.
#[derive(Default)]
struct Local {
    oids: HashMap<TaskId, Oid>,
    statuses: BTreeMap<TaskId, Status>,
    parents: Vec<(TaskId, TaskId)>,
    edges: Edges,
    done_keys: BTreeMap<String, Vec<TaskId>>,
}

impl Local {
    fn note(&mut self, task: &Task, oid: Oid) {
        let (id, def) = (task.id(), task.def());
        self.oids.insert(id.clone(), oid);
        self.statuses.insert(id.clone(), task.status());
        if !def.needs.is_empty() {
            self.edges.insert(id.clone(), def.needs.clone());
        }
        self.parents.extend(def.parent.iter().map(|parent| (id.clone(), parent.clone())));
        if let (Status::Done, Some(key)) = (task.status(), &def.idempotency_key) {
            self.done_keys.entry(key.clone()).or_default().push(id.clone());
        }
    }
}

fn in_file(id: &TaskId, what: impl Into<String>) -> Trouble {
    Trouble { task: Some(id.clone()), file: Some(tree_path(id)), what: what.into(), ..Trouble::default() }
}

/// Names the file in the archive where that is the one.
fn in_its_place(q: &Queue, trouble: &mut Trouble) -> Result<()> {
    if let Some(id) = &trouble.task
        && trouble.file.as_deref() == Some(&tree_path(id))
    {
        let place = q.store.place(id).map_err(|e| Error::from_store(&e))?;
        trouble.file = Some(place.tree_path(id));
    }
    Ok(())
}

fn broken(id: &TaskId, violation: Violation) -> Trouble {
    Trouble { promise: Some(violation.promise), ..in_file(id, violation.what) }
}

fn placed(id: &TaskId, problem: &Problem) -> Trouble {
    Trouble { line: problem.line, column: problem.column, ..in_file(id, problem.text.clone()) }
}

fn strays(q: &Queue) -> Vec<Trouble> {
    let root = format!("{}/", q.store.layout.state().display());
    let trouble = |text: &String| {
        let text = text.strip_prefix(&root).unwrap_or(text);
        let (file, what) = text.split_once(": ").unwrap_or(("", text));
        Trouble { file: Some(file.to_owned()), what: what.to_owned(), ..Trouble::default() }
    };
    q.strays.iter().map(trouble).collect()
}

/// Two files whose names differ in case only: they claim the same task.
fn doubles(q: &Queue) -> Result<Vec<Trouble>> {
    let mut found = Vec::new();
    for shard in 0..=u8::MAX {
        let names = q.store.list_local(&q.world, &q.store.layout.shard(shard));
        let names = names.map_err(|e| Error::from_store(&e))?;
        let mut seen: HashMap<String, String> = HashMap::new();
        for name in names {
            let Ok(id) = layout::parse_entry(&shard_name(shard), &name) else { continue };
            if let Some(other) = seen.insert(id.folded(), name) {
                let what = format!(
                    "{other} in the same folder names the same task; ids are unique without regard to case"
                );
                found.push(in_file(&id, what));
            }
        }
    }
    Ok(found)
}

/// Every task by itself: readable, sealed, and equal to the replay of its history.
fn each_task(q: &Queue, progress: Progress<'_>, report: &mut Verified) -> Result<Local> {
    let quarantined: HashMap<TaskId, Problem> =
        q.store.quarantined().map_err(|e| Error::from_store(&e))?.into_iter().collect();
    let mut local = Local::default();
    let problems = &mut report.problems;
    report.tasks = survey::each(q, progress, &mut |id, state| {
        if let Some(problem) = quarantined.get(id) {
            problems.push(placed(id, problem));
            return Ok(());
        }
        match state {
            FileState::Task { task, oid, .. } => {
                problems.extend(invariant::check(&task).into_iter().map(|v| broken(id, v)));
                local.note(&task, oid);
            }
            FileState::Problem(problem) => problems.push(placed(id, &problem)),
            FileState::Edited { .. } => {
                problems
                    .push(in_file(id, "it was edited while it was being verified; run the command again"));
            }
            FileState::Absent => {
                problems.push(in_file(id, "it vanished while it was being verified; run the command again"));
            }
        }
        Ok(())
    })?;
    Ok(local)
}

/// What must hold between tasks.
fn together(q: &Queue, local: &Local, report: &mut Verified) -> Result<()> {
    for path in graph::cycles(&local.edges) {
        let what = format!("its needs form a cycle, so none of these can start: {}", show_cycle(&path));
        report.problems.push(in_file(&path[0], what));
    }
    let known: BTreeSet<TaskId> = q.store.ids().map_err(|e| Error::from_store(&e))?.into_iter().collect();
    for (task, needs) in &local.edges {
        for need in needs.iter().filter(|need| !known.contains(*need)) {
            // A task that has ended does not wait for anything any more.
            if local.statuses.get(task).is_some_and(|status| !status.is_terminal()) {
                report.warnings.push(in_file(task, format!("it needs {need}, which is not known here")));
            }
        }
    }
    for (task, parent) in local.parents.iter().filter(|(_, parent)| !known.contains(parent)) {
        report.warnings.push(in_file(task, format!("it is a part of {parent}, which is not known here")));
    }
    for (key, tasks) in local.done_keys.iter().filter(|(_, tasks)| tasks.len() > 1) {
        let names: Vec<&str> = tasks.iter().map(TaskId::as_str).collect();
        let what = format!("{} are done and have the same idempotency key `{key}`", names.join(", "));
        report.warnings.push(in_file(&tasks[0], what));
    }
    Ok(())
}

/// What is shared, or committed, as of the last fetch: readable, valid, and not ahead of the files here.
fn remote(q: &Queue, local: &Local, report: &mut Verified) -> Result<()> {
    if let Some(text) = alarm::standing(&q.cx()) {
        report.problems.push(Trouble {
            file: Some(q.names.branch.clone()),
            what: text,
            ..Trouble::default()
        });
    }
    let name = if q.is_shared() { TRACKING_BRANCH } else { q.names.branch.as_str() };
    let repository = |e: crate::world::ObjectsError| Error::from_sync(&e.into());
    let tip = q.world.objects.get_ref(name).map_err(repository)?;
    if let Some(tip) = tip {
        // Every path of the branch; blobs that equal a file here were verified as that file.
        for change in q.world.objects.diff(None, Some(tip)).map_err(repository)? {
            shared_path(q, local, &change, report)?;
        }
    }
    if q.is_shared() {
        for (id, _) in shared::known_leases(&q.cx()).map_err(|e| Error::from_sync(&e))? {
            shared_task(q, local, &id, report)?;
        }
    }
    Ok(())
}

fn shared_path(q: &Queue, local: &Local, change: &TreeChange, report: &mut Verified) -> Result<()> {
    let on_branch = |what: String| Trouble { file: Some(change.path.clone()), what, ..Trouble::default() };
    match place::parse(&change.path) {
        Some(Ok((id, Place::Archive(_)))) if on_branch_as_task(q, &id)? => {
            let what = format!("on the state branch {} holds the same task, and counts", tree_path(&id));
            report.problems.push(Trouble { task: Some(id), ..on_branch(what) });
            Ok(())
        }
        Some(Ok((id, _))) => {
            let entry = change.new.map(|entry| entry.oid);
            let same = entry.is_some() && local.oids.get(&id).copied() == entry;
            if same { Ok(()) } else { shared_task(q, local, &id, report) }
        }
        Some(Err(misnamed)) => {
            report.problems.push(on_branch(format!("on the state branch: {misnamed}")));
            Ok(())
        }
        None => {
            let is_file = change.new.is_some_and(|entry| entry.is_file);
            if files::is_shared(&change.path) && !is_file {
                report
                    .problems
                    .push(on_branch("on the state branch it is no plain file; it is not used".into()));
            }
            Ok(())
        }
    }
}

fn on_branch_as_task(q: &Queue, id: &TaskId) -> Result<bool> {
    let name = if q.is_shared() { TRACKING_BRANCH } else { q.names.branch.as_str() };
    let repository = |e: crate::world::ObjectsError| Error::from_sync(&e.into());
    let Some(tip) = q.world.objects.get_ref(name).map_err(repository)? else { return Ok(false) };
    Ok(q.world.objects.entry(tip, &tree_path(id)).map_err(repository)?.is_some())
}

/// The shared view of a task against the file here.
fn shared_task(q: &Queue, local: &Local, id: &TaskId, report: &mut Verified) -> Result<()> {
    let view = match newest(q, id) {
        Ok(Some(view)) => view,
        Ok(None) => return Ok(()),
        Err(SyncError::Quarantined { problem, .. }) => {
            report.problems.push(in_file(id, problem));
            return Ok(());
        }
        Err(error) => return Err(Error::from_sync(&error)),
    };
    // An interrupted fetch goes on at the next sync; until then the file may be behind.
    if !local.oids.contains_key(id)
        || q.store.unabsorbed().map_err(|e| Error::from_store(&e))?.contains_key(id)
    {
        let quarantined = q.store.problem_of(id).map_err(|e| Error::from_store(&e))?.is_some();
        if !local.oids.contains_key(id) && !quarantined {
            report
                .problems
                .push(in_file(id, "it is on the state branch but not here; `orch sync` brings it"));
        }
        return Ok(());
    }
    if let FileState::Task { task, .. } = q.store.read(&q.world, id).map_err(|e| Error::from_store(&e))? {
        let found = invariant::check_progress(&view, &task);
        report.problems.extend(found.into_iter().map(|violation| {
            let what = format!("compared with what is shared: {}", violation.what);
            broken(id, Violation { what, ..violation })
        }));
    }
    Ok(())
}

fn newest(q: &Queue, id: &TaskId) -> std::result::Result<Option<Task>, SyncError> {
    crate::sync::history::newest(&q.cx(), id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usecase::testing::{Yard, add, claim, file, finish, id, replace};

    fn run(q: &mut Queue) -> Verified {
        verify(q, &mut |_, _| {}).unwrap()
    }

    #[test]
    fn a_sound_queue_has_no_problems() {
        for yard in [Yard::local(), Yard::shared()] {
            let mut q = yard.queue("a");
            add(&mut q, "A", &[]);
            add(&mut q, "B", &["A"]);
            finish(&mut q, "A");
            claim(&mut q, "B");
            let mut heard = 0;
            let report = verify(&mut q, &mut |at, of| heard = heard.max(at * 10 + of)).unwrap();
            assert!(report.ok(), "{report:?}");
            assert_eq!((report.tasks, report.warnings.len(), heard), (2, 0, 22));
        }
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        for name in ["CUT", "EDIT", "LINK", "OK"] {
            add(&mut q, name, &[]);
        }
        let text = std::fs::read_to_string(file(&q, "CUT")).unwrap();
        std::fs::write(file(&q, "CUT"), &text[..text.len() / 2]).unwrap();
        replace(&file(&q, "EDIT"), "status: pending", "status: done");
        std::fs::write(yard.state("a").join("tasks/readme.txt"), "x").unwrap();
        let report = run(&mut q);
        assert!(!report.ok());
        let of = |name: &str| report.problems.iter().find(|p| p.task == Some(id(name)));
        assert!(of("CUT").unwrap().what.contains("seal"), "{report:?}");
        let edit = of("EDIT").unwrap();
        assert!(edit.what.contains("status") && edit.line.is_some(), "{edit:?}");
        assert!(edit.file.as_deref().unwrap().ends_with("EDIT.yaml"));
        assert!(of("OK").is_none() && of("LINK").is_none());
        let stray = report.problems.iter().find(|p| p.task.is_none()).unwrap();
        assert_eq!(stray.file.as_deref(), Some("tasks/readme.txt"), "{stray:?}");
        assert_eq!(report.problems.len(), 3);
        let left = q.notices();
        assert!(left.iter().all(|text| !text.contains("CUT") && !text.contains("readme")), "{left:?}");
    }

    #[test]
    fn a_state_that_its_history_does_not_tell_breaks_promise_six() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        // A file with a valid seal over a forged state, as only a broken program would write it, and an
        // index that believes in it.
        let task = q.load(&id("A")).unwrap();
        let forged = Task::from(crate::protocol::task::Parts {
            id: id("A"),
            def: task.def().clone(),
            state: crate::protocol::task::State::Done,
            attempt: 0,
            epoch: 0,
            result: None,
            history: task.history().to_vec(),
        });
        let guard = q.store.lock_task(&q.world, &id("A"), std::time::Duration::ZERO).unwrap();
        q.store.write(&q.world, &guard, &forged, crate::store::tasks::Publish::Waiting).unwrap();
        let report = run(&mut q);
        assert_eq!(report.problems.first().and_then(|p| p.promise), Some(6), "{report:?}");
    }

    #[test]
    fn cycles_are_problems_and_unknown_needs_are_warnings() {
        let yard = Yard::shared();
        let (mut a, mut b) = (yard.queue("a"), yard.queue("b"));
        add(&mut a, "A", &["B"]);
        // The other machine does not know of A yet: the cycle arrives by merge.
        b.no_sync = true;
        add(&mut b, "B", &["A"]);
        b.no_sync = false;
        crate::usecase::sync::sync(&mut b).unwrap();
        let report = run(&mut b);
        let cycle = report.problems.iter().find(|p| p.what.contains("cycle")).unwrap();
        assert!(cycle.what.contains("A -> B -> A"), "{report:?}");
        let report = run(&mut a);
        assert!(report.ok() && report.warnings[0].what.contains("needs B"), "{report:?}");
    }

    #[test]
    fn what_others_broke_on_the_branch_is_found() {
        let yard = Yard::shared();
        let mut a = yard.queue("a");
        add(&mut a, "A", &[]);
        let head = a.world.objects.get_ref(TRACKING_BRANCH).unwrap().unwrap();
        let changes =
            [(tree_path(&id("A")), Some(b"no task\n".to_vec())), ("tasks/x".to_owned(), Some(vec![]))];
        let forged = a.world.objects.commit(&crate::world::NewCommit {
            base: Some(head),
            changes: &changes,
            parents: &[head],
            author: "mallory",
            at_s: 0,
            message: "forged",
        });
        a.world.objects.swap_ref(TRACKING_BRANCH, Some(head), Some(forged.unwrap())).unwrap();
        let report = run(&mut a);
        assert!(report.problems.iter().any(|p| p.task == Some(id("A")) && p.what.contains("on the remote")));
        assert!(report.problems.iter().any(|p| p.file.as_deref() == Some("tasks/x")), "{report:?}");
    }
}
