//! The local repository: whether it opens and holds all that its refs need. What cannot be completed is moved
//! aside inside `.git/` and made anew; nothing that only this machine has lives in it.

use std::path::PathBuf;
use std::time::Duration;

use crate::store::atomic;
use crate::store::settings::Settings;
use crate::sync::chain;
use crate::world::FileKind;

use super::{Check, Patient, Visit};

const NAME: &str = "repository";
const LOCK_WAIT: Duration = Duration::from_secs(10);

pub(super) fn check(patient: &dyn Patient, settings: &Settings, visit: &mut Visit) {
    let mut problems = examine(patient);
    if !problems.is_empty() && visit.request.repair {
        match mend(patient, settings) {
            Ok(what) => {
                visit.repaired(what);
                problems = examine(patient);
            }
            Err(error) => problems.push(format!("it could not be mended: {error}")),
        }
    }
    let check = Check::list(NAME, "the local repository is whole", problems);
    visit.add(check.hint_if_wrong(
        "nothing is lost: `orch doctor --repair` moves the damaged parts aside and fetches them again; task files \
         stay as they are",
    ));
}

fn examine(patient: &dyn Patient) -> Vec<String> {
    let mut problems: Vec<String> =
        empty_objects(patient).iter().map(|path| format!("{} is empty", path.display())).collect();
    match patient.repository() {
        Err(error) => problems.push(error),
        Ok(objects) => match chain::damage(&*objects) {
            Ok(found) => problems.extend(found),
            Err(error) => problems.push(error.to_string()),
        },
    }
    problems
}

/// Loose objects of no length: what a power failure leaves of a file that was never synced.
fn empty_objects(patient: &dyn Patient) -> Vec<PathBuf> {
    let (disk, objects) = (patient.disk(), patient.layout().git().join("objects"));
    let mut found = Vec::new();
    for (name, _) in disk
        .list(&objects)
        .unwrap_or_default()
        .iter()
        .filter(|(name, kind)| *kind == FileKind::Dir && name.len() == 2)
    {
        let dir = objects.join(name);
        let names = disk.list(&dir).unwrap_or_default();
        let names: Vec<&str> =
            names.iter().filter(|(name, _)| name.len() == 38).map(|(name, _)| name.as_str()).collect();
        let stats = disk.stat_many(&dir, &names).unwrap_or_default();
        let empty = names.iter().zip(stats).filter(|(_, stat)| stat.is_some_and(|stat| stat.size == 0));
        found.extend(empty.map(|(name, _)| dir.join(name)));
    }
    found
}

/// Empty objects hold nothing that could be kept; if they were all that was wrong, that is enough.
fn mend(patient: &dyn Patient, settings: &Settings) -> Result<String, String> {
    let locks = ["sync", "commit"].map(|name| patient.layout().named_lock(name));
    let mut held = Vec::new();
    for path in &locks {
        let guard = patient.disk().lock(path, LOCK_WAIT).map_err(|e| e.to_string())?;
        held.push(guard.ok_or("another command is at work in it; run `orch doctor --repair` again")?);
    }
    let empty = empty_objects(patient);
    for path in &empty {
        patient.disk().remove(path).map_err(|e| e.to_string())?;
    }
    if examine(patient).is_empty() {
        return Ok(format!("{} empty objects that nothing needed were removed", empty.len()));
    }
    let aside = format!("damaged-{}", patient.clock().wall_ms());
    if patient.repository().is_err() {
        reopen(patient, settings, &aside)?;
        if examine(patient).is_empty() {
            return Ok(format!(
                "HEAD and config of the local repository were written anew, see .git/{aside}-*"
            ));
        }
    }
    move_aside(patient, settings, &aside)?;
    patient.create_repository(settings)?;
    Ok(format!("the local repository was made anew; what it held is kept as .git/{aside}-*"))
}

/// A repository that does not open may lack no more than its HEAD or config, which hold nothing of ours. If it
/// does not open after that either, something else is wrong, and nothing more is touched.
fn reopen(patient: &dyn Patient, settings: &Settings, aside: &str) -> Result<(), String> {
    rename_all(patient, &["HEAD", "config"], aside)?;
    patient.create_repository(settings)?;
    patient.repository().map(drop)
}

/// Moves refs before objects: a stop in between leaves no ref that points nowhere. The alarm is raised first; as long
/// as it stands, the files are published before anything is taken from the remote.
fn move_aside(patient: &dyn Patient, settings: &Settings, aside: &str) -> Result<(), String> {
    let (disk, layout) = (patient.disk(), patient.layout());
    if settings.remote.is_some() {
        let text = "the local repository was damaged and was made anew; `orch doctor --repair` compares this machine's \
                    files with the remote and publishes what is missing there";
        atomic::write(disk, &layout.alarm(), text.as_bytes()).map_err(|e| e.to_string())?;
    }
    rename_all(patient, &["refs", "packed-refs", "objects"], aside)
}

fn rename_all(patient: &dyn Patient, parts: &[&str], aside: &str) -> Result<(), String> {
    let (disk, git) = (patient.disk(), patient.layout().git());
    for part in parts {
        let from = git.join(part);
        if disk.stat(&from).map_err(|e| e.to_string())?.is_some() {
            disk.rename(&from, &git.join(format!("{aside}-{part}"))).map_err(|e| e.to_string())?;
        }
    }
    disk.sync_dir(&git).map_err(|e| e.to_string())
}
