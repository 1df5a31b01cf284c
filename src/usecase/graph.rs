//! The graph of needs as a whole, with its cycles, and as text for Graphviz and Mermaid.

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::dag::{Edges, cycle_through};
use crate::protocol::id::TaskId;
use crate::protocol::task::{Priority, Status};
use crate::protocol::transition::status_word;
use crate::store::place::Place;

use super::error::{Error, Result};
use super::queue::Queue;

/// A task as a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The task.
    pub id: TaskId,
    /// One line; empty for a task that is not known here.
    pub title: String,
    /// Where it stands; `None` for a need that is not known here.
    pub status: Option<Status>,
    /// Its class as written.
    pub priority: Priority,
}

/// The graph of needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// Every task, and every need that is not known here, by id.
    pub nodes: Vec<Node>,
    /// A task and one that it needs.
    pub edges: Vec<(TaskId, TaskId)>,
    /// One way around for each knot of tasks that need each other; none of them can ever be ready.
    pub cycles: Vec<Vec<TaskId>>,
}

/// The graph of all tasks, or of what is connected to one. Of the archive only what others need is in the graph of
/// all.
///
/// # Errors
/// Not found (3) for a task that is not known; the index cannot be read.
pub fn graph(q: &mut Queue, around: Option<&TaskId>) -> Result<Graph> {
    let mut nodes: BTreeMap<TaskId, Node> = BTreeMap::new();
    let mut edges = Edges::new();
    let mut archived = BTreeSet::new();
    for brief in q.store.briefs().map_err(|e| Error::from_store(&e))? {
        let hidden = around.is_none() && brief.place != Place::Tasks;
        if hidden {
            archived.insert(brief.id.clone());
        } else if !brief.needs.is_empty() {
            edges.insert(brief.id.clone(), brief.needs.clone());
        }
        let node =
            Node { id: brief.id.clone(), title: brief.title, status: brief.status, priority: brief.priority };
        nodes.insert(brief.id, node);
    }
    for need in edges.values().flatten() {
        nodes.entry(need.clone()).or_insert_with(|| Node {
            id: need.clone(),
            title: String::new(),
            status: None,
            priority: Priority::default(),
        });
    }
    let needed: BTreeSet<&TaskId> = edges.values().flatten().collect();
    nodes.retain(|id, _| needed.contains(id) || !archived.contains(id));
    if let Some(id) = around {
        if !nodes.contains_key(id) {
            return Err(Error::no_task(id));
        }
        let near = connected(id, &edges);
        nodes.retain(|id, _| near.contains(id));
        edges.retain(|id, _| near.contains(id));
        for needs in edges.values_mut() {
            needs.retain(|need| near.contains(need));
        }
    }
    let cycles = cycles(&edges);
    let pairs = edges.iter().flat_map(|(task, needs)| needs.iter().map(|need| (task.clone(), need.clone())));
    Ok(Graph { nodes: nodes.into_values().collect(), edges: pairs.collect(), cycles })
}

/// Everything that a task needs, and everything that needs it, directly or not.
fn connected(id: &TaskId, edges: &Edges) -> BTreeSet<TaskId> {
    let mut back = Edges::new();
    for (task, needs) in edges {
        for need in needs {
            back.entry(need.clone()).or_default().push(task.clone());
        }
    }
    let mut near = reach(id, edges);
    near.extend(reach(id, &back));
    near
}

fn reach(from: &TaskId, edges: &Edges) -> BTreeSet<TaskId> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from.clone()];
    while let Some(next) = open.pop() {
        if seen.insert(next.clone()) {
            open.extend(edges.get(&next).into_iter().flatten().cloned());
        }
    }
    seen
}

/// One cycle of each knot, each beginning and ending with its first task by id.
///
/// What is in no cycle is peeled off first, from both ends: what is left is knots and ways between them.
#[must_use]
pub fn cycles(edges: &Edges) -> Vec<Vec<TaskId>> {
    let left = peel(edges);
    let mut named: BTreeSet<TaskId> = BTreeSet::new();
    let mut found = Vec::new();
    for (task, needs) in &left {
        if named.contains(task) {
            continue;
        }
        if let Some(path) = cycle_through(task, needs, &left) {
            named.extend(knot(task, &left));
            found.push(path);
        }
    }
    found
}

/// The tasks that a task reaches and that reach it.
fn knot(task: &TaskId, edges: &Edges) -> BTreeSet<TaskId> {
    let mut back = Edges::new();
    for (from, needs) in edges {
        for need in needs {
            back.entry(need.clone()).or_default().push(from.clone());
        }
    }
    reach(task, edges).intersection(&reach(task, &back)).cloned().collect()
}

