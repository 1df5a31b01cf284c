//! The forbidden directions 1 to 12 of ARCHITECTURE.md that can be seen in paths.

use super::paths::{Named, named};
use super::source::Source;
use super::{Hits, Rule};

const EDGES: [&str; 5] = ["cli", "service", "worker", "watchdog", "mcp"];
const DOMAINS: [&str; 5] = ["intake", "review", "workflow", "team", "github"];

/// What the pure room may use besides itself: nothing that reads or writes anything.
const PURE_CRATES: [&str; 7] = ["std", "core", "alloc", "crate", "thiserror", "serde", "sha2"];
const IMPURE_STD: [&str; 9] = [
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::os",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::io",
];

/// The dependencies of the root crate, as named in paths.
fn dependencies() -> Vec<String> {
    let manifest = include_str!("../../Cargo.toml");
    let table = manifest.split("\n[dependencies]").nth(1).unwrap_or_default();
    let table = table.split("\n[").next().unwrap_or_default();
    let keys = table.lines().filter_map(|line| Some(line.split_once('=')?.0.trim().replace('-', "_")));
    keys.filter(|key| !key.is_empty() && !key.starts_with('#')).collect()
}

/// Paths of a shipped, non-test file of one of the rooms that `wrong` objects to.
fn judged(source: &Source, rooms: &[&str], wrong: impl Fn(&Named) -> bool) -> Hits {
    if source.is_test || !source.room().is_some_and(|room| rooms.contains(&room)) {
        return Vec::new();
    }
    named(source).iter().filter(|n| wrong(n)).map(|n| (n.line, n.text())).collect()
}

/// Paths from `room` into rooms of ours that are not on the list.
fn only(source: &Source, room: &str, allowed: &[&str]) -> Hits {
    judged(source, &[room], |n| n.room().is_some_and(|to| leads_to_a_room(to) && !allowed.contains(&to)))
}

