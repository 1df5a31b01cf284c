//! The git side of the seams over the kernel: the local repository, and the way to the remote and back, on which a message or
//! its answer may be lost, arrive late or arrive twice.

use std::time::Duration;

use orch::world::remote::failure::NOT_SENT;
use orch::world::{
    CommitInfo, NewCommit, Objects, ObjectsError, Oid, Pressure, PushOutcome, RefUpdate, Remote, RemoteError,
    RemoteFailure, TreeChange, TreeEntry, Wanted,
};

use super::faults::Broken;
use super::kernel::{Kernel, Late, Link, Micros, SECOND};
use super::oracle::BRANCH;
use super::ports::{Port, die, unwinding};
use super::strike::Blow;

impl Objects for Port {
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ObjectsError> {
        self.repo(|kernel, at| Ok(kernel.pool.blob(&kernel.machines[at].repo, oid)?.to_vec()))
    }

    fn hash_blob(&self, bytes: &[u8]) -> Oid {
        super::repo::identity("blob", bytes)
    }

    fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.entry(&kernel.machines[at].repo, commit, path))
    }

    fn list(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.list(&kernel.machines[at].repo, commit, path))
    }

    fn diff(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.diff(&kernel.machines[at].repo, old, new))
    }

    fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        self.repo(|kernel, at| {
            kernel.striker.changes();
            let Kernel { pool, machines, .. } = kernel;
            pool.commit(&mut machines[at].repo, commit)
        })
    }

    fn commit_info(&self, commit: Oid) -> Result<CommitInfo, ObjectsError> {
        self.repo(|kernel, at| kernel.pool.info(&kernel.machines[at].repo, commit).cloned())
    }

    fn has(&self, oid: Oid) -> bool {
        self.kernel.borrow().machines[self.machine].repo.has(oid)
    }

    fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError> {
        let followed = self.broken(Broken::RewindFollowed);
        self.repo(|kernel, at| {
            let followed = followed && kernel.remote.refs.get(BRANCH) == Some(&tip);
            Ok(followed || kernel.pool.is_ancestor(&kernel.machines[at].repo, ancestor, tip)?)
        })
    }

    fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, ObjectsError> {
        self.repo(|kernel, at| {
            let refs = &kernel.machines[at].repo.refs;
            Ok(refs.iter().filter(|(name, _)| is_below(name, prefix)).map(|(n, o)| (n.clone(), *o)).collect())
        })
    }

    fn get_ref(&self, name: &str) -> Result<Option<Oid>, ObjectsError> {
        self.repo(|kernel, at| Ok(kernel.machines[at].repo.refs.get(name).copied()))
    }

    fn swap_ref(&self, name: &str, old: Option<Oid>, new: Option<Oid>) -> Result<(), ObjectsError> {
        if !is_ref_name(name) {
            return Err(ObjectsError::Other(format!("{name:?} is no full ref name")));
        }
        if self.are_refs_locked() {
            self.wait(LOCK_PATIENCE);
            if self.are_refs_locked() {
                return Err(ObjectsError::Locked(format!("{name}.lock")));
            }
        }
        self.repo(|kernel, at| {
            kernel.striker.changes();
            let blind = kernel.is_broken(Broken::LocalSwapBlind);
            let repo = &mut kernel.machines[at].repo;
            if !blind && repo.refs.get(name).copied() != old {
                return Err(ObjectsError::Changed(name.to_owned()));
            }
            match new {
                Some(oid) if !repo.has(oid) => return Err(ObjectsError::Missing(oid)),
                Some(oid) => repo.refs.insert(name.to_owned(), oid),
                None => repo.refs.remove(name),
            };
            Ok(())
        })
    }

    fn pressure(&self) -> Result<Pressure, ObjectsError> {
        self.repo(|kernel, at| {
            let loose = kernel.machines[at].repo.len();
            Ok(Pressure { loose: loose.saturating_sub(kernel.machines[at].packed) as u64, packs: 0 })
        })
    }

    fn maintain(&self) -> Result<(), ObjectsError> {
        self.repo(|kernel, at| {
            kernel.striker.changes();
            let Kernel { pool, machines, .. } = kernel;
            pool.collect(&mut machines[at].repo);
            machines[at].packed = machines[at].repo.len();
            Ok(())
        })
    }
}

/// Whether git takes this for a full ref name (`git help check-ref-format`).
fn is_ref_name(name: &str) -> bool {
    let odd = |c: char| c.is_ascii_control() || "*?[\\ ~^:".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    name.starts_with("refs/")
        && !name.contains(odd)
        && !["..", "@{"].iter().any(|bad| name.contains(bad))
        && !name.ends_with('.')
        && name.split('/').all(part)
}

/// The name itself, or something below it.
fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
}

