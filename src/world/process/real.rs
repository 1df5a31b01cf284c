//! The real processes of this machine.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::launch::{MARK, mark_of};
use super::supervisor::wait_readable;
use super::wire::{Link, Order, Received, Report, Start};
use super::{Child, Command, Event, Exit, Signal, Stream, tree};
use crate::world::{Process, ProcessId};

/// How long the supervisor may take to start a program, or to be gone after it was told to kill.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long outputs stay open after the tree has ended, in case a stranger was handed the pipe.
const DRAIN: Duration = Duration::from_secs(2);
/// Bytes read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Starts children under a supervisor.
#[derive(Debug, Clone)]
pub struct RealProcess {
    boot: String,
    supervisor: Vec<PathBuf>,
}

impl RealProcess {
    /// `boot` is the identity of the current boot (see [`crate::world::Clock::boot_id`]); `supervisor` is the
    /// absolute path of a program, and its arguments, that runs [`super::supervisor::supervisor_main`].
    #[must_use]
    pub fn new(boot: String, supervisor: Vec<PathBuf>) -> Self {
        RealProcess { boot, supervisor }
    }

    fn start_supervisor(&self) -> io::Result<(Supervisor, Link)> {
        let (program, args) =
            self.supervisor.split_first().ok_or_else(|| io::Error::other("no supervisor program is set"))?;
        let (mine, theirs) = UnixStream::pair()?;
        let mut command = std::process::Command::new(program);
        command.args(args).env_clear().current_dir("/");
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process =
            command.spawn().map_err(|error| about("cannot start the supervisor", program, &error))?;
        // Together with `command` our copy of their end goes, so that the supervisor's death is noticed.
        drop(command);
        Ok((Supervisor { process, finished: false }, Link::new(mine)))
    }
}

impl Process for RealProcess {
    fn me(&self) -> ProcessId {
        let pid = std::process::id();
        self.identify(pid).unwrap_or_else(|| ProcessId { pid, start: 0, boot: self.boot.clone() })
    }

    fn identify(&self, pid: u32) -> Option<ProcessId> {
        Some(ProcessId { pid, start: start_of(pid)?, boot: self.boot.clone() })
    }

    fn real_dir(&self, dir: &Path) -> io::Result<PathBuf> {
        let real = dir.canonicalize().map_err(|error| about("cannot resolve", dir, &error))?;
        if real.is_dir() {
            Ok(real)
        } else {
            Err(about("no directory:", dir, &io::ErrorKind::NotADirectory.into()))
        }
    }

    fn find_program(&self, name: &str, cwd: &Path, path: &str) -> io::Result<PathBuf> {
        if name.contains('/') {
            return executable(cwd.join(name));
        }
        // A relative entry of PATH would run whatever a workspace puts there.
        std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .find_map(|dir| executable(dir.join(name)).ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::NotFound, format!("no program `{name}` in PATH ({path})"))
            })
    }

    fn spawn(&self, command: &Command) -> io::Result<Box<dyn Child>> {
        let (mut supervisor, mut link) = self.start_supervisor()?;
        link.limit(PATIENCE)?;
        link.send(&Order::Start(Start {
            program: command.program.clone(),
            argv: command.argv.clone(),
            cwd: command.cwd.clone(),
            env: command.env.clone(),
            stdin_len: command.stdin.len(),
            worker: std::process::id(),
            fence_ms: command.fence_at.map(millis),
        }))?;
        io::Write::write_all(&mut link.stream, &command.stdin)?;
        let pid = match link.receive::<Report>()? {
            Received::Message(Report::Started { pid }) => pid,
            Received::Message(Report::Failed { errno, message }) => {
                let error = errno.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error);
                return Err(about("cannot start", &command.program, &error));
            }
            _ => {
                return Err(io::Error::other(
                    "the supervisor ended or did not answer before the program ran",
                ));
            }
        };
        link.stream.set_nonblocking(true)?;
        let stdout = supervisor.process.stdout.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        let stderr = supervisor.process.stderr.take().map(|pipe| File::from(OwnedFd::from(pipe)));
        for pipe in [&stdout, &stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let mark = format!("{MARK}={}", mark_of(supervisor.process.id().cast_signed()));
        Ok(Box::new(RealChild {
            link: Some(link),
            supervisor,
            pid,
            mark,
            stdout,
            stderr,
            ended: None,
            turn: false,
        }))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// An I/O error that says what was tried with which path.
fn about(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}

/// The path, if it is a regular file that somebody may execute.
fn executable(path: PathBuf) -> io::Result<PathBuf> {
    let meta = path.metadata().map_err(|error| about("cannot run", &path, &error))?;
    if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
        return Ok(path);
    }
    Err(about("cannot run", &path, &io::ErrorKind::PermissionDenied.into()))
}

#[cfg(target_os = "linux")]
fn start_of(pid: u32) -> Option<u64> {
    let entry = tree::entry(i32::try_from(pid).ok()?)?;
    (!entry.zombie).then_some(entry.start)
}

