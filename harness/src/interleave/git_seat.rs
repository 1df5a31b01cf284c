//! The git side of a process: local refs and objects, and the remote.

use std::time::Duration;

use orch::world::{
    CommitInfo, NewCommit, Objects, ObjectsError, Oid, Pressure, PushOutcome, RefUpdate, Remote, RemoteError,
    RemoteFailure, TreeChange, TreeEntry, Wanted,
};

use super::points::{Access, Thing};
use super::seat::Seam;
use crate::sim::faults::Broken;
use crate::sim::kernel::Kernel;

impl Objects for Seam {
    fn blob(&self, oid: Oid) -> Result<Vec<u8>, ObjectsError> {
        self.0.alone();
        self.0.port.blob(oid)
    }

    fn hash_blob(&self, bytes: &[u8]) -> Oid {
        self.0.port.hash_blob(bytes)
    }

    fn entry(&self, commit: Oid, path: &str) -> Result<Option<TreeEntry>, ObjectsError> {
        self.0.alone();
        self.0.port.entry(commit, path)
    }

    fn list(&self, commit: Oid, path: &str) -> Result<Vec<(String, TreeEntry)>, ObjectsError> {
        self.0.alone();
        Objects::list(&self.0.port, commit, path)
    }

    fn diff(&self, old: Option<Oid>, new: Option<Oid>) -> Result<Vec<TreeChange>, ObjectsError> {
        self.0.alone();
        self.0.port.diff(old, new)
    }

    fn commit(&self, commit: &NewCommit<'_>) -> Result<Oid, ObjectsError> {
        self.0.alone();
        self.0.port.commit(commit)
    }

    fn commit_info(&self, commit: Oid) -> Result<CommitInfo, ObjectsError> {
        self.0.alone();
        self.0.port.commit_info(commit)
    }

    fn has(&self, oid: Oid) -> bool {
        self.0.reads("has", Thing::Brought(self.0.machine));
        self.0.port.has(oid)
    }

    fn is_ancestor(&self, ancestor: Oid, tip: Oid) -> Result<bool, ObjectsError> {
        self.0.alone();
        self.0.port.is_ancestor(ancestor, tip)
    }

    fn refs(&self, prefix: &str) -> Result<Vec<(String, Oid)>, ObjectsError> {
        self.0.reads("list refs", Thing::Refs(self.0.machine));
        Objects::refs(&self.0.port, prefix)
    }

    fn get_ref(&self, name: &str) -> Result<Option<Oid>, ObjectsError> {
        self.0.reads("read a ref", self.0.own_ref(name));
        self.0.port.get_ref(name)
    }

    fn swap_ref(&self, name: &str, old: Option<Oid>, new: Option<Oid>) -> Result<(), ObjectsError> {
        self.0.call();
        let all = Thing::Refs(self.0.machine);
        self.0.step("swap a ref", &[(self.0.own_ref(name), Access::Write), (all, Access::Change(0))]);
        self.0.port.swap_ref(name, old, new)
    }

    fn pressure(&self) -> Result<Pressure, ObjectsError> {
        self.0.alone();
        self.0.port.pressure()
    }

    fn maintain(&self) -> Result<(), ObjectsError> {
        self.0.call();
        self.0.step("collect", &[(Thing::Brought(self.0.machine), Access::Write)]);
        self.0.port.maintain()
    }
}

impl Remote for Seam {
    fn url(&self) -> String {
        self.0.port.url()
    }

    fn refs(&self, prefixes: &[&str], limit: Duration) -> Result<Vec<(String, Oid)>, RemoteError> {
        self.0.asks("list the remote", Access::Read, || Remote::refs(&self.0.port, prefixes, limit))
    }

    /// As a host does it that hands out only what its refs hold: the other kind gives no more to go wrong.
    fn fetch(&self, wanted: &[Wanted], limit: Duration) -> Result<(), RemoteError> {
        // In two steps, between which the remote and the local refs may move.
        let found = self.0.asks("fetch", Access::Read, || {
            let names: Vec<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
            Remote::refs(&self.0.port, &names, limit)
        })?;
        if self.0.is_broken(Broken::FetchBringsNothing) {
            return Ok(());
        }
        let mut brought = Vec::new();
        for Wanted { name, local, .. } in wanted {
            let Some((_, oid)) = found.iter().find(|(other, _)| other == name) else {
                let message = format!("couldn't find remote ref {name}");
                return Err(RemoteError { kind: RemoteFailure::MissingObject, message });
            };
            brought.push((local, *oid));
        }
        let machine = self.0.machine;
        let mut touched =
            vec![(Thing::Refs(machine), Access::Change(0)), (Thing::Brought(machine), Access::Change(0))];
        touched.extend(brought.iter().map(|(local, _)| (self.0.own_ref(local), Access::Write)));
        self.0.call();
        self.0.step("bring", &touched);
        let Kernel { pool, remote, machines, .. } = &mut *self.0.kernel.borrow_mut();
        for (local, oid) in brought {
            let repo = &mut machines[self.0.machine].repo;
            pool.copy(remote, repo, oid);
            repo.refs.insert(local.clone(), oid);
        }
        Ok(())
    }

    fn push(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.0.asks("push", Access::Write, || self.0.port.push(updates, limit))
    }

    fn push_atomic(&self, updates: &[RefUpdate], limit: Duration) -> Vec<PushOutcome> {
        self.0.asks("push", Access::Write, || self.0.port.push_atomic(updates, limit))
    }
}