/// The edges without tasks that need nothing any more, and without tasks that nothing needs, and so on.
fn peel(edges: &Edges) -> Edges {
    let forward = strip(edges);
    let mut back = Edges::new();
    for (task, needs) in &forward {
        for need in needs {
            back.entry(need.clone()).or_default().push(task.clone());
        }
    }
    let mut result = Edges::new();
    for (need, tasks) in strip(&back) {
        for task in tasks {
            result.entry(task).or_default().push(need.clone());
        }
    }
    result
}

/// The edges between tasks from which there is no way to an end.
fn strip(edges: &Edges) -> Edges {
    let mut open_needs: BTreeMap<&TaskId, usize> = BTreeMap::new();
    let mut needed_by: BTreeMap<&TaskId, Vec<&TaskId>> = BTreeMap::new();
    for (task, needs) in edges {
        open_needs.insert(task, needs.len());
        for need in needs {
            needed_by.entry(need).or_default().push(task);
        }
    }
    let mut ends: Vec<&TaskId> = needed_by.keys().filter(|id| !edges.contains_key(**id)).copied().collect();
    ends.extend(open_needs.iter().filter(|(_, count)| **count == 0).map(|(id, _)| *id));
    while let Some(end) = ends.pop() {
        for task in needed_by.get(end).into_iter().flatten() {
            if let Some(count) = open_needs.get_mut(task) {
                *count -= 1;
                if *count == 0 {
                    ends.push(task);
                }
            }
        }
    }
    let stays = |id: &TaskId| open_needs.get(id).is_some_and(|count| *count > 0);
    let kept = edges.iter().filter(|(task, _)| stays(task));
    kept.map(|(task, needs)| (task.clone(), needs.iter().filter(|n| stays(n)).cloned().collect())).collect()
}

impl Graph {
    /// The graph for Graphviz; an arrow leads from a need to the task that waits for it.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut out = String::from(
            "digraph orch {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n",
        );
        for node in &self.nodes {
            let label = format!("{}\\n{}", dot_text(node.id.as_str()), dot_text(&node.title));
            let (word, colour) = (word(node.status), colour(node.status));
            let dashed = if node.status.is_none() { ", style=\"rounded,dashed\"" } else { "" };
            out.push_str(&format!(
                "  \"{}\" [label=\"{label}\", tooltip=\"{word}\", fillcolor=\"{colour}\"{dashed}];\n",
                node.id
            ));
        }
        let knotted = self.knotted();
        for (task, need) in &self.edges {
            let red = if knotted.contains(&(need, task)) { " [color=red]" } else { "" };
            out.push_str(&format!("  \"{need}\" -> \"{task}\"{red};\n"));
        }
        out.push_str("}\n");
        out
    }

    /// The graph for Mermaid; an arrow leads from a need to the task that waits for it.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        let numbers: BTreeMap<&TaskId, usize> =
            self.nodes.iter().enumerate().map(|(at, node)| (&node.id, at)).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            let title = mermaid_text(&node.title);
            out.push_str(&format!("  n{at}[\"{}<br/>{title}\"]:::{}\n", node.id, word(node.status)));
        }
        for (task, need) in &self.edges {
            out.push_str(&format!("  n{} --> n{}\n", numbers[need], numbers[task]));
        }
        for status in Status::ALL.into_iter().map(Some).chain([None]) {
            out.push_str(&format!("  classDef {} fill:{}\n", word(status), colour(status)));
        }
        out
    }

    fn knotted(&self) -> BTreeSet<(&TaskId, &TaskId)> {
        self.cycles.iter().flat_map(|path| path.windows(2).map(|pair| (&pair[1], &pair[0]))).collect()
    }
}

fn word(status: Option<Status>) -> &'static str {
    status.map_or("unknown", status_word)
}

fn colour(status: Option<Status>) -> &'static str {
    match status {
        Some(Status::Pending) => "#e8eaed",
        Some(Status::InProgress) => "#cfe2ff",
        Some(Status::InReview) => "#e2d9f3",
        Some(Status::Done) => "#d1e7dd",
        Some(Status::Failed) => "#f8d7da",
        Some(Status::Blocked) => "#fff3cd",
        Some(Status::Cancelled) => "#d3d3d4",
        None => "#ffffff",
    }
}

