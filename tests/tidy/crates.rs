//! What stands behind one file: the outside world behind `world/`, and each settled dependency behind the one
//! file that may be exchanged for another.

use super::paths::{Named, named};
use super::source::Source;
use super::{Hits, Rule};

/// A dependency and the places that may name it: a path, or a prefix or suffix of one with `*`.
struct Behind {
    krate: &'static str,
    places: &'static [&'static str],
}

const BEHIND: [Behind; 13] = [
    Behind { krate: "git2", places: &["src/sync/git*"] },
    Behind { krate: "libgit2_sys", places: &["src/sync/git*"] },
    Behind { krate: "serde_yaml", places: &["src/store/parse.rs"] },
    Behind { krate: "fs2", places: &["src/world/lock.rs"] },
    Behind { krate: "notify", places: &["*/watcher.rs"] },
    Behind { krate: "chrono", places: &["src/store/time.rs"] },
    Behind { krate: "rusqlite", places: &["src/store/index*"] },
    Behind { krate: "getrandom", places: &["src/world/random.rs"] },
    Behind { krate: "clap", places: &["src/cli/*", "src/cli.rs"] },
    Behind { krate: "clap_complete", places: &["src/cli/*"] },
    Behind { krate: "clap_mangen", places: &["src/cli/*"] },
    Behind { krate: "indicatif", places: &["src/cli/*"] },
    Behind { krate: "libc", places: &[] },
];

/// What `world/` exists for. The second column names files outside of it that may, and nothing else.
const WORLDLY: [(&str, &[&str]); 13] = [
    ("std::fs", &[]),
    ("std::process", &[]),
    ("std::env", &[]),
    ("std::os::unix::fs", &[]),
    ("std::os::unix::process", &[]),
    ("std::time::Instant", &[]),
    ("std::time::SystemTime", &[]),
    ("rustix::fs", &[]),
    ("rustix::process", &["src/worker/sandbox*"]),
    ("rustix::time", &[]),
    ("rustix::thread", &["src/worker/sandbox*"]),
    ("rustix::event", &[]),
    ("rustix::pipe", &[]),
];

/// What does not touch the world although it is named like something that does.
const HARMLESS: [&str; 4] =
    ["std::process::ExitCode", "std::process::Termination", "std::env::consts", "std::time::SystemTimeError"];

/// Methods of `Path` that ask the file system behind the back of `Disk`.
const PATH_METHODS: [&str; 9] = [
    ".exists()",
    ".try_exists()",
    ".is_file()",
    ".is_dir()",
    ".is_symlink()",
    ".canonicalize()",
    ".read_dir()",
    ".read_link()",
    ".symlink_metadata()",
];

fn fits(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| match (place.strip_suffix('*'), place.strip_prefix('*')) {
        (Some(start), _) => path.starts_with(start),
        (_, Some(end)) => path.ends_with(end),
        _ => path == *place,
    })
}

fn shipped(source: &Source) -> bool {
    source.path.starts_with("src/") && !source.is_test
}

fn hits(found: &[Named], wrong: impl Fn(&Named) -> bool) -> Hits {
    found.iter().filter(|n| wrong(n)).map(|n| (n.line, n.text())).collect()
}

fn out_of_place(source: &Source) -> Hits {
    if !shipped(source) {
        return Vec::new();
    }
    let astray =
        |n: &Named| BEHIND.iter().any(|row| n.segments[0] == row.krate && !fits(&source.path, row.places));
    hits(&named(source), astray)
}

fn around_the_seams(source: &Source) -> Hits {
    if !shipped(source) || source.room() == Some("world") {
        return Vec::new();
    }
    let is_main = source.path == "src/main.rs";
    let worldly = |n: &Named| {
        let harmless = HARMLESS.iter().any(|path| n.within(path))
            || (is_main && ["std::env::args", "std::env::args_os"].iter().any(|path| n.within(path)));
        let seam = WORLDLY.iter().any(|(path, places)| n.within(path) && !fits(&source.path, places));
        let whole_module = ["std::*", "std::time::*", "rustix::*"].contains(&n.text().as_str());
        (seam && !harmless) || whole_module
    };
    let mut found = hits(&named(source), worldly);
    found.extend(source.words(&["Instant::now", "SystemTime::now", "Utc::now", "Local::now"]));
    found.extend(source.words(&PATH_METHODS));
    found
}