/// Names directly below `crate` that begin with a small letter are modules (or macros); types are not.
fn leads_to_a_room(name: &str) -> bool {
    name == "*" || name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn pure(source: &Source) -> Hits {
    let known = dependencies();
    let impure = |n: &Named| {
        let first = n.segments[0].as_str();
        let foreign = known.iter().any(|k| k == first) && !PURE_CRATES.contains(&first);
        foreign || IMPURE_STD.iter().any(|path| n.within(path))
    };
    let mut hits = judged(source, &["protocol"], impure);
    hits.extend(only(source, "protocol", &["protocol"]));
    hits
}

/// Files that may borrow a state mutably without moving a status, besides transition.rs: a merge adopts the
/// newer heartbeat of one and the same lease.
const LEASE_ADOPTERS: [&str; 2] = ["src/protocol/edit.rs", "src/protocol/merge.rs"];

fn assigned_state(source: &Source) -> Hits {
    if source.is_test || source.room() != Some("protocol") || source.path == "src/protocol/transition.rs" {
        return Vec::new();
    }
    let mut hits = Vec::new();
    for field in [".state", ".status"] {
        for (at, _) in source.code.match_indices(field) {
            let after = source.code[at + field.len()..].trim_start();
            let line_start = source.code[..at].rfind([';', '{', '}', '(', ',']).map_or(0, |n| n + 1);
            let borrowed = !LEASE_ADOPTERS.contains(&source.path.as_str())
                && source.code[line_start..at].contains("&mut ")
                && !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            if (after.starts_with('=') && !after.starts_with("==") && !after.starts_with("=>")) || borrowed {
                hits.push((source.line(at), field.to_owned()));
            }
        }
    }
    hits
}

fn from_oracle(source: &Source) -> Hits {
    // `harness/src/model/` is no oracle: it searches through what the real functions do, and judges by rules of its own.
    let is_oracle = source.path.starts_with("harness/src/")
        && source.path.contains("model")
        && !source.path.starts_with("harness/src/model/");
    let wrong = |n: &&Named| n.segments.iter().any(|s| matches!(s.as_str(), "transition" | "replay"));
    let found: Vec<Named> = if is_oracle { named(source) } else { Vec::new() };
    found.iter().filter(wrong).map(|n| (n.line, n.text())).collect()
}

fn simulation_in_product(source: &Source) -> Hits {
    if !source.path.starts_with("src/") {
        return Vec::new();
    }
    let mut hits: Hits = source
        .literals
        .match_indices("feature = \"sim\"")
        .map(|(at, what)| (source.line(at), what.to_owned()))
        .collect();
    hits.extend(source.words(&["orch_harness"]));
    hits
}

/// One row per forbidden direction; 8 stands in `crates`.
pub static RULES: &[Rule] = &[
    Rule {
        name: "protocol uses nothing but itself and pure crates",
        direction: Some(1),
        why: "the rules are replayed on other machines, years later and in simulations: what they read besides \
              their arguments would make the same history give another state",
        instead: "take the value (the time, the random number, the setting) as an argument or as a field of the Op",
        check: pure,
        bad: &[
            ("src/protocol/a.rs", "use crate::world::Clock;"),
            ("src/protocol/deep/a.rs", "use super::super::super::store;"),
            ("src/protocol/a.rs", "use std::{fmt, time::Instant};"),
            ("src/protocol/a.rs", "fn f() { let _ = std::env::var(N); }"),
            ("src/protocol/a.rs", "use serde_yaml::Value;"),
            ("src/protocol/a.rs", "use crate::*;"),
        ],
        good: &[
            ("src/protocol/a.rs", "use super::id::TaskId; use std::time::Duration; // std::fs\n"),
            ("src/protocol/a.rs", "#[cfg(test)]\nmod tests { use std::fs; use proptest::prelude::*; }"),
            ("src/protocol/deep/a.rs", "use super::super::task::Task; use crate::protocol::id;"),
            ("src/store/a.rs", "use crate::world::Disk;"),
        ],
    },
    Rule {
        name: "world knows nothing of ours",
        direction: Some(2),
        why: "the seams must fit any implementation; a seam that knows tasks cannot be replaced by a fake",
        instead: "pass plain bytes, paths and numbers through the trait, and interpret them above",
        check: |source| only(source, "world", &["world", "primitives"]),
        bad: &[
            ("src/world/a.rs", "use crate::protocol::task::Task;"),
            ("src/world/a.rs", "use super::super::store;"),
        ],
        good: &[("src/world/disk.rs", "use super::Disk; use crate::world::Stat; use std::fs;")],
    },
    Rule {
        name: "store does not look up",
        direction: Some(3),
        why: "files must be readable without git, a verb or an edge, so that they can be checked and repaired alone",
        instead: "let the caller in sync or usecase hand in what is needed",
        check: |source| only(source, "store", &["store", "protocol", "world", "primitives"]),
        bad: &[
            ("src/store/a.rs", "use crate::sync::round;"),
            ("src/store/a.rs", "fn f() { crate::usecase::add::run() }"),
        ],
        good: &[("src/store/a.rs", "use crate::{protocol::task::Task, world::Disk}; use super::wire;")],
    },
    Rule {
        name: "sync does not look up",
        direction: Some(4),
        why: "one round of sync is driven by every verb and by the harness; it must not know who asked",
        instead: "return what happened and let the use case decide what it means",
        check: |source| only(source, "sync", &["sync", "store", "policy", "protocol", "world", "primitives"]),
        bad: &[("src/sync/a.rs", "use crate::usecase::claim;"), ("src/sync/a.rs", "use super::super::cli;")],
        good: &[("src/sync/a.rs", "use crate::store::Store; use super::fold;")],
    },
    Rule {
        name: "usecase knows no edge and prints nothing",
        direction: Some(5),
        why: "the same verb serves a terminal, HTTP, MCP, a worker and the simulation",
        instead: "return a report type; the edge renders it",
        check: |source| {
            let mut hits = only(
                source,
                "usecase",
                &["usecase", "sync", "store", "policy", "protocol", "world", "primitives"],
            );
            if source.room() == Some("usecase") && !source.is_test {
                hits.extend(source.words(&["println!", "eprintln!", "print!", "eprint!"]));
                hits.extend(judged(source, &["usecase"], |n| {
                    n.within("clap") || n.within("std::io::stdout") || n.within("std::io::stderr")
                }));
            }
            hits
        },
        bad: &[
            ("src/usecase/a.rs", "use crate::cli::render;"),
            ("src/usecase/a.rs", "use crate::review::gate;"),
            ("src/usecase/a.rs", "fn f() { println!(\"done\"); }"),
            ("src/usecase/a.rs", "use clap::Args;"),
        ],
        good: &[("src/usecase/a.rs", "use crate::sync::round; use super::Report; // println!\n")],
    },
    Rule {
        name: "an edge or domain room does not use another edge",
        direction: Some(6),
        why: "edges are exchangeable: what two of them need belongs below both. Only `cli` may start the others",
        instead: "move what is shared into a use case",
        check: |source| {
            let rooms: Vec<&str> = EDGES.iter().chain(&DOMAINS).copied().filter(|r| *r != "cli").collect();
            let own = source.room().unwrap_or_default().to_owned();
            judged(source, &rooms, |n| n.room().is_some_and(|to| EDGES.contains(&to) && to != own))
        },
        bad: &[
            ("src/worker/a.rs", "use crate::service::wire;"),
            ("src/mcp/a.rs", "use crate::cli::Exit;"),
            ("src/review/a.rs", "use crate::worker::run;"),
        ],
        good: &[
            ("src/cli/up.rs", "use crate::worker; use crate::watchdog;"),
            ("src/worker/a.rs", "use crate::usecase::claim; use crate::worker::bundle;"),
        ],
    },
    Rule {
        name: "worker, watchdog, service and mcp change tasks through use cases only",
        direction: Some(7),
        why: "one door for every change to a task: a second one would need every check of the first again",
        instead: "call the use case of that verb, or add one",
        check: |source| {
            let rooms = ["worker", "watchdog", "service", "mcp"];
            judged(source, &rooms, |n| matches!(n.room(), Some("store" | "sync")))
        },
        bad: &[
            ("src/worker/a.rs", "use crate::store::Store;"),
            ("src/service/routes/a.rs", "fn f() { crate::sync::round::run() }"),
            ("src/mcp/a.rs", "use super::super::store::atomic;"),
        ],
        good: &[
            ("src/watchdog/mod.rs", "use crate::usecase::recover;"),
            ("src/cli/a.rs", "use crate::store::Store;"),
        ],
    },
    Rule {
        name: "the state of a task is assigned in protocol/transition.rs only",
        direction: Some(9),
        why: "one match shows every way in which a status can change; recovery and the simulation call the same one",
        instead: "issue an Op and let `next` apply it",
        check: assigned_state,
        bad: &[
            ("src/protocol/reap.rs", "fn f(t: &mut Task) { t.state = State::Done; }"),
            ("src/protocol/reap.rs", "fn f(t: &mut Task) { set(&mut t.state); }"),
            ("src/protocol/reap.rs", "fn f(t: &mut T) { t.status  = Status::Done; }"),
            ("src/protocol/merge.rs", "fn f(t: &mut Task) { t.state = State::Done; }"),
        ],
        good: &[
            ("src/protocol/transition.rs", "fn f(t: &mut Task) { t.state = State::Done; }"),
            (
                "src/protocol/reap.rs",
                "fn f(t: &mut Task) -> bool { match t.state { x => t.state == State::Done } }",
            ),
        ],
    },
    Rule {
        name: "wire types stay out of protocol and usecase",
        direction: Some(10),
        why: "the format of files and of HTTP must be free to change without moving a rule or a verb",
        instead: "convert at the border, in store/ or service/",
        check: |source| {
            let wire = |n: &Named| n.within("crate::store::wire") || n.within("crate::service::wire");
            judged(source, &["protocol", "usecase"], wire)
        },
        bad: &[
            ("src/usecase/a.rs", "use crate::store::{atomic, wire::TaskFile};"),
            ("src/protocol/a.rs", "fn f(_: crate::service::wire::TaskDoc) {}"),
        ],
        good: &[("src/store/codec.rs", "use super::wire::TaskFile;")],
    },
    Rule {
        name: "the shipped code knows no simulation",
        direction: Some(11),
        why: "what is tested must be what is shipped; a switch for tests would mean that it is not",
        instead: "put another implementation of a trait of `world` into the harness",
        check: simulation_in_product,
        bad: &[
            ("src/store/a.rs", "#[cfg(feature = \"sim\")]\nfn f() {}"),
            ("src/cli/a.rs", "use orch_harness::drive;"),
        ],
        good: &[
            ("harness/src/lib.rs", "use orch_harness::drive;"),
            ("src/lib.rs", "//! cfg(feature = \"sim\")\n"),
        ],
    },
    Rule {
        name: "the reference model does not call what it judges",
        direction: Some(12),
        why: "an oracle that calls `next` agrees with every bug in it",
        instead: "write the expectation down again, as dumb as possible",
        check: from_oracle,
        bad: &[("harness/src/model.rs", "use orch::protocol::transition::next;")],
        good: &[
            ("harness/src/model.rs", "use orch::protocol::task::Status;"),
            ("harness/src/drive.rs", "use orch::protocol::transition::next;"),
            ("harness/src/model/arena.rs", "use orch::protocol::transition::next;"),
        ],
    },
];

#[test]
fn the_root_package_does_not_depend_on_the_harness() {
    assert!(
        dependencies().contains(&"git2".to_owned()),
        "the manifest was not understood: {:?}",
        dependencies()
    );
    assert!(!dependencies().contains(&"orch_harness".to_owned()), "direction 11: see ARCHITECTURE.md");
}
