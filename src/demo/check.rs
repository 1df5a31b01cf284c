//! What must hold in the end, each point with what was found.

use std::path::PathBuf;

use serde_json::Value;

use super::cast::{Stage, read};
use super::project::{self, BY_HAND};
use super::report::{Expectation, Verdict};
use super::view::{View, task_files};
use crate::protocol::op::Action;
use crate::protocol::task::{Status, Task};
use crate::world::ProcessId;
use crate::world::program::Ended;

/// Lists the lease refs on the remote; nothing is printed where there are none.
pub const LEASES: [&str; 4] =
    ["--git-dir=hub/queue.git", "for-each-ref", "refs/orch/leases", "refs/heads/orch-leases"];
/// Exit code of an act by a session whose lease is another's.
const FENCED: i32 = 9;

/// A claim that its holder could not bring to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// The task.
    pub task: String,
    /// Who held it.
    pub session: String,
    /// Its epoch then.
    pub epoch: u64,
    /// Whether the program of the task was seen running.
    pub program_seen: bool,
    /// Whether it was gone when it had to be.
    pub program_gone: bool,
    /// How the worker ended, if it did.
    pub how: Option<String>,
}

/// A late `done` of a holder that has been replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Exit code.
    pub code: i32,
    /// Stable word of the error.
    pub word: String,
}

/// A `done` that was said offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// Whether it claimed to be published.
    pub published: bool,
    /// Whether it was kept when the register refused it.
    pub kept: bool,
}

/// What the scenes found out.
#[derive(Debug, Default)]
pub struct Facts {
    /// Why the play did not get to its end.
    pub stuck: Option<String>,
    /// The claim of the machine without power.
    pub killed: Option<Abandoned>,
    /// The claim of the machine without cable.
    pub cut: Option<Abandoned>,
    /// The program that this machine was running.
    pub cut_program: Option<ProcessId>,
    /// Where its evidence lies.
    pub cut_bundle: Option<PathBuf>,
    /// How that attempt ended, by its manifest.
    pub cut_reason: Option<String>,
    /// Its late word.
    pub late: Option<Late>,
    /// What it said offline.
    pub offline: Option<Offline>,
    /// How the workers ended.
    pub workers: Vec<(String, Option<Ended>)>,
}

/// Whether all machines hold the same task files, and some.
#[must_use]
pub fn same_files(stage: &Stage) -> bool {
    let files: Vec<_> = stage.machines.iter().map(task_files).collect();
    !files[0].is_empty() && files.iter().all(|one| *one == files[0])
}

/// Asks `orch audit` and `orch verify` on every machine.
#[must_use]
pub fn verdicts(stage: &Stage) -> Vec<Verdict> {
    let ask = |which: usize, command: &'static str| {
        let answer = stage.orch(which, "you", &[command]);
        let (ok, problems) = match &answer {
            Ok(answer) if answer.data["ok"].is_boolean() => {
                (answer.code == 0 && answer.data["ok"] == true, listed(&answer.data["problems"]))
            }
            Ok(answer) => (false, vec![answer.said()]),
            Err(error) => (false, vec![error.message.clone()]),
        };
        Verdict { machine: stage.machine(which).name.to_owned(), command, ok, problems }
    };
    let machines = 0..stage.machines.len();
    machines.flat_map(|which| [ask(which, "audit"), ask(which, "verify")]).collect()
}

/// Problems as lines: what is wrong, with the task or file that it is about.
fn listed(problems: &Value) -> Vec<String> {
    let text = |one: &Value, key: &str| one[key].as_str().map(str::to_owned);
    let line = |one: &Value| {
        let what = text(one, "what").or_else(|| text(one, "message")).unwrap_or_else(|| one.to_string());
        text(one, "task").map_or_else(|| what.clone(), |task| format!("{task}: {what}"))
    };
    problems.as_array().into_iter().flatten().map(line).collect()
}

fn expect(what: impl Into<String>, held: bool, found: impl Into<String>) -> Expectation {
    Expectation { what: what.into(), held, found: found.into() }
}