/// Without `/proc`, `ps` is asked; the start time is a text there, and its hash does as well.
#[cfg(not(target_os = "linux"))]
fn start_of(pid: u32) -> Option<u64> {
    use std::hash::{DefaultHasher, Hasher};
    let asked = std::process::Command::new("/bin/ps")
        .args(["-p", &pid.to_string(), "-o", "state=,lstart="])
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    let (state, start) = text.trim().split_once(char::is_whitespace)?;
    let mut hasher = DefaultHasher::new();
    hasher.write(start.trim().as_bytes());
    (!state.starts_with('Z')).then(|| hasher.finish())
}

/// The supervisor process as our child; never left a zombie.
struct Supervisor {
    process: std::process::Child,
    finished: bool,
}

impl Supervisor {
    /// Waits for its end; whoever holds the socket must have closed it, or the tree must have ended.
    fn finish(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.finished {
            if !matches!(self.process.try_wait(), Ok(None)) {
                self.finished = true;
            } else if Instant::now() > deadline {
                let _ = self.process.kill();
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A tree under a supervisor. The fields are dropped in this order: the socket first, which makes the
/// supervisor kill the tree, then the supervisor, which is waited for.
struct RealChild {
    link: Option<Link>,
    supervisor: Supervisor,
    pid: u32,
    mark: String,
    stdout: Option<File>,
    stderr: Option<File>,
    ended: Option<(Exit, Instant)>,
    turn: bool,
}

impl RealChild {
    fn output(&mut self, stream: Stream) -> &mut Option<File> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Takes what one output holds; `None` if there is nothing now. A closed output is let go.
    fn read(&mut self, stream: Stream) -> io::Result<Option<Event>> {
        let Some(pipe) = self.output(stream) else { return Ok(None) };
        let mut chunk = vec![0u8; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => *self.output(stream) = None,
            Ok(len) => {
                chunk.truncate(len);
                return Ok(Some(Event::Output(stream, chunk)));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(None)
    }

    fn hear(&mut self) {
        let Some(link) = &mut self.link else { return };
        match link.receive::<Report>() {
            Ok(Received::Nothing) => {}
            Ok(Received::Message(Report::Ended(exit))) => {
                self.ended = Some((exit, Instant::now()));
                self.link = None;
            }
            Ok(Received::Message(_) | Received::Closed) | Err(_) => self.hunt(),
        }
    }

    /// The supervisor was killed. The program died with it (Linux); the rest carries a mark.
    fn hunt(&mut self) {
        self.link = None;
        let deadline = Instant::now() + DRAIN;
        let mut left = tree::living_with(&self.mark);
        if left.is_empty() && cfg!(not(target_os = "linux")) {
            kill_group(self.pid);
        }
        while !left.is_empty() && Instant::now() < deadline {
            for pid in left.into_iter().filter_map(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(2));
            left = tree::living_with(&self.mark);
        }
        let survivors = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let exit = Exit { survivors, orphaned: true, ..Exit::default() };
        self.ended = Some((exit, Instant::now()));
    }

    /// The last event, when its time has come.
    fn finished(&mut self) -> Option<Event> {
        let (exit, _) = self.ended?;
        if self.stdout.is_some() || self.stderr.is_some() {
            return None;
        }
        self.supervisor.finish();
        Some(Event::Exited(exit))
    }

    /// Stops listening to a stranger who writes into the pipe of a tree that has ended.
    fn close_late(&mut self) {
        if self.ended.is_some_and(|(_, at)| at.elapsed() > DRAIN) {
            self.stdout = None;
            self.stderr = None;
        }
    }

    /// Hands an order to the supervisor. One that has gone needs none: [`Child::next`] finds that out.
    fn order(&mut self, order: &Order) -> io::Result<()> {
        match self.link.as_mut().map(|link| link.send(order)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

/// Kills what is left of a group whose supervisor is gone.
fn kill_group(leader: u32) {
    if let Some(pid) = Pid::from_raw(leader.cast_signed()) {
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

impl Child for RealChild {
    fn pid(&self) -> u32 {
        self.pid
    }

    fn next(&mut self, wait: Duration) -> io::Result<Event> {
        let deadline = Instant::now() + wait;
        loop {
            // First, lest a stranger who never stops writing keeps the end of the tree from being heard.
            self.hear();
            self.close_late();
            self.turn = !self.turn;
            let order =
                if self.turn { [Stream::Stdout, Stream::Stderr] } else { [Stream::Stderr, Stream::Stdout] };
            for stream in order {
                if let Some(event) = self.read(stream)? {
                    return Ok(event);
                }
            }
            if let Some(event) = self.finished() {
                return Ok(event);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Event::Idle);
            }
            let span = if self.ended.is_some() { left.min(Duration::from_millis(50)) } else { left };
            let link = self.link.as_ref().map(|link| link.stream.as_fd());
            let pipes = [&self.stdout, &self.stderr].into_iter().flatten().map(AsFd::as_fd);
            wait_readable(&link.into_iter().chain(pipes).collect::<Vec<_>>(), Some(span));
        }
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        self.order(&Order::Signal(signal))
    }

    fn fence_at(&mut self, boottime: Duration) -> io::Result<()> {
        self.order(&Order::Fence { boottime_ms: millis(boottime) })
    }
}
