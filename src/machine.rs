//! Puts a real machine together: real clock, disk, repository and remote around one state directory.
//!
//! The one place that knows the real implementations of the seams; the harness has another one.

mod patient;
pub mod vanished;

pub use patient::doctor;

use std::path::{Path, PathBuf};
use std::time::Duration;

use vanished::Settled;

use crate::store::error::StoreError;
use crate::store::index::MemoryIndex;
use crate::store::layout::Layout;
use crate::store::settings::Settings;
use crate::store::settings_edit;
use crate::store::settings_load::{self, File, Loaded, Sources};
use crate::store::tasks::Store;
use crate::sync::git::{GitObjects, Outside, TRANSFER};
use crate::sync::names::INCOMING_BRANCH;
use crate::usecase::error::{Error, Kind, Result};
use crate::usecase::init;
use crate::usecase::queue::{About, Opening, Queue};
use crate::world::clock::RealClock;
use crate::world::disk::RealDisk;
use crate::world::git_command::Git;
use crate::world::process::real::RealProcess;
use crate::world::random::RealRandom;
use crate::world::remote::GitRemote;
use crate::world::{Clock, Disk, ObjectsError, Remote, World, env};

const CONFIG_MAX: u64 = 256 * 1024;
/// `git gc` of a large repository takes seconds; more than this means that it hangs.
const GC_LIMIT: Duration = Duration::from_secs(300);

/// Code of the error for an `orch.yaml` of a newer format.
const NEWER: &str = "newer_format";

/// How a queue is to be opened.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The state directory.
    pub state: PathBuf,
    /// Who is asking; default `user@host:pid-of-parent`.
    pub session: Option<String>,
    /// Leave the network alone.
    pub no_sync: bool,
    /// What the command is about.
    pub about: About,
}

/// Opens the queue in a state directory.
///
/// # Errors
/// Not found (3) where no queue is, configuration (78) for wrong settings, failure (1) for the disk.
pub fn open(options: &Options) -> Result<Queue> {
    // Also while a worker runs: it must not go on with other settings because a file went.
    let restored = vanished::restore(&Layout::new(&options.state))?;
    let mut queue = open_as_it_is(options)?;
    if let Some(told) = restored {
        queue.warn(told);
    }
    Ok(queue)
}

fn open_as_it_is(options: &Options) -> Result<Queue> {
    let layout = Layout::new(&options.state);
    let loaded = settings(&RealDisk, &layout)?;
    open_with(options, layout, loaded, None)
}

/// Opens the queue for a look. Where a newer version has raised the format of `orch.yaml`, this machine's settings
/// and the defaults have to do, nothing is written, and nobody outside is asked. Where nothing can be written, what
/// the files say has to do.
///
/// # Errors
/// As [`open`].
pub fn open_to_read(options: &Options) -> Result<Queue> {
    let layout = Layout::new(&options.state);
    let restored = vanished::restore(&layout)?;
    let mut queue = open_for_a_look(options, layout)?;
    if let Some(told) = restored {
        queue.warn(told);
    }
    Ok(queue)
}

fn open_for_a_look(options: &Options, layout: Layout) -> Result<Queue> {
    match settings(&RealDisk, &layout) {
        Ok(loaded) => match open_with(options, layout.clone(), loaded.clone(), None) {
            Err(error) if error.code == Error::UNWRITABLE => glance(options, layout, loaded, &error),
            other => other,
        },
        Err(error) if error.code == NEWER => {
            let loaded = settings_of(&RealDisk, &layout, None)?;
            open_with(&Options { no_sync: true, ..options.clone() }, layout, loaded, Some(error.message))
        }
        Err(error) => Err(error),
    }
}