fn plain(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let cut: String = line.chars().take(60).collect();
    if cut.len() < line.len() { format!("{}…", cut.trim_end()) } else { cut }
}

fn dot_text(text: &str) -> String {
    plain(text).replace('\\', "\\\\").replace('"', "\\\"")
}

fn mermaid_text(text: &str) -> String {
    let escape = |c: char| match c {
        '"' => "#quot;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        '#' => "#35;".to_owned(),
        '&' => "#amp;".to_owned(),
        '`' => "#96;".to_owned(),
        other => other.to_string(),
    };
    plain(text).chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::dag::show_cycle;
    use crate::usecase::testing::{Yard, add, finish, id};

    fn edges(pairs: &[(&str, &[&str])]) -> Edges {
        pairs.iter().map(|(from, to)| (id(from), to.iter().map(|t| id(t)).collect())).collect()
    }

    #[test]
    fn each_knot_is_named_once() {
        let graph = edges(&[
            ("A", &["B"]),
            ("B", &["C"]),
            ("C", &["A", "X"]),
            ("D", &["A", "E"]),
            ("E", &["F"]),
            ("F", &["E"]),
            ("G", &["G"]),
            ("H", &["X"]),
            ("I", &["F", "C"]),
        ]);
        let shown: Vec<String> = cycles(&graph).iter().map(|path| show_cycle(path)).collect();
        assert_eq!(shown, ["A -> B -> C -> A", "E -> F -> E", "G -> G"]);
        assert!(cycles(&edges(&[("A", &["B", "C"]), ("B", &["D"]), ("C", &["D"])])).is_empty());
    }

    #[test]
    fn a_way_between_two_knots_is_in_neither() {
        let graph = edges(&[("A", &["B"]), ("B", &["A", "M"]), ("M", &["Y"]), ("Y", &["Z"]), ("Z", &["Y"])]);
        let shown: Vec<String> = cycles(&graph).iter().map(|path| show_cycle(path)).collect();
        assert_eq!(shown, ["A -> B -> A", "Y -> Z -> Y"]);
    }

    #[test]
    fn a_long_chain_takes_no_long_time() {
        let chain: Edges =
            (0..100_000).map(|n| (id(&format!("t{n}")), vec![id(&format!("t{}", n + 1))])).collect();
        assert!(cycles(&chain).is_empty());
    }

    #[test]
    fn the_graph_holds_every_task_and_needs_that_are_unknown() {
        let yard = Yard::local();
        let mut q = yard.queue("a");
        add(&mut q, "A", &[]);
        add(&mut q, "B-1", &["A", "GONE"]);
        add(&mut q, "C", &["B-1"]);
        add(&mut q, "LONE", &[]);
        finish(&mut q, "A");
        let whole = graph(&mut q, None).unwrap();
        let nodes: Vec<(&str, Option<Status>)> =
            whole.nodes.iter().map(|n| (n.id.as_str(), n.status)).collect();
        let pending = Some(Status::Pending);
        assert_eq!(
            nodes,
            [("A", Some(Status::Done)), ("B-1", pending), ("C", pending), ("GONE", None), ("LONE", pending)]
        );
        assert_eq!(whole.edges.len(), 3);
        assert!(whole.dot().contains("\"A\" -> \"B-1\";"), "{}", whole.dot());
        assert!(whole.mermaid().contains("n0 --> n1"), "{}", whole.mermaid());
        let near = graph(&mut q, Some(&id("A"))).unwrap();
        assert_eq!(near.nodes.iter().map(|n| n.id.as_str()).collect::<Vec<_>>(), ["A", "B-1", "C"]);
        assert_eq!(near.edges.len(), 2);
        assert!(near.mermaid().contains("n1 --> n2"), "{}", near.mermaid());
        assert_eq!(graph(&mut q, Some(&id("NONE"))).unwrap_err().code, "not_found");
    }

    #[test]
    fn hostile_titles_stay_inside_their_labels() {
        let node = |title: &str| Node {
            id: id("A"),
            title: title.to_owned(),
            status: Some(Status::Done),
            priority: Priority::default(),
        };
        let graph = Graph { nodes: vec![node("a\"];evil\\\n<b>\u{1b}[2J")], ..Graph::default() };
        assert!(graph.dot().contains(r#"a\"];evil\\ <b> [2J"#), "{}", graph.dot());
        assert!(graph.mermaid().contains("a#quot;];evil\\ #lt;b#gt; [2J"), "{}", graph.mermaid());
    }
}