/// Everything that must hold.
#[must_use]
pub fn expectations(stage: &Stage, facts: &Facts, view: &View, ids: &[String]) -> Vec<Expectation> {
    let end = facts.stuck.clone().unwrap_or_else(|| "it did".to_owned());
    let mut all = vec![expect("the rehearsal came to its end", facts.stuck.is_none(), end)];
    all.extend(of_office(facts, view));
    all.extend(of_laptop(facts, view));
    all.push(workers(facts));
    all.push(all_done_once(view, ids));
    all.extend(results(stage));
    let equal = same_files(stage);
    all.push(expect("all machines hold the same files", equal, if equal { "equal" } else { "they differ" }));
    let leases = stage.git(&LEASES).unwrap_or_else(|error| error.message);
    let count = leases.lines().count();
    all.push(expect("no lease is left on the remote", leases.is_empty(), format!("{count} lease refs")));
    all
}

fn of_office(facts: &Facts, view: &View) -> Vec<Expectation> {
    let Some(killed) = &facts.killed else { return vec![expect("a worker was killed", false, "none was")] };
    let how = killed.how.clone().unwrap_or_else(|| "it ended by itself".to_owned());
    vec![
        expect(
            "office: the worker died in the middle of its task, and its program with it",
            killed.program_seen && killed.program_gone && how == "signal 9",
            how,
        ),
        finished_later("office", killed, view),
    ]
}

fn of_laptop(facts: &Facts, view: &View) -> Vec<Expectation> {
    let Some(cut) = &facts.cut else { return vec![expect("a worker was cut off", false, "none was")] };
    let reason = facts.cut_reason.clone().unwrap_or_else(|| "no manifest".to_owned());
    let (code, word) = facts.late.clone().map_or((-1, String::new()), |late| (late.code, late.word));
    let offline = facts.offline.clone().unwrap_or(Offline { published: true, kept: false });
    vec![
        expect(
            "laptop: its worker stopped its program before anyone else began",
            cut.program_seen && cut.program_gone && reason == "lease_lost",
            format!("the attempt ended with {reason}"),
        ),
        finished_later("laptop", cut, view),
        expect("laptop: its late `done` was refused", code == FENCED, format!("exit code {code} {word}")),
        expect(
            "laptop: its offline `done` was never called published, and is kept as refused",
            !offline.published && offline.kept,
            format!("published {}, kept {}", offline.published, offline.kept),
        ),
        handed_on(view),
    ]
}

/// The task was finished under a later claim than the one that was left behind.
fn finished_later(name: &str, left: &Abandoned, view: &View) -> Expectation {
    let what = format!("{name}: {} was finished by somebody else in a higher epoch", left.task);
    let done = view.get(&left.task).and_then(finisher);
    let held = done.as_ref().is_some_and(|(by, epoch)| *by != left.session && *epoch > left.epoch);
    expect(what, held, done.map_or("it is not done".to_owned(), |(by, epoch)| format!("epoch {epoch}, {by}")))
}

fn handed_on(view: &View) -> Expectation {
    let done = view.get(BY_HAND).and_then(finisher);
    let held = done.as_ref().is_some_and(|(by, epoch)| by == "agent@ci" && *epoch > 1);
    let found = done.map_or("it is not done".to_owned(), |(by, epoch)| format!("epoch {epoch}, {by}"));
    expect(format!("{BY_HAND} counts as ci finished it, not as the laptop did"), held, found)
}

/// Who finished a task, and in which epoch.
fn finisher(task: &Task) -> Option<(String, u64)> {
    task.history().iter().find_map(|op| match op.action {
        Action::Done { epoch, .. } => Some((op.by.clone(), epoch)),
        _ => None,
    })
}

