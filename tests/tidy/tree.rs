//! Rules about the repository as a whole: paths of somebody's machine, links that lead nowhere.

use std::fs;

use super::root;
use super::source::walk;

/// Beginnings of paths that exist on one machine only. Spelled in two halves: this file is checked, too.
const MACHINES: [&str; 5] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("/mnt", "/"),
];

/// First path components below a home that are plainly examples.
const EXAMPLES: [&str; 6] = ["user", "me", "alice", "bob", "agent", "*"];

/// Paths of somebody's machine in a text: `(line, rest of the line)`.
fn machine_paths(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for start in MACHINES {
            for (at, _) in line.match_indices(start) {
                let joined = line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}*)>".contains(c));
                let rest = &line[at + start.len()..];
                let name: String =
                    rest.chars().take_while(|c| c.is_alphanumeric() || "*_-".contains(*c)).collect();
                if !joined && !EXAMPLES.contains(&name.as_str()) {
                    found.push((number + 1, line[at..].chars().take(60).collect()));
                }
            }
        }
    }
    found
}

/// All text files of the repository below 1 MB, with their contents. What git ignores locally (`state/runs`
/// and the like) does not exist in a fresh clone and is small in a used one.
fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    walk(root(), "", &mut files);
    let small = |path: &String| fs::metadata(root().join(path)).is_ok_and(|m| m.len() < 1_000_000);
    let read = |path: String| Some((path.clone(), fs::read_to_string(root().join(&path)).ok()?));
    files.into_iter().filter(small).filter_map(read).collect()
}

#[test]
fn no_path_of_somebodys_machine_is_tracked() {
    let texts = texts();
    assert!(texts.iter().any(|(path, _)| path == "README.md"), "the walk found no README.md");
    let mut broken = Vec::new();
    for (path, text) in &texts {
        broken.extend(machine_paths(text).into_iter().map(|(line, what)| format!("{path}:{line}: {what}")));
    }
    assert!(
        broken.is_empty(),
        "paths of one machine stand in the repository; they mean nothing elsewhere and tell who works where. \
         Use a relative path, $HOME, a temporary directory, or the example user `alice`:\n{}",
        broken.join("\n")
    );
}

#[test]
fn paths_of_machines_are_told_from_other_paths() {
    let home = MACHINES[0];
    assert_eq!(machine_paths(&format!("cd {home}jq/src")).len(), 1);
    assert_eq!(machine_paths(&format!("\"{}orch\"", MACHINES[1])).len(), 1);
    assert_eq!(machine_paths(&format!("{home}alice/x, $HOME{}a, some{}b", MACHINES[2], MACHINES[2])), []);
}

/// Relative targets of Markdown links in a text: `[words](target)`, without anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.match_indices("](").filter_map(|(at, _)| text[at + 2..].split(')').next());
    let local = targets.filter(|t| !t.contains("://") && !t.starts_with('#') && !t.starts_with("mailto:"));
    local.filter_map(|t| t.split(['#', ' ']).next()).filter(|t| !t.is_empty()).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    assert_eq!(links("[a](b/c.md#x) [d](#e) [f](https://g.h) ![i](j.png \"k\")"), ["b/c.md", "j.png"]);
    let mut dead = Vec::new();
    for (path, text) in texts().iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root().join(path);
        let folder = folder.parent().unwrap();
        let missing = links(text).into_iter().filter(|target| !folder.join(target).exists());
        dead.extend(missing.map(|target| format!("{path}: {target}")));
    }
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}
