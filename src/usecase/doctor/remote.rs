//! The remote: whether it answers and how fast, and what it lets us do: make refs, delete them, several at once.

use crate::protocol::time::{Timestamp, format_span};
use crate::store::settings::{LeaseRefs, Settings};
use crate::sync::names;
use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;
use crate::world::remote::passing;
use crate::world::{NewCommit, Oid, PushOutcome, RefUpdate, RemoteFailure};

use super::leftovers::lock_files;
use super::{Check, Patient, Visit};

const NAME: &str = "remote";

pub(super) fn check(
    patient: &dyn Patient,
    settings: &Settings,
    q: &mut Queue,
    visit: &mut Visit,
) -> Result<()> {
    let check = if !q.is_shared() {
        Check::fine(NAME, "this queue has no remote: all of it is on this machine")
    } else if q.no_sync {
        Check::fine(NAME, "not asked, because the network is to be left alone")
    } else {
        match ask(q)? {
            Answer::Told(check) => check,
            Answer::Damaged(why) => damaged(patient, settings, q, visit, &why)?,
        }
    };
    visit.add(check);
    Ok(())
}

/// What came of asking.
enum Answer {
    Told(Check),
    /// It lacks objects that its own refs need, and takes nothing any more; in its words.
    Damaged(String),
}

/// A ref there points to what is not there. Nobody can push anything until the object is back, and whoever has it
/// can add it without touching a ref.
fn damaged(
    patient: &dyn Patient,
    settings: &Settings,
    q: &Queue,
    visit: &mut Visit,
    why: &str,
) -> Result<Check> {
    let url = q.cx().remote().map_err(|e| Error::from_sync(&e))?.url();
    let text =
        format!("{url} lacks objects that its refs need, and takes nothing until it has them again: {why}");
    let Some(path) = patient.remote_path(settings) else {
        return Ok(Check::wrong(NAME, text).hint(
            "if a `git gc` is at work there it passes by itself; else whoever looks after that repository can add them \
             from a machine that has synced: `git --git-dir state/.git bundle create FILE --glob=refs/orch/remote` \
             here, `git bundle unbundle FILE` there; neither takes anything away",
        ));
    };
    if !visit.request.repair {
        return Ok(Check::wrong(NAME, text).hint(
            "if a `git gc` is at work there it passes by itself; else `orch doctor --repair`, on a machine that has \
             synced, adds what that machine has; nothing is taken away and no ref moves",
        ));
    }
    let lent = patient.lend_objects(&path);
    if let (Ok(()), Answer::Told(check)) = (&lent, ask(q)?) {
        visit.repaired(format!("{url}: the objects that it lacked were added"));
        return Ok(check);
    }
    let text =
        lent.err().map_or_else(|| text.clone(), |error| format!("{text}; they could not be added: {error}"));
    Ok(Check::wrong(NAME, text).hint(
        "this machine does not have all of them: run `orch doctor --repair` on the others, or let whoever looks after \
         that repository add them from a backup",
    ))
}

