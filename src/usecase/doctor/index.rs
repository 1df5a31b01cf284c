//! The index: derived, so whatever is wrong with it is mended by making it anew.

use crate::usecase::error::Result;
use crate::usecase::notice;
use crate::usecase::queue::Queue;

use super::{Check, Visit};

const NAME: &str = "index";

pub(super) fn check(q: &mut Queue, visit: &mut Visit) -> Result<()> {
    let Err(error) = q.store.counts() else {
        visit.add(Check::fine(NAME, "the index answers"));
        return Ok(());
    };
    // The store has made a damaged index anew by now; looking at every file fills it.
    notice::look_at_all(q)?;
    let check = match q.store.counts() {
        Ok(_) => {
            visit.repaired("the index was made anew from the files");
            Check::fine(NAME, "the index was damaged and has been made anew from the files")
        }
        Err(_) => Check::wrong(NAME, error.to_string())
            .hint("see that the disk has room and that `.git/orch/` in the state directory can be written"),
    };
    visit.add(check);
    Ok(())
}
