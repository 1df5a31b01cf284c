//! Where a soak lives: one folder with home, git configuration, the bare repository and the machines, and commands
//! that inherit nothing else.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::profile::Lease;

/// The folder of a run, and the program under test.
#[derive(Debug, Clone)]
pub struct Place {
    /// The folder of the run: reports, series, and `world` below it.
    pub dir: PathBuf,
    /// The program under test.
    pub orch: PathBuf,
}

impl Place {
    /// Makes the folders that are missing.
    ///
    /// # Errors
    /// The path and why not.
    pub fn prepare(&self) -> Result<(), String> {
        for inner in ["home", "tmp", "remotes", "logs"] {
            let path = self.world(inner);
            std::fs::create_dir_all(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        }
        let config = self.world("home/.gitconfig");
        if !config.exists() {
            let text = "[user]\n\tname = Soak\n\temail = soak@example.invalid\n[init]\n\tdefaultBranch = main\n\
                        [gc]\n\tauto = 0\n[receive]\n\tautogc = false\n";
            write(&config, text)?;
        }
        Ok(())
    }

    /// A path below `world`.
    pub fn world(&self, inner: impl AsRef<Path>) -> PathBuf {
        self.dir.join("world").join(inner)
    }

    /// The bare repository that all machines share.
    #[must_use]
    pub fn bare(&self) -> PathBuf {
        self.world("remotes/queue.git")
    }

    /// The folder of a machine.
    #[must_use]
    pub fn machine(&self, machine: usize) -> PathBuf {
        self.world(format!("m{machine}"))
    }

    /// A command that inherits nothing but what every command here has.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
        command.env_clear().env("PATH", path);
        command.env("HOME", self.world("home")).env("TMPDIR", self.world("tmp"));
        command.env("USER", "soak").env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("NO_COLOR", "1");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", self.world("home/.gitconfig"));
        command.env("GIT_TERMINAL_PROMPT", "0");
        command.stdin(Stdio::null());
        command
    }

    /// A command line of orch on a machine.
    #[must_use]
    pub fn orch(&self, machine: usize, lease: &Lease, args: &[&str]) -> Command {
        let mut command = self.command(&self.orch);
        let ms = |span: std::time::Duration| format!("{}ms", span.as_millis());
        command.current_dir(self.machine(machine)).args(args);
        command.env("ORCH_LEASE_TTL", ms(lease.ttl.0)).env("ORCH_LEASE_GRACE", ms(lease.grace.0));
        command.env("ORCH_LEASE_DRIFT", lease.drift.to_string());
        // The remote is ours: what limits us is to be the program, not the manners towards a host.
        command.env("ORCH_SYNC_PUSH_BUDGET", "6000/min").env("ORCH_SYNC_TIMEOUT", "10s");
        command.env("ORCH_RETRY_BACKOFF", "[1s, 2s]").env("ORCH_RETRY_MAX_ATTEMPTS", "8");
        command
    }

    /// Runs git in a folder and gives what it printed.
    ///
    /// # Errors
    /// What it said.
    pub fn git(&self, dir: &Path, args: &[&str]) -> Result<String, String> {
        let mut command = self.command("git");
        output(command.arg("-C").arg(dir).args(args))
    }
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// The command and what it said.
pub fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let done = command.output().map_err(|why| format!("{shown}: {why}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(format!("{shown}: {} {}", done.status, String::from_utf8_lossy(&done.stderr).trim()))
}

/// Writes a small file.
///
/// # Errors
/// The path and why not.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|why| format!("{}: {why}", path.display()))
}

/// The program under test: the one named, or the one beside the harness; built where the sources are here and it is
/// missing, or older than they are.
///
/// # Errors
/// It is not there and cannot be built.
pub fn find_orch(named: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = named {
        let found = path.canonicalize().map_err(|why| format!("{}: {why}", path.display()))?;
        return Ok(found);
    }
    let me = std::env::current_exe().map_err(|why| format!("where this program lies is unknown: {why}"))?;
    let beside = |dir: &Path| dir.join(format!("orch{}", std::env::consts::EXE_SUFFIX));
    let mut dir = me.parent().ok_or("this program lies nowhere")?;
    if dir.ends_with("deps") {
        dir = dir.parent().ok_or("this program lies nowhere")?;
    }
    let path = beside(dir);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = path.metadata().and_then(|of| of.modified()).ok();
    match built {
        Some(built) if newest(&sources).is_none_or(|changed| changed <= built) => return Ok(path),
        Some(_) => eprintln!("{} is older than its sources; building it with cargo", path.display()),
        None => eprintln!("orch is not at {}; building it with cargo", path.display()),
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "orch", "--bin", "orch"]);
    if dir.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    match built {
        Ok(status) if status.success() && path.is_file() => Ok(path),
        _ => Err(format!(
            "there is no orch at {}, and it could not be built; name the program with --orch PATH",
            path.display()
        )),
    }
}

/// When something that orch is made from was changed last; `None` where the sources are not.
fn newest(sources: &Path) -> Option<SystemTime> {
    let modified = |path: &Path| path.metadata().and_then(|of| of.modified()).ok();
    let mut newest = modified(&sources.join("Cargo.lock"));
    let mut folders = vec![sources.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                newest = newest.max(modified(&path));
            }
        }
    }
    newest
}

/// A program of the search path or of the folders for administrators.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/bin", "/sbin"];
    std::env::split_paths(&path)
        .chain(usual.map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
