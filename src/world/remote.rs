//! The shared repository, reached by the user's own `git`: `ls-remote`, `fetch`, `push`, and where it is a folder of this
//! computer the programs behind them (`folder.rs`). Together with `git_command.rs` the only place that builds a git
//! command line.
//!
//! `git ls-remote` cannot ask the other side for less than everything it advertises (below `refs/heads/`
//! it can), so a listing costs what the remote has refs.

pub mod failure;
pub use failure::passing;
pub mod folder;
pub mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::folder::{Pack, Repository};
use super::git_command::run::{self, Answer, Begun, Finished};
use super::git_command::{Git, transport};
use super::{Oid, PushOutcome, RefUpdate, Remote, RemoteError, RemoteFailure, Wanted};

/// Most bytes of arguments in one command. Linux gives two megabytes to arguments and environment
/// together, macOS one, a tight `ulimit -s` less; this holds about 700 refs.
const MOST_ARGUMENTS: usize = 192 << 10;

/// Most bytes that a listing may have: half a million refs.
const MOST_LISTING: usize = 64 << 20;

/// A push answers with one line per ref.
const MOST_ANSWER: usize = 4 << 20;

/// A remote behind the `git` executable.
#[derive(Debug, Clone)]
pub struct GitRemote {
    git: Git,
    git_dir: PathBuf,
    url: String,
    code_repository: Option<PathBuf>,
    repository: Option<Repository>,
    /// What the first push of lease refs to a folder will speak to, if it was started ahead.
    ahead: Arc<Mutex<Option<Begun>>>,
    /// The step of this process that has taken longest, to name it where no time is left for another.
    longest: Arc<Mutex<Option<(&'static str, Duration)>>>,
}

impl GitRemote {
    /// A remote at `url` (a path must be absolute) for the repository `git_dir`. Network transports
    /// also use the credentials and proxies that `code_repository` is configured with. Nothing is read yet.
    #[must_use]
    pub fn new(git_dir: &Path, url: &str, code_repository: Option<&Path>) -> Self {
        GitRemote {
            git: Git::default(),
            git_dir: git_dir.to_owned(),
            url: url.to_owned(),
            code_repository: code_repository.map(Path::to_owned),
            repository: None,
            ahead: Arc::default(),
            longest: Arc::default(),
        }
    }

    /// The same with another `git` executable.
    #[must_use]
    pub fn with_git(self, git: Git) -> Self {
        GitRemote { git, ..self }
    }

    /// The same, but a folder of this computer is spoken to without git's client in between.
    #[must_use]
    pub fn with_repository(self, repository: Repository) -> Self {
        GitRemote { repository: Some(repository), ..self }
    }

