//! Whole processes: what a session waits for at the command line, alone and with others.
//!
//! `cargo bench --bench fleet -- [SECTION…]` with sections `local`, `drain`, `fleet`, `remote`, `disjoint`,
//! `contested`, `big`; all of them without a name. Prints p50 and p99 as measured and checks what must hold
//! whatever the speed: nothing is claimed twice, nothing is lost, all clones end up equal.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use support::Times;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "__rss") {
        return rss_of_child(&args[1..]);
    }
    let wanted: BTreeSet<&str> = args.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    let sections: [(&str, fn()); 7] = [
        ("local", local),
        ("drain", drain),
        ("fleet", fleet),
        ("remote", remote),
        ("disjoint", disjoint),
        ("contested", contested),
        ("big", big),
    ];
    println!("load before: {}", load());
    for (name, section) in sections {
        if wanted.is_empty() || wanted.contains(name) {
            println!("\n== {name} (load {})", load());
            section();
        }
    }
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}

fn command(state: &Path, session: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orch"));
    command.args(args).arg("--json").env("ORCH_STATE", state).env("ORCH_SESSION", session);
    command.current_dir("/").stdin(Stdio::null());
    command
}

fn orch(state: &Path, session: &str, args: &[&str]) -> Output {
    command(state, session, args).output().unwrap()
}

fn ok(state: &Path, session: &str, args: &[&str]) -> serde_json::Value {
    let out = orch(state, session, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<serde_json::Value>(&out.stdout)
        .map_or(serde_json::Value::Null, |mut v| v["data"].take())
}

/// One command so many times.
fn measure(name: &str, times: usize, state: &Path, args: impl Fn(usize) -> Vec<String>) -> Times {
    let all = Times::of(times, |n| {
        let args = args(n);
        ok(state, "bench", &args.iter().map(String::as_str).collect::<Vec<_>>());
    });
    all.show(name);
    all
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// One machine, no remote, 1,000 and 10,000 tasks.
fn local() {
    for count in [1_000, 10_000] {
        let dir = support::folder();
        let start = Instant::now();
        let state = support::filled(dir.path(), count);
        println!("{count} tasks added in {:.2} s", start.elapsed().as_secs_f64());
        commands(&state, count, 100);
    }
}

fn commands(state: &Path, count: usize, times: usize) {
    let stride = count / times;
    // The first one is for `pick`, which has its own order.
    let id = |n: usize| support::id(n * stride + 1).to_string();
    measure(&format!("{count}: version (an empty process)"), times, state, |_| words("version"));
    let mut floor = Times::default();
    let bytes = std::fs::read(task_file(state, &id(0))).unwrap();
    for _ in 0..times {
        floor.time(|| support::raw_floor(state, &bytes));
    }
    floor.show(&format!("{count}: raw floor of a durable write"));
    measure(&format!("{count}: claim ID"), times, state, |n| vec!["claim".into(), id(n)]);
    measure(&format!("{count}: heartbeat ID"), times, state, |n| vec!["heartbeat".into(), id(n)]);
    measure(&format!("{count}: done ID"), times, state, |n| {
        vec!["done".into(), id(n), "--notes".into(), "ok".into()]
    });
    measure(&format!("{count}: pick"), times.min(50), state, |_| words("pick"));
    measure(&format!("{count}: add"), times.min(50), state, |_| words("add --title new"));
    measure(&format!("{count}: show ID"), times.min(50), state, |n| vec!["show".into(), id(n)]);
    measure(&format!("{count}: list --limit 50"), times.min(50), state, |_| words("list --limit 50"));
    if count <= 10_000 {
        measure(&format!("{count}: list --json"), times.min(50), state, |_| words("list"));
        let all = Times::of(times.min(50), |_| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_orch"));
            assert!(command.arg("list").env("ORCH_STATE", state).output().unwrap().status.success());
        });
        all.show(&format!("{count}: list"));
    }
}

fn task_file(state: &Path, id: &str) -> PathBuf {
    let shards = std::fs::read_dir(state.join("tasks")).unwrap();
    let name = format!("{id}.yaml");
    shards.map(|shard| shard.unwrap().path().join(&name)).find(|path| path.is_file()).unwrap()
}

/// Claims by one process after the other until nothing is ready; gives the ids.
fn take_all(state: &Path, session: &str, finish: bool) -> Vec<String> {
    let mut taken = Vec::new();
    loop {
        let out = orch(state, session, &["pick"]);
        match out.status.code() {
            Some(0) => {}
            Some(6) => return taken,
            code => panic!("{session}: pick ended with {code:?}: {}", String::from_utf8_lossy(&out.stderr)),
        }
        let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        let id = answer["data"]["task"]["id"].as_str().unwrap().to_owned();
        if finish {
            ok(state, session, &["done", &id, "--notes", "ok"]);
        }
        taken.push(id);
    }
}

fn check_each_once(taken: &[String], count: usize) {
    let distinct: BTreeSet<&String> = taken.iter().collect();
    assert_eq!((taken.len(), distinct.len()), (count, count), "each task is claimed exactly once");
}

/// Eight sessions drain one local queue.
fn drain() {
    let count = 600;
    let dir = support::folder();
    let state = support::filled(dir.path(), count);
    let start = Instant::now();
    let taken = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let s = &state;
                    move || take_all(s, &format!("s{n}"), false)
                })
            })
            .collect();
        sessions.into_iter().flat_map(|session| session.join().unwrap()).collect::<Vec<_>>()
    });
    let took = start.elapsed().as_secs_f64();
    check_each_once(&taken, count);
    println!(
        "8 sessions, {count} tasks: {took:.2} s, {:.0} claims a second, no duplicate",
        count as f64 / took
    );
}