/// The queue as its files show it, for a machine whose disk is full or read-only.
fn glance(options: &Options, layout: Layout, loaded: Loaded, why: &Error) -> Result<Queue> {
    let machine = machine_id(&RealDisk, &layout)?;
    let world = world(&layout, &loaded.settings.branch, None, false)?;
    let store = MemoryIndex::new()
        .map_err(StoreError::from)
        .and_then(|memory| Store::open_in_memory(&world, layout, &memory))
        .map_err(|e| Error::from_store(&e))?;
    let mut queue = Queue::open(Opening {
        world,
        store,
        settings: loaded.settings,
        session: options.session.clone().unwrap_or_else(default_session),
        machine,
        no_sync: true,
        about: About::Queue,
        read_only: Some(format!("this is only a look, because nothing can be written: {}", why.message)),
    })?;
    crate::usecase::glance::fill(&mut queue)?;
    Ok(queue)
}

fn open_with(options: &Options, layout: Layout, loaded: Loaded, read_only: Option<String>) -> Result<Queue> {
    let machine = machine_id(&RealDisk, &layout)?;
    let mut remote = remote(&layout, &loaded.settings);
    // An act on a task is most often one of its holder.
    if options.about != About::Queue && !options.no_sync && read_only.is_none() {
        remote = remote.map(GitRemote::started_ahead);
    }
    let world = world(&layout, &loaded.settings.branch, remote, false)?;
    let store = Store::open(&world, layout).map_err(|e| Error::from_store(&e))?;
    Queue::open(Opening {
        world,
        store,
        settings: loaded.settings,
        session: options.session.clone().unwrap_or_else(default_session),
        machine,
        no_sync: options.no_sync,
        about: options.about.clone(),
        read_only,
    })
}

/// Who acts when nobody says so: the user on this host, in the shell that runs the command.
#[must_use]
pub fn default_session() -> String {
    format!("{}@{}:{}", env::user_name(), env::host_name(), env::parent_pid())
}

/// The real world around a state directory. With `create` the repository is made if it is not there.
///
/// # Errors
/// The repository cannot be opened.
pub fn world(layout: &Layout, branch: &str, remote: Option<GitRemote>, create: bool) -> Result<World> {
    let git_dir = layout.git();
    let head = format!("refs/heads/{branch}");
    let opened = if create {
        GitObjects::init(&git_dir, &head, outside(&git_dir))
    } else {
        match GitObjects::open(&git_dir, outside(&git_dir)) {
            Ok(objects) => Ok(objects),
            // Deleted, or never finished: what is on the remote or in the files fills it again.
            Err(ObjectsError::Other(_)) if !env::exists(&git_dir.join("HEAD")) => {
                GitObjects::init(&git_dir, &head, outside(&git_dir))
            }
            Err(error) => Err(error),
        }
    };
    let objects = opened.map_err(|e| {
        Error::failure(e.to_string()).hint("`orch doctor` looks at the repository in the state directory")
    })?;
    let supervisor =
        env::current_exe().map(|exe| vec![exe, PathBuf::from("__supervise")]).unwrap_or_default();
    Ok(World {
        clock: Box::new(RealClock),
        disk: Box::new(RealDisk),
        objects: Box::new(objects),
        remote: remote.map(|remote| Box::new(remote) as Box<dyn Remote>),
        process: Box::new(RealProcess::new(RealClock.boot_id(), supervisor)),
        random: Box::new(RealRandom),
    })
}

fn outside(git_dir: &Path) -> Outside {
    let dir = git_dir.to_owned();
    Outside {
        disk: Box::new(RealDisk),
        clock: Box::new(RealClock),
        collect_garbage: Box::new(move || {
            Git::default().collect_garbage(&dir, GC_LIMIT).map_err(|error| error.message)
        }),
    }
}

/// The remote that the settings name.
#[must_use]
pub fn remote(layout: &Layout, settings: &Settings) -> Option<GitRemote> {
    let url = settings.remote.as_deref()?;
    Some(GitRemote::new(&layout.git(), url, layout.state().parent()).with_repository(TRANSFER))
}

/// The settings of a state directory: defaults, `orch.yaml`, this machine's `config.yaml`, environment.
///
/// # Errors
/// Configuration (78) with file, line and column.
pub fn settings(disk: &dyn Disk, layout: &Layout) -> Result<Loaded> {
    let shared = read(disk, &layout.state().join("orch.yaml"))?;
    let file = shared.as_deref().map(|bytes| File { name: "orch.yaml", bytes });
    settings_of(disk, layout, file).map_err(|error| match file.and_then(|file| settings_load::newer(&file)) {
        Some(newer) => Error::new(Kind::Config, NEWER, newer.to_string())
            .hint("`orch list`, `show`, `log` and others that only look still work"),
        None => error,
    })
}