impl Port {
    /// The way to the remote, or the time until somebody gives up.
    fn go(&self, limit: Duration) -> Fate {
        let (kill, way, lost) = {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.calls += 1;
            let struck = kernel.striker.meets();
            let kill = struck == Some(Blow::Kill) || kernel.dice.chance(kernel.knobs.kill_at_remote);
            let (low, high) = kernel.knobs.latency;
            let way = kernel.dice.between(low, high) / 2;
            let lost = struck == Some(Blow::Fail) || kernel.dice.chance(kernel.knobs.lost);
            (kill, way, lost)
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            die();
        }
        self.wait(way);
        let kernel = self.kernel.borrow();
        let cut = !kernel.remote_up || kernel.machines[self.machine].link == Link::Cut;
        drop(kernel);
        if cut || lost {
            self.give_up_after(limit);
            return Fate::Lost;
        }
        Fate::Arrives
    }

    /// The way back.
    fn come(&self, limit: Duration) -> Fate {
        let (kill, way, lost) = {
            let kernel = &mut *self.kernel.borrow_mut();
            let struck = kernel.striker.meets();
            let kill = struck == Some(Blow::Kill) || kernel.dice.chance(kernel.knobs.kill_at_remote);
            let (low, high) = kernel.knobs.latency;
            let way = kernel.dice.between(low, high) / 2;
            let mute = kernel.machines[self.machine].link != Link::Up || struck == Some(Blow::Fail);
            let lost = mute || kernel.dice.chance(kernel.knobs.unanswered);
            if lost {
                kernel.probes.hit("an answer was lost");
            }
            (kill, way, lost)
        };
        if kill {
            self.kernel.borrow_mut().probes.hit("a process was killed");
            die();
        }
        if lost {
            self.give_up_after(limit);
            return Fate::Lost;
        }
        self.wait(way);
        Fate::Arrives
    }

    /// Waits for an answer that does not come.
    fn give_up_after(&self, limit: Duration) {
        let patience = (limit.as_micros() as u64).clamp(1, 30_000_000);
        self.wait(if self.broken(Broken::LimitIgnored) { 3_600_000_000 } else { patience });
    }

    /// Whether somebody holds the locks of the local refs.
    fn are_refs_locked(&self) -> bool {
        let kernel = &mut *self.kernel.borrow_mut();
        let locked = kernel.now < kernel.machines[self.machine].refs_locked_until;
        if locked {
            kernel.probes.hit("a local ref was locked");
        }
        locked
    }

    fn no_answer() -> RemoteError {
        RemoteError { kind: RemoteFailure::Timeout, message: "no answer".to_owned() }
    }

    fn pushed(&self, updates: &[RefUpdate], atomic: bool, limit: Duration) -> Vec<PushOutcome> {
        if limit.is_zero() || updates.is_empty() {
            return vec![PushOutcome::Refused(format!("{NOT_SENT}no time is left")); updates.len()];
        }
        if unwinding() {
            return vec![PushOutcome::Unknown("dead".to_owned()); updates.len()];
        }
        if self.broken(Broken::NoReadAfterPush) {
            *self.before_push.borrow_mut() = Some(self.kernel.borrow().remote.refs.clone());
        }
        if self.go(limit) == Fate::Lost {
            let kernel = &mut *self.kernel.borrow_mut();
            kernel.probes.hit("a push was lost");
            // Without its objects (a `git gc` of this clone took them) git fails before anything has left.
            let repo = &kernel.machines[self.machine].repo;
            let whole = updates.iter().filter_map(|update| update.new).all(|oid| repo.has(oid));
            if kernel.dice.chance(kernel.knobs.late) && whole {
                let at = kernel.now + kernel.dice.below(120_000_000);
                // The pack has left with everything; objects that no ref reaches do no harm there.
                let Kernel { pool, remote, machines, .. } = kernel;
                for oid in updates.iter().filter_map(|update| update.new) {
                    pool.copy(&machines[self.machine].repo, remote, oid);
                }
                let updates =
                    updates.iter().map(|update| (update.name.clone(), update.expected, update.new)).collect();
                let sent = kernel.awake();
                kernel.late.push(Late { at, updates, sent });
            }
            return silence(kernel, updates.len());
        }
        let mut answers = self.apply(updates, atomic);
        let twice = {
            let kernel = &mut *self.kernel.borrow_mut();
            let twice = kernel.dice.chance(kernel.knobs.twice);
            if twice {
                kernel.probes.hit("a push arrived twice");
            }
            twice
        };
        if twice {
            answers = self.apply(updates, atomic);
        }
        if self.come(limit) == Fate::Lost {
            return silence(&self.kernel.borrow(), updates.len());
        }
        answers
    }