    /// The same, for a command that will most likely push a lease ref. The `receive-pack` of a folder needs a while until it
    /// listens, in which we can do what comes before.
    #[must_use]
    pub fn started_ahead(self) -> Self {
        if let Some((path, _)) = self.folder() {
            // Where it cannot be started, the push will say why.
            *self.waiting() = run::begin(self.receive_pack(path, false), MOST_LISTING).ok();
        }
        self
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Begun>> {
        // A thread that panicked has taken it, or left it as it was.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The remote, if it is a folder that is to be spoken to.
    fn folder(&self) -> Option<(&Path, Repository)> {
        let path = Path::new(&self.url);
        let repository = self.repository.filter(|_| path.is_absolute() && path.is_dir())?;
        Some((path, repository))
    }

    /// Adds credentials where they matter, then runs. A command for which no time is left is not started.
    fn run(
        &self,
        step: &'static str,
        mut command: Command,
        limit: Duration,
        most: usize,
    ) -> Result<Finished, RemoteError> {
        let started = Instant::now();
        if limit.is_zero() {
            return Err(failure::no_time(step, self.longest()));
        }
        if !transport::is_path(&self.url) {
            let repository = self.code_repository.as_deref();
            self.git.authenticate(&mut command, &self.git_dir, repository, &self.url, limit)?;
            self.took("config", started.elapsed());
        }
        let left = limit.saturating_sub(started.elapsed());
        self.timed(step, left, || self.git.run(command, left, most))
    }

    /// Runs a step, if some time is left for it.
    fn timed(
        &self,
        step: &'static str,
        left: Duration,
        run: impl FnOnce() -> Result<Finished, RemoteError>,
    ) -> Result<Finished, RemoteError> {
        if left.is_zero() {
            return Err(failure::no_time(step, self.longest()));
        }
        let began = Instant::now();
        let finished = run();
        self.took(step, began.elapsed());
        finished
    }

    /// Speaks to a program of the folder.
    fn talk(
        &self,
        step: &'static str,
        command: Command,
        limit: Duration,
        answer: &mut Answer<'_>,
    ) -> Result<Finished, RemoteError> {
        self.timed(step, limit, || self.git.talk(command, limit, MOST_LISTING, answer))
    }

    /// Adds to the words of git how old the lock file is that they name, where the remote is a path.
    fn with_age_of_lock(&self, text: String) -> String {
        if !transport::is_path(&self.url) {
            return text;
        }
        let lock = text.split('\'').find(|part| part.starts_with('/') && part.ends_with(".lock"));
        let written = lock.and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        match written.and_then(|at| at.elapsed().ok()) {
            Some(age) => format!("{text}\n(that lock file is {} s old)", age.as_secs()),
            None => text,
        }
    }

    fn took(&self, step: &'static str, time: Duration) {
        // What a thread that panicked has noted is as good as any.
        let mut longest = self.longest.lock().unwrap_or_else(PoisonError::into_inner);
        if longest.is_none_or(|(_, most)| most < time) {
            *longest = Some((step, time));
        }
    }

    fn longest(&self) -> Option<(&'static str, Duration)> {
        *self.longest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_command(&self, prefixes: &[&str]) -> Command {
        let mut command = self.git.command(&self.git_dir);
        command.args(["ls-remote", "--quiet", "--refs"]);
        if !prefixes.is_empty() && prefixes.iter().all(|prefix| prefix.starts_with("refs/heads/")) {
            // The one filter that the other side applies.
            command.arg("--heads");
        }
        command.arg("--").arg(&self.url);
        command.args(prefixes.iter().map(|prefix| format!("{prefix}*")));
        command
    }

    /// What the folder's `upload-pack` answers.
    fn ask_folder(
        &self,
        step: &'static str,
        path: &Path,
        request: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        let mut command = self.git.service(&self.git_dir, "upload-pack", path, &[]);
        let (name, value) = folder::PROTOCOL;
        command.env(name, value);
        let mut request = Some(request);
        Ok(succeed(self.talk(step, command, limit, &mut |_| request.take())?)?.stdout)
    }

    fn refs_of_folder(
        &self,
        path: &Path,
        prefixes: &[&str],
        limit: Duration,
    ) -> Result<Vec<(String, Oid)>, RemoteError> {
        let answer = self.ask_folder("ls-remote", path, folder::listing_request(prefixes), limit)?;
        folder::listing(&answer).ok_or_else(|| not_understood(path))
    }

    /// Brings these objects, if something is here already: a first fetch may be large, and git's client need not keep it in
    /// memory. Says whether it has.
    fn fetch_from_folder(
        &self,
        path: &Path,
        repository: Repository,
        wanted: &[Wanted],
        left: &dyn Fn() -> Duration,
    ) -> Result<bool, RemoteError> {
        let held = (repository.held)(&self.git_dir);
        if wanted.is_empty() || held.is_empty() {
            return Ok(false);
        }
        let oids: Vec<Oid> = wanted.iter().map(|one| one.oid).collect();
        let answer = self.ask_folder("fetch", path, folder::fetch_request(&oids, &held), left())?;
        let pack = folder::fetched(&answer).ok_or_else(|| not_understood(path))?;
        let mut command = self.git.command(&self.git_dir);
        command.args(folder::take_in(&pack).ok_or_else(|| not_understood(path))?);
        let mut pack = Some(pack);
        succeed(self.talk("fetch", command, left(), &mut |_| pack.take())?)?;
        let other = |message| RemoteError { kind: RemoteFailure::Other, message };
        (repository.set_refs)(&self.git_dir, wanted).map(|()| true).map_err(other)
    }

    /// `theirs` are names of refs, or objects.
    fn fetch_command<'w>(&self, refs: impl Iterator<Item = (String, &'w str)>) -> Command {
        let mut command = self.git.command(&self.git_dir);
        command.args(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"]);
        command.args(["--no-recurse-submodules", "--no-show-forced-updates", "--"]);
        command.arg(&self.url);
        command.args(refs.map(|(theirs, ours)| format!("+{theirs}:{ours}")));
        command
    }

    /// By object; by name where the host does not hand that out. Hosts say so in words of their own, so whatever is no
    /// failure to reach it counts.
    fn fetch_some(&self, wanted: &[Wanted], left: &dyn Fn() -> Duration) -> Result<(), RemoteError> {
        let fetch = |theirs: fn(&Wanted) -> String| {
            let command = self.fetch_command(wanted.iter().map(|one| (theirs(one), one.local.as_str())));
            succeed(self.run("fetch", command, left(), MOST_ANSWER)?)
        };
        match fetch(|one| one.oid.to_string()) {
            Err(error) if matches!(error.kind, RemoteFailure::MissingObject | RemoteFailure::Other) => {
                fetch(|one| one.name.clone()).map(drop)
            }
            other => other.map(drop),
        }
    }

    /// One lease per ref and a refspec without `+`: a plus sign would switch the lease off.
    fn push_command(&self, updates: &[&RefUpdate], atomic: bool) -> Command {
        let mut command = self.git.command(&self.git_dir);
        // Options that the user's configuration adds to every push are for their hosts, not for ours.
        command.args(["-c", "push.pushOption="]);
        command.args(["push", "--porcelain", "--no-verify", "--no-progress"]);
        if atomic {
            command.arg("--atomic");
        }
        command.args(updates.iter().map(|update| lease(update)));
        command.arg("--").arg(&self.url);
        command.args(updates.iter().map(|update| refspec(update)));
        command
    }

    /// A push of a branch lets it look whether the repository wants to be tidied up. A claim need not wait for that.
    fn receive_pack(&self, path: &Path, branch: bool) -> Command {
        let mut settings = vec![folder::NO_REFS_OF_ALTERNATES];
        if !branch {
            settings.push("receive.autogc=false");
        }
        self.git.service(&self.git_dir, "receive-pack", path, &settings)
    }

    /// What the answer says of each ref that it names; the words on standard error become the remote's.
    fn push_to_folder(
        &self,
        path: &Path,
        pack: Pack,
        updates: &[&RefUpdate],
        atomic: bool,
        limit: Duration,
    ) -> Result<(BTreeMap<String, PushOutcome>, Finished), RemoteError> {
        let started = Instant::now();
        let pack = |commits: &[Oid], known: &[Oid]| pack(&self.git_dir, commits, known);
        let told = |push: folder::Push<'_>, mut answer: Finished| {
            answer.stderr = failure::as_remote(&answer.stderr);
            (push.outcomes(&answer.stdout), answer)
        };
        let branch = updates.iter().any(|update| update.name.starts_with("refs/heads/"));
        let waiting = if branch { None } else { self.waiting().take() };
        if let Some(begun) = waiting {
            let mut push = folder::Push::to_one_that_waits(updates, atomic);
            let mut answer = |said: &[u8]| push.request(said, pack);
            let answered =
                self.timed("push", limit, || self.git.talk_to(begun, limit, MOST_LISTING, &mut answer));
            if push.is_sent() {
                return Ok(told(push, answered?));
            }
        }
        let left = limit.saturating_sub(started.elapsed());
        let mut push = folder::Push::new(updates, atomic);
        let command = self.receive_pack(path, branch);
        let answer = self.talk("push", command, left, &mut |said| push.request(said, pack))?;
        Ok(told(push, answer))
    }

    /// One command: what the answer says of each ref that it names, and what to say of the others.
    fn push_some(&self, updates: &[&RefUpdate], atomic: bool, limit: Duration) -> Vec<PushOutcome> {
        if limit.is_zero() {
            let error = failure::no_time("push", self.longest());
            return refuse(updates.len(), &format!("{}{}", failure::NOT_SENT, error.message));
        }
        let sent = match self.folder() {
            Some((path, repository)) => self.push_to_folder(path, repository.pack, updates, atomic, limit),
            None => self
                .run("push", self.push_command(updates, atomic), limit, MOST_ANSWER)
                .map(|answer| (parse::push(&answer.stdout), answer)),
        };
        let (mut said, answer) = match sent {
            Ok(sent) => sent,
            // It was never started.
            Err(error) if error.kind == RemoteFailure::Tool => return refuse(updates.len(), &error.message),
            Err(error) => return vec![PushOutcome::Unknown(error.message); updates.len()],
        };
        let reasons = failure::said_by_remote(&answer.stderr);
        let outcome = |update: &&RefUpdate| match said.remove(&update.name) {
            Some(PushOutcome::Refused(why))
                if why.starts_with("[remote rejected]") && !reasons.is_empty() =>
            {
                PushOutcome::Refused(self.with_age_of_lock(format!("{why}\n{reasons}")))
            }
            Some(outcome) => outcome,
            None => PushOutcome::Unknown(failure::classify(&answer).message),
        };
        updates.iter().map(outcome).collect()
    }
}

impl Remote for GitRemote {
    fn url(&self) -> String {
        failure::without_secrets(&self.url)
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        let mut found = match self.folder() {
            Some((path, _)) => self.refs_of_folder(path, prefixes, limit)?,
            None => {
                let answer = self.run("ls-remote", self.list_command(prefixes), limit, MOST_LISTING)?;
                parse::listing(&succeed(answer)?.stdout)
            }
        };
        // The patterns of `ls-remote` also match in the middle of a name.
        found.retain(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        let started = Instant::now();
        let is_name = |name: &str| parse::is_ref_name(name);
        if let Some(bad) = wanted.iter().find(|one| !is_name(&one.name) || !is_name(&one.local)) {
            let message = format!("not fetched: {:?} or its local name is no full ref name", bad.name);
            return Err(RemoteError { kind: RemoteFailure::Other, message });
        }
        let left = || limit.saturating_sub(started.elapsed());
        if let Some((path, repository)) = self.folder() {
            match self.fetch_from_folder(path, repository, wanted, &left) {
                Ok(true) => return Ok(()),
                Err(error) if error.kind == RemoteFailure::Timeout => return Err(error),
                // Git's client has ways for what is very large, or not as expected, and the words for what is wrong.
                Ok(false) | Err(_) => {}
            }
        }
        chunks(wanted, |one| one.name.len().max(40) + one.local.len() + 2)
            .try_for_each(|chunk| self.fetch_some(chunk, &left))
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        let started = Instant::now();
        let mut outcomes = Vec::with_capacity(updates.len());
        for chunk in chunks(updates, size_of_update) {
            let left = limit.saturating_sub(started.elapsed());
            outcomes.extend(push_distinct(chunk, |distinct| self.push_some(distinct, false, left)));
        }
        outcomes
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        if chunks(updates, size_of_update).count() > 1 {
            return refuse(updates.len(), "not sent: too many refs for one atomic push");
        }
        let names: BTreeSet<_> = updates.iter().map(|update| &update.name).collect();
        if names.len() < updates.len() || updates.iter().any(|update| !is_sendable(update)) {
            return refuse(updates.len(), "not sent: a ref is named twice, or its update makes no sense");
        }
        self.push_some(&updates.iter().collect::<Vec<_>>(), true, limit)
    }
}

/// Sends what can be sent, and refuses a second update of one ref (git would refuse the whole push) and
/// what is no update at all.
fn push_distinct<'a>(
    updates: &'a [RefUpdate],
    send: impl FnOnce(&[&'a RefUpdate]) -> Vec<PushOutcome>,
) -> Vec<PushOutcome> {
    let mut seen = BTreeSet::new();
    let fit: Vec<bool> =
        updates.iter().map(|update| is_sendable(update) && seen.insert(&update.name)).collect();
    let sent: Vec<_> = updates.iter().zip(&fit).filter(|(_, fit)| **fit).map(|(update, _)| update).collect();
    let mut outcomes = if sent.is_empty() { Vec::new() } else { send(&sent) }.into_iter();
    fit.iter()
        .map(|fit| match fit.then(|| outcomes.next()) {
            Some(Some(outcome)) => outcome,
            Some(None) => PushOutcome::Unknown("no answer".to_owned()),
            None => PushOutcome::Refused(
                "not sent: the ref is named twice, or its update makes no sense".to_owned(),
            ),
        })
        .collect()
}

/// A full name, and not the deletion of something that must not exist.
fn is_sendable(update: &RefUpdate) -> bool {
    parse::is_ref_name(&update.name) && (update.expected.is_some() || update.new.is_some())
}

/// `--force-with-lease=<ref>:<object>`; an empty object means that the ref must not exist.
fn lease(update: &RefUpdate) -> String {
    let expected = update.expected.map(|oid| oid.to_string()).unwrap_or_default();
    format!("--force-with-lease={}:{expected}", update.name)
}

/// `<object>:<ref>`; an empty object deletes.
fn refspec(update: &RefUpdate) -> String {
    let new = update.new.map(|oid| oid.to_string()).unwrap_or_default();
    format!("{new}:{}", update.name)
}

/// The name stands in the lease and in the refspec, each with an object id.
fn size_of_update(update: &RefUpdate) -> usize {
    2 * (update.name.len() + 40) + 24
}

/// Splits so that the arguments of one command stay below [`MOST_ARGUMENTS`], with sixteen bytes for
/// the separators and the pointer of each.
fn chunks<T>(items: &[T], size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut room = MOST_ARGUMENTS;
        let fit = rest.iter().take_while(|item| {
            let left = room.checked_sub(size(item) + 16);
            room = left.unwrap_or(0);
            left.is_some()
        });
        // Always one, so that the loop ends; a ref name is far shorter than the room.
        let count = fit.count().max(1).min(rest.len());
        let (chunk, later) = rest.split_at(count);
        rest = later;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn refuse(count: usize, why: &str) -> Vec<PushOutcome> {
    vec![PushOutcome::Refused(why.to_owned()); count]
}

fn not_understood(path: &Path) -> RemoteError {
    RemoteError {
        kind: RemoteFailure::Other,
        message: format!("the answer of `git upload-pack {}` is not understood", path.display()),
    }
}

fn succeed(answer: Finished) -> Result<Finished, RemoteError> {
    if answer.code == Some(0) { Ok(answer) } else { Err(failure::classify(&answer)) }
}

#[cfg(test)]
#[path = "remote/tests.rs"]
mod tests;
