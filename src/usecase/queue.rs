//! The queue as one machine sees it: the world, the files, the settings, and who is asking.

use std::time::Duration;

use crate::protocol::id::{OpId, TaskId, check_name};
use crate::protocol::lease::Patience;
use crate::protocol::op::{Action, Op, Role};
use crate::protocol::task::{Lease, RetryPolicy, Task};
use crate::protocol::time::Timestamp;
use crate::store::settings::{LeaseRefs, Settings};
use crate::store::tasks::{FileState, Store};
use crate::sync::context::{Cx, SyncError};
use crate::sync::fetch::Fetched;
use crate::sync::names::Names;
use crate::sync::publish::{self, Published};
use crate::sync::{alarm, local};
use crate::world::World;

use super::budget;
use super::error::{Error, Kind, Result};
use super::verify::Trouble;

/// How long a fold waits for company at least.
const FOLD_WINDOW: Duration = Duration::from_secs(2);

/// An open queue. Use cases take it and nothing else.
pub struct Queue {
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    pub(crate) session: String,
    pub(crate) machine: String,
    pub(crate) role: Role,
    pub(crate) no_sync: bool,
    /// Nothing may be written.
    pub(crate) read_only: bool,
    /// Files that belong to no task, as of the last look.
    pub(crate) strays: Vec<String>,
    /// Shared files that cannot be used as they are, as of the last look.
    pub(crate) unusable: Vec<Trouble>,
    /// Shared files that had vanished and were put back, each as a sentence.
    pub(crate) restored: Vec<String>,
    /// When the files were last looked at, on the monotonic clock.
    pub(crate) looked: Option<Duration>,
    /// Whether that was only at what changes the folders, because another session had just looked at all files.
    pub(crate) relied: bool,
    /// How long pushes wait for others of this machine to come along.
    company: Duration,
    /// When, on the monotonic clock, the change at hand must have ended.
    pub(crate) deadline: Option<Duration>,
    /// Tasks of this machine that got another id because theirs was taken: old and new.
    pub(crate) renamed: Vec<(TaskId, TaskId)>,
    notices: Vec<String>,
}

/// What a command is about, which decides how many files are looked at when the queue is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum About {
    /// The queue as a whole.
    #[default]
    Queue,
    /// These tasks: where another process has looked at all files a moment ago, only theirs are looked at.
    Tasks(Vec<TaskId>),
    /// The next task, whichever that is: where another session has looked at all files a moment ago, only the
    /// folders are looked at, and the file of that task.
    Next,
}

/// What opening a queue needs to know.
pub struct Opening {
    /// Everything outside; its remote is the one that the settings name.
    pub world: World,
    /// Files and index.
    pub store: Store,
    /// Effective settings.
    pub settings: Settings,
    /// Who is asking.
    pub session: String,
    /// This machine's id.
    pub machine: String,
    /// Leave the network alone.
    pub no_sync: bool,
    /// What the command is about.
    pub about: About,
    /// Why nothing may be written, if so: only use cases that look are for such a queue.
    pub read_only: Option<String>,
}

impl Queue {
    /// Opens a queue and looks at what happened to its files meanwhile.
    ///
    /// # Errors
    /// A bad session name (usage), or files that cannot be read.
    pub fn open(opening: Opening) -> Result<Queue> {
        let Opening { world, store, settings, session, machine, no_sync, about, read_only } = opening;
        check_name("session", &session).map_err(|e| Error::new(Kind::Usage, "usage", e.to_string()))?;
        let names = Names::new(&settings.branch, settings.sync.lease_refs == LeaseRefs::Branches);
        let mut queue = Queue {
            world,
            store,
            settings,
            names,
            session,
            machine,
            role: Role::Author,
            no_sync,
            read_only: read_only.is_some(),
            strays: Vec::new(),
            unusable: Vec::new(),
            restored: Vec::new(),
            looked: None,
            relied: false,
            company: Duration::ZERO,
            deadline: None,
            renamed: Vec::new(),
            notices: read_only.into_iter().collect(),
        };
        if super::notice::first(&mut queue, &about).is_err() {
            // A damaged index has been made anew by now, empty: looking again fills it.
            super::notice::first(&mut queue, &about)?;
        }
        super::shared_files::look(&mut queue)?;
        if let Some(text) = alarm::standing(&queue.cx()) {
            queue.warn(text);
        }
        Ok(queue)
    }

