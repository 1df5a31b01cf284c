//! Setting up a queue: a state directory of its own, and the remote that it shares.

use std::path::{Path, PathBuf};

use crate::store::layout::Layout;
use crate::store::settings::LeaseRefs;
use crate::store::{atomic, settings_edit};
use crate::sync::{local, names, publish};
use crate::world::{Disk, Objects, Oid, PushOutcome, Random, RefUpdate, RemoteFailure};

use super::error::{Error, Kind, Result};
use super::queue::Queue;

/// Files that a new state directory gets, besides `orch.yaml`.
const GITATTRIBUTES: &str = "* -merge -text\n";
const AGENTS: &str = "# Agent types: command line, prompt template, limits.\n\
    format: 1\nagents: {}\n";
const WORKFLOW: &str = "# Which event starts which agent type. `simple` runs each task with its own agent.\n\
    format: 1\nworkflow: simple\n";

/// Makes the directories of a new state directory and names the machine; says whether it was new.
///
/// Every directory is durable in its parent before anything is put into it, from the first one that was missing: a
/// task that was told to be there is of no use in a directory that a power failure takes.
///
/// # Errors
/// The disk says no.
pub fn lay_out(disk: &dyn Disk, random: &dyn Random, layout: &Layout) -> Result<bool> {
    let io = |e: &dyn std::fmt::Display| {
        Error::failure(e.to_string()).hint("choose another place with --state DIR")
    };
    let machine = layout.machine();
    let known = disk.stat(&machine).map_err(|e| io(&e))?.is_some();
    for dir in [layout.tasks(), layout.own(), layout.locks(), layout.rejected(), layout.outbox()] {
        atomic::ensure_dir(disk, &dir).map_err(|e| io(&e))?;
    }
    if !known {
        let mut dice = [0u8; 5];
        random.fill(&mut dice);
        let hex: String = dice.iter().map(|byte| format!("{byte:02x}")).collect();
        write_new(disk, &machine, &format!("m-{hex}\n"))?;
    }
    Ok(!known)
}

/// Writes the shared files that are not there yet. With a remote this comes after the first fetch, so that
/// what others have set up is taken over instead of contradicted.
///
/// # Errors
/// The disk says no.
pub fn default_files(disk: &dyn Disk, layout: &Layout, policy: &str) -> Result<()> {
    let files: [(PathBuf, &str); 5] = [
        (layout.state().join("orch.yaml"), settings_edit::default_orch_yaml()),
        (layout.state().join(".gitattributes"), GITATTRIBUTES),
        (layout.state().join("agents.yaml"), AGENTS),
        (layout.state().join("workflow.yaml"), WORKFLOW),
        (layout.state().join("policy.yaml"), policy),
    ];
    files.iter().try_for_each(|(path, text)| write_new(disk, path, text))
}

fn write_new(disk: &dyn Disk, path: &Path, text: &str) -> Result<()> {
    let fail = |e: &dyn std::fmt::Display| Error::failure(format!("{}: {e}", path.display()));
    if disk.stat(path).map_err(|e| fail(&e))?.is_none() {
        atomic::write(disk, path, text.as_bytes()).map_err(|e| fail(&e))?;
    }
    Ok(())
}

/// Refuses another branch for a queue that has one: what is on this machine belongs to that one, and on another it would
/// all be missing for the others.
///
/// A queue that has never been committed may still choose, and one whose settings name a branch that it never was on
/// may go back.
///
/// # Errors
/// Conflict (4) with the branch that it is on; the local repository cannot be read.
pub fn keep_branch(objects: &dyn Objects, state: &Path, now: &str, wanted: &str) -> Result<()> {
    let has = |name: &str| match objects.get_ref(name) {
        Ok(found) => Ok(found.is_some()),
        Err(error) => Err(Error::from_sync(&error.into())),
    };
    let (here, there) = (has(&format!("refs/heads/{now}"))?, has(&format!("refs/heads/{wanted}"))?);
    let is_new = !here && !has(names::TRACKING_BRANCH)?;
    if now == wanted || is_new || (!here && there) {
        return Ok(());
    }
    let message = format!("{} is a queue on the branch {now} and stays on it", state.display());
    Err(Error::new(Kind::Conflict, "other_branch", message).hint(format!(
        "nothing was changed; for the queue on {wanted} use a state directory of its own: \
         `orch --state DIR init --branch {wanted}`, with the same --remote"
    )))
}

/// What connecting to a remote found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connected {
    /// The remote only takes branches, and says so: lease refs of a new queue go below `refs/heads/`.
    pub branches: Option<String>,
    /// Others have set up the queue already.
    pub joined: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Tests what the remote allows: custom refs, deletion, atomic pushes. Everything that it makes it removes.
