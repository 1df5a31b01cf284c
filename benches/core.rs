//! The library: durable writes against their floor, transitions, queries, commits and exchanges, at growing
//! sizes. `cargo bench --bench core -- NAME` narrows it down; `ORCH_BENCH_TASKS=1000` leaves the large queues out.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to say")]

#[expect(dead_code, reason = "each bench uses a part")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use orch::machine;
use orch::store::atomic;
use orch::store::layout::Layout;
use orch::sync::git::{GitObjects, Outside};
use orch::usecase::claim::{self, Terms};
use orch::usecase::holder::{self, Finish};
use orch::usecase::queue::Queue;
use orch::usecase::read::{self, Filter};
use orch::world::disk::RealDisk;
use orch::world::{NewCommit, Objects, RefUpdate, Remote, Wanted};
use support::Times;

type Act<'a> = &'a dyn Fn(&mut Queue, usize);

const LIMIT: Duration = Duration::from_secs(30);

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    durable_write(&mut criterion);
    transitions(&mut criterion, false);
    transitions(&mut criterion, true);
    for count in sizes() {
        queries(&mut criterion, count);
        exchange(&mut criterion, count);
    }
    criterion.final_summary();
}

/// 1,000, 10,000 and 100,000 tasks, up to `ORCH_BENCH_TASKS`.
fn sizes() -> Vec<usize> {
    let most = std::env::var("ORCH_BENCH_TASKS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    [1_000, 10_000, 100_000].into_iter().filter(|count| *count <= most).collect()
}

/// A durable replacement against write, fsync, rename and directory fsync of the same bytes, in turns.
fn durable_write(criterion: &mut Criterion) {
    let dir = support::folder();
    let bytes = vec![b'x'; 1_200];
    let (mut raw, mut ours) = (Times::default(), Times::default());
    let path = dir.path().join("task.yaml");
    for _ in 0..400 {
        raw.time(|| support::raw_floor(dir.path(), &bytes));
        ours.time(|| atomic::write(&RealDisk, &path, &bytes).unwrap());
    }
    raw.show("raw floor");
    ours.show("durable write");
    println!("ratio of the medians: {:.2} (at most 1.5)", ours.at(0.5) / raw.at(0.5));
    let mut group = criterion.benchmark_group("durable");
    group.bench_function("raw floor", |b| b.iter(|| support::raw_floor(dir.path(), &bytes)));
    group.bench_function("write", |b| b.iter(|| atomic::write(&RealDisk, &path, &bytes).unwrap()));
    group.finish();
}

/// Claim, heartbeat and done through the library, each on a task of its own.
fn transitions(criterion: &mut Criterion, shared: bool) {
    let dir = support::folder();
    let remote = shared.then(|| support::bare(dir.path()));
    let state = support::init(dir.path(), remote.as_deref());
    let mut queue = support::open(&state, "bench");
    support::fill(&mut queue, if shared { 400 } else { 4_000 });
    let mut next = 0;
    let mut group = criterion.benchmark_group(if shared { "over a remote" } else { "local" });
    let terms = Terms::default();
    let how = Finish { notes: "ok".to_owned(), ..Finish::default() };
    let claim = |q: &mut Queue, n: usize| {
        claim::claim(q, &support::id(n), &terms).unwrap();
    };
    let heartbeat = |q: &mut Queue, n: usize| {
        holder::heartbeat(q, &support::id(n), None, None).unwrap();
    };
    let done = |q: &mut Queue, n: usize| {
        holder::done(q, &support::id(n), None, &how).unwrap();
    };
    let acts: [(&str, Act<'_>, Act<'_>); 3] =
        [("claim", &|_, _| {}, &claim), ("heartbeat", &claim, &heartbeat), ("done", &claim, &done)];
    let most = if shared { 400 } else { 4_000 };
    for (name, before, act) in acts {
        group.sample_size(10).bench_function(name, |b| {
            b.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    assert!(next < most, "more iterations than tasks; lower the measurement time");
                    before(&mut queue, next);
                    let start = Instant::now();
                    act(&mut queue, next);
                    took += start.elapsed();
                    next += 1;
                }
                took
            });
        });
    }
    group.finish();
}

