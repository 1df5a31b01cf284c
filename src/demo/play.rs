//! Runs the rehearsal: the scenes in order, a look at the queue between any two steps, and the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cast::{CI, LAPTOP, OFFICE, Stage, failed};
use super::check::{self, Facts};
use super::project;
use super::report::{Next, Report, Scene};
use super::scenes;
use super::story::story;
use super::view::{self, Board, View};
use crate::usecase::error::{Error, Kind, Result};
use crate::world::clock::RealClock;
use crate::world::program::Program;
use crate::world::{Clock, folder};

/// Between two looks at the queue.
const GLANCE: Duration = Duration::from_millis(120);
/// What does not happen within this time does not happen. Far more than a slow computer needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever watches.
pub trait Audience {
    /// A new scene begins.
    fn scene(&mut self, title: &str);
    /// Something happened: one line.
    fn line(&mut self, line: &str);
    /// This is where the tasks stand; called several times a second.
    fn board(&mut self, board: &Board);
}

/// How to play.
#[derive(Debug, Clone)]
pub struct Request {
    /// The `orch` program.
    pub orch: PathBuf,
    /// Where; a new temporary folder if nothing is named.
    pub dir: Option<PathBuf>,
    /// Remove the folder in the end, if everything held.
    pub remove: bool,
}

/// A worker process.
pub struct Worker {
    /// Name of its session.
    pub session: String,
    /// The process.
    pub program: Program,
}

/// A rehearsal under way.
pub struct Play<'a> {
    /// Where it plays.
    pub stage: Stage,
    /// What was found out for the end.
    pub facts: Facts,
    /// The workers that were started.
    pub workers: Vec<Worker>,
    /// Machines whose view of the queue counts at the moment.
    pub connected: Vec<usize>,
    audience: &'a mut dyn Audience,
    scenes: Vec<Scene>,
    ids: Vec<String>,
    known: View,
    began: Duration,
}

/// Plays everything and tells how it went. What goes wrong after the folder was made is part of the report.
///
/// # Errors
/// The folder cannot be set up.
pub fn run(request: &Request, audience: &mut dyn Audience) -> Result<Report> {
    let began = RealClock.monotonic();
    let stage = Stage::build(request.orch.clone(), request.dir.as_deref())?;
    let mut play = Play {
        stage,
        facts: Facts::default(),
        workers: Vec::new(),
        connected: vec![OFFICE, LAPTOP, CI],
        audience,
        scenes: Vec::new(),
        ids: project::jobs().into_iter().map(|job| job.id).collect(),
        known: View::new(),
        began,
    };
    if let Err(error) = scenes::perform(&mut play) {
        play.line(&error.message);
        play.facts.stuck = Some(error.message);
    }
    // Whoever still works would change what is being checked.
    play.workers.clear();
    let mut report = play.report();
    if request.remove && report.ok() {
        folder::remove(&report.dir).map_err(failed)?;
        (report.removed, report.next) = (true, Vec::new());
    }
    Ok(report)
}

impl Play<'_> {
    /// Begins a scene.
    pub fn scene(&mut self, title: &str) {
        self.audience.scene(title);
        self.scenes.push(Scene { title: title.to_owned(), lines: Vec::new() });
    }

    /// Tells what happened.
    pub fn line(&mut self, line: &str) {
        self.audience.line(line);
        if let Some(scene) = self.scenes.last_mut() {
            scene.lines.push(line.to_owned());
        }
    }

    /// The queue as the machines have known it so far, as long as they were connected; shown to the audience too.
    pub fn look(&mut self) -> View {
        view::look(&mut self.known, &self.stage, &self.connected);
        let view = self.known.clone();
        let seconds = (RealClock.monotonic() - self.began).as_secs();
        self.audience.board(&view::board(&view, &self.ids, seconds));
        view
    }

    /// Looks again and again until something is found.
    ///
    /// # Errors
    /// A look failed, or it did not happen.
    pub fn until<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&mut Self, &View) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = RealClock.monotonic() + PATIENCE;
        loop {
            let view = self.look();
            if let Some(found) = found(self, &view)? {
                return Ok(found);
            }
            if RealClock.monotonic() > deadline {
                let logs = self.stage.dir.join("logs");
                let message = format!("after {}s still waiting until {what}", PATIENCE.as_secs());
                let hint = format!("the workers' own words are in {}", logs.display());
                return Err(Error::new(Kind::Timeout, "timeout", message).hint(hint));
            }
            RealClock.sleep(GLANCE);
        }
    }

    fn report(self) -> Report {
        let Play { stage, facts, scenes, ids, began, audience, .. } = self;
        let mut view = View::new();
        view::look(&mut view, &stage, &[CI]);
        audience.board(&view::board(&view, &ids, (RealClock.monotonic() - began).as_secs()));
        let verdicts = check::verdicts(&stage);
        let expectations = check::expectations(&stage, &facts, &view, &ids);
        let tasks: Vec<_> =
            ids.iter().filter_map(|id| view.get(id)).map(|task| story(task, &stage)).collect();
        let evidence = tasks.iter().flat_map(|task| &task.bundles).next().cloned();
        Report {
            seconds: (RealClock.monotonic() - began).as_secs_f64(),
            next: next(&stage, &facts, evidence.as_deref().map(Path::new)),
            dir: stage.dir,
            removed: false,
            scenes,
            tasks,
            expectations,
            verdicts,
        }
    }
}

/// What to try next, with the paths of this run.
fn next(stage: &Stage, facts: &Facts, evidence: Option<&Path>) -> Vec<Next> {
    let state = stage.machine(CI).state().display().to_string();
    let task = facts.killed.as_ref().map_or("publish", |killed| &killed.task);
    let mut next = vec![
        Next {
            command: format!("orch --state {state} show {task}"),
            shows: "who did what to a task, and when",
        },
        Next { command: format!("orch --state {state} explain publish"), shows: "every gate before a task" },
        Next {
            command: format!("git -C {state} log --oneline"),
            shows: "the queue is a branch, and each change a commit",
        },
    ];
    if let Some(dir) = evidence {
        let command = format!("cat {}", dir.join("manifest.json").display());
        next.push(Next { command, shows: "the evidence of one attempt" });
    }
    next.push(Next { command: "orch init".to_owned(), shows: "a queue in your own repository" });
    next
}
