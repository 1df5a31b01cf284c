//! The graph of needs: no cycle is let in, and one that arrived by merge disables only its members.

use std::collections::{BTreeMap, BTreeSet};

use super::id::TaskId;

/// Needs by task.
pub type Edges = BTreeMap<TaskId, Vec<TaskId>>;

/// The cycle that would close if `task` needed `needs`, as a path from `task` back to itself.
#[must_use]
pub fn cycle_through(task: &TaskId, needs: &[TaskId], edges: &Edges) -> Option<Vec<TaskId>> {
    let mut seen = BTreeSet::new();
    let mut path = vec![task.clone()];
    needs.iter().any(|need| reaches(need, task, edges, &mut seen, &mut path)).then_some(path)
}

/// Depth-first search with an explicit bound on work: each task is opened once.
fn reaches(
    from: &TaskId,
    target: &TaskId,
    edges: &Edges,
    seen: &mut BTreeSet<TaskId>,
    path: &mut Vec<TaskId>,
) -> bool {
    // An explicit stack instead of recursion: a chain of 100,000 needs must not overflow the stack.
    let mut stack: Vec<(TaskId, usize)> = vec![(from.clone(), 0)];
    let start = path.len();
    path.push(from.clone());
    if from == target {
        return true;
    }
    if !seen.insert(from.clone()) {
        path.truncate(start);
        return false;
    }
    while let Some((node, at)) = stack.last_mut() {
        let next = edges.get(node).and_then(|needs| needs.get(*at)).cloned();
        *at += 1;
        match next {
            None => {
                stack.pop();
                path.truncate(start + stack.len());
            }
            Some(need) if need == *target => {
                path.push(need);
                return true;
            }
            Some(need) if seen.insert(need.clone()) => {
                path.push(need.clone());
                stack.push((need, 0));
            }
            Some(_) => {}
        }
    }
    false
}

/// The text of a cycle: `A -> B -> A`.
#[must_use]
pub fn show_cycle(path: &[TaskId]) -> String {
    path.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).expect("test ids are valid")
    }

    fn edges(pairs: &[(&str, &[&str])]) -> Edges {
        pairs.iter().map(|(from, to)| (id(from), to.iter().map(|t| id(t)).collect())).collect()
    }

    #[test]
    fn a_cycle_is_found_and_named_as_a_path() {
        let graph = edges(&[("B", &["C", "D"]), ("D", &["E"]), ("E", &["A"])]);
        let cycle = cycle_through(&id("A"), &[id("B")], &graph).expect("A needs B needs D needs E needs A");
        assert_eq!(show_cycle(&cycle), "A -> B -> D -> E -> A");
    }

    #[test]
    fn diamonds_and_long_chains_are_no_cycles() {
        let graph = edges(&[("B", &["D"]), ("C", &["D"])]);
        assert_eq!(cycle_through(&id("A"), &[id("B"), id("C")], &graph), None);
        let chain: Edges =
            (0..100_000).map(|n| (id(&format!("t{n}")), vec![id(&format!("t{}", n + 1))])).collect();
        assert_eq!(cycle_through(&id("x"), &[id("t0")], &chain), None);
        assert!(cycle_through(&id("t99999"), &[id("t0")], &chain).is_some());
    }
}
