//! What a command has at hand: the global options, the queue on demand, and both output streams.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::data;
use super::failure;
use super::globals::Globals;
use super::output::{self, complain};
use super::place;
use super::render::style::{Style, terminal_columns};
use super::signals::AtOnce;
use crate::machine::{self, Options};
use crate::protocol::id::TaskId;
use crate::protocol::time::Timestamp;
use crate::protocol::transition::status_word;
use crate::store::codec::FILE_MAX;
use crate::store::layout::Layout;
use crate::usecase::change::Changed;
use crate::usecase::doctor::Report;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::queue::{About, Queue};
use crate::world::clock::RealClock;
use crate::world::disk::{RealDisk, open_named};
use crate::world::{Clock, Disk, env};

/// One run of the command line.
pub struct Context {
    /// Options of every command.
    pub globals: Globals,
    /// What signals do.
    pub signals: AtOnce,
    disk: RealDisk,
    notices: Vec<String>,
}

impl Context {
    /// A run with these options.
    #[must_use]
    pub fn new(globals: Globals, signals: AtOnce) -> Self {
        Context { globals, signals, disk: RealDisk, notices: Vec::new() }
    }

    /// The files of this machine.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        &self.disk
    }

    /// The wall clock, for people.
    #[must_use]
    #[expect(clippy::unused_self, reason = "the clock belongs to the run, and may differ in another one")]
    pub fn now(&self) -> Timestamp {
        Timestamp(RealClock.wall_ms())
    }

    /// Time that passes evenly, for waiting.
    #[must_use]
    #[expect(clippy::unused_self, reason = "the clock belongs to the run, and may differ in another one")]
    pub fn monotonic(&self) -> Duration {
        RealClock.monotonic()
    }

    /// Waits; a signal ends the process meanwhile.
    #[expect(clippy::unused_self, reason = "the clock belongs to the run, and may differ in another one")]
    pub fn sleep(&self, span: Duration) {
        RealClock.sleep(span);
    }

    /// The style of standard output.
    #[must_use]
    pub fn style(&self) -> Style {
        let colour = self.globals.color.colours(env::stdout_is_terminal());
        Style { colour, columns: terminal_columns() }
    }

    /// A path made absolute.
    ///
    /// # Errors
    /// When the current directory is gone.
    #[expect(clippy::unused_self, reason = "the current directory belongs to the run")]
    pub fn absolute(&self, path: &Path) -> Result<PathBuf> {
        place::absolute(path)
    }

    /// The state directory: named, or the nearest one upwards. Settings that vanished there are put back.
    ///
    /// # Errors
    /// Not found, with the way to create one.
    pub fn state(&mut self) -> Result<PathBuf> {
        let state = place::find(self.disk(), self.globals.named_state().as_deref())?;
        self.notices.extend(machine::vanished::restore(&Layout::new(&state))?);
        Ok(state)
    }

    /// How this run opens the queue, for commands with several threads.
    ///
    /// # Errors
    /// Not found, with the way to create one.
    pub fn options(&mut self) -> Result<Options> {
        let (session, no_sync) = (self.globals.named_session(), self.globals.no_sync);
        Ok(Options { state: self.state()?, session, no_sync, about: About::Queue })
    }

    /// Opens the queue, carries out one use case, and keeps its notices.
    ///
    /// # Errors
    /// Those of opening and of the use case.
    pub fn queue<T>(&mut self, act: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let queue = machine::open(&self.options()?)?;
        self.with(queue, act)
    }

    /// The same for an act on one task: where files were looked at a moment ago, only its own is again.
    ///
    /// # Errors
    /// As [`Context::queue`].
    pub fn queue_about<T>(&mut self, id: &TaskId, act: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let options = Options { about: About::Tasks(vec![id.clone()]), ..self.options()? };
        let queue = machine::open(&options)?;
        self.with(queue, act)
    }

    /// The same for the next task, whichever that is.
    ///
    /// # Errors
    /// As [`Context::queue`].
    pub fn queue_about_next<T>(&mut self, act: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let queue = machine::open(&Options { about: About::Next, ..self.options()? })?;
        self.with(queue, act)
    }

    /// The same for a use case that only looks: it also works where a newer version has raised the format.
    ///
    /// # Errors
    /// As [`Context::queue`].
    pub fn look<T>(&mut self, act: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let queue = machine::open_to_read(&self.options()?)?;
        self.with(queue, act)
    }

    fn with<T>(&mut self, mut queue: Queue, act: impl FnOnce(&mut Queue) -> Result<T>) -> Result<T> {
        let outcome = act(&mut queue);
        self.notices.extend(queue.notices());
        outcome
    }

    /// Examines the machine around the state directory, also where no queue can be opened.
    ///
    /// # Errors
    /// Not found where no queue is.
    pub fn doctor(&mut self, repair: bool) -> Result<Report> {
        let state = place::find(self.disk(), self.globals.named_state().as_deref())?;
        match machine::vanished::restore(&Layout::new(&state)) {
            Ok(told) => self.notices.extend(told),
            Err(error) if error.kind == Kind::NotFound => return Err(error),
            // The repository that has them may be what is to be mended first.
            Err(error) => self.warn(error.message),
        }
        let (session, no_sync) = (self.globals.named_session(), self.globals.no_sync);
        machine::doctor(&Options { state, session, no_sync, about: About::Queue }, repair)
    }

    /// Reads a file that a person named, or standard input for `-`: at most the size of a task file.
    ///
    /// # Errors
    /// Not found, too large, or unreadable; each names the file.
    pub fn read_input(path: &Path) -> Result<Vec<u8>> {
        Self::read_input_up_to(path, FILE_MAX as u64)
    }

    /// The same with another bound, in bytes.
    ///
    /// # Errors
    /// As [`Context::read_input`].
    pub fn read_input_up_to(path: &Path, limit: u64) -> Result<Vec<u8>> {
        let read = if path.as_os_str() == "-" {
            read_all(std::io::stdin().lock(), limit)
        } else {
            open_named(&place::absolute(path)?).and_then(|file| read_all(file, limit))
        };
        let shown = || match path.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        read.map_err(|error| {
            let (kind, code) = match error.kind() {
                std::io::ErrorKind::NotFound => (Kind::NotFound, "not_found"),
                std::io::ErrorKind::InvalidData => (Kind::Refused, "invalid"),
                _ => (Kind::Failure, "failure"),
            };
            Error::new(kind, code, format!("{}: {error}", shown()))
        })
    }

    /// A notice that `--json` shows too, on standard error.
    pub fn warn(&mut self, text: String) {
        self.notices.push(text);
    }

    /// Warns of named files that are not here. What belongs to a task is text: it may be an address, lie on another
    /// machine, or be made later, so a name without a file is kept as it is, and is most often a slip.
    pub fn warn_of_missing(&mut self, files: &[String]) {
        for name in files.iter().filter(|name| !name.contains("://")) {
            let Ok(path) = place::absolute(Path::new(name)) else { continue };
            if matches!(self.disk.stat(&path), Ok(None)) {
                self.warn(format!(
                    "{name}: there is no such file ({}); the name is kept as it is",
                    path.display()
                ));
            }
        }
    }

    /// Something that a person may want to know besides the data; `--quiet` silences it.
    pub fn remark(&mut self, text: String) {
        if !self.globals.json {
            self.notices.push(text);
        }
    }

    /// Says that something is not published yet, unless the use case has said why already.
    pub fn unpublished(&mut self, what: &str) {
        if self.notices.is_empty() {
            self.remark(format!("{what} and not published yet"));
        }
    }

    /// Prints data: a JSON document, or text for people.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print(&self, data: impl FnOnce() -> Value, text: impl FnOnce(Style) -> String) -> Result<i32> {
        self.print_text(|| data().to_string(), text)
    }

    /// The same for data that is JSON text already.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn print_text(
        &self,
        data: impl FnOnce() -> String,
        text: impl FnOnce(Style) -> String,
    ) -> Result<i32> {
        let out = if self.globals.json { output::envelope(&data()) } else { text(self.style()) };
        output::write(&out)?;
        Ok(failure::OK)
    }

    /// Prints a change: the task and whether others can see it.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn changed(&mut self, changed: &Changed) -> Result<i32> {
        let task = &changed.task;
        let status = status_word(task.status());
        if changed.repeated {
            self.remark(format!("{}: nothing changed, that was done before", task.id()));
        }
        if !changed.published {
            self.unpublished(&format!("{} is changed here", task.id()));
        }
        self.print(
            || data::changed(changed),
            |style| {
                let tone = super::render::style::status_tone(task.status());
                format!("{}: {}\n", task.id(), style.paint(tone, status))
            },
        )
    }

    /// Shows the notices that have gathered, now.
    pub fn flush_notices(&mut self) {
        let notices = std::mem::take(&mut self.notices);
        if !self.globals.quiet {
            complain(&failure::notices(&notices, self.error_style()));
        }
    }

    /// Ends the run: notices, the error if there is one, and the exit code.
    pub fn finish(mut self, outcome: Result<i32>) -> i32 {
        // What the error says itself is not said twice.
        if let Err(error) = &outcome {
            self.notices.retain(|notice| *notice != error.message);
        }
        match outcome {
            Ok(code) => {
                self.flush_notices();
                code
            }
            Err(error) if self.globals.json => failure::show(&error, &self.notices, true, Style::PLAIN),
            Err(error) => {
                self.flush_notices();
                failure::show(&error, &[], false, self.error_style())
            }
        }
    }

    fn error_style(&self) -> Style {
        Style { colour: self.globals.color.colours(env::stderr_is_terminal()), columns: None }
    }
}

fn read_all(from: impl std::io::Read, limit: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let text = format!("more than {limit} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}