/// The same with this as `orch.yaml`.
fn settings_of(disk: &dyn Disk, layout: &Layout, shared: Option<File<'_>>) -> Result<Loaded> {
    let own = read(disk, &layout.own_config())?;
    from_files(layout, shared, own.as_deref(), settings_load::load).map_err(|e| {
        Error::new(Kind::Config, "config", e.to_string())
            .hint("`orch config show --origin` lists every setting and where it comes from")
    })
}

/// The settings as far as they can be read, and what is wrong with the rest. For whoever looks for the mistake.
#[must_use]
pub fn settings_as_found(disk: &dyn Disk, layout: &Layout) -> (Loaded, Vec<Error>) {
    let mut problems = Vec::new();
    let mut bytes = |path: &Path| read(disk, path).map_err(|error| problems.push(error)).ok().flatten();
    let (shared, own) = (bytes(&layout.state().join("orch.yaml")), bytes(&layout.own_config()));
    let shared = shared.as_deref().map(|bytes| File { name: "orch.yaml", bytes });
    let (loaded, wrong) = from_files(layout, shared, own.as_deref(), settings_load::load_some);
    problems.extend(wrong.iter().map(|e| {
        Error::new(Kind::Config, "config", e.to_string())
            .hint("correct it there; the settings that are listed are those that could be read")
    }));
    (loaded, problems)
}

fn from_files<T>(
    layout: &Layout,
    shared: Option<File<'_>>,
    own: Option<&[u8]>,
    load: impl FnOnce(&Sources<'_>) -> T,
) -> T {
    let name = layout.own_config().display().to_string();
    let machine = own.map(|bytes| File { name: &name, bytes });
    load(&Sources { shared, machine, env: &env::orch_pairs(), options: &[] })
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>> {
    match disk.read(path, CONFIG_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::new(Kind::Config, "config", format!("{}: {error}", path.display()))),
    }
}

/// This machine's id: a machine is a state directory.
///
/// # Errors
/// Not found (3) where no queue is.
pub fn machine_id(disk: &dyn Disk, layout: &Layout) -> Result<String> {
    let path = layout.machine();
    let bytes = disk.read(&path, 4096).map_err(|error| {
        let message = format!("{} holds no queue of this machine ({error})", layout.state().display());
        Error::new(Kind::NotFound, "no_queue", message).hint("`orch init` makes one here")
    })?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    crate::protocol::id::check_name("machine", &text)
        .map_err(|e| Error::new(Kind::Damaged, "damaged", format!("{}: {e}", path.display())))?;
    Ok(text)
}

/// What `orch init` was asked to do.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// The state directory to be.
    pub state: PathBuf,
    /// Remote to share the queue through; default: the `origin` of the code repository around it, if any.
    pub remote: Option<String>,
    /// Name of the state branch.
    pub branch: Option<String>,
    /// Who is asking.
    pub session: Option<String>,
    /// Leave the network alone: the remote is written down but not asked.
    pub no_sync: bool,
}

/// What `orch init` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inited {
    /// The state directory.
    pub state: PathBuf,
    /// The remote, without credentials.
    pub remote: Option<String>,
    /// The state branch.
    pub branch: String,
    /// False when it was there already.
    pub created: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Makes a state directory, connects it to its remote and exchanges what is there. Doing it again changes