    /// Acts in another role from now on.
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }

    /// Acts as another session from now on (a worker has one per slot).
    pub fn set_session(&mut self, session: impl Into<String>) {
        self.session = session.into();
    }

    /// From now on pushes wait so long for others of this machine that are due as well, and share one with
    /// them. For heartbeats: nobody waits for those.
    pub fn await_company(&mut self, span: Duration) {
        self.company = span;
    }

    /// Effective settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who is asking.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// This machine's id.
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// The world, for edges that wait or run processes.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The state directory.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        self.store.layout.state()
    }

    /// Warnings for a person, once each.
    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notices.contains(&text) {
            self.notices.push(text);
        }
    }

    /// Passes on what a fetch found to say.
    pub(crate) fn say(&mut self, fetched: &Fetched) {
        for problem in &fetched.problems {
            self.warn(problem.clone());
        }
        for (old, new) in fetched.renamed.iter().cloned() {
            self.say_renamed(old, new);
        }
    }

    /// Passes on that a task of this machine has another id now.
    pub(crate) fn say_renamed(&mut self, old: TaskId, new: TaskId) {
        self.warn(format!("two machines had added {old}; the one from this machine is {new} now"));
        self.renamed.push((old, new));
    }

    /// From now on all network steps together may take twice the time limit, unless a change that this one
    /// is a part of has started to count already. Gives what to put back at the end.
    pub(crate) fn start_budget(&mut self) -> Option<Duration> {
        let before = self.deadline;
        let end = || self.world.clock.monotonic() + self.settings.sync.timeout.saturating_mul(2);
        self.deadline = Some(before.unwrap_or_else(end));
        before
    }

    pub(crate) fn cx(&self) -> Cx<'_> {
        Cx {
            world: &self.world,
            store: &self.store,
            names: &self.names,
            machine: &self.machine,
            by: &self.session,
            limit: self.settings.sync.timeout,
            company: self.company,
            deadline: self.deadline,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.world.clock.wall_ms())
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience { drift: self.settings.lease.drift, grace: self.settings.lease.grace }
    }

    pub(crate) fn retry_defaults(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: Some(self.settings.retry.max_attempts),
            backoff: Some(self.settings.retry.backoff.clone()),
            jitter: Some(self.settings.retry.jitter),
        }
    }

    /// A new operation by whoever is asking, now.
    pub(crate) fn op(&self, action: Action) -> Op {
        let mut dice = [0u8; 10];
        self.world.random.fill(&mut dice);
        let at = self.now();
        Op {
            id: OpId::new(at.0, dice),
            at,
            by: self.session.clone(),
            machine: self.machine.clone(),
            role: self.role,
            action,
        }
    }

    /// When the next attempt of a task may start if this one fails now.
    pub(crate) fn retry_at(&self, task: &Task) -> Timestamp {
        let dice = self.world.random.unit();
        self.now().after(crate::protocol::retry::backoff_of(task, &self.retry_defaults(), dice))
    }

    /// Whether a lease is of the session that asks: a holder is a session on a machine (SPEC §15).
    #[must_use]
    pub fn holds(&self, lease: &Lease) -> bool {
        lease.session == self.session && lease.machine == self.machine
    }

    /// Whether other machines share this queue.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.world.remote.is_some()
    }

    /// A task's file, valid and noticed.
    pub(crate) fn load(&self, id: &TaskId) -> Result<Task> {
        let why = match self.store.read(&self.world, id).map_err(|e| Error::from_store(&e))? {
            FileState::Task { task, .. } => return Ok(*task),
            FileState::Absent => {
                let named = self.store.taken(&self.world, id).ok().flatten().filter(|known| known != id);
                return Err(match named {
                    Some(known) => Error::no_task(id).hint(format!("did you mean {known}?")),
                    None => Error::no_task(id),
                });
            }
            FileState::Edited { .. } => "it was edited just now; run the command again".to_owned(),
            FileState::Problem(problem) => problem.text,
        };
        // Whoever noticed it has noted the place, and what is wrong with an edit.
        let noted = self.store.problem_of(id).map_err(|e| Error::from_store(&e))?;
        Err(quarantined(noted.unwrap_or_else(|| format!("{id}: {why}"))))
    }

    /// Publishes what waits here as far as network and push budget allow; says whether everything is out.
    ///
    /// Without a remote that means a commit on the local branch.
    pub(crate) fn settle(&mut self) -> Result<bool> {
        if self.is_shared() && !self.no_sync {
            let wait = budget::wait(self)?;
            if !wait.is_zero() {
                let out = self.nothing_waits()?;
                if !out {
                    self.warn(format!(
                        "kept here, not published yet: this machine's share of the push budget is used up for \
                         {} s (`sync.push_budget`); a later command takes it along, `orch sync` publishes it now",
                        wait.as_secs() + 1
                    ));
                }
                return Ok(out);
            }
        }
        self.settle_now()
    }

    /// The same, without regard to the push budget.
    pub(crate) fn settle_now(&mut self) -> Result<bool> {
        if !self.is_shared() {
            // The file is what is durable; the commit follows, if not now then with the next command.
            if let Err(error) = local::commit(&self.cx()) {
                self.warn(format!("not committed yet: {error}"));
            }
            return Ok(true);
        }
        if self.no_sync {
            return Ok(false);
        }
        match self.publish(publish::Scope::Waiting) {
            Ok(published) => {
                self.say(&published.fetched);
                self.nothing_waits()
            }
            Err(error) if error.is_unreachable() => {
                self.warn(format!("kept here, not published yet: {error}"));
                Ok(false)
            }
            Err(SyncError::Rewound(text)) => {
                self.warn(text);
                Ok(false)
            }
            Err(error @ (SyncError::Declined { .. } | SyncError::NotAQueue { .. })) => {
                self.warn(format!("kept here, not published: {error}"));
                Ok(false)
            }
            Err(error) => Err(Error::from_sync(&error)),
        }
    }

    /// Publishes what could have waited, and remembers that it had its turn.
    fn publish(&self, scope: publish::Scope) -> std::result::Result<Published, SyncError> {
        let published = publish::publish(&self.cx(), scope)?;
        if published.pushed > 0 {
            // It is out, whether that can be noted or not.
            let _ = self.store.note_deferred(&self.world, published.retries);
        }
        Ok(published)
    }

    /// Publishes what waits and folds what has ended, if the push budget has room for it.
    ///
    /// # Errors
    /// The remote cannot be asked, or refuses.
    pub(crate) fn publish_if_room(&self) -> Result<Option<Published>> {
        if !budget::wait(self)?.is_zero() {
            return Ok(None);
        }
        self.publish(publish::Scope::WaitingAndFolds).map(Some).map_err(|e| Error::from_sync(&e))
    }

    /// Folds what has ended, together with everything else that waits, unless this machine did so a moment
    /// ago. Nobody waits for a fold, so a failure is left to the next one.
    pub(crate) fn fold_if_due(&mut self) {
        let now = self.world.clock.monotonic();
        let last = self.store.meta("folded").ok().flatten().and_then(|text| text.parse().ok());
        let due = last.is_none_or(|last| now.saturating_sub(Duration::from_millis(last)) >= FOLD_WINDOW);
        if !due || !self.is_shared() || self.no_sync {
            return;
        }
        let noted = self.store.set_meta("folded", &now.as_millis().to_string());
        if noted.is_ok() {
            let _ = self.publish_if_room();
        }
    }

    fn nothing_waits(&self) -> Result<bool> {
        Ok(self.store.unpublished().map_err(|e| Error::from_store(&e))?.is_empty())
    }

    /// How old the last look at the remote is; `None` if there was none in this boot.
    pub(crate) fn knowledge_age(&self) -> Option<Duration> {
        self.store.fetch_age(&self.world)
    }
}