/// Direction 8, and the crates that stand behind one file.
pub static RULES: &[Rule] = &[
    Rule {
        name: "files, processes, clocks and environment are reached through `world` only",
        direction: Some(8),
        why: "what goes around the seams cannot be stopped, delayed, lost or repeated by the harness",
        instead: "use `World::disk`, `World::process`, `World::clock` or world::env; main.rs may read its arguments",
        check: around_the_seams,
        bad: &[
            ("src/store/a.rs", "use std::fs::File;"),
            ("src/usecase/a.rs", "use std::{path::Path, env};"),
            ("src/sync/a.rs", "fn f() { let _ = std::process::Command::new(G); }"),
            ("src/worker/a.rs", "use std::time::{Duration, Instant};"),
            ("src/cli/a.rs", "fn f(p: &Path) -> bool { p.exists() }"),
            ("src/cli/a.rs", "fn f() { let _ = Utc::now(); }"),
            ("src/main.rs", "fn main() { std::env::set_current_dir(D); }"),
            ("src/store/a.rs", "use rustix::fs::fsync;"),
        ],
        good: &[
            (
                "src/world/disk.rs",
                "use std::fs::File; use std::time::Instant; fn f(p: &Path) -> bool { p.exists() }",
            ),
            ("src/main.rs", "use std::process::ExitCode; fn main() -> ExitCode { run(std::env::args_os()) }"),
            ("src/store/a.rs", "use std::time::Duration; #[cfg(test)] mod tests { use std::fs; }"),
            ("src/cli/a.rs", "fn f(e: Entry) -> bool { e.is_file && env!(\"X\") == std::env::consts::OS }"),
            ("tests/a.rs", "use std::fs;"),
        ],
    },
    Rule {
        name: "a settled dependency is named in its one file only",
        direction: None,
        why: "two of them are no longer developed; because each stands behind one file, exchanging one touches one file",
        instead: "call that file's functions (git2: src/sync/git*.rs, serde_yaml: src/store/parse.rs, fs2: \
                  src/world/lock.rs, notify: one watcher.rs, chrono: src/store/time.rs, rusqlite: src/store/index*, \
                  getrandom: src/world/random.rs, clap and indicatif: src/cli/)",
        check: out_of_place,
        bad: &[
            ("src/store/objects.rs", "use git2::Repository;"),
            ("src/store/codec.rs", "fn f() { let _: R = serde_yaml::from_str(T); }"),
            ("src/world/disk.rs", "use fs2::FileExt;"),
            ("src/cli/watch.rs", "use notify::Watcher as W;"),
            ("src/protocol/time.rs", "use chrono::Utc;"),
            ("src/usecase/list.rs", "use rusqlite::Connection;"),
            ("src/main.rs", "use clap::Parser;"),
        ],
        good: &[
            ("src/sync/git_objects.rs", "use git2::Repository;"),
            ("src/store/index/schema.rs", "use rusqlite::Connection;"),
            ("src/world/watcher.rs", "use notify::Watcher;"),
            ("src/cli/args.rs", "use clap::Parser;"),
        ],
    },
];

/// Files among `sources` that name `notify`.
fn watchers(sources: &[Source]) -> Vec<&str> {
    let uses = |s: &&Source| shipped(s) && named(s).iter().any(|n| n.segments[0] == "notify");
    sources.iter().filter(uses).map(|s| s.path.as_str()).collect()
}

#[test]
fn there_is_one_watcher() {
    let two =
        ["src/cli/watcher.rs", "src/world/watcher.rs"].map(|path| Source::new(path, "use notify::Event;"));
    assert_eq!(watchers(&two).len(), 2);
    let sources = super::source::load(super::root(), &super::FOLDERS);
    assert!(watchers(&sources).len() < 2, "two files name notify: {:?}", watchers(&sources));
}