/// nothing but the remote, if another one is named.
///
/// # Errors
/// Usage (2) for a name that cannot be used, configuration (78) when the remote does not exist, conflict (4) when the
/// queue is on another branch, unreachable (75), refused (5) with the remedy.
pub fn init(request: &InitRequest) -> Result<Inited> {
    check_words(request)?;
    let layout = Layout::new(&request.state);
    let disk = RealDisk;
    let restored = match vanished::settle(&layout)? {
        Settled::Restored(told) => Some(told),
        Settled::Fine | Settled::Unfinished => None,
    };
    // The machine is named first and the shared settings are written last, so without those it was cut short.
    let there = |path: &Path| Ok(disk.stat(path).map_err(|e| Error::failure(e.to_string()))?.is_some());
    let finished = there(&layout.state().join("orch.yaml"))? && there(&layout.machine())?;
    let begun = finished || there(&layout.own_config())?;
    // Wrong settings are told before anything is made that a person would have to clear away.
    let known = settings(&disk, &layout)?.settings;
    if let Some(wanted) = request.branch.as_deref().filter(|_| finished) {
        let objects = world(&layout, &known.branch, None, false)?.objects;
        init::keep_branch(&*objects, layout.state(), &known.branch, wanted)?;
    }
    let code_root = enclosing_repository(&request.state);
    let remote = match &request.remote {
        Some(url) => Some(absolute(url)?),
        None => {
            let known = known.remote.filter(|_| begun);
            known.or_else(|| code_root.as_deref().filter(|_| !finished).and_then(origin))
        }
    };
    init::lay_out(&disk, &RealRandom, &layout)?;
    let before = read(&disk, &layout.own_config())?;
    write_config(&disk, &layout, remote.as_deref(), request.branch.as_deref())?;
    if let Some(root) = &code_root {
        exclude(&disk, root, &layout)?;
    }
    let loaded = settings(&disk, &layout)?.settings;
    world(&layout, &loaded.branch, None, true)?;
    let connected = match connect(request, &layout) {
        Err(error) if error.code == Error::NOT_A_QUEUE => {
            forget_choice(&layout, before.as_deref())?;
            return Err(error);
        }
        Err(error) if !finished => return Err(unfinished(error)),
        other => other?,
    };
    Ok(Inited {
        state: request.state.clone(),
        remote: remote.as_deref().map(crate::world::remote::failure::without_secrets),
        branch: loaded.branch,
        created: !finished,
        notes: restored.into_iter().chain(connected).collect(),
    })
}

/// Looks at what was typed before anything is made of it.
fn check_words(request: &InitRequest) -> Result<()> {
    let words = [("--remote", "remote", &request.remote), ("--branch", "branch", &request.branch)];
    for (option, key, value) in words {
        if let Some(value) = value
            && let Err(why) = settings_load::check_text(key, value)
        {
            let shown = crate::world::remote::failure::without_secrets(value);
            return Err(Error::new(Kind::Usage, "usage", format!("{option} '{shown}': {why}"))
                .hint("nothing was made; give it another name, or leave the option out for the usual one"));
        }
    }
    Ok(())
}

/// A new state directory that could not be connected is no queue yet.
fn unfinished(error: Error) -> Error {
    let hint = error.hint.clone().unwrap_or_default();
    let gap = if hint.is_empty() { "" } else { "; " };
    error
        .hint(format!("{hint}{gap}the state directory is not finished: `orch init` goes on where it stopped"))
}

/// Takes back the choice of a branch that cannot be had: the next `init` starts as if there had been none.
fn forget_choice(layout: &Layout, before: Option<&[u8]>) -> Result<()> {
    let path = layout.own_config();
    let done = match before {
        Some(bytes) => {
            crate::store::atomic::write(&RealDisk, &path, bytes).map(drop).map_err(|e| e.to_string())
        }
        None if !env::exists(&path) => Ok(()),
        None => RealDisk.remove(&path).map_err(|e| format!("{}: {e}", path.display())),
    };
    done.map_err(Error::failure)?;
    let world = world(layout, &settings(&RealDisk, layout)?.settings.branch, None, true)?;
    let landed = world.objects.get_ref(INCOMING_BRANCH).ok().flatten();
    // What stays of the fetch is removed in time by the maintenance of the repository.
    world.objects.swap_ref(INCOMING_BRANCH, landed, None).map_err(|e| Error::from_sync(&e.into()))
}

