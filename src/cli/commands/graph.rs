//! `orch graph`: which task needs which, as text, as data, or for a program that draws it.

use clap::{Args, ValueEnum};

use crate::cli::context::Context;
use crate::cli::render::style::{Style, Tone, status_tone};
use crate::cli::render::text;
use crate::cli::{reports, values};
use crate::protocol::dag::show_cycle;
use crate::protocol::id::TaskId;
use crate::protocol::transition::status_word;
use crate::usecase::error::Result;
use crate::usecase::graph::{self, Graph as Needs};

/// Show which task needs which
///
/// Under --json it is data whatever the format. Cycles are named: none of their tasks can ever start.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  orch graph
  orch graph --format dot | dot -Tsvg > queue.svg
  orch graph ORCH-010 --format mermaid")]
pub struct Graph {
    /// Only what this task needs and what needs it, directly or not
    #[arg(value_name = "ID", value_parser = values::id)]
    pub id: Option<TaskId>,

    /// How it is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One task per line with its needs
    #[default]
    Text,
    /// For Graphviz
    Dot,
    /// For Markdown pages that draw it
    Mermaid,
}

impl Graph {
    /// Shows it.
    pub fn run(self, context: &mut Context) -> Result<i32> {
        let found = context.look(|queue| graph::graph(queue, self.id.as_ref()))?;
        for path in &found.cycles {
            context.remark(format!("these tasks need each other: {}", show_cycle(path)));
        }
        context.print(
            || reports::graph(&found),
            |style| match self.format {
                Format::Text => shown(&found, style),
                Format::Dot => text::lines(&found.dot()) + "\n",
                Format::Mermaid => text::lines(&found.mermaid()) + "\n",
            },
        )
    }
}

fn shown(graph: &Needs, style: Style) -> String {
    let mut out = String::new();
    for node in graph.nodes.iter().filter(|node| node.status.is_some()) {
        let from = graph.edges.partition_point(|(task, _)| *task < node.id);
        let needs = graph.edges[from..].iter().take_while(|(task, _)| *task == node.id);
        let needs: Vec<String> = needs.map(|(_, need)| need_word(graph, need, style)).collect();
        let word = node.status.map_or_else(String::new, |s| style.paint(status_tone(s), status_word(s)));
        let arrow = if needs.is_empty() { String::new() } else { format!(" <- {}", needs.join(", ")) };
        out.push_str(&format!("{} ({word}){arrow}\n", node.id));
    }
    out
}

fn need_word(graph: &Needs, need: &TaskId, style: Style) -> String {
    let node = graph.nodes.binary_search_by(|node| node.id.cmp(need)).ok().map(|at| &graph.nodes[at]);
    match node.and_then(|node| node.status) {
        Some(status) => style.paint(status_tone(status), need.as_str()),
        None => style.paint(Tone::Red, &format!("{need} (unknown)")),
    }
}
