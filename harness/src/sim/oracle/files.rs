//! Where there is no remote: the register of a task is its file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orch::protocol::task::Status;
use orch::store::codec;
use orch::store::seal::Seal;

use super::{Oracle, id_of};
use crate::sim::disk_image::Bytes;
use crate::sim::kernel::{Kernel, Micros, Written};

impl Oracle {
    /// Without a remote the register of a task is its file.
    pub(super) fn file_written(&mut self, kernel: &Kernel, file: &Written) {
        let Written { at, path, bytes, awake } = file;
        let (at, Some(id)) = (*at, id_of(path)) else { return };
        let task = match codec::decode(bytes) {
            Ok(decoded) => decoded.task,
            Err(problem) => {
                return self.broken(8, at, format!("{}: {}", path.display(), problem.message));
            }
        };
        let before = self.branch.get(&id).cloned();
        self.grew(at, before.as_ref(), &task);
        self.not_too_early(kernel, at, awake, before.as_ref(), &task);
        self.note_renewal(at, awake, &task);
        if task.status() == Status::Done {
            self.finished.insert(id.clone());
        }
        self.branch.insert(id, task);
    }

    /// Looks at the files of a machine without a remote after its power failed, or at the end: each is whole, and holds
    /// what was acknowledged.
    pub fn reread(&mut self, at: Micros, files: &BTreeMap<PathBuf, Bytes>) {
        let mut found = BTreeMap::new();
        for (path, bytes) in files {
            let Some(id) = id_of(path) else { continue };
            match codec::decode(bytes) {
                Ok(decoded) if decoded.seal == Seal::Valid => {
                    found.insert(id, decoded.task);
                }
                Ok(_) => self.broken(8, at, format!("{}: its seal does not fit", path.display())),
                Err(problem) => self.broken(8, at, format!("{}: {}", path.display(), problem.message)),
            }
        }
        self.branch = found;
        let lost = self.told.iter().find(|told| told.verb != "heartbeat" && !self.shows(&told.task, told));
        if let Some(text) = lost.map(|told| format!("{}: {} by {} is gone", told.task, told.verb, told.by)) {
            self.broken(4, at, text);
        }
    }
}