/// Tests the remote and exchanges what is there; gives what a person should know.
fn connect(request: &InitRequest, layout: &Layout) -> Result<Vec<String>> {
    let options = Options {
        state: request.state.clone(),
        session: request.session.clone(),
        no_sync: request.no_sync,
        about: About::Queue,
    };
    let mut queue = open_as_it_is(&options)?;
    let mut notes = Vec::new();
    let ask = queue.settings().remote.is_some() && !request.no_sync;
    let mut branches = false;
    if ask {
        git_version()?;
        let mut found = init::probe(&queue)?;
        init::take_over(&mut queue)?;
        branches = init::settle_place(&open_as_it_is(&options)?, &mut found)?;
        notes.extend(found.notes);
    }
    init::default_files(&RealDisk, layout, crate::policy::DEFAULT)?;
    if branches {
        set(&RealDisk, &layout.state().join("orch.yaml"), "sync.lease_refs", "branches")?;
    }
    notes.extend(queue.notices());
    let mut queue = open(&options)?;
    if ask || !queue.is_shared() {
        init::publish_first(&mut queue)?;
    }
    notes.extend(queue.notices());
    Ok(notes)
}

/// A shared queue needs a `git` that is new enough.
fn git_version() -> Result<()> {
    Git::default().version(Duration::from_secs(10)).map(drop).map_err(|e| {
        Error::new(Kind::Config, "git", e.message)
            .hint("install a newer git; `orch doctor` shows which one is found")
    })
}

/// The code repository that the state directory lies in: the nearest parent with a `.git`.
fn enclosing_repository(state: &Path) -> Option<PathBuf> {
    state.parent()?.ancestors().find(|dir| env::exists(&dir.join(".git"))).map(Path::to_owned)
}

fn origin(root: &Path) -> Option<String> {
    Git::default().config_get(root, "remote.origin.url").and_then(|url| {
        // A relative path is meant from the repository that names it.
        let here = root.join(&url);
        Some(if env::exists(&here) {
            env::real_path(&here).ok()?.to_string_lossy().into_owned()
        } else {
            url
        })
    })
}

/// Remotes by path are kept absolute: commands run anywhere.
fn absolute(url: &str) -> Result<String> {
    if !crate::world::git_command::transport::is_path(url) || url.starts_with("file:") {
        return Ok(url.to_owned());
    }
    let path = env::real_path(Path::new(url)).map_err(|e| {
        Error::new(Kind::Config, "remote_not_found", format!("there is no repository at {url}: {e}"))
            .hint("create it with `git init --bare`, or name another with --remote URL")
    })?;
    Ok(path.to_string_lossy().into_owned())
}

fn write_config(disk: &dyn Disk, layout: &Layout, remote: Option<&str>, branch: Option<&str>) -> Result<()> {
    for (key, value) in [("remote", remote), ("branch", branch)] {
        if let Some(value) = value {
            set(disk, &layout.own_config(), key, value)?;
        }
    }
    Ok(())
}

/// Writes one setting into a file, keeping the rest of it.
fn set(disk: &dyn Disk, path: &Path, key: &str, value: &str) -> Result<()> {
    let before = read(disk, path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&before).into_owned();
    let after = settings_edit::set(&text, key, value)
        .map_err(|e| Error::new(Kind::Config, "config", format!("{}: {e}", path.display())))?;
    if after != text {
        crate::store::atomic::write(disk, path, after.as_bytes())
            .map_err(|e| Error::failure(e.to_string()))?;
    }
    Ok(())
}

/// Keeps the state directory out of the code repository's sight, without touching its files.
fn exclude(disk: &dyn Disk, root: &Path, layout: &Layout) -> Result<()> {
    let Ok(inside) = layout.state().strip_prefix(root) else { return Ok(()) };
    let Some(git_dir) = Git::default().common_dir(root) else { return Ok(()) };
    let path = git_dir.join("info").join("exclude");
    let line = format!("/{}/", inside.display());
    let before = disk.read(&path, CONFIG_MAX).unwrap_or_default();
    let text = String::from_utf8_lossy(&before).into_owned();
    if text.lines().any(|known| known.trim() == line) {
        return Ok(());
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    crate::store::atomic::write(disk, &path, format!("{text}{gap}{line}\n").as_bytes())
        .map(drop)
        .map_err(|e| Error::failure(e.to_string()))
}
