//! The promises of SPEC §14 over a history, by rules of its own: nothing here calls `next`.

use std::collections::BTreeSet;

use orch::protocol::invariant::{self, Violation};
use orch::protocol::op::{Action, Op};
use orch::protocol::task::Task;

/// The first promise that a file breaks by itself.
pub(super) fn of_file(task: &Task) -> Option<Violation> {
    chain(task.history()).or_else(|| invariant::check(task).into_iter().next())
}

/// Walks a history and follows who holds the task. Promises 1 (one holder per epoch, epochs grow), 3 (no act
/// of an old epoch) and 5 (one end per epoch, nothing after `done`).
fn chain(history: &[Op]) -> Option<Violation> {
    let broken = |promise, what: String| Some(Violation { promise, what });
    let mut holder: Option<(&str, u64)> = None;
    let (mut epoch, mut done) = (0, false);
    let mut seen = BTreeSet::new();
    for op in history {
        let verb = op.action.verb();
        if !seen.insert(op.id) {
            return broken(6, format!("`{verb}` of {} stands twice in the history", op.by));
        }
        if done && op.action.based_on().is_some() {
            return broken(5, format!("`{verb}` of {} stands after `done`", op.by));
        }
        match &op.action {
            Action::Claim { epoch: new, .. } => {
                if *new <= epoch {
                    return broken(1, format!("{} claimed epoch {new} after epoch {epoch}", op.by));
                }
                epoch = *new;
                holder = Some((&op.by, epoch));
            }
            action if action.is_holders() => {
                let named = action.based_on().unwrap_or_default();
                if holder != Some((&op.by, named)) {
                    return broken(
                        if named == epoch { 5 } else { 3 },
                        format!("`{verb}` of {} in epoch {named}, which it does not hold", op.by),
                    );
                }
                done = matches!(action, Action::Done { .. });
                if !matches!(action, Action::Checkpoint { .. }) {
                    holder = None;
                }
            }
            Action::Recover { epoch: named, .. } => {
                if holder.is_none_or(|(_, held)| held != *named) {
                    return broken(5, format!("epoch {named} was recovered and nobody held it"));
                }
                holder = None;
            }
            Action::Cancel { .. } | Action::Replan { .. } | Action::Block { .. } | Action::Review { .. } => {
                holder = None;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orch::protocol::id::OpId;
    use orch::protocol::op::Role;
    use orch::protocol::time::Timestamp;

    use super::*;

    fn op(n: u8, by: &str, action: Action) -> Op {
        let (by, machine) = (by.to_owned(), by.to_owned());
        Op { id: OpId::new(1, [n; 10]), at: Timestamp(0), by, machine, role: Role::Author, action }
    }

    fn claim(base: u64, epoch: u64) -> Action {
        Action::Claim { base, epoch, ttl: Duration::from_secs(9), process: None, over: None }
    }

    fn done(epoch: u64) -> Action {
        Action::Done { epoch, notes: "n".to_owned(), artifacts: Vec::new(), bundle: None }
    }

    fn release(epoch: u64) -> Action {
        Action::Release { epoch, reason: None, notes: None }
    }

    /// The rules must not follow from `next`, so they are tried on histories that `next` would refuse.
    #[test]
    fn each_rule_sees_what_it_is_there_for() {
        let promise = |ops: &[(u8, &str, Action)]| {
            let history: Vec<Op> = ops.iter().map(|(n, by, action)| op(*n, by, action.clone())).collect();
            chain(&history).map(|violation| violation.promise)
        };
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (2, "a", done(1))]), None);
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (2, "b", claim(1, 2)), (3, "b", done(2))]), None);
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (2, "b", claim(0, 1))]), Some(1));
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (2, "b", claim(1, 2)), (3, "a", done(1))]), Some(3));
        let twice = [(1, "a", claim(0, 1)), (2, "a", release(1)), (3, "a", release(1))];
        assert_eq!(promise(&twice), Some(5));
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (2, "a", done(1)), (3, "b", claim(1, 2))]), Some(5));
        assert_eq!(promise(&[(1, "a", claim(0, 1)), (1, "a", claim(0, 1))]), Some(6));
    }
}
