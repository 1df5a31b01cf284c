//! Cycles of needs against a naive search.

use std::collections::BTreeSet;

use super::*;
use crate::protocol::dag::{Edges, cycle_through, show_cycle};
use proptest::prelude::*;

/// Whether `target` can be reached, by flooding.
fn floods(from: &[TaskId], target: &TaskId, edges: &Edges) -> bool {
    let mut open: Vec<TaskId> = from.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(node) = open.pop() {
        if &node == target {
            return true;
        }
        if seen.insert(node.clone()) {
            open.extend(edges.get(&node).into_iter().flatten().cloned());
        }
    }
    false
}

fn name(n: u8) -> TaskId {
    id(&format!("t{n}"))
}

proptest! {
    #[test]
    fn a_cycle_is_reported_exactly_when_there_is_one_and_is_a_real_path(
        pairs in proptest::collection::vec((0u8..8, 0u8..8), 0..24),
        needs in proptest::collection::vec(0u8..8, 0..4),
        task in 0u8..8,
    ) {
        let mut edges = Edges::new();
        for (from, to) in pairs {
            edges.entry(name(from)).or_default().push(name(to));
        }
        let needs: Vec<_> = needs.into_iter().map(name).collect();
        let task = name(task);
        let found = cycle_through(&task, &needs, &edges);
        prop_assert_eq!(found.is_some(), floods(&needs, &task, &edges));
        if let Some(path) = found {
            prop_assert_eq!((path.first(), path.last()), (Some(&task), Some(&task)));
            prop_assert!(path.len() >= 2 && needs.contains(&path[1]), "{}", show_cycle(&path));
            for step in path[1..].windows(2) {
                prop_assert!(edges[&step[0]].contains(&step[1]), "no edge in {}", show_cycle(&path));
            }
        }
    }
}

#[test]
fn a_task_that_needs_itself_is_the_shortest_cycle() {
    let path = cycle_through(&id("A"), &[id("A")], &Edges::new()).expect("A needs A");
    assert_eq!(show_cycle(&path), "A -> A");
}
