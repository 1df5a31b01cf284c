//! The real machine as `orch doctor` sees it: its parts, before they make a queue.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Options, enclosing_repository, open, origin, outside, settings};
use crate::store::layout::Layout;
use crate::store::settings::Settings;
use crate::sync::git::GitObjects;
use crate::usecase::doctor::{CodeRepository, Patient, Report, Request, examine};
use crate::usecase::error::Result;
use crate::usecase::queue::Queue;
use crate::world::clock::RealClock;
use crate::world::disk::RealDisk;
use crate::world::git_command::{Git, transport};
use crate::world::inspect::{self, FileSystem, Permissions};
use crate::world::{Clock, Disk, Objects};

const GIT_LIMIT: Duration = Duration::from_secs(10);
/// Copying the objects of a large queue takes seconds.
const COPY_LIMIT: Duration = Duration::from_secs(300);
/// The refs under which this machine remembers what the remote held.
const LENT: &str = "refs/orch/remote";

/// Checks the machine around a state directory, and mends it on request.
///
/// # Errors
/// Not found (3) where no queue is. What is wrong stands in the report.
pub fn doctor(options: &Options, repair: bool) -> Result<Report> {
    let machine = RealPatient { options: options.clone(), layout: Layout::new(&options.state) };
    examine(&machine, Request { repair, no_sync: options.no_sync })
}

struct RealPatient {
    options: Options,
    layout: Layout,
}

impl Patient for RealPatient {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn disk(&self) -> &dyn Disk {
        &RealDisk
    }

    fn clock(&self) -> &dyn Clock {
        &RealClock
    }

    fn file_system(&self) -> std::result::Result<FileSystem, String> {
        inspect::file_system(&self.layout.own()).map_err(|e| e.to_string())
    }

    fn permissions(&self, path: &Path) -> std::result::Result<Permissions, String> {
        inspect::permissions(path).map_err(|e| e.to_string())
    }

    fn git_version(&self) -> std::result::Result<String, String> {
        Git::default().version(GIT_LIMIT).map(|version| version.to_string()).map_err(|e| e.message)
    }

    fn at_work(&self, file: &Path) -> Option<Vec<u32>> {
        inspect::at_work(&self.layout.git(), file)
    }

    fn settings(&self) -> Result<Settings> {
        Ok(settings(&RealDisk, &self.layout)?.settings)
    }

    fn repository(&self) -> std::result::Result<Box<dyn Objects>, String> {
        let git_dir = self.layout.git();
        match GitObjects::open(&git_dir, outside(&git_dir)) {
            Ok(objects) => Ok(Box::new(objects)),
            Err(error) => Err(error.to_string()),
        }
    }

    fn create_repository(&self, settings: &Settings) -> std::result::Result<(), String> {
        let git_dir = self.layout.git();
        let head = format!("refs/heads/{}", settings.branch);
        GitObjects::init(&git_dir, &head, outside(&git_dir)).map(drop).map_err(|e| e.to_string())
    }

    fn open(&self) -> Result<Queue> {
        open(&self.options)
    }

    fn remote_path(&self, settings: &Settings) -> Option<PathBuf> {
        let url = settings.remote.as_deref()?;
        let path = url.strip_prefix("file://").unwrap_or(url);
        (transport::is_path(url) || path != url).then(|| PathBuf::from(path))
    }

    fn lend_objects(&self, remote: &Path) -> std::result::Result<(), String> {
        let inside = remote.join(".git");
        let to = if crate::world::env::exists(&inside) { inside } else { remote.to_owned() };
        let file = self.layout.own().join("lent.bundle");
        let done = Git::default().copy_objects(&self.layout.git(), LENT, &to, &file, COPY_LIMIT);
        // Where git failed early it is not there; where it stays it is in nobody's way.
        drop(RealDisk.remove(&file));
        done.map_err(|error| error.message)
    }

    fn code_repository(&self, settings: &Settings) -> Option<CodeRepository> {
        let root = enclosing_repository(self.layout.state())?;
        Some(CodeRepository {
            excluded: Git::default().ignores(&root, self.layout.state()),
            shares_remote: settings.remote.is_some() && origin(&root) == settings.remote,
            fetches: Git::default().config_all(&root, "remote.origin.fetch"),
            root,
        })
    }

    fn exclude(&self, code: &CodeRepository) -> std::result::Result<(), String> {
        super::exclude(&RealDisk, &code.root, &self.layout).map_err(|e| e.message)
    }
}
