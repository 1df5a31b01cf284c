//! The files that say how tasks are run: a worker that cannot read them claims nothing, and says so only where
//! it runs.

use crate::store::layout::SharedFile;
use crate::usecase::queue::Queue;
use crate::usecase::{run, shared_files};

use super::{Check, Visit};

pub(super) fn check(q: &Queue, visit: &mut Visit) {
    let hint = "mend the file in an editor; workers run nothing until then";
    let problems = run::policies(q).into_iter().filter_map(|read| Some(read.err()?.message)).collect();
    let policy = Check::list("policy", "the policy can be read", problems);
    visit.add(policy.hint_if_wrong(hint));
    visit.add(match run::agent_types(q) {
        Ok(types) => Check::fine("agents", format!("agents.yaml has {} agent types", types.len())),
        Err(error) => Check::wrong("agents", error.message).hint(hint),
    });
    // Nothing reads the workflow yet; that it is not published is worth a word.
    for trouble in q.unusable.iter().filter(|t| t.file.as_deref() == Some(SharedFile::Workflow.name())) {
        visit.add(
            Check::wrong("workflow", shared_files::place(q, trouble)).hint("mend the file in an editor"),
        );
    }
}
