//! Plain programs beside the supervised ones of [`super::process`]: what plays the machines in a rehearsal.
//!
//! They inherit the environment, without what names or sets up another queue, and standard input is empty.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::git_command::run;

pub use super::git_command::run::Finished;

/// Most output of a short command, bytes.
const MOST_OUTPUT: usize = 16 << 20;

/// A program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The program: a path, or a name that `PATH` finds.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The directory in which it runs.
    pub cwd: PathBuf,
}

impl Order {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).current_dir(&self.cwd).stdin(Stdio::null());
        // A demo that is started by an agent or a hook must not act on that one's queue or repository.
        let names = std::env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| is_of_a_queue(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
    }

    fn about(&self, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot start {}: {error}", self.program.display()))
    }
}

/// Variables that name a queue, or the repository of somebody who runs a hook. Those that say how git is to
/// be configured stay: they are the user's.
fn is_of_a_queue(name: &str) -> bool {
    name.starts_with("ORCH_")
        || [
            "GIT_DIR",
            "GIT_WORK_TREE",
            "GIT_INDEX_FILE",
            "GIT_OBJECT_DIRECTORY",
            "GIT_COMMON_DIR",
            "GIT_NAMESPACE",
        ]
        .contains(&name)
}

/// Runs a short program to its end; after the limit its process group is killed.
///
/// # Errors
/// It cannot be started.
pub fn run(order: &Order, limit: Duration) -> io::Result<Finished> {
    run::run(order.command(), limit, MOST_OUTPUT).map_err(|error| order.about(&error))
}

/// Puts a script in place as a program, whole at once, with the folder that it needs.
///
/// Another process writes it: what any process has open for writing cannot be started (`ETXTBSY`), and a child that another
/// thread is just starting has, until its own program runs, whatever this process has open.
///
/// # Errors
/// The path, and why not.
pub fn install(path: &Path, script: &str) -> io::Result<()> {
    let about = |why: io::Error| io::Error::new(why.kind(), format!("{}: {why}", path.display()));
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(about)?;
    }
    let mut writer = Command::new("sh");
    writer
        .args(["-c", "cat > \"$1.new\" && chmod 755 \"$1.new\" && mv -f \"$1.new\" \"$1\"", "sh"])
        .arg(path);
    writer.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut writer = writer.spawn().map_err(about)?;
    // Where it does not read to the end, it tells why.
    let sent = writer.stdin.take().map_or(Ok(()), |mut input| input.write_all(script.as_bytes()));
    let done = writer.wait_with_output().map_err(about)?;
    if !done.status.success() {
        return Err(about(io::Error::other(String::from_utf8_lossy(&done.stderr).trim().to_owned())));
    }
    sent.map_err(about)
}

/// A program that runs beside this one. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    ended: Option<Ended>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Program {
    /// Starts it; both outputs are appended to a file.
    ///
    /// # Errors
    /// The file cannot be written or the program cannot be started.
    pub fn start(order: &Order, log: &Path) -> io::Result<Program> {
        let about = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", log.display()));
        let out = File::options().create(true).append(true).open(log).map_err(about)?;
        let err = out.try_clone().map_err(about)?;
        let mut command = order.command();
        command.stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| order.about(&error))?;
        Ok(Program { child, ended: None })
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<Ended> {
        if self.ended.is_none()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            self.ended = Some(Ended { code: status.code(), signal: status.signal() });
        }
        self.ended
    }

    /// Kills it as a power cut would, and collects it. What it started is left to itself.
    pub fn kill(&mut self) -> Option<Ended> {
        if self.ended().is_none() {
            // It may have ended just now; waiting tells how.
            drop(self.child.kill());
            if let Ok(status) = self.child.wait() {
                self.ended = Some(Ended { code: status.code(), signal: status.signal() });
            }
        }
        self.ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn order(program: &str, args: &[&str]) -> Order {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Order { program: program.into(), args, cwd: "/".into() }
    }

    #[test]
    fn a_short_program_gives_its_output_and_code() {
        let done = run(&order("echo", &["hello"]), Duration::from_secs(20)).unwrap();
        assert_eq!((done.code, done.stdout.as_slice()), (Some(0), b"hello\n".as_slice()));
        let error = run(&order("/no/such/program", &[]), Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }

    /// A test wrote a program and started it while another thread was starting one of its own: the child of that thread still
    /// had the file open for writing, and "Text file busy" was the answer.
    #[test]
    fn an_installed_program_starts_while_others_are_being_started() {
        let dir = tempfile::tempdir().unwrap();
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        run(&order("true", &[]), Duration::from_secs(20)).unwrap();
                    }
                });
            }
            let told = (0..200).try_for_each(|n| {
                let path = dir.path().join(format!("{n}/hello"));
                install(&path, &format!("#!/bin/sh\necho {n}\n"))?;
                let done = run(&order(path.to_str().unwrap(), &[]), Duration::from_secs(20))?;
                assert_eq!(String::from_utf8_lossy(&done.stdout), format!("{n}\n"));
                Ok::<_, io::Error>(())
            });
            ended.store(true, Ordering::Relaxed);
            told.unwrap();
        });
    }

    #[test]
    fn a_program_that_cannot_be_installed_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tool.new")).unwrap();
        let error = install(&dir.path().join("tool"), "#!/bin/sh\n").unwrap_err().to_string();
        assert!(
            error.contains(&format!("{}/tool: ", dir.path().display())) && error.contains("irectory"),
            "{error}"
        );
    }

    #[test]
    fn a_killed_program_says_by_which_signal() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = Program::start(&order("sleep", &["60"]), &dir.path().join("log")).unwrap();
        assert_eq!(program.ended(), None);
        assert_eq!(program.kill(), Some(Ended { code: None, signal: Some(9) }));
        assert_eq!(program.ended(), Some(Ended { code: None, signal: Some(9) }));
    }

    #[test]
    fn what_names_another_queue_is_not_handed_on() {
        assert!(is_of_a_queue("ORCH_STATE") && is_of_a_queue("ORCH_LEASE_TTL") && is_of_a_queue("GIT_DIR"));
        assert!(!is_of_a_queue("PATH") && !is_of_a_queue("GIT_CONFIG_GLOBAL"));
    }
}
