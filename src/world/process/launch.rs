//! Starts the one program that a supervisor watches over.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use rustix::process::{self as sys, Pid};

use super::tree;
use super::wire::Start;

/// Name of the environment variable that marks every process of a tree; its value is `pid:start` of
/// the supervisor.
pub const MARK: &str = "ORCH_SUPERVISOR";

/// Starts the program as leader of its own group.
pub(super) fn launch(start: &Start, stdin: &[u8], stdout: Stdio, stderr: Stdio) -> io::Result<Pid> {
    let mut argv = start.argv.iter();
    let mut command = std::process::Command::new(&start.program);
    command.arg0(argv.next().map_or("", String::as_str)).args(argv);
    command.current_dir(&start.cwd).env_clear().envs(start.env.iter().map(|(name, value)| (name, value)));
    command.env(MARK, own_mark());
    command.stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::from(as_file(stdin)?) });
    command.stdout(stdout).stderr(stderr).process_group(0);
    die_with_parent(&mut command);
    let child = command.spawn()?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("the child has no process number"))
}

/// `pid:start` of this process.
fn own_mark() -> String {
    let pid = sys::getpid().as_raw_nonzero().get();
    mark_of(pid)
}

/// The value of [`MARK`] in the tree of a supervisor.
pub(super) fn mark_of(supervisor: i32) -> String {
    format!("{supervisor}:{}", tree::entry(supervisor).map_or(0, |entry| entry.start))
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut std::process::Command) {
    let supervisor = sys::getpid();
    let prepare = move || {
        sys::set_parent_process_death_signal(Some(sys::Signal::KILL))?;
        // If the supervisor died before the line above, no signal will come.
        if sys::getppid() == Some(supervisor) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec the closure makes two system calls, allocates nothing, takes no lock
    // and touches no memory that another thread could have left in disorder.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut std::process::Command) {}

/// The bytes as a file without a name: whatever their size, nobody has to wait for the program to read
/// them, and end of file follows by itself.
fn as_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = unnamed_file()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(target_os = "linux")]
fn unnamed_file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?.into())
}

#[cfg(not(target_os = "linux"))]
fn unnamed_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let path = std::env::temp_dir().join(format!("orch-stdin-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