/// Machines that share a bare repository.
fn clones(dir: &Path, how_many: usize, tasks: usize) -> Vec<PathBuf> {
    let remote = support::bare(dir);
    let clone = |n: usize| {
        let home = dir.join(format!("m{n}"));
        std::fs::create_dir(&home).unwrap();
        support::init(&home, Some(&remote))
    };
    let first = clone(0);
    support::fill(&mut support::open(&first, "setup"), tasks);
    std::iter::once(first).chain((1..how_many).map(clone)).collect()
}

/// Four clones with two sessions each drain forty tasks.
fn fleet() {
    let count = 40;
    let dir = support::folder();
    let states = clones(dir.path(), 4, count);
    let start = Instant::now();
    let taken = std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..8)
            .map(|n| {
                let state = &states[n % 4];
                scope.spawn(move || take_all(state, &format!("s{n}"), true))
            })
            .collect();
        sessions.into_iter().flat_map(|session| session.join().unwrap()).collect::<Vec<_>>()
    });
    let took = start.elapsed().as_secs_f64();
    check_each_once(&taken, count);
    check_equal(&states, count);
    println!(
        "4 clones x 2 sessions, {count} tasks claimed and finished: {took:.2} s, none twice, none lost, clones equal"
    );
}

/// After two rounds of sync every clone holds the same files, and every task is done.
fn check_equal(states: &[PathBuf], count: usize) {
    for _ in 0..2 {
        for state in states {
            ok(state, "last", &["sync"]);
        }
    }
    let first = files(&states[0]);
    for state in states {
        assert!(files(state) == first, "{} differs", state.display());
        let done = ok(state, "last", &["list", "--status", "done"]);
        assert_eq!(done.as_array().map(Vec::len), Some(count), "no finish is lost");
    }
}

fn files(state: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for shard in std::fs::read_dir(state.join("tasks")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            all.push((
                path.display().to_string().rsplit('/').next().unwrap().to_owned(),
                std::fs::read_to_string(&path).unwrap(),
            ));
        }
    }
    all.sort();
    all
}

/// One session over a bare remote at 10,000 tasks.
fn remote() {
    for count in [1_000, 10_000] {
        let dir = support::folder();
        let states = clones(dir.path(), 1, count);
        git_floor(&states[0], &dir.path().join("remote.git"));
        let stride = count / 40;
        let id = |n: usize| support::id(n * stride).to_string();
        measure(&format!("{count}: claim ID over a remote"), 40, &states[0], |n| vec!["claim".into(), id(n)]);
        measure(&format!("{count}: heartbeat ID over a remote"), 40, &states[0], |n| {
            vec!["heartbeat".into(), id(n)]
        });
        measure(&format!("{count}: done ID over a remote"), 40, &states[0], |n| {
            vec!["done".into(), id(n), "--notes".into(), "ok".into()]
        });
        measure(&format!("{count}: sync with 40 folds, then nothing"), 5, &states[0], |_| words("sync"));
    }
}