    fn apply(&self, updates: &[RefUpdate], atomic: bool) -> Vec<PushOutcome> {
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.pushes += 1;
        kernel.striker.changes();
        for oid in updates.iter().filter_map(|update| update.new) {
            let Kernel { pool, remote, machines, .. } = kernel;
            if !machines[self.machine].repo.has(oid) {
                return vec![PushOutcome::Unknown(format!("object {oid} is missing")); updates.len()];
            }
            pool.copy(&machines[self.machine].repo, remote, oid);
        }
        let fits = |kernel: &Kernel, update: &RefUpdate| {
            kernel.remote.refs.get(&update.name).copied() == update.expected
        };
        let doubled = |at: usize| updates[..at].iter().any(|before| before.name == updates[at].name);
        let twice = (0..updates.len()).any(doubled);
        if atomic && (twice || !updates.iter().all(|update| fits(kernel, update))) {
            return vec![PushOutcome::Refused("atomic push failed".to_owned()); updates.len()];
        }
        updates
            .iter()
            .enumerate()
            .map(|(at, update)| {
                if doubled(at) || update.name.contains(FORBIDDEN) {
                    return PushOutcome::Refused("named twice, or no name".to_owned());
                }
                if let Some(why) = kernel.refusal(&update.name) {
                    return PushOutcome::Refused(why);
                }
                let actual = kernel.remote.refs.get(&update.name).copied();
                if actual == update.new {
                    return match kernel.is_broken(Broken::UpToDateAccepted) {
                        true => PushOutcome::Accepted,
                        false if update.new.is_none() || actual != update.expected => {
                            PushOutcome::Refused("stale info".to_owned())
                        }
                        false => PushOutcome::Unknown("up to date".to_owned()),
                    };
                }
                if update.new.is_none() && kernel.is_broken(Broken::DeletionIgnored) {
                    return PushOutcome::Accepted;
                }
                match kernel.swap_remote(&update.name, update.expected, update.new) {
                    true => PushOutcome::Accepted,
                    false if kernel.is_broken(Broken::RefusalIgnored) => PushOutcome::Accepted,
                    false => PushOutcome::Refused("stale info".to_owned()),
                }
            })
            .collect()
    }
}

/// How long git waits for the lock of a ref.
const LOCK_PATIENCE: Micros = SECOND;

/// What no name of a ref has.
const FORBIDDEN: [char; 4] = [':', ' ', '~', '^'];

/// What the host hands out of what is wanted, by local ref: the objects, or, where it is one that hands out only what
/// its refs hold and one of them has moved, what they hold now.
fn handed_out<'w>(kernel: &mut Kernel, wanted: &'w [Wanted]) -> Result<Vec<(&'w str, Oid)>, RemoteError> {
    let missing = |message: String| RemoteError { kind: RemoteFailure::MissingObject, message };
    let held = |kernel: &Kernel, one: &Wanted| kernel.remote.refs.get(&one.name).copied();
    let moved = wanted.iter().any(|one| held(kernel, one) != Some(one.oid));
    if moved {
        let by_name = kernel.by_name;
        kernel.probes.hit(if by_name {
            "a fetch by name came too late"
        } else {
            "a fetch brought what had moved"
        });
    }
    let object = |one: &'w Wanted| {
        let oid = if moved && kernel.by_name { held(kernel, one) } else { Some(one.oid) };
        let there = oid.filter(|oid| kernel.remote.has(*oid) && !one.name.contains(FORBIDDEN));
        there
            .map(|oid| (one.local.as_str(), oid))
            .ok_or_else(|| missing(format!("couldn't find {}", one.name)))
    };
    wanted.iter().map(object).collect()
}

/// What a pusher makes of no answer.
fn silence(kernel: &Kernel, count: usize) -> Vec<PushOutcome> {
    let sure = kernel.is_broken(Broken::LostAnswerIsSuccess);
    let answer = if sure { PushOutcome::Accepted } else { PushOutcome::Unknown("no answer".to_owned()) };
    vec![answer; count]
}

impl Remote for Port {
    fn url(&self) -> String {
        "/simulated/remote.git".to_owned()
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        if unwinding() || self.go(limit) == Fate::Lost {
            return Err(Self::no_answer());
        }
        let listing: Vec<(String, Oid)> = {
            let kernel = self.kernel.borrow();
            let old = self.before_push.borrow_mut().take();
            let refs = old.as_ref().unwrap_or(&kernel.remote.refs);
            let hidden = kernel.is_broken(Broken::LeasesHidden);
            refs.iter()
                .filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
                .filter(|(name, _)| !(hidden && name.starts_with("refs/orch/leases/")))
                .map(|(name, oid)| (name.clone(), *oid))
                .collect()
        };
        if self.come(limit) == Fate::Lost { Err(Self::no_answer()) } else { Ok(listing) }
    }

    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        if unwinding() || self.go(limit) == Fate::Lost {
            return Err(Self::no_answer());
        }
        let locked = self.are_refs_locked();
        {
            let kernel = &mut *self.kernel.borrow_mut();
            let nothing = kernel.is_broken(Broken::FetchBringsNothing);
            let found = handed_out(kernel, wanted)?;
            let Kernel { pool, remote, machines, .. } = kernel;
            for (local, oid) in found.into_iter().filter(|_| !nothing) {
                let repo = &mut machines[self.machine].repo;
                pool.copy(remote, repo, oid);
                if !locked {
                    repo.refs.insert(local.to_owned(), oid);
                }
            }
        }
        if let Some(one) = wanted.first().filter(|_| locked) {
            // Objects come before refs.
            let message = format!("cannot lock ref '{}'", one.local);
            return Err(RemoteError { kind: RemoteFailure::Locked, message });
        }
        if self.come(limit) == Fate::Lost { Err(Self::no_answer()) } else { Ok(()) }
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.pushed(updates, false, limit)
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.pushed(updates, true, limit)
    }
}
