//! The story of a task: one chapter per claim, with how it ended.

use super::cast::Stage;
use super::view::bundles;
use crate::protocol::op::{Action, Op};
use crate::protocol::task::{Status, Task};
use crate::protocol::transition::status_word;
use crate::store::wire::Word;

/// One claim of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    /// Fencing token.
    pub epoch: u64,
    /// Who claimed it.
    pub session: String,
    /// On which machine.
    pub machine: String,
    /// When, milliseconds since 1970.
    pub from_ms: i64,
    /// When it ended, if it did.
    pub to_ms: Option<i64>,
    /// How it ended.
    pub ended: String,
}

/// A task and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The task.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// Its claims, oldest first.
    pub chapters: Vec<Chapter>,
    /// Directories with evidence, on whichever machine they lie.
    pub bundles: Vec<String>,
}

impl Story {
    /// The status in the words of the command line.
    #[must_use]
    pub fn status_word(&self) -> &'static str {
        status_word(self.status)
    }
}

/// The story of one task.
#[must_use]
pub fn story(task: &Task, stage: &Stage) -> Story {
    let mut chapters: Vec<Chapter> = Vec::new();
    for op in task.history() {
        if let (Some(last), Some(how)) = (chapters.last_mut(), ending(op, stage))
            && last.to_ms.is_none()
        {
            (last.to_ms, last.ended) = (Some(op.at.0), how);
        }
        if let Action::Claim { epoch, .. } = op.action {
            chapters.push(Chapter {
                epoch,
                session: op.by.clone(),
                machine: stage.name_of(&op.machine),
                from_ms: op.at.0,
                to_ms: None,
                ended: "goes on".to_owned(),
            });
        }
    }
    let of_machine = |which| bundles(stage.machine(which)).into_iter();
    let all = (0..stage.machines.len()).flat_map(of_machine);
    let own = all.filter(|(id, _)| id == task.id().as_str());
    Story {
        id: task.id().to_string(),
        title: task.def().title.clone(),
        status: task.status(),
        chapters,
        bundles: own.map(|(_, dir)| dir.display().to_string()).collect(),
    }
}

/// How an operation ends a claim, if it does.
fn ending(op: &Op, stage: &Stage) -> Option<String> {
    Some(match &op.action {
        Action::Done { .. } => "done".to_owned(),
        Action::Fail { reason, .. } => format!("failed: {}", reason.word()),
        Action::Release { .. } => "given back".to_owned(),
        Action::Block { .. } => "blocked".to_owned(),
        Action::Cancel { .. } => "cancelled".to_owned(),
        Action::Recover { .. } => format!("lease lapsed; recovered by {}", stage.name_of(&op.machine)),
        Action::Claim { over: Some(_), .. } => {
            format!("lease lapsed; taken over by {}", stage.name_of(&op.machine))
        }
        _ => return None,
    })
}
