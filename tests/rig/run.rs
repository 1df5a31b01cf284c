//! What came of one command, and what may be said about it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// No command of a test takes longer; one that does is killed and the test fails.
const LIMIT: Duration = Duration::from_secs(120);

/// Output and exit code of a finished command.
#[must_use = "a command that failed unnoticed makes the rest of a test meaningless"]
#[derive(Debug, Clone)]
pub struct Run {
    /// The command, for messages.
    pub shown: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code; 128 + number after a signal.
    pub code: i32,
}

impl Run {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Run {
        Self::fed(command, None)
    }

    /// Runs a command with this standard input.
    pub fn fed(command: &mut Command, input: Option<&[u8]>) -> Run {
        let shown = show(command);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a command that hangs can be killed with all its children.
        command.process_group(0);
        let mut child = command.spawn().unwrap_or_else(|why| panic!("cannot start {shown}: {why}"));
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // A command that does not read its input closes the pipe; its exit code tells the rest.
            drop(std::io::Write::write_all(&mut stdin, input));
        }
        let stdout = collect(child.stdout.take().expect("it was piped"));
        let stderr = collect(child.stderr.take().expect("it was piped"));
        let (finished, too_late) = mpsc::channel::<()>();
        let pid = rustix::process::Pid::from_child(&child);
        let watch = std::thread::spawn(move || {
            let late = too_late.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                // It may have ended just now.
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
            late
        });
        let (stdout, stderr) = (join(stdout), join(stderr));
        // The child is reaped only after its watch has ended, so its number cannot have been reused.
        drop(finished);
        let late = watch.join().expect("the watch does not panic");
        let status = child.wait().expect("it is our child");
        assert!(!late, "{shown} did not end within {LIMIT:?}\n{stdout}\n{stderr}");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Run { shown, stdout, stderr, code }
    }

    /// It succeeded.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.exits(0)
    }

    /// It ended with this code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert!(self.code == code, "expected exit code {code}\n{self}");
        assert!(!self.stderr.contains("panicked at"), "it panicked\n{self}");
        self
    }

    /// Standard output contains this.
    #[track_caller]
    pub fn prints(&self, text: &str) -> &Self {
        assert!(self.stdout.contains(text), "stdout lacks {text:?}\n{self}");
        self
    }

    /// Standard error contains this.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}\n{self}");
        self
    }

    /// Standard error does not contain this.
    #[track_caller]
    pub fn never_says(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "stderr contains {text:?}\n{self}");
        self
    }

    /// Nothing on standard error.
    #[track_caller]
    pub fn quiet(&self) -> &Self {
        assert!(self.stderr.is_empty(), "stderr is not empty\n{self}");
        self
    }

    /// The `data` of the envelope on standard output.
    #[track_caller]
    pub fn data(&self) -> Value {
        let mut whole = parse(&self.stdout, self);
        assert_eq!(whole["schema_version"], 1, "{self}");
        assert!(whole.get("data").is_some(), "no data\n{self}");
        whole["data"].take()
    }

    /// The `error` of the envelope on standard error; standard output must be empty.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert!(self.stdout.is_empty(), "an error leaves standard output empty\n{self}");
        let last = self.stderr.lines().rfind(|line| line.starts_with('{'));
        let text = if self.stderr.starts_with('{') { self.stderr.as_str() } else { last.unwrap_or_default() };
        let mut whole = parse(text, self);
        assert_eq!(whole["schema_version"], 1, "{self}");
        whole["error"].take()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Run { shown, stdout, stderr, code } = self;
        write!(f, "$ {shown}\n[exit {code}]\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

#[track_caller]
fn parse(text: &str, run: &Run) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("no JSON: {why}\n{run}"))
}

fn show(command: &Command) -> String {
    let name = std::path::Path::new(command.get_program()).file_name().unwrap_or_default();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name.to_string_lossy().into_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

type Collector = std::thread::JoinHandle<String>;

fn collect(mut from: impl Read + Send + 'static) -> Collector {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn join(collector: Collector) -> String {
    collector.join().expect("a reader does not panic")
}
