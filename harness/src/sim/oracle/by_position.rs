//! Acts of holders by their place in the history alone.

use orch::protocol::op::Action;
use orch::protocol::task::{Status, Task};

/// What is wrong with the acts of holders in a history: each names the epoch of the last claim before it, and was
/// made by whoever made that claim. Written without the transition function, which it judges.
pub fn check(task: &Task) -> Vec<String> {
    let mut found = Vec::new();
    let mut holder: Option<(u64, &str, &str)> = None;
    let mut done = false;
    for op in task.history() {
        if done && !matches!(op.action, Action::Note { .. }) {
            found.push(format!("{} {} comes after done", op.action.verb(), op.id));
        }
        match &op.action {
            Action::Claim { epoch, .. } => {
                if holder.is_some_and(|(before, _, _)| before >= *epoch) {
                    found.push(format!("claim {} does not raise the epoch", op.id));
                }
                holder = Some((*epoch, &op.by, &op.machine));
            }
            Action::Checkpoint { epoch, .. }
            | Action::Done { epoch, .. }
            | Action::Fail { epoch, .. }
            | Action::Release { epoch, .. } => {
                if holder != Some((*epoch, op.by.as_str(), op.machine.as_str())) {
                    found.push(format!("{} {} is not by the holder {holder:?}", op.action.verb(), op.id));
                }
                done |= matches!(op.action, Action::Done { .. }) && task.status() == Status::Done;
            }
            _ => {}
        }
    }
    found
}