fn queries(criterion: &mut Criterion, count: usize) {
    let dir = support::folder();
    let state = support::filled(dir.path(), count);
    let mut group = criterion.benchmark_group("queries");
    let mut queue = support::open(&state, "bench");
    let all = Filter::default();
    let fifty = Filter { limit: Some(50), ..Filter::default() };
    group.bench_function(BenchmarkId::new("list 50", count), |b| {
        b.iter(|| read::list(&mut queue, &fifty).unwrap());
    });
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("list", count), |b| {
        b.iter(|| read::list(&mut queue, &all).unwrap());
    });
    group.bench_function(BenchmarkId::new("open", count), |b| b.iter(|| support::open(&state, "bench")));
    group.bench_function(BenchmarkId::new("pick and release", count), |b| {
        b.iter(|| {
            let claimed = claim::pick(&mut queue, &Terms::default()).unwrap();
            holder::release(&mut queue, claimed.task.id(), None, None, None).unwrap()
        });
    });
    drop(queue);
    let index = Layout::new(&state).index();
    group.bench_function(BenchmarkId::new("rebuild of the index", count), |b| {
        b.iter_custom(|times| (0..times).map(|_| rebuild(&state, &index)).sum());
    });
    group.finish();
}

fn rebuild(state: &Path, index: &Path) -> Duration {
    let _ = std::fs::remove_file(index.with_extension("db-journal"));
    std::fs::remove_file(index).unwrap();
    let start = Instant::now();
    drop(support::open(state, "bench"));
    start.elapsed()
}

/// One changed task in a state of so many: its commit, its push to a bare repository, its fetch by a clone.
fn exchange(criterion: &mut Criterion, count: usize) {
    let dir = support::folder();
    let bare = support::bare(dir.path());
    let state = support::filled(dir.path(), count);
    let git_dir = Layout::new(&state).git();
    let objects = GitObjects::open(&git_dir, Outside::real(&git_dir)).unwrap();
    let remote = orch::world::remote::GitRemote::new(&git_dir, &bare.display().to_string(), None)
        .with_repository(orch::sync::git::TRANSFER);
    let branch = "refs/heads/orch-state";
    let mut head = objects.get_ref(branch).unwrap().unwrap();
    let pushed =
        remote.push(&[RefUpdate { name: branch.to_owned(), expected: None, new: Some(head) }], LIMIT);
    println!("first push of {count}: {pushed:?}");
    let mut turn = 0usize;
    let mut change = |head| {
        turn += 1;
        let path = orch::store::layout::tree_path(&support::id(turn * 7 % count));
        let changes = [(path, Some(format!("turn {turn}").into_bytes()))];
        let commit = NewCommit {
            base: Some(head),
            changes: &changes,
            parents: &[head],
            author: "bench",
            at_s: 0,
            message: "bench",
        };
        objects.commit(&commit).unwrap()
    };
    let mut group = criterion.benchmark_group("one change");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("commit", count), |b| b.iter(|| change(head)));
    let clone = dir.path().join("clone");
    std::fs::create_dir(&clone).unwrap();
    let clone = Layout::new(&clone).git();
    machine::world(&Layout::new(dir.path().join("clone")), "orch-state", None, true).unwrap();
    let other = orch::world::remote::GitRemote::new(&clone, &bare.display().to_string(), None)
        .with_repository(orch::sync::git::TRANSFER);
    let wanted = |oid| [Wanted { name: branch.to_owned(), oid, local: branch.to_owned() }];
    other.fetch(&wanted(head), Duration::from_secs(300)).unwrap();
    let mut fetched = Times::default();
    group.bench_function(BenchmarkId::new("push", count), |b| {
        b.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let next = change(head);
                let update = RefUpdate { name: branch.to_owned(), expected: Some(head), new: Some(next) };
                let start = Instant::now();
                assert_eq!(remote.push(&[update], LIMIT), [orch::world::PushOutcome::Accepted]);
                took += start.elapsed();
                head = next;
                fetched.time(|| other.fetch(&wanted(head), LIMIT).unwrap());
            }
            took
        });
    });
    fetched.show(&format!("one change/fetch/{count}"));
    group.finish();
}