/// The error for a task whose file is damaged or holds an edit that is not valid.
pub(crate) fn quarantined(problem: String) -> Error {
    Error::new(Kind::Damaged, "damaged", problem).hint(
        "mend the file in an editor, or move it out of the way: the next command brings back the version that git \
         knows",
    )
}

impl Error {
    /// A failure of the sync, in the numbers that scripts rely on.
    pub(crate) fn from_sync(error: &SyncError) -> Error {
        use crate::world::RemoteFailure as F;
        let text = error.to_string();
        match error {
            SyncError::NoRemote => Error::new(Kind::Config, "no_remote", text)
                .hint("`orch init --remote URL` connects this queue to a remote"),
            SyncError::Remote(remote) => {
                let code = match remote.kind {
                    F::NotFound => "remote_not_found",
                    F::Unreachable => "unreachable",
                    F::Timeout => "timeout",
                    F::Auth => "auth",
                    F::Locked => "remote_locked",
                    F::MissingObject => "missing_object",
                    F::Tool => return Error::new(Kind::Config, "git", text).hint("`orch doctor` checks git"),
                    F::Other => "remote",
                };
                Error::new(Kind::Unreachable, code, text).hint(match remote.kind {
                    F::Locked => {
                        "a lock file of another git is there: try again; if the same one is still there after a minute \
                         its git was killed, and `orch doctor` names it and says when it is safe to move it away"
                    }
                    F::MissingObject => {
                        "nothing was changed on the remote; a `git gc` there passes by itself, so try again; if it stays, \
                         objects are missing there and `orch doctor` says how they come back"
                    }
                    _ => "nothing was changed on the remote; try again, or run `orch doctor` to test the remote",
                })
            }
            SyncError::Declined { .. } => Error::new(Kind::Refused, "declined", text).hint(
                "a hook, ruleset or permission on the remote forbids it; allow this ref there, or use a \
                 repository of its own for the queue, or, while no task is in progress, set \
                 `lease_refs: branches`",
            ),
            SyncError::NotAQueue { .. } => Error::new(Kind::Refused, Error::NOT_A_QUEUE, text).hint(
                "nothing was changed on that branch; give the queue another repository with `orch init --remote URL`, or, \
                 as long as it is new, another branch with `orch init --branch NAME`",
            ),
            SyncError::Rewound(_) => Error::new(Kind::Damaged, "rewound", text)
                .hint("nothing is lost on this machine; look at the remote, then run `orch doctor --repair`"),
            SyncError::Elsewhere { .. } => Error::new(Kind::Conflict, "lease_elsewhere", text).hint(
                "all machines need the same setting (`orch config show --origin`); put it back until the \
                 machines that have tasks in progress have finished them and run `orch sync`",
            ),
            SyncError::Quarantined { .. } => Error::new(Kind::Damaged, "quarantined", text)
                .hint("the copy on the remote is not used; `orch doctor` shows what to do"),
            SyncError::Objects(_) => {
                Error::failure(text).hint("`orch doctor --repair` mends the local repository")
            }
            SyncError::Store(store) => Error::from_store(store),
        }
    }

    /// Code of a refusal because the branch on the remote is somebody's code.
    pub(crate) const NOT_A_QUEUE: &str = "not_a_queue";

    /// Code of a failure because nothing can be written: no space, no permission, a read-only file system.
    pub(crate) const UNWRITABLE: &str = "unwritable";

    /// A failure of local files.
    pub(crate) fn from_store(error: &crate::store::error::StoreError) -> Error {
        if error.is_unwritable() {
            return Error::new(Kind::Failure, Error::UNWRITABLE, error.to_string()).hint(
                "free some space there, or make it writable, and run the command again; `orch doctor` tests the \
                 disk, and `orch list` and `show` work meanwhile",
            );
        }
        Error::failure(error.to_string()).hint("`orch doctor` tests disk, locks and files")
    }
}
