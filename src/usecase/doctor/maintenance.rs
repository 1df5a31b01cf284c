//! How much has gathered in the local repository since it was last packed.

use crate::usecase::error::{Error, Result};
use crate::usecase::queue::Queue;
use crate::usecase::sync;

use super::{Check, Visit};

const NAME: &str = "maintenance";

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    let pressure = |q: &Queue| q.world.objects.pressure().map_err(|e| Error::from_sync(&e.into()));
    let mut seen = pressure(q)?;
    let due = |loose, packs| loose >= sync::LOOSE_MAX || packs >= sync::PACKS_MAX;
    if due(seen.loose, seen.packs) && visit.request.repair {
        sync::tidy(q)?;
        seen = pressure(q)?;
        visit.repaired("the local repository was packed");
    }
    let check = Check::fine(NAME, format!("about {} loose objects, {} packs", seen.loose, seen.packs));
    visit.add(if due(seen.loose, seen.packs) {
        check.hint("`orch sync` packs the repository when nobody else is at it")
    } else {
        check
    });
    Ok(())
}