/// What git itself costs here: a push of one new ref, a listing.
fn git_floor(state: &Path, remote: &Path) {
    let git = |args: &[&str]| {
        let done = Command::new("git").arg("--git-dir").arg(state.join(".git")).args(args).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let url = remote.display().to_string();
    Times::of(20, |n| git(&["push", "-q", &url, &format!("orch-state:refs/bench/{n}")]))
        .show("git push of one ref");
    Times::of(20, |_| git(&["ls-remote", "-q", &url])).show("git ls-remote");
    for n in 0..20 {
        git(&["push", "-q", &url, &format!(":refs/bench/{n}")]);
    }
}

/// Counts pushes by a `git` in front of the real one.
struct CountingGit {
    dir: PathBuf,
}

impl CountingGit {
    fn new(dir: &Path) -> Self {
        let dir = dir.join("bin");
        let script = "#!/bin/sh\ncase \" $* \" in *' push '*) echo >>\"$0.pushes\";; esac\n\
                      PATH=${PATH#*:} exec git \"$@\"\n";
        orch::world::program::install(&dir.join("git"), script).unwrap();
        CountingGit { dir }
    }

    fn path(&self) -> String {
        format!("{}:{}", self.dir.display(), std::env::var("PATH").unwrap_or_default())
    }

    fn pushes(&self) -> usize {
        std::fs::read_to_string(self.dir.join("git.pushes")).unwrap_or_default().lines().count()
    }
}

/// Eight clones, one session each, disjoint tasks.
fn disjoint() {
    let dir = support::folder();
    let each = 5;
    let states = clones(dir.path(), 8, 8 * each);
    let git = CountingGit::new(dir.path());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (n, state) in states.iter().enumerate() {
            let path = git.path();
            scope.spawn(move || {
                for at in 0..each {
                    let id = support::id(n * each + at).to_string();
                    let mut command = command(state, &format!("s{n}"), &["claim", &id]);
                    let out = command.env("PATH", &path).output().unwrap();
                    assert!(out.status.success(), "{id}: {}", String::from_utf8_lossy(&out.stderr));
                }
            });
        }
    });
    let (claims, took) = (8 * each, start.elapsed().as_secs_f64());
    let ratio = git.pushes() as f64 / claims as f64;
    println!("8 clones, {claims} disjoint claims: {took:.2} s, {ratio:.2} pushes per claim, none lost");
}

/// Eight clones want the same task, ten times.
fn contested() {
    let dir = support::folder();
    let rounds = 10;
    let states = clones(dir.path(), 8, rounds);
    for state in &states {
        ok(state, "setup", &["sync"]);
    }
    let mut all = Times::default();
    for round in 0..rounds {
        let id = &support::id(round).to_string();
        let winners = all.time(|| {
            std::thread::scope(|scope| {
                let claims: Vec<_> = states
                    .iter()
                    .enumerate()
                    .map(|(n, state)| {
                        scope.spawn(move || orch(state, &format!("s{n}"), &["claim", id]).status.code())
                    })
                    .collect();
                claims.into_iter().map(|claim| claim.join().unwrap()).collect::<Vec<_>>()
            })
        });
        let won = winners.iter().filter(|code| **code == Some(0)).count();
        let lost = winners.iter().filter(|code| **code == Some(4)).count();
        assert_eq!((won, lost), (1, 7), "one winner, seven conflicts: {winners:?}");
    }
    all.show("8 clones, one contested task, until all know");
}

/// A hundred thousand tasks on one machine.
fn big() {
    let count = 100_000;
    let dir = support::folder();
    let start = Instant::now();
    let state = support::filled(dir.path(), count);
    println!("{count} tasks added in {:.2} s", start.elapsed().as_secs_f64());
    rss(&state, &["pick"]);
    commands(&state, count, 50);
    let index = state.join(".git/orch");
    for _ in 0..2 {
        for entry in std::fs::read_dir(&index).unwrap().map(|e| e.unwrap().path()) {
            if entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with("index")) {
                std::fs::remove_file(&entry).unwrap();
            }
        }
        let mut once = Times::default();
        once.time(|| ok(&state, "bench", &["list", "--limit", "1"]));
        once.show(&format!("{count}: list --limit 1 with the index gone"));
    }
}

/// Largest resident set of one command, measured by a process of its own that has no other child.
fn rss(state: &Path, args: &[&str]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("__rss").args(args).env("ORCH_STATE", state).env("ORCH_SESSION", "rss");
    let out = command.output().unwrap();
    println!(
        "{:<58} {}",
        format!("largest resident set of {}", args.join(" ")),
        String::from_utf8_lossy(&out.stdout).trim()
    );
}

#[cfg(target_os = "linux")]
fn rss_of_child(args: &[String]) {
    unsafe extern "C" {
        fn getrusage(who: i32, usage: *mut std::ffi::c_long) -> i32;
    }
    let out = Command::new(env!("CARGO_BIN_EXE_orch")).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut words = [0; 64];
    // SAFETY: the buffer is aligned and larger than `struct rusage`; -1 is RUSAGE_CHILDREN.
    let done = unsafe { getrusage(-1, words.as_mut_ptr()) };
    assert_eq!(done, 0);
    println!("{:.1} MiB", words[4] as f64 / 1024.0);
}

#[cfg(not(target_os = "linux"))]
fn rss_of_child(_: &[String]) {
    println!("not measured on this system");
}