fn ask(q: &Queue) -> Result<Answer> {
    let cx = q.cx();
    let remote = cx.remote().map_err(|e| Error::from_sync(&e))?;
    let start = q.world.clock.monotonic();
    let names = probes(q);
    let refs = match remote.refs(&[&cx.names.branch, &names[0], &names[1]], cx.limit) {
        Ok(refs) => refs,
        Err(error) => {
            let error = Error::from_sync(&error.into());
            let hint = "try `git ls-remote` on it by hand: orch uses the same git, keys and proxies";
            let text = format!("{}: {}", remote.url(), error.message);
            return Ok(Answer::Told(Check::wrong(NAME, text).hint(hint)));
        }
    };
    let took = q.world.clock.monotonic().saturating_sub(start);
    let probe = probe_commit(q)?;
    let now = |name: &str| refs.iter().find(|(found, _)| found == name).map(|(_, oid)| *oid);
    let made: Vec<RefUpdate> = names
        .iter()
        .map(|name| RefUpdate { name: name.clone(), expected: now(name), new: Some(probe) })
        .collect();
    let atomic = remote.push_atomic(&made, cx.limit);
    let atomic_works = atomic.iter().all(|outcome| *outcome == PushOutcome::Accepted);
    let outcomes = if atomic_works { atomic } else { remote.push(&made, cx.limit) };
    if let Some(refused) = outcomes.iter().find(|outcome| **outcome != PushOutcome::Accepted) {
        return Ok(refusal(q, &remote.url(), refused));
    }
    let gone: Vec<RefUpdate> =
        made.iter().map(|update| RefUpdate { expected: Some(probe), new: None, ..update.clone() }).collect();
    if remote.push(&gone, cx.limit).iter().any(|outcome| *outcome != PushOutcome::Accepted) {
        let text = format!("{} lets refs be made but not be deleted ({})", remote.url(), names[0]);
        let hint = "allow this account to delete the refs of leases, or they pile up";
        return Ok(Answer::Told(Check::wrong(NAME, text).hint(hint)));
    }
    let check = Check::fine(
        NAME,
        format!(
            "{} answers in {}; refs can be made and deleted, {}",
            remote.url(),
            format_span(std::time::Duration::from_millis(took.as_millis() as u64)),
            if atomic_works { "several at once" } else { "but not several at once" }
        ),
    );
    Ok(Answer::Told(if atomic_works {
        check
    } else {
        check.hint("`orch deliver` needs atomic pushes; everything else works")
    }))
}

/// Two names of this machine's own, where leases stand.
fn probes(q: &Queue) -> [String; 2] {
    let branches = q.settings.sync.lease_refs == LeaseRefs::Branches;
    ["a", "b"].map(|end| names::probe(branches, &format!("{}-{end}", q.machine)))
}

fn refusal(q: &Queue, url: &str, outcome: &PushOutcome) -> Answer {
    let message = match outcome {
        PushOutcome::Refused(message) | PushOutcome::Unknown(message) => message.as_str(),
        PushOutcome::Accepted => "",
    };
    if passing(message) == Some(RemoteFailure::MissingObject) {
        return Answer::Damaged(message.to_owned());
    }
    let hint = match q.settings.sync.lease_refs {
        LeaseRefs::Custom => {
            "allow pushes to refs/orch/* for this account, or set `sync: {lease_refs: branches}` in `orch.yaml`"
        }
        LeaseRefs::Branches => "allow pushes to refs/heads/orch-* for this account",
    };
    Answer::Told(Check::wrong(NAME, format!("{url} does not take a test ref: {message}")).hint(hint))
}

fn probe_commit(q: &Queue) -> Result<Oid> {
    let mut dice = [0u8; 8];
    q.world.random.fill(&mut dice);
    let commit = NewCommit {
        base: None,
        changes: &[("probe".to_owned(), Some(dice.to_vec()))],
        parents: &[],
        author: "orch",
        at_s: q.now().0 / 1000,
        message: "probe [skip ci]\n",
    };
    q.world.objects.commit(&commit).map_err(|e| Error::from_sync(&e.into()))
}

/// Lock files that a killed push left on a remote that is a path. They are named, never touched.
pub(super) fn left_over_locks(patient: &dyn Patient, settings: &Settings, visit: &mut Visit) {
    const NAME: &str = "remote_locks";
    let Some(path) = patient.remote_path(settings) else { return };
    let git_dir = if has_refs(patient, &path) { path } else { path.join(".git") };
    let now = Timestamp(patient.clock().wall_ms());
    let old = lock_files(patient.disk(), &git_dir, now)
        .into_iter()
        .filter(|(_, age)| age.as_secs() >= 60)
        .map(|(path, age)| {
            let age = format_span(std::time::Duration::from_secs(age.as_secs()));
            format!("{} is {age} old and keeps that ref from being pushed", path.display())
        })
        .collect();
    let check = Check::list(NAME, "no lock file is left over on the remote", old);
    visit.add(check.hint_if_wrong(
        "a push was killed there. orch leaves other repositories alone: when no git is at work there, whoever looks \
         after it can move the lock file away",
    ));
}

fn has_refs(patient: &dyn Patient, path: &std::path::Path) -> bool {
    matches!(patient.disk().stat(&path.join("refs")), Ok(Some(_)))
}