fn workers(facts: &Facts) -> Expectation {
    let ok = |end: &Option<Ended>| end.is_some_and(|end| end.code == Some(0));
    let alive = facts.workers.iter().filter(|(session, _)| session != "worker@office");
    let bad: Vec<&str> = alive.clone().filter(|(_, end)| !ok(end)).map(|(name, _)| name.as_str()).collect();
    let held = bad.is_empty() && alive.count() == 3;
    let found = if bad.is_empty() { "exit code 0".to_owned() } else { format!("not so: {}", bad.join(", ")) };
    expect("the other workers ended as they should when nothing was left", held, found)
}

fn all_done_once(view: &View, ids: &[String]) -> Expectation {
    let is_done = |op: &&crate::protocol::op::Op| matches!(op.action, Action::Done { .. });
    let once = |id: &&String| {
        view.get(*id).is_some_and(|task| {
            task.status() == Status::Done && task.history().iter().filter(is_done).count() == 1
        })
    };
    let good = ids.iter().filter(once).count();
    expect("every task is done, exactly once", good == ids.len(), format!("{good} of {}", ids.len()))
}

/// The files of the report, against a computation of their content that used none of the tasks' programs.
fn results(stage: &Stage) -> Vec<Expectation> {
    let site = stage.project().join("site");
    let expected = project::expected();
    let report = read(&site.join("report.txt")).and_then(|text| project::read_report(&text));
    let errors = read(&site.join("errors.txt"));
    let lines = errors.as_deref().map_or(0, |text| text.lines().count());
    let pages = report.as_ref().map_or(0, Vec::len);
    vec![
        expect(
            "site/report.txt is what an independent count gives",
            report.as_ref() == Some(&expected.report),
            format!("{pages} pages"),
        ),
        expect(
            "site/errors.txt is what an independent search gives",
            errors.is_some_and(|text| text.lines().eq(expected.errors.iter().map(String::as_str))),
            format!("{lines} requests"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(session: &str) -> Abandoned {
        Abandoned {
            task: "t".to_owned(),
            session: session.to_owned(),
            epoch: 1,
            program_seen: true,
            program_gone: true,
            how: Some("signal 9".to_owned()),
        }
    }

    #[test]
    fn what_was_not_seen_does_not_hold() {
        let (facts, view) = (Facts::default(), View::new());
        let all =
            [of_office(&facts, &view), of_laptop(&facts, &view), vec![workers(&facts), handed_on(&view)]];
        assert!(all.iter().flatten().all(|one| !one.held), "{all:?}");
        assert!(!all_done_once(&view, &["t".to_owned()]).held);
    }

    #[test]
    fn a_laptop_that_worked_on_too_long_or_was_believed_is_noticed() {
        let good = || Facts {
            cut: Some(left("worker@laptop")),
            cut_reason: Some("lease_lost".to_owned()),
            late: Some(Late { code: FENCED, word: "fenced".to_owned() }),
            offline: Some(Offline { published: false, kept: true }),
            ..Facts::default()
        };
        let held = |facts: &Facts| -> Vec<bool> {
            // The other two points are about tasks, and there are none here.
            let all = of_laptop(facts, &View::new());
            [0, 2, 3].iter().map(|at: &usize| all[*at].held).collect()
        };
        assert_eq!(held(&good()), [true, true, true]);
        let still_running = Abandoned { program_gone: false, ..left("worker@laptop") };
        assert_eq!(held(&Facts { cut: Some(still_running), ..good() }), [false, true, true]);
        assert_eq!(held(&Facts { cut_reason: Some("success".to_owned()), ..good() }), [false, true, true]);
        let believed = Late { code: 0, word: String::new() };
        assert_eq!(held(&Facts { late: Some(believed), ..good() }), [true, false, true]);
        let dropped = Offline { published: false, kept: false };
        assert_eq!(held(&Facts { offline: Some(dropped), ..good() }), [true, true, false]);
    }

    #[test]
    fn problems_are_told_in_the_words_of_the_audit() {
        let problems =
            serde_json::json!([{"task": "t", "what": "it ended twice"}, {"message": "no such ref"}]);
        assert_eq!(listed(&problems), ["t: it ended twice", "no such ref"]);
    }
}