///
/// # Errors
/// Configuration (78) when there is no such repository; unreachable (75); refused (5) with the remedy.
pub fn probe(q: &Queue) -> Result<Connected> {
    let cx = q.cx();
    let remote = cx.remote().map_err(|e| Error::from_sync(&e))?;
    let refs = remote.refs(&[&cx.names.branch], cx.limit).map_err(|e| match e.kind {
        RemoteFailure::NotFound => Error::new(
            Kind::Config,
            "remote_not_found",
            format!("there is no repository at {}: {}", remote.url(), e.message),
        )
        .hint("create it first (an empty bare repository is enough), or name another with --remote URL"),
        _ => Error::from_sync(&e.into()),
    })?;
    let mut found = Connected::default();
    let probe = probe_object(q)?;
    let custom = try_ref(q, &names::probe(false, &q.machine), probe)?;
    if let Err(message) = custom {
        let branch = try_ref(q, &names::probe(true, &q.machine), probe)?;
        if let Err(also) = branch {
            return Err(Error::new(
                Kind::Refused,
                "declined",
                format!("{} takes neither custom refs ({message}) nor branches ({also})", remote.url()),
            )
            .hint(
                "allow pushes to refs/orch/* and the state branch for this account (a ruleset may need a bypass), \
                 or use a repository of its own for the queue with --remote URL",
            ));
        }
        found.branches = Some(message);
    }
    found.joined = !refs.is_empty();
    if refs.is_empty() {
        found.notes.push(format!("{} is new on the remote", cx.names.branch));
    }
    Ok(found)
}

fn probe_object(q: &Queue) -> Result<Oid> {
    let mut dice = [0u8; 8];
    q.world.random.fill(&mut dice);
    let commit = crate::world::NewCommit {
        base: None,
        changes: &[("probe".to_owned(), Some(dice.to_vec()))],
        parents: &[],
        author: "orch",
        at_s: q.now().0 / 1000,
        message: "probe [skip ci]\n",
    };
    q.world.objects.commit(&commit).map_err(|e| Error::failure(e.to_string()))
}

/// Creates and deletes a ref; the inner error is what the remote said.
fn try_ref(q: &Queue, name: &str, oid: Oid) -> Result<std::result::Result<(), String>> {
    let cx = q.cx();
    let remote = cx.remote().map_err(|e| Error::from_sync(&e))?;
    let known = remote.refs(&[name], cx.limit).map_err(|e| Error::from_sync(&e.into()))?;
    let expected = known.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid);
    let made = remote.push(&[RefUpdate { name: name.to_owned(), expected, new: Some(oid) }], cx.limit);
    match made.first() {
        Some(PushOutcome::Accepted) => {
            remote.push(&[RefUpdate { name: name.to_owned(), expected: Some(oid), new: None }], cx.limit);
            Ok(Ok(()))
        }
        Some(PushOutcome::Refused(message)) => Ok(Err(message.clone())),
        Some(PushOutcome::Unknown(message)) => Err(Error::from_sync(
            &crate::world::RemoteError {
                kind: crate::world::remote::passing(message).unwrap_or(RemoteFailure::Unreachable),
                message: message.clone(),
            }
            .into(),
        )),
        None => Err(Error::failure("the push of a probe was not answered")),
    }
}

/// Where the leases of this queue go, if the remote only takes branches: whether the setting is to be written.
///
/// A queue that others use keeps its setting: machines that look for leases in two places would both get a task.
///
/// # Errors
/// Refused (5) with the remedy when the others have theirs where this account may not push.
pub fn settle_place(q: &Queue, found: &mut Connected) -> Result<bool> {
    let Some(message) = &found.branches else { return Ok(false) };
    if q.settings.sync.lease_refs == LeaseRefs::Branches {
        return Ok(false);
    }
    if found.joined {
        let message =
            format!("this queue has its leases at {}, which the remote refuses ({message})", q.names.leases);
        return Err(Error::new(Kind::Refused, "declined", message).hint(
            "allow pushes to refs/orch/* for this account; or, on a machine that may push, while no task is in \
             progress: `orch config set sync.lease_refs branches`, then `orch sync` on every machine",
        ));
    }
    let place = &q.names.leases_elsewhere;
    found.notes.push(format!("the remote refuses refs/orch/* ({message}); leases go to {place}"));
    Ok(true)
}

/// Takes over what the remote has.
///
/// # Errors
/// Unreachable (75); damaged (8) when the branch is not the one that this machine knew.
pub fn take_over(q: &mut Queue) -> Result<()> {
    super::change::fetch_now(q).map(drop).map_err(|e| Error::from_sync(&e))
}

/// Publishes what is here; without a remote that is the first commit.
///
/// # Errors
/// Unreachable (75), refused (5).
pub fn publish_first(q: &mut Queue) -> Result<()> {
    if q.is_shared() {
        publish::publish(&q.cx(), publish::Scope::Waiting).map_err(|e| Error::from_sync(&e))?;
    } else {
        local::commit(&q.cx()).map_err(|e| Error::from_sync(&e))?;
    }
    Ok(())
}
